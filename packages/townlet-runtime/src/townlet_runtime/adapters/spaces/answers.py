"""Rewards, flags and infos of environments, checked and stacked row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.adapters.spaces.gymnasium_library import Fault
from townlet_trajectory.data.checks import is_finite

BOOLS: frozenset[type] = frozenset({bool, np.bool_})


def array_of(value: Any) -> NDArray[Any]:
    """Turn an answer of an environment into an array; one of objects, without axes, where that cannot be."""
    try:
        return np.asarray(value)
    except ValueError:
        return np.array(None)


def stacked_rewards(rewards: Sequence[object], fault: Fault) -> NDArray[np.float32]:
    """[N] of N finite numbers."""
    try:
        array = np.array(rewards, np.float64)
        fits = array.shape == (len(rewards),)
    except (ValueError, TypeError):
        fits = False
    if not fits:
        row = next((row for row, reward in enumerate(rewards) if not _is_number(reward)), 0)
        raise fault(row, f"expected a number as reward, got {rewards[row]!r}")
    with np.errstate(over="ignore"):
        earned = array.astype(np.float32)
    if not is_finite(earned):
        row = int(np.isfinite(earned).argmin())
        raise fault(row, f"expected a finite reward, got {rewards[row]!r}")
    return earned


def _is_number(reward: Any) -> bool:
    array = array_of(reward)
    return array.shape == () and array.dtype.kind in "biuf"


def stacked_flags(name: str, flags: Sequence[object], fault: Fault) -> NDArray[np.bool_]:
    """Stack bools.

    Args:
        name: of the flags, for errors.
        flags: N of them.
        fault: makes the error of a row that is no bool.

    Returns:
        [N].
    """
    if not BOOLS.issuperset(map(type, flags)):
        row = next(row for row, flag in enumerate(flags) if type(flag) not in BOOLS)
        raise fault(row, f"expected a bool as `{name}`, got {flags[row]!r}")
    return np.array(flags, np.bool_)


def require_info(info: object, fault: Fault, row: int) -> None:
    """Refuse an info that is no dictionary, in which a mask would go unseen.

    Args:
        info: of one agent.
        fault: makes the error.
        row: of the agent.
    """
    if type(info) is not dict and not isinstance(info, Mapping):  # the first is faster, and usual
        raise fault(row, f"expected a dictionary as info, got {type(info).__name__}")
