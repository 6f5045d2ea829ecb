from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import LinearPolicy, bridge_config, corridor_configs, ratios, seeds

from townlet_behavior import Kind
from townlet_runtime.collector import SimulationCollector
from townlet_runtime.errors import SimulationError
from townlet_runtime.evaluate import SimulationEvaluator
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_trajectory import TrajectoryBatch


def collector(
    config: CorridorConfig, *, num_worlds: int = 2, seed: int = 1, max_rows: int = 10_000
) -> SimulationCollector:
    # What a collection is for, learning, needs observations that show the option in force.
    corridor = Corridor(replace(config, shows_commitments=True), num_worlds=num_worlds)
    return SimulationCollector(corridor, config=bridge_config(corridor), seed=seed, max_rows=max_rows)


def rows(*batches: TrajectoryBatch) -> dict[tuple[int, str, int], tuple[object, ...]]:
    """Every row by world, agent and tick; agents never come back under the same name here."""
    found: dict[tuple[int, str, int], tuple[object, ...]] = {}
    for batch in batches:
        for index in range(len(batch)):
            one = batch.trajectory(index)
            for step, tick in enumerate(one.ticks.tolist()):
                found[one.world, one.agent_id, tick] = (
                    one.observations["features"][step].tolist(),
                    one.observations["features"][step + 1].tolist(),
                    one.observations["action_mask"][step].tolist() if "action_mask" in one.observations else None,
                    {name: column[step].item() for name, column in one.columns.items()},
                    float(one.rewards[step]),
                    one.episode,
                )
    return found


@pytest.mark.property
@given(corridor_configs, seeds, ratios, st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=25)
def test_two_collections_are_one_long_one(
    config: CorridorConfig, seed: int, ratio: float, first: int, second: int
) -> None:
    policy = LinearPolicy(Corridor(config).spec, seed=seed)
    parts, whole = collector(config, seed=seed), collector(config, seed=seed)
    one = parts.collect(policy, num_ticks=first, ratio=ratio)
    two = parts.collect(policy, num_ticks=second, ratio=ratio)
    together = whole.collect(policy, num_ticks=first + second, ratio=ratio)
    assert rows(one.batch, two.batch) == rows(together.batch)
    assert one.env_steps + two.env_steps == together.env_steps == 2 * (first + second)
    for name in ("exits", "rests"):
        assert one.report.events[name] + two.report.events[name] == together.report.events[name]
    for source, ticks in together.report.ticks_by_source.items():
        assert one.report.ticks_by_source[source] + two.report.ticks_by_source[source] == ticks
    assert together.report.agent_ticks == together.batch.num_steps


def test_the_first_observation_of_a_collection_is_the_final_one_of_the_last() -> None:
    parts = collector(CorridorConfig(places=1, length=9, slip=0.0), num_worlds=1)
    one = parts.collect(None, num_ticks=5, ratio=0.0).batch.trajectory(0)
    two = parts.collect(None, num_ticks=5, ratio=0.0).batch.trajectory(0)
    assert not (one.terminated or one.truncated)
    assert one.agent_id == two.agent_id
    for name, array in one.observations.items():
        np.testing.assert_array_equal(array[-1], two.observations[name][0])
    # a rest was begun at tick 4: the boundary shows the option in force
    assert one.observations["features"][-1, 6] == 1.0


def test_the_script_alone_is_foreign_and_labelled() -> None:
    batch = collector(CorridorConfig()).collect(None, num_ticks=30, ratio=0.0).batch
    assert set(batch.columns["kind"].tolist()) == {Kind.FOREIGN, Kind.FORCED}
    assert set(batch.columns["expert_action"].tolist()) == {2, 3}
    assert not batch.columns["value"].any()


def test_the_policy_can_be_another_in_every_collection() -> None:
    config = CorridorConfig()
    worlds = collector(config)
    spec = worlds.spec
    kinds = [
        set(worlds.collect(policy, num_ticks=20, ratio=ratio).batch.columns["kind"].tolist())
        for policy, ratio in (
            (LinearPolicy(spec, seed=1), 1.0),
            (None, 0.0),
            (LinearPolicy(spec, seed=2), 0.05),
            (LinearPolicy(spec, seed=2), 0.1),
        )
    ]
    assert kinds == [
        {Kind.DECISION, Kind.FORCED},
        {Kind.FOREIGN, Kind.FORCED},
        {Kind.FOREIGN, Kind.FORCED},
        {Kind.DECISION, Kind.FORCED},
    ]


def test_an_evaluation_in_between_changes_nothing() -> None:
    config = CorridorConfig()
    policy = LinearPolicy(Corridor(config).spec, seed=1)
    judge = SimulationEvaluator(
        lambda n: Corridor(config, num_worlds=n), config=bridge_config(Corridor(config)), seed=0
    )
    undisturbed, disturbed = collector(config), collector(config)
    for worlds in (undisturbed, disturbed):
        worlds.collect(policy, num_ticks=10, ratio=0.5)
    judge.evaluate(policy, num_episodes=2, first_seed=0, sample=True)
    one, other = (worlds.collect(policy, num_ticks=20, ratio=0.5).batch for worlds in (undisturbed, disturbed))
    assert rows(one) == rows(other)


def test_a_share_without_a_policy_is_refused() -> None:
    with pytest.raises(SimulationError, match="`ratio` must be 0 without a policy, got 0.5"):
        collector(CorridorConfig()).collect(None, num_ticks=1, ratio=0.5)


def test_a_collection_that_may_not_fit_is_refused_before_it_begins() -> None:
    worlds = collector(CorridorConfig(places=3), num_worlds=2, max_rows=59)
    with pytest.raises(SimulationError, match="10 ticks of up to 6 agents may be 60 rows, `max_rows` is 59"):
        worlds.collect(None, num_ticks=10, ratio=0.0)
    worlds.collect(None, num_ticks=9, ratio=0.0)


def test_worlds_without_a_mask_are_recorded_without_one() -> None:
    batch = collector(CorridorConfig(masked=False)).collect(None, num_ticks=3, ratio=0.0).batch
    assert set(batch.observations) == {"features", "map"}


def test_commitments_that_no_observation_shows_are_refused() -> None:
    hidden = Corridor(CorridorConfig(shows_commitments=False, rest_ticks=3))
    with pytest.raises(SimulationError, match="the longest binds for 3 ticks"):
        SimulationCollector(hidden, config=bridge_config(hidden), seed=1, max_rows=100)
    short = Corridor(CorridorConfig(shows_commitments=False, rest_ticks=1))
    assert SimulationCollector(short, config=bridge_config(short), seed=1, max_rows=100).spec.commitment_columns is None
