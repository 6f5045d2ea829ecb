"""Batches for training out of any number of sources: shuffled, selected, split, bounded in memory, gone on with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Generic, Literal, NotRequired, TypedDict, Unpack, cast, overload

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.schema import TrajectorySchema
from townlet_trajectory.data.split import is_held_out
from townlet_trajectory.data.steps import StepBatch
from townlet_trajectory.dataset.memory import BatchT, StepUnit, TrajectoryUnit, Unit, UnitName
from townlet_trajectory.dataset.reader import DatasetOptions, DatasetReader
from townlet_trajectory.dataset.selection import StepSelection, StepWeights, select_steps
from townlet_trajectory.dataset.source import ChainedSource, TrajectorySource, TrajectoryTable
from townlet_trajectory.errors import DatasetError
from townlet_trajectory.storage.json import JsonValue


class _Options(TypedDict):
    batch_size: int
    seed: int
    shuffle: NotRequired[bool]
    drop_last: NotRequired[bool]
    memory_budget_bytes: NotRequired[int | None]
    select: NotRequired[StepSelection]
    weights: NotRequired[StepWeights | None]


class TrajectoryDataset(Generic[BatchT]):
    """Batches of steps, or of whole trajectories, of one or several sources with equal schemas.

    An epoch hands out every selected unit (step or trajectory) exactly once, or with weights as many draws as there are
    units. Which units make up batch n of epoch e is a pure function of the seed, e, n and the dataset.

    Memory: a block is what a source reads at once, and as many blocks as fit into the budget are a window. Each epoch
    shuffles the blocks, then the units of each window. Without a budget everything is one window, and the shuffle is a
    uniform one; with one, batches mix units of the same few blocks (CorgiPile, arXiv:2206.05830, shows how little
    this costs as long as a window holds several blocks). The budget covers decoded and encoded bytes, the index of
    the window's rows and the batches; not the tables of trajectories (some 100 bytes each).

    Examples:
        >>> import numpy as np
        >>> from townlet_trajectory import ArraySpec, BatchSource, Trajectory, TrajectoryBatch, TrajectorySchema
        >>> columns = {"observations": {"x": ArraySpec("float32")}, "decisions": {"action": ArraySpec("int64")}}
        >>> alice = Trajectory(
        ...     schema=TrajectorySchema(**columns, vocabulary=("wait", "eat")),
        ...     observations={"x": np.float32([0, 1, 2, 3])}, columns={"action": np.array([0, 1, 1])},
        ...     rewards=np.float32([0.0, 1.0, 0.5]), ticks=np.array([1, 2, 3]),
        ...     terminated=True, truncated=False, agent_id="alice", world=0, episode=0,
        ... )
        >>> source = BatchSource(TrajectoryBatch.from_trajectories([alice]))
        >>> dataset = TrajectoryDataset(source, batch_size=2, seed=7, shuffle=False)
        >>> [steps.rewards.tolist() for steps in dataset]
        [[0.0, 1.0], [0.5]]
        >>> dataset.position().epoch
        1
    """

    @overload
    def __init__(
        self: TrajectoryDataset[StepBatch],
        *sources: TrajectorySource,
        unit: Literal["steps"] = "steps",
        next_observations: bool = False,
        **options: Unpack[_Options],
    ) -> None: ...

    @overload
    def __init__(
        self: TrajectoryDataset[TrajectoryBatch],
        *sources: TrajectorySource,
        unit: Literal["trajectories"],
        **options: Unpack[_Options],
    ) -> None: ...

    def __init__(
        self,
        *sources: TrajectorySource,
        unit: UnitName = "steps",
        next_observations: bool = False,
        **options: Unpack[_Options],
    ) -> None:
        """Look at the tables, and at the columns that the selection and the weights ask about; read nothing else.

        Args:
            sources: at least one; their schemas are equal.
            unit: `steps` hands out `StepBatch`es, `trajectories` hands out `TrajectoryBatch`es.
            next_observations: give step batches what each action led to.

        Keyword Args:
            batch_size (int): units of a batch. The last one of an epoch is smaller where they do not come out even.
            seed (int): of the shuffle and the draws, >= 0.
            shuffle (bool): anew for every epoch. False: in the order of the sources.
            drop_last (bool): leave a smaller last batch out.
            memory_budget_bytes (int | None): the most that is held at a time. None: no bound.
            select (StepSelection): which steps are taken; of trajectories, those with at least one such step, whole.
            weights (StepWeights | None): draw steps with replacement, in proportion to them; a trajectory weighs as
                much as its selected steps.

        Raises:
            DatasetError: if an option is out of range, or weights are negative, not finite or all 0.
            MemoryBudgetError: if the budget is less than one block and the batches need.
            SchemaError: if schemas differ, or there is no such decision column.
            ArtifactError: if a column cannot be read.
        """
        source = sources[0] if len(sources) == 1 else ChainedSource(sources)
        chosen = DatasetOptions(unit=unit, next_observations=next_observations, **options)
        selected = select_steps(source, chosen.select, chosen.weights)
        steps, whole = StepUnit(with_next=next_observations), TrajectoryUnit(with_replacement=chosen.order.weighted)
        # Which of the two it is, and hence `BatchT`, is what the overloads above say of `unit`.
        kind = cast("Unit[BatchT]", steps if unit == "steps" else whole)
        self._read_with(DatasetReader(source, chosen, selected, kind))

    def _read_with(self, reader: DatasetReader[BatchT]) -> None:
        self.reader = reader
        self.schema: TrajectorySchema = reader.source.schema
        self.table: TrajectoryTable = reader.source.table
        """All trajectories of the sources, selected or not: `StepBatch.trajectories` are its rows."""
        self._next: tuple[int, int] = (0, 0)

    @property
    def num_units(self) -> int:
        """Steps, or trajectories, of an epoch."""
        return self.reader.num_units

    @property
    def peak_bytes(self) -> int:
        """A bound of the memory that reading takes at a time, never above the budget where there is one.

        Beside it are the tables of trajectories of the sources, some 100 bytes a trajectory.
        """
        return self.reader.peak_bytes

    def __len__(self) -> int:
        """Batches of an epoch."""
        whole, rest = divmod(self.num_units, self.reader.options.batch_size)
        return whole + (rest > 0 and not self.reader.options.drop_last)

    def batch(self, epoch: int, number: int) -> BatchT:
        """Batch `number` of an epoch, without those before it: at most the blocks of its own windows are read. Raises
        `IndexError` if there is no such batch; `ArtifactError` if a block cannot be read."""
        if epoch < 0 or not 0 <= number < len(self):
            raise IndexError(f"batch {number} of {len(self)}, epoch {epoch}")
        first = number * self.reader.options.batch_size
        return self.reader.batch(epoch, first, min(first + self.reader.options.batch_size, self.num_units))

    def epoch(self, number: int) -> Iterator[BatchT]:
        """All batches of epoch `number` >= 0. The position stays as it is."""
        return (self.batch(number, batch) for batch in range(len(self)))

    def __iter__(self) -> Iterator[BatchT]:
        """The batches from the position to the end of its epoch; the next iteration hands out the next epoch.

        The position moves on as a batch is handed out, so a loop that is left early is gone on with by the next one.
        """
        epoch, batch = self._next
        if batch >= len(self):  # an epoch without batches
            self._next = (epoch + 1, 0)
        while self._next[0] == epoch:
            batch = self._next[1]
            handed_out = self.batch(epoch, batch)
            self._next = (epoch, batch + 1) if batch + 1 < len(self) else (epoch + 1, 0)
            yield handed_out

    def position(self) -> DatasetPosition:
        """Which batch comes next. Small, and JSON by its `document`."""
        epoch, batch = self._next
        return DatasetPosition(epoch=epoch, batch=batch, fingerprint=self.reader.fingerprint)

    def seek(self, position: DatasetPosition) -> None:
        """Go on where `position` says. Nothing that was handed out before is read again. Raises `DatasetError` if the
        position is of another dataset or other options, or there is no such batch."""
        if position.fingerprint != (own := self.reader.fingerprint):
            differ = f"expected fingerprint {own}, got {position.fingerprint}"
            raise DatasetError(f"the position is of another dataset or of other options: {differ}")
        if position.batch >= max(1, len(self)):
            raise DatasetError(f"an epoch has {len(self)} batches, the position says batch {position.batch}")
        self._next = (position.epoch, position.batch)

    def split(self, held_out: float, *, seed: int) -> tuple[TrajectoryDataset[BatchT], TrajectoryDataset[BatchT]]:
        """Two datasets with the same options, (train, held out); all trajectories of a world's episode are on one side.

        The side is a pure function of (seed, world, episode), as in `TrajectoryBatch.split_by_episode`: data that is
        added later moves nothing. With few episodes a side may be empty. Each side has the whole memory budget. Raises
        `ShapeError` if `held_out` is not in [0, 1].
        """
        aside = is_held_out(held_out, seed=seed, worlds=self.table.worlds, episodes=self.table.episodes)
        return self.restricted(~aside), self.restricted(aside)

    def restricted(self, trajectories: NDArray[np.bool_]) -> TrajectoryDataset[BatchT]:
        """The same of some trajectories only: those where the mask [B] over `table` is true. Raises `DatasetError` if
        the mask has another shape, or all weights there are 0."""
        if trajectories.dtype != np.bool_ or trajectories.shape != (len(self.table),):
            raise DatasetError(
                f"`trajectories` must be bool [{len(self.table)}], got {trajectories.dtype} {trajectories.shape}"
            )
        reader = self.reader
        restricted: TrajectoryDataset[BatchT] = TrajectoryDataset.__new__(TrajectoryDataset)
        selected = reader.selected.within(trajectories)
        restricted._read_with(DatasetReader(reader.source, reader.options, selected, reader.unit))
        return restricted


_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class DatasetPosition:
    """The batch that comes next."""

    epoch: int
    """Number of the epoch, >= 0."""
    batch: int
    """Number of the batch within it, >= 0."""
    fingerprint: str
    """SHA-256 (hex) of the content of the dataset and of every option that decides what its batches hold."""

    def __post_init__(self) -> None:
        for name, number in (("epoch", self.epoch), ("batch", self.batch)):
            if type(number) is not int or number < 0:
                raise DatasetError(f"position: `{name}` must be an integer >= 0, got {number!r:.80}")
        if not isinstance(self.fingerprint, str) or not _SHA256.fullmatch(self.fingerprint):
            raise DatasetError(f"position: `fingerprint` must be 64 hex digits, got {self.fingerprint!r:.80}")

    def document(self) -> dict[str, JsonValue]:
        """As JSON; `position_of` is the inverse."""
        return {"epoch": self.epoch, "batch": self.batch, "fingerprint": self.fingerprint}


def position_of(document: JsonValue) -> DatasetPosition:
    """The position that `DatasetPosition.document` made; `DatasetError` if it is anything else."""
    names = [field.name for field in fields(DatasetPosition)]
    if not isinstance(document, dict) or document.keys() != set(names):
        raise DatasetError(f"a position must be an object of {', '.join(names)}, got {document!r:.200}")
    values: dict[str, Any] = document
    return DatasetPosition(**values)
