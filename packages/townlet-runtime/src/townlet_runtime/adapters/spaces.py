"""Spaces of Gymnasium as a network needs them: observations are named float32 arrays."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.errors import ConfigError, EnvironmentFaultError, MissingExtraError
from townlet_runtime.simulation.interface import Observations
from townlet_trajectory import ACTION_MASK, default_decision_columns

try:
    import gymnasium
except ModuleNotFoundError as error:
    if error.name != "gymnasium":
        raise
    raise MissingExtraError(
        "environments of Gymnasium and PettingZoo need `gymnasium`: install 'townlet-runtime[gymnasium]'"
    ) from error

__all__ = [
    "BOOLS",
    "MAX_OBSERVATION_SIZE",
    "Fault",
    "Leaf",
    "ObservationCodec",
    "Parts",
    "array_of",
    "gymnasium",
    "spaces",
    "stacked_flags",
    "stacked_rewards",
    "unlearnable",
]

spaces = gymnasium.spaces

MAX_OBSERVATION_SIZE = 2**24
"""Numbers in one array of one agent's observation."""

Fault = Callable[[int, str], EnvironmentFaultError]
"""Builds the error for one row (a world or an agent) from what is wrong there."""

_KEY = "environment.name"
BOOLS: frozenset[type] = frozenset({bool, np.bool_})

_RESERVED = frozenset({ACTION_MASK, "features", "rewards", "ticks", *default_decision_columns()})
"""Names of columns that mean something else where experience is recorded."""

_KINDS = "Box, Discrete, MultiBinary, MultiDiscrete, Text, Dict or Tuple"


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """P whole numbers that become one-hot, side by side."""

    starts: NDArray[np.int64]
    """[P]; the lowest value of each."""
    counts: NDArray[np.int64]
    """[P]; how many values each has."""
    alphabet: Mapping[str, int] | None = None
    """The numbers are the characters of a text; 0 is what follows its end."""


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
    channels_last: bool
    """An image [H, W, C] that a network sees as [C, H, W]."""

    def pick(self, observation: object) -> Any:
        """This array of one observation, or of a batch of them."""
        picked: Any = observation
        for step in self.path:
            picked = picked[step]
        return picked


class ObservationCodec:
    """Turns observations of a space into named float32 arrays.

    Box and MultiBinary: as they are, scalars as [1]. Discrete: one-hot. MultiDiscrete: the one-hot parts side by side.
    Text: each of its `max_length` characters one-hot, with a column more for what follows the end. Dict and Tuple of
    these: one array each, named by its keys. Boxes without numbers are left out. An entry `action_mask` of a Dict is no
    observation.

    An image (a Box of uint8 with three axes, of which the last is 1, 3 or 4 and the shortest) is shown channels first:
    [H, W, C] becomes [C, H, W].

    Raises:
        ConfigError: if the space holds anything else, nothing, or an array larger than `MAX_OBSERVATION_SIZE`.
    """

    def __init__(self, space: gymnasium.Space[Any], *, environment: str) -> None:
        self.has_mask = isinstance(space, spaces.Dict) and ACTION_MASK in space.spaces
        self._leaves: list[Leaf] = []
        self._environment = environment
        self._add(space, ())
        if not self._leaves:
            raise ConfigError(f"`{environment}` shows nothing: its observation space is {space}", key=_KEY)
        self.shapes: Mapping[str, tuple[int, ...]] = {leaf.name: leaf.shape for leaf in self._leaves}

    def _add(self, space: gymnasium.Space[Any], path: tuple[str | int, ...]) -> None:
        if isinstance(space, spaces.Dict):
            for key, inner in space.spaces.items():
                if path or key != ACTION_MASK:
                    self._add(inner, (*path, key))
        elif isinstance(space, spaces.Tuple):
            for position, inner in enumerate(space.spaces):
                self._add(inner, (*path, position))
        elif not (isinstance(space, spaces.Box) and 0 in space.shape):
            self._add_leaf(space, path)

    def _add_leaf(self, space: gymnasium.Space[Any], path: tuple[str | int, ...]) -> None:
        size, shape, parts = space.shape or (), space.shape or (1,), _parts(space)
        channels_last = isinstance(space, spaces.Box) and _is_image(space)
        if parts is not None:
            shape = (int(parts.counts.sum()),)
        elif channels_last:
            shape = (shape[2], *shape[:2])
        elif not isinstance(space, spaces.Box | spaces.MultiBinary):
            raise unlearnable(self._environment, f"observations of {_KINDS}", f"{space}")
        if not 0 < math.prod(shape) <= MAX_OBSERVATION_SIZE:
            expected = f"observations of 1 to {MAX_OBSERVATION_SIZE} numbers"
            raise unlearnable(self._environment, expected, f"{shape} of {space}")
        name, dtype = self._name(path), np.dtype(space.dtype)
        self._leaves.append(
            Leaf(name=name, path=path, dtype=dtype, size=size, shape=shape, parts=parts, channels_last=channels_last)
        )
        if len(size) == 3 and dtype == np.uint8:
            # Python shows equal warnings once.
            warnings.warn(
                f"{self._environment}: `{name}` {shape} is an image; the networks of townlet-training have no"
                f" convolutions, and read its {math.prod(shape)} numbers side by side",
                stacklevel=2,
            )

    def _name(self, path: tuple[str | int, ...]) -> str:
        words = [f"item_{step}" if isinstance(step, int) else step for step in path] or ["observation"]
        name = re.sub(r"\W", "_", "_".join(words), flags=re.ASCII)[:48]
        if not name or name[0].isdigit():
            name = f"_{name}"
        taken = _RESERVED | {leaf.name for leaf in self._leaves}
        while name in taken:
            name += "_"
        return name

    def stacked(self, observations: Sequence[object], fault: Fault) -> Observations:
        """Arrays [N, ...] of N observations, one by one; what does not fit the space is a `fault` of its row."""
        return {leaf.name: _converted(leaf, _gather(leaf, observations, fault), fault) for leaf in self._leaves}

    def batched(self, batch: object, rows: int, fault: Fault) -> Observations:
        """Convert a batch of observations.

        Args:
            batch: observations of N rows, in the structure of the space.
            rows: N.
            fault: makes the error of a row that does not fit the space.

        Returns:
            Each [N, ...].
        """
        arrays = {}
        for leaf in self._leaves:
            try:
                array = np.array(leaf.pick(batch))
            except (ValueError, TypeError, LookupError) as error:
                expected = f"expected observations with `{leaf.name}`"
                raise fault(0, f"{expected}, got {type(error).__name__}: {error}") from None
            if array.shape != (rows, *leaf.size):
                raise fault(0, f"expected `{leaf.name}` of shape {(rows, *leaf.size)}, got {array.shape}")
            arrays[leaf.name] = _converted(leaf, array, fault)
        return arrays


def _parts(space: gymnasium.Space[Any]) -> Parts | None:
    """The whole numbers of a space that become one-hot."""
    if isinstance(space, spaces.Discrete):
        return Parts(starts=np.array([space.start]), counts=np.array([space.n]))
    if isinstance(space, spaces.MultiDiscrete):
        return Parts(starts=space.start.ravel().astype(np.int64), counts=space.nvec.ravel().astype(np.int64))
    if isinstance(space, spaces.Text):
        alphabet = {letter: 1 + code for code, letter in enumerate(sorted(space.character_set))}
        counts = np.full(space.max_length, 1 + len(alphabet))
        return Parts(starts=np.zeros_like(counts), counts=counts, alphabet=alphabet)
    return None


def _is_image(space: gymnasium.spaces.Box) -> bool:
    """Tell whether a space holds pixels with their channels last."""
    if space.dtype != np.uint8 or len(space.shape) != 3:
        return False
    height, width, channels = space.shape
    return channels in (1, 3, 4) and channels < min(height, width)


def unlearnable(environment: str, expected: str, got: str) -> ConfigError:
    """Make the error of a space in which nothing can learn.

    Args:
        environment: its name.
        expected: what a space may be.
        got: the space.
    """
    return ConfigError(f"`{environment}` cannot be learned: expected {expected}, got {got}", key=_KEY)


def _gather(leaf: Leaf, observations: Sequence[object], fault: Fault) -> NDArray[Any]:
    if not observations:
        return np.zeros((0, *leaf.size), leaf.dtype)
    try:
        array = np.array([leaf.pick(one) for one in observations] if leaf.path else observations)
    except (ValueError, TypeError, LookupError):
        raise _misfit(leaf, observations, fault) from None
    if array.shape != (len(observations), *leaf.size):
        raise _misfit(leaf, observations, fault)
    return array


def _misfit(leaf: Leaf, observations: Sequence[object], fault: Fault) -> EnvironmentFaultError:
    """Which observation is not of the space, and how."""
    for row, observation in enumerate(observations):
        try:
            shape = np.shape(leaf.pick(observation))
        except (ValueError, TypeError, LookupError) as error:
            return fault(row, f"expected an observation with `{leaf.name}`, got {type(error).__name__}: {error}")
        if shape != leaf.size:
            return fault(row, f"expected `{leaf.name}` of shape {leaf.size}, got {shape}")
    return fault(0, f"expected `{leaf.name}` of one dtype, {leaf.dtype}")


def _converted(leaf: Leaf, array: NDArray[Any], fault: Fault) -> NDArray[np.float32]:
    """float32 and finite, or one-hot; `array` [N, ...] has the space's shape and is nobody else's."""
    if leaf.parts is not None:
        if leaf.parts.alphabet is not None:
            array = _codes(leaf.name, leaf.parts.alphabet, len(leaf.parts.counts), array, fault)
        else:
            _require_dtype(leaf, array, fault)
        return _one_hot(leaf.name, leaf.parts, array, fault)
    _require_dtype(leaf, array, fault)
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):  # becomes infinite, which is refused below
            array = array.astype(np.float32)
    finite = np.isfinite(array)
    if np.count_nonzero(finite) != finite.size:
        row = int(np.argwhere(~finite)[0, 0])
        raise fault(row, f"expected finite numbers in `{leaf.name}`, got {array[row]}")
    if leaf.channels_last:
        return np.ascontiguousarray(array.transpose(0, 3, 1, 2))
    return array.reshape(len(array), *leaf.shape)


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
    finite = np.isfinite(earned)
    if np.count_nonzero(finite) != finite.size:
        row = int(finite.argmin())
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
    if not {type(flag) for flag in flags} <= BOOLS:
        row = next(row for row, flag in enumerate(flags) if type(flag) not in BOOLS)
        raise fault(row, f"expected a bool as `{name}`, got {flags[row]!r}")
    return np.array(flags, np.bool_)
