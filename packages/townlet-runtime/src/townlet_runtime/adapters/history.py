"""Brings worlds back to where they were: the seed of each episode and the actions since it began."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionSpec, ActionVocabulary, Box, MultiDiscrete, SavedState
from townlet_runtime.errors import EnvironmentFaultError, SimulationError
from townlet_runtime.simulation.interface import Observations, require_seeds
from townlet_runtime.simulation.saved_state import saved_array, saved_number
from townlet_trajectory import ACTION_MASK

_ROWS = 64
"""Ticks that there is room for at first."""


def episode_seed(world_seed: int, episode: int) -> int:
    """The seed of a world's episode, below 2^31: its own for the first, then one derived from it and the number."""
    if episode == 0:
        return world_seed
    digest = hashlib.blake2b(f"{world_seed} {episode}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") >> 1


def joint_seed(seeds: NDArray[np.int64], tick: int) -> int:
    """Hash the seeds [W] of worlds that begin together at `tick` to one below 2^31."""
    own = seeds if tick == 0 else np.append(seeds, tick)
    digest = hashlib.blake2b(own.astype("<i8").tobytes(), digest_size=4).digest()
    return int.from_bytes(digest, "little") >> 1


class ActionRows:
    """How the actions of one tick are kept by slot: indices [S], or parts and numbers of all forms [S, K] side by side.

    Examples:
        >>> from townlet_behavior import MultiDiscrete
        >>> rows = ActionRows([MultiDiscrete(parts={"move": ("stay", "go"), "hand": ("open", "closed")})])
        >>> kept = rows.empty(3)
        >>> kept[1] = [1, 0]
        >>> rows.present(kept).tolist()
        [1]
    """

    def __init__(self, specs: Sequence[ActionSpec]) -> None:
        largest = max(_largest(spec) for spec in specs)
        numbers = any(isinstance(spec, Box) for spec in specs)
        joint = all(isinstance(spec, ActionVocabulary) for spec in specs)
        self.shape: tuple[int, ...] = () if joint else (max(_width(spec) for spec in specs),)
        """Of one action."""
        whole = np.int16 if largest <= np.iinfo(np.int16).max else np.int32
        self.dtype: type[np.float32 | np.int16 | np.int32] = np.float32 if numbers else whole

    def empty(self, *shape: int) -> NDArray[Any]:
        """[*shape, ...]; nobody is there."""
        return np.full((*shape, *self.shape), np.nan if self.dtype == np.float32 else -1, self.dtype)

    def present(self, actions: NDArray[Any]) -> NDArray[np.int64]:
        """Slots whose agents acted, ascending, from the actions of one tick [S, ...]."""
        first = actions[:, 0] if self.shape else actions
        there = ~np.isnan(first) if self.dtype == np.float32 else first >= 0
        return there.nonzero()[0]

    def joined(self, actions: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """[N, ...]; the actions of several groups, one after the other, in the widest of their forms."""
        if not self.shape:
            return np.concatenate(actions)
        rows = np.zeros((sum(map(len, actions)), *self.shape), self.dtype)
        begin = 0
        for group in actions:
            columns = group if group.ndim == 2 else group[:, None]
            rows[begin : begin + len(group), : columns.shape[1]] = columns
            begin += len(group)
        return rows

    @staticmethod
    def read(actions: NDArray[Any], spec: ActionSpec) -> NDArray[Any]:
        """Actions [N, ...] of agents of one group, as `spec` has them: [N] or [N, K]."""
        if isinstance(spec, ActionVocabulary):
            return (actions if actions.ndim == 1 else actions[:, 0]).astype(np.int64)
        return actions[:, : _width(spec)].astype(spec.dtype)


def _width(spec: ActionSpec) -> int:
    return 1 if isinstance(spec, ActionVocabulary) else spec.shape[0]


def _largest(spec: ActionSpec) -> int:
    """Action indices are below it."""
    if isinstance(spec, ActionVocabulary):
        return len(spec)
    return max(spec.sizes) if isinstance(spec, MultiDiscrete) else 0


class History:
    """Ticks, episodes and actions of parallel worlds.

    Args:
        num_worlds: W.
        capacity: S, slots of all worlds.
        specs: of the actions of all groups of agents.
    """

    def __init__(self, *, num_worlds: int, capacity: int, specs: Sequence[ActionSpec]) -> None:
        self._num_worlds = num_worlds
        self._capacity = capacity
        self._worlds = np.arange(num_worlds)
        self.rows = ActionRows(specs)
        """How actions are kept."""
        self.seeds: NDArray[np.int64] = np.zeros(num_worlds, np.int64)
        """[W]; that the worlds were reset with."""
        self.tick = 0
        """Ticks since the worlds were reset."""
        self._numbers: NDArray[np.int64] = np.zeros(num_worlds, np.int64)
        self._begun: NDArray[np.int64] = np.zeros(num_worlds, np.int64)
        self._oldest = 0
        self._nobody = self.rows.empty(capacity)
        self._actions = self.rows.empty(_ROWS, capacity)
        self._first = 0

    def restart(self, seeds: NDArray[np.int64]) -> None:
        """Begin the first episodes of all worlds, with `seeds` [W].

        Raises:
            SimulationError: unless there is a seed for each world, none negative.
        """
        self.seeds = require_seeds(seeds, self._num_worlds)
        self.tick = self._first = self._oldest = 0
        self._numbers = np.zeros(self._num_worlds, np.int64)
        self._begun = np.zeros(self._num_worlds, np.int64)

    def seed_of(self, world: int) -> int:
        """The seed that the world's episode began with."""
        return episode_seed(int(self.seeds[world]), int(self._numbers[world]))

    @property
    def episodes(self) -> NDArray[np.int64]:
        """[W]; numbers that no two episodes of any worlds share. A new array whenever one changes."""
        return self._worlds + self._numbers * self._num_worlds

    def begin_next(self, world: int) -> int:
        """The world begins its next episode at this tick; returns the seed of it."""
        was = int(self._begun[world])
        self._numbers[world] += 1
        self._begun[world] = self.tick
        if was == self._oldest:
            self._oldest = int(self._begun.min())
        return self.seed_of(world)

    @property
    def joint_seed(self) -> int:
        """The seed that all worlds began with when they last began together."""
        return joint_seed(self.seeds, self._oldest)

    @property
    def replayed_ticks(self) -> int:
        """Ticks since the oldest episode began, which are kept."""
        return self.tick - self._oldest

    def begin_all(self) -> None:
        """All worlds begin their next episodes at this tick, together."""
        self._numbers = self._numbers + 1
        self._begun = np.full(self._num_worlds, self.tick, np.int64)
        self._oldest = self.tick

    def number_next(self, worlds: NDArray[np.int64]) -> None:
        """These worlds have begun their next episodes by themselves: all since the last common beginning is kept."""
        self._numbers[worlds] += 1

    def overdue(self, limit: int) -> NDArray[np.bool_] | None:
        """[W]; true where an episode has lasted `limit` ticks; None where none has."""
        if self.tick < self._oldest + limit:
            return None
        overdue: NDArray[np.bool_] = self._begun <= self.tick - limit
        return overdue

    def add(self, slots: NDArray[np.int64], actions: NDArray[Any]) -> None:
        """The agents in `slots` [N] have carried out `actions` [N, ...] in this tick, which is over."""
        row = self.tick - self._first
        if row == len(self._actions):
            row = self._make_room()
        if len(slots) < self._capacity:
            self._actions[row] = self._nobody
        # Slots of several groups, one after the other, are in no order.
        self._actions[row, slots] = actions
        self.tick += 1

    def _make_room(self) -> int:
        """Drop rows that no episode needs any more, or double the room; returns the row of this tick."""
        kept = self._actions[self._oldest - self._first :].copy()
        rows = max(_ROWS, 2 * len(kept))
        self._actions = self.rows.empty(rows, self._capacity)
        self._actions[: len(kept)] = kept
        self._first = self._oldest
        return len(kept)

    def replay(self, world: int) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Tick by tick since the world's episode began: slots of the world whose agents acted [N], actions [N, ...]."""
        places = self._capacity // self._num_worlds
        slots = slice(world * places, (world + 1) * places)
        for row in self._actions[self._begun[world] - self._first : self.tick - self._first]:
            yield self._acted(row[slots])

    def replay_all(self) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Tick by tick since all worlds began together: slots of agents that acted [N], and actions [N, ...]."""
        for row in self._actions[self._oldest - self._first : self.tick - self._first]:
            yield self._acted(row)

    def _acted(self, row: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        present = self.rows.present(row)
        return present, row[present]

    def save_state(self) -> dict[str, NDArray[Any]]:
        """All of it, as copies."""
        return {
            "seeds": self.seeds.copy(),
            "tick": np.array(self.tick, np.int64),
            "numbers": self._numbers.copy(),
            "begun": self._begun.copy(),
            "actions": self._actions[self._oldest - self._first : self.tick - self._first].copy(),
        }

    def restore(self, state: SavedState) -> None:
        """Restore ticks, episodes, seeds and actions.

        Raises:
            SimulationError: if it is of other worlds, or contradicts itself.
        """
        worlds = (self._num_worlds,)
        numbers = saved_array(state, "numbers", dtype=np.int64, shape=worlds)
        begun = saved_array(state, "begun", dtype=np.int64, shape=worlds)
        shape = (None, self._capacity, *self.rows.shape)
        actions = saved_array(state, "actions", dtype=self.rows.dtype, shape=shape)
        seeds = require_seeds(saved_array(state, "seeds", dtype=np.int64, shape=worlds), self._num_worlds)
        tick, oldest = saved_number(state, "tick"), int(begun.min())
        if len(actions) != tick - oldest or int(begun.max()) > tick:
            raise SimulationError(
                f"expected the actions of the ticks {oldest} to {tick} in the saved state, got {len(actions)}"
            )
        self.seeds, self.tick, self._oldest, self._first = seeds, tick, oldest, oldest
        self._numbers, self._begun = numbers, begun
        self._actions = self.rows.empty(max(_ROWS, 2 * len(actions)), self._capacity)
        self._actions[: len(actions)] = actions


KIND = "wait"
"""The kind of every action of other people's worlds: that of waiting, which never binds for longer than its tick."""

HISTORY, SEEN = "history", "seen"
"""Parts of a saved state."""


def seen_state(observations: Observations, mask: NDArray[np.bool_] | None) -> dict[str, NDArray[Any]]:
    """Copy the present observations and mask, for `require_same`."""
    state: dict[str, NDArray[Any]] = {name: array.copy() for name, array in observations.items()}
    if mask is not None:
        state[ACTION_MASK] = mask.copy()
    return state


def require_same(
    environment: str, saved: SavedState, observations: Observations, mask: NDArray[np.bool_] | None, *, tick: int
) -> None:
    """Refuse to go on in worlds that did not come back to where they were.

    Args:
        environment: its name.
        saved: as `seen_state` gave it.
        observations: each [N, ...], now.
        mask: [N, A], now.
        tick: of the saved state.

    Raises:
        EnvironmentFaultError: if the agents see anything else than what was saved.
    """
    again = seen_state(observations, mask)
    same = saved.keys() == again.keys() and all(
        np.array_equal(array, again[name]) and array.dtype == again[name].dtype for name, array in saved.items()
    )
    if not same:
        raise not_repeatable(environment, "the same seeds and actions led to other observations", tick=tick)


def not_repeatable(environment: str, difference: str, *, tick: int, world: int | None = None) -> EnvironmentFaultError:
    """Make the error of an environment that does not do the same thing twice.

    Args:
        environment: its name.
        difference: between the first time and the second.
        tick: of the saved state.
        world: where it was seen; None: everywhere.
    """
    problem = f"{difference}: the environment is not deterministic and cannot be resumed exactly"
    return EnvironmentFaultError(environment, problem, world=world, tick=tick)
