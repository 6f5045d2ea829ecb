"""The form of actions in arrays: an index, an index for each of several parts, or numbers.

The bridge treats all three alike, by the methods of `ActionForm`.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .actions import ActionSpec, Box, MultiDiscrete
from .blend import tempered_log_probs
from .errors import ConfigError, UnknownActionError
from .views import gather
from .vocabulary import ActionVocabulary

Actions: TypeAlias = NDArray[Any]
"""Of N agents: int64 [N] (a vocabulary), int64 [N, K] (`MultiDiscrete`) or float32 [N, K] (`Box`)."""
OneAction: TypeAlias = int | tuple[int, ...] | tuple[float, ...]
"""Of one agent: an index, or K indices or numbers."""
_FLOOR = np.finfo(np.float32).min


def form_of(actions: ActionSpec) -> ActionForm:
    """Return the form of the actions of an agent group."""
    if isinstance(actions, ActionVocabulary):
        return IndexForm(len(actions), wait=actions.wait)
    return PartsForm(actions) if isinstance(actions, MultiDiscrete) else NumbersForm(actions)


def one_form(num_actions: int | None, actions: ActionSpec | None) -> ActionForm:
    """Return the form of actions that are given by their number or as a whole.

    Raises:
        ConfigError: if both or none are given.
    """
    if num_actions is not None and actions is None:
        return IndexForm(num_actions)
    if actions is not None and num_actions is None:
        return form_of(actions)
    raise ConfigError(f"expected `num_actions` or `actions`, got {num_actions} and {actions}")


def _every(table: NDArray[np.bool_]) -> NDArray[np.bool_]:
    every: NDArray[np.bool_] = np.logical_and.reduce(table, axis=1)
    return every


class ActionForm(ABC):
    """Actions as choices side by side: one of a vocabulary, one for each part, none where actions are numbers.

    Args:
        sizes: number of values of each choice; their columns lie side by side in masks and log-probabilities.
        wait: the action that does nothing.
        nothing: in place of each number of an action, where there is none: -1, or NaN.
        low: least action.
        high: largest action.
    """

    def __init__(self, *, sizes: tuple[int, ...], wait: Actions, nothing: float, low: Actions, high: Actions) -> None:
        self.shape, self.dtype = wait.shape, wait.dtype
        """Of one action."""
        self.wait, self.nothing, self.low, self.high = wait, nothing, low, high
        self.mask_columns = sum(sizes)
        """Of an action mask and of log-probabilities; 0: there are none."""
        starts = np.cumsum((0, *sizes))
        self._starts = starts[:-1]
        self._choices = [slice(*ends) for ends in zip(starts.tolist(), starts[1:].tolist(), strict=False)]

    @abstractmethod
    def __str__(self) -> str:
        """Return the set of all actions."""

    @abstractmethod
    def read(self, action: Any) -> OneAction:
        """Return one agent's action in plain numbers, whether it exists or not.

        Raises:
            TypeError: if it is not made of such numbers.
            ValueError: if it has not K of them.
        """

    def one(self, action: Any) -> OneAction:
        """Return one agent's action in plain numbers.

        Raises:
            UnknownActionError: if it does not exist.
        """
        try:
            read = self.read(action)
            exists = self.known(np.array([read], self.dtype))[0]
        except (TypeError, ValueError, OverflowError) as error:
            raise UnknownActionError(f"`action` must be in {self}, got {action!r}: {error}") from error
        if not exists:
            raise UnknownActionError(f"`action` must be in {self}, got {action!r}")
        return read

    def empty(self, size: int) -> Actions:
        """Return so many rows without an action."""
        return np.full((size, *self.shape), self.nothing, self.dtype)

    def silent(self, actions: Actions) -> NDArray[np.bool_]:
        """Return the rows without an action, [N]."""
        return _every(actions == self.nothing)

    def known(self, actions: Actions) -> NDArray[np.bool_]:
        """Return the rows whose action exists, [N]."""
        return _every((actions >= self.low) & (actions <= self.high))

    def proposed(self, actions: Actions) -> NDArray[np.bool_]:
        """Return the rows in which a script proposes an action that exists, or none, [N]."""
        return self.known(actions) | self.silent(actions)

    def usable(self, actions: Actions) -> NDArray[np.bool_]:
        """Return the rows in which a policy's draw can be carried out, [N]."""
        return self.known(actions)

    def executed(self, actions: Actions) -> Actions:
        """Return what the world gets for actions that were drawn."""
        return actions

    def recorded(self, proposed: Actions) -> Actions:
        """Return proposals as they are recorded."""
        return proposed

    def legal(self, mask: NDArray[np.bool_], actions: Actions) -> NDArray[np.bool_]:
        """Return the rows whose action the mask allows, [N]."""
        return _every(self._gather(mask, actions))

    def stuck(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the rows of the mask that allow no action, [N]."""
        return ~_every(self.reduced(np.logical_or, mask))

    def only(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the rows of the mask that leave a single action, [N]."""
        return _every(self.reduced(np.add, mask) == 1)

    def first(self, mask: NDArray[np.bool_]) -> Actions:
        """Return the first legal action of each row."""
        return np.stack([mask[:, choice].argmax(axis=1) for choice in self._choices], axis=1)

    def replaced(self, mask: NDArray[np.bool_], actions: Actions) -> Actions:
        """Return the actions with waiting in place of illegal choices, or the first legal one where that is illegal."""
        # The value 0 of a part does nothing, and is the first legal one wherever it is legal.
        return np.where(self._gather(mask, actions), actions, self.first(mask))

    def log_prob(self, log_probs: NDArray[Any], actions: Actions) -> NDArray[Any]:
        """Return log π of the actions, [N]: the sum over their parts, which are drawn independently."""
        joint: NDArray[np.float64] = np.add.reduce(self._gather(log_probs, actions), axis=1, dtype=np.float64)
        return np.maximum(joint, _FLOOR).astype(np.float32)

    def tempered(self, log_probs: NDArray[np.float32], temperatures: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return `tempered_log_probs` of each choice."""
        return np.concatenate([tempered_log_probs(log_probs[:, one], temperatures) for one in self._choices], axis=1)

    def reduced(self, ufunc: np.ufunc, table: NDArray[Any]) -> NDArray[Any]:
        """Return a reduction of a table of `mask_columns` over the values of each choice, [N] or [N, K]."""
        return np.asarray(ufunc.reduceat(table, self._starts, axis=1))

    def _gather(self, table: NDArray[Any], actions: Actions) -> NDArray[Any]:
        """[N, K]; `table[i, start of part k + actions[i, k]]`."""
        rows = np.arange(0, table.size, self.mask_columns)[:, None]
        gathered: NDArray[Any] = table.reshape(-1).take(rows + self._starts + actions)
        return gathered


class IndexForm(ActionForm):
    """An index into a vocabulary, int64 [N]: one choice, without an axis for it.

    Args:
        size: of the vocabulary.
        wait: the action that does nothing.
    """

    def __init__(self, size: int, *, wait: int = 0) -> None:
        least, waiting, largest = (np.array(index, np.int64) for index in (0, wait, size - 1))
        super().__init__(sizes=(size,), wait=waiting, nothing=-1, low=least, high=largest)
        self._size, self._wait = size, wait

    def __str__(self) -> str:
        return f"[0, {self._size})"

    def read(self, action: Any) -> OneAction:
        return operator.index(action)

    def silent(self, actions: Actions) -> NDArray[np.bool_]:
        silent: NDArray[np.bool_] = actions < 0
        return silent

    def known(self, actions: Actions) -> NDArray[np.bool_]:
        # One comparison for both ends: as unsigned, a negative number is larger than any vocabulary.
        known: NDArray[np.bool_] = actions.view(np.uint64) < self._size
        return known

    def proposed(self, actions: Actions) -> NDArray[np.bool_]:
        # As unsigned, anything below -1 is larger than any vocabulary.
        proposed: NDArray[np.bool_] = (actions + 1).view(np.uint64) <= self._size
        return proposed

    usable = known

    def legal(self, mask: NDArray[np.bool_], actions: Actions) -> NDArray[np.bool_]:
        return gather(mask, actions)

    def stuck(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        possible: NDArray[np.bool_] = np.logical_or.reduce(mask, axis=1)
        return ~possible

    def only(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        only: NDArray[np.bool_] = np.add.reduce(mask, axis=1) == 1
        return only

    def first(self, mask: NDArray[np.bool_]) -> Actions:
        first: Actions = mask.argmax(axis=1)
        return first

    def replaced(self, mask: NDArray[np.bool_], actions: Actions) -> Actions:
        return np.where(mask[:, self._wait], self._wait, mask.argmax(axis=1))

    def log_prob(self, log_probs: NDArray[Any], actions: Actions) -> NDArray[Any]:
        return gather(log_probs, actions)

    def tempered(self, log_probs: NDArray[np.float32], temperatures: NDArray[np.float32]) -> NDArray[np.float64]:
        return tempered_log_probs(log_probs, temperatures)

    def reduced(self, ufunc: np.ufunc, table: NDArray[Any]) -> NDArray[Any]:
        reduced: NDArray[Any] = ufunc.reduce(table, axis=1)
        return reduced


class PartsForm(ActionForm):
    """An index for each of K parts, int64 [N, K]."""

    def __init__(self, actions: MultiDiscrete) -> None:
        high = np.array(actions.sizes, np.int64) - 1
        super().__init__(sizes=actions.sizes, wait=actions.wait, nothing=-1, low=actions.wait, high=high)

    def __str__(self) -> str:
        return " × ".join(f"[0, {high + 1})" for high in self.high.tolist())

    def read(self, action: Any) -> OneAction:
        indices = tuple(map(operator.index, action))
        if len(indices) != len(self.high):
            raise ValueError(f"expected {len(self.high)} indices, got {len(indices)}")
        return indices


class NumbersForm(ActionForm):
    """K numbers within bounds, float32 [N, K]; a policy's draw beyond them is carried out as the bound."""

    def __init__(self, actions: Box) -> None:
        low, high = actions.bounds
        super().__init__(sizes=(), wait=actions.wait, nothing=float("nan"), low=low, high=high)

    def __str__(self) -> str:
        return " × ".join(f"[{low}, {high}]" for low, high in zip(self.low.tolist(), self.high.tolist(), strict=True))

    def read(self, action: Any) -> OneAction:
        with np.errstate(over="ignore"):
            numbers = np.array([float(number) for number in action], self.dtype)
        if len(numbers) != len(self.high):
            raise ValueError(f"expected {len(self.high)} numbers, got {len(numbers)}")
        return tuple(numbers.tolist())

    def silent(self, actions: Actions) -> NDArray[np.bool_]:
        return _every(np.isnan(actions))

    def usable(self, actions: Actions) -> NDArray[np.bool_]:
        return _every(np.isfinite(actions))

    def executed(self, actions: Actions) -> Actions:
        return np.clip(actions, self.low, self.high)

    def recorded(self, proposed: Actions) -> Actions:
        return np.where(np.isnan(proposed), np.float32(0.0), proposed)
