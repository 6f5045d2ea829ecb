"""In which order an epoch reads: a pure function of seed and epoch, worked out without reading anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.ragged import offsets_of

_BLOCK_ORDER, _WINDOW_COUNTS, _WINDOW_ORDER = range(3)


@dataclass(frozen=True, kw_only=True)
class Order:
    """How units (steps, or trajectories) are ordered."""

    seed: int
    shuffle: bool
    weighted: bool
    """Units are drawn with replacement, each in proportion to its weight. Needs `shuffle`."""

    def draw(
        self,
        numbers: NDArray[np.int64],
        weights: NDArray[np.float64] | None,
        count: int,
        *,
        epoch: int,
        window: int,
    ) -> NDArray[np.int64]:
        """`count` of the units `numbers` [n] of a window, in the order in which they are handed out."""
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
        """[W]; how many of `total` draws fall into each window, given its weight [W]."""
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
