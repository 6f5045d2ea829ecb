"""What a network of any kind of action and memory does in worlds of random observations and rewards."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from kinds import KINDS, mask_of, observations_of
from numpy.typing import NDArray
from strategies import DECISION, FOREIGN

from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.gaussian import Gaussian
from townlet_trajectory import (
    ArraySpec,
    Box,
    MultiDiscrete,
    TrajectoryBatch,
    TrajectorySchema,
    default_decision_columns,
)

Array = NDArray[np.generic]


def sample(network: ActorCritic, params: NDArray[np.float32], rng: np.random.Generator) -> Array:
    """Draw an action from each row of `params` [N, P]."""
    distribution = network.distribution
    if isinstance(distribution, Gaussian):
        mean, log_std = np.split(params.astype(np.float64), 2, axis=1)
        drawn = mean + np.exp(log_std) * rng.normal(size=mean.shape)
        if distribution.name == "squashed":
            low, high = (bound.numpy().astype(np.float64) for bound in (distribution.low, distribution.high))
            drawn = low + (high - low) * (np.tanh(drawn) + 1.0) / 2.0
        return drawn.astype(np.float32)
    # Gumbel's trick: the argmax of log π + noise is a sample of π.
    noisy = np.where(params > -1e30, params + rng.gumbel(size=params.shape), -np.inf)
    sizes = sizes_of(network)
    parts = [part.argmax(axis=1) for part in np.split(noisy, np.cumsum(sizes)[:-1], axis=1)]
    return np.stack(parts, axis=1) if len(parts) > 1 else parts[0]


def sizes_of(network: ActorCritic) -> tuple[int, ...]:
    return (3, 2) if network.num_actions == 5 else (network.num_actions,)


def proposals(spec_actions: MultiDiscrete | Box | None, num_rows: int, rng: np.random.Generator) -> Array:
    """What a script proposes at random; it does not look at masks."""
    if isinstance(spec_actions, Box):
        return rng.uniform(spec_actions.low, spec_actions.high, (num_rows, len(spec_actions.names))).astype(np.float32)
    if isinstance(spec_actions, MultiDiscrete):
        return rng.integers(spec_actions.sizes, size=(num_rows, len(spec_actions.sizes)))
    return rng.integers(3, size=num_rows)


def log_prob(network: ActorCritic, params: NDArray[np.float32], actions: Array) -> NDArray[np.float32]:
    found: NDArray[np.float32] = network.distribution.log_prob(
        torch.from_numpy(params), torch.from_numpy(actions)
    ).numpy()
    return found


def acted_kind(
    network: ActorCritic,
    kind: str,
    *,
    lengths: Sequence[int],
    seed: int = 0,
    ratio: float = 1.0,
    foreign: float = 0.0,
    terminated: Sequence[bool] | None = None,
) -> TrajectoryBatch:
    """Let `network`, of the spec `kind`, act in trajectories of `lengths`, beside a script.

    Its memory begins with numbers at random, as that of an agent whose episode was begun before. A share `foreign` of
    the rows is decided by somebody else, and the memory steps on. Every fourth row has no proposal.
    """
    rng, spec = np.random.default_rng(seed), KINDS[kind][0]
    num_rows, offsets = sum(lengths), np.concatenate([[0], np.cumsum(lengths)])
    seen, mask = observations_of(network, num_rows, seed=seed), mask_of(network, num_rows, seed=seed + 1)
    size = network.state_size
    state = rng.normal(scale=0.5, size=(len(lengths), size)).astype(np.float32)
    states = np.zeros((num_rows, size), np.float32)
    params = np.zeros((num_rows, network.num_actions), np.float32)
    values = np.zeros(num_rows, np.float32)
    for tick in range(max(lengths)):
        alive = np.flatnonzero(np.array(lengths) > tick)
        rows = offsets[alive] + tick
        states[rows] = state[alive]
        now, legal = {name: array[rows] for name, array in seen.items()}, None if mask is None else mask[rows]
        if size:
            params[rows], values[rows], state[alive] = network.act(now, legal, state[alive])
        else:
            params[rows], values[rows] = network.act(now, legal)
    own, expert = sample(network, params, rng), proposals(spec.actions, num_rows, rng)
    row_of = (lambda flags: flags) if own.ndim == 1 else (lambda flags: flags[:, None])
    own_drawn = rng.random(num_rows) < ratio
    is_proposed = np.arange(num_rows) % 4 != 3
    chosen = np.where(row_of(own_drawn | ~is_proposed), own, expert)
    policy = log_prob(network, params, chosen)
    same = (chosen == expert).reshape(num_rows, -1).all(axis=1)
    behavior = policy.astype(np.float64)
    with np.errstate(divide="ignore"):
        mixed = np.log(ratio * np.exp(behavior) + (1.0 - ratio) * same)
    behavior = np.where(is_proposed & (ratio < 1.0), mixed, behavior)
    kinds = np.where(rng.random(num_rows) < foreign, FOREIGN, DECISION).astype(np.int8)
    nothing = 0.0 if isinstance(spec.actions, Box) else -1
    columns: dict[str, Array] = {
        "action": chosen,
        "chosen_action": chosen,
        "expert_action": np.where(row_of(is_proposed), expert, nothing).astype(expert.dtype),
        "proposer": np.where(is_proposed, 0, -1),
        "kind": kinds,
        "policy_log_prob": np.where(kinds == DECISION, policy, 0.0),
        "behavior_log_prob": np.where(kinds == DECISION, behavior, 0.0),
        "value": values,
        "ratio": np.full(num_rows, ratio),
    }
    final = observations_of(network, len(lengths), seed=seed + 2)
    observations: dict[str, Array] = {**seen}
    final_observations: dict[str, Array] = {**final}
    if mask is not None:
        observations["action_mask"] = mask
        final_observations["action_mask"] = np.zeros((len(lengths), network.num_actions), np.bool_)
    specs = default_decision_columns(spec.actions)
    if size:
        specs["policy_state"], columns["policy_state"] = ArraySpec("float32", (size,)), states
    shapes = {name: (num_rows, *each.shape) for name, each in specs.items()}
    agent_ids = np.empty(len(lengths), object)
    agent_ids[:] = [f"a{index}" for index in range(len(lengths))]
    ends = rng.random(len(lengths)) < 0.5 if terminated is None else np.array(terminated)
    return TrajectoryBatch(
        schema=TrajectorySchema(
            observations={name: ArraySpec(array.dtype.name, array.shape[1:]) for name, array in observations.items()},
            decisions=specs,
            vocabulary=spec.vocabulary,
            actions=spec.actions,
            proposers=("script",),
        ),
        offsets=offsets.astype(np.int64),
        observations=observations,
        final_observations=final_observations,
        columns={
            name: columns.get(name, np.zeros(shapes[name])).astype(each.numpy_dtype) for name, each in specs.items()
        },
        rewards=rng.normal(size=num_rows).astype(np.float32),
        ticks=np.concatenate([np.arange(length) for length in lengths]),
        terminated=ends,
        truncated=~ends,
        agent_ids=agent_ids,
        worlds=np.zeros(len(lengths), np.int64),
        episodes=np.arange(len(lengths)),
    )


def without_memory_of_others(batch: TrajectoryBatch) -> TrajectoryBatch:
    """`batch` as if nobody had recorded a memory."""
    decisions = {name: spec for name, spec in batch.schema.decisions.items() if name != "policy_state"}
    return dataclasses.replace(
        batch,
        schema=dataclasses.replace(batch.schema, decisions=decisions),
        columns={name: column for name, column in batch.columns.items() if name != "policy_state"},
    )
