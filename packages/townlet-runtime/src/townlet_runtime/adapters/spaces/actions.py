"""Action spaces of Gymnasium as actions of a policy, and the masks that environments give with them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionSpec, ActionVocabulary, ArrayActions, Box, MultiDiscrete
from townlet_runtime.adapters.history import KIND
from townlet_runtime.adapters.spaces.gymnasium_library import Fault, gymnasium, spaces, unlearnable
from townlet_runtime.adapters.spaces.settings import ActionForm
from townlet_runtime.simulation.interface import ActionArray
from townlet_trajectory import ACTION_MASK

Bools = NDArray[np.bool_]

MAX_ACTIONS = 1024
"""Of a joint vocabulary."""
MAX_OUTPUTS = 4096
"""Values of all parts together, or numbers of one action."""


class ActionCodec(ABC):
    """Turns actions of a policy into actions of a space.

    Attributes:
        spec: of the actions.
        part_starts: where the columns of each part begin in a mask; one part where actions are of a vocabulary.
        mask_width: columns of a mask.
        reads_one_a_row: whether a mask of so many numbers has one for each column.
    """

    spec: ActionSpec
    part_starts: tuple[int, ...] = (0,)
    mask_width: int
    reads_one_a_row = True

    @property
    def vocabulary(self) -> ActionVocabulary:
        """Empty where actions are of several parts, or numbers."""
        return self.spec if isinstance(self.spec, ActionVocabulary) else ActionVocabulary.none()

    @property
    def arrays(self) -> ArrayActions | None:
        """None where actions are of a vocabulary."""
        return None if isinstance(self.spec, ActionVocabulary) else self.spec

    @abstractmethod
    def encode(self, actions: ActionArray) -> NDArray[Any]:
        """[N] or [N, K]; the environment's own actions as one batch [N, ...]."""

    def commands(self, actions: ActionArray) -> list[Any]:
        """N actions, one by one."""
        return list(self.encode(actions))

    @abstractmethod
    def legal(self, mask: object) -> Bools:
        """Read one action mask of zeros and ones: bools, integers or floats.

        Args:
            mask: for every action; or for every value of every part, one part after the other as a tuple, as rows or
                side by side (which is meant where both have the same length); or, of MultiBinary, Gymnasium's own form:
                0, 1 or 2 (free) for each bit.

        Returns:
            [`mask_width`]; all false where a part allows no value.

        Raises:
            ValueError: says what came instead.
        """


def action_codec(space: gymnasium.Space[Any], *, environment: str, form: ActionForm = "auto") -> ActionCodec:
    """Return the codec of an action space.

    Discrete: a vocabulary of its values in order. MultiDiscrete, MultiBinary (its bits) and a Box of whole numbers:
    a vocabulary of all combinations, the last part varies fastest; or an index for each part. Box: numbers within its
    bounds.

    Args:
        space: of one agent.
        environment: its name, for errors.
        form: of actions of several parts; `auto`: a vocabulary where it has at most `MAX_ACTIONS`, else parts.

    Raises:
        ConfigError: if the space is another one, offers no choice or too much of it, or has bounds that are not finite.

    Examples:
        >>> from gymnasium import spaces
        >>> codec = action_codec(spaces.MultiDiscrete([2, 3]), environment="small")
        >>> codec.encode(np.array([0, 5])).tolist()
        [[0, 0], [1, 2]]
        >>> codec.legal(([1, 0], [1, 1, 0])).tolist()  # the first part must be 0, the second must not be 2
        [True, True, False, False, False, False]
        >>> parts = action_codec(spaces.MultiDiscrete([2, 3]), environment="small", form="parts")
        >>> parts.legal(([1, 0], [1, 1, 0])).tolist()
        [True, False, True, True, False]
    """
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return NumberActions(space, environment=environment)
    choices = _choices(space, environment=environment)
    count = math.prod(choices.sizes)
    several = not isinstance(space, spaces.Discrete)
    if several and (form == "parts" or (form == "auto" and count > MAX_ACTIONS)):
        width = sum(size for size in choices.sizes if size > 1)
        if not 2 <= width <= MAX_OUTPUTS:
            raise unlearnable(environment, f"parts of 2 to {MAX_OUTPUTS} values together", f"{width} of {space}")
        return PartActions(choices)
    if not 2 <= count <= MAX_ACTIONS:
        hint = " (`environment.actions`: `parts` takes more)" if several and count > 1 else ""
        raise unlearnable(environment, f"2 to {MAX_ACTIONS} actions to choose from", f"{count} of {space}{hint}")
    return JointActions(choices)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Choices:
    """Whole numbers to choose, one for each part of an action of a space."""

    sizes: tuple[int, ...]
    start: NDArray[Any]
    """The lowest value of each part, in the shape of an action."""
    dtype: np.dtype[Any]
    bits: bool
    """A MultiBinary."""

    def actions(self, parts: NDArray[np.int64]) -> NDArray[Any]:
        """[N, ...] of the index of each part [N, P]."""
        values: NDArray[Any] = (parts.reshape(len(parts), *self.start.shape) + self.start).astype(self.dtype)
        return values

    def read(self, mask: object) -> tuple[Bools, ...]:
        """A mask for each part; or one for all combinations."""
        pieces = _pieces(mask)
        lengths, total = tuple(len(piece) for piece in pieces), sum(self.sizes)
        if self.bits and lengths == (len(self.sizes),):
            (bits,) = pieces
            pieces = [np.array([[bit != 1, bit != 0] for bit in _members(bits, (0, 1, 2))]).ravel()]
            lengths = (total,)
        flat = np.concatenate(pieces)
        _members(flat, (0, 1))
        if lengths in (self.sizes, (total,)):
            return tuple(np.split(flat.astype(np.bool_), np.cumsum(self.sizes)[:-1]))
        if lengths == (math.prod(self.sizes),):
            return (flat.astype(np.bool_),)
        raise ValueError(f"one of length {' and '.join(map(str, lengths))}")


def _choices(space: gymnasium.Space[Any], *, environment: str) -> _Choices:
    sizes: tuple[int, ...]
    if isinstance(space, spaces.Discrete):
        sizes, start = (int(space.n),), np.array(space.start)
    elif isinstance(space, spaces.MultiDiscrete):
        sizes, start = tuple(map(int, space.nvec.ravel())), space.start
    elif isinstance(space, spaces.MultiBinary):
        sizes, start = (2,) * math.prod(space.shape), np.zeros(space.shape, np.int64)
    elif isinstance(space, spaces.Box):
        ends = zip(space.high.ravel().tolist(), space.low.ravel().tolist(), strict=True)
        sizes, start = tuple(high - low + 1 for high, low in ends), space.low
    else:
        expected = "actions of Discrete, MultiDiscrete, MultiBinary or Box"
        found = f"{space}; choices of several kinds are parts of a MultiDiscrete, numbers are a Box"
        raise unlearnable(environment, expected, found)
    bits = isinstance(space, spaces.MultiBinary)
    return _Choices(sizes=sizes, start=start, dtype=np.dtype(space.dtype), bits=bits)


def num_values(space: gymnasium.Space[Any]) -> int:
    """Return the number of values of all parts of an action; 0 where it is numbers."""
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return 0
    return sum(_choices(space, environment="space").sizes)


class JointActions(ActionCodec):
    """Indices of one vocabulary, of all combinations."""

    spec: ActionVocabulary

    def __init__(self, choices: _Choices) -> None:
        sizes = choices.sizes
        self.mask_width = math.prod(sizes)
        parts = np.stack(np.unravel_index(np.arange(self.mask_width), sizes), axis=1)
        self._choices = choices
        self._table = choices.actions(parts)
        self.reads_one_a_row = len(sizes) == 1 or sum(sizes) != self.mask_width
        keys = tuple(map(str, range(self.mask_width)))
        self.spec = ActionVocabulary(keys=keys, kinds=(KIND,) * self.mask_width)

    def encode(self, actions: ActionArray) -> NDArray[Any]:
        return self._table[actions]

    def legal(self, mask: object) -> Bools:
        return reduce(lambda one, other: (one[:, None] & other).ravel(), self._choices.read(mask))


class PartActions(ActionCodec):
    """An index for each part. Parts with a single value are left out."""

    spec: MultiDiscrete

    def __init__(self, choices: _Choices) -> None:
        sizes = np.array(choices.sizes)
        self._choices = choices
        self._free = (sizes > 1).nonzero()[0]
        names = _names(choices.start.shape)
        free = {names[part]: choices.sizes[part] for part in self._free.tolist()}
        self.spec = MultiDiscrete(parts={name: tuple(map(str, range(size))) for name, size in free.items()})
        self.mask_width = self.spec.num_outputs
        self.part_starts = tuple(np.cumsum([0, *self.spec.sizes[:-1]]).tolist())
        self.reads_one_a_row = len(free) == len(sizes)

    def encode(self, actions: ActionArray) -> NDArray[Any]:
        parts = np.zeros((len(actions), len(self._choices.sizes)), np.int64)
        parts[:, self._free] = actions
        return self._choices.actions(parts)

    def legal(self, mask: object) -> Bools:
        parts = self._choices.read(mask)
        if len(parts) != len(self._choices.sizes):
            raise ValueError("one for every combination, which `environment.actions`: `joint` takes")
        some = np.array([part.any() for part in parts]).all()
        return np.concatenate([parts[part] for part in self._free.tolist()]) & some


class NumberActions(ActionCodec):
    """Numbers within bounds. Those whose bounds are equal are left out."""

    spec: Box
    mask_width = 0

    def __init__(self, space: gymnasium.spaces.Box, *, environment: str) -> None:
        self._space = space
        with np.errstate(over="ignore"):  # becomes infinite, which is refused below
            low, high = (bound.astype(np.float32).ravel() for bound in (space.low, space.high))
        bounded = np.isfinite(low) & np.isfinite(high)
        if not bounded.all():
            found = f"{space}; `gymnasium.wrappers.RescaleAction` or the environment itself can bound it"
            raise unlearnable(environment, "actions between finite bounds", found)
        free = (low < high).nonzero()[0]
        if not 1 <= free.size <= MAX_OUTPUTS // 2:
            raise unlearnable(environment, f"1 to {MAX_OUTPUTS // 2} numbers to choose", f"{free.size} of {space}")
        names = _names(space.shape)
        self._free = free
        self.spec = Box(
            names=tuple(names[number] for number in free.tolist()),
            low=tuple(low[free].tolist()),
            high=tuple(high[free].tolist()),
        )

    def encode(self, actions: ActionArray) -> NDArray[Any]:
        space = self._space
        numbers = np.tile(space.low.ravel(), (len(actions), 1))
        numbers[:, self._free] = actions
        # float32 may round a bound outwards.
        within: NDArray[Any] = np.clip(numbers.reshape(len(actions), *space.shape), space.low, space.high)
        return within

    def legal(self, mask: object) -> Bools:
        raise ValueError("one beside numbers")


def _names(shape: tuple[int, ...]) -> list[str]:
    """Names of the parts of an action, in order: `0`, or `0_1` where there are two axes."""
    return ["_".join(map(str, place)) or "0" for place in np.ndindex(shape)]


def _pieces(mask: Any) -> list[NDArray[Any]]:
    """Flatten a mask into rows of numbers."""
    if isinstance(mask, tuple | list) or (isinstance(mask, np.ndarray) and mask.dtype == np.object_):
        if any(np.ndim(part) or isinstance(part, tuple | list) for part in mask):
            return [piece for part in mask for piece in _pieces(part)]
    array = np.asarray(mask)
    if array.dtype.kind not in "biuf" or not array.ndim:
        raise ValueError(f"{array.dtype} of shape {array.shape}")
    return list(array.reshape(-1, array.shape[-1]))


def _members(numbers: NDArray[Any], allowed: tuple[int, ...]) -> NDArray[Any]:
    """Refuse numbers that a mask must not hold."""
    odd = ~np.isin(numbers, allowed)
    if np.count_nonzero(odd):
        raise ValueError(f"one with {numbers[odd.argmax()]} in it")
    return numbers


def find_mask(holder: object) -> object | None:
    """The action mask in an info or a Dict observation, None where there is none."""
    return holder.get(ACTION_MASK) if isinstance(holder, Mapping) else None


def stacked_masks(masks: Sequence[object], actions: ActionCodec, fault: Fault) -> Bools:
    """Stack action masks. An agent that may do nothing in some part is shown its first action as the only legal one.

    Args:
        masks: N of them, each in a form that `ActionCodec.legal` reads.
        actions: of the agents.
        fault: makes the error of a row whose mask does not fit.

    Returns:
        Bool [N, A], at least one true in each part of each row. A single one in each makes the step a forced one.
    """
    if masks and not actions.mask_width:
        raise fault(0, "expected no action mask where actions are numbers between bounds, got one")
    shape = (len(masks), actions.mask_width)
    legal = _usual(masks, shape) if actions.reads_one_a_row else None
    if legal is None:
        legal = np.zeros(shape, np.bool_)
        for row, mask in enumerate(masks):
            try:
                legal[row] = actions.legal(mask)
            except ValueError as error:
                raise fault(row, f"expected an action mask of {shape[1]} zeros and ones, got {error}") from None
    stuck = ~np.logical_or.reduceat(legal, actions.part_starts, axis=1).all(axis=1)
    legal[stuck] = np.isin(np.arange(shape[1]), actions.part_starts)
    return legal


def rows_of_masks(batch: Any, num_worlds: int) -> Sequence[object] | None:
    """Split what a vector environment gives into the masks of its worlds; None where it holds no mask for each.

    Args:
        batch: masks of all worlds, or a tuple of the masks of each part of an action, for all worlds.
        num_worlds: W.
    """
    if isinstance(batch, tuple) and all(isinstance(part, np.ndarray) and part.ndim == 2 for part in batch):
        # Gymnasium's form of a batch of tuples; the masks of single worlds would have parts of one axis.
        return list(zip(*batch, strict=True)) if {len(part) for part in batch} == {num_worlds} else None
    rows = isinstance(batch, tuple | list) or (isinstance(batch, np.ndarray) and batch.ndim > 0)
    return list(batch) if rows and len(batch) == num_worlds else None


def _usual(masks: Sequence[object], shape: tuple[int, int]) -> Bools | None:
    """Read masks that are all of the usual form, at once; None where one is not."""
    try:
        array = np.array(masks).reshape(shape)
    except ValueError:
        return None
    if array.dtype.kind not in "biuf":
        return None
    legal: Bools = array == 1
    return legal if np.count_nonzero(legal) + np.count_nonzero(array == 0) == array.size else None
