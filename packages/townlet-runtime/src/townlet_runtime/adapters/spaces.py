"""Spaces of Gymnasium as a network needs them: named float32 arrays for observations, one vocabulary for actions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary
from townlet_runtime.adapters.libraries import gymnasium
from townlet_runtime.errors import ConfigError, EnvironmentFaultError
from townlet_runtime.simulation.interface import Observations
from townlet_trajectory import ACTION_MASK, default_decision_columns

spaces = gymnasium.spaces

MAX_ACTIONS = 1024
"""Of a joint vocabulary."""

MAX_OBSERVATION_SIZE = 2**24
"""Numbers in one array of one agent's observation."""

KIND = "wait"
"""The kind of every action: that of waiting, which never binds for longer than its tick."""

Fault = Callable[[int, str], EnvironmentFaultError]
"""Builds the error for one row (a world or an agent) from what is wrong there."""

_KEY = "environment.name"
BOOLS: frozenset[type] = frozenset({bool, np.bool_})

_RESERVED = frozenset({ACTION_MASK, "features", "rewards", "ticks", *default_decision_columns()})
"""Names of columns that mean something else where experience is recorded."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Leaf:
    """One array of an observation."""

    name: str
    path: tuple[str | int, ...]
    """Keys of dictionaries and positions in tuples, from the outside in."""
    space: gymnasium.spaces.Box | gymnasium.spaces.Discrete
    size: tuple[int, ...]
    """Shape in the space."""
    shape: tuple[int, ...]
    """Per agent, as a network sees it."""

    def pick(self, observation: object) -> Any:
        """This array of one observation, or of a batch of them."""
        picked: Any = observation
        for step in self.path:
            picked = picked[step]
        return picked


class ObservationCodec:
    """Turns observations of a space into named float32 arrays.

    Box: as it is, scalars as [1]. Discrete: one-hot. Dict and Tuple of these: one array each, named by its keys. An
    entry `action_mask` of a Dict is no observation.

    Raises:
        ConfigError: if the space holds anything else, or an array that is empty or larger than `MAX_OBSERVATION_SIZE`.
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
        elif isinstance(space, spaces.Box | spaces.Discrete):
            size = space.shape or ()
            shape = (int(space.n),) if isinstance(space, spaces.Discrete) else size or (1,)
            if not 0 < math.prod(shape) <= MAX_OBSERVATION_SIZE:
                expected = f"observations of 1 to {MAX_OBSERVATION_SIZE} numbers"
                raise _unlearnable(self._environment, expected, f"{shape} of {space}")
            self._leaves.append(Leaf(name=self._name(path), path=path, space=space, size=size, shape=shape))
        else:
            raise _unlearnable(self._environment, "observations of Box, Discrete, Dict or Tuple", f"{space}")

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
            array = np.array(leaf.pick(batch))
            if array.shape != (rows, *leaf.size):
                raise fault(0, f"expected `{leaf.name}` of shape {(rows, *leaf.size)}, got {array.shape}")
            arrays[leaf.name] = _converted(leaf, array, fault)
        return arrays


def _gather(leaf: Leaf, observations: Sequence[object], fault: Fault) -> NDArray[Any]:
    if not observations:
        return np.zeros((0, *leaf.size), leaf.space.dtype)
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
    return fault(0, f"expected `{leaf.name}` of one dtype, {leaf.space.dtype}")


def _converted(leaf: Leaf, array: NDArray[Any], fault: Fault) -> NDArray[np.float32]:
    """float32 and finite, or one-hot; `array` [N, ...] has the space's shape and is nobody else's."""
    dtype = leaf.space.dtype
    if array.dtype != dtype and not np.can_cast(array.dtype, dtype, "same_kind"):
        raise fault(0, f"expected `{leaf.name}` of dtype {dtype}, got {array.dtype}")
    if isinstance(leaf.space, spaces.Discrete):
        return _one_hot(leaf, array, fault)
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):  # becomes infinite, which is refused below
            array = array.astype(np.float32)
    finite = np.isfinite(array)
    if np.count_nonzero(finite) != finite.size:
        row = int(np.argwhere(~finite)[0, 0])
        raise fault(row, f"expected finite numbers in `{leaf.name}`, got {array[row]}")
    return array.reshape(len(array), *leaf.shape)


def _one_hot(leaf: Leaf, array: NDArray[Any], fault: Fault) -> NDArray[np.float32]:
    (size,), start = leaf.shape, int(leaf.space.start)  # type: ignore[union-attr]  # Discrete, as the caller knows
    values = array.astype(np.int64) - start
    outside = (values < 0) | (values >= size)
    if np.count_nonzero(outside):
        row = int(outside.argmax())
        raise fault(row, f"expected `{leaf.name}` in [{start}, {start + size}), got {array[row]}")
    hot = np.zeros((len(values), size), np.float32)
    hot[np.arange(len(values)), values] = 1.0
    return hot


class ActionCodec:
    """Turns indices of one vocabulary into actions of a space.

    Discrete: its values in order. MultiDiscrete: all combinations, the last part varies fastest.

    Raises:
        ConfigError: if the space is another one, or has fewer than 2 or more than `MAX_ACTIONS` actions.
    """

    def __init__(self, space: gymnasium.Space[Any], *, environment: str) -> None:
        if isinstance(space, spaces.Discrete):
            _check_count(int(space.n), space, environment)
            table = np.arange(space.n) + space.start
        elif isinstance(space, spaces.MultiDiscrete):
            table = _combinations(space, environment)
        else:
            found = f"{space}; continuous actions are not supported"
            raise _unlearnable(environment, "actions of Discrete or MultiDiscrete", found)
        self._table: NDArray[Any] = table.astype(space.dtype)
        keys = tuple(str(index) for index in range(len(table)))
        self.vocabulary = ActionVocabulary(keys=keys, kinds=(KIND,) * len(keys))

    def encode(self, actions: NDArray[np.int64]) -> NDArray[Any]:
        """[N] or [N, ...]; the environment's own actions as one batch."""
        return self._table[actions]

    def commands(self, actions: NDArray[np.int64]) -> list[Any]:
        """N actions, one by one."""
        return list(self._table[actions])


def _combinations(space: gymnasium.spaces.MultiDiscrete, environment: str) -> NDArray[Any]:
    sizes = tuple(int(size) for size in space.nvec.ravel())
    _check_count(math.prod(sizes), space, environment)
    parts = np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)
    combined: NDArray[Any] = parts.reshape(len(parts), *space.nvec.shape) + space.start
    return combined


def _check_count(count: int, space: gymnasium.Space[Any], environment: str) -> None:
    if not 2 <= count <= MAX_ACTIONS:
        raise _unlearnable(environment, f"2 to {MAX_ACTIONS} actions to choose from", f"{count} of {space}")


def _unlearnable(environment: str, expected: str, got: str) -> ConfigError:
    return ConfigError(f"`{environment}` cannot be learned: expected {expected}, got {got}", key=_KEY)


def find_mask(holder: object) -> object | None:
    """The action mask in an info or a Dict observation, None where there is none."""
    return holder.get(ACTION_MASK) if isinstance(holder, Mapping) else None


def stacked_masks(masks: Sequence[object], num_actions: int, fault: Fault) -> NDArray[np.bool_]:
    """Stack action masks.

    Args:
        masks: N of them, each of A numbers 0 and 1, at least one of which is 1.
        num_actions: A.
        fault: makes the error of a row whose mask does not fit.

    Returns:
        Bool [N, A].
    """
    if not masks:
        return np.zeros((0, num_actions), np.bool_)
    arrays = [np.asarray(mask) for mask in masks]
    for row, array in enumerate(arrays):
        if array.shape != (num_actions,) or array.dtype.kind not in "biu":
            got = f"{array.dtype} of shape {array.shape}"
            raise fault(row, f"expected an action mask of {num_actions} zeros and ones, got {got}")
    legal: NDArray[np.bool_] = np.array(arrays).astype(np.bool_)
    stuck = ~legal.any(axis=1)
    if np.count_nonzero(stuck):
        raise fault(int(stuck.argmax()), "expected an action mask that allows an action, got one that allows none")
    return legal


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
    return np.shape(reward) == () and np.asarray(reward).dtype.kind in "biuf"


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
