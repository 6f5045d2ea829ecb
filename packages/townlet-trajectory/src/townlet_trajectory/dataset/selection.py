"""Which steps of a dataset are taken, and how often: conditions and weights over decision columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.schema import EpisodeLabel, Kind, Source
from townlet_trajectory.data.table import labels_of_wholes
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.dataset.source import TrajectorySource, TrajectoryTable, blocks_of, require_decision
from townlet_trajectory.errors import DatasetError
from townlet_trajectory.storage.json import JsonValue


@dataclass(frozen=True, kw_only=True)
class StepSelection:
    """Conditions that a step meets all at once; None or empty: no condition.

    `StepSelection(demonstrated=True)` takes demonstrations, `StepSelection(kinds=(Kind.DECISION,))` what a blend drew.
    """

    sources: tuple[Source, ...] | None = None
    """Who made the choice that was carried out (column `source`)."""
    kinds: tuple[Kind, ...] | None = None
    """What the step is to a learner (column `kind`)."""
    demonstrated: bool | None = None
    """Whether an external owner supplied the executed action (column `demonstrated`)."""
    tags: tuple[str, ...] = ()
    """Tags that the trajectory carries, all of them."""
    episode_labels: tuple[EpisodeLabel, ...] | None = None
    """What was said of the episode; a piece has the label of its whole trajectory."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The decision columns that are looked at."""
        conditions = {"source": self.sources, "kind": self.kinds, "demonstrated": self.demonstrated}
        return tuple(name for name, condition in conditions.items() if condition is not None)

    def document(self) -> dict[str, JsonValue]:
        """As a position's fingerprint covers it."""
        said = self.episode_labels
        # Left out where it is no condition, as in positions from before there were labels.
        labels: dict[str, JsonValue] = {} if said is None else {"episode_labels": [*sorted(map(int, said))]}
        return {
            "sources": None if self.sources is None else list[JsonValue](sorted(map(int, self.sources))),
            "kinds": None if self.kinds is None else list[JsonValue](sorted(map(int, self.kinds))),
            "demonstrated": self.demonstrated,
            "tags": list[JsonValue](sorted(self.tags)),
            **labels,
        }

    def steps(self, columns: Mapping[str, Array], num_rows: int) -> NDArray[np.bool_]:
        """[num_rows]; the rows that meet the conditions on decision columns, given those of `self.columns`."""
        chosen = np.ones(num_rows, np.bool_)
        if self.sources is not None:
            chosen &= np.isin(columns["source"], [int(source) for source in self.sources])
        if self.kinds is not None:
            chosen &= np.isin(columns["kind"], [int(kind) for kind in self.kinds])
        if self.demonstrated is not None:
            chosen &= columns["demonstrated"] == self.demonstrated
        return chosen

    def trajectories(self, table: TrajectoryTable) -> NDArray[np.bool_]:
        """[B]; the trajectories that carry all tags and one of the labels."""
        chosen = np.ones(len(table), np.bool_)
        if self.tags:
            wanted = frozenset(self.tags)
            chosen &= np.array([wanted <= tags for tags in table.tags] or [False] * len(table), np.bool_)
        if self.episode_labels is not None:
            chosen &= np.isin(labels_of_wholes(table), [int(label) for label in self.episode_labels])
        return chosen


ALL_STEPS = StepSelection()
"""Every step of every trajectory."""


@dataclass(frozen=True, kw_only=True)
class StepWeights:
    """How often each step is drawn, relative to the others."""

    columns: tuple[str, ...]
    """The decision columns that `function` is given."""
    function: Callable[[Mapping[str, Array]], Array]
    """From those columns, each [R, ...], to finite weights >= 0, [R]; pure, as it is asked at every reading."""

    def of(self, columns: Mapping[str, Array], num_rows: int) -> NDArray[np.float64]:
        """[num_rows]; the weights of rows. Raises `DatasetError` if `function` returns another shape, a negative
        number, NaN or infinity."""
        weights = np.asarray(self.function({name: columns[name] for name in self.columns}), np.float64)
        if weights.shape != (num_rows,):
            raise DatasetError(f"`weights` of {num_rows} rows must be {(num_rows,)}, got {weights.shape}")
        if not np.isfinite(weights).all() or weights.min(initial=0.0) < 0.0:
            raise DatasetError(f"`weights` must be finite and not negative, got {weights.min()} to {weights.max()}")
        return weights


def weights_by(column: str) -> StepWeights:
    """Each step as often as a decision column of shape () says."""
    return StepWeights(columns=(column,), function=itemgetter(column))


@dataclass(frozen=True, kw_only=True, eq=False)
class Selected:
    """What a selection takes of each trajectory of a source."""

    steps: NDArray[np.int64]
    """[B]; how many steps."""
    weights: NDArray[np.float64]
    """[B]; the sum of their weights (without weights: their number)."""

    def within(self, trajectories: NDArray[np.bool_]) -> Selected:
        """Nothing of the trajectories where the mask [B] is false."""
        return Selected(steps=self.steps * trajectories, weights=self.weights * trajectories)


def select_steps(source: TrajectorySource, selection: StepSelection, weights: StepWeights | None) -> Selected:
    """Count what is selected. Reads the columns that are asked about, one block at a time, and nothing else.

    Args:
        source: its table and decision columns are read.
        selection: conditions on steps, tags and labels.
        weights: of steps; None: each weighs 1.

    Returns:
        Steps and summed weights of each trajectory, 0 where it lacks a tag or the label.

    Raises:
        SchemaError: if there is no such column.
        DatasetError: if weights are not finite, or negative.
        ArtifactError: if a block cannot be read.
    """
    names = tuple(dict.fromkeys((*selection.columns, *(weights.columns if weights else ()))))
    for name in names:
        require_decision(source.schema, name)
    lengths = source.table.lengths
    tagged = selection.trajectories(source.table)
    if not names:
        return Selected(steps=lengths, weights=lengths.astype(np.float64)).within(tagged)
    steps, sums = np.zeros(len(lengths), np.int64), np.zeros(len(lengths), np.float64)
    for block, first, stop in blocks_of(source):
        columns = {name: source.decision_column(block, name) for name in names}
        offsets = np.cumsum(lengths[first:stop]) - lengths[first:stop]
        num_rows = int(lengths[first:stop].sum())
        chosen = selection.steps(columns, num_rows)
        row_weights = chosen * (weights.of(columns, num_rows) if weights else 1.0)
        steps[first:stop] = np.add.reduceat(chosen, offsets, dtype=np.int64)
        sums[first:stop] = np.add.reduceat(row_weights, offsets)
    return Selected(steps=steps, weights=sums).within(tagged)
