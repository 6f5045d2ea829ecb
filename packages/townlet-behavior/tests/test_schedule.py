import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import COOK, EAT, NORTH, NUM_ACTIONS, VOCABULARY, WAIT, WORK, Forbid, Script, bridge_of, ints, view_of

from townlet_behavior import ConfigError, ScheduleController, ShapeError, UnknownActionError
from townlet_behavior.testing import check_controller


def controller_of(script: Script) -> ScheduleController:
    return ScheduleController(capacity=4, num_actions=NUM_ACTIONS, otherwise=script)


def test_a_schedule_is_played_in_a_loop() -> None:
    schedule = controller_of(Script(WAIT))
    schedule.assign(2, [EAT, EAT, WORK])
    bridge = bridge_of(schedule)
    played = [bridge.decide(view_of(2), tick=tick).action[0] for tick in range(7)]
    assert played == [EAT, EAT, WORK, EAT, EAT, WORK, EAT]


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
        (1, [WAIT, 5, -1], UnknownActionError, r"slot 1 must hold actions in \[0, 5\), got \[5, -1\]"),
    ],
)
def test_schedules_that_cannot_be_played_are_refused(
    slot: int, actions: list[int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        controller_of(Script(WAIT)).assign(slot, actions)


@pytest.mark.property
@given(st.lists(st.lists(st.integers(0, NUM_ACTIONS - 1), min_size=1, max_size=4), min_size=4, max_size=4))
def test_schedules_of_different_lengths_do_not_disturb_each_other(schedules: list[list[int]]) -> None:
    schedule = controller_of(Script(*[WAIT] * 4))
    for slot, actions in enumerate(schedules):
        schedule.assign(slot, actions)
    bridge = bridge_of(schedule)
    for tick in range(9):
        executed = bridge.decide(view_of(0, 1, 2, 3), tick=tick).action.tolist()
        assert executed == [actions[tick % len(actions)] for actions in schedules]
