"""Figures of a batch: those of two batches, merged, are those of both as one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.actions import MultiDiscrete
from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.schema import TrajectorySchema
from townlet_trajectory.data.trajectory import Array, frozen
from townlet_trajectory.errors import SchemaError, ShapeError

_CHUNK_ELEMENTS = 1 << 16
"""Numbers that are looked at together, as float64."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Moments of `count` rows [...], each place of a row by itself; all float64. Plain numbers have shape ().

    Combined by the pairwise update of Chan, Golub & LeVeque 1979, which keeps the spread of numbers far from 0. Squares
    of numbers beyond 1e150 are infinite.
    """

    count: int
    """Rows."""
    mean: NDArray[np.float64]
    """[...]; 0 of no rows."""
    squares: NDArray[np.float64]
    """[...]; sum of the squared distances from the mean."""
    minimum: NDArray[np.float64]
    """[...]; infinity of no rows."""
    maximum: NDArray[np.float64]
    """[...]; minus infinity of no rows."""

    def __post_init__(self) -> None:
        shapes = {array.shape for array in (self.mean, self.squares, self.minimum, self.maximum)}
        if len(shapes) != 1 or self.count < 0:
            raise ShapeError(f"moments must be of one shape and of no less than 0 rows, got {shapes} and {self.count}")
        for name in ("mean", "squares", "minimum", "maximum"):
            # numpy makes scalars of what has shape ().
            object.__setattr__(self, name, frozen(np.asarray(getattr(self, name), np.float64)))

    @classmethod
    def of(cls, values: Array) -> Moments:
        """The moments of `values` [N, ...], which are finite numbers, or bools (0 and 1)."""
        running = RunningMoments(values.shape[1:])
        running.add(values)
        return running.moments

    @classmethod
    def of_nothing(cls, shape: tuple[int, ...] = ()) -> Moments:
        """Of no rows: what changes nothing when it is merged."""
        zeros = np.zeros(shape)
        return cls(count=0, mean=zeros, squares=zeros, minimum=np.full(shape, np.inf), maximum=np.full(shape, -np.inf))

    @property
    def total(self) -> NDArray[np.float64]:
        """[...]; sum of the rows."""
        return self.mean * self.count

    @property
    def std(self) -> NDArray[np.float64]:
        """[...]; root of the mean squared distance from the mean; 0 of no rows."""
        return np.sqrt(self.squares / max(1, self.count))

    def merged(self, other: Moments) -> Moments:
        """The moments of both sets of rows together; `ShapeError` if their rows are of different shape."""
        if self.mean.shape != other.mean.shape:
            raise ShapeError(f"moments must be of one shape, got {self.mean.shape} and {other.mean.shape}")
        if not (self.count and other.count):
            return self if self.count else other
        count = self.count + other.count
        with np.errstate(over="ignore", invalid="ignore"):
            # Both sides alike, so that a + b is b + a to the last bit.
            mean = (self.mean * self.count + other.mean * other.count) / count
            apart = np.square(other.mean - self.mean) * (self.count * other.count / count)
            return Moments(
                count=count,
                mean=mean,
                squares=self.squares + other.squares + apart,
                minimum=np.minimum(self.minimum, other.minimum),
                maximum=np.maximum(self.maximum, other.maximum),
            )


class RunningMoments:
    """Moments of rows [...] that come in parts: equal to the last bit however the rows are cut into parts.

    Rows are collected into chunks of one size, and the moments of the chunks are merged in the order of the rows.
    """

    def __init__(self, row_shape: tuple[int, ...] = ()) -> None:
        self._merged = Moments.of_nothing(row_shape)
        self._chunk = np.empty((max(1, _CHUNK_ELEMENTS // max(1, math.prod(row_shape))), *row_shape))
        self._num_pending = 0

    def add(self, values: Array) -> None:
        """Take rows [N, ...], which are finite numbers, or bools (0 and 1). Raises `ShapeError` if they have another
        shape."""
        if values.shape[1:] != self._chunk.shape[1:]:
            raise ShapeError(f"rows must be {self._chunk.shape[1:]}, got {values.shape[1:]}")
        begin = 0
        while begin < len(values):
            part = values[begin : begin + len(self._chunk) - self._num_pending]
            begin += len(part)
            self._chunk[self._num_pending : self._num_pending + len(part)] = part
            self._num_pending += len(part)
            if self._num_pending == len(self._chunk):
                self._merged, self._num_pending = self.moments, 0

    @property
    def moments(self) -> Moments:
        """Of all rows so far."""
        pending = self._chunk[: self._num_pending]
        return self._merged.merged(_of_chunk(pending)) if self._num_pending else self._merged


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchStatistics:
    """Figures of trajectories of one schema. Those of two batches, merged, are those of the two batches as one.

    Counts are exact, moments in float64. What a schema has no column for is empty.
    """

    schema: TrajectorySchema
    num_trajectories: int
    num_steps: int
    num_terminated: int
    num_truncated: int
    num_open: int
    """Trajectories that go on elsewhere: neither terminated nor truncated."""
    lengths: Moments
    """Steps of a trajectory."""
    returns: Moments
    """Sum of the rewards of a trajectory."""
    rewards: Moments
    """Of a step."""
    actions: Mapping[int, int]
    """Steps by executed action (column `action`), where it is an index."""
    kinds: Mapping[int, int]
    """Steps by `Kind`."""
    sources: Mapping[int, int]
    """Steps by `Source`."""
    veto_reasons: Mapping[int, int]
    """Steps by reason (column `veto_reason`)."""
    flags: Mapping[str, int]
    """Steps at which each bool decision column of shape () is true."""
    columns: Mapping[str, Moments]
    """Of each floating-point decision column, over the rows that are finite: its `count` says how many are."""
    observations: Mapping[str, Moments]
    """Of the observations that were asked for, each place by itself."""
    parts: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    """Steps by value of each part of the executed action, where it has several."""

    @classmethod
    def of(cls, batch: TrajectoryBatch, *, observations: Sequence[str] = ()) -> BatchStatistics:
        """The figures of `batch`, and the moments of the named observations, which take a pass over the tensors.

        Raises `SchemaError` if there is no such observation.
        """
        if unknown := sorted(set(observations) - batch.observations.keys()):
            raise SchemaError(f"there are no observations {unknown}, but {sorted(batch.observations)}")
        decisions, columns = batch.schema.decisions, batch.columns
        return cls(
            schema=batch.schema,
            num_trajectories=len(batch),
            num_steps=batch.num_steps,
            num_terminated=int(np.count_nonzero(batch.terminated)),
            num_truncated=int(np.count_nonzero(batch.truncated)),
            num_open=int(np.count_nonzero(~(batch.terminated | batch.truncated))),
            lengths=Moments.of(batch.lengths),
            returns=Moments.of(returns_of(batch)),
            rewards=Moments.of(batch.rewards),
            actions=_code_counts(batch, "action"),
            kinds=_code_counts(batch, "kind"),
            sources=_code_counts(batch, "source"),
            veto_reasons=_code_counts(batch, "veto_reason"),
            flags={
                name: int(np.count_nonzero(columns[name]))
                for name, spec in decisions.items()
                if spec.dtype == "bool" and spec.shape == ()
            },
            columns={
                name: Moments.of(_finite_rows(columns[name]))
                for name, spec in decisions.items()
                if spec.dtype.startswith("float")
            },
            observations={name: Moments.of(batch.observations[name]) for name in observations},
            parts=_part_counts(batch),
        )

    def merged(self, other: BatchStatistics) -> BatchStatistics:
        """The figures of both batches together; in which order makes no difference. Raises `SchemaError` if the
        schemas, or the observations that were asked for, differ."""
        self.schema.require_equal(other.schema)
        ours, theirs = vars(self), vars(other)
        flags = {name: count + other.flags[name] for name, count in self.flags.items()}
        both: dict[str, Any] = {name: ours[name] + theirs[name] for name in ours if name.startswith("num_")}
        both |= {name: ours[name].merged(theirs[name]) for name in ("lengths", "returns", "rewards")}
        for name in ("actions", "kinds", "sources", "veto_reasons"):
            both[name] = _added(ours[name], theirs[name])
        both["parts"] = {part: _added(counts, other.parts[part]) for part, counts in self.parts.items()}
        for name in ("columns", "observations"):
            if ours[name].keys() != theirs[name].keys():
                differing = f"{sorted(ours[name])} and {sorted(theirs[name])}"
                raise SchemaError(f"moments must be of the same columns, got {differing}")
            both[name] = {column: moments.merged(theirs[name][column]) for column, moments in ours[name].items()}
        return BatchStatistics(schema=self.schema, flags=flags, **both)


def returns_of(batch: TrajectoryBatch) -> NDArray[np.float64]:
    """[B]; the sum of the rewards of each trajectory."""
    return np.add.reduceat(batch.rewards.astype(np.float64), batch.offsets[:-1])


def _of_chunk(values: NDArray[np.float64]) -> Moments:
    with np.errstate(over="ignore", invalid="ignore"):
        mean = values.mean(axis=0)
        return Moments(
            count=len(values),
            mean=mean,
            squares=np.square(values - mean).sum(axis=0),
            minimum=values.min(axis=0),
            maximum=values.max(axis=0),
        )


def _code_counts(batch: TrajectoryBatch, name: str) -> dict[int, int]:
    spec = batch.schema.decisions.get(name)
    if spec is None or spec.shape != () or not spec.dtype.startswith(("int", "uint")):
        return {}
    return _counts(batch.columns[name])


def _part_counts(batch: TrajectoryBatch) -> dict[str, dict[int, int]]:
    actions, executed = batch.schema.actions, batch.columns.get("action")
    if not isinstance(actions, MultiDiscrete) or executed is None:
        return {}
    return {part: _counts(executed[:, place]) for place, part in enumerate(actions.names)}


def _counts(codes: Array) -> dict[int, int]:
    found, counts = np.unique(codes, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _added(ours: Mapping[int, int], theirs: Mapping[int, int]) -> dict[int, int]:
    return dict(sorted((Counter(ours) + Counter(theirs)).items()))


def _finite_rows(column: Array) -> Array:
    finite = np.isfinite(column)
    return column[finite.all(axis=tuple(range(1, column.ndim)))]
