"""How often a policy from a file would have done what a person did."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.policy.drawing import Distribution, greedy_actions, greedy_numbers, greedy_parts
from townlet_runtime.policy.onnx import FilePolicy, RecurrentOnnxPolicy
from townlet_trajectory import ACTION_MASK, Box, MultiDiscrete, TrajectoryBatch

_NEAR = 0.05
"""Numbers agree within this share of their range, as where clones are judged."""


def agreement(policy: FilePolicy, batch: TrajectoryBatch) -> float:
    """Return the share of the steps of a batch whose action is the one that a policy takes without drawing, in [0, 1].

    Args:
        policy: fits the steps. One with memory begins every trajectory without.
        batch: of at least one step.
    """
    taken = _taken(policy, batch)
    given = np.asarray(batch.columns["action"])
    if isinstance(batch.schema.actions, Box):
        box = batch.schema.actions
        low, high = np.array(box.low), np.array(box.high)
        near = np.abs(taken - np.clip(given, low, high)) <= _NEAR * (high - low)
        return float(near.all(axis=1).mean())
    same = taken == given
    return float((same if same.ndim == 1 else same.all(axis=1)).mean())


def _taken(policy: FilePolicy, batch: TrajectoryBatch) -> NDArray[Any]:
    """[R] or [R, K]; the actions that the policy takes."""
    if not isinstance(policy, RecurrentOnnxPolicy):
        return _mode(policy, _params(policy, batch, slice(None)), batch)
    step = np.arange(batch.num_steps) - np.repeat(batch.offsets[:-1], batch.lengths)
    state = np.zeros((len(batch), policy.card.state_size), np.float32)
    taken = np.zeros_like(np.asarray(batch.columns["action"]))
    for place in range(int(batch.lengths.max())):
        rows = np.flatnonzero(step == place)
        there = batch.trajectory_of_row[rows]
        params, _, state[there] = policy.act(*_seen(policy, batch, rows), state[there])
        taken[rows] = _mode(policy, params, batch)
    return taken


def _params(policy: FilePolicy, batch: TrajectoryBatch, rows: slice) -> NDArray[np.float32]:
    params: NDArray[np.float32] = cast(Any, policy).act(*_seen(policy, batch, rows))[0]
    return params


def _seen(
    policy: FilePolicy, batch: TrajectoryBatch, rows: NDArray[np.int64] | slice
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.bool_] | None]:
    observations = {name: batch.observations[name][rows].astype(np.float32) for name in policy.observation_shapes}
    mask = batch.observations.get(ACTION_MASK)
    return observations, None if mask is None else mask[rows].astype(np.bool_)


def _mode(policy: FilePolicy, params: NDArray[np.float32], batch: TrajectoryBatch) -> NDArray[Any]:
    actions = batch.schema.actions
    if actions is None:
        return greedy_actions(params)
    if isinstance(actions, MultiDiscrete):
        return greedy_parts(params, sizes=actions.sizes)
    return greedy_numbers(params, box=actions, distribution=cast(Distribution, policy.distribution))
