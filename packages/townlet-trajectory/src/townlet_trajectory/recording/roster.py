"""Which trajectory every present agent is in, and how trajectories ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.checks import expected_columns, is_finite, refuse_column, refuse_infinite, refuse_names
from townlet_trajectory.data.schema import ACTION_MASK, TrajectorySchema
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.errors import ContinuityError, ShapeError

_INT64 = np.dtype(np.int64)
_OBJECT = np.dtype(np.object_)
_Agents = tuple[NDArray[np.int64], NDArray[np.object_], NDArray[np.int64], NDArray[np.int64]]
"""Slots, agent ids, worlds and episodes, each [N]."""


class Presence(NamedTuple):
    """Some agents [N], by ascending slot. Never written to: ticks on which nobody comes or goes share one."""

    slots: NDArray[np.int64]
    agent_ids: NDArray[np.object_]
    worlds: NDArray[np.int64]
    episodes: NDArray[np.int64]
    numbers: NDArray[np.int64]
    """Of their trajectories."""

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Presence:
        """Those in `rows` [K], in that order, or where `rows` [N] is true."""
        slots, agent_ids, worlds, episodes, numbers = self
        return Presence(slots[rows], agent_ids[rows], worlds[rows], episodes[rows], numbers[rows])


NOBODY = Presence(np.empty(0, np.int64), np.empty(0, object), *(np.empty(0, np.int64) for _ in range(3)))


class Roster:
    """Numbers trajectories in the order in which they begin, and remembers who is in those that go on.

    A tick on which nobody came, went or changed costs a comparison of bytes, however many agents there are.
    """

    def __init__(self) -> None:
        self._open = NOBODY
        self._key = _key(*NOBODY[:4])
        self._next_number = 0

    @property
    def num_open(self) -> int:
        """Trajectories that go on."""
        return len(self._open.slots)

    @property
    def open(self) -> Presence:
        """The agents in trajectories that go on."""
        return self._open

    @property
    def next_number(self) -> int:
        """Number of the trajectory that begins next."""
        return self._next_number

    def enter(
        self,
        slots: NDArray[np.int64],
        agent_ids: NDArray[np.object_],
        worlds: NDArray[np.int64],
        episodes: NDArray[np.int64],
    ) -> Presence:
        """Return the agents of a tick with the numbers of their trajectories; see `TrajectoryService.begin_tick`."""
        key = (slots.tobytes(), agent_ids.tobytes(), worlds.tobytes(), episodes.tobytes())
        if key != self._key:
            _check_rows(slots, agent_ids, worlds, episodes)
            self._change((slots, agent_ids, worlds, episodes))
            self._key = key
        return self._open

    def leave(self, rows: NDArray[np.int64]) -> None:
        """End the trajectories of some rows of the latest tick."""
        # A mask picks objects twice as fast as their numbers do.
        stays = np.ones(len(self._open.slots), np.bool_)
        stays[rows] = False
        self._open = self._open.take(stays)
        self._key = _key(*self._open[:4])

    def reset(self) -> None:
        """End all trajectories."""
        self._open = NOBODY
        self._key = _key(*NOBODY[:4])

    def _change(self, now: _Agents) -> None:
        before, (slots, agent_ids, worlds, episodes) = self._open, now
        rows = slots.searchsorted(before.slots)
        goes_on = np.zeros(len(slots), np.bool_)
        if len(rows):
            if rows[-1] >= len(slots):
                self._refuse_vanished(slots)
            goes_on[rows] = True
            there = slots[goes_on], agent_ids[goes_on], worlds[goes_on], episodes[goes_on]
            # Equal addresses mean equal ids, for `before` keeps them alive.
            if self._key != _key(*there):
                self._require_unchanged(slots, there)
        numbers = np.empty(len(slots), np.int64)
        numbers[goes_on] = before.numbers
        first, self._next_number = self._next_number, self._next_number + len(slots) - len(rows)
        numbers[~goes_on] = np.arange(first, self._next_number)
        # The copy of the ids keeps them alive, so that equal addresses mean equal ids at the next tick too.
        self._open = Presence(slots.copy(), agent_ids.copy(), worlds.copy(), episodes.copy(), numbers)

    def _refuse_vanished(self, slots: NDArray[np.int64]) -> NoReturn:
        gone = self._open.agent_ids[~np.isin(self._open.slots, slots)]
        raise ContinuityError(f"agents {gone.tolist()} vanished without `terminated` or `truncated`")

    def _require_unchanged(self, slots: NDArray[np.int64], there: _Agents) -> None:
        before, (same_slots, agent_ids, worlds, episodes) = self._open, there
        if not np.array_equal(before.slots, same_slots):
            self._refuse_vanished(slots)
        changed = (before.agent_ids != agent_ids) | (before.worlds != worlds) | (before.episodes != episodes)
        if changed.any():
            row = int(changed.argmax())
            was = (before.agent_ids[row], int(before.worlds[row]), int(before.episodes[row]))
            now = (agent_ids[row], int(worlds[row]), int(episodes[row]))
            raise ContinuityError(
                f"slot {before.slots[row]}: (agent id, world, episode) changed from {was} to {now} "
                "without `terminated` or `truncated`"
            )


def _key(slots: Array, agent_ids: Array, worlds: Array, episodes: Array) -> tuple[bytes, bytes, bytes, bytes]:
    return slots.tobytes(), agent_ids.tobytes(), worlds.tobytes(), episodes.tobytes()


def _check_rows(slots: NDArray[np.int64], agent_ids: Array, worlds: Array, episodes: Array) -> None:
    shape = (slots.size,)
    columns: tuple[tuple[str, Array, np.dtype[np.generic]], ...] = (
        ("slots", slots, _INT64),
        ("agent_ids", agent_ids, _OBJECT),
        ("worlds", worlds, _INT64),
        ("episodes", episodes, _INT64),
    )
    for name, column, dtype in columns:
        if column.dtype != dtype or column.shape != shape:
            raise ShapeError(f"`{name}` must be {dtype} of shape {shape}, got {column.dtype} of shape {column.shape}")
    if slots.size and (slots[0] < 0 or np.count_nonzero(slots[1:] > slots[:-1]) != slots.size - 1):
        raise ShapeError(f"`slots` must be at least 0 and ascend strictly, got {slots}")


class Ended(NamedTuple):
    """Trajectories [E] that ended, at one tick or at several."""

    tick: int
    """The last one."""
    numbers: NDArray[np.int64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_observations: Mapping[str, Array]


class Endings:
    """The trajectories that ended, tick by tick."""

    def __init__(self, schema: TrajectorySchema) -> None:
        self._specs = schema.observations
        self._expected = expected_columns(schema.observations, finite=True)
        self._ticks: deque[Ended] = deque()

    def add(self, ended: Ended) -> None:
        """Add what ended at a tick, the latest one."""
        self._ticks.append(ended)

    def drop_before(self, tick: int) -> None:
        """Forget what ended before `tick`."""
        while self._ticks and self._ticks[0].tick < tick:
            self._ticks.popleft()

    def clear(self) -> None:
        """Forget everything."""
        self._ticks.clear()

    def all(self) -> Ended:
        """Everything, in the order it was added."""
        none = {name: np.empty((0, *spec.shape), spec.dtype) for name, spec in self._specs.items()}
        nobody = Ended(-1, np.empty(0, np.int64), np.empty(0, np.bool_), np.empty(0, np.bool_), none)
        ticks, numbers, terminated, truncated, finals = zip(nobody, *self._ticks, strict=True)
        return Ended(
            ticks[-1],
            np.concatenate(numbers),
            np.concatenate(terminated),
            np.concatenate(truncated),
            {name: np.concatenate([final[name] for final in finals]) for name in self._specs},
        )

    def checked(
        self,
        tick: int,
        numbers: NDArray[np.int64],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        final_rows: NDArray[np.int64],
        final_observations: Mapping[str, Array],
    ) -> Ended:
        """Return what ended of the trajectories `numbers` [N], not added yet; see `record_outcome` of the recorder."""
        rows = (terminated | truncated).nonzero()[0]
        if rows.tobytes() != final_rows.tobytes():
            raise ShapeError(f"`final_rows` must be the rows that ended, {rows}, got {final_rows}")
        mask = self._specs.get(ACTION_MASK)
        if mask is not None and ACTION_MASK not in final_observations:
            final_observations = {**final_observations, ACTION_MASK: np.ones((len(rows), *mask.shape), np.bool_)}
        if final_observations.keys() != self._specs.keys():
            refuse_names("final_observations", final_observations, self._specs)
        for name, dtype, row_shape, must_be_finite in self._expected:
            column, shape = final_observations[name], (len(rows), *row_shape)
            if column.dtype != dtype or column.shape != shape:
                refuse_column(name, column, dtype, shape)
            if must_be_finite and not is_finite(column):
                refuse_infinite(name, column, tick)
        copies = {name: column.copy() for name, column in final_observations.items()}
        return Ended(tick, numbers[rows], terminated[rows], truncated[rows], copies)
