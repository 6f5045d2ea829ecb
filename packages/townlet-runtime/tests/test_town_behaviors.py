"""Schedules: worked out by hand, against the same rules written agent by agent, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from beginnings import begun
from hypothesis import given, settings
from hypothesis import strategies as st

from townlet_behavior import ScriptedConfig
from townlet_runtime.config import bridge_config, load_config, script_config, town_config
from townlet_runtime.core.loop import BatchLoop
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.errors import TownConfigError
from townlet_runtime.town import (
    AffordanceSpec,
    AgentSpec,
    LifecycleConfig,
    ObjectSpec,
    QueueConfig,
    ScheduledIntent,
    Town,
    TownConfig,
    TownObserved,
)
from townlet_runtime.town.actions import TABLE
from townlet_runtime.town.behaviors import town_script

SCENARIOS = Path(__file__).parent / "data" / "scenarios"
KEYS = TABLE.vocabulary.keys
BEDS = (ObjectSpec(id="b1", type="bed", position=(3, 0)), ObjectSpec(id="b2", type="bed", position=(0, 2)))


def intents(*texts: str) -> tuple[ScheduledIntent, ...]:
    """`start b1`, `move 3 0`, `wait`, `request b1 blocked`."""
    made = []
    for text in texts:
        kind, *rest = text.split()
        blocked = rest[-1:] == ["blocked"]
        rest = rest[: len(rest) - blocked]
        position = (int(rest[0]), int(rest[1])) if kind == "move" else None
        named = rest[0] if rest and kind != "move" else None
        made.append(ScheduledIntent(kind=kind, object_id=named, position=position, blocked=blocked))  # type: ignore[arg-type]
    return tuple(made)


def town(*schedules: tuple[ScheduledIntent, ...], num_worlds: int = 1, **changes: object) -> Town:
    """A town of quiet agents at (0, 0), one for each schedule; a use of a bed takes two ticks."""
    agents = tuple(
        AgentSpec(id=f"a{i}", position=(0, 0), wallet=9.0, schedule=schedule) for i, schedule in enumerate(schedules)
    )
    quiet = TownConfig(
        grid_size=(5, 4),
        local_window=3,
        episode_ticks=10_000,
        agents=agents,
        objects=BEDS,
        needs_decay=(0.0, 0.0, 0.0),
        affordances={**TownConfig().affordances, "bed": AffordanceSpec(id="nap", duration=2, effects=(0.0, 0.0, 0.0))},
        queue=QueueConfig(cooldown_ticks=0, ghost_step_after=99),
        lifecycle=LifecycleConfig(departure_rate=0.0),
    )
    return Town(replace(quiet, **changes), num_worlds=num_worlds)  # type: ignore[arg-type]


def played(world: Town, ticks: int) -> list[tuple[str, ...]]:
    """What each agent does, tick by tick, if the schedule has its way."""
    observed = begun(world, 1)
    controller = world.scripted("idle")
    done = []
    for _ in range(ticks):
        actions = controller.propose(observed)
        done.append(tuple(KEYS[action] for action in actions))
        observed = world.step(actions).observed
    return done


def test_a_use_by_schedule_worked_out_by_hand() -> None:
    # (0, 0) to the bed at (3, 0): three steps; the third brings it into the line, and it is the first there.
    world = town(intents("start b1", "wait", "release"))
    step = ("request:bed:first",)
    assert played(world, 9) == [step, step, step, ("start",), ("wait",), ("wait",), step, ("start",), ("wait",)]
    # The use begins at tick 3, which is its first tick, and ends at tick 4, the tick of `wait`; `release` at tick 5 has
    # nothing to give up any more, and waits.


def test_a_walk_goes_first_along_x_and_ends_at_its_cell() -> None:
    world = town(intents("move 2 1", "move 2 1", "move 0 0"))
    east, west, south, north = (("move:" + side,) for side in ("east", "west", "south", "north"))
    # To be there already takes a tick of waiting.
    assert played(world, 8) == [east, east, south, ("wait",), west, west, north, east]


def test_request_holds_the_turn_and_takes_it_not() -> None:
    world = town(intents("request b2", "wait", "wait", "release", "request b2 blocked", "blocked"))
    request = ("request:bed:nearest",)
    waits = [("wait",)] * 2
    assert played(world, 9) == [request, request, *waits, ("release",), *waits, request, ("wait",)]
    assert world.state.events.sum() == 0.0


def test_the_way_that_means_the_very_object_is_found_or_it_is_walked_to() -> None:
    beds = tuple(ObjectSpec(id=f"b{i}", type="bed", position=(i, 3)) for i in range(3))
    world = town(intents("start b2"), objects=beds)
    # b0 is first, nearest and least busy until b2 is nearer: at (2, 0) they are 5 and 3 steps away.
    assert played(world, 6)[:5] == [("move:east",)] * 2 + [("request:bed:nearest",)] * 3


def test_an_object_that_cannot_be_paid_is_walked_to_and_waited_for() -> None:
    dear = AffordanceSpec(id="nap", duration=2, effects=(0.0, 0.0, 0.0), cost=99.0)
    world = town(intents("start b2"), affordances={**TownConfig().affordances, "bed": dear})
    assert played(world, 4) == [("move:south",), ("move:south",), ("wait",), ("wait",)]


def test_while_something_is_used_only_wait_and_release_go_on() -> None:
    world = town(intents("move 3 0", "start b1", "move 0 0"))
    keys = [key for (key,) in played(world, 9)]
    assert keys[3:] == ["request:bed:first", "start", "wait", "move:west", "move:west", "move:west"]
    world = town(intents("move 3 0", "start b1", "release", "blocked"))
    keys = [key for (key,) in played(world, 8)]
    assert keys[3:] == ["request:bed:first", "start", "release", "wait", "wait"]


def test_a_use_of_one_tick_is_seen_to_begin() -> None:
    short = AffordanceSpec(id="blink", duration=1, effects=(0.0, 0.0, 0.0))
    world = town(intents("start b1", "wait", "wait"), affordances={**TownConfig().affordances, "bed": short})
    keys = [key for (key,) in played(world, 8)]
    assert keys == ["request:bed:first"] * 3 + ["start", "wait", "wait", "request:bed:first", "start"]


def test_agents_without_a_schedule_live_by_the_script_and_worlds_are_alike() -> None:
    world = town(intents("move 4 3"), (), intents("wait"), num_worlds=2)
    observed = begun(world, 1)
    for name in world.behaviors:
        proposals = world.scripted(name).propose(observed)
        assert [KEYS[action] for action in proposals[[0, 2, 3, 5]]] == ["move:east", "wait"] * 2
    by_script = town_script("first", ScriptedConfig()).propose(observed)
    assert world.scripted("scripted").propose(observed)[[1, 4]].tolist() == by_script[[1, 4]].tolist()
    assert [KEYS[action] for action in world.scripted("idle").propose(observed)[[1, 4]]] == ["wait", "wait"]


def test_a_commitment_does_not_carry_a_walk_beyond_its_end() -> None:
    # The format's own length, 15 ticks for a step.
    config = load_config(SCENARIOS / "queue_conflict.yaml").config
    world = Town(town_config(config), num_worlds=1, script=script_config(config))
    runtime = BatchRuntime(
        world.spec,
        world.scripted("scripted"),
        config=bridge_config(config, ratio=0.0),
        policy=None,
        service=None,
        seed=1,
        guardrails=world.guardrails(),
    )
    loop = BatchLoop(world, runtime)
    loop.reset(1)
    loop.run_for(2)
    assert list(zip(world.state.x.tolist(), world.state.y.tolist(), strict=True)) == [(12, 12), (13, 12), (12, 13)]
    report = loop.run_for(77)
    assert report.events["queue_conflict_events"] >= 10
    assert report.events["shower_complete_events"] == 0.0  # everybody gives the shower up at once: `release`


def test_alice_and_bob_cook_their_breakfast() -> None:
    config = load_config(SCENARIOS / "kitchen_breakfast.yaml").config
    world = Town(town_config(config), num_worlds=1, script=script_config(config))
    keys = played(world, 39)
    assert keys[:5] == [
        # Alice is two steps from the fridge at (12, 13), which she only lines up for; bob waits a tick, then follows.
        ("request:fridge:first", "wait"),
        ("request:fridge:first", "request:fridge:first"),
        ("request:stove:first", "request:fridge:first"),
        ("start", "request:stove:first"),
        ("wait", "request:stove:first"),
    ]
    # Cooking takes 12 ticks, from tick 3 to tick 14; then it is bob's turn, and alice's again at tick 27.
    starts = [(tick, pair.index("start")) for tick, pair in enumerate(keys) if "start" in pair]
    assert starts == [(3, 0), (15, 1), (27, 0)]
    stock = world.state.stock[[0]].item()
    assert stock == 8 + 3 * 4


def test_an_absent_agent_begins_anew_when_it_is_back() -> None:
    world = town(
        intents("wait", "wait", "move 4 3"),
        needs_decay=(0.2, 0.0, 0.0),
        lifecycle=LifecycleConfig(respawn_delay_ticks=2, departure_rate=0.0),
    )
    observed = begun(world, 1)
    seen = []
    for _ in range(12):
        seen.append((len(observed.slots), int(world.state.schedule_at[0])))
        observed = world.step(world.scripted("idle").propose(observed)).observed
    # A hunger of 0.7 lasts four ticks; two ticks later it is back.
    assert seen[:7] == [(1, 0), (1, 1), (1, 2), (1, 2), (0, 2), (0, 2), (1, 0)]


def test_a_restored_town_goes_on_in_the_middle_of_its_schedules() -> None:
    schedules = intents("start b1", "move 0 0", "wait"), intents("request b2", "release")
    one, other = town(*schedules), town(*schedules)
    played(one, 7)
    saved = one.save_state()
    controller, observed = one.scripted("idle"), one.restore(saved)
    begun(other, 9)
    again = other.restore(saved)
    for _ in range(12):
        actions = controller.propose(observed)
        assert actions.tolist() == other.scripted("idle").propose(again).tolist()
        observed, again = one.step(actions).observed, other.step(actions).observed
        assert one.state.schedule_at.tolist() == other.state.schedule_at.tolist()


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("start b9", "`agents[a0].schedule[1].object`: expected one of b1, b2, got 'b9'"),
        ("wait b9", "`agents[a0].schedule[1].object`: expected one of b1, b2, got 'b9'"),
        ("start", "`agents[a0].schedule[1]`: expected an `object` to start"),
        ("request", "`agents[a0].schedule[1]`: expected an `object` to request"),
        ("move 5 0", "`agents[a0].schedule[1].position`: expected a cell of the 5 x 4 grid, got (5, 0)"),
    ],
)
def test_an_intent_about_nothing_is_refused_by_name(schedule: str, message: str) -> None:
    with pytest.raises(TownConfigError) as caught:
        town(intents("wait", schedule))
    assert str(caught.value) == message


def test_a_move_to_nowhere_and_a_chat_with_nobody_are_refused_by_name() -> None:
    with pytest.raises(TownConfigError) as caught:
        town((ScheduledIntent(kind="move"),))
    assert str(caught.value) == "`agents[a0].schedule[0]`: expected a `position` to move to"
    town((ScheduledIntent(kind="chat", target_agent="a0"),))
    with pytest.raises(TownConfigError) as caught:
        town((ScheduledIntent(kind="chat", target_agent="eve"),))
    assert str(caught.value) == "`agents[a0].schedule[0].target`: expected an agent of the scenario, got 'eve'"


class NaivePlayer:
    """One scheduled agent: the rules of `townlet_runtime.town.behaviors`, one after the other."""

    def __init__(self, world: Town, slot: int, schedule: tuple[ScheduledIntent, ...]) -> None:
        self.world, self.slot, self.schedule = world, slot, schedule
        self.at = 0
        self.first_object = slot // world.config.population * world.place.num_objects

    @property
    def intent(self) -> ScheduledIntent:
        return self.schedule[self.at]

    @property
    def goal(self) -> int:
        names = [item.id for item in self.world.place.objects]
        return -1 if self.intent.object_id is None else names.index(self.intent.object_id) + self.first_object

    def phase(self) -> str:
        return ("free", "line", "turn", "using")[int(self.world.state.phase[self.slot])]

    def at_goal(self) -> bool:
        return self.goal >= 0 and int(self.world.state.object[self.slot]) == self.goal

    def cell(self) -> tuple[int, int]:
        return int(self.world.state.x[self.slot]), int(self.world.state.y[self.slot])

    def propose(self, observed: TownObserved) -> str:
        kind = "blocked" if self.intent.blocked else self.intent.kind
        row = observed.slots.tolist().index(self.slot)
        if kind == "release":
            holds = int(self.world.state.object[self.slot]) >= 0
            return "release" if holds and (self.at_goal() or self.goal < 0) else "wait"
        if self.phase() == "using" or kind in ("wait", "blocked"):
            return "wait"
        if kind == "chat":
            return "chat" if observed.action_mask[row, KEYS.index("chat")] else "wait"
        if kind == "move":
            assert self.intent.position is not None
            return self.towards(self.intent.position)
        if self.at_goal() and self.phase() == "turn":
            return "start" if kind == "start" else "wait"
        item = self.world.place.objects[self.goal - self.first_object]
        for way in ("first", "nearest", "least_busy"):
            key = f"request:{item.type}:{way}"
            if observed.targets.goals(np.full(len(self.world.state.x), KEYS.index(key)))[self.slot] == self.goal:
                return key
        return self.towards(item.position)

    def towards(self, to: tuple[int, int]) -> str:
        x, y = self.cell()
        if x != to[0]:
            return "move:east" if to[0] > x else "move:west"
        return "wait" if y == to[1] else "move:south" if to[1] > y else "move:north"

    def settle(self, was: str) -> None:
        """Go on where the intent was done in the tick that began in phase `was`."""
        kind = "blocked" if self.intent.blocked else self.intent.kind
        state = self.world.state
        fresh = self.phase() == "using" and int(state.since[self.slot]) == state.tick - 1 and self.at_goal()
        done = {
            "wait": True,
            "release": True,
            "blocked": was != "using",
            "chat": was != "using",
            "move": was != "using" and self.cell() == self.intent.position,
            "request": was != "using" and self.at_goal() and self.phase() in ("turn", "using"),
            "start": fresh,
        }[kind]
        self.at = (self.at + done) % len(self.schedule)


TEXTS = ["wait", "blocked", "chat", "release", "release b1", "move 4 3", "move 0 1", "start b1 blocked"]
TEXTS += [f"{kind} {item}" for kind in ("request", "start") for item in ("b1", "b2", "s1")]
SCHEDULES = st.lists(st.sampled_from(TEXTS), min_size=1, max_size=4).map(lambda texts: intents(*texts))


@settings(max_examples=40)
@given(st.lists(SCHEDULES, min_size=2, max_size=4), st.integers(0, 2**31 - 1))
def test_schedules_are_played_as_by_hand_whatever_else_is_done(
    schedules: list[tuple[ScheduledIntent, ...]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shower = ObjectSpec(id="s1", type="shower", position=(4, 1), places=2)
    bed = AffordanceSpec(id="nap", duration=3, effects=(0.0, 0.0, 0.0))
    world = town(
        *schedules,
        num_worlds=2,
        objects=(*BEDS, shower),
        affordances={**TownConfig().affordances, "bed": bed},
        queue=QueueConfig(cooldown_ticks=1, ghost_step_after=2),
    )
    observed = begun(world, seed)
    controller = world.scripted("scripted")
    players = [NaivePlayer(world, slot, schedules[slot % len(schedules)]) for slot in range(2 * len(schedules))]
    for _ in range(25):
        proposals = controller.propose(observed)
        assert [KEYS[action] for action in proposals] == [player.propose(observed) for player in players]
        legal = np.array([rng.choice(np.flatnonzero(mask)) for mask in observed.action_mask])
        actions = np.where(rng.random(len(proposals)) < 0.8, proposals, legal)
        before = [player.phase() for player in players]
        observed = world.step(actions).observed
        for player, was in zip(players, before, strict=True):
            player.settle(was)
        assert world.state.schedule_at.tolist() == [player.at for player in players]
        assert observed.option_done.all()
