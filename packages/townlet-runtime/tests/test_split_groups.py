import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from boats import Boats
from boats import Kind as Kinds
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_parallel import coaches
from strategies import corridor_configs

from townlet_behavior import (
    BridgeConfig,
    CommitmentConfig,
    DecisionBatch,
    Guardrail,
    SavedState,
    StateError,
    Verdicts,
    View,
)
from townlet_runtime.adapters.equipped import Equipment
from townlet_runtime.core.loop import GroupedLoop, runtimes_of
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.policy import UniformPolicy
from townlet_runtime.simulation.group_members import Members
from townlet_runtime.simulation.interface import AGENTS, GroupedSimulation, Observed, SimulationSpec
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.simulation.recorded import schema_of
from townlet_runtime.simulation.script import script_side
from townlet_runtime.simulation.split_groups import SplitGroups
from townlet_runtime.testing import Corridor, CorridorConfig, check_grouped_simulation
from townlet_runtime.town import Town, TownConfig
from townlet_runtime.town.config import LifecycleConfig, RivalryConfig, SocialConfig
from townlet_trajectory import TrajectoryBatch, TrajectoryService

TOWN = TownConfig(
    num_agents=6,
    grid_size=(6, 6),
    episode_ticks=60,
    social=SocialConfig(relationships=True, social_rewards="C3"),
    rivalry=RivalryConfig(avoid_threshold=0.2),
    lifecycle=LifecycleConfig(respawn_delay_ticks=3, departure_rate=0.02, away_ticks=4),
)
TRIPLE = {"one": ["agent_01", "agent_04"], "two": ["agent_0[25]"]}


class Counter:
    """A script with plans: each agent goes through the actions; a veto sets it back, others' actions count too."""

    def __init__(self, spec: SimulationSpec) -> None:
        self._actions = len(spec.vocabulary)
        self._count = np.zeros(spec.capacity, np.int64)
        self.told: list[tuple[NDArray[np.int64], DecisionBatch]] = []

    def propose(self, view: View) -> NDArray[np.int64]:
        return self._count[view.slots] % self._actions

    def settled(self, view: View, decisions: DecisionBatch) -> None:
        self.told.append((view.slots.copy(), decisions))
        self._count[view.slots] += 1 + (decisions.source == 1) + int(decisions.action.sum())
        self._count[view.slots[decisions.vetoed]] = 0

    def forget(self, slots: NDArray[np.int64]) -> None:
        self._count[slots] = 0

    def save_state(self) -> SavedState:
        return {"count": self._count.copy()}

    def restore(self, state: SavedState) -> None:
        if state.keys() != {"count"}:
            raise StateError("another controller's")
        self._count = state["count"].copy()


class EvenSlotsMayNotTurn:
    """Forbids action 1 in even slots, and counts the vetoes it is told of."""

    reasons = ("even",)

    def __init__(self) -> None:
        self.told = 0

    def review(self, view: Observed, actions: NDArray[np.int64]) -> Verdicts:
        vetoed = (actions == 1) & (view.slots % 2 == 0)
        return Verdicts(vetoed=vetoed, replacement=actions * 0, reason=np.zeros(len(actions), np.int8))

    def settled(self, view: Observed, decisions: DecisionBatch) -> None:
        self.told += int(np.count_nonzero(decisions.vetoed))


def played(
    simulation: GroupedSimulation, *, ratio: float, ticks: int, seed: int = 3
) -> tuple[list[SavedState], dict[str, TrajectoryBatch], list[NDArray[Any]]]:
    """The states of the world, the records of the groups, and the events of every tick."""
    specs = simulation.specs
    seeds = np.arange(next(iter(specs.values())).num_worlds) + seed
    beginning = simulation.reset(seeds=seeds)
    services = {
        group: TrajectoryService(
            schema_of(spec, masked=beginning[group].action_mask is not None), max_rows=10_000, on_full="raise"
        )
        for group, spec in specs.items()
    }
    spec = next(iter(specs.values()))
    config = BridgeConfig(ratio=ratio, commitment=CommitmentConfig(ticks=spec.option_ticks))
    runtimes = runtimes_of(
        simulation,
        script_side(simulation),
        config=config,
        policies={group: UniformPolicy.of(spec) for group, spec in specs.items()} if ratio else None,
        services=services,
        seed=seed,
    )
    loop = GroupedLoop(simulation, runtimes)
    for group, runtime in runtimes.items():
        runtime.begin(beginning[group], tick=0)
    states, events = [], []
    for _ in range(ticks):
        stepped = loop.step()
        events.append(sum(one.events for one in stepped.values()))
        states.append(simulation.save_state() or {})
    return states, {group: service.collect() for group, service in services.items()}, events


def records(batches: Mapping[str, TrajectoryBatch]) -> dict[tuple[int, int, str, int], tuple[Any, ...]]:
    """Everything that was recorded of each agent at each tick."""
    rows: dict[tuple[int, int, str, int], tuple[Any, ...]] = {}
    for batch in batches.values():
        for index in range(len(batch)):
            begin, end = batch.offsets[index], batch.offsets[index + 1]
            for row in range(begin, end):
                key = (
                    int(batch.worlds[index]),
                    int(batch.episodes[index]),
                    batch.agent_ids[index],
                    int(batch.ticks[row]),
                )
                rows[key] = (
                    float(batch.rewards[row]),
                    *(batch.columns[name][row].tolist() for name in sorted(batch.columns)),
                    *(batch.observations[name][row].tobytes() for name in sorted(batch.observations)),
                )
    return rows


def require_equal(whole: GroupedSimulation, split: GroupedSimulation, *, ratio: float, ticks: int) -> None:
    expected, of_all, events = played(whole, ratio=ratio, ticks=ticks)
    found, by_group, split_events = played(split, ratio=ratio, ticks=ticks)
    for one, other in zip(expected, found, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    np.testing.assert_array_equal(np.array(events), np.array(split_events))
    assert records(of_all) == records(by_group)


def test_agents_are_claimed_by_the_first_group_that_names_them_and_the_rest_keeps_its_name() -> None:
    town = SplitGroups(OneGroup(Town(TOWN, num_worlds=2)), TRIPLE)
    assert tuple(town.specs) == ("one", "two", "agents")
    seen = town.reset(seeds=np.array([1, 2]))
    assert {group: one.agent_ids.tolist() for group, one in seen.items()} == {
        "one": ["agent_01", "agent_04"] * 2,
        "two": ["agent_02", "agent_05"] * 2,
        "agents": ["agent_03", "agent_06"] * 2,
    }
    assert seen["two"].slots.tolist() == [1, 4, 7, 10]
    assert seen["two"].worlds.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({"a": 2}, {"a": [0, 1, 6, 7], "agents": [2, 3, 4, 5, 8, 9, 10, 11]}),
        ({"a": 0.5, "b": 0.5}, {"a": [0, 1, 2, 6, 7, 8], "b": [3, 4, 5, 9, 10, 11]}),
        # the ends of the shares are rounded, 2.4 and 4.8 of 6 places, so that nobody is lost
        ({"a": 0.4, "b": 0.4}, {"a": [0, 1, 6, 7], "b": [2, 3, 4, 8, 9, 10], "agents": [5, 11]}),
        ({"a": ["agent_02"], "b": 2}, {"a": [1, 7], "b": [0, 6], "agents": [2, 3, 4, 5, 8, 9, 10, 11]}),
        ({"a": 1, "b": ["*"]}, {"a": [0, 6], "b": [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]}),
    ],
)
def test_numbers_and_shares_claim_the_next_places_of_each_world(
    groups: Mapping[str, Members], expected: Mapping[str, Sequence[int]]
) -> None:
    town = SplitGroups(OneGroup(Town(TOWN, num_worlds=2)), groups)
    seen = town.reset(seeds=np.array([1, 2]))
    assert {group: one.slots.tolist() for group, one in seen.items()} == expected


@pytest.mark.parametrize(
    ("groups", "problem"),
    [
        ({}, "expected names of new groups, other than agents, got none"),
        ({"agents": 1}, "expected names of new groups, other than agents, got agents"),
        ({"a": 0}, "group `a`: expected a number of agents or a share, got 0"),
        ({"a": True}, "group `a`: expected a number of agents or a share, got True"),
        ({"a": 1.0}, "group `a`: expected a number of agents or a share, got 1.0"),
        ({"a": 7}, "group `a`: expected 1 to 6 more places, got 7"),
        ({"a": 6, "b": 0.1}, "group `b`: expected 1 to 0 more places, got 0.1"),
        ({"a": 0.01}, "group `a`: expected 1 to 6 more places, got 0.01"),
        ({"a": []}, r"group `a`: expected ids or patterns of agents, got \[\]"),
        ({"a": "agent_01"}, "group `a`: expected ids or patterns of agents, got 'agent_01'"),
    ],
)
def test_groups_that_cannot_be_are_refused(groups: Mapping[str, Members], problem: str) -> None:
    with pytest.raises(SimulationError, match=problem):
        SplitGroups(OneGroup(Town(TOWN, num_worlds=2)), groups)


def test_a_group_that_is_not_there_cannot_be_split_and_one_without_agents_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(SimulationError, match="expected a group to split \\(agents\\), got 'nobody'"):
        SplitGroups(OneGroup(Corridor()), {"a": 1}, of="nobody")
    worlds = SplitGroups(OneGroup(Corridor(num_worlds=2)), {"typo": ["vistor*"]})
    with caplog.at_level(logging.WARNING):
        worlds.reset(seeds=np.array([5, 6]))
        worlds.reset(seeds=np.array([5, 6]))
    assert [record.getMessage() for record in caplog.records] == [
        "`corridor`: no agent at the start is vistor* of group `typo`; there are visitor_0_1"
    ]


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_the_split_town_is_the_town(ratio: float) -> None:
    whole = OneGroup(Town(TOWN, num_worlds=2))
    split = SplitGroups(OneGroup(Town(TOWN, num_worlds=2)), TRIPLE)
    require_equal(whole, split, ratio=ratio, ticks=90)


@given(
    corridor_configs,
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([{"a": ["visitor_0_*"]}, {"a": ["*_1"], "b": ["visitor_[02]_*"]}, {"a": 1}]),
)
def test_a_split_world_under_a_script_with_plans_and_a_guardrail_is_the_world(
    config: CorridorConfig, ratio: float, groups: Mapping[str, Members]
) -> None:
    equipment = Equipment(controller=Counter, guardrails=(lambda spec: EvenSlotsMayNotTurn(),))
    config = replace(config, masked=False)
    whole = equipment.of(OneGroup(Corridor(config, num_worlds=2)))
    split = SplitGroups(equipment.of(OneGroup(Corridor(config, num_worlds=2))), groups)
    require_equal(whole, split, ratio=ratio, ticks=40)


def test_script_and_guardrail_are_told_once_a_tick_of_all_groups_at_once() -> None:
    made: list[Counter] = []
    rules: list[EvenSlotsMayNotTurn] = []

    def counter(spec: SimulationSpec) -> Counter:
        made.append(Counter(spec))
        return made[-1]

    def rule(spec: SimulationSpec) -> Guardrail:
        rules.append(EvenSlotsMayNotTurn())
        return rules[-1]

    corridor = OneGroup(Corridor(CorridorConfig(masked=False, max_absence=1), num_worlds=1))
    split = SplitGroups(Equipment(controller=counter, guardrails=(rule,)).of(corridor), {"a": ["visitor_0_*"]})
    played(split, ratio=0.0, ticks=2)
    (script,), (guardrail,) = made, rules
    # the agent of slot 2 comes at tick 1
    assert [slots.tolist() for slots, _ in script.told] == [[0, 1], [0, 1, 2]]
    # tick 0: all wait; tick 1: those of slots 0 and 1 go on to action 1, which slot 0 may not, slot 2 begins
    assert [decisions.action.tolist() for _, decisions in script.told] == [[0, 0], [0, 1, 0]]
    assert [decisions.chosen_action.tolist() for _, decisions in script.told] == [[0, 0], [1, 1, 0]]
    assert guardrail.told == 1


def test_a_group_under_another_controller_is_known_by_what_it_did() -> None:
    script = Counter(Corridor().spec)
    corridor = OneGroup(Corridor(CorridorConfig(masked=False, max_absence=1), num_worlds=1))
    split = SplitGroups(Equipment(controller=lambda spec: script).of(corridor), {"a": ["visitor_0_*"]})
    seen = split.reset(seeds=np.array([3]))
    own = split.scripted("scripted")["a"]
    runtimes = runtimes_of(
        split, split.scripted("scripted"), config=BridgeConfig(), policies=None, services=None, seed=1
    )
    runtimes["a"].begin(seen["a"], tick=0)
    executed = {"a": runtimes["a"].decide_batch().action, "agents": np.array([2])}
    split.step(executed)
    ((slots, decisions),) = script.told
    assert (slots.tolist(), decisions.action.tolist()) == ([0, 1], [0, 2])
    assert decisions.kind.tolist() == [2, 2]  # without a policy all choices are foreign to it
    assert decisions.source.tolist() == [0, 2]
    assert own.propose(seen["a"]).shape == (1,)


@pytest.mark.parametrize("groups", [TRIPLE, {"a": 0.5}, {"a": ["agent_0*"]}])
def test_a_split_town_keeps_what_simulations_promise(groups: Mapping[str, Members]) -> None:
    check_grouped_simulation(SplitGroups(OneGroup(Town(TOWN, num_worlds=2)), groups), seed=1, ticks=80)


def test_a_split_corridor_keeps_what_simulations_promise_with_its_commitments_shown() -> None:
    worlds = SplitGroups(OneGroup(Corridor(num_worlds=3)), {"a": ["visitor_1_*", "*_2"], "b": 1})
    check_grouped_simulation(worlds, seed=2, ticks=90)


def test_one_group_of_several_is_split_and_the_others_are_left_alone() -> None:
    with_riders = next(group for group in coaches().specs if "rider" in group)
    other = next(group for group in coaches().specs if group != with_riders)
    split = SplitGroups(coaches(2), {"first": ["rider_0"], "second": ["rider_1"], "none": ["*"]}, of=with_riders)
    assert set(split.specs) == {"first", "second", "none", other}
    check_grouped_simulation(split, seed=1, ticks=20)
    require_equal(coaches(2), split, ratio=1.0, ticks=20)


def test_what_is_below_is_drawn_and_closed() -> None:
    env = coaches(1)
    split = SplitGroups(env, {"first": ["rider_0"]}, of=next(group for group in env.specs if "rider" in group))
    split.reset(seeds=np.array([1]))
    split.close()
    assert env._envs[0].closed
    town = SplitGroups(OneGroup(Town(TOWN, num_worlds=1)), {"a": 1})
    town.reset(seeds=np.array([1]))
    assert town.behaviors == ("scripted", "nearest", "idle")
    assert town.render() is None


def test_the_number_of_actions_of_each_group_is_held_to_its_agents() -> None:
    split = SplitGroups(OneGroup(Town(TOWN, num_worlds=1)), {"a": 1})
    split.reset(seeds=np.array([1]))
    with pytest.raises(SimulationError, match="expected 5 actions of `agents`, got shape \\(4,\\)"):
        split.step({"a": np.zeros(1, np.int64), "agents": np.zeros(4, np.int64)})
    assert AGENTS in split.specs


@pytest.mark.parametrize("kind", ["numbers", "parts"])
def test_a_split_world_of_array_actions_is_the_world(kind: Kinds) -> None:
    whole = OneGroup(Boats(kind, masked=kind == "parts"))
    split = SplitGroups(OneGroup(Boats(kind, masked=kind == "parts")), {"first": ["boat_1"]})
    require_equal(whole, split, ratio=0.0, ticks=30)
    beginning = split.reset(seeds=np.arange(2))
    flat = {group: np.zeros(len(one.slots), np.int64) for group, one in beginning.items()}
    with pytest.raises(SimulationError, match="expected 2 actions of `first`, got shape"):
        split.step(flat)
