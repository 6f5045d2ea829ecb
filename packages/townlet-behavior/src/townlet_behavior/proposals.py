"""What the learned side wants, for all agents, from one forward pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .errors import ShapeError
from .views import View

_FLOOR = np.finfo(np.float32).min
_INT64, _FLOAT32, _BOOL = np.dtype(np.int64), np.dtype(np.float32), np.dtype(np.bool_)


@dataclass(frozen=True, kw_only=True, eq=False)
class Proposals:
    """The policy's actions, their probabilities and its values, one row per agent of the view.

    Raises:
        ShapeError: if a field has another shape or dtype than stated.
    """

    actions: NDArray[np.int64]
    """[N]; sampled, or the most probable ones."""
    log_probs: NDArray[np.float32] | None
    """[N, A]; of every action. None: unknown, then what is executed is recorded as foreign."""
    values: NDArray[np.float32]
    """[N]; in reward units."""
    greedy: bool = False
    """`actions` are the most probable ones, not samples: no probability describes the choice."""
    opinion: NDArray[np.bool_] | None = None
    """[N]; where the policy has an opinion. None: everywhere. Elsewhere the script decides, and `actions` and
    `log_probs` are not read."""

    def __post_init__(self) -> None:
        if self.actions.ndim != 1 or self.actions.dtype != _INT64:
            raise ShapeError(f"`actions` must be int64 [N], got {self.actions.dtype} {self.actions.shape}")
        shape = self.actions.shape
        if self.values.shape != shape or self.values.dtype != _FLOAT32:
            raise ShapeError(f"`values` must be float32 {shape}, got {self.values.dtype} {self.values.shape}")
        if self.log_probs is not None:
            log_probs = self.log_probs
            if log_probs.ndim != 2 or log_probs.shape[:1] != shape or log_probs.dtype != _FLOAT32:
                raise ShapeError(
                    f"`log_probs` must be float32 ({shape[0]}, A), got {log_probs.dtype} {log_probs.shape}"
                )
        if self.opinion is not None and (self.opinion.shape != shape or self.opinion.dtype != _BOOL):
            raise ShapeError(f"`opinion` must be bool {shape}, got {self.opinion.dtype} {self.opinion.shape}")


def check_fit(proposals: Proposals, view: View, *, num_actions: int) -> None:
    """Refuse proposals that are not for this view or this vocabulary.

    Raises:
        ShapeError: naming the array, what was expected and what came.
    """
    if proposals.actions.shape != view.slots.shape:
        raise ShapeError(
            f"proposals must be for the {len(view.slots)} agents of the view, got {len(proposals.actions)}"
        )
    if proposals.log_probs is not None and proposals.log_probs.shape[1] != num_actions:
        raise ShapeError(
            f"`log_probs` must have a column for each of {num_actions} actions, got {proposals.log_probs.shape[1]}"
        )


def is_sound(proposals: Proposals, *, num_actions: int) -> bool:
    """Whether nothing is amiss, also where nobody looks: the cheap question, almost always answered yes."""
    size = len(proposals.actions)
    if np.count_nonzero(_in_range(proposals.actions, num_actions)) != size:
        return False
    if np.count_nonzero(np.isfinite(proposals.values)) != size:
        return False
    log_probs = proposals.log_probs
    return log_probs is None or np.count_nonzero(np.isfinite(log_probs)) == log_probs.size


def faulty_rows(proposals: Proposals, view: View, *, num_actions: int) -> NDArray[np.bool_]:
    """Where the policy's output cannot be used: [N] bool. Rows without an opinion need a finite value only."""
    faulty = ~_in_range(proposals.actions, num_actions)
    if proposals.log_probs is not None:
        unusable = ~np.isfinite(proposals.log_probs)
        if view.action_mask is not None:
            unusable &= view.action_mask
        faulty |= unusable.any(axis=1)
    if proposals.opinion is not None:
        faulty &= proposals.opinion
    return faulty | ~np.isfinite(proposals.values)


def without_rows(proposals: Proposals, dropped: NDArray[np.bool_]) -> Proposals:
    """The proposals with no opinion in `dropped` [N], and everything that is then not read made finite and in range."""
    opinion = ~dropped if proposals.opinion is None else proposals.opinion & ~dropped
    log_probs = proposals.log_probs
    if log_probs is not None:
        log_probs = np.where(np.isfinite(log_probs), log_probs, _FLOOR)
    return replace(
        proposals,
        actions=np.where(opinion, proposals.actions, 0),
        log_probs=log_probs,
        values=np.where(dropped, np.float32(0.0), proposals.values),
        opinion=opinion,
    )


def _in_range(actions: NDArray[np.int64], num_actions: int) -> NDArray[np.bool_]:
    # One comparison for both ends: as unsigned, a negative number is larger than any vocabulary.
    return actions.view(np.uint64) < num_actions
