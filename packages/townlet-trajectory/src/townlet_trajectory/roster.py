"""Which trajectory every present agent is in: agents are slots, a slot freed and taken again is a new trajectory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import ContinuityError, ShapeError
from townlet_trajectory.trajectory import Array

MAX_SLOTS = 1 << 24
"""Slots are below this; per-slot state is kept in arrays as long as the highest slot seen."""

_INT64 = np.dtype(np.int64)
_OBJECT = np.dtype(np.object_)
_NONE: NDArray[np.int64] = np.empty(0, np.int64)


class Roster:
    """Numbers trajectories from 0 in the order in which they begin, and remembers whose they are.

    A tick on which nobody came, went or changed costs a comparison of bytes, however many agents there are.
    """

    def __init__(self) -> None:
        self._number_of_slot: NDArray[np.int64] = np.full(1, -1, np.int64)
        self._id_of_slot: NDArray[np.object_] = np.empty(1, np.object_)
        self._world_of_slot: NDArray[np.int64] = np.zeros(1, np.int64)
        self._episode_of_slot: NDArray[np.int64] = np.zeros(1, np.int64)
        self._num_open = 0
        self._key: tuple[bytes, ...] | None = None
        self._present: NDArray[np.int64] = _NONE
        self._present_slots: NDArray[np.int64] = _NONE
        self._present_ids: NDArray[np.object_] = np.empty(0, np.object_)
        self._slots: list[int] = []
        self._agent_ids: list[str] = []
        self._worlds: list[int] = []
        self._episodes: list[int] = []

    def __len__(self) -> int:
        """Trajectories numbered and not yet forgotten."""
        return len(self._slots)

    @property
    def num_open(self) -> int:
        """Trajectories that go on."""
        return self._num_open

    @property
    def present(self) -> NDArray[np.int64]:
        """[N] trajectory number of each row of the latest tick."""
        return self._present

    def enter(
        self,
        slots: NDArray[np.int64],
        agent_ids: NDArray[np.object_],
        worlds: NDArray[np.int64],
        episodes: NDArray[np.int64],
    ) -> None:
        """Take in the agents of a tick, all [N]; those that are in no open trajectory begin one.

        Raises:
            ShapeError: if an array is not one-dimensional and N long, or slots do not ascend strictly.
            ContinuityError: if the agent of an open trajectory is missing or is another.
        """
        key = (slots.tobytes(), agent_ids.tobytes(), worlds.tobytes(), episodes.tobytes())
        if key == self._key:
            return
        _check_rows(slots, agent_ids, worlds, episodes)
        if slots.size and slots[-1] >= len(self._number_of_slot):
            self._lengthen(int(slots[-1]) + 1)
        numbers = self._number_of_slot[slots]
        new = (numbers < 0).nonzero()[0]
        if len(slots) - len(new) != self._num_open:
            self._refuse_vanished(slots)
        changed = self._id_of_slot[slots] != agent_ids
        changed |= self._world_of_slot[slots] != worlds
        changed |= self._episode_of_slot[slots] != episodes
        changed[new] = False
        if np.count_nonzero(changed):
            self._refuse_changed(slots, agent_ids, worlds, episodes, int(changed.argmax()))
        if new.size:
            self._begin(numbers, new, slots, agent_ids, worlds, episodes)
        self._present, self._present_slots = numbers, slots.copy()
        # The copy keeps the id objects alive, so equal addresses in `key` mean equal ids.
        self._present_ids, self._key = agent_ids.copy(), key

    def leave(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """End the trajectories of some rows of the latest tick, and return their numbers."""
        self._number_of_slot[self._present_slots[rows]] = -1
        self._num_open -= len(rows)
        self._key = None
        return self._present[rows]

    def reset(self) -> None:
        """Forget all trajectories, those that go on too."""
        self._number_of_slot.fill(-1)
        self._id_of_slot.fill(None)
        self._num_open, self._key = 0, None
        self._present, self._present_slots = _NONE, _NONE
        self._present_ids = np.empty(0, np.object_)
        self._slots, self._agent_ids, self._worlds, self._episodes = [], [], [], []

    def restart(self) -> None:
        """Forget the trajectories that have ended and number those that go on from 0, in the order of their rows."""
        slots = self._present_slots[self._number_of_slot[self._present_slots] == self._present]
        agent_ids, worlds = self._id_of_slot[slots], self._world_of_slot[slots]
        episodes = self._episode_of_slot[slots]
        self.reset()
        self.enter(slots, agent_ids, worlds, episodes)

    def compact(self, used: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Keep only the trajectories marked in `used` [len(self)]; return the new number of each old one."""
        labels = np.cumsum(used) - 1
        kept = np.flatnonzero(used).tolist()
        self._slots = [self._slots[number] for number in kept]
        self._agent_ids = [self._agent_ids[number] for number in kept]
        self._worlds = [self._worlds[number] for number in kept]
        self._episodes = [self._episodes[number] for number in kept]
        self._present = labels[self._present]
        taken = self._number_of_slot >= 0
        self._number_of_slot[taken] = labels[self._number_of_slot[taken]]
        return labels

    def slots(self) -> NDArray[np.int64]:
        """Slot of each trajectory, by number."""
        return np.array(self._slots, np.int64)

    def worlds(self) -> NDArray[np.int64]:
        """World of each trajectory, by number."""
        return np.array(self._worlds, np.int64)

    def episodes(self) -> NDArray[np.int64]:
        """Episode of each trajectory, by number."""
        return np.array(self._episodes, np.int64)

    def agent_ids(self) -> NDArray[np.object_]:
        """Agent id of each trajectory, by number."""
        ids = np.empty(len(self._agent_ids), np.object_)
        ids[:] = self._agent_ids
        return ids

    def _begin(
        self,
        numbers: NDArray[np.int64],
        new: NDArray[np.int64],
        slots: NDArray[np.int64],
        agent_ids: NDArray[np.object_],
        worlds: NDArray[np.int64],
        episodes: NDArray[np.int64],
    ) -> None:
        """Number the rows `new`, in `numbers` too."""
        numbers[new] = np.arange(len(self), len(self) + len(new))
        taken = slots[new]
        self._number_of_slot[taken] = numbers[new]
        self._id_of_slot[taken] = agent_ids[new]
        self._world_of_slot[taken] = worlds[new]
        self._episode_of_slot[taken] = episodes[new]
        self._num_open += len(new)
        self._slots.extend(taken.tolist())
        self._agent_ids.extend(agent_ids[new].tolist())
        self._worlds.extend(worlds[new].tolist())
        self._episodes.extend(episodes[new].tolist())

    def _lengthen(self, needed: int) -> None:
        more = max(needed, 2 * len(self._number_of_slot)) - len(self._number_of_slot)
        self._number_of_slot = np.concatenate((self._number_of_slot, np.full(more, -1, np.int64)))
        self._id_of_slot = np.concatenate((self._id_of_slot, np.empty(more, np.object_)))
        self._world_of_slot = np.concatenate((self._world_of_slot, np.zeros(more, np.int64)))
        self._episode_of_slot = np.concatenate((self._episode_of_slot, np.zeros(more, np.int64)))

    def _refuse_vanished(self, slots: NDArray[np.int64]) -> None:
        was_open = self._number_of_slot[self._present_slots] == self._present
        gone = was_open & ~np.isin(self._present_slots, slots)
        raise ContinuityError(f"agents {self._present_ids[gone].tolist()} vanished without `terminated` or `truncated`")

    def _refuse_changed(
        self,
        slots: NDArray[np.int64],
        agent_ids: NDArray[np.object_],
        worlds: NDArray[np.int64],
        episodes: NDArray[np.int64],
        row: int,
    ) -> None:
        slot = int(slots[row])
        before = (self._id_of_slot[slot], int(self._world_of_slot[slot]), int(self._episode_of_slot[slot]))
        now = (agent_ids[row], int(worlds[row]), int(episodes[row]))
        raise ContinuityError(
            f"slot {slot}: (agent id, world, episode) changed from {before} to {now} "
            "without `terminated` or `truncated`"
        )


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
    if slots.size and (slots[0] < 0 or slots[-1] >= MAX_SLOTS or not (slots[1:] > slots[:-1]).all()):
        raise ShapeError(f"`slots` must ascend strictly within [0, {MAX_SLOTS}), got {slots}")
