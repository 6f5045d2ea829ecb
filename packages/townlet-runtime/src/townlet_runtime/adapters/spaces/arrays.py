"""One array of an observation: which numbers of somebody else's answer it holds, and how they become float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.adapters.spaces.gymnasium_library import Fault, gymnasium, spaces
from townlet_runtime.errors import EnvironmentFaultError
from townlet_runtime.simulation.interface import ObservationKind, Observations
from townlet_trajectory.data.checks import is_finite


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """P whole numbers that become one-hot, side by side."""

    starts: NDArray[np.int64]
    """[P]; the lowest value of each."""
    counts: NDArray[np.int64]
    """[P]; how many values each has."""
    alphabet: Mapping[str, int] | None = None
    """The numbers are the characters of a text; 0 is what follows its end."""

    @classmethod
    def of(cls, space: gymnasium.Space[Any]) -> Parts | None:
        """The whole numbers of a space that become one-hot; None where numbers stay as they are."""
        if isinstance(space, spaces.Discrete):
            return cls(starts=np.array([space.start]), counts=np.array([space.n]))
        if isinstance(space, spaces.MultiDiscrete):
            return cls(starts=space.start.ravel().astype(np.int64), counts=space.nvec.ravel().astype(np.int64))
        if isinstance(space, spaces.Text):
            alphabet = {letter: 1 + code for code, letter in enumerate(sorted(space.character_set))}
            counts = np.full(space.max_length, 1 + len(alphabet))
            return cls(starts=np.zeros_like(counts), counts=counts, alphabet=alphabet)
        return None


@dataclass(frozen=True, kw_only=True, eq=False)
class Leaf:
    """One array of an observation."""

    name: str
    path: tuple[str | int, ...]
    """Keys of dictionaries and positions in tuples, from the outside in."""
    dtype: np.dtype[Any]
    """Of the space."""
    size: tuple[int, ...]
    """Shape in the space."""
    shape: tuple[int, ...]
    """Per agent, as a network sees it."""
    parts: Parts | None
    """None: the numbers stay as they are."""
    kind: ObservationKind | None = None
    channels_last: bool = False
    """The numbers [H, W, C] are shown as [C, H, W]."""
    is_mask: bool = False
    """The numbers are 0 or 1: whether there is a thing."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of the arrays by name."""
        return {self.name: self.shape}

    @property
    def kinds(self) -> Mapping[str, ObservationKind]:
        """Of the arrays that are not flat."""
        return {} if self.kind is None else {self.name: self.kind}

    def stacked(self, observations: Sequence[object], fault: Fault) -> Observations:
        """[N, ...] of N observations; see `ObservationCodec.stacked`."""
        return {self.name: self.converted(self._gathered(observations, fault), fault)}

    def batched(self, batch: object, rows: int, fault: Fault) -> Observations:
        """[N, ...] of a batch of observations; see `ObservationCodec.batched`."""
        try:
            array = np.array(pick(self.path, batch))
        except (ValueError, TypeError, LookupError) as error:
            expected = f"expected observations with `{self.name}`"
            raise fault(0, f"{expected}, got {type(error).__name__}: {error}") from None
        if array.shape != (rows, *self.size):
            raise fault(0, f"expected `{self.name}` of shape {(rows, *self.size)}, got {array.shape}")
        return {self.name: self.converted(array, fault)}

    def converted(self, array: NDArray[Any], fault: Fault) -> NDArray[np.float32]:
        """Float32 and finite, or one-hot; `array` [N, ...] has the space's shape and is nobody else's."""
        if self.parts is not None:
            if self.parts.alphabet is not None:
                array = _codes(self.name, self.parts.alphabet, len(self.parts.counts), array, fault)
            else:
                _require_dtype(self, array, fault)
            array = _one_hot(self.name, self.parts, array, fault)
        else:
            if array.dtype != self.dtype:
                _require_dtype(self, array, fault)
            array = _finite(self.name, array, fault)
        if self.is_mask and not np.isin(array, (0.0, 1.0)).all():
            row = int(np.argwhere(~np.isin(array, (0.0, 1.0)))[0, 0])
            raise fault(row, f"expected `{self.name}` of zeros and ones, got {array[row]}")
        if self.channels_last:
            channels, height, width = self.shape
            return np.ascontiguousarray(array.reshape(-1, height, width, channels).transpose(0, 3, 1, 2))
        return array if array.shape[1:] == self.shape else array.reshape(len(array), *self.shape)

    def _gathered(self, observations: Sequence[object], fault: Fault) -> NDArray[Any]:
        if not observations:
            return np.zeros((0, *self.size), self.dtype)
        try:
            array = np.array([pick(self.path, one) for one in observations] if self.path else observations)
        except (ValueError, TypeError, LookupError):
            raise self._misfit(observations, fault) from None
        if array.shape != (len(observations), *self.size):
            raise self._misfit(observations, fault)
        return array

    def _misfit(self, observations: Sequence[object], fault: Fault) -> EnvironmentFaultError:
        """Which observation is not of the space, and how."""
        for row, observation in enumerate(observations):
            try:
                shape = np.shape(pick(self.path, observation))
            except (ValueError, TypeError, LookupError) as error:
                return fault(row, f"expected an observation with `{self.name}`, got {type(error).__name__}: {error}")
            if shape != self.size:
                return fault(row, f"expected `{self.name}` of shape {self.size}, got {shape}")
        return fault(0, f"expected `{self.name}` of one dtype, {self.dtype}")


def pick(path: Sequence[str | int], observation: object) -> Any:
    """The part of one observation, or of a batch of them, that `path` leads to."""
    picked: Any = observation
    for step in path:
        picked = picked[step]
    return picked


def _finite(name: str, array: NDArray[Any], fault: Fault) -> NDArray[np.float32]:
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):  # becomes infinite, which is refused below
            array = array.astype(np.float32)
    if not is_finite(array):
        row = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise fault(row, f"expected finite numbers in `{name}`, got {array[row]}")
    return array


def _require_dtype(leaf: Leaf, array: NDArray[Any], fault: Fault) -> None:
    """Take numbers of the space's dtype, of a kind that fits, or integers that are in its range."""
    if array.dtype == leaf.dtype or np.can_cast(array.dtype, leaf.dtype, "safe"):
        return
    if leaf.dtype.kind == "f" and np.can_cast(array.dtype, leaf.dtype, "same_kind"):
        return
    if leaf.dtype.kind not in "iu" or array.dtype.kind not in "iu":
        raise fault(0, f"expected `{leaf.name}` of dtype {leaf.dtype}, got {array.dtype}")
    bounds = np.iinfo(leaf.dtype)
    outside = (array < bounds.min) | (array > bounds.max)
    if np.count_nonzero(outside):
        place = np.argwhere(outside)[0]
        raise fault(
            int(place[0]),
            f"expected `{leaf.name}` of dtype {leaf.dtype} in [{bounds.min}, {bounds.max}], got {array[tuple(place)]}",
        )


def _codes(
    name: str, alphabet: Mapping[str, int], max_length: int, texts: NDArray[Any], fault: Fault
) -> NDArray[np.int64]:
    """[N, max_length]; the numbers of the characters of each text, then zeros."""
    codes = np.zeros((len(texts), max_length), np.int64)
    for row, text in enumerate(texts.tolist()):
        if not isinstance(text, str) or len(text) > max_length or not alphabet.keys() >= set(text):
            letters = "".join(alphabet)
            raise fault(row, f"expected `{name}` to be a text of up to {max_length} of {letters!r}, got {text!r}")
        codes[row, : len(text)] = [alphabet[letter] for letter in text]
    return codes


def _one_hot(name: str, parts: Parts, array: NDArray[Any], fault: Fault) -> NDArray[np.float32]:
    """[N, values of all parts]; the one-hot parts side by side."""
    rows = len(array)
    flat = array.reshape(rows, len(parts.counts))
    values = flat.astype(np.int64) - parts.starts
    outside = (values < 0) | (values >= parts.counts)
    if np.count_nonzero(outside):
        row, part = np.argwhere(outside)[0].tolist()
        start = int(parts.starts[part])
        raise fault(row, f"expected `{name}` in [{start}, {start + int(parts.counts[part])}), got {flat[row, part]}")
    hot = np.zeros((rows, int(parts.counts.sum())), np.float32)
    hot[np.arange(rows)[:, None], parts.counts.cumsum() - parts.counts + values] = 1.0
    return hot
