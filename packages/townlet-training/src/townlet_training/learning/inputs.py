"""From the arrays of a batch to the tensors that a network learns from, all rows at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from townlet_training.errors import NonFiniteError, ShapeError
from townlet_training.network.actor_critic import ActorCritic, require_legal_action
from townlet_trajectory import ACTION_MASK, TrajectoryBatch

_CHUNK = 4096
"""Rows evaluated at once: the hidden layers of all rows of a batch would fill the memory."""


def require_finite(stage: str, array: NDArray[np.generic]) -> None:
    """Raise `NonFiniteError`, naming `stage` and the first row, if `array` [N, ...] holds a NaN or an infinity."""
    finite = np.isfinite(array)
    if not finite.all():
        raise NonFiniteError(stage, f"row {np.argwhere(~finite)[0, 0]} of {len(array)} is not finite")


def require_same_actions(network: ActorCritic, batch: TrajectoryBatch) -> None:
    """Raise `ShapeError` unless the network has one output for every action of the batch's vocabulary."""
    if len(batch.schema.vocabulary) != network.num_actions:
        raise ShapeError(f"the network has {network.num_actions} actions, the batch {len(batch.schema.vocabulary)}")


def encode_rows(
    network: ActorCritic, observations: Mapping[str, NDArray[np.generic]], rows: NDArray[np.int64]
) -> Tensor:
    """The encoded observations [N, F] at `rows` [N] int64.

    Raises:
        ShapeError: if an input is missing or has another shape.
    """
    names = network.observation_shapes.keys() & observations.keys()
    with torch.no_grad():
        return network.encode({name: torch.from_numpy(observations[name][rows]) for name in names})


def mask_rows(observations: Mapping[str, NDArray[np.generic]], rows: NDArray[np.int64]) -> Tensor | None:
    """The action mask [N, A] at `rows` [N] int64, None if the observations hold none.

    Raises:
        ActionMaskError: if one of them has no legal action.
    """
    if ACTION_MASK not in observations:
        return None
    mask = np.asarray(observations[ACTION_MASK], np.bool_)[rows]
    require_legal_action(mask)
    return torch.from_numpy(mask)


def scaled_values_of(network: ActorCritic, encoded: Tensor) -> Tensor:
    """V / `value_scale` [N] of `encoded` [N, F], without gradient.

    Raises:
        NonFiniteError: if one is not finite.
    """
    with torch.no_grad():
        values = torch.cat([network.scaled_values(chunk) for chunk in torch.split(encoded, _CHUNK)])
    require_finite("values", values.numpy())
    return values


def log_probs_of(network: ActorCritic, encoded: Tensor, action_mask: Tensor | None) -> Tensor:
    """log π(·|s) [N, A] of `encoded` [N, F] under `action_mask` [N, A], without gradient.

    Raises:
        NonFiniteError: if one is not finite.
    """
    chunks = range(0, max(len(encoded), 1), _CHUNK)
    masks = [None if action_mask is None else action_mask[first : first + _CHUNK] for first in chunks]
    with torch.no_grad():
        parts = zip(torch.split(encoded, _CHUNK), masks, strict=True)
        log_probs = torch.cat([network.log_probs(chunk, mask) for chunk, mask in parts])
    require_finite("log-probabilities", log_probs.numpy())
    return log_probs
