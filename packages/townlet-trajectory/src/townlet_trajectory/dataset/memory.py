"""Blocks in memory: how much they take, worked out before anything is read, and batches gathered out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.ragged import offsets_of, padded_rows, step_mask
from townlet_trajectory.data.schema import ArraySpec, TrajectorySchema
from townlet_trajectory.data.steps import StepBatch
from townlet_trajectory.data.trajectory import ROW_SPECS, TRAJECTORY_FIELDS, TRAJECTORY_SPECS, Array
from townlet_trajectory.dataset.source import TrajectorySource
from townlet_trajectory.errors import MemoryBudgetError

BLOCK_BYTES = 16 << 20
"""Of decoded columns in a block, about, where a source is cut into blocks as it is read."""

INDEX_BYTES = 32
"""Per row of a window: its number, its place in the order, its weight and their sums (8 bytes each)."""

BATCHES_HELD = 3
"""The batch that is handed out, the one before it, and the parts that it is put together from."""

_REWARD_AND_TICK = 4 + 8
_TABLE_ENTRY = 5 * 8 + 2
"""Offset, agent id, world, episode, length, and how it ended."""
_STEP_NUMBERS = 2 * 8 + 2
"""`steps`, `trajectories`, `terminated`, `truncated` of a step batch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockMemory:
    """Bytes of K blocks."""

    held: NDArray[np.int64]
    """[K]; while a block is in a window: decoded, or as it is stored where that is more (what is not compressed is
    used in place), its columns joined with those of other blocks, and the index of its rows."""
    loading: NDArray[np.int64]
    """[K]; beyond that while it is loaded: what is stored, and as much again as is decoded. Counted twice, because
    allocators keep about as much of what was freed before (1 GB of lz4 shards of 16 MB through 256 MB: 281 MB above
    the imports when it was counted once)."""


def block_memory(source: TrajectorySource) -> BlockMemory:
    """What each block of `source` takes."""
    rows, decoded = _rows(source), decoded_bytes(source)
    encoded = source.encoded_bytes
    joined = rows * (step_bytes(source.schema) - _row_bytes(source.schema.observations) + INDEX_BYTES)
    return BlockMemory(held=np.maximum(decoded, encoded) + joined, loading=2 * (encoded + decoded))


def decoded_bytes(source: TrajectorySource) -> NDArray[np.int64]:
    """[K]; bytes of the columns of each block."""
    trajectories: NDArray[np.int64] = np.diff(source.block_offsets)
    return _rows(source) * step_bytes(source.schema) + trajectories * trajectory_bytes(source.schema)


def _rows(source: TrajectorySource) -> NDArray[np.int64]:
    """[K]; rows of each block."""
    return np.diff(offsets_of(source.table.lengths)[source.block_offsets])


def step_bytes(schema: TrajectorySchema) -> int:
    """Bytes of one decoded step: observations, decision columns, reward and tick."""
    return _row_bytes(schema.observations) + _row_bytes(schema.decisions) + _REWARD_AND_TICK


def trajectory_bytes(schema: TrajectorySchema) -> int:
    """Bytes of what a batch holds once per trajectory."""
    return _row_bytes(schema.observations) + _TABLE_ENTRY


def step_batch_bytes(schema: TrajectorySchema, *, with_next: bool) -> int:
    """Bytes of each step of a step batch."""
    following = _row_bytes(schema.observations) if with_next else 0
    return step_bytes(schema) + following + _STEP_NUMBERS


def window_bytes(budget_bytes: int, memory: BlockMemory, blocks: NDArray[np.int64], batch_bytes: int) -> int:
    """What the blocks of one window may take together, so that everything that is held stays within the budget.

    Args:
        budget_bytes: for blocks in memory, the one that is being loaded, and batches.
        memory: of all blocks.
        blocks: the blocks that are read.
        batch_bytes: of the largest batch.

    Raises:
        MemoryBudgetError: if one block at a time is too much.
    """
    held, loading = (int(sizes[blocks].max(initial=0)) for sizes in (memory.held, memory.loading))
    needed = held + loading + BATCHES_HELD * batch_bytes
    if needed > budget_bytes:
        held_batches = f"{BATCHES_HELD} batches are held, {batch_bytes} bytes each"
        reason = f"one block takes {held} bytes, loading it {loading} more, and {held_batches}"
        raise MemoryBudgetError(budget_bytes, needed, reason)
    return budget_bytes - loading - BATCHES_HELD * batch_bytes


def peak_bytes(window: int | None, memory: BlockMemory, blocks: NDArray[np.int64], batch_bytes: int) -> int:
    """The most that is held at a time: a window's blocks, the one that is being loaded, and batches.

    Args:
        window: what the blocks of a window may take together. None: all of them are in one window.
        memory: of all blocks.
        blocks: the blocks that are read.
        batch_bytes: of the largest batch.
    """
    held, loading = int(memory.held[blocks].sum()), int(memory.loading[blocks].max(initial=0))
    return (held if window is None else min(held, window)) + loading + BATCHES_HELD * batch_bytes


def _row_bytes(specs: Mapping[str, ArraySpec]) -> int:
    return sum(spec.row_bytes for spec in specs.values())


_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedBlock:
    """A block, and where it is in its source."""

    batch: TrajectoryBatch
    first_step: int
    """Number of its first row among all rows of the source."""
    first_trajectory: int
    """Row of its first trajectory in the source's table."""


class LoadedBlocks:
    """At least one block, seen as one: its rows and trajectories are counted from 0 through all blocks.

    Observations stay where they were read; the other columns, which are small, are joined: a call for each column of
    each block would cost more than the gathering itself.
    """

    def __init__(self, blocks: Sequence[LoadedBlock]) -> None:
        self.batches = tuple(block.batch for block in blocks)
        batches = self.batches
        self._row_offsets = offsets_of(np.array([batch.num_steps for batch in batches]))
        self._trajectory_offsets = offsets_of(np.array([len(batch) for batch in batches]))
        self.lengths = _joined([batch.lengths for batch in batches])
        """[B]; steps of each trajectory."""
        self.starts = offsets_of(self.lengths)[:-1]
        """[B]; the row at which each trajectory begins."""
        self._columns = {name: _joined([batch.columns[name] for batch in batches]) for name in batches[0].columns}
        self._rows = {name: _joined([vars(batch)[name] for batch in batches]) for name in ROW_SPECS}
        self._trajectories = {name: _joined([vars(batch)[name] for batch in batches]) for name in TRAJECTORY_FIELDS}
        self._step_shift = np.array([block.first_step for block in blocks]) - self._row_offsets[:-1]
        self._trajectory_shift = np.array([block.first_trajectory for block in blocks]) - self._trajectory_offsets[:-1]

    def steps(self, rows: NDArray[np.int64], *, with_next: bool) -> StepBatch:
        """The steps at `rows` [N] of the window, in that order, repeated where a row is."""
        places = _Places(self._row_offsets, rows)
        trajectories = np.searchsorted(self.starts, rows, side="right") - 1
        last = rows == self.starts[trajectories] + self.lengths[trajectories] - 1
        return StepBatch(
            schema=self.batches[0].schema,
            observations=places.take_all([batch.observations for batch in self.batches]),
            next_observations=self._next_observations(rows, trajectories, last) if with_next else {},
            columns={name: array.take(rows, axis=0) for name, array in self._columns.items()},
            terminated=last & self._trajectories["terminated"].take(trajectories),
            truncated=last & self._trajectories["truncated"].take(trajectories),
            steps=rows + self._step_shift[places.block_of],
            trajectories=trajectories + self._trajectory_shift[places.block_of],
            **{name: array.take(rows) for name, array in self._rows.items()},
        )

    def trajectories(self, numbers: NDArray[np.int64]) -> TrajectoryBatch:
        """The trajectories `numbers` [B] of the window, in that order, repeated where a number is."""
        offsets = offsets_of(self.lengths[numbers])
        rows = np.arange(offsets[-1]) + np.repeat(self.starts[numbers] - offsets[:-1], np.diff(offsets))
        return TrajectoryBatch(
            schema=self.batches[0].schema,
            offsets=offsets,
            observations=_Places(self._row_offsets, rows).take_all([batch.observations for batch in self.batches]),
            final_observations=self._final_observations(numbers),
            columns={name: array.take(rows, axis=0) for name, array in self._columns.items()},
            **{name: array.take(rows) for name, array in self._rows.items()},
            **{name: array.take(numbers) for name, array in self._trajectories.items()},
        )

    def _next_observations(
        self, rows: NDArray[np.int64], trajectories: NDArray[np.int64], last: NDArray[np.bool_]
    ) -> dict[str, Array]:
        """The observations of the rows behind, and after a last row the final one."""
        found = _Places(self._row_offsets, rows + ~last).take_all([batch.observations for batch in self.batches])
        if last.any():
            final = self._final_observations(trajectories[last])
            for name, observations in found.items():
                observations[last] = final[name]
        return found

    def _final_observations(self, numbers: NDArray[np.int64]) -> dict[str, Array]:
        places = _Places(self._trajectory_offsets, numbers)
        return places.take_all([batch.final_observations for batch in self.batches])


class _Places:
    """Rows counted through several blocks, found in each of them.

    Args:
        offsets: [K + 1]; where each block begins.
        numbers: [N]; rows.
    """

    def __init__(self, offsets: NDArray[np.int64], numbers: NDArray[np.int64]) -> None:
        self.block_of = np.searchsorted(offsets, numbers, side="right") - 1
        """[N]."""
        inside = numbers - offsets[self.block_of]
        self._inside = inside
        order = np.argsort(self.block_of, kind="stable")
        bounds = np.searchsorted(self.block_of[order], np.arange(len(offsets)))
        parts = [(block, order[bounds[block] : bounds[block + 1]]) for block in range(len(offsets) - 1)]
        self._parts = [(block, chosen, inside[chosen]) for block, chosen in parts if len(chosen)]

    def take_all(self, blocks: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        """The rows of each column [N, ...], given the columns of each block, each [rows of the block, ...]."""
        return {name: self._take([columns[name] for columns in blocks]) for name in blocks[0]}

    def _take(self, arrays: Sequence[Array]) -> Array:
        if len(self._parts) == 1:
            return arrays[self._parts[0][0]].take(self._inside, axis=0)
        taken = np.empty((len(self._inside), *arrays[0].shape[1:]), arrays[0].dtype)
        for block, chosen, inside in self._parts:
            taken[chosen] = arrays[block].take(inside, axis=0)
        return taken


def _joined(arrays: Sequence[NDArray[_Scalar]]) -> NDArray[_Scalar]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


UnitName = Literal["steps", "trajectories"]

BatchT = TypeVar("BatchT")
"""`StepBatch` or `TrajectoryBatch`."""

Arrays = dict[str, Array | dict[str, Array]]
"""A batch as a mapping of arrays, and of mappings of arrays."""


class Unit(Protocol[BatchT]):
    """One of the two kinds of batches."""

    def per_trajectory(self, selected: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count the units of each trajectory, given its selected steps [B]: [B]."""

    def numbers(self, window: LoadedBlocks, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The units of a window, given which of its rows are selected."""

    def weights(self, window: LoadedBlocks, row_weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The weights of these units, given those of the selected rows, 0 elsewhere."""

    def gather(self, window: LoadedBlocks, numbers: NDArray[np.int64]) -> BatchT:
        """A batch of units of a window."""

    def concatenate(self, batches: Sequence[BatchT]) -> BatchT:
        """One batch of several."""

    def arrays(self, batch: BatchT) -> Arrays:
        """Return the content of a batch as arrays by name."""

    def batch_bytes(self, source: TrajectorySource, selected: NDArray[np.int64], batch_size: int) -> int:
        """Compute the most bytes that a batch takes.

        Args:
            source: with the lengths of the trajectories.
            selected: [B]; selected steps of each trajectory.
            batch_size: units of a batch.
        """


@dataclass(frozen=True, kw_only=True)
class StepUnit:
    """Steps of any trajectories, mixed."""

    with_next: bool

    def per_trajectory(self, selected: NDArray[np.int64]) -> NDArray[np.int64]:
        return selected

    def numbers(self, window: LoadedBlocks, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.flatnonzero(chosen)

    def weights(self, window: LoadedBlocks, row_weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return row_weights

    def gather(self, window: LoadedBlocks, numbers: NDArray[np.int64]) -> StepBatch:
        return window.steps(numbers, with_next=self.with_next)

    def concatenate(self, batches: Sequence[StepBatch]) -> StepBatch:
        return StepBatch.concatenate(batches)

    def arrays(self, batch: StepBatch) -> Arrays:
        """The fields of a `StepBatch` by name."""
        following: Arrays = {"next_observations": dict(batch.next_observations)} if self.with_next else {}
        return {"observations": dict(batch.observations), **following, "columns": dict(batch.columns), **batch.rows()}

    def batch_bytes(self, source: TrajectorySource, selected: NDArray[np.int64], batch_size: int) -> int:
        """See `Unit`."""
        num_steps = min(batch_size, int(selected.sum()))
        return num_steps * step_batch_bytes(source.schema, with_next=self.with_next)


@dataclass(frozen=True, kw_only=True)
class TrajectoryUnit:
    """Whole trajectories: those with at least one selected step."""

    with_replacement: bool
    """Whether a batch may hold a trajectory more than once."""

    def per_trajectory(self, selected: NDArray[np.int64]) -> NDArray[np.int64]:
        return (selected > 0).astype(np.int64)

    def numbers(self, window: LoadedBlocks, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.flatnonzero(np.logical_or.reduceat(chosen, window.starts))

    def weights(self, window: LoadedBlocks, row_weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.add.reduceat(row_weights, window.starts)

    def gather(self, window: LoadedBlocks, numbers: NDArray[np.int64]) -> TrajectoryBatch:
        return window.trajectories(numbers)

    def concatenate(self, batches: Sequence[TrajectoryBatch]) -> TrajectoryBatch:
        return TrajectoryBatch.concatenate(batches)

    def arrays(self, batch: TrajectoryBatch) -> Arrays:
        """Rows padded with zeros to [B, T, ...], and `mask` [B, T], true where there is a step; all writable."""
        mask = step_mask(batch.offsets)
        return {
            "observations": {name: padded_rows(array, mask) for name, array in batch.observations.items()},
            "final_observations": {name: array.copy() for name, array in batch.final_observations.items()},
            "columns": {name: padded_rows(array, mask) for name, array in batch.columns.items()},
            **{name: padded_rows(vars(batch)[name], mask) for name in ROW_SPECS},
            "mask": mask,
            "lengths": batch.lengths,
            **{name: vars(batch)[name].copy() for name in TRAJECTORY_SPECS},
        }

    def batch_bytes(self, source: TrajectorySource, selected: NDArray[np.int64], batch_size: int) -> int:
        """See `Unit`."""
        longest = np.sort(source.table.lengths[selected > 0])[::-1][:batch_size]
        if self.with_replacement:
            longest = np.repeat(longest[:1], len(longest))
        return int(longest.sum()) * step_bytes(source.schema) + len(longest) * trajectory_bytes(source.schema)
