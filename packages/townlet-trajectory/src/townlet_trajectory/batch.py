"""Many trajectories in flat columns: rows of a trajectory are consecutive, `offsets` say where each begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import ContinuityError, SchemaError, ShapeError
from townlet_trajectory.schema import ArraySpec, TrajectorySchema
from townlet_trajectory.trajectory import Array, Trajectory, check_array, check_columns, check_finite

_Scalar = TypeVar("_Scalar", bound=np.generic)

_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15))


@dataclass(frozen=True, kw_only=True, eq=False)
class TrajectoryBatch:
    """B trajectories of together R steps, one after the other."""

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
    terminated: NDArray[np.bool_]
    """[B]; true ends."""
    truncated: NDArray[np.bool_]
    """[B]; cut off from outside. Neither: the trajectory goes on elsewhere."""
    agent_ids: NDArray[np.object_]
    """[B] str."""
    worlds: NDArray[np.int64]
    """[B]."""
    episodes: NDArray[np.int64]
    """[B]; number of the world's episode."""

    def __post_init__(self) -> None:
        offsets = self.offsets
        if offsets.dtype != np.int64 or offsets.ndim != 1 or offsets.size == 0 or offsets[0] != 0:
            raise ShapeError(f"`offsets` must be int64 [B + 1] and begin with 0, got {offsets.dtype} {offsets[:5]}")
        if np.any(np.diff(offsets) < 1):
            raise ShapeError(f"`offsets` must ascend strictly, got {offsets}")
        steps, size = self.num_steps, len(self)
        check_columns("observations", self.observations, self.schema.observations, steps)
        check_columns("final_observations", self.final_observations, self.schema.observations, size)
        check_columns("columns", self.columns, self.schema.decisions, steps)
        check_array("rewards", self.rewards, ArraySpec("float32"), steps)
        check_array("ticks", self.ticks, ArraySpec("int64"), steps)
        for name, flags in (("terminated", self.terminated), ("truncated", self.truncated)):
            check_array(name, flags, ArraySpec("bool"), size)
        for name, numbers in (("worlds", self.worlds), ("episodes", self.episodes)):
            check_array(name, numbers, ArraySpec("int64"), size)
        if self.agent_ids.dtype != np.object_ or self.agent_ids.shape != (size,):
            raise ShapeError(f"`agent_ids` must be object of shape {(size,)}, got {self.agent_ids.dtype}")
        self._check_rows()

    def _check_rows(self) -> None:
        jumps = np.diff(self.ticks) != 1
        jumps[self.offsets[1:-1] - 1] = False
        if np.any(jumps):
            row = int(np.flatnonzero(jumps)[0])
            raise ContinuityError(f"`ticks` of a trajectory must be consecutive, got {self.ticks[row : row + 2]}")
        check_finite("rewards", self.rewards, self.ticks)
        for name in self.schema.observations:
            check_finite(name, self.observations[name], self.ticks)
            check_finite(name, self.final_observations[name], self.ticks[self.row_of_last] + 1)

    def __len__(self) -> int:
        """Trajectories (B)."""
        return len(self.offsets) - 1

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
        """Trajectory `index`, with its final observation appended to the others.

        Raises:
            IndexError: if there is no such trajectory.
        """
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
        )

    @classmethod
    def from_trajectories(cls, trajectories: Sequence[Trajectory]) -> TrajectoryBatch:
        """Put trajectories of equal schemas one after the other, in the given order.

        Raises:
            SchemaError: if there is none, or schemas differ.
        """
        if not trajectories:
            raise SchemaError("a batch needs at least one trajectory, to know its schema")
        schema = trajectories[0].schema
        for trajectory in trajectories:
            schema.require_equal(trajectory.schema)
        agent_ids = np.empty(len(trajectories), object)
        agent_ids[:] = [trajectory.agent_id for trajectory in trajectories]
        return cls(
            schema=schema,
            offsets=np.cumsum([0] + [len(trajectory) for trajectory in trajectories], dtype=np.int64),
            observations={
                name: np.concatenate([trajectory.observations[name][:-1] for trajectory in trajectories])
                for name in schema.observations
            },
            final_observations={
                name: np.stack([trajectory.observations[name][-1] for trajectory in trajectories])
                for name in schema.observations
            },
            columns={
                name: np.concatenate([trajectory.columns[name] for trajectory in trajectories])
                for name in schema.decisions
            },
            rewards=np.concatenate([trajectory.rewards for trajectory in trajectories]),
            ticks=np.concatenate([trajectory.ticks for trajectory in trajectories]),
            terminated=np.array([trajectory.terminated for trajectory in trajectories], np.bool_),
            truncated=np.array([trajectory.truncated for trajectory in trajectories], np.bool_),
            agent_ids=agent_ids,
            worlds=np.array([trajectory.world for trajectory in trajectories], np.int64),
            episodes=np.array([trajectory.episode for trajectory in trajectories], np.int64),
        )

    @classmethod
    def concatenate(cls, batches: Sequence[TrajectoryBatch]) -> TrajectoryBatch:
        """Put batches of equal schemas one after the other, in the given order.

        Raises:
            SchemaError: if there is none, or schemas differ.
        """
        if not batches:
            raise SchemaError("at least one batch is needed, to know the schema")
        schema = batches[0].schema
        for batch in batches:
            schema.require_equal(batch.schema)
        lengths = np.concatenate([batch.lengths for batch in batches])
        return cls(
            schema=schema,
            offsets=np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths))),
            observations=_joined([batch.observations for batch in batches], schema.observations),
            final_observations=_joined([batch.final_observations for batch in batches], schema.observations),
            columns=_joined([batch.columns for batch in batches], schema.decisions),
            rewards=np.concatenate([batch.rewards for batch in batches]),
            ticks=np.concatenate([batch.ticks for batch in batches]),
            terminated=np.concatenate([batch.terminated for batch in batches]),
            truncated=np.concatenate([batch.truncated for batch in batches]),
            agent_ids=np.concatenate([batch.agent_ids for batch in batches]),
            worlds=np.concatenate([batch.worlds for batch in batches]),
            episodes=np.concatenate([batch.episodes for batch in batches]),
        )

    def select(self, indices: NDArray[np.int64]) -> TrajectoryBatch:
        """The trajectories `indices` [K], in that order; copies of the rows."""
        lengths = self.lengths[indices]
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[indices] - offsets[:-1], lengths)
        return TrajectoryBatch(
            schema=self.schema,
            offsets=offsets,
            observations={name: array[rows] for name, array in self.observations.items()},
            final_observations={name: array[indices] for name, array in self.final_observations.items()},
            columns={name: array[rows] for name, array in self.columns.items()},
            rewards=self.rewards[rows],
            ticks=self.ticks[rows],
            terminated=self.terminated[indices],
            truncated=self.truncated[indices],
            agent_ids=self.agent_ids[indices],
            worlds=self.worlds[indices],
            episodes=self.episodes[indices],
        )

    def split_by_episode(self, fraction: float, *, seed: int) -> tuple[TrajectoryBatch, TrajectoryBatch]:
        """Split into (train, held out); all trajectories of a world's episode are on one side.

        The side is a pure function of (seed, world, episode), so data that is added later moves nothing. Each episode
        is held out with probability `fraction`; with few episodes a side may be empty.

        Raises:
            ShapeError: if `fraction` is not in [0, 1].
        """
        if not 0.0 <= fraction <= 1.0:
            raise ShapeError(f"`fraction` must be in [0, 1], got {fraction!r}")
        hashes = np.full(len(self), seed % (1 << 64), np.uint64)
        for numbers in (self.worlds, self.episodes):
            hashes = _mix(_mix(hashes) + numbers.astype(np.uint64))
        held_out = (_mix(hashes) >> np.uint64(11)) * 2.0**-53 < fraction
        return self.select(np.flatnonzero(~held_out)), self.select(np.flatnonzero(held_out))

    def padded(self, flat: NDArray[_Scalar]) -> tuple[NDArray[_Scalar], NDArray[np.bool_]]:
        """Lay the rows of `flat` [R, ...] out as [B, T, ...], T the greatest length; zeros behind the shorter ones.

        Returns:
            The padded array and a mask [B, T], true where there is a step.
        """
        if len(flat) != self.num_steps:
            raise ShapeError(f"`flat` must have {self.num_steps} rows, got {len(flat)}")
        mask = self._mask()
        padded = np.zeros((*mask.shape, *flat.shape[1:]), flat.dtype)
        padded[mask] = flat
        return padded, mask

    def flatten(self, padded: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """The inverse of `padded`: [B, T, ...] -> [R, ...]."""
        mask = self._mask()
        if padded.shape[:2] != mask.shape:
            raise ShapeError(f"`padded` must have shape {(*mask.shape, ...)}, got {padded.shape}")
        return padded[mask]

    def _mask(self) -> NDArray[np.bool_]:
        lengths = self.lengths
        mask: NDArray[np.bool_] = np.arange(lengths.max(initial=0)) < lengths[:, None]
        return mask


def _joined(parts: Sequence[Mapping[str, Array]], specs: Mapping[str, ArraySpec]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in specs}


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finalizer (Steele, Lea & Flood 2014)."""
    values = values + _MIX[2]
    values = (values ^ (values >> np.uint64(30))) * _MIX[0]
    values = (values ^ (values >> np.uint64(27))) * _MIX[1]
    return values ^ (values >> np.uint64(31))
