from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from beginnings import begun
from crossing import Crossing
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import LinearPolicy, bridge_config, corridor_configs, seeds

from townlet_behavior import BridgeConfig
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.policy import UniformPolicy
from townlet_runtime.simulation.interface import AGENTS, GroupedSimulation, Observed, OneGroup, SimulationSpec, Stepped
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_trajectory.evaluation.scores import EpisodeScores
from townlet_trajectory.evaluation.seeds import final_seeds, promotion_seeds, selection_seeds

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


@pytest.mark.property
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


@pytest.mark.property
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


@pytest.mark.property
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
