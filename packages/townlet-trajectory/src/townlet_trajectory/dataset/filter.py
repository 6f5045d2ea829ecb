"""Which trajectories are worth keeping: by length, return, who decided, whose they are, tags and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.schema import EpisodeLabel, Source
from townlet_trajectory.data.statistics import returns_of
from townlet_trajectory.data.table import sums_of_wholes, whole_of_piece
from townlet_trajectory.dataset.selection import StepSelection, select_steps
from townlet_trajectory.dataset.source import TrajectorySource, blocks_of
from townlet_trajectory.errors import DatasetError


@dataclass(frozen=True, kw_only=True)
class TrajectoryFilter:
    """Conditions that a trajectory meets all at once; None or empty: no condition.

    `TrajectoryFilter(min_length=10, min_return=0.0)`, `TrajectoryFilter(min_shares={Source.LEARNED: 0.5})`.
    """

    min_length: int | None = None
    """Steps, of the whole trajectory."""
    max_length: int | None = None
    min_return: float | None = None
    """Sum of the rewards, undiscounted, of the whole trajectory."""
    max_return: float | None = None
    min_shares: Mapping[Source, float] = field(default_factory=dict)
    """At least this share of the steps was decided by that source (column `source`), in [0, 1]."""
    max_shares: Mapping[Source, float] = field(default_factory=dict)
    agent_ids: frozenset[str] | None = None
    worlds: frozenset[int] | None = None
    episodes: frozenset[int] | None = None
    """Numbers of the episodes of a world."""
    tags: frozenset[str] = frozenset()
    """Tags that the trajectory carries, all of them; a dataset's tags are those of its trajectories."""
    episode_labels: tuple[EpisodeLabel, ...] | None = None
    """What was said of the episode; a piece has the label of its whole trajectory."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("length", self.min_length, self.max_length),
            ("return", self.min_return, self.max_return),
        ):
            for limit in (low, high):
                if limit is not None and not np.isfinite(limit):
                    raise DatasetError(f"limits of the {name} must be finite, got {limit!r}")
            if low is not None and high is not None and low > high:
                raise DatasetError(f"`min_{name}` {low} is above `max_{name}` {high}")
        for name, shares in (("min_shares", self.min_shares), ("max_shares", self.max_shares)):
            if not all(0.0 <= share <= 1.0 for share in shares.values()):
                raise DatasetError(f"`{name}` must be in [0, 1], got {dict(shares)}")

    def kept(self, source: TrajectorySource) -> NDArray[np.bool_]:
        """Find the trajectories of `source` that are kept, as a mask [B]; pieces of one are kept all or none.

        Reads the table; rewards or the column `source` only where the filter is about them, one block at a time. Raises
        `SchemaError` if the filter is about sources and there is no column `source`; `ArtifactError` if a block cannot
        be read.
        """
        table = source.table
        wholes = whole_of_piece(table)
        lengths = sums_of_wholes(wholes, table.lengths)
        kept = _within(lengths, self.min_length, self.max_length)
        if self.min_return is not None or self.max_return is not None:
            returns = sums_of_wholes(wholes, piece_returns(source))
            kept &= _within(returns, self.min_return, self.max_return)
        for shares, low in ((self.min_shares, True), (self.max_shares, False)):
            for who, share in shares.items():
                steps = select_steps(source, StepSelection(sources=(who,)), None).steps
                actual = sums_of_wholes(wholes, steps) / lengths
                kept &= actual >= share if low else actual <= share
        named = StepSelection(tags=tuple(self.tags), episode_labels=self.episode_labels).trajectories(table)
        if self.agent_ids is not None:
            named &= np.isin(table.agent_ids, np.array(sorted(self.agent_ids), object))
        for numbers, wanted in ((table.worlds, self.worlds), (table.episodes, self.episodes)):
            if wanted is not None:
                named &= np.isin(numbers, sorted(wanted))
        return kept[wholes] & named


def piece_returns(source: TrajectorySource) -> NDArray[np.float64]:
    """Add up the rewards of each trajectory or piece: [B], in float64. One block is in memory at a time. Raises
    `ArtifactError` if a block cannot be read."""
    returns = np.zeros(len(source.table), np.float64)
    for block, first, stop in blocks_of(source):
        returns[first:stop] = returns_of(source.load_block(block))
    return returns


def _within(values: NDArray[np.float64], low: float | None, high: float | None) -> NDArray[np.bool_]:
    low, high = -np.inf if low is None else low, np.inf if high is None else high
    inside: NDArray[np.bool_] = (values >= low) & (values <= high)
    return inside
