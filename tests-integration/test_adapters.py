"""Environments that other people made, from their own packages, through the whole runtime loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from townlet_behavior import Box, BridgeConfig, Kind
from townlet_runtime.adapters.controllers import registered_controller
from townlet_runtime.adapters.registry import Environment
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.policy.policy import UniformPolicy
from townlet_runtime.simulation.interface import AGENTS, GroupedSimulation
from townlet_runtime.testing import check_grouped_simulation

SPREAD = "pettingzoo:mpe2.simple_spread_v3"
SPEAKER_LISTENER = "pettingzoo:mpe2.simple_speaker_listener_v4"
TAG = "pettingzoo:mpe2.simple_tag_v3"
LANDER = "gymnasium:LunarLander-v3"


def worlds_of(name: str, num_worlds: int, **fields: Any) -> GroupedSimulation:
    return Environment(name=name, controller=registered_controller(name), **fields)(num_worlds)


def uniform(simulation: GroupedSimulation) -> dict[str, UniformPolicy]:
    return {group: UniformPolicy.of(spec) for group, spec in simulation.specs.items()}


@pytest.mark.parametrize("name", [SPREAD, SPEAKER_LISTENER, TAG, LANDER, "pettingzoo:town"])
def test_they_keep_the_promises_of_a_simulation(name: str) -> None:
    check_grouped_simulation(worlds_of(name, 2), seed=1, ticks=60)


@pytest.mark.parametrize("name", [SPREAD, SPEAKER_LISTENER, TAG])
def test_their_agents_may_act_by_numbers_and_critics_see_the_whole_world(name: str) -> None:
    worlds = worlds_of(name, 2, settings={"continuous_actions": True}, global_state=True)
    for spec in worlds.specs.values():
        assert isinstance(spec.actions, Box) and list(spec.critic_shapes) == ["global_state"]
    check_grouped_simulation(worlds, seed=1, ticks=60)


@pytest.mark.parametrize(
    ("name", "settings", "actions"),
    [
        ("gymnasium:Pendulum-v1", {}, Box(names=("0",), low=(-2.0,), high=(2.0,))),
        (LANDER, {"continuous": True}, Box(names=("0", "1"), low=(-1.0, -1.0), high=(1.0, 1.0))),
        ("gymnasium:MountainCarContinuous-v0", {}, Box(names=("0",), low=(-1.0,), high=(1.0,))),
    ],
)
def test_environments_of_numbers_keep_their_promises(name: str, settings: dict[str, Any], actions: Box) -> None:
    worlds = worlds_of(name, 2, settings=settings)
    assert worlds.specs[AGENTS].actions == actions
    check_grouped_simulation(worlds, seed=1, ticks=60)


def test_a_racing_car_is_seen_as_an_image() -> None:
    worlds = worlds_of("gymnasium:CarRacing-v3", 1)
    spec = worlds.specs[AGENTS]
    assert (spec.observation_shapes, spec.observation_kinds) == ({"observation": (3, 96, 96)}, {"observation": "image"})
    assert spec.actions == Box(names=("0", "1", "2"), low=(-1.0, 0.0, 0.0), high=(1.0, 1.0, 1.0))
    check_grouped_simulation(worlds, seed=1, ticks=20)


def test_their_bounds_on_an_episode_are_known() -> None:
    specs = {name: next(iter(worlds_of(name, 1).specs.values())) for name in (SPREAD, LANDER)}
    assert {name: spec.episode_ticks for name, spec in specs.items()} == {SPREAD: 25, LANDER: 1000}


def test_cooperating_agents_with_unequal_spaces_are_two_groups() -> None:
    worlds = worlds_of(SPEAKER_LISTENER, 2)
    shapes = {group: dict(spec.observation_shapes) for group, spec in worlds.specs.items()}
    assert shapes == {"speaker": {"observation": (3,)}, "listener": {"observation": (11,)}}
    assert {group: len(spec.vocabulary) for group, spec in worlds.specs.items()} == {"speaker": 3, "listener": 5}
    collector = Collector(worlds, config=BridgeConfig(), seed=0, max_rows=1000)
    collection = collector.collect(uniform(worlds), num_ticks=60, ratio=1.0)
    for batch in collection.batches.values():
        # 25 ticks an episode, cut by the environment; the third goes on
        assert np.diff(batch.offsets).tolist() == [25, 25, 10] * 2
        assert batch.truncated.tolist() == [True, True, False] * 2 and not batch.terminated.any()
        assert set(batch.columns["kind"].tolist()) == {Kind.DECISION}
        assert set(batch.columns["expert_action"].tolist()) == {-1}
    # both earn the same: how near the listener is to where the speaker sends it
    np.testing.assert_array_equal(collection.batches["speaker"].rewards, collection.batches["listener"].rewards)
    assert collection.env_steps == 120 and collection.agent_steps == 240


@pytest.mark.parametrize("name", [SPREAD, LANDER])
def test_a_collection_goes_on_where_it_was_saved(name: str) -> None:
    unbroken, resumed = (Collector(worlds_of(name, 2), config=BridgeConfig(), seed=4, max_rows=1000) for _ in range(2))
    policies = uniform(worlds_of(name, 1))
    unbroken.collect(policies, num_ticks=40, ratio=0.5)
    state = unbroken.save_state()
    assert state is not None
    resumed.restore(state)
    one, other = (each.collect(policies, num_ticks=40, ratio=0.5).batches[AGENTS] for each in (unbroken, resumed))
    for array in one.observations:
        np.testing.assert_array_equal(one.observations[array], other.observations[array])
    np.testing.assert_array_equal(one.rewards, other.rewards)
    np.testing.assert_array_equal(one.columns["action"], other.columns["action"])


def test_the_heuristic_of_gymnasium_throttles_where_actions_are_numbers() -> None:
    judge = Evaluator(
        lambda n: worlds_of(LANDER, n, settings={"continuous": True}), config=BridgeConfig(), seed=0, num_worlds=4
    )
    assert np.mean(judge.baseline("scripted", seeds=100 + np.arange(8)).returns) > 150


def test_the_heuristic_of_gymnasium_lands() -> None:
    judge = Evaluator(lambda n: worlds_of(LANDER, n), config=BridgeConfig(), seed=0, num_worlds=4)
    scores = {name: judge.baseline(name, seeds=100 + np.arange(8)).returns for name in ("scripted", "random")}
    # solved is 200 on average; whoever falls down loses a hundred and more
    assert np.mean(scores["scripted"]) > 150 > 0 > np.mean(scores["random"])
