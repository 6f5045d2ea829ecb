from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_world import PlainWorld
from strategies import (
    BOX,
    COOK,
    EAT,
    NORTH,
    NUM_ACTIONS,
    PARTS,
    VOCABULARY,
    WAIT,
    WORK,
    Forbid,
    Script,
    bridge_of,
    ints,
    through_a_file,
    view_of,
)

from townlet_behavior import (
    AgentIntent,
    BehaviorBridge,
    BridgeConfig,
    ConfigError,
    NoProposals,
    ScheduleController,
    ScheduledBehavior,
    ShapeError,
    StateError,
    UnknownActionError,
)
from townlet_behavior.testing import check_controller


def controller_of(script: Script) -> ScheduleController:
    return ScheduleController(capacity=4, num_actions=NUM_ACTIONS, otherwise=script)


def test_a_schedule_is_played_in_a_loop() -> None:
    schedule = controller_of(Script(WAIT))
    schedule.assign(2, [EAT, EAT, WORK])
    bridge = bridge_of(schedule)
    played = [bridge.decide(view_of(2), tick=tick).action[0] for tick in range(7)]
    assert played == [EAT, EAT, WORK, EAT, EAT, WORK, EAT]


def test_who_proposed_is_recorded() -> None:
    schedule = controller_of(Script(-1, -1, COOK))
    schedule.assign(0, [EAT])
    bridge = bridge_of(schedule)
    assert bridge.proposers == ("script", "schedule")
    decisions = bridge.decide(view_of(0, 1, 3), tick=0)
    assert decisions.proposer.tolist() == [1, -1, 0]
    assert bridge.counts().proposals == {"script": 1, "schedule": 1}


def test_others_do_what_the_other_controller_proposes() -> None:
    script = Script(COOK, COOK)
    schedule = controller_of(script)
    schedule.assign(0, [EAT, WORK])
    bridge = bridge_of(schedule)
    assert bridge.decide(view_of(0, 3), tick=0).action.tolist() == [EAT, COOK]
    assert bridge.decide(view_of(0, 3), tick=1).action.tolist() == [WORK, COOK]
    assert len(script.told) == 2


def test_what_was_not_executed_is_proposed_again() -> None:
    schedule = controller_of(Script(WAIT))
    schedule.assign(0, [NORTH, EAT])
    check_controller(schedule, view_of(0), VOCABULARY)
    vetoing, open_ = bridge_of(schedule, Forbid(NORTH)), bridge_of(schedule)
    assert [vetoing.decide(view_of(0), tick=tick).expert_action[0] for tick in range(3)] == [NORTH] * 3
    assert [open_.decide(view_of(0), tick=tick).expert_action[0] for tick in range(3)] == [NORTH, EAT, NORTH]


def test_agents_that_left_lose_their_schedule() -> None:
    script = Script(WAIT)
    schedule = controller_of(script)
    schedule.assign(1, [EAT, WORK])
    bridge = bridge_of(schedule)
    bridge.decide(view_of(1), tick=0)
    bridge.forget(ints(1))
    assert bridge.decide(view_of(1), tick=1).action.tolist() == [WAIT]
    assert script.forgotten == [[1]]


def test_a_new_schedule_begins_at_its_first_entry() -> None:
    schedule = controller_of(Script(WAIT))
    schedule.assign(1, [EAT, EAT, WORK, WORK])
    bridge = bridge_of(schedule)
    for tick in range(3):
        bridge.decide(view_of(1), tick=tick)
    schedule.assign(1, [NORTH, COOK])
    assert [bridge.decide(view_of(1), tick=tick).action[0] for tick in range(3, 6)] == [NORTH, COOK, NORTH]


@pytest.mark.parametrize(
    ("slot", "actions", "error", "message"),
    [
        (4, [WAIT], ShapeError, r"`slot` must be in \[0, 4\), got 4"),
        (-1, [WAIT], ShapeError, r"`slot` must be in \[0, 4\), got -1"),
        (1, [], ConfigError, "slot 1 must have at least one action, got none"),
        (1, [WAIT, 5, -1], UnknownActionError, r"slot 1 must hold actions in \[0, 5\), got \[0, 5, -1\]"),
    ],
)
def test_schedules_that_cannot_be_played_are_refused(
    slot: int, actions: list[int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        controller_of(Script(WAIT)).assign(slot, actions)


@given(st.lists(st.lists(st.integers(0, NUM_ACTIONS - 1), min_size=1, max_size=4), min_size=4, max_size=4))
def test_schedules_of_different_lengths_do_not_disturb_each_other(schedules: list[list[int]]) -> None:
    schedule = controller_of(Script(*[WAIT] * 4))
    for slot, actions in enumerate(schedules):
        schedule.assign(slot, actions)
    bridge = bridge_of(schedule)
    for tick in range(9):
        executed = bridge.decide(view_of(0, 1, 2, 3), tick=tick).action.tolist()
        assert executed == [actions[tick % len(actions)] for actions in schedules]


def saved_schedule() -> ScheduleController:
    """Slot 1 is at the second of three entries, slot 3 at the first of one."""
    schedule = controller_of(Script(*[WAIT] * 4))
    schedule.assign(1, [EAT, WORK, NORTH])
    schedule.assign(3, [COOK])
    bridge_of(schedule).decide(view_of(0, 1, 2, 3), tick=0)
    return schedule


def test_saved_schedules_go_on_where_they_were() -> None:
    schedule = controller_of(Script(*[WAIT] * 4))
    schedule.assign(0, [EAT])
    schedule.restore(saved_schedule().save_state())
    bridge = bridge_of(schedule)
    played = [bridge.decide(view_of(0, 1, 2, 3), tick=tick).action.tolist() for tick in range(1, 5)]
    assert played == [[WAIT, action, WAIT, COOK] for action in (WORK, NORTH, EAT, WORK)]


def test_saved_schedules_do_not_change_any_more() -> None:
    schedule = saved_schedule()
    state = schedule.save_state()
    again = {name: array.copy() for name, array in state.items()}
    bridge_of(schedule).decide(view_of(0, 1, 2, 3), tick=1)
    schedule.assign(1, [COOK])
    schedule.forget(ints(3))
    assert all(np.array_equal(state[name], again[name]) for name in again)


def test_the_plans_of_the_other_controller_are_saved_too() -> None:
    inner = saved_schedule()
    outer = ScheduleController(capacity=4, num_actions=NUM_ACTIONS, otherwise=inner)
    fresh_inner = controller_of(Script(*[WAIT] * 4))
    fresh = ScheduleController(capacity=4, num_actions=NUM_ACTIONS, otherwise=fresh_inner)
    fresh.restore(outer.save_state())
    assert fresh.propose(view_of(0, 1, 2, 3)).tolist() == [WAIT, WORK, WAIT, COOK]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("entries", lambda a: a[:3], r"saved `entries` must be int64 \(4, 3\), got int64 \(3, 3\)"),
        ("entries", lambda a: a[:, 0], r"saved `entries` must be int64 \(4, 4\), got int64 \(4,\)"),
        ("entries", lambda _: np.array(1), r"saved `entries` must be int64 \(4, 0\), got int64 \(\)"),
        ("entries", lambda a: a + 3, r"saved `entries` must be in \[0, 5\) or -1, got 5"),
        ("lengths", lambda a: a - 1, r"saved `lengths` must be in \[1, 3\], got 0"),
        ("lengths", lambda a: a + 1, r"saved `lengths` must be in \[1, 3\], got 4"),
        ("positions", lambda a: a + 3, r"saved `positions` must be in \[0, 2\], got 3"),
        ("positions", lambda a: a + 1, "saved `positions` must be below `lengths`"),
    ],
)
def test_damaged_schedules_are_refused(name: str, change: Callable[[np.ndarray], np.ndarray], message: str) -> None:
    state = dict(saved_schedule().save_state())
    state[f"schedule/{name}"] = change(state[f"schedule/{name}"])
    schedule = saved_schedule()
    with pytest.raises(StateError, match=message):
        schedule.restore(state)
    assert schedule.propose(view_of(0, 1, 2, 3)).tolist() == [WAIT, WORK, WAIT, COOK]


def test_schedules_without_the_other_controllers_plans_are_refused() -> None:
    outer = ScheduleController(capacity=4, num_actions=NUM_ACTIONS, otherwise=saved_schedule())
    with pytest.raises(StateError, match="the saved state of the schedules must have the arrays"):
        outer.restore(saved_schedule().save_state())


BED, REST = AgentIntent(kind="request", object_id="bed"), AgentIntent(kind="wait")


class Wanderer:
    """Walks on, and is told everything."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.cancelled: list[str] = []

    def decide(self, world: PlainWorld, agent_id: str) -> AgentIntent:
        return AgentIntent(kind="move", position=(1, 1))

    def settled(self, world: PlainWorld, agent_id: str, intent: AgentIntent) -> None:
        self.done.append(agent_id)

    def cancel_pending(self, agent_id: str) -> None:
        self.cancelled.append(agent_id)

    def should_avoid(self, world: PlainWorld, agent_id: str, other_id: str) -> bool:
        return other_id == "max"


class Deaf:
    def decide(self, world: PlainWorld, agent_id: str) -> AgentIntent:
        return REST


def test_intents_are_played_in_a_loop_and_only_when_they_were_executed() -> None:
    world, script = PlainWorld(), ScheduledBehavior(Wanderer(), {"ann": [BED, REST]})
    played = []
    for executed in (True, True, False, True, True):
        intent = script.decide(world, "ann")
        played.append(intent.kind)
        script.settled(world, "ann", intent if executed else AgentIntent(kind="chat", target_agent="bob"))
    assert played == ["request", "wait", "request", "request", "wait"]
    assert script.decide(world, "bob").kind == "move"


def test_a_blocked_intent_is_a_tick_of_waiting() -> None:
    world = PlainWorld()
    script = ScheduledBehavior(Deaf(), {"ann": [AgentIntent(kind="move", position=(0, 1), blocked=True), BED]})
    assert script.decide(world, "ann") == REST
    script.settled(world, "ann", REST)
    assert script.decide(world, "ann") == BED


def test_the_other_controller_keeps_its_say() -> None:
    wanderer, world = Wanderer(), PlainWorld(rivalries={("ann", "bob"): 1.0})
    script, deaf = ScheduledBehavior(wanderer, {"ann": [BED]}), ScheduledBehavior(Deaf(), {"ann": [BED]})
    script.settled(world, "ann", BED)
    script.cancel_pending("ann")
    assert (wanderer.done, wanderer.cancelled) == (["ann"], ["ann"])
    deaf.settled(world, "ann", BED)
    deaf.cancel_pending("ann")
    assert [script.should_avoid(world, "ann", other) for other in ("bob", "max")] == [False, True]
    assert [deaf.should_avoid(world, "ann", other) for other in ("bob", "max")] == [True, False]


def test_a_schedule_without_intents_is_refused() -> None:
    with pytest.raises(ConfigError, match="a schedule must have at least one intent, that of 'ann' has none"):
        ScheduledBehavior(Deaf(), {"ann": []})


def test_a_schedule_of_numbers_is_played_and_saved() -> None:
    def fresh() -> tuple[ScheduleController, BehaviorBridge]:
        others = Script((0.0, 1.0), (float("nan"), float("nan")), (0.0, 1.0), dtype=np.float32)
        schedule = ScheduleController(capacity=4, actions=BOX, otherwise=others)
        return schedule, BehaviorBridge(BOX, schedule, capacity=4, config=BridgeConfig(), seed=1)

    schedule, bridge = fresh()
    schedule.assign(3, [(0.5, 1.0), (-1.0, 2.0)])
    check_controller(schedule, view_of(0, 1, 3), BOX)
    decisions = bridge.decide(view_of(0, 1, 3), tick=0)
    assert decisions.action.tolist() == [[0.0, 1.0], [0.0, 0.5], [0.5, 1.0]]
    assert decisions.proposer.tolist() == [0, -1, 1]
    other, restored = fresh()
    restored.restore(through_a_file(bridge.save_state()))
    for one in bridge, restored:
        played = [one.decide(view_of(0, 1, 3), tick=tick).action[2].tolist() for tick in (1, 2)]
        assert played == [[-1.0, 2.0], [0.5, 1.0]]
    state = dict(other.save_state())
    entries = state["schedule/entries"].astype(np.float64)
    state["schedule/entries"] = np.where(entries == 2.0, 2.5, entries)
    with pytest.raises(StateError, match=r"saved `entries` must be float32 \(4, 2, 2\), got float64"):
        other.restore(state)
    state["schedule/entries"] = state["schedule/entries"].astype(np.float32)
    with pytest.raises(StateError, match=r"in \[-1.0, 1.0\] × \[0.5, 2.0\] or nan, got \[-1.   2.5\]"):
        other.restore(state)
    with pytest.raises(UnknownActionError, match=r"slot 1 must hold actions in .*, got \[\(0.0, 1.0\), \(0.0,\)\]"):
        schedule.assign(1, [(0.0, 1.0), (0.0,)])


def test_a_schedule_of_parts_waits_its_turn() -> None:
    schedule = ScheduleController(capacity=4, actions=PARTS, otherwise=NoProposals(PARTS))
    schedule.assign(0, [(EAT, 1, 0), (WORK, 0, 2), (NORTH, 0, 0)])
    bridge = BehaviorBridge(PARTS, schedule, capacity=4, config=BridgeConfig(), seed=1)
    mask = np.ones((1, 10), np.bool_)
    mask[0, 6] = False
    assert bridge.decide(view_of(0, mask=mask), tick=0).action.tolist() == [[EAT, 0, 0]]
    played = [bridge.decide(view_of(0), tick=tick).action[0].tolist() for tick in (1, 2, 3)]
    assert played == [[EAT, 1, 0], [WORK, 0, 2], [NORTH, 0, 0]]


def test_a_schedule_is_told_its_actions_once() -> None:
    with pytest.raises(ConfigError, match="expected `num_actions` or `actions`"):
        ScheduleController(capacity=4, otherwise=Script())
