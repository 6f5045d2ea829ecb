from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from array_actors import ArrayActor, RememberingActor
from beginnings import begun
from boats import Boats
from boats import Kind as Kinds
from crossing import Crossing
from garden import Garden
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import LinearPolicy, bridge_config, corridor_configs, ratios, seeds

from townlet_behavior import (
    BridgeConfig,
    CommitmentConfig,
    ConfigError,
    Kind,
    Purpose,
    Source,
    StateError,
    draw_keys,
    uniforms,
)
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.policy import Policy, UniformPolicy
from townlet_runtime.simulation.interface import AGENTS, GroupedSimulation, Observed, SimulationSpec, Stepped
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.evaluation.interfaces import (
    Collected,
    EpisodeScores,
    final_seeds,
    promotion_seeds,
    selection_seeds,
    training_seeds,
)


def counts(collected: Collected) -> tuple[object, ...]:
    """All of a collection but its batches."""
    return (
        collected.events,
        collected.decisions_by_source,
        collected.ticks_by_source,
        collected.vetoes,
        collected.env_steps,
        collected.agent_steps,
    )


def collector(config: CorridorConfig, *, num_worlds: int = 2, seed: int = 1, max_rows: int = 10_000) -> Collector:
    # What a collection is for, learning, needs observations that show the option in force.
    corridor = Corridor(replace(config, shows_commitments=True), num_worlds=num_worlds)
    return Collector(OneGroup(corridor), config=bridge_config(corridor), seed=seed, max_rows=max_rows)


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
                    {name: column[step].tolist() for name, column in one.columns.items()},
                    float(one.rewards[step]),
                    one.episode,
                )
    return found


def test_the_coins_of_the_first_tick_follow_from_the_seed() -> None:
    config = CorridorConfig(places=4)
    policy = LinearPolicy(Corridor(config).spec, seed=1)
    coins = set()
    for seed in (0, 1, 12345):
        worlds = collector(config, num_worlds=8, seed=seed)
        batch = worlds.collect({AGENTS: policy}, num_ticks=1, ratio=0.5).batches[AGENTS]
        # The keys depend on the world's seed and the agent alone, so the coins can be tossed again.
        worlds_seeds = training_seeds(seed, 8)[batch.worlds].tolist()
        keys = np.array([draw_keys(*pair) for pair in zip(worlds_seeds, batch.agent_ids, strict=True)], np.uint64)
        learned = batch.columns["source"] == Source.LEARNED
        assert np.array_equal(learned, uniforms(seed, Purpose.BLEND, keys, 0) < 0.5)
        coins.add(tuple(learned.tolist()))
    assert len(coins) == 3


@given(corridor_configs, seeds, ratios, st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=25)
def test_two_collections_are_one_long_one(
    config: CorridorConfig, seed: int, ratio: float, first: int, second: int
) -> None:
    policy = LinearPolicy(Corridor(config).spec, seed=seed)
    parts, whole = collector(config, seed=seed), collector(config, seed=seed)
    one = parts.collect({AGENTS: policy}, num_ticks=first, ratio=ratio)
    two = parts.collect({AGENTS: policy}, num_ticks=second, ratio=ratio)
    together = whole.collect({AGENTS: policy}, num_ticks=first + second, ratio=ratio)
    assert rows(one.batches[AGENTS], two.batches[AGENTS]) == rows(together.batches[AGENTS])
    assert one.env_steps + two.env_steps == together.env_steps == worlds_with_agents(together.batches[AGENTS])
    for name in ("exits", "rests"):
        assert one.events[name] + two.events[name] == together.events[name]
    for source, ticks in together.ticks_by_source.items():
        assert one.ticks_by_source[source] + two.ticks_by_source[source] == ticks
    assert together.agent_steps == together.batches[AGENTS].num_steps


def bent(**changes: Any) -> Garden:
    """A garden of fixed names whose answers have more in them."""
    return Garden(
        bend=lambda answer: answer | {name: value for name, value in changes.items()},
        event_names=("harvests",),
        reward_terms=("soil", "time"),
    )


def test_parts_of_the_reward_and_events_of_ones_own_are_collected() -> None:
    garden = bent(events=[[1], [2]], reward_terms={"soil": [1, 2, 3, 4], "time": [-0.5] * 4})
    worlds = Collector(OneGroup(garden), config=BridgeConfig(), seed=1, max_rows=100)
    collected = worlds.collect(None, num_ticks=3, ratio=0.0)
    batch = collected.batches[AGENTS]
    # three ticks each of ann and bob in two worlds
    assert batch.columns["reward_soil"].tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert batch.columns["reward_time"].tolist() == [-0.5] * 12
    assert collected.events == {"harvests": 9.0}


def test_features_of_conflict_are_summed_up_where_a_world_shows_them() -> None:
    class Feud(Garden):
        def _observe(self) -> Observed:
            seen = super()._observe()
            rivalry = np.float32([[0, 0.5, 1], [0, 0.25, 3], [0, 0, 0], [0, 0.25, 0]])
            return replace(seen, observations={"features": rivalry})

    names = ("mood", "rivalry_max", "rivalry_avoid_count")
    feud = Feud(observation_shapes={"features": (3,)}, feature_names=names)
    worlds = Collector(OneGroup(feud), config=BridgeConfig(), seed=1, max_rows=100)
    assert worlds.collect(None, num_ticks=2, ratio=0.0).events == {
        "conflict.rivalry_max_mean_avg": 0.25,
        "conflict.rivalry_max_max_avg": 0.5,
        "conflict.rivalry_avoid_count_mean_avg": 1.0,
        "conflict.rivalry_avoid_count_max_avg": 3.0,
    }


def worlds_with_agents(batch: TrajectoryBatch) -> int:
    """Pairs of a tick and a world in which somebody acted."""
    worlds = np.repeat(batch.worlds, np.diff(batch.offsets))
    return len(set(zip(batch.ticks.tolist(), worlds.tolist(), strict=True)))


def test_the_first_observation_of_a_collection_is_the_final_one_of_the_last() -> None:
    parts = collector(CorridorConfig(places=1, length=9, slip=0.0), num_worlds=1)
    one = parts.collect(None, num_ticks=5, ratio=0.0).batches[AGENTS].trajectory(0)
    two = parts.collect(None, num_ticks=5, ratio=0.0).batches[AGENTS].trajectory(0)
    assert not (one.terminated or one.truncated)
    assert one.agent_id == two.agent_id
    for name, array in one.observations.items():
        np.testing.assert_array_equal(array[-1], two.observations[name][0])
    # a rest was begun at tick 4: the boundary shows the option in force
    assert one.observations["features"][-1, 6] == 1.0


def test_the_script_alone_is_foreign_and_labelled() -> None:
    batch = collector(CorridorConfig()).collect(None, num_ticks=30, ratio=0.0).batches[AGENTS]
    assert set(batch.columns["kind"].tolist()) == {Kind.FOREIGN, Kind.FORCED}
    assert set(batch.columns["expert_action"].tolist()) == {2, 3}
    assert not batch.columns["value"].any()


class Doubter(LinearPolicy):
    """Can leave its values out, and counts how often it is asked to."""

    times_left_out = 0

    def without_values(self) -> "WithoutValues":
        self.times_left_out += 1
        return WithoutValues(self)


class WithoutValues:
    def __init__(self, policy: LinearPolicy) -> None:
        self._policy = policy

    def act(self, observations: Any, action_mask: NDArray[np.bool_] | None) -> tuple[NDArray[np.float32], None]:
        return self._policy.act(observations, action_mask)[0], None


@pytest.mark.parametrize("asks_values", [None, False, True])
def test_values_are_recorded_where_they_are_asked_for_and_change_nothing_else(asks_values: bool | None) -> None:
    config = CorridorConfig()
    corridor = Corridor(replace(config, shows_commitments=True), num_worlds=2)
    asked = {} if asks_values is None else {"asks_values": asks_values}
    some = Collector(OneGroup(corridor), config=bridge_config(corridor), seed=1, max_rows=1000, **asked)
    policy = Doubter(corridor.spec, seed=1)
    batches = [some.collect({AGENTS: policy}, num_ticks=10, ratio=1.0).batches[AGENTS] for _ in range(3)]
    assert policy.times_left_out == (not asks_values)  # once, though it is set for each collection
    plain = collector(config)
    for batch in batches:
        expected = plain.collect({AGENTS: LinearPolicy(corridor.spec, seed=1)}, num_ticks=10, ratio=1.0).batches[AGENTS]
        for name, column in batch.columns.items():
            known = expected.columns[name] if name != "value" or asks_values else np.zeros_like(column)
            np.testing.assert_array_equal(column, known)
    assert any(batch.columns["value"].any() for batch in batches) == bool(asks_values)


def test_the_policy_can_be_another_in_every_collection() -> None:
    config = CorridorConfig()
    worlds = collector(config)
    spec = worlds.specs[AGENTS]
    kinds = [
        set(worlds.collect(policies, num_ticks=20, ratio=ratio).batches[AGENTS].columns["kind"].tolist())
        for policies, ratio in (
            ({AGENTS: LinearPolicy(spec, seed=1)}, 1.0),
            (None, 0.0),
            ({AGENTS: LinearPolicy(spec, seed=2)}, 0.05),
            ({AGENTS: LinearPolicy(spec, seed=2)}, 0.1),
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
    judge = Evaluator(
        lambda n: OneGroup(Corridor(config, num_worlds=n)), config=bridge_config(Corridor(config)), seed=0, num_worlds=8
    )
    undisturbed, disturbed = collector(config), collector(config)
    for worlds in (undisturbed, disturbed):
        worlds.collect({AGENTS: policy}, num_ticks=10, ratio=0.5)
    judge.evaluate({AGENTS: policy}, seeds=0 + np.arange(2), sample=True)
    one, other = (
        worlds.collect({AGENTS: policy}, num_ticks=20, ratio=0.5).batches[AGENTS] for worlds in (undisturbed, disturbed)
    )
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
    batch = collector(CorridorConfig(masked=False)).collect(None, num_ticks=3, ratio=0.0).batches[AGENTS]
    assert set(batch.observations) == {"features", "map"}


def test_commitments_that_no_observation_shows_are_refused() -> None:
    hidden = Corridor(CorridorConfig(shows_commitments=False, rest_ticks=3))
    with pytest.raises(SimulationError, match="the longest binds for 3 ticks"):
        Collector(OneGroup(hidden), config=bridge_config(hidden), seed=1, max_rows=100)
    short = Corridor(CorridorConfig(shows_commitments=False, rest_ticks=1))
    assert (
        Collector(OneGroup(short), config=bridge_config(short), seed=1, max_rows=100).specs[AGENTS].commitment_columns
        is None
    )


def test_one_batch_and_one_policy_for_each_group() -> None:
    crossing = Crossing(2)
    worlds = Collector(crossing, config=no_commitments(), seed=1, max_rows=400)
    policies = {group: LinearPolicy(spec, seed=3) for group, spec in worlds.specs.items()}
    collection = worlds.collect(policies, num_ticks=60, ratio=0.5)
    assert list(collection.batches) == ["long", "short"]
    shapes = {group: batch.schema.observations["map"].shape for group, batch in collection.batches.items()}
    assert shapes == {"long": (1, 1, 7), "short": (1, 1, 3)}
    assert ["action_mask" in batch.observations for batch in collection.batches.values()] == [True, False]
    assert collection.agent_steps == sum(batch.num_steps for batch in collection.batches.values())
    assert collection.env_steps <= 120
    with pytest.raises(SimulationError, match="a policy for each group"):
        worlds.collect({"long": policies["long"]}, num_ticks=1, ratio=0.5)


def test_a_group_may_be_gone_for_a_whole_collection() -> None:
    crossing = Crossing(1, episode_ticks=200)
    worlds = Collector(crossing, config=no_commitments(), seed=1, max_rows=400)
    sizes = [worlds.collect(None, num_ticks=1, ratio=0.0).batches["short"].num_steps for _ in range(30)]
    assert set(sizes) == {0, 1}


def no_commitments() -> BridgeConfig:
    return BridgeConfig(commitment=CommitmentConfig())


@given(corridor_configs, seeds, ratios, st.integers(0, 30), st.integers(1, 20))
@settings(max_examples=25)
def test_a_collector_goes_on_from_what_was_saved(
    config: CorridorConfig, seed: int, ratio: float, before: int, after: int
) -> None:
    policies = {AGENTS: LinearPolicy(Corridor(config).spec, seed=seed)}
    unbroken, resumed = collector(config, seed=seed), collector(config, seed=seed)
    if before:
        unbroken.collect(policies, num_ticks=before, ratio=ratio)
    state = unbroken.save_state()
    assert state is not None
    resumed.restore(state)
    same_collections(unbroken, resumed, policies, num_ticks=after, ratio=ratio)


@given(seeds, st.integers(1, 30), st.integers(1, 20))
@settings(max_examples=10)
def test_a_collector_of_groups_goes_on_from_what_was_saved(seed: int, before: int, after: int) -> None:
    unbroken, resumed = (Collector(Crossing(2), config=no_commitments(), seed=seed, max_rows=400) for _ in range(2))
    policies = {group: LinearPolicy(spec, seed=seed) for group, spec in unbroken.specs.items()}
    unbroken.collect(policies, num_ticks=before, ratio=0.5)
    # what the other one has lived through does not matter
    resumed.collect(None, num_ticks=3, ratio=0.0)
    resumed.restore(unbroken.save_state() or {})
    same_collections(unbroken, resumed, policies, num_ticks=after, ratio=0.5)


def same_collections(
    one: Collector,
    other: Collector,
    policies: Mapping[str, Policy],
    *,
    num_ticks: int,
    ratio: float,
) -> None:
    """Both collect the same twice, bit for bit, and may be saved again."""
    for _ in range(2):
        expected, found = (each.collect(policies, num_ticks=num_ticks, ratio=ratio) for each in (one, other))
        for group, batch in expected.batches.items():
            same_batches(batch, found.batches[group])
        assert counts(expected) == counts(found)
    states = (one.save_state(), other.save_state())
    assert states[0] is not None and states[1] is not None and states[0].keys() == states[1].keys()
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name], err_msg=name)


def same_batches(one: TrajectoryBatch, other: TrajectoryBatch) -> None:
    for name in one.observations:
        np.testing.assert_array_equal(one.observations[name], other.observations[name])
        np.testing.assert_array_equal(one.final_observations[name], other.final_observations[name])
    for name in one.columns:
        np.testing.assert_array_equal(one.columns[name], other.columns[name])
    for name in ("offsets", "rewards", "ticks", "terminated", "truncated", "agent_ids", "worlds", "episodes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_state_of_something_else_is_refused() -> None:
    worlds = collector(CorridorConfig())
    state = dict(worlds.save_state() or {})
    with pytest.raises(SimulationError, match="a collector with seed 2, got 1"):
        collector(CorridorConfig(), seed=2).restore(state)
    with pytest.raises(SimulationError, match=r"`present` of the saved state to be bool \[2\], got bool \[6\]"):
        collector(CorridorConfig(places=1)).restore(state)
    for key in state:
        with pytest.raises((SimulationError, StateError)):
            collector(CorridorConfig()).restore({name: array for name, array in state.items() if name != key})


def test_worlds_that_cannot_be_saved_have_no_state() -> None:
    worlds = Collector(Crossing(1, savable=False), config=no_commitments(), seed=1, max_rows=100)
    assert worlds.save_state() is None


CONFIG = CorridorConfig(length=4, places=2, slip=0.2, episode_ticks=20)
WAIT, LEFT, RIGHT, REST = range(4)


def evaluator(config: CorridorConfig = CONFIG, *, seed: int = 3, num_worlds: int = 8) -> Evaluator:
    return Evaluator(
        lambda worlds: OneGroup(Corridor(config, num_worlds=worlds)),
        config=bridge_config(Corridor(config)),
        seed=seed,
        num_worlds=num_worlds,
    )


def same(one: EpisodeScores, other: EpisodeScores) -> bool:
    return (
        np.array_equal(one.returns, other.returns)
        and np.array_equal(one.seeds, other.seeds)
        and all(np.array_equal(one.events[name], other.events[name]) for name in ("exits", "rests"))
    )


def first(scores: EpisodeScores, count: int) -> EpisodeScores:
    events = {name: values[:count] for name, values in scores.events.items()}
    return EpisodeScores(returns=scores.returns[:count], events=events, seeds=scores.seeds[:count])


def test_a_score_by_hand() -> None:
    # cell 3 is the exit: three steps worth -0.01, -0.01, 1; six ticks hold two agents one after the other
    config = CorridorConfig(length=4, places=1, slip=0.0, episode_ticks=6, max_absence=1)
    scores = evaluator(config).baseline("scripted", seeds=40 + np.arange(3))
    assert scores.returns == pytest.approx(np.full(3, 2 * (1 - 0.02)))
    assert scores.events["exits"] == (2, 2, 2)
    assert scores.events["rests"] == (0, 0, 0)
    assert scores.seeds == (40, 41, 42)


def test_the_idle_pay_for_every_tick() -> None:
    # how many come later depends on the seed, but waiting costs 0.01 a tick and agent, over those at the start
    corridor = Corridor(CONFIG, num_worlds=4)
    observed = begun(corridor, 9)
    agents = np.bincount(observed.worlds, minlength=4)
    ticks = np.zeros(4)
    for _ in range(CONFIG.episode_ticks):
        ticks += np.bincount(observed.worlds, minlength=4)
        observed = corridor.step(np.full(len(observed.slots), WAIT)).observed
    scores = evaluator().baseline("idle", seeds=9 + np.arange(4))
    np.testing.assert_allclose(scores.returns, -0.01 * ticks / agents, rtol=1e-6)


@given(corridor_configs, seeds, st.integers(1, 3), st.integers(1, 3), st.sampled_from(["sampled", "greedy", "random"]))
@settings(max_examples=20)
def test_a_result_does_not_depend_on_the_episodes_beside_it(
    config: CorridorConfig, seed: int, few: int, more: int, acting: str
) -> None:
    policy = LinearPolicy(Corridor(config).spec, seed=seed)

    def play(num_episodes: int) -> EpisodeScores:
        if acting == "random":
            return evaluator(config).baseline("random", seeds=seed + np.arange(num_episodes))
        return evaluator(config).evaluate(
            {AGENTS: policy}, seeds=seed + np.arange(num_episodes), sample=acting == "sampled"
        )

    assert same(first(play(few + more), few), play(few))


def test_an_episode_follows_from_its_seed_wherever_it_is_played() -> None:
    policy = LinearPolicy(Corridor(CONFIG).spec, seed=1)
    seeds = np.array([2**31 + 5, 3, 2**31 + 4, 77])
    scores = evaluator().evaluate({AGENTS: policy}, seeds=seeds, sample=True)
    turned = evaluator().evaluate({AGENTS: policy}, seeds=seeds[::-1].copy(), sample=True)
    assert scores.returns == turned.returns[::-1]
    for name, counts in scores.events.items():
        assert counts == turned.events[name][::-1]


@given(corridor_configs, seeds, st.integers(1, 7), st.integers(1, 4), st.sampled_from(["greedy", "random", "scripted"]))
@settings(max_examples=20)
def test_waves_score_as_all_episodes_at_once(
    config: CorridorConfig, seed: int, episodes: int, num_worlds: int, acting: str
) -> None:
    def play(worlds: int) -> EpisodeScores:
        own, chosen = evaluator(config, num_worlds=worlds), seed + np.arange(episodes)
        if acting != "greedy":
            return own.baseline(acting, seeds=chosen)
        return own.evaluate({AGENTS: LinearPolicy(Corridor(config).spec, seed=seed)}, seeds=chosen, sample=False)

    assert same(play(num_worlds), play(episodes))


@pytest.mark.parametrize(("episodes", "num_worlds", "worlds", "waves"), [(5, 8, 5, 1), (9, 4, 3, 3), (10, 4, 4, 3)])
def test_no_more_worlds_are_alive_than_were_asked_for(episodes: int, num_worlds: int, worlds: int, waves: int) -> None:
    made: list[int] = []
    resets: list[list[int]] = []

    class Counted(Crossing):
        def reset(self, *, seeds: NDArray[np.int64]) -> Mapping[str, Observed]:
            resets.append(seeds.tolist())
            return super().reset(seeds=seeds)

    def make(count: int) -> Crossing:
        made.append(count)
        return Counted(count)

    Evaluator(make, config=BridgeConfig(), seed=0, num_worlds=num_worlds).baseline("idle", seeds=np.arange(episodes))
    assert made == [worlds] and len(resets) == waves
    played = [seed for wave in resets for seed in wave]
    # worlds to spare in the last wave repeat its last seed, and are not counted
    assert played[:episodes] == list(range(episodes)) and set(played[episodes:]) <= {episodes - 1}


@pytest.mark.parametrize(
    ("episodes", "num_worlds", "sizes"),
    [(31, 64, [31]), (32, 64, [16, 16]), (50, 32, [25, 25]), (50, 16, [13] * 4), (33, 40, [17, 17]), (1, 4, [1])],
)
def test_episodes_are_divided_into_waves_that_two_processes_can_share(
    episodes: int, num_worlds: int, sizes: list[int]
) -> None:
    seeds = 2**31 + np.arange(episodes)
    waves = evaluator(num_worlds=num_worlds).waves(seeds)
    assert [len(wave) for wave in waves] == sizes
    played = np.concatenate(waves)
    assert played[:episodes].tolist() == seeds.tolist() and set(played[episodes:]) <= {seeds[-1]}


@pytest.mark.parametrize("player", ["scripted", "random", "policy"])
def test_a_wave_alone_scores_as_among_the_others(player: str) -> None:
    policy = {AGENTS: LinearPolicy(Corridor(CONFIG).spec, seed=1)}
    own, seeds = evaluator(num_worlds=4), 2**31 + np.arange(10)
    waves = [own.wave(policy if player == "policy" else player, seeds=wave, sample=False) for wave in own.waves(seeds)]
    together = waves[0].followed_by(waves[1]).followed_by(waves[2].first(2))
    if player == "policy":
        assert together == own.evaluate(policy, seeds=seeds, sample=False)
    else:
        assert together == own.baseline(player, seeds=seeds)


def test_there_must_be_a_world_to_play_in() -> None:
    with pytest.raises(SimulationError, match="`num_worlds` must be at least 1, got 0"):
        evaluator(num_worlds=0)


def test_actions_are_drawn_anew_for_every_seed() -> None:
    """In a world without chance of its own, episodes differ by their draws alone."""
    config = CorridorConfig(length=30, places=1, slip=0.0, episode_ticks=20, max_absence=1)
    policy = LinearPolicy(Corridor(config).spec, seed=1)
    blocks = [selection_seeds(8), final_seeds(8), promotion_seeds(0, 0, 8), promotion_seeds(0, 1, 8)]
    rests = [evaluator(config).evaluate({AGENTS: policy}, seeds=one, sample=True).events["rests"] for one in blocks]
    assert len(set(rests)) == len(blocks)
    assert all(len(set(one)) > 1 for one in rests)
    greedy = [evaluator(config).evaluate({AGENTS: policy}, seeds=one, sample=False).events["rests"] for one in blocks]
    assert len(set(sum(greedy, ()))) == 1


@given(seeds)
@settings(max_examples=20)
def test_the_same_seeds_begin_the_same_worlds(seed: int) -> None:
    beginnings: list[Observed] = []

    def make(num_worlds: int) -> GroupedSimulation:
        corridor = Corridor(CONFIG, num_worlds=num_worlds)
        reset = corridor.reset

        def watched(*, seeds: NDArray[np.int64]) -> Observed:
            observed = reset(seeds=seeds)
            beginnings.append(replace(observed, observations={k: v.copy() for k, v in observed.observations.items()}))
            return observed

        corridor.reset = watched  # type: ignore[method-assign]
        return OneGroup(corridor)

    judge = Evaluator(make, config=bridge_config(Corridor(CONFIG)), seed=0, num_worlds=8)
    policy = LinearPolicy(Corridor(CONFIG).spec, seed=1)
    judge.evaluate({AGENTS: policy}, seeds=seed + np.arange(3), sample=False)
    judge.baseline("scripted", seeds=seed + np.arange(3))
    one, other = beginnings
    assert one.agent_ids.tolist() == other.agent_ids.tolist()
    for name, array in one.observations.items():
        np.testing.assert_array_equal(array, other.observations[name])


def test_sampling_differs_from_greedy_and_greedy_has_no_chance_of_its_own() -> None:
    policy = LinearPolicy(Corridor(CONFIG).spec, seed=1)

    def play(seed: int, sample: bool) -> EpisodeScores:
        return evaluator(seed=seed).evaluate({AGENTS: policy}, seeds=np.arange(6), sample=sample)

    assert same(play(1, False), play(2, False))
    assert not same(play(1, True), play(2, True))
    assert not same(play(1, True), play(1, False))


def test_the_random_baseline_draws_evenly_among_legal_actions() -> None:
    spec = Corridor(CONFIG).spec
    uniform = UniformPolicy(vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes)
    random = evaluator().baseline("random", seeds=2 + np.arange(4))
    assert same(random, evaluator().evaluate({AGENTS: uniform}, seeds=2 + np.arange(4), sample=True))
    assert not same(random, evaluator().baseline("idle", seeds=2 + np.arange(4)))


def test_the_ratio_of_the_config_does_not_matter() -> None:
    policy = LinearPolicy(Corridor(CONFIG).spec, seed=1)

    def play(config: BridgeConfig) -> tuple[EpisodeScores, EpisodeScores]:
        judge = Evaluator(lambda n: OneGroup(Corridor(CONFIG, num_worlds=n)), config=config, seed=0, num_worlds=8)
        learned = judge.evaluate({AGENTS: policy}, seeds=np.arange(4), sample=True)
        return learned, judge.baseline("scripted", seeds=np.arange(4))

    base = bridge_config(Corridor(CONFIG))
    for one, other in zip(play(base), play(replace(base, ratio=0.7)), strict=True):
        assert same(one, other)


class Brief(Corridor):
    """Says that its episodes are longer than they are; the next one begins in between."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._spec = replace(self._spec, episode_ticks=30)


def play_brief(config: CorridorConfig) -> tuple[EpisodeScores, EpisodeScores]:
    makers: list[Callable[[int], GroupedSimulation]] = [
        lambda n: OneGroup(Brief(config, num_worlds=n)),
        lambda n: OneGroup(Corridor(config, num_worlds=n)),
    ]
    brief, plain = (
        Evaluator(make, config=bridge_config(Corridor(config)), seed=0, num_worlds=8).baseline(
            "scripted", seeds=5 + np.arange(3)
        )
        for make in makers
    )
    return brief, plain


def test_what_a_second_episode_earns_does_not_count() -> None:
    assert same(*play_brief(CorridorConfig(length=4, places=2, episode_ticks=12)))


def test_there_must_be_an_episode_to_play() -> None:
    with pytest.raises(SimulationError, match="`seeds` must hold at least one seed"):
        evaluator().baseline("idle", seeds=np.arange(0))


def test_a_world_that_begins_empty_has_no_score() -> None:
    class Deserted(Corridor):
        def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
            super().reset(seeds=seeds)
            self._places.present[:2] = False
            return self._observe()

        def step(self, actions: np.ndarray) -> Stepped:
            raise AssertionError("nobody should get so far")

    judge = Evaluator(
        lambda n: OneGroup(Deserted(CONFIG, num_worlds=n)), config=bridge_config(Corridor(CONFIG)), seed=0, num_worlds=8
    )
    with pytest.raises(SimulationError, match=r"agents in every world at the start, got \[0 "):
        judge.baseline("idle", seeds=np.arange(2))


def test_a_policy_made_for_something_else_is_refused() -> None:
    policy = LinearPolicy(Corridor(CorridorConfig(length=9)).spec, seed=1)
    with pytest.raises(SimulationError, match="does not fit"):
        evaluator().evaluate({AGENTS: policy}, seeds=np.arange(1), sample=True)


def test_the_returns_of_groups_add_up_per_agent() -> None:
    crossing = Crossing(1)
    scores = Evaluator(Crossing, config=BridgeConfig(), seed=0, num_worlds=8).baseline("idle", seeds=7 + np.arange(3))
    # by hand: whoever waits pays 0.01 a tick; shared among all who were there at the start
    for episode in range(3):
        observed = begun(crossing, 7 + episode)
        agents = sum(len(one.slots) for one in observed.values())
        ticks = 0
        for _ in range(20):
            ticks += sum(len(one.slots) for one in observed.values())
            waits = {group: np.zeros(len(one.slots), np.int64) for group, one in observed.items()}
            observed = {group: one.observed for group, one in crossing.step(waits).items()}
        assert scores.returns[episode] == pytest.approx(-0.01 * ticks / agents, rel=1e-6)


def test_all_groups_act_by_their_own_policies() -> None:
    judge = Evaluator(Crossing, config=BridgeConfig(), seed=0, num_worlds=8)
    specs = Crossing(1).specs
    policies = {group: LinearPolicy(spec, seed=1) for group, spec in specs.items()}
    scores = judge.evaluate(policies, seeds=np.arange(4), sample=True)
    others = {**policies, "short": LinearPolicy(specs["short"], seed=2)}
    assert not same(scores, judge.evaluate(others, seeds=np.arange(4), sample=True))
    assert same(scores, judge.evaluate(policies, seeds=np.arange(4), sample=True))
    with pytest.raises(SimulationError, match="a policy for each group"):
        judge.evaluate({"short": policies["short"]}, seeds=np.arange(1), sample=True)


def test_nothing_is_played_after_the_last_first_episode() -> None:
    made: list[Crossing] = []

    def make(num_worlds: int) -> Crossing:
        made.append(Brisk(num_worlds, episode_ticks=11))
        return made[-1]

    class Brisk(Crossing):
        """Says that its episodes may take longer."""

        @property
        def specs(self) -> Mapping[str, SimulationSpec]:
            return {group: replace(spec, episode_ticks=500) for group, spec in super().specs.items()}

    Evaluator(make, config=BridgeConfig(), seed=0, num_worlds=8).baseline("scripted", seeds=np.arange(2))
    assert made[0].steps == 11


def test_a_behavior_that_is_not_there_is_named() -> None:
    judge = Evaluator(Crossing, config=BridgeConfig(), seed=0, num_worlds=8)
    with pytest.raises(SimulationError, match=r"a behavior .* \(scripted, idle, random\), got 'nearest'"):
        judge.baseline("nearest", seeds=np.arange(1))


def test_worlds_are_closed_after_the_play_and_after_an_error() -> None:
    made: list[Crossing] = []

    def make(num_worlds: int) -> Crossing:
        made.append(Crossing(num_worlds))
        return made[-1]

    judge = Evaluator(make, config=BridgeConfig(), seed=0, num_worlds=8)
    judge.baseline("scripted", seeds=np.arange(2))
    with pytest.raises(SimulationError):
        judge.baseline("nearest", seeds=np.arange(2))
    with pytest.raises(SimulationError):
        judge.evaluate({}, seeds=np.arange(2), sample=True)
    assert [one.closed for one in made] == [True] * 3


def boats_collector(kind: Kinds, *, state_sizes: Mapping[str, int] | None = None) -> Collector:
    config = BridgeConfig(blend="switch" if kind == "numbers" else "mixture")
    worlds = OneGroup(Boats(kind, masked=kind == "parts"))
    return Collector(worlds, config=config, seed=1, max_rows=10_000, state_sizes=state_sizes)


def remembering(kind: Kinds, seed: int = 2) -> dict[str, RememberingActor]:
    distribution = "squashed" if kind == "numbers" else ""
    return {AGENTS: RememberingActor(ArrayActor(Boats(kind).spec, seed=seed, distribution=distribution))}


@pytest.mark.parametrize("kind", ["numbers", "parts"])
def test_array_actions_and_memory_are_collected_and_go_on_after_a_save(kind: Kinds) -> None:
    whole, parts, resumed = (boats_collector(kind, state_sizes={AGENTS: 2}) for _ in range(3))
    expected = whole.collect(remembering(kind), num_ticks=30, ratio=0.5)
    first = parts.collect(remembering(kind), num_ticks=13, ratio=0.5)
    state = parts.save_state()
    assert state is not None
    resumed.restore(state)
    second = resumed.collect(remembering(kind), num_ticks=17, ratio=0.5)
    assert rows(first.batches[AGENTS], second.batches[AGENTS]) == rows(expected.batches[AGENTS])
    batch = expected.batches[AGENTS]
    assert batch.schema.actions is not None
    assert batch.columns["action"].shape == (batch.num_steps, 2)
    assert batch.columns["policy_state"].shape == (batch.num_steps, 2)
    # what is remembered where a collection begins is what the one before has come to, and 0 where an agent begins
    begins = second.batches[AGENTS].offsets[:-1]
    fresh = (second.batches[AGENTS].columns["policy_state"][begins] == 0).all(axis=1)
    assert fresh.any()
    assert (~fresh).any()


def test_the_script_alone_is_recorded_without_memory() -> None:
    collected = boats_collector("parts", state_sizes={AGENTS: 2}).collect(None, num_ticks=10, ratio=0.0)
    assert not collected.batches[AGENTS].columns["policy_state"].any()


def test_a_policy_of_another_memory_than_is_recorded_is_refused() -> None:
    collector = boats_collector("parts", state_sizes={AGENTS: 3})
    with pytest.raises(SimulationError, match="a policy of 3 numbers of recurrent state, as are recorded, got 2"):
        collector.collect(remembering("parts"), num_ticks=10, ratio=1.0)
    plain = {AGENTS: ArrayActor(Boats("parts").spec, seed=2)}
    with pytest.raises(SimulationError, match="a policy of 3 numbers of recurrent state, as are recorded, got 0"):
        collector.collect(plain, num_ticks=10, ratio=1.0)


def test_a_mixture_of_script_and_density_is_refused() -> None:
    collector = Collector(OneGroup(Boats("numbers")), config=BridgeConfig(), seed=1, max_rows=1000)
    actors = {AGENTS: ArrayActor(Boats("numbers").spec, seed=2, distribution="clipped")}
    collector.collect(actors, num_ticks=3, ratio=1.0)
    with pytest.raises(ConfigError, match="switch"):
        collector.collect(actors, num_ticks=3, ratio=0.5)


@pytest.mark.parametrize("kind", ["numbers", "parts"])
def test_policies_and_baselines_of_array_actions_are_scored(kind: Kinds) -> None:
    def make(num_worlds: int) -> OneGroup:
        return OneGroup(Boats(kind, num_worlds=num_worlds, masked=kind == "parts"))

    judge = Evaluator(make, config=BridgeConfig(), seed=3, num_worlds=8)
    seeds = np.arange(20)
    scripted, idle, chance = (judge.baseline(name, seeds=seeds).mean for name in ("scripted", "idle", "random"))
    # nothing comes nearer by resting; the script comes home, chance hardly
    assert idle == 0.0
    assert scripted > 0.9 > chance
    drawn, greedy = (judge.evaluate(remembering(kind), seeds=seeds, sample=sample) for sample in (True, False))
    assert drawn.returns != greedy.returns
    assert judge.evaluate(remembering(kind), seeds=seeds[5:7], sample=True).returns == drawn.returns[5:7]
