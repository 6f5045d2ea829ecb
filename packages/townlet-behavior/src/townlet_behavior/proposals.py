"""Proposals of the policy for all agents, from one forward pass."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .config import OnPolicyError
from .errors import PolicyError, ShapeError
from .forms import ActionForm, Actions
from .views import View, where_rows

log = logging.getLogger(__name__)

_FLOOR = np.finfo(np.float32).min
_TOLERANCE = 1e-4
"""What float32 needs, some hundred times over; logits miss it by whole numbers."""
_ONE = np.array(1.0, np.float32)
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

    actions: Actions
    """Sampled, or the most probable ones: int64 [N], int64 [N, K] of several parts, or float32 [N, K] of numbers, which
    may lie beyond their bounds as they were drawn."""
    log_probs: NDArray[np.float32] | None
    """[N, A]; of every action, normalised: logsumexp of each row is 0 within 1e-4, so logits are refused. Of several
    parts [N, P]: those of all parts side by side, each part normalised. Illegal actions have `finfo(float32).min`.
    None: unknown, then the executed actions are recorded as foreign; always None of numbers."""
    values: NDArray[np.float32] | None
    """[N]; in reward units. None: not known, recorded as 0."""
    greedy: bool = False
    """`actions` are the most probable ones, not samples: no probability describes the choice."""
    opinion: NDArray[np.bool_] | None = None
    """[N]; where the policy has an opinion. None: everywhere. Elsewhere the script decides, and `actions` and
    `log_probs` are not read."""
    temperatures: NDArray[np.float32] | None = None
    """[N], above 0; τ at which `actions` were drawn, from π_τ ∝ π^(1/τ). `log_probs` are those of π. None: 1."""
    drawn_log_probs: NDArray[np.float32] | None = None
    """[N]; of numbers: the logarithm of the density of `actions`. None: unknown, as above, and always of indices."""

    @property
    def has_probabilities(self) -> bool:
        """Whether the policy says how probable its draws are."""
        return self.log_probs is not None or self.drawn_log_probs is not None

    def __post_init__(self) -> None:
        if self.actions.ndim != 1 or self.actions.dtype != _INT64:
            self._check_rows()
        shape = self.actions.shape[:1]
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
        if self.drawn_log_probs is not None:
            self._check_density(self.drawn_log_probs, shape)

    def _check_rows(self) -> None:
        numbers = self.actions.dtype == _FLOAT32
        if self.actions.ndim != 2 or (not numbers and self.actions.dtype != _INT64):
            raise ShapeError(
                "`actions` must be int64 [N], int64 [N, K] or float32 [N, K],"
                f" got {self.actions.dtype} {self.actions.shape}"
            )
        if numbers and (self.log_probs is not None or self.temperatures is not None):
            raise ShapeError("`log_probs` and `temperatures` must be None where `actions` are numbers, got arrays")

    def _check_density(self, drawn: NDArray[np.float32], shape: tuple[int, ...]) -> None:
        if self.actions.dtype != _FLOAT32:
            raise ShapeError("`drawn_log_probs` must be None where `actions` are indices, got an array")
        if drawn.shape != shape or drawn.dtype != _FLOAT32:
            raise ShapeError(f"`drawn_log_probs` must be float32 {shape}, got {drawn.dtype} {drawn.shape}")


def check_temperatures(temperatures: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    """Refuse temperatures that are not float32 of `shape`, finite and above 0.

    Raises:
        ShapeError: if they are not.
    """
    if temperatures.shape != shape or temperatures.dtype != _FLOAT32:
        raise ShapeError(f"`temperatures` must be float32 {shape}, got {temperatures.dtype} {temperatures.shape}")
    if not ((temperatures > 0.0) & np.isfinite(temperatures)).all():
        raise ShapeError(f"`temperatures` must be finite and above 0, got {temperatures}")


def is_sound(proposals: Proposals, view: View, form: ActionForm) -> bool:
    """Check that proposals fit, and whether every row is usable, rows and places that are not read included.

    This is the cheap question of every tick; `find_faults` is for the ticks in which the answer is no.

    Args:
        proposals: of a policy.
        view: that they must be for.
        form: of the actions that they must be for.

    Raises:
        ShapeError: naming the array, what was expected and what came.
    """
    actions, log_probs, size = proposals.actions, proposals.log_probs, len(proposals.actions)
    if size != len(view.slots):
        raise ShapeError(f"proposals must be for the {len(view.slots)} agents of the view, got {size}")
    if actions.shape[1:] != form.shape or actions.dtype != form.dtype:
        raise ShapeError(f"`actions` must be {form.dtype} {(size, *form.shape)}, got {actions.dtype} {actions.shape}")
    if log_probs is not None and log_probs.shape[1] != form.mask_columns:
        raise ShapeError(
            f"`log_probs` must have a column for each of {form.mask_columns} actions, got {log_probs.shape[1]}"
        )
    if np.count_nonzero(form.usable(actions)) != size:
        return False
    if proposals.values is not None and np.count_nonzero(np.isfinite(proposals.values)) != size:
        return False
    if proposals.drawn_log_probs is not None and np.count_nonzero(np.isfinite(proposals.drawn_log_probs)) != size:
        return False
    if log_probs is None or size == 0:
        return True
    if not np.minimum.reduce(log_probs, axis=None) >= _FLOOR:  # NaN compares false
        return False
    # The probabilities of a row add up to 1: near 1 the logarithm of a sum is the sum - 1. Those above e do not, and
    # need not overflow.
    probabilities = np.minimum(log_probs, _ONE)
    np.exp(probabilities, out=probabilities)
    excess = form.reduced(np.add, probabilities).ravel() - _ONE
    # No square is larger than their sum, which is one product; only where it is too large they are looked at.
    if excess.dot(excess) <= _TOLERANCE**2:
        return True
    return bool(np.count_nonzero(np.abs(excess) <= _TOLERANCE) == excess.size)


def find_faults(proposals: Proposals, view: View, form: ActionForm) -> tuple[NDArray[np.bool_], str]:
    """Find the rows that cannot be used, and describe the first of them.

    A row needs a finite value. Where the policy has an opinion, it also needs an action that exists, or finite numbers
    with a finite log-density. Its log-probabilities must be finite where the mask allows the action, and normalised:
    |log Σ_a π(a)| <= 1e-4, in each part. At places that the mask forbids, what is not finite counts as impossible.

    Args:
        proposals: for this view and these actions.
        view: of the same rows.
        form: of the actions.

    Returns:
        Where the rows are unusable, [N] bool, and what is wrong with the first ("" where none is).
    """
    actions, log_probs = proposals.actions, proposals.log_probs
    read = np.ones(len(actions), np.bool_) if proposals.opinion is None else proposals.opinion
    rules: list[tuple[str, NDArray[Any], NDArray[np.bool_]]] = []
    if proposals.values is not None:
        rules.append(("`values` must be finite", proposals.values, ~np.isfinite(proposals.values)))
    expected = f"be in {form}" if form.mask_columns else "be finite"
    rules.append((f"`actions` must {expected}", actions, read & ~form.usable(actions)))
    if proposals.drawn_log_probs is not None:
        drawn = proposals.drawn_log_probs
        rules.append(("`drawn_log_probs` must be finite", drawn, read & ~np.isfinite(drawn)))
    if log_probs is not None:
        unusable = ~np.isfinite(log_probs)
        if view.action_mask is not None:
            unusable &= view.action_mask
        rules.append(("`log_probs` of legal actions must be finite", log_probs, read & unusable.any(axis=1)))
        totals = form.reduced(np.logaddexp, _made_finite(log_probs))
        wrong = ~(np.abs(totals) <= _TOLERANCE)
        rule = f"normalise `log_probs`: logsumexp of a row must be within {_TOLERANCE} of 0"
        rules.append((rule, totals, read & (wrong if wrong.ndim == 1 else wrong.any(axis=1))))
    faulty = np.logical_or.reduce([broken for _, _, broken in rules])
    row = int(faulty.argmax()) if len(faulty) else 0
    first = (f"row {row}: {rule}, got {column[row]}" for rule, column, broken in rules if broken[row : row + 1].any())
    return faulty, next(first, "")


def without_rows(proposals: Proposals, dropped: NDArray[np.bool_]) -> Proposals:
    """Return the proposals without an opinion in `dropped` [N]; values that are not read become finite and in range."""
    opinion = ~dropped if proposals.opinion is None else proposals.opinion & ~dropped
    log_probs, values, drawn = proposals.log_probs, proposals.values, proposals.drawn_log_probs
    return replace(
        proposals,
        actions=where_rows(~opinion, proposals.actions.dtype.type(0), proposals.actions),
        log_probs=None if log_probs is None else _made_finite(log_probs),
        values=None if values is None else np.where(dropped, np.float32(0.0), values),
        opinion=opinion,
        drawn_log_probs=None if drawn is None else np.where(opinion, drawn, np.float32(0.0)),
    )


def usable_rows(
    proposals: Proposals, view: View, form: ActionForm, *, tick: int, on_error: OnPolicyError
) -> tuple[Proposals, int]:
    """Return proposals without an opinion where they cannot be used, and in how many rows that is.

    Args:
        proposals: of a policy, for this view.
        view: of the same rows.
        form: of the actions.
        tick: of the decision.
        on_error: see `BridgeConfig.on_policy_error`.

    Raises:
        ShapeError: if they are not for this view and these actions.
        PolicyError: if a row cannot be used and `on_error` is `raise`.
    """
    if is_sound(proposals, view, form):
        return proposals, 0
    faulty, problem = find_faults(proposals, view, form)
    num_faulty = int(np.count_nonzero(faulty))
    if num_faulty:
        slot = int(view.slots[faulty.argmax()])
        problem = f"{problem}; {num_faulty} of {len(faulty)} agents cannot be decided for"
        if on_error == "raise":
            raise PolicyError(problem, tick=tick, slot=slot)
        log.warning("tick %d, slot %d: %s; the script decides for them", tick, slot, problem)
    return without_rows(proposals, faulty), num_faulty


def _made_finite(log_probs: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.isfinite(log_probs), log_probs, _FLOOR)
