"""Views of a dataset for `torch.utils.data.DataLoader` and its like: numpy in, numpy out.

- `DataLoader(EpochView(dataset, epoch), batch_size=None)`: the dataset's own batches of one epoch, shuffled, selected
  and within its memory budget. For datasets of any size, and with workers, each of which holds a window of its own.
- `DataLoader(StepView(dataset), batch_size=256, shuffle=True)`: steps in an order that the loader chooses, put together
  one by one. `batch_size=None, sampler=BatchSampler(RandomSampler(view), 256, drop_last=False)` does the same and
  gathers whole batches, which is many times faster. Steps of a dataset that is larger than its budget, in any order,
  mean reading blocks again and again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.ragged import offsets_of
from townlet_trajectory.data.steps import StepBatch
from townlet_trajectory.dataset.dataset import TrajectoryDataset
from townlet_trajectory.dataset.memory import Arrays, BatchT, LoadedBlocks
from townlet_trajectory.errors import DatasetError


class EpochView(Generic[BatchT]):
    """The batches of one epoch by their number, as arrays by name (`trajectories` are padded, with a `mask`)."""

    def __init__(self, dataset: TrajectoryDataset[BatchT], epoch: int) -> None:
        self._dataset = dataset
        self._epoch = epoch

    def __len__(self) -> int:
        """Batches."""
        return len(self._dataset)

    def __getitem__(self, number: int) -> Arrays:
        """Batch `number`; `IndexError` if there is no such batch; `ArtifactError` if a block cannot be read."""
        return self._dataset.reader.unit.arrays(self._dataset.batch(self._epoch, number))


class StepView:
    """The selected steps of a dataset by number, in the order of its sources.

    As many blocks as the memory budget allows beside the batches stay in memory; the least recently used goes.
    """

    def __init__(self, dataset: TrajectoryDataset[StepBatch]) -> None:
        """See the steps of `dataset`.

        Raises:
            DatasetError: if it hands out trajectories, or has weights (which steps are drawn is up to the loader here).
        """
        options = dataset.reader.options
        if options.unit != "steps" or options.weights is not None:
            raise DatasetError("a view of steps must be of a dataset with `unit='steps'` and without weights")
        self._reader = dataset.reader
        self._offsets = offsets_of(dataset.reader.per_block)
        self._windows: dict[int, tuple[LoadedBlocks, NDArray[np.int64]]] = {}

    def __getstate__(self) -> dict[str, object]:
        """What another process is sent: everything but what was read."""
        return {**vars(self), "_windows": {}}

    def __len__(self) -> int:
        """Steps."""
        return int(self._offsets[-1])

    def __getitem__(self, index: int | Sequence[int] | NDArray[np.int64]) -> Arrays:
        """One step, its arrays without a leading axis; or, for several numbers, a batch of them in that order. Raises
        `IndexError` if a number is not in [0, steps); `ArtifactError` if a block cannot be read."""
        numbers = np.asarray(index, np.int64)
        arrays = self._reader.unit.arrays(self.gather(np.atleast_1d(numbers)))
        return arrays if numbers.ndim else _rows(arrays, 1)[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Arrays]:
        """The steps one by one, as a loader's own collation takes them."""
        return _rows(self[indices], len(indices))

    def gather(self, numbers: NDArray[np.int64]) -> StepBatch:
        """The steps `numbers` [N], in that order. Raises `IndexError` if a number is not in [0, steps); `ArtifactError`
        if a block cannot be read."""
        if len(numbers) == 0 or numbers.min() < 0 or numbers.max() >= len(self):
            raise IndexError(f"steps must be numbers in [0, {len(self)}), got {numbers}")
        block_of = np.searchsorted(self._offsets, numbers, side="right") - 1
        order = np.argsort(block_of, kind="stable")
        blocks, first = np.unique(block_of[order], return_index=True)
        parts = []
        for block, chosen in zip(blocks.tolist(), np.split(order, first[1:]), strict=True):
            window, rows = self._opened(block)
            parts.append(self._reader.unit.gather(window, rows[numbers[chosen] - self._offsets[block]]))
        if len(parts) == 1:
            return parts[0]
        return StepBatch.concatenate(parts).take(np.argsort(order))

    def _opened(self, block: int) -> tuple[LoadedBlocks, NDArray[np.int64]]:
        """A block, and the rows of it that are selected."""
        if block not in self._windows:
            self._make_room(int(self._reader.memory.held[block]))
            window = LoadedBlocks([self._reader.load(block)])
            rows, _ = self._reader.units_of([block], window)
        else:
            window, rows = self._windows.pop(block)
        self._windows[block] = (window, rows)
        return window, rows

    def _make_room(self, size: int) -> None:
        held = self._reader.memory.held
        while self._windows and self._reader.window_bytes is not None:
            if size + sum(int(held[block]) for block in self._windows) <= self._reader.window_bytes:
                break
            del self._windows[next(iter(self._windows))]


def _rows(arrays: Arrays, size: int) -> list[Arrays]:
    """Each row of a batch by itself. Collation takes samples, not batches: that is why there is one dict for each."""
    columns: list[Iterable[object]] = [
        _rows(dict(value), size) if isinstance(value, dict) else value for value in arrays.values()
    ]
    return [dict(zip(arrays, row, strict=True)) for row in zip(*columns, strict=True)]
