"""Actions that are no index into a vocabulary: an index for each of several parts, or numbers within bounds."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import SchemaError

if TYPE_CHECKING:
    from townlet_trajectory.storage.json import Fields, JsonValue


@dataclass(frozen=True, kw_only=True)
class MultiDiscrete:
    """Several choices at once: an action is an index for each of K parts, int64 [K].

    Examples:
        >>> from townlet_trajectory import MultiDiscrete
        >>> actions = MultiDiscrete(parts={"move": ("stay", "north", "south"), "hand": ("open", "closed")})
        >>> actions.sizes, actions.num_outputs
        ((3, 2), 5)
    """

    parts: Mapping[str, tuple[str, ...]]
    """Keys of the values of each part by its name, in the order of the indices; two or more of each."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", dict(self.parts))
        if not self.parts:
            raise SchemaError("`parts` must name at least one part, got none")
        for name, keys in self.parts.items():
            if not name or len(keys) < 2 or len(set(keys)) != len(keys) or not all(keys):
                raise SchemaError(f"part `{name}` must have a name and two or more different keys, got {keys!r:.80}")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the K parts."""
        return tuple(self.parts)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of values of each part."""
        return tuple(map(len, self.parts.values()))

    @property
    def dtype(self) -> str:
        """Of an action."""
        return "int64"

    @property
    def num_outputs(self) -> int:
        """Log-probabilities of a policy: those of all parts side by side."""
        return sum(self.sizes)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON of its document."""
        return _digest(actions_document(self))


@dataclass(frozen=True, kw_only=True)
class Box:
    """K numbers at once, each within its bounds: an action is float32 [K].

    Examples:
        >>> from townlet_trajectory import Box
        >>> actions = Box(names=("steer", "throttle"), low=(-1.0, 0.0), high=(1.0, 2.0))
        >>> actions.num_outputs
        4
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
            raise SchemaError(f"`names` must be different names, at least one, got {self.names!r:.80}")
        if not len(self.names) == len(self.low) == len(self.high):
            raise SchemaError(f"`low` and `high` must have {len(self.names)} numbers, got {self.low} and {self.high}")
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise SchemaError(f"bounds of `{name}` must be finite, the lower one first, got {low} and {high}")

    @property
    def dtype(self) -> str:
        """Of an action."""
        return "float32"

    @property
    def num_outputs(self) -> int:
        """Outputs of a policy: K means, then K logarithms of standard deviations."""
        return 2 * len(self.names)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON of its document."""
        return _digest(actions_document(self))


ArrayActions: TypeAlias = MultiDiscrete | Box
"""Actions that have an axis of their own, [K]; beside them there are the indices into a vocabulary."""


def outside(actions: ArrayActions, array: NDArray[Any]) -> NDArray[np.bool_]:
    """Find the actions that are none.

    Args:
        actions: what there is to do.
        array: [N, K].

    Returns:
        [N]; true where a part has no such index, or a number is not within its bounds (as float32) or is NaN.
    """
    if isinstance(actions, MultiDiscrete):
        inside = (array >= 0) & (array < np.array(actions.sizes))
    else:
        inside = (array >= np.array(actions.low, np.float32)) & (array <= np.array(actions.high, np.float32))
    found: NDArray[np.bool_] = np.logical_not(np.logical_and.reduce(inside, axis=1))
    return found


def actions_document(actions: ArrayActions) -> dict[str, JsonValue]:
    """`parts`, each with `name` and `keys`; or `names`, `low` and `high`."""
    if isinstance(actions, MultiDiscrete):
        return {"parts": [{"name": name, "keys": list(keys)} for name, keys in actions.parts.items()]}
    return {"names": list(actions.names), "low": list(actions.low), "high": list(actions.high)}


def parse_actions(fields: Fields) -> ArrayActions:
    """The inverse of `actions_document`.

    Raises:
        ManifestError: the error of `fields`, if a value is missing or of another type.
        SchemaError: if the values describe no actions.
    """
    if "parts" in fields.values:
        parts = [(each.text("name"), each.texts("keys")) for each in fields.objects("parts")]
        if len(named := dict(parts)) < len(parts):
            raise SchemaError(f"`parts` must have different names, got {[name for name, _ in parts]!r:.80}")
        return MultiDiscrete(parts=named)
    names = fields.texts("names")
    low, high = (fields.numbers(bound, count=len(names)) for bound in ("low", "high"))
    return Box(names=names, low=low, high=high)


def _digest(document: Mapping[str, JsonValue]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
