"""Which trajectories to look at first: those whose length, return, actions or features are far from the others'."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.actions import Box, MultiDiscrete
from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.schema import ACTION_MASK, TrajectorySchema
from townlet_trajectory.data.statistics import returns_of
from townlet_trajectory.data.table import first_piece_of, sums_of_wholes, whole_of_piece
from townlet_trajectory.dataset.source import TrajectorySource, TrajectoryTable, blocks_of
from townlet_trajectory.errors import DatasetError
from townlet_trajectory.formats.open import open_dataset
from townlet_trajectory.storage.json import JsonValue
from townlet_trajectory.storage.urls import Url, name_of_place, named_place

LIMIT = 3.5
"""Beyond this a number is called an outlier: Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers."""

NORMAL_MAD = 0.6745
"""Median absolute deviation of a standard normal variable, with the digits of Iglewicz & Hoaglin's modified z-score."""
NORMAL_MEAN = math.sqrt(2.0 / math.pi)
"""Mean absolute deviation of a standard normal variable."""

MAX_ELEMENTS = 1024
"""Observations with more numbers in a row, or more than one axis, are left out: pictures have no features."""
MAX_REASONS = 3
_ACTION = "action"

_SAME = 1e-9
"""Deviations of this share of the numbers' size are taken for rounding."""
_MOST = 1e300


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One figure of a trajectory, and how far it is from that of the others."""

    figure: str
    """`length`, `return`, `action_entropy` (nats), `mean NAME` of a feature, or `mean action.NAME` of numbers."""
    value: float
    median: float
    """Of all trajectories."""
    deviations: float
    """Scaled median absolute deviations between the two, below zero where the value is less; see `robust_scores`."""


@dataclass(frozen=True, kw_only=True)
class Outlier:
    """A trajectory that differs."""

    place: int
    """Number of the whole trajectory, counted from 0 in the order of the first pieces."""
    score: float
    """The greatest of its deviations, without sign."""
    reasons: tuple[Reason, ...]
    """Those beyond `LIMIT`, at most `MAX_REASONS`; at least the greatest one."""


@dataclass(frozen=True, kw_only=True)
class NamedOutlier:
    """An outlier of a dataset, with what it is called there."""

    agent_id: str
    world: int
    episode: int
    first_tick: int
    length: int
    outlier: Outlier

    def document(self) -> dict[str, JsonValue]:
        """As JSON."""
        said = {name: value for name, value in vars(self).items() if name != "outlier"}
        reasons: list[JsonValue] = [dict(vars(reason)) for reason in self.outlier.reasons]
        return {**said, "score": self.outlier.score, "beyond_limit": self.outlier.score > LIMIT, "reasons": reasons}


@dataclass(frozen=True, kw_only=True)
class OutlierReport:
    """The trajectories of a dataset that differ most."""

    name: str
    num_trajectories: int
    """Pieces of one count once."""
    num_beyond: int
    """How many have a figure beyond `LIMIT`."""
    figures: tuple[str, ...]
    """What was compared."""
    outliers: tuple[NamedOutlier, ...]
    """The one that differs most first."""

    def document(self) -> dict[str, JsonValue]:
        """As JSON."""
        said = {name: value for name, value in vars(self).items() if name.startswith("n")}
        outliers: list[JsonValue] = [one.document() for one in self.outliers]
        return {**said, "limit": LIMIT, "figures": [*self.figures], "outliers": outliers}


def robust_scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the modified z-score of each number: 0.6745 (x - median) / MAD, as Iglewicz & Hoaglin 1993 define it.

    MAD is the median absolute deviation from the median; divided by 0.6745 it estimates the standard deviation of a
    normal sample. It is 0 where more than half of the numbers are equal. Then the mean absolute deviation from the
    median takes its place, scaled by that of a normal variable; where this is 0 too, all are equal and score 0.

    Args:
        values: [W], W at least 1, finite.

    Returns:
        [W], finite.

    Raises:
        DatasetError: if there is no number, or one is not finite.
    """
    if not len(values) or not np.isfinite(values).all():
        raise DatasetError("robust scores need at least one number, and finite ones alone")
    distances = values - np.median(values)
    same = _SAME * float(np.median(np.abs(values)))
    scale = float(np.median(np.abs(distances))) / NORMAL_MAD
    if scale <= same:
        scale = float(np.abs(distances).mean()) / NORMAL_MEAN
    if scale <= same:
        return np.zeros(len(values))
    with np.errstate(over="ignore"):
        return np.clip(distances / scale, -_MOST, _MOST)


def rank_outliers(figures: Mapping[str, NDArray[np.float64]]) -> list[Outlier]:
    """Rank trajectories by their greatest deviation in any figure, the greatest first, equal ones in their order.

    Args:
        figures: [W] each, by name; at least one, finite.

    Returns:
        All that differ from the median in any figure.

    Raises:
        DatasetError: if there is no figure, they differ in length, or a number is not finite.
    """
    if len({len(values) for values in figures.values()}) != 1:
        raise DatasetError("figures must be there, and of equal length")
    names = [*figures]
    scores = np.column_stack([robust_scores(values) for values in figures.values()])
    greatest = np.abs(scores).max(axis=1)
    medians = {name: float(np.median(values)) for name, values in figures.items()}
    ranked = []
    for place in np.argsort(-greatest, kind="stable").tolist():
        if greatest[place] == 0.0:
            break
        order = np.argsort(-np.abs(scores[place]), kind="stable").tolist()
        beyond = [column for column in order if abs(scores[place, column]) > LIMIT]
        reasons = tuple(
            Reason(
                figure=names[column],
                value=float(figures[names[column]][place]),
                median=medians[names[column]],
                deviations=float(scores[place, column]),
            )
            for column in (beyond or order[:1])[:MAX_REASONS]
        )
        ranked.append(Outlier(place=place, score=float(greatest[place]), reasons=reasons))
    return ranked


def trajectory_figures(
    source: TrajectorySource, *, element_names: Mapping[str, Sequence[str]] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Length, return, entropy of the actions and mean features of each whole trajectory.

    One block is in memory at a time, and 8 bytes for each figure of each trajectory.

    Args:
        source: what to read.
        element_names: of an observation, the names of its elements, where they are known.

    Returns:
        [W] each, by name; trajectories in the order of their first pieces. `action_entropy` (nats, of the shares of the
        actions that were taken, all parts together) where there is a vocabulary, or there are parts; the means of
        actions that are numbers.

    Raises:
        ArtifactError: if something cannot be read.
    """
    wholes, schema = whole_of_piece(source.table), source.schema
    features = _features(schema, element_names or {})
    returns = np.zeros(len(wholes), np.float64)
    sums = {name: np.zeros((len(wholes), len(names))) for name, names in features.items()}
    numbers = schema.actions.names if isinstance(schema.actions, Box) and _ACTION in schema.decisions else ()
    acted = np.zeros((len(wholes), len(numbers)))
    counts: list[NDArray[np.int64]] = []
    for block, first, stop in blocks_of(source):
        batch = source.load_block(block)
        returns[first:stop] = returns_of(batch)
        for name in features:
            rows = batch.observations[name].astype(np.float64).reshape(batch.num_steps, -1)
            sums[name][first:stop] = np.add.reduceat(rows, batch.offsets[:-1], axis=0)
        if numbers:
            acted[first:stop] = np.add.reduceat(batch.columns[_ACTION].astype(np.float64), batch.offsets[:-1], axis=0)
        if _has_actions(schema):
            counts.append(_action_counts(batch, wholes[first:stop]))
    lengths = sums_of_wholes(wholes, source.table.lengths)
    figures = {"length": lengths, "return": sums_of_wholes(wholes, returns)}
    if counts:
        figures["action_entropy"] = _entropies(np.concatenate(counts), lengths)
    for place, number in enumerate(numbers):
        figures[f"mean {_ACTION}.{number}"] = sums_of_wholes(wholes, acted[:, place]) / lengths
    for name, elements in features.items():
        for place, element in enumerate(elements):
            figures[f"mean {element}"] = sums_of_wholes(wholes, sums[name][:, place]) / lengths
    return figures


def find_outliers(dataset: str | Path | Url, *, top: int = 8, data_root: str | Path = ".") -> OutlierReport:
    """Name the trajectories of a dataset that differ most from the others.

    Args:
        dataset: a path or URL of any format that `open_dataset` opens.
        top: how many are named.
        data_root: where samples that are not below a capture's manifest are looked for.

    Raises:
        DatasetError: if there are fewer than three trajectories, which have no median to differ from.
        ArtifactError: if something cannot be read.
        MissingExtraError: if the path needs an extra that is not installed.
    """
    with open_dataset(dataset, data_root=data_root) as opened:
        table, names = opened.source.table, opened.feature_names
        firsts = np.unique(first_piece_of(table))
        if len(firsts) < 3:
            raise DatasetError(f"{named_place(dataset)}: outliers need three trajectories or more, got {len(firsts)}")
        figures = trajectory_figures(opened.source, element_names={"features": names} if names else {})
    ranked = rank_outliers(figures)
    return OutlierReport(
        name=name_of_place(dataset),
        num_trajectories=len(firsts),
        num_beyond=sum(one.score > LIMIT for one in ranked),
        figures=tuple(figures),
        outliers=tuple(_named(one, table, int(firsts[one.place]), figures["length"]) for one in ranked[:top]),
    )


def _named(one: Outlier, table: TrajectoryTable, first: int, lengths: NDArray[np.float64]) -> NamedOutlier:
    return NamedOutlier(
        agent_id=str(table.agent_ids[first]),
        world=int(table.worlds[first]),
        episode=int(table.episodes[first]),
        first_tick=int(table.first_ticks[first]),
        length=int(lengths[one.place]),
        outlier=one,
    )


def _features(schema: TrajectorySchema, element_names: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The observations that are looked at, and what their elements are called."""
    found = {}
    for name, spec in schema.observations.items():
        size = math.prod(spec.shape)
        if name != ACTION_MASK and len(spec.shape) <= 1 and size <= MAX_ELEMENTS:
            names, numbered = element_names.get(name, ()), [f"{name}[{place}]" for place in range(size)]
            known = len(names) == size == len(set(names))
            found[name] = [*names] if known else numbered if spec.shape else [name]
    return found


def _has_actions(schema: TrajectorySchema) -> bool:
    """Whether actions are indices, of one vocabulary or of parts."""
    spec = schema.decisions.get(_ACTION)
    if spec is None or "int" not in spec.dtype:
        return False
    return isinstance(schema.actions, MultiDiscrete) or (bool(schema.vocabulary) and spec.shape == ())


def _action_counts(batch: TrajectoryBatch, wholes: NDArray[np.int64]) -> NDArray[np.int64]:
    """[K, 2 + W]: whole trajectory, action of W parts, and how often it was taken."""
    of_row = np.repeat(wholes, batch.lengths)
    taken, counts = np.unique(
        np.column_stack((of_row, batch.columns[_ACTION].astype(np.int64))), axis=0, return_counts=True
    )
    return np.column_stack((taken, counts))


def _entropies(counts: NDArray[np.int64], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """[W]; entropy in nats of the actions of each trajectory, from `counts` of its pieces, see `_action_counts`."""
    taken, which = np.unique(counts[:, :-1], axis=0, return_inverse=True)
    shares = np.bincount(which, weights=counts[:, -1]) / lengths[taken[:, 0]]
    # -p ln p of one action alone is -0.0
    return np.abs(np.bincount(taken[:, 0], weights=-shares * np.log(shares), minlength=len(lengths)))
