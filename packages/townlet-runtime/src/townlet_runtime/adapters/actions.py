"""Action spaces of Gymnasium as one vocabulary, and the masks that environments give with them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary
from townlet_runtime.adapters.history import KIND
from townlet_runtime.adapters.spaces import Fault, gymnasium, unlearnable
from townlet_trajectory import ACTION_MASK

spaces = gymnasium.spaces
Bools = NDArray[np.bool_]

MAX_ACTIONS = 1024
"""Of a joint vocabulary."""


class ActionCodec:
    """Turns indices of one vocabulary into actions of a space.

    Discrete: its values in order. MultiDiscrete, and MultiBinary as one of twos: all combinations, the last part varies
    fastest.

    Examples:
        >>> from gymnasium import spaces
        >>> codec = ActionCodec(spaces.MultiDiscrete([2, 3]), environment="small")
        >>> codec.encode(np.array([0, 5])).tolist()
        [[0, 0], [1, 2]]
        >>> codec.legal(([1, 0], [1, 1, 0])).tolist()  # the first part must be 0, the second must not be 2
        [True, True, False, False, False, False]

    Raises:
        ConfigError: if the space is another one, or has fewer than 2 or more than `MAX_ACTIONS` actions.
    """

    def __init__(self, space: gymnasium.Space[Any], *, environment: str) -> None:
        sizes: tuple[int, ...]
        start: Any = 0
        if isinstance(space, spaces.Discrete):
            sizes, start = (int(space.n),), space.start
        elif isinstance(space, spaces.MultiDiscrete):
            sizes, start = tuple(int(size) for size in space.nvec.ravel()), space.start
        elif isinstance(space, spaces.MultiBinary):
            sizes = (2,) * math.prod(space.shape)
        else:
            found = f"{space}; continuous actions are not supported"
            raise unlearnable(environment, "actions of Discrete, MultiDiscrete or MultiBinary", found)
        count = math.prod(sizes)
        if not 2 <= count <= MAX_ACTIONS:
            raise unlearnable(environment, f"2 to {MAX_ACTIONS} actions to choose from", f"{count} of {space}")
        parts = np.stack(np.unravel_index(np.arange(count), sizes), axis=1)
        self._table: NDArray[Any] = (parts.reshape(count, *(space.shape or ())) + start).astype(space.dtype)
        self._sizes = sizes
        self.reads_one_a_row = len(sizes) == 1 or sum(sizes) != count
        """Whether a mask of A numbers is one for every action."""
        self._settable = isinstance(space, spaces.MultiBinary)
        keys = tuple(str(index) for index in range(count))
        self.vocabulary = ActionVocabulary(keys=keys, kinds=(KIND,) * count)

    def encode(self, actions: NDArray[np.int64]) -> NDArray[Any]:
        """[N] or [N, ...]; the environment's own actions as one batch."""
        return self._table[actions]

    def commands(self, actions: NDArray[np.int64]) -> list[Any]:
        """N actions, one by one."""
        return list(self._table[actions])

    def legal(self, mask: object) -> Bools:
        """Read one action mask of zeros and ones: bools, integers or floats.

        Args:
            mask: for every action; or for every value of every part, one part after the other as a tuple, as rows or
                side by side (which is meant where both have the same length); or, of MultiBinary, Gymnasium's own form:
                0, 1 or 2 (free) for each bit.

        Returns:
            [A]; all false where a part allows no value.

        Raises:
            ValueError: says what came instead.
        """
        pieces = _pieces(mask)
        lengths, count, total = tuple(len(piece) for piece in pieces), len(self._table), sum(self._sizes)
        if self._settable and lengths == (len(self._sizes),):
            (bits,) = pieces
            pieces = [np.array([[bit != 1, bit != 0] for bit in _members(bits, (0, 1, 2))]).ravel()]
            lengths = (total,)
        flat = np.concatenate(pieces)
        _members(flat, (0, 1))
        if lengths == self._sizes or lengths == (total,):
            ends = np.cumsum(self._sizes)[:-1]
            return reduce(lambda one, other: (one[:, None] & other).ravel(), np.split(flat.astype(np.bool_), ends))
        if lengths == (count,):
            return flat.astype(np.bool_)
        raise ValueError(f"one of length {' and '.join(map(str, lengths))}")


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
    """Stack action masks. An agent that may do nothing at all is shown its first action as the only legal one.

    Args:
        masks: N of them, each in a form that `ActionCodec.legal` reads.
        actions: A of them.
        fault: makes the error of a row whose mask does not fit.

    Returns:
        Bool [N, A], at least one true in each row. A single one makes the step a forced one.
    """
    shape = (len(masks), len(actions.vocabulary))
    legal = _usual(masks, shape) if actions.reads_one_a_row else None
    if legal is None:
        legal = np.zeros(shape, np.bool_)
        for row, mask in enumerate(masks):
            try:
                legal[row] = actions.legal(mask)
            except ValueError as error:
                raise fault(row, f"expected an action mask of {shape[1]} zeros and ones, got {error}") from None
    legal[~legal.any(axis=1), actions.vocabulary.wait] = True
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


def require_info(info: object, fault: Fault, row: int) -> None:
    """Refuse an info that is no dictionary, in which a mask would go unseen.

    Args:
        info: of one agent.
        fault: makes the error.
        row: of the agent.
    """
    if type(info) is not dict and not isinstance(info, Mapping):  # the first is faster, and usual
        raise fault(row, f"expected a dictionary as info, got {type(info).__name__}")
