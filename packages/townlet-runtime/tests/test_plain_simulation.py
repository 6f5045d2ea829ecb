from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from townlet_behavior import ActionVocabulary, BridgeConfig
from townlet_runtime import Collector, OneGroup, UniformPolicy
from townlet_runtime.errors import SimulationError
from townlet_runtime.plain import KeyCodec, PlainSimulation, PlainWorlds
from townlet_runtime.testing import check_simulation

WORDS = KeyCodec(ActionVocabulary(keys=("rest", "left", "right"), kinds=("wait", "move", "move")))


class Beach:
    """Crabs on a line of nine cells; those that reach the sea, at 8, are gone; sometimes one crawls ashore."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.agents = {f"crab {number}": int(self.random.integers(6)) for number in range(3)}
        self.born = 3

    def live(self, actions: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        rewards = {}
        for name, action in actions.items():
            self.agents[name] = max(0, self.agents[name] + {"left": -1, "right": 1}.get(action["action"], 0))
            rewards[name] = 1.0 if self.agents[name] == 8 else -0.1
        self.agents = {name: cell for name, cell in self.agents.items() if cell < 8}
        if len(self.agents) < 3 and self.random.random() < 0.5:
            self.agents[f"crab {self.born}"] = 0
            self.born += 1
        return rewards


class ToTheSea:
    def decide(self, beach: Beach, name: str) -> str:
        return "right"


BEACH: PlainWorlds[Beach, str] = PlainWorlds(
    name="beach",
    make=Beach,
    codec=WORDS,
    behavior=ToTheSea(),
    observe=lambda beach, name: {"cell": [beach.agents[name] / 8.0]},
    step=Beach.live,
    capacity=3,
    episode_ticks=12,
)


def test_it_keeps_the_promises_of_a_simulation() -> None:
    check_simulation(BEACH(2), ticks=40, seed=3)


def test_agents_that_reach_the_sea_come_to_a_true_end_and_others_are_cut_at_the_end() -> None:
    simulation = BEACH(1)
    observed = simulation.reset(seeds=np.array([5]))
    script = simulation.scripted("scripted")
    ends = []
    for _ in range(12):
        stepped = simulation.step(script.propose(observed))
        for row in stepped.final_rows.tolist():
            ends.append((observed.agent_ids[row], bool(stepped.terminated[row]), bool(stepped.truncated[row])))
            assert (stepped.rewards[row] == 1.0) == stepped.terminated[row]
        observed = stepped.observed
    assert {(died, cut) for _, died, cut in ends} == {(True, False), (False, True)}
    assert len({name for name, _, _ in ends}) == len(ends)
    assert set(observed.episodes.tolist()) == {1}


def test_copies_follow_their_own_seeds() -> None:
    def cells(*seeds: int) -> np.ndarray:
        return BEACH(len(seeds)).reset(seeds=np.array(seeds)).observations["cell"][:, 0]

    assert np.array_equal(cells(1, 2)[3:], cells(2))
    assert not np.array_equal(cells(*range(20)), cells(*range(20, 40)))


def test_a_collector_collects_in_it() -> None:
    worlds = OneGroup(BEACH(2))
    spec = worlds.specs["agents"]
    policy = UniformPolicy(vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes)
    collector = Collector(worlds, config=BridgeConfig(), seed=1, max_rows=1000)
    collected = collector.collect({"agents": policy}, num_ticks=30, ratio=0.5)
    assert collected.env_steps == 60
    batch = collected.batches["agents"]
    assert batch.terminated.any() and set(batch.columns["expert_action"].tolist()) == {2}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"observe": lambda beach, name: {"cell": [np.nan]}}, "agent 'crab 0': the observation 'cell' must be finite"),
        ({"step": lambda beach, actions: {"crab 1": np.inf}}, "beach, agent 'crab 1', tick 1: a reward must be finite"),
        ({"capacity": 2}, "one agent more than the `capacity` of 2"),
    ],
)
def test_a_broken_world_is_named(change: Mapping[str, Any], problem: str) -> None:
    with pytest.raises(SimulationError, match=problem):
        rest_a_tick(replace(BEACH, **change))


def rest_a_tick(worlds: PlainWorlds[Beach, str]) -> None:
    simulation = worlds(1)
    observed = simulation.reset(seeds=np.array([0]))
    simulation.step(np.zeros(len(observed.slots), np.int64))


def test_a_world_must_have_an_agent_to_show_what_agents_see() -> None:
    class Empty(Beach):
        def __init__(self, seed: int) -> None:
            self.agents = {}

    with pytest.raises(SimulationError, match="`beach` must have an agent when it is built"):
        replace(BEACH, make=Empty)(1)


def test_it_has_one_behavior() -> None:
    simulation: PlainSimulation[Beach, str] = BEACH(1)
    assert OneGroup(simulation).save_state() is None
    with pytest.raises(SimulationError, match="expected the behavior `scripted`, got 'idle'"):
        simulation.scripted("idle")
