"""Rows of a batch as a network takes them: columns and actions checked, observations encoded, and then evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from townlet_training.errors import NonFiniteError, ShapeError
from townlet_training.learning.objective import agent_and_tick
from townlet_training.network.distributions import MultiCategorical
from townlet_trajectory import ACTION_MASK, Box, MultiDiscrete, StepBatch, TrajectoryBatch, TrajectorySchema

if TYPE_CHECKING:
    from townlet_training.network.actor_critic import ActorCritic

Actions: TypeAlias = NDArray[np.number[Any]]
"""Indices [N] int64; of array actions [N, K], int64 or float32."""

_Number = TypeVar("_Number", bound=np.generic)

CHUNK = 4096
"""Rows evaluated at once: the hidden layers of all rows of a batch would fill the memory."""
_CACHED = 1024
"""Rows evaluated at once in numpy: their hidden layers stay in the processor's cache."""


def require_columns(batch: TrajectoryBatch | StepBatch, *names: str, otherwise: str = "") -> None:
    """Raise `ShapeError`, whose message ends with `otherwise`, if `batch` lacks one of the decision columns `names`."""
    if missing := [name for name in names if name not in batch.columns]:
        raise ShapeError(f"a learner needs the columns {missing}, the batch has {sorted(batch.columns)}{otherwise}")


def require_same_actions(network: ActorCritic, batch: TrajectoryBatch | StepBatch) -> None:
    """Raise `ShapeError` unless the actions of the network are those of the batch."""
    actions, distribution = batch.schema.actions, network.distribution
    if isinstance(actions, MultiDiscrete):
        known = distribution.part_sizes if isinstance(distribution, MultiCategorical) else None
        if known != actions.sizes:
            raise ShapeError(f"the network's parts have the sizes {known}, those of the batch {actions.sizes}")
    elif isinstance(actions, Box):
        bounds = distribution.bounds
        expected = torch.tensor([actions.low, actions.high]).tolist()
        if bounds != expected:
            raise ShapeError(f"the network's actions have the bounds {bounds}, those of the batch {expected}")
    elif len(batch.schema.vocabulary) != network.num_actions:
        raise ShapeError(f"the network has {network.num_actions} actions, the batch {len(batch.schema.vocabulary)}")


def require_actions(name: str, batch: TrajectoryBatch | StepBatch, actions: Actions, rows: NDArray[np.int64]) -> None:
    """Check that `actions` are those of the schema of `batch`: indices within its vocabulary, or its parts; numbers.

    Args:
        name: of the actions, for the error.
        batch: of R rows.
        actions: [N], or [N, K].
        rows: [N]; the rows of `batch` at which they stand.

    Raises:
        ShapeError: if one is not; it names the first.
    """
    spec = batch.schema.actions
    if isinstance(spec, Box):
        wrong = ~np.isfinite(actions)
        expected = "finite"
    else:
        sizes = np.array(spec.sizes if spec is not None else len(batch.schema.vocabulary))
        wrong = (actions < 0) | (actions >= sizes)
        expected = f"in [0, {sizes})" if spec is None else f"below {sizes.tolist()}, and at least 0"
    rows_wrong = np.flatnonzero(side_by_side(wrong).any(axis=1))
    if rows_wrong.size:
        first = rows_wrong[0]
        row = rows[first]
        raise ShapeError(f"`{name}` must be {expected}, got {actions[first]} in row {row} ({_place(batch, row)})")


def _place(batch: TrajectoryBatch | StepBatch, row: np.integer) -> str:
    if isinstance(batch, StepBatch):
        return f"step {batch.steps[row]} of the record, tick {batch.ticks[row]}"
    return agent_and_tick(batch, row)


def action_rows(
    batch: TrajectoryBatch | StepBatch, column: NDArray[np.generic], rows: NDArray[np.int64] | slice
) -> Actions:
    """Return the actions of a column at some rows.

    Args:
        batch: of R rows; says what actions are.
        column: [R, ...] of it.
        rows: N of its rows.

    Returns:
        [N] or [N, K].
    """
    spec = batch.schema.actions
    return np.asarray(column, np.int64 if spec is None else np.dtype(spec.dtype))[rows]


def side_by_side(rows: NDArray[_Number]) -> NDArray[_Number]:
    """Return `rows` [N] or [N, K] with an axis for the parts: [N, 1] or [N, K]."""
    return rows[:, None] if rows.ndim == 1 else rows


def is_proposed(batch: TrajectoryBatch | StepBatch) -> NDArray[np.bool_]:
    """Return at which rows [R] the script proposed: where `expert_action` is not -1; `proposer`, where it is numbers.

    Raises:
        ShapeError: if the batch lacks a column.
    """
    if isinstance(batch.schema.actions, Box):
        require_columns(batch, "proposer")
        return np.asarray(batch.columns["proposer"], np.int64) >= 0
    return is_given(np.asarray(batch.columns["expert_action"], np.int64))


def is_given(actions: Actions) -> NDArray[np.bool_]:
    """Return at which rows there is an action: where not all indices [N] or [N, K] are -1."""
    return np.asarray(side_by_side(actions >= 0).any(axis=1))


def legal_at(schema: TrajectorySchema, action_mask: NDArray[np.generic], actions: Actions) -> NDArray[np.bool_]:
    """Return at which rows a mask allows an action entirely.

    Args:
        schema: says what actions are.
        action_mask: [N, A], or [N, Σ A_k] of all parts.
        actions: [N] or [N, K].

    Returns:
        [N].
    """
    spec = schema.actions
    starts = np.cumsum((0, *spec.sizes[:-1])) if isinstance(spec, MultiDiscrete) else np.zeros(1, np.int64)
    columns = side_by_side(actions.astype(np.int64)) + starts
    return np.asarray(np.take_along_axis(action_mask, columns, axis=1).all(axis=1), np.bool_)


def encode_rows(
    network: ActorCritic, observations: Mapping[str, NDArray[np.generic]], rows: NDArray[np.int64]
) -> Tensor:
    """Encode the observations at `rows` [N]: [N, F], where the network is.

    Args:
        network: whose inputs are wanted; other observations are ignored.
        observations: each [R, ...].
        rows: [N] int64.

    Raises:
        ShapeError: if an input is missing or has another shape.
    """
    names = network.input_shapes.keys() & observations.keys()
    with torch.no_grad():
        return network.encode({name: torch.from_numpy(observations[name][rows]) for name in names})


def mask_rows(
    network: ActorCritic, observations: Mapping[str, NDArray[np.generic]], rows: NDArray[np.int64]
) -> Tensor | None:
    """Return the action mask at some rows, on the device of the network.

    Args:
        network: whose device it is.
        observations: each [R, ...].
        rows: [N] int64.

    Returns:
        [N, ...]; None if the observations hold none.

    Raises:
        ActionMaskError: if one of them has no legal action.
    """
    if ACTION_MASK not in observations:
        return None
    mask = np.asarray(observations[ACTION_MASK], np.bool_)[rows]
    network.distribution.require_legal(mask, num_rows=len(rows))
    return torch.from_numpy(mask).to(network.value_scale.device)


def scaled_values_of(network: ActorCritic, features: Tensor) -> Tensor:
    """Evaluate the critic without gradient: V / `value_scale` [N] of its features [N, Fc].

    Raises:
        NonFiniteError: if one is not finite.
    """
    with torch.no_grad():
        values = _said(network, "critic", features).squeeze(-1)
    _require_finite("values", values)
    return values


def params_of(network: ActorCritic, features: Tensor, action_mask: Tensor | None) -> Tensor:
    """Evaluate the policy without gradient.

    Args:
        network: the policy.
        features: of the policy, [N, Fp].
        action_mask: [N, ...] bool, with a legal action in each row; None if all are.

    Returns:
        Parameters of π(·|s) [N, P].

    Raises:
        NonFiniteError: if an output is not finite, that of a forbidden action too.
    """
    with torch.no_grad():
        outputs = network.completed(_said(network, "policy", features))
        _require_finite("log-probabilities", outputs)
        return network.distribution.params(outputs, action_mask)


def _said(network: ActorCritic, part: Literal["policy", "critic"], features: Tensor) -> Tensor:
    """Evaluate the head [N, O] of one of the trunks on `features` [N, F]."""
    if features.device.type != "cpu":
        trunk = network.policy if part == "policy" else network.critic
        return torch.cat([trunk(chunk) for chunk in torch.split(features, CHUNK)])
    # In numpy, as while acting: it takes two thirds to four fifths of the time.
    array, twin = features.numpy(), network.twin.policy if part == "policy" else network.twin.critic
    starts = range(0, max(len(array), 1), _CACHED)
    return torch.from_numpy(np.concatenate([twin(array[start : start + _CACHED]) for start in starts]))


def at_rows(rows: Tensor, index: Tensor) -> Tensor:
    """Return `rows` at `index`, which is on the CPU."""
    return rows.index_select(0, index.to(rows.device))


def _require_finite(stage: str, outputs: Tensor) -> None:
    """Raise `NonFiniteError`, naming `stage` and the first row, if `outputs` [N, ...] hold a NaN or an infinity."""
    finite = torch.isfinite(outputs)
    if not finite.all():
        raise NonFiniteError(stage, f"row {finite.logical_not().nonzero()[0, 0]} of {len(outputs)} is not finite")
