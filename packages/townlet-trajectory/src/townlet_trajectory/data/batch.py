"""Many trajectories in flat columns: rows of a trajectory are consecutive, `offsets` say where each begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import index as as_index
from typing import Any, Protocol, SupportsIndex, TypeVar, overload, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.checks import check_array, check_columns, check_finite, check_offsets, check_ticks
from townlet_trajectory.data.labels import WhichEpisode
from townlet_trajectory.data.ragged import offsets_of
from townlet_trajectory.data.schema import ArraySpec, EpisodeLabel, TrajectorySchema, common_schema
from townlet_trajectory.data.split import is_held_out
from townlet_trajectory.data.trajectory import (
    ROW_SPECS,
    TRAJECTORY_FIELDS,
    TRAJECTORY_SPECS,
    Array,
    Frozen,
    ManyTrajectories,
    Trajectory,
)
from townlet_trajectory.errors import SchemaError, ShapeError

_Scalar = TypeVar("_Scalar", bound=np.generic)
_Index = slice | NDArray[np.int64]
_PLAIN = (*ROW_SPECS, *TRAJECTORY_FIELDS)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TrajectoryBatch(ManyTrajectories, Frozen):
    """B trajectories of together R steps, one after the other; B may be 0.

    `batch[2]` is a trajectory, `batch[2:5]` a batch of three, and a loop over a batch meets its trajectories.

    The arrays are taken over and read-only from then on, without a copy; only parts of writable arrays are copied.

    Examples:
        >>> import numpy as np
        >>> from townlet_trajectory import ArraySpec, TrajectoryBatch, TrajectorySchema
        >>> batch = TrajectoryBatch(
        ...     schema=TrajectorySchema(
        ...         observations={"x": ArraySpec("float32")}, decisions={"action": ArraySpec("int64")}, vocabulary=()
        ...     ),
        ...     offsets=np.array([0, 2, 3]),
        ...     observations={"x": np.array([0, 1, 5], np.float32)},
        ...     final_observations={"x": np.array([2, 6], np.float32)},
        ...     columns={"action": np.array([0, 1, 0])},
        ...     rewards=np.array([1, 2, 3], np.float32),
        ...     ticks=np.array([0, 1, 0]),
        ...     terminated=np.array([True, False]),
        ...     truncated=np.array([False, False]),
        ...     agent_ids=np.array(["ann", "ben"], object),
        ...     worlds=np.array([0, 0]),
        ...     episodes=np.array([0, 0]),
        ... )
        >>> batch[0].observations["x"].tolist(), batch[1:].agent_ids.tolist()
        ([0.0, 1.0, 2.0], ['ben'])
    """

    schema: TrajectorySchema
    offsets: NDArray[np.int64]
    """[B + 1]; rows `offsets[i] : offsets[i + 1]` are trajectory i, at least one each."""
    observations: Mapping[str, Array]
    """Each [R, ...]; what the decision of the row was made from."""
    final_observations: Mapping[str, Array]
    """Each [B, ...]; what the last action of each trajectory led to."""
    columns: Mapping[str, Array]
    """The decision columns, each [R, ...]."""
    rewards: NDArray[np.float32]
    """[R]."""
    ticks: NDArray[np.int64]
    """[R]; consecutive within a trajectory."""

    def __post_init__(self) -> None:
        check_offsets(self.offsets)
        steps, size = self.num_steps, len(self)
        check_columns("observations", self.observations, self.schema.observations, steps)
        check_columns("final_observations", self.final_observations, self.schema.observations, size)
        check_columns("columns", self.columns, self.schema.decisions, steps)
        for name, spec in ROW_SPECS.items():
            check_array(name, getattr(self, name), spec, steps)
        self.check_trajectories(size)
        check_ticks(self.ticks, self.offsets)
        check_finite("rewards", self.rewards, self.ticks)
        final_ticks = self.ticks[self.row_of_last] + 1
        for name in self.schema.observations:
            check_finite(name, self.observations[name], self.ticks)
            check_finite(name, self.final_observations[name], final_ticks)
        self.freeze()

    def __len__(self) -> int:
        """Trajectories (B)."""
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return f"<TrajectoryBatch: {len(self)} trajectories, {self.num_steps} steps>"

    @overload
    def __getitem__(self, index: SupportsIndex) -> Trajectory: ...
    @overload
    def __getitem__(self, index: slice) -> TrajectoryBatch: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Trajectory | TrajectoryBatch:
        """A trajectory (negative numbers count from the end), or those of a slice; without a stride they are views."""
        if not isinstance(index, slice):
            number = as_index(index)
            return self.trajectory(number + len(self) if number < 0 else number)
        first, stop, stride = index.indices(len(self))
        if stride != 1:
            return self.select(np.arange(first, stop, stride))
        stop = max(first, stop)
        rows = slice(int(self.offsets[first]), int(self.offsets[stop]))
        return self._part(self.offsets[first : stop + 1] - self.offsets[first], rows, slice(first, stop))

    def __iter__(self) -> Iterator[Trajectory]:
        return map(self.trajectory, range(len(self)))

    @property
    def num_steps(self) -> int:
        """Steps of all trajectories together (R)."""
        return int(self.offsets[-1])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[B]; steps of each trajectory."""
        return np.diff(self.offsets)

    @property
    def row_of_last(self) -> NDArray[np.int64]:
        """[B]; the row of the last step of each trajectory."""
        return self.offsets[1:] - 1

    @property
    def trajectory_of_row(self) -> NDArray[np.int64]:
        """[R]; the trajectory that each row belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def trajectory(self, index: int) -> Trajectory:
        """Trajectory `index`, with its final observation appended to the others; `IndexError` if there is none."""
        if not 0 <= index < len(self):
            raise IndexError(f"trajectory {index} of {len(self)}")
        rows = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return Trajectory(
            schema=self.schema,
            observations={
                name: np.concatenate((array[rows], self.final_observations[name][index : index + 1]))
                for name, array in self.observations.items()
            },
            columns={name: array[rows] for name, array in self.columns.items()},
            rewards=self.rewards[rows],
            ticks=self.ticks[rows],
            terminated=bool(self.terminated[index]),
            truncated=bool(self.truncated[index]),
            agent_id=str(self.agent_ids[index]),
            world=int(self.worlds[index]),
            episode=int(self.episodes[index]),
            episode_label=EpisodeLabel(self.episode_labels[index]),
        )

    @classmethod
    def empty(cls, schema: TrajectorySchema) -> TrajectoryBatch:
        """No trajectory."""
        return cls(
            schema=schema,
            offsets=np.zeros(1, np.int64),
            observations=_no_rows(schema.observations),
            final_observations=_no_rows(schema.observations),
            columns=_no_rows(schema.decisions),
            agent_ids=np.empty(0, object),
            **_no_rows({**ROW_SPECS, **TRAJECTORY_SPECS}),
        )

    @classmethod
    def from_trajectories(cls, trajectories: Sequence[Trajectory]) -> TrajectoryBatch:
        """Put trajectories of equal schemas one after the other, in the given order. Raises `SchemaError` if there is
        none, or schemas differ."""
        schema = _common_schema(trajectories, "trajectory")
        seen = {name: [trajectory.observations[name] for trajectory in trajectories] for name in schema.observations}
        return cls(
            schema=schema,
            offsets=offsets_of(np.array([len(trajectory) for trajectory in trajectories])),
            observations={name: np.concatenate([array[:-1] for array in arrays]) for name, arrays in seen.items()},
            final_observations={name: np.stack([array[-1] for array in arrays]) for name, arrays in seen.items()},
            columns=_concatenated([trajectory.columns for trajectory in trajectories], schema.decisions),
            **{name: np.concatenate([vars(each)[name] for each in trajectories]) for name in ROW_SPECS},
            terminated=np.array([trajectory.terminated for trajectory in trajectories], np.bool_),
            truncated=np.array([trajectory.truncated for trajectory in trajectories], np.bool_),
            agent_ids=np.array([trajectory.agent_id for trajectory in trajectories], object),
            worlds=np.array([trajectory.world for trajectory in trajectories], np.int64),
            episodes=np.array([trajectory.episode for trajectory in trajectories], np.int64),
            episode_labels=np.array([trajectory.episode_label for trajectory in trajectories], np.int8),
        )

    @classmethod
    def concatenate(cls, batches: Sequence[TrajectoryBatch]) -> TrajectoryBatch:
        """Put batches of equal schemas one after the other, in the given order. Raises `SchemaError` if there is none,
        or schemas differ."""
        schema = _common_schema(batches, "batch")
        return cls(
            schema=schema,
            offsets=offsets_of(np.concatenate([batch.lengths for batch in batches])),
            observations=_concatenated([batch.observations for batch in batches], schema.observations),
            final_observations=_concatenated([batch.final_observations for batch in batches], schema.observations),
            columns=_concatenated([batch.columns for batch in batches], schema.decisions),
            **{name: np.concatenate([vars(each)[name] for each in batches]) for name in _PLAIN},
        )

    def select(self, indices: NDArray[np.int64]) -> TrajectoryBatch:
        """The trajectories `indices` (integers [K]), in that order; copies of the rows."""
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            raise ShapeError(f"`indices` must be integers [K], got {indices.dtype} of shape {indices.shape}")
        offsets = offsets_of(self.lengths[indices])
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][indices] - offsets[:-1], np.diff(offsets))
        return self._part(offsets, rows, indices)

    def _part(self, offsets: NDArray[np.int64], rows: _Index, trajectories: _Index) -> TrajectoryBatch:
        return TrajectoryBatch(
            schema=self.schema,
            offsets=offsets,
            observations={name: _at(array, rows) for name, array in self.observations.items()},
            final_observations={name: _at(array, trajectories) for name, array in self.final_observations.items()},
            columns={name: _at(array, rows) for name, array in self.columns.items()},
            **{name: _at(vars(self)[name], rows) for name in ROW_SPECS},
            **{name: _at(vars(self)[name], trajectories) for name in TRAJECTORY_FIELDS},
        )

    def filter_trajectories(self, keep: NDArray[np.bool_]) -> TrajectoryBatch:
        """The trajectories where `keep` (bool [B]) is true, in their order; copies of the rows."""
        check_array("keep", keep, ArraySpec("bool"), len(self))
        return self.select(np.flatnonzero(keep))

    def split_by_episode(self, fraction: float, *, seed: int) -> tuple[TrajectoryBatch, TrajectoryBatch]:
        """Split into (train, held out); all trajectories of a world's episode are on one side.

        The side is a pure function of (seed, world, episode), so data that is added later moves nothing. Each episode
        is held out with probability `fraction`; with few episodes a side may be empty. Raises `ShapeError` if
        `fraction` is not in [0, 1].
        """
        held_out = is_held_out(fraction, seed=seed, worlds=self.worlds, episodes=self.episodes)
        return self.filter_trajectories(~held_out), self.filter_trajectories(held_out)


class BatchSink(Protocol):
    """Takes batches one after the other, in the order recorded; writers of datasets are sinks."""

    def write(self, batch: TrajectoryBatch) -> None:
        """Take `batch` over. When this raises, nothing of it counts as taken, and it is offered again."""


@runtime_checkable
class LabelSink(BatchSink, Protocol):
    """A sink that can label what it has taken: a person says what an episode was worth when it is over."""

    def label(self, label: EpisodeLabel, which: WhichEpisode) -> bool:
        """Label those that are meant, of the trajectories that were taken; False if there is none."""


def _common_schema(parts: Sequence[Trajectory | TrajectoryBatch], kind: str) -> TrajectorySchema:
    if not parts:
        raise SchemaError(f"at least one {kind} is needed, to know the schema")
    return common_schema([part.schema for part in parts])


def _concatenated(parts: Sequence[Mapping[str, Array]], specs: Mapping[str, ArraySpec]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in specs}


def _at(array: NDArray[_Scalar], index: _Index) -> NDArray[_Scalar]:
    # `take` of short rows is several times as fast as indexing.
    return array[index] if isinstance(index, slice) else array.take(index, axis=0)


def _no_rows(specs: Mapping[str, ArraySpec]) -> dict[str, Any]:
    return {name: np.empty((0, *spec.shape), spec.dtype) for name, spec in specs.items()}
