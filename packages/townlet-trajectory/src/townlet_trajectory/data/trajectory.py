"""Consecutive steps of one agent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.checks import check_agent_ids, check_array, check_columns, check_finite
from townlet_trajectory.data.schema import Array as Array
from townlet_trajectory.data.schema import ArraySpec, EpisodeLabel, TrajectorySchema
from townlet_trajectory.errors import ContinuityError, SchemaError, ShapeError

ROW_SPECS = {"rewards": ArraySpec("float32"), "ticks": ArraySpec("int64")}
"""What every step has beside the columns of the schema."""
TRAJECTORY_SPECS = {
    "terminated": ArraySpec("bool"),
    "truncated": ArraySpec("bool"),
    "worlds": ArraySpec("int64"),
    "episodes": ArraySpec("int64"),
    "episode_labels": ArraySpec("int8"),
}
LABELS = "episode_labels"
"""The one of them that files leave out where no trajectory has a label."""
TRAJECTORY_FIELDS = ("agent_ids", *TRAJECTORY_SPECS)
"""What every trajectory of a batch has."""


_Scalar = TypeVar("_Scalar", bound=np.generic)


def frozen(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """Return `array` as one that cannot be written to.

    An array that is handed over whole is taken over: it becomes read-only itself, nothing is copied. Of an array that
    is a part of a writable one, or of memory that is not numpy's, a copy is taken.
    """
    owner: NDArray[np.generic] = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if owner.flags.writeable:
        if owner.base is not None or owner.nbytes != array.nbytes:
            array = owner = array.copy()
        owner.flags.writeable = False
    array.flags.writeable = False
    return array


class Frozen(ABC):
    """A frozen dataclass of arrays, and of arrays by name, none of which can be written to."""

    @abstractmethod
    def __post_init__(self) -> None:
        """Check the fields, then `freeze` them."""

    def __setstate__(self, state: Mapping[str, object]) -> None:
        # A copy, or what another process sent, is as valid and as read-only.
        self.__dict__.update(state)
        self.__post_init__()

    def freeze(self) -> None:
        """Replace every array by `frozen` of it."""
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                object.__setattr__(self, name, frozen(value))
            elif isinstance(value, Mapping):
                object.__setattr__(self, name, {key: frozen(array) for key, array in value.items()})


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ManyTrajectories:
    """Identity and end of B trajectories, in whatever form their steps are."""

    agent_ids: NDArray[np.object_]
    """[B] str."""
    worlds: NDArray[np.int64]
    """[B]."""
    episodes: NDArray[np.int64]
    """[B]; number of the world's episode."""
    terminated: NDArray[np.bool_]
    """[B]; true ends."""
    truncated: NDArray[np.bool_]
    """[B]; cut off from outside. Neither: the trajectory goes on elsewhere."""
    episode_labels: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    """[B]; `EpisodeLabel` of each. Left out: all are `NONE`. Of the pieces of one trajectory the latest that is not
    `NONE` is that of the whole."""

    def check_trajectories(self, size: int) -> None:
        """Raise `SchemaError` or `ShapeError` unless these are arrays of `size` rows, the ids text, and the labels
        those of `EpisodeLabel`; labels that were left out become `NONE`."""
        if not len(self.episode_labels):
            object.__setattr__(self, "episode_labels", np.zeros(size, np.int8))
        for name, spec in TRAJECTORY_SPECS.items():
            check_array(name, vars(self)[name], spec, size)
        check_agent_ids(self.agent_ids, size)
        labels = self.episode_labels
        if size and not 0 <= labels.min() <= labels.max() < len(EpisodeLabel):
            known = f"in [0, {len(EpisodeLabel)})"
            raise SchemaError(f"`episode_labels` must be {known}, got {labels.min()} ... {labels.max()}")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Trajectory(Frozen):
    """T >= 1 consecutive steps of one agent, none of them beyond its end.

    `trajectory[first:stop]` are some of its steps. The arrays are taken over and read-only, as those of a batch.

    Examples:
        >>> import numpy as np
        >>> from townlet_trajectory import ArraySpec, Trajectory, TrajectorySchema
        >>> trajectory = Trajectory(
        ...     schema=TrajectorySchema(
        ...         observations={"x": ArraySpec("float32")}, decisions={"action": ArraySpec("int64")}, vocabulary=()
        ...     ),
        ...     observations={"x": np.array([0, 1, 2, 3], np.float32)},
        ...     columns={"action": np.array([1, 0, 1])},
        ...     rewards=np.array([0, 0, 5], np.float32),
        ...     ticks=np.array([7, 8, 9]),
        ...     terminated=True,
        ...     truncated=False,
        ...     agent_id="ann",
        ...     world=0,
        ...     episode=0,
        ... )
        >>> trajectory[1:]
        <Trajectory: 'ann', world 0, episode 0, 2 steps>
    """

    schema: TrajectorySchema
    observations: Mapping[str, Array]
    """Each [T + 1, ...]; row t is what decision t was made from, the last is what the last action led to."""
    columns: Mapping[str, Array]
    """The decision columns, each [T, ...]."""
    rewards: NDArray[np.float32]
    """[T]; what the action of the row earned."""
    ticks: NDArray[np.int64]
    """[T]; consecutive."""
    terminated: bool
    """A true end: the state after the last step is worth 0."""
    truncated: bool
    """Cut off from outside: the state after the last step is worth what its observation says. Neither: it goes on."""
    agent_id: str
    world: int
    episode: int
    """Number of the world's episode."""
    episode_label: EpisodeLabel = EpisodeLabel.NONE
    """What was said of the episode."""

    def __post_init__(self) -> None:
        steps = len(self)
        if steps == 0:
            raise ShapeError("a trajectory has at least one step")
        if not isinstance(self.episode_label, EpisodeLabel):
            raise SchemaError(f"`episode_label` must be an `EpisodeLabel`, got {self.episode_label!r:.80}")
        check_columns("observations", self.observations, self.schema.observations, steps + 1)
        check_columns("columns", self.columns, self.schema.decisions, steps)
        check_array("rewards", self.rewards, ROW_SPECS["rewards"], steps)
        check_array("ticks", self.ticks, ROW_SPECS["ticks"], steps)
        if np.any(np.diff(self.ticks) != 1):
            raise ContinuityError(f"`ticks` of {self.agent_id!r} must be consecutive, got {self.ticks}")
        ticks = np.append(self.ticks, self.ticks[-1] + 1)
        check_finite("rewards", self.rewards, ticks)
        for name, observation in self.observations.items():
            check_finite(name, observation, ticks)
        self.freeze()

    def __len__(self) -> int:
        """Steps (T)."""
        return len(self.rewards)

    def __repr__(self) -> str:
        return f"<Trajectory: {self.agent_id!r}, world {self.world}, episode {self.episode}, {len(self)} steps>"

    def __getitem__(self, steps: slice) -> Trajectory:
        """The steps `first:stop`, as views; the observation after the last of them is their final one.

        Without the last step of the whole they are neither terminated nor truncated: the trajectory goes on. Raises
        `ShapeError` if there is no such step, or the slice leaves some out.
        """
        first, stop, stride = steps.indices(len(self))
        if stride != 1 or stop <= first:
            raise ShapeError(f"a slice of {len(self)} steps must hold consecutive ones, at least one, got {steps}")
        ends = stop == len(self)
        return replace(
            self,
            observations={name: array[first : stop + 1] for name, array in self.observations.items()},
            columns={name: array[first:stop] for name, array in self.columns.items()},
            rewards=self.rewards[first:stop],
            ticks=self.ticks[first:stop],
            terminated=self.terminated and ends,
            truncated=self.truncated and ends,
        )
