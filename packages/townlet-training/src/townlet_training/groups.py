"""Agent groups by name: what a name may be, tensors of several groups in one mapping, and the seeds of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from townlet_training.config import ONE_GROUP
from townlet_training.errors import ConfigError, ShapeError
from townlet_training.network.spec import PolicySpec
from townlet_trajectory.evaluation.interfaces import derive_seed

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")

_Value = TypeVar("_Value")


def require_groups(specs: Mapping[str, PolicySpec]) -> None:
    """Raise `ConfigError` unless there is a group, and every name can be part of a file name."""
    if not specs:
        raise ConfigError("`specs` must have at least one agent group, got none")
    for group in specs:
        if _NAME.fullmatch(group) is None:
            raise ConfigError(
                f"the name of an agent group must be up to 64 letters, digits, `_`, `-` and `.`, got {group!r}"
            )


def join_groups(by_group: Mapping[str, Mapping[str, _Value]]) -> dict[str, _Value]:
    """Return the values of all groups by `GROUP/NAME`; by `NAME` where there is one group."""
    if len(by_group) == 1:
        return {name: value for values in by_group.values() for name, value in values.items()}
    return {f"{group}/{name}": value for group, values in by_group.items() for name, value in values.items()}


def split_groups(values: Mapping[str, _Value], groups: Sequence[str]) -> dict[str, dict[str, _Value]]:
    """Invert `join_groups`.

    Raises:
        ShapeError: if a name is of none of `groups`.
    """
    if len(groups) == 1:
        return {groups[0]: dict(values)}
    by_group: dict[str, dict[str, _Value]] = {group: {} for group in groups}
    for name, value in values.items():
        group, _, own = name.partition("/")
        if group not in by_group:
            raise ShapeError(f"`{name}` is of none of the agent groups {', '.join(groups)}")
        by_group[group][own] = value
    return by_group


def group_seed(seed: int, purpose: str, group: str, index: int = 0) -> int:
    """Derive the seed of one agent group for one use; that of `ONE_GROUP` is the purpose's own.

    Args:
        seed: of the run.
        purpose: see `derive_seed`.
        group: name of the agent group.
        index: of the use.

    Returns:
        A seed in [0, 2**63).
    """
    return derive_seed(seed, purpose if group == ONE_GROUP else f"{purpose}/{group}", index)
