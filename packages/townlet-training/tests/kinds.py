"""Networks of every kind of action, memory, input and trunk, and inputs for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_training.network.spec import PolicySpec
from townlet_trajectory import Box, MultiDiscrete

PARTS = MultiDiscrete(parts={"move": ("stay", "north", "south"), "hand": ("open", "closed")})
NUMBERS = Box(names=("steer", "throttle"), low=(-1.0, 0.0), high=(1.0, 4.0))
PLAIN = PolicySpec(world="kinds", vocabulary=("wait", "walk", "eat"), observation_shapes={"self": (3,), "hunger": ()})
SEEING = replace(
    PLAIN,
    observation_shapes={"around": (2, 4, 5), "near": (6, 3), "near_mask": (6,), "self": (3,)},
    observation_kinds={"around": "image", "near": "entities"},
)
CENTRAL = replace(PLAIN, critic_shapes={"all": (4,), "time": ()})
CENTRAL_SEEING = replace(
    SEEING,
    critic_shapes={"whole": (1, 3, 3), "time": ()},
    observation_kinds={**SEEING.observation_kinds, "whole": "image"},
)
SMALL = NetworkConfig(hidden_sizes=(16, 8))
GRU = replace(SMALL, memory="gru", memory_size=6)
FRAMES = replace(SMALL, memory="frames", memory_size=3)


def with_actions(spec: PolicySpec, actions: MultiDiscrete | Box, distribution: str = "") -> PolicySpec:
    return replace(spec, vocabulary=(), actions=actions, distribution=distribution)


KINDS: Mapping[str, tuple[PolicySpec, NetworkConfig]] = {
    "plain": (PLAIN, SMALL),
    "parts": (with_actions(PLAIN, PARTS), SMALL),
    "clipped": (with_actions(PLAIN, NUMBERS, "clipped"), SMALL),
    "squashed": (with_actions(PLAIN, NUMBERS, "squashed"), replace(SMALL, distribution="squashed")),
    "gru": (PLAIN, GRU),
    "gru_shared": (PLAIN, replace(GRU, trunk="shared")),
    "gru_numbers": (with_actions(PLAIN, NUMBERS, "clipped"), GRU),
    "frames": (PLAIN, FRAMES),
    "frames_shared": (PLAIN, replace(FRAMES, trunk="shared", critic_hidden_sizes=(5,))),
    "shared": (PLAIN, replace(SMALL, trunk="shared", activation="relu")),
    "critic_sizes": (PLAIN, replace(SMALL, critic_hidden_sizes=(12,))),
    "uniform": (PLAIN, replace(SMALL, initialization="uniform", policy_head_gain=0.5)),
    "central": (CENTRAL, SMALL),
    "central_shared": (CENTRAL, replace(SMALL, trunk="shared")),
    "central_gru": (CENTRAL, GRU),
    "central_frames": (CENTRAL, FRAMES),
    "seeing": (SEEING, SMALL),
    "seeing_shared": (SEEING, replace(SMALL, trunk="shared")),
    "seeing_frames": (SEEING, FRAMES),
    "seeing_gru_parts": (with_actions(SEEING, PARTS), GRU),
    "seeing_central_gru": (CENTRAL_SEEING, replace(GRU, trunk="shared")),
    "running": (PLAIN, replace(SMALL, normalize_observations="running", value_scale="running")),
    "unnormalized": (SEEING, replace(SMALL, normalize_observations="none", value_scale="none")),
}
"""Spec and settings by name."""


def network_of(kind: str, *, seed: int = 0) -> ActorCritic:
    """A network whose outputs are far from 0, with statistics that are none's."""
    spec, config = KINDS[kind]
    network = ActorCritic.of(spec, config, generator=torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for weight in network.parameters():
            fan_in = weight[0].numel() if weight.ndim > 1 else 9
            weight.add_(torch.randn(weight.shape, generator=generator) / fan_in**0.5)
        network.observation_mean.normal_(generator=generator)
        network.observation_std.fill_(1.7)
        start = 0
        for name, shape in network.input_shapes.items():
            if name.endswith("_mask"):
                network.observation_mean[start : start + shape[0]] = 0.0
                network.observation_std[start : start + shape[0]] = 1.0
            start += math.prod(shape)
    network.set_value_scale(2.5)
    return network


def observations_of(network: ActorCritic, num_rows: int, *, seed: int) -> dict[str, NDArray[np.float32]]:
    """All inputs of a network; masks of things hold 0 and 1, everywhere and nowhere among them."""
    rng = np.random.default_rng(seed)
    seen = {
        name: rng.normal(scale=2.0, size=(num_rows, *shape)).astype(np.float32)
        for name, shape in network.input_shapes.items()
    }
    for name in seen:
        if name.endswith("_mask"):
            seen[name] = (seen[name] > rng.choice([-9.0, 0.0, 9.0], size=(num_rows, 1))).astype(np.float32)
    return seen


def mask_of(network: ActorCritic, num_rows: int, *, seed: int) -> NDArray[np.bool_] | None:
    """A mask with something legal everywhere; None where actions have none."""
    if network.distribution.name:
        return None
    mask = np.random.default_rng(seed).random((num_rows, network.num_actions)) < 0.6
    # The first of 3 actions, or of the parts of 3 and 2 values.
    mask[:, [0, 3][: 1 + (network.num_actions > 3)]] = True
    return mask


def tensors(arrays: Mapping[str, NDArray[np.float32]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
