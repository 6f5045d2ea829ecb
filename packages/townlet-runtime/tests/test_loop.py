import logging
import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from beginnings import begun
from crossing import Crossing
from garden import Garden
from numpy.typing import NDArray
from strategies import LinearPolicy, bridge_config

from townlet_behavior import BridgeConfig, Guardrail, GuardrailError, IdleController, StatelessGuardrail, Verdicts
from townlet_runtime.core.loop import BatchLoop, GroupedLoop, LoopReport, count_worlds, require_groups, runtimes_of
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import (
    AGENTS,
    GroupedSimulation,
    Observed,
    SimulationSpec,
    Stepped,
    first_spec,
)
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.simulation.recorded import Filling, schema_of
from townlet_runtime.simulation.script import script_side
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_runtime.town import LifecycleConfig, Town, TownConfig
from townlet_trajectory import TrajectoryService
from townlet_trajectory.evaluation.interfaces import training_seeds
from townlet_trajectory.recording.recorder import OnFull

CONFIG = BridgeConfig()


def loop_of(corridor: Corridor, *, ratio: float = 0.0, service: TrajectoryService | None = None) -> BatchLoop:
    runtime = BatchRuntime(
        corridor.spec,
        corridor.scripted("scripted"),
        config=bridge_config(corridor, ratio=ratio),
        policy=LinearPolicy(corridor.spec, seed=2) if ratio else None,
        service=service,
        seed=4,
    )
    return BatchLoop(corridor, runtime)


class Copied:
    """A town that does not write into memory that it is lent."""

    exact = True

    def __init__(self, town: Town) -> None:
        self.spec, self.reset, self.step = town.spec, town.reset, town.step


@pytest.mark.parametrize("on_full", ["raise", "drop_oldest"])
def test_what_a_world_writes_where_it_is_kept_is_what_would_be_copied(on_full: OnFull) -> None:
    lifecycle = LifecycleConfig(respawn_delay_ticks=3, departure_rate=0.05, away_ticks=4)
    config = TownConfig(num_agents=6, episode_ticks=40, lifecycle=lifecycle)
    collected = []
    for kind in (lambda town: town, Copied):
        town = Town(config, num_worlds=2)
        script = town.scripted("scripted")
        service = TrajectoryService(
            schema_of(town.spec, masked=True),
            chunk_rows=50,
            max_rows=300 if on_full == "drop_oldest" else 2000,
            on_full=on_full,
        )
        runtime = BatchRuntime(town.spec, script, config=CONFIG, policy=None, service=service, seed=4)
        loop = BatchLoop(kind(town), runtime)
        loop.reset(3)
        batches = []
        for ticks in (1, 60, 39):
            loop.run_for(ticks)
            kept = service.trajectory
            batches.append(service.collect())
            for name, column in kept.observations.items():
                np.testing.assert_array_equal(batches[-1].observations[name], column)
        collected.append(batches)
        # The view is the memory that is kept, or it is not.
        assert runtime.observed is not None
        lent = [
            np.shares_memory(array, service.lend(1)[name].base) for name, array in runtime.observed.observations.items()
        ]
        assert lent == [isinstance(loop.simulation, Filling)] * 2
    for one, other in zip(*collected, strict=True):
        for column in ("observations", "final_observations", "columns"):
            for name, array in vars(one)[column].items():
                np.testing.assert_array_equal(array, vars(other)[column][name])
        np.testing.assert_array_equal(one.rewards, other.rewards)


def test_a_loop_that_does_not_record_lends_nothing() -> None:
    town = Town(TownConfig(num_agents=3), num_worlds=1)
    for service in (TrajectoryService(schema_of(town.spec, masked=True), max_rows=100), None):
        script = town.scripted("scripted")
        runtime = BatchRuntime(town.spec, script, config=CONFIG, policy=None, service=service, seed=4)
        loop = BatchLoop(town, runtime)
        loop.reset(3)
        assert runtime.observed is not None
        kept = runtime.observed.observations
        first = {name: array.copy() for name, array in kept.items()}
        loop.run_for(3)
        for name, array in kept.items():
            np.testing.assert_array_equal(array, first[name])


def test_a_report_by_hand() -> None:
    # three steps to the exit: -0.01, -0.01, 1, and the next agent is there at once
    corridor = Corridor(CorridorConfig(length=4, places=1, slip=0.0, max_absence=1), num_worlds=2)
    loop = loop_of(corridor)
    loop.reset(seed=0)
    report = loop.run_for(6)
    assert (report.ticks, report.env_steps, report.agent_ticks, report.agents) == (6, 12, 12, 2.0)
    assert report.mean_reward == pytest.approx((1 - 0.02) / 3)
    assert report.events == {"exits": 4.0, "rests": 0.0}
    assert report.ticks_by_source == {"scripted": 12, "learned": 0, "external": 0}
    assert report.decisions_by_source == {"scripted": 0, "learned": 0, "external": 0}
    assert report.vetoes == 0
    assert loop.tick == 6


class Watched(Corridor):
    """Remembers the seeds that it was begun with."""

    def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
        self.begun = seeds.tolist()
        return super().reset(seeds=seeds)


def test_worlds_of_two_runs_share_no_seed() -> None:
    used = []
    for run in range(20):
        corridor = Watched(num_worlds=8)
        loop_of(corridor).reset(seed=run)
        used += corridor.begun
    assert len(set(used)) == 20 * 8


def test_rates_are_counts_over_wall_time() -> None:
    report = LoopReport(
        ticks=4,
        env_steps=4,
        agent_ticks=12,
        wall_time_s=0.5,
        mean_reward=0.0,
        events={},
        decisions_by_source={},
        ticks_by_source={},
        vetoes=0,
    )
    assert (report.ticks_per_s, report.agent_decisions_per_s, report.agents) == (8.0, 24.0, 3.0)


class Paid(Corridor):
    """Says that a reward has two parts: what was walked, and 1 for each agent."""

    @property
    def spec(self) -> SimulationSpec:
        return replace(super().spec, reward_terms=("walk", "presence"))

    def step(self, actions: NDArray[np.int64]) -> Stepped:
        stepped = super().step(actions)
        present = np.ones(len(stepped.rewards), np.float32)
        return replace(stepped, reward_terms={"walk": stepped.rewards, "presence": present})


def test_named_parts_of_the_reward_are_summed_up() -> None:
    loop = loop_of(Paid())
    loop.reset(seed=0)
    report = LoopReport.of_all([loop.run_for(3), loop.run_for(17)])
    assert report.reward_terms["presence"] == report.agent_ticks
    assert report.reward_terms["walk"] == pytest.approx(report.mean_reward * report.agent_ticks)
    plain = loop_of(Corridor())
    plain.reset(seed=0)
    assert plain.run_for(3).reward_terms == {}


def test_a_second_report_counts_only_its_own_ticks() -> None:
    corridor = Corridor()
    loop = loop_of(corridor, ratio=0.5)
    loop.reset(seed=0)
    first, second = loop.run_for(30), loop.run_for(1)
    assert sum(first.ticks_by_source.values()) == first.agent_ticks
    assert sum(second.ticks_by_source.values()) == second.agent_ticks <= 3
    assert first.decisions_by_source["learned"] > 0 and first.decisions_by_source["scripted"] > 0


def test_reports_of_parts_add_up_to_that_of_the_whole() -> None:
    whole, parts = loop_of(Corridor(num_worlds=2), ratio=0.5), loop_of(Corridor(num_worlds=2), ratio=0.5)
    whole.reset(seed=0)
    parts.reset(seed=0)
    # Uneven parts, in which different numbers of agents are there: a mean of means would be another number.
    total, one = LoopReport.of_all([parts.run_for(1), parts.run_for(40), parts.run_for(9)]), whole.run_for(50)
    assert total.mean_reward == pytest.approx(one.mean_reward, rel=1e-12)
    assert replace(total, wall_time_s=1.0, mean_reward=0.0) == replace(one, wall_time_s=1.0, mean_reward=0.0)
    assert total.wall_time_s > 0.0 and total.env_steps == 100 and total.agent_ticks < 50 * 2 * 3


def test_the_tick_counts_on_through_a_reset() -> None:
    service = TrajectoryService(schema_of(Corridor().spec, masked=True), max_rows=1000)
    loop = loop_of(Corridor(), service=service)
    loop.reset(seed=0)
    loop.run_for(3)
    loop.reset(seed=0)
    # tick 3 was begun in the old worlds and is never decided
    assert loop.tick == 4
    loop.run_for(2)
    assert set(loop.runtime.collect_trajectory().ticks.tolist()) == {4, 5}


def test_the_loop_says_what_it_steps() -> None:
    corridor = Corridor()
    loop = loop_of(corridor)
    assert loop.simulation is corridor and loop.runtime.tick == 0


def test_a_loop_must_be_reset_and_do_something() -> None:
    loop = loop_of(Corridor())
    with pytest.raises(SimulationError, match="tick 0"):
        loop.step()
    loop.reset(seed=0)
    with pytest.raises(SimulationError, match="`ticks` must be at least 1, got 0"):
        loop.run_for(0)


def test_the_same_seeds_give_the_same_run_and_others_another() -> None:
    def rewards(seed: int) -> list[float]:
        loop = loop_of(Corridor(), ratio=0.5)
        loop.reset(seed=seed)
        return [float(loop.step().rewards.sum()) for _ in range(40)]

    assert rewards(1) == rewards(1)
    assert rewards(1) != rewards(2)


def test_every_tick_leaves_a_line_where_somebody_listens(caplog: pytest.LogCaptureFixture) -> None:
    corridor = Corridor(CorridorConfig(places=1, max_absence=1))
    service = TrajectoryService(schema_of(corridor.spec, masked=True), max_rows=2, on_full="drop_oldest")
    for recorder, queue, dropped in ((service, 2, 1), (None, 0, 0)):
        caplog.clear()
        loop = loop_of(corridor, service=recorder)
        loop.reset(seed=0)
        with caplog.at_level(logging.INFO, logger="townlet_runtime.core.telemetry"):
            loop.run_for(3)
        assert [re.findall(r"tick=(\d+)", line) for line in caplog.messages] == [["1"], ["2"], ["3"]]
        assert f"queue={queue} dropped={dropped} " in caplog.messages[-1]


def test_nobody_there_is_a_tick_like_any_other() -> None:
    # two cells: an agent leaves at once, and its place is empty for a while
    corridor = Corridor(CorridorConfig(length=2, places=1, slip=0.0, max_absence=9, episode_ticks=30))
    service = TrajectoryService(schema_of(corridor.spec, masked=True), max_rows=1000)
    loop = loop_of(corridor, ratio=0.5, service=service)
    loop.reset(seed=3)
    report = loop.run_for(25)
    assert 0 < report.agent_ticks < 25
    assert report.env_steps == report.agent_ticks
    assert loop.runtime.collect_trajectory().num_steps == report.agent_ticks


def test_an_empty_world_has_a_mean_reward_of_zero() -> None:
    corridor = Corridor(CorridorConfig(length=2, places=1, slip=0.0, max_absence=9, episode_ticks=30))
    loop = loop_of(corridor)
    loop.reset(seed=3)
    while len(loop.step().observed.slots):
        pass
    report = loop.run_for(1)
    assert (report.agent_ticks, report.mean_reward) == (0, 0.0)


def test_the_groups_of_a_world_add_up() -> None:
    crossing = Crossing(2)
    runtimes = runtimes_of(crossing, crossing.scripted("scripted"), config=CONFIG, policies=None, services=None, seed=1)
    loop = GroupedLoop(crossing, runtimes)
    loop.reset(seed=5)
    report = loop.run_for(50)
    # the same worlds again, counted by hand
    again, present, steps, rewards = Crossing(2), 0, 0, 0.0
    scripts, observed = again.scripted("scripted"), again.reset(seeds=training_seeds(5, 2))
    events = np.zeros(2)
    for _ in range(50):
        present += sum(len(one.slots) for one in observed.values())
        steps += len({world for one in observed.values() for world in one.worlds.tolist()})
        stepped = again.step({group: scripts[group].propose(one) for group, one in observed.items()})
        rewards += sum(float(one.rewards.sum(dtype=np.float64)) for one in stepped.values())
        events += sum(one.events.sum(axis=0) for one in stepped.values())
        observed = {group: one.observed for group, one in stepped.items()}
    assert (report.agent_ticks, report.env_steps) == (present, steps)
    assert report.ticks_by_source["scripted"] == present
    assert report.mean_reward == pytest.approx(rewards / present)
    assert list(report.events.values()) == events.tolist()
    # somebody is missing at times, so that the counts say something
    assert present < 50 * 6 and {len(one.slots) for one in observed.values()} != {4, 2}


class Wordless(Crossing):
    """Has no script."""

    behaviors = ("idle",)


class Forbidding(StatelessGuardrail):
    """Lets nobody do anything but wait."""

    reasons = ("forbidden",)

    def review(self, view: Observed, actions: np.ndarray) -> Verdicts:
        shape = len(actions)
        return Verdicts(vetoed=actions != 0, replacement=np.zeros(shape, np.int64), reason=np.zeros(shape, np.int8))


def test_the_script_is_blended_with_where_there_is_one() -> None:
    crossing = Crossing(1)
    observed = begun(crossing, 0)
    scripts = script_side(crossing)
    assert {group: set(scripts[group].propose(observed[group]).tolist()) for group in scripts} == {
        "long": {2},
        "short": {2},
    }


def test_nothing_is_proposed_where_there_is_no_script() -> None:
    wordless = Wordless(2)
    observed = begun(wordless, 0)
    for group, script in script_side(wordless).items():
        assert script.propose(observed[group]).tolist() == [-1] * len(observed[group].slots)


def test_every_group_is_judged_by_its_own_guardrails() -> None:
    class Guarded(Crossing):
        def guardrails(self) -> dict[str, tuple[Guardrail, ...]]:
            return {"long": (Forbidding(),), "short": ()}

    crossing = Guarded(1)
    scripts = crossing.scripted("scripted")
    runtimes = runtimes_of(crossing, scripts, config=CONFIG, policies=None, services=None, seed=0)
    observed = begun(crossing, 0)
    for group, runtime in runtimes.items():
        runtime.begin(observed[group], tick=0)
    decided = {group: runtime.decide_batch() for group, runtime in runtimes.items()}
    assert decided["long"].vetoed.all() and not decided["long"].action.any()
    assert not decided["short"].vetoed.any() and decided["short"].action.all()
    assert runtimes["long"].counts().vetoes == {"action_mask": 0, "forbidden": 1}


def test_guardrails_of_a_group_must_not_share_reasons() -> None:
    class Twice(Crossing):
        def guardrails(self) -> dict[str, tuple[Guardrail, ...]]:
            return {"long": (Forbidding(), Forbidding()), "short": ()}

    crossing = Twice(1)
    with pytest.raises(GuardrailError, match="forbidden"):
        runtimes_of(crossing, crossing.scripted("idle"), config=CONFIG, policies=None, services=None, seed=0)


def test_there_must_be_a_policy_for_each_group() -> None:
    crossing = Crossing(1)
    policies = {group: LinearPolicy(spec, seed=0) for group, spec in crossing.specs.items()}
    require_groups(policies, crossing)
    with pytest.raises(SimulationError, match=r"a policy for each group of \['long', 'short'\], got \['long'\]"):
        require_groups({"long": policies["long"]}, crossing)


@pytest.mark.parametrize(("slots", "worlds"), [([], 0), ([0], 1), ([0, 1], 1), ([1, 2], 2), ([0, 1, 2, 3, 4, 5], 3)])
def test_worlds_with_somebody_in_them_are_counted(slots: list[int], worlds: int) -> None:
    corridor = Corridor(CorridorConfig(places=2, max_absence=1), num_worlds=3)
    everybody = begun(corridor, 0)
    while len(everybody.slots) < 6:
        everybody = corridor.step(np.zeros(len(everybody.slots), np.int64)).observed
    (runtime,) = runtimes_for(OneGroup(corridor))
    assert count_worlds([runtime], [corridor.spec]) == 0
    runtime.begin(rows_of(everybody, slots), tick=0)
    assert count_worlds([runtime], [corridor.spec]) == worlds


def test_a_world_with_agents_of_two_groups_counts_once() -> None:
    crossing = Crossing(3, places=1)
    observed, runtimes = begun(crossing, 0), runtimes_for(crossing)
    specs = list(crossing.specs.values())
    for tick, (long, short, worlds) in enumerate([([0, 1], [1], 2), ([0], [1], 2), ([], [1], 1), ([0, 1, 2], [], 3)]):
        runtimes[0].begin(rows_of(observed["long"], long), tick=tick)
        runtimes[1].begin(rows_of(observed["short"], short), tick=tick)
        assert count_worlds(runtimes, specs) == worlds


def runtimes_for(simulation: GroupedSimulation) -> list[BatchRuntime]:
    scripts = simulation.scripted("idle")
    return list(runtimes_of(simulation, scripts, config=CONFIG, policies=None, services=None, seed=0).values())


def rows_of(observed: Observed, rows: list[int]) -> Observed:
    """Some rows; only what counting reads."""
    taken = np.array(rows, np.int64)
    return Observed(
        slots=observed.slots[taken],
        keys=observed.keys[taken],
        agent_ids=observed.agent_ids[taken],
        worlds=observed.worlds[taken],
        episodes=observed.episodes[taken],
        observations={name: array[taken] for name, array in observed.observations.items()},
        action_mask=None,
        option_done=observed.option_done[taken],
    )


def test_a_plain_simulation_is_a_group_called_agents() -> None:
    corridor = Corridor(CorridorConfig(), num_worlds=2)
    grouped = OneGroup(corridor)
    assert list(grouped.specs) == [AGENTS] and first_spec(grouped) is corridor.spec
    assert grouped.behaviors == ("scripted", "nearest", "idle") and grouped.guardrails() == {AGENTS: ()}
    observed = begun(grouped, 3)[AGENTS]
    actions = grouped.scripted("scripted")[AGENTS].propose(observed)
    stepped = grouped.step({AGENTS: actions})[AGENTS]
    state = grouped.save_state()
    assert state is not None
    again = grouped.restore(state)[AGENTS]
    np.testing.assert_array_equal(again.observations["features"], stepped.observed.observations["features"])


def test_rewards_that_are_no_numbers_are_refused_without_a_recorder() -> None:
    class Broke(Crossing):
        def step(self, actions: Mapping[str, NDArray[np.int64]]) -> Mapping[str, Stepped]:
            stepped = super().step(actions)
            return {group: replace(one, rewards=one.rewards * np.float32(np.nan)) for group, one in stepped.items()}

    crossing = Broke(1)
    runtimes = runtimes_of(
        crossing, crossing.scripted("idle"), config=BridgeConfig(), policies=None, services=None, seed=1
    )
    loop = GroupedLoop(crossing, runtimes)
    loop.reset(seed=1)
    with pytest.raises(SimulationError, match="`corridor`: expected finite rewards, got a sum of nan"):
        loop.run_for(3)


def test_a_loop_over_a_world_that_cannot_be_saved_saves_nothing() -> None:
    garden = Garden()
    runtime = BatchRuntime(
        garden.spec, IdleController(wait=1), config=BridgeConfig(), policy=None, service=None, seed=0
    )
    loop = BatchLoop(garden, runtime)
    loop.reset(seed=1)
    assert loop.run_for(7).agent_ticks == 28 and loop.save_state() is None
