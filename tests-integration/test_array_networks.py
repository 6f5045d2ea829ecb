"""Networks of each kind act in a world of array actions, and a record gives their log-probabilities and values anew."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from townlet_behavior import Box, BridgeConfig, MultiDiscrete
from townlet_runtime import Collector, Observed, OneGroup, SimulationSpec, Stepped, check_policy, check_simulation
from townlet_runtime.simulation.interface import AGENTS, ActionArray, Observations
from townlet_runtime.simulation.recorded import recorded_actions
from townlet_training import ActorCritic, NetworkConfig, PolicySpec
from townlet_trajectory import Kind, TrajectoryBatch

Kinds = Literal["numbers", "parts"]
NUMBERS = Box(names=("east", "north"), low=(-0.5, -0.25), high=(0.5, 0.5))
PARTS = MultiDiscrete(parts={"east": ("rest", "west", "east"), "north": ("rest", "north")})
CELLS, TICKS = 8, 6


class Skies:
    """Two drones in each sky fly home; they see a radar picture and the birds nearby, and a critic sees the wind."""

    def __init__(self, kind: Kinds, num_worlds: int = 3) -> None:
        self.kind = kind
        self.spec = SimulationSpec(
            name="skies",
            actions=NUMBERS if kind == "numbers" else PARTS,
            observation_shapes={"place": (2,), "radar": (1, CELLS, CELLS), "birds": (3, 2), "birds_mask": (3,)},
            observation_kinds={"radar": "image", "birds": "entities"},
            critic_shapes={"wind": (2,)},
            num_worlds=num_worlds,
            capacity=2 * num_worlds,
            episode_ticks=TICKS,
        )

    def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
        self._chance = [np.random.default_rng(seed) for seed in seeds]
        self._begin()
        return self._observed()

    def step(self, actions: ActionArray) -> Stepped:
        moves = actions if self.kind == "numbers" else np.array([0.0, -0.25, 0.25])[actions * [1, 2]]
        self._place = np.clip(self._place + moves + self._wind, -1.0, 1.0)
        self._tick += 1
        rewards, over = -np.abs(self._place).max(axis=1), self._tick == TICKS
        final = self._seen() if over else {}
        if over:
            self._begin()
        truncated = np.full(len(rewards), over)
        return Stepped(rewards=rewards, truncated=truncated, final_observations=final, observed=self._observed())

    def _begin(self) -> None:
        drawn = np.concatenate([chance.uniform(-1.0, 1.0, (2, 5, 2)) for chance in self._chance])
        self._tick, self._place, self._wind, self._birds = 0, drawn[:, 0], 0.1 * drawn[:, 1], drawn[:, 2:]

    def _seen(self) -> Observations:
        rows = np.arange(len(self._place))
        radar = np.zeros((len(rows), 1, CELLS, CELLS))
        radar[rows, 0, *((self._place + 1.0) * (CELLS / 2 - 1e-6)).astype(int).T] = 1.0
        way = self._birds - self._place[:, None]
        near = np.abs(way).max(axis=2) < 0.7
        shown = {"birds": way * near[..., None], "birds_mask": near}
        seen = {"place": self._place, "radar": radar, "wind": self._wind, **shown}
        return {name: np.asarray(array, np.float32) for name, array in seen.items()}

    def _observed(self) -> Observed:
        slots = np.arange(len(self._place))
        mask = None
        if self.kind == "parts":
            mask = np.ones((len(slots), 5), np.bool_)
            mask[:, 1], mask[:, 4] = self._place[:, 0] > -0.75, self._place[:, 1] < 0.75
        ids = np.array([f"drone {slot % 2}" for slot in slots.tolist()], object)
        return Observed(slots=slots, agent_ids=ids, observations=self._seen(), action_mask=mask)


def network_of(spec: SimulationSpec, config: NetworkConfig) -> ActorCritic:
    actions = recorded_actions(spec)
    made = PolicySpec(
        world=spec.name,
        vocabulary=(),
        observation_shapes=spec.observation_shapes,
        actions=actions,
        distribution=config.distribution if isinstance(spec.actions, Box) else "",
        critic_shapes=spec.critic_shapes,
        observation_kinds=spec.observation_kinds,
    )
    return ActorCritic.of(made, config, generator=torch.Generator().manual_seed(1))


def collected(kind: Kinds, network: ActorCritic) -> TrajectoryBatch:
    sizes = {AGENTS: network.state_size} if network.state_size else {}
    worlds = OneGroup(Skies(kind))
    collector = Collector(worlds, config=BridgeConfig(), seed=1, max_rows=1000, state_sizes=sizes, asks_values=True)
    return collector.collect({AGENTS: network}, num_ticks=20, ratio=1.0).batches[AGENTS]


def test_the_skies_keep_their_promises() -> None:
    for kind in ("numbers", "parts"):
        check_simulation(Skies(kind), seed=1, ticks=20)


@pytest.mark.parametrize("memory", ["none", "frames", "gru"])
@pytest.mark.parametrize(
    ("kind", "distribution"), [("numbers", "clipped"), ("numbers", "squashed"), ("parts", "clipped")]
)
def test_a_record_gives_the_log_probabilities_of_the_network_anew(
    kind: Kinds, distribution: Literal["clipped", "squashed"], memory: Literal["none", "frames", "gru"]
) -> None:
    size = {"none": None, "frames": 3, "gru": 8}[memory]
    config = NetworkConfig(
        hidden_sizes=(16,),
        memory=memory,
        memory_size=size,
        distribution=distribution,
        policy_head_gain=1.0,
        normalize_observations="none",
        value_scale="none",
    )
    network = network_of(Skies(kind).spec, config)
    check_policy(network, Skies(kind), seed=1, ticks=10)
    batch = collected(kind, network)
    rows = slice(0, batch.num_steps)
    seen = {
        name: np.asarray(array[rows], np.float32) for name, array in batch.observations.items() if name != "action_mask"
    }
    mask = np.asarray(batch.observations["action_mask"][rows], np.bool_) if kind == "parts" else None
    if memory == "none":
        params, values = network.act(seen, mask)
    else:
        state = np.array(batch.columns["policy_state"], np.float32)
        assert state.any()
        params, values, _ = network.act(seen, mask, state)
    chosen = torch.from_numpy(np.array(batch.columns["chosen_action"]))
    anew = network.distribution.log_prob(torch.from_numpy(params), chosen).numpy()
    recorded = batch.columns["policy_log_prob"]
    decided = batch.columns["kind"] == Kind.DECISION
    assert decided.sum() > 50
    assert (np.abs(anew - recorded) <= 1e-5 * (1.0 + np.abs(anew)))[decided].all()
    np.testing.assert_allclose(batch.columns["value"], values, rtol=1e-4, atol=1e-5)
