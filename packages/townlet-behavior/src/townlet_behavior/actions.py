"""Actions that are no index into a vocabulary: an index for each of several parts, or numbers within bounds."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import VocabularyError
from .vocabulary import ActionVocabulary


@dataclass(frozen=True, kw_only=True)
class MultiDiscrete:
    """Several choices at once: an action is an index for each of K parts, int64 [K].

    Examples:
        >>> from townlet_behavior import MultiDiscrete
        >>> actions = MultiDiscrete(parts={"move": ("stay", "north", "south"), "hand": ("open", "closed")})
        >>> actions.sizes, actions.num_outputs, actions.wait.tolist()
        ((3, 2), 5, [0, 0])

    Raises:
        VocabularyError: without a part, or if a part has no name or fewer than two different keys.
    """

    parts: Mapping[str, tuple[str, ...]]
    """Keys of the values of each part by its name, in the order of the indices. The first key does nothing."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", dict(self.parts))
        if not self.parts:
            raise VocabularyError("`parts` must name at least one part, got none")
        for name, keys in self.parts.items():
            if not name or len(keys) < 2 or len(set(keys)) != len(keys) or not all(keys):
                raise VocabularyError(f"part `{name}` must have a name and two or more different keys, got {keys!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the K parts."""
        return tuple(self.parts)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of values of each part."""
        return tuple(map(len, self.parts.values()))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of an action."""
        return np.dtype(np.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an action."""
        return (len(self.parts),)

    @property
    def num_outputs(self) -> int:
        """Columns of a mask, and log-probabilities of a policy: those of all parts side by side."""
        return sum(self.sizes)

    @property
    def wait(self) -> NDArray[np.int64]:
        """The action that does nothing, [K]."""
        return np.zeros(len(self.parts), np.int64)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the parts as canonical JSON."""
        return _digest({"parts": [{"name": name, "keys": list(keys)} for name, keys in self.parts.items()]})


@dataclass(frozen=True, kw_only=True)
class Box:
    """K numbers at once, each within its bounds: an action is float32 [K].

    Examples:
        >>> from townlet_behavior import Box
        >>> actions = Box(names=("steer", "throttle"), low=(-1.0, 0.5), high=(1.0, 2.0))
        >>> actions.num_outputs, actions.wait.tolist()
        (4, [0.0, 0.5])

    Raises:
        VocabularyError: if names repeat, or bounds are not finite, of another number, or the wrong way round.
    """

    names: tuple[str, ...]
    """Of the K numbers."""
    low: tuple[float, ...]
    """[K], finite."""
    high: tuple[float, ...]
    """[K], finite, above `low`."""

    def __post_init__(self) -> None:
        # Equal bounds have one spelling, which the digest is taken of: 1.0 for 1, and 0.0 for -0.0.
        object.__setattr__(self, "low", tuple(float(bound) + 0.0 for bound in self.low))
        object.__setattr__(self, "high", tuple(float(bound) + 0.0 for bound in self.high))
        if not self.names or len(set(self.names)) != len(self.names) or not all(self.names):
            raise VocabularyError(f"`names` must be different names, at least one, got {self.names!r}")
        if not len(self.names) == len(self.low) == len(self.high):
            raise VocabularyError(
                f"`low` and `high` must have {len(self.names)} numbers, got {self.low} and {self.high}"
            )
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise VocabularyError(f"bounds of `{name}` must be finite, the lower one first, got {low} and {high}")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of an action."""
        return np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an action."""
        return (len(self.names),)

    @property
    def num_outputs(self) -> int:
        """Outputs of a policy: K means, then K logarithms of standard deviations."""
        return 2 * len(self.names)

    @property
    def wait(self) -> NDArray[np.float32]:
        """The action that does nothing, [K]: 0, or the bound that is next to it."""
        nothing: NDArray[np.float32] = np.clip(np.zeros(len(self.names), np.float32), *self.bounds)
        return nothing

    @cached_property
    def bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`low` and `high`, each [K]."""
        return np.array(self.low, np.float32), np.array(self.high, np.float32)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of names and bounds as canonical JSON."""
        return _digest({"names": list(self.names), "low": list(self.low), "high": list(self.high)})


ArrayActions: TypeAlias = MultiDiscrete | Box
"""Actions that have an axis of their own, [K]: neither options nor commitments are made of them."""
ActionSpec: TypeAlias = ActionVocabulary | ArrayActions
"""What an agent group can do."""


def _digest(document: Mapping[str, object]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
