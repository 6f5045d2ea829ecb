"""Any batch of any epoch, with no more in memory than the budget allows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.ragged import offsets_of
from townlet_trajectory.dataset.memory import (
    BatchT,
    LoadedBlock,
    LoadedBlocks,
    Unit,
    UnitName,
    block_memory,
    peak_bytes,
    window_bytes,
)
from townlet_trajectory.dataset.selection import ALL_STEPS, Selected, StepSelection, StepWeights
from townlet_trajectory.dataset.source import TrajectorySource, block_bounds
from townlet_trajectory.errors import DatasetError
from townlet_trajectory.storage.json import JsonValue, canonical_json

_Number = TypeVar("_Number", np.int64, np.float64)


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """What decides which batches a dataset hands out. `TrajectoryDataset` says what each means."""

    batch_size: int
    unit: UnitName
    seed: int
    shuffle: bool = True
    drop_last: bool = False
    memory_budget_bytes: int | None = None
    select: StepSelection = ALL_STEPS
    weights: StepWeights | None = None
    next_observations: bool

    def __post_init__(self) -> None:
        if type(self.batch_size) is not int or self.batch_size < 1:
            raise DatasetError(f"`batch_size` must be an integer >= 1, got {self.batch_size!r}")
        if self.unit not in ("steps", "trajectories"):
            raise DatasetError(f"`unit` must be `steps` or `trajectories`, got {self.unit!r}")
        if type(self.seed) is not int or self.seed < 0:
            raise DatasetError(f"`seed` must be an integer >= 0, got {self.seed!r}")
        if self.memory_budget_bytes is not None and self.memory_budget_bytes < 1:
            raise DatasetError(f"`memory_budget_bytes` must be at least 1, got {self.memory_budget_bytes!r}")
        if self.weights is not None and not self.shuffle:
            raise DatasetError("`weights` draw at random: they need `shuffle=True`")
        if self.next_observations and self.unit == "trajectories":
            raise DatasetError("`next_observations` are of steps: trajectories hold them in order already")

    @property
    def order(self) -> Order:
        """How units are ordered."""
        return Order(seed=self.seed, shuffle=self.shuffle, weighted=self.weights is not None)

    def document(self) -> dict[str, JsonValue]:
        """As a position's fingerprint covers it; weights are covered by what they come to."""
        weighted = self.weights is not None
        return {**vars(self), "select": self.select.document(), "weights": weighted}


class DatasetReader(Generic[BatchT]):
    """The batches of a source. The plan of one epoch and the blocks of one window are kept."""

    def __init__(
        self, source: TrajectorySource, options: DatasetOptions, selected: Selected, unit: Unit[BatchT]
    ) -> None:
        """Plan what may be in memory together.

        Raises:
            MemoryBudgetError: if one block is too much for the budget.
            DatasetError: if all weights are 0.
        """
        self.source = source
        self.options = options
        self.selected = selected
        self.unit = unit
        if selected.steps.any() and not selected.weights.any():
            raise DatasetError(f"`weights` of all {selected.steps.sum()} selected steps are 0")
        first = source.block_offsets[:-1]
        self.per_block = _sums_from(unit.per_trajectory(selected.steps), first)
        """[K]; units of each block."""
        self._weights = _sums_from(selected.weights, first)
        self._first_steps = offsets_of(source.table.lengths)[first]
        self.memory = block_memory(source)
        self.window_bytes: int | None = None
        """What blocks in memory may take together."""
        size = unit.batch_bytes(source, selected.steps, options.batch_size)
        read = np.flatnonzero(self.per_block)
        if options.memory_budget_bytes is not None:
            self.window_bytes = window_bytes(options.memory_budget_bytes, self.memory, read, size)
        self.peak_bytes = peak_bytes(self.window_bytes, self.memory, read, size)
        """The most that is held at a time."""
        self._epoch: tuple[int, EpochPlan] | None = None
        self._window: tuple[int, int, LoadedBlocks, NDArray[np.int64]] | None = None
        self._blocks: dict[int, LoadedBlock] = {}

    def __getstate__(self) -> dict[str, object]:
        """What another process is sent: everything but what was read."""
        return {**vars(self), "_window": None, "_blocks": {}}

    @property
    def num_units(self) -> int:
        """Units of an epoch."""
        return int(self.per_block.sum())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the source's content, the options, and what is selected."""
        selected = hashlib.sha256(self.selected.steps.tobytes() + self.selected.weights.tobytes()).hexdigest()
        document: JsonValue = {
            "source": self.source.fingerprint,
            "options": self.options.document(),
            "selected": selected,
        }
        return hashlib.sha256(canonical_json(document)).hexdigest()

    def batch(self, epoch: int, first: int, stop: int) -> BatchT:
        """Gather units of an epoch; blocks that are not in memory are read.

        Args:
            epoch: number of the epoch, >= 0.
            first, stop: numbers of units in the epoch's order, `first` below `stop`.
        """
        parts = [self._part(epoch, number, inside) for number, inside in self._plan(epoch).parts(first, stop)]
        return parts[0] if len(parts) == 1 else self.unit.concatenate(parts)

    def load(self, block: int) -> LoadedBlock:
        """Read a block. Raises `ArtifactError` if its file is missing or damaged; `DatasetError` if it is not what the
        source's table says."""
        first, stop = block_bounds(self.source, block)
        batch = self.source.load_block(block)
        if not np.array_equal(batch.lengths, self.source.table.lengths[first:stop]):
            raise DatasetError(f"block {block} of the source does not hold the trajectories that its table says")
        return LoadedBlock(batch=batch, first_step=int(self._first_steps[block]), first_trajectory=first)

    def units_of(
        self, blocks: Sequence[int], window: LoadedBlocks
    ) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
        """The selected units of a window that holds `blocks`, and their weights. Raises `DatasetError` if they are not
        those that were counted."""
        kept = np.concatenate([self.selected.steps[slice(*block_bounds(self.source, block))] > 0 for block in blocks])
        chosen = np.repeat(kept, window.lengths)
        chosen &= np.concatenate(
            [self.options.select.steps(batch.columns, batch.num_steps) for batch in window.batches]
        )
        numbers = self.unit.numbers(window, chosen)
        if len(numbers) != self.per_block[list(blocks)].sum():
            raise DatasetError(f"blocks {list(blocks)} of the source are not what they were when they were counted")
        if self.options.weights is None:
            return numbers, None
        rows = [self.options.weights.of(batch.columns, batch.num_steps) for batch in window.batches]
        return numbers, self.unit.weights(window, np.concatenate(rows) * chosen)[numbers]

    def _part(self, epoch: int, number: int, inside: slice) -> BatchT:
        window, order = self._opened(epoch, number)
        return self.unit.gather(window, order[inside])  # and let the window go, before another one is opened

    def _opened(self, epoch: int, number: int) -> tuple[LoadedBlocks, NDArray[np.int64]]:
        """A window and the order of its units; what it does not share with the one before is let go first."""
        if self._window is not None and self._window[:2] == (epoch, number):
            return self._window[2:]
        self._window = None
        plan = self._plan(epoch)
        blocks = plan.windows[number]
        self._blocks = {block: self._blocks[block] for block in self._blocks.keys() & set(blocks)}
        for block in blocks:
            if block not in self._blocks:
                self._blocks[block] = self.load(block)
        window = LoadedBlocks([self._blocks[block] for block in blocks])
        numbers, weights = self.units_of(blocks, window)
        count = int(plan.offsets[number + 1] - plan.offsets[number])
        order = self.options.order.draw(numbers, weights, count, epoch=epoch, window=number)
        self._window = (epoch, number, window, order)
        return window, order

    def _plan(self, epoch: int) -> EpochPlan:
        if self._epoch is None or self._epoch[0] != epoch:
            plan = plan_epoch(
                self.per_block,
                self._weights,
                self.memory.held,
                order=self.options.order,
                epoch=epoch,
                window_bytes=self.window_bytes,
            )
            self._epoch = (epoch, plan)
        return self._epoch[1]


def _sums_from(values: NDArray[_Number], first: NDArray[np.int64]) -> NDArray[_Number]:
    return np.add.reduceat(values, first) if len(first) else values


_BLOCK_ORDER, _WINDOW_COUNTS, _WINDOW_ORDER = range(3)


@dataclass(frozen=True, kw_only=True)
class Order:
    """How units (steps, or trajectories) are ordered."""

    seed: int
    shuffle: bool
    weighted: bool
    """Units are drawn with replacement, each in proportion to its weight. Needs `shuffle`."""

    def draw(
        self, numbers: NDArray[np.int64], weights: NDArray[np.float64] | None, count: int, *, epoch: int, window: int
    ) -> NDArray[np.int64]:
        """Order, or draw, the units of a window.

        Args:
            numbers: [n]; the units.
            weights: [n], not all 0; None: each unit comes once.
            count: how many to hand out; n without weights.
            epoch, window: which numbers of the seed's are used.

        Returns:
            [count]; units in the order in which they are handed out.
        """
        generator = self._generator(epoch, _WINDOW_ORDER, window)
        if weights is not None:
            sums = np.cumsum(weights)
            drawn = np.searchsorted(sums, generator.random(count) * sums[-1], side="right")
            # A product that is rounded up to the whole sum would be a unit behind the last.
            drawn = np.minimum(drawn, np.flatnonzero(weights)[-1])
        else:
            drawn = generator.permutation(len(numbers)) if self.shuffle else np.arange(count)
        drawn_numbers: NDArray[np.int64] = numbers[drawn]
        return drawn_numbers

    def of_blocks(self, blocks: NDArray[np.int64], *, epoch: int) -> NDArray[np.int64]:
        """The blocks in the order in which they are read."""
        return self._generator(epoch, _BLOCK_ORDER).permutation(blocks) if self.shuffle else blocks

    def counts(self, weights: NDArray[np.float64], total: int, *, epoch: int) -> NDArray[np.int64]:
        """Share out draws to windows.

        Args:
            weights: [W]; of each window, not all 0.
            total: how many draws there are.
            epoch: number of the epoch.

        Returns:
            [W]; draws of each window, `total` together.
        """
        generator = self._generator(epoch, _WINDOW_COUNTS)
        return generator.multinomial(total, weights / weights.sum()).astype(np.int64)

    def _generator(self, epoch: int, purpose: int, window: int = 0) -> np.random.Generator:
        sequence = np.random.SeedSequence(self.seed, spawn_key=(epoch, purpose, window))
        return np.random.Generator(np.random.PCG64(sequence))


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochPlan:
    """Which blocks are in memory together, and how many units each such window hands out."""

    windows: tuple[tuple[int, ...], ...]
    """Blocks of each of W windows, in reading order."""
    offsets: NDArray[np.int64]
    """[W + 1]; units `offsets[w] : offsets[w + 1]` of the epoch are of window w."""

    def parts(self, first: int, stop: int) -> Iterator[tuple[int, slice]]:
        """Where the units `first : stop` of the epoch are: windows, and a slice of what each hands out."""
        begin = int(np.searchsorted(self.offsets, first, side="right")) - 1
        end = int(np.searchsorted(self.offsets, stop, side="left"))
        for window in range(begin, end):
            start, behind = int(self.offsets[window]), int(self.offsets[window + 1])
            if start < behind:
                yield window, slice(max(first, start) - start, min(stop, behind) - start)


def plan_epoch(
    units: NDArray[np.int64],
    weights: NDArray[np.float64],
    held_bytes: NDArray[np.int64],
    *,
    order: Order,
    epoch: int,
    window_bytes: int | None,
) -> EpochPlan:
    """Shuffle the blocks, cut them into windows, and count what each window hands out.

    Blocks and then the units of a few blocks in memory are shuffled, not all units of the dataset: two-level shuffling
    as in CorgiPile (Xu et al. 2022, arXiv:2206.05830). With one window it is a shuffle of everything.

    Args:
        units: [K]; units in each block.
        weights: [K]; their summed weights, looked at where `order.weighted`.
        held_bytes: [K]; memory that each block takes.
        order: seed and kind of shuffle.
        epoch: number of the epoch, >= 0.
        window_bytes: what the blocks of a window may take together, at least the most of one block. None: all together.
    """
    wanted = (units > 0) & (weights > 0) if order.weighted else units > 0
    windows: list[tuple[int, ...]] = []
    current: list[int] = []
    held = 0
    for block in order.of_blocks(np.flatnonzero(wanted), epoch=epoch).tolist():
        held += int(held_bytes[block])
        if current and window_bytes is not None and held > window_bytes:
            windows.append(tuple(current))
            current, held = [], int(held_bytes[block])
        current.append(block)
    if current:
        windows.append(tuple(current))
    totals = [np.array([values[list(window)].sum() for window in windows]) for values in (units, weights)]
    counts = totals[0].astype(np.int64)
    if order.weighted and windows:
        counts = order.counts(totals[1].astype(np.float64), int(units.sum()), epoch=epoch)
    return EpochPlan(windows=tuple(windows), offsets=offsets_of(counts))
