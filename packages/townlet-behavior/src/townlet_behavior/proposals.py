"""Proposals of the policy for all agents, from one forward pass."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ShapeError
from .views import View

_FLOOR = np.finfo(np.float32).min
_TOLERANCE = 1e-4
"""What float32 needs, some hundred times over; logits miss it by whole numbers."""
_INT64, _FLOAT32, _BOOL = np.dtype(np.int64), np.dtype(np.float32), np.dtype(np.bool_)


@dataclass(frozen=True, kw_only=True, eq=False)
class Proposals:
    """The policy's actions, their probabilities and its values, one row per agent of the view.

    Examples:
        >>> import numpy as np
        >>> log_probs = np.log(np.array([[0.25, 0.75], [0.5, 0.5]], np.float32))
        >>> proposals = Proposals(actions=np.array([1, 0]), log_probs=log_probs, values=np.zeros(2, np.float32))
        >>> proposals.greedy
        False

    Raises:
        ShapeError: if a field has another shape or dtype than stated.
    """

    actions: NDArray[np.int64]
    """[N]; sampled, or the most probable ones."""
    log_probs: NDArray[np.float32] | None
    """[N, A]; of every action, normalised: logsumexp of each row is 0 within 1e-4, so logits are refused. Illegal
    actions have `finfo(float32).min`. None: unknown, then the executed actions are recorded as foreign."""
    values: NDArray[np.float32] | None
    """[N]; in reward units. None: not known, recorded as 0."""
    greedy: bool = False
    """`actions` are the most probable ones, not samples: no probability describes the choice."""
    opinion: NDArray[np.bool_] | None = None
    """[N]; where the policy has an opinion. None: everywhere. Elsewhere the script decides, and `actions` and
    `log_probs` are not read."""
    temperatures: NDArray[np.float32] | None = None
    """[N], above 0; τ at which `actions` were drawn, from π_τ ∝ π^(1/τ). `log_probs` are those of π. None: 1."""

    def __post_init__(self) -> None:
        if self.actions.ndim != 1 or self.actions.dtype != _INT64:
            raise ShapeError(f"`actions` must be int64 [N], got {self.actions.dtype} {self.actions.shape}")
        shape = self.actions.shape
        if self.values is not None and (self.values.shape != shape or self.values.dtype != _FLOAT32):
            raise ShapeError(f"`values` must be float32 {shape}, got {self.values.dtype} {self.values.shape}")
        if self.log_probs is not None:
            log_probs = self.log_probs
            if log_probs.ndim != 2 or log_probs.shape[:1] != shape or log_probs.dtype != _FLOAT32:
                raise ShapeError(
                    f"`log_probs` must be float32 ({shape[0]}, A), got {log_probs.dtype} {log_probs.shape}"
                )
        if self.opinion is not None and (self.opinion.shape != shape or self.opinion.dtype != _BOOL):
            raise ShapeError(f"`opinion` must be bool {shape}, got {self.opinion.dtype} {self.opinion.shape}")
        if self.temperatures is not None:
            check_temperatures(self.temperatures, shape)


def check_temperatures(temperatures: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    """Refuse temperatures that are not float32 of `shape`, finite and above 0.

    Raises:
        ShapeError: if they are not.
    """
    if temperatures.shape != shape or temperatures.dtype != _FLOAT32:
        raise ShapeError(f"`temperatures` must be float32 {shape}, got {temperatures.dtype} {temperatures.shape}")
    if not ((temperatures > 0.0) & np.isfinite(temperatures)).all():
        raise ShapeError(f"`temperatures` must be finite and above 0, got {temperatures}")


def is_sound(proposals: Proposals, view: View, *, num_actions: int) -> bool:
    """Check that proposals fit, and whether every row is usable, rows and places that are not read included.

    This is the cheap question of every tick; `find_faults` is for the ticks in which the answer is no.

    Args:
        proposals: of a policy.
        view: that they must be for.
        num_actions: size of the vocabulary that they must be for.

    Raises:
        ShapeError: naming the array, what was expected and what came.
    """
    actions, log_probs, size = proposals.actions, proposals.log_probs, len(proposals.actions)
    if actions.shape != view.slots.shape:
        raise ShapeError(f"proposals must be for the {len(view.slots)} agents of the view, got {size}")
    if log_probs is not None and log_probs.shape[1] != num_actions:
        raise ShapeError(f"`log_probs` must have a column for each of {num_actions} actions, got {log_probs.shape[1]}")
    # One comparison for both ends: as unsigned, a negative number is larger than any vocabulary.
    if np.count_nonzero(actions.view(np.uint64) < num_actions) != size:
        return False
    # What is not finite, or overflows, only has to be found here.
    with np.errstate(over="ignore", invalid="ignore"):
        # In float64 the sum of float32 numbers is finite where every one is.
        if proposals.values is not None and not math.isfinite(np.add.reduce(proposals.values, dtype=np.float64)):
            return False
        if log_probs is None or size == 0:
            return True
        if not np.minimum.reduce(log_probs, axis=None) >= _FLOOR:
            return False
        # The probabilities of a row add up to 1: near 1 the logarithm of a sum is the sum - 1. NaN compares false.
        totals = np.add.reduce(np.exp(log_probs), axis=1)
        return bool(np.minimum.reduce(totals) >= 1.0 - _TOLERANCE and np.maximum.reduce(totals) <= 1.0 + _TOLERANCE)


def find_faults(proposals: Proposals, view: View, *, num_actions: int) -> tuple[NDArray[np.bool_], str]:
    """Find the rows that cannot be used, and describe the first of them.

    A row needs a finite value. Where the policy has an opinion, it also needs an action of the vocabulary and
    log-probabilities that are finite where the mask allows the action, and normalised: |log Σ_a π(a)| <= 1e-4. At
    places that the mask forbids, what is not finite counts as impossible.

    Args:
        proposals: for this view and vocabulary.
        view: of the same rows.
        num_actions: size of the vocabulary.

    Returns:
        Where the rows are unusable, [N] bool, and what is wrong with the first ("" where none is).
    """
    actions, log_probs, values = proposals.actions, proposals.log_probs, proposals.values
    read = np.ones(len(actions), np.bool_) if proposals.opinion is None else proposals.opinion
    rules: list[tuple[str, NDArray[Any], NDArray[np.bool_]]] = [
        (f"`actions` must be in [0, {num_actions})", actions, read & ((actions < 0) | (actions >= num_actions))),
    ]
    if values is not None:
        rules.insert(0, ("`values` must be finite", values, ~np.isfinite(values)))
    if log_probs is not None:
        unusable = ~np.isfinite(log_probs)
        if view.action_mask is not None:
            unusable &= view.action_mask
        rules.append(("`log_probs` of legal actions must be finite", log_probs, read & unusable.any(axis=1)))
        totals = np.logaddexp.reduce(_made_finite(log_probs), axis=1)
        wrong = read & ~(np.abs(totals) <= _TOLERANCE)
        rules.append((f"normalise `log_probs`: logsumexp of a row must be within {_TOLERANCE} of 0", totals, wrong))
    faulty = np.logical_or.reduce([broken for _, _, broken in rules])
    row = int(faulty.argmax()) if len(faulty) else 0
    first = (f"row {row}: {rule}, got {column[row]}" for rule, column, broken in rules if broken[row : row + 1].any())
    return faulty, next(first, "")


def without_rows(proposals: Proposals, dropped: NDArray[np.bool_]) -> Proposals:
    """Return the proposals without an opinion in `dropped` [N]; values that are not read become finite and in range."""
    opinion = ~dropped if proposals.opinion is None else proposals.opinion & ~dropped
    log_probs, values = proposals.log_probs, proposals.values
    return replace(
        proposals,
        actions=np.where(opinion, proposals.actions, 0),
        log_probs=None if log_probs is None else _made_finite(log_probs),
        values=None if values is None else np.where(dropped, np.float32(0.0), values),
        opinion=opinion,
    )


def _made_finite(log_probs: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.isfinite(log_probs), log_probs, _FLOOR)
