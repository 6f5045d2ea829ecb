"""The record of a run: what every unit collects becomes shards, written by whoever steps the unit.

Each group of agents has a dataset, each unit a part of it, each collection a shard, whose number is that of the
collection in the run. How many collections there were is in the state of a unit, beside that of its worlds: a unit that
is done again, anywhere, writes the same files again. The run's process takes only the entries of the shards, and
lists them when a checkpoint is due.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from townlet_behavior import SavedState, join_groups, split_groups
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.saved_state import saved_number
from townlet_runtime.workers.messages import Message
from townlet_trajectory import DatasetInfo, PartOwner, PartWriter
from townlet_trajectory.dataset.info import MAX_SHARDS, parse_shard
from townlet_trajectory.errors import ManifestError
from townlet_trajectory.evaluation.interfaces import (
    NO_OPPONENTS,
    AheadCollector,
    AnyActor,
    Collected,
    Opponents,
)
from townlet_trajectory.formats.shards.parts import MAX_PARTS
from townlet_trajectory.formats.shards.targets import require_nothing_there
from townlet_trajectory.storage.folders import folder_of
from townlet_trajectory.storage.json import Fields
from townlet_trajectory.storage.urls import Place, Url

if TYPE_CHECKING:
    from townlet_runtime.core.rollouts import Collector
    from townlet_runtime.simulation.interface import SimulationSpec
    from townlet_runtime.workers.units import Unit

Written = Mapping[str, Any]
"""What a unit has written of one collection: by group the entry of a shard as JSON, or None where there was no row."""

_COUNT, _WORLDS = "recorded", "worlds"
"""Parts of a saved state."""


@dataclass(frozen=True, kw_only=True)
class RecordPlace:
    """Where a run records, and what tells its record from that of any other run."""

    place: Place
    """Absolute, or a URL."""
    token: str

    @classmethod
    def told(cls, message: Message) -> RecordPlace:
        """Undo `message`."""
        url = message["url"]
        return cls(place=Path(message["path"]) if url is None else Url(url), token=message["token"])

    def message(self) -> Message:
        """Return it as a worker is told; a URL as it was typed."""
        is_url = isinstance(self.place, Url)
        url = self.place.text if isinstance(self.place, Url) else None
        return {"url": url, "path": None if is_url else str(self.place), "token": self.token}

    def dataset(self, group: str) -> Place:
        """The place of the dataset of a group."""
        return self.place / group


def part_of(unit: Unit) -> str:
    """Return the name of the part that a unit writes; names sort as units do."""
    return f"unit-{unit.index:04}"


class RecordingCollector:
    """A collector of one unit that writes what it collects.

    Args:
        collector: of the unit.
        place: of the record.
        unit: whose worlds they are.
    """

    def __init__(self, collector: Collector, place: RecordPlace, unit: Unit) -> None:
        self._collector, self._place, self._part = collector, place, part_of(unit)
        self._writers: dict[str, PartWriter] = {}
        self._count = 0
        self.written: tuple[Written, ...] = ()
        """Of the last collection, by its only unit."""

    @property
    def specs(self) -> Mapping[str, SimulationSpec]:
        """See `Collector.specs`."""
        return self._collector.specs

    def collect(
        self,
        actors: Mapping[str, AnyActor] | None,
        *,
        num_ticks: int,
        ratio: float,
        opponents: Opponents = NO_OPPONENTS,
    ) -> Collected:
        """Collect and write; see `Collector.collect`.

        Raises:
            ArtifactError: if the place is not seen from here, or a file cannot be written.
            SchemaError: if the rows are too many for one shard.
        """
        collected = self._collector.collect(actors, num_ticks=num_ticks, ratio=ratio, opponents=opponents)
        written: dict[str, Any] = {}
        for group, batch in collected.batches.items():
            entry = self._writer(group).write(self._count, batch)
            written[group] = None if entry is None else entry.document()
        self.written, self._count = (written,), self._count + 1
        return collected

    def _writer(self, group: str) -> PartWriter:
        if group not in self._writers:
            self._writers[group] = PartWriter(self._place.dataset(group), self._part, token=self._place.token)
        return self._writers[group]

    def save_state(self) -> SavedState | None:
        """See `Collector.save_state`; how much was written is part of it."""
        return _with_count(self._collector.save_state(), self._count)

    def restore(self, state: SavedState) -> None:
        """See `Collector.restore`; the next shard has the number that it has in the unbroken run."""
        self._count, worlds = _count_of(state)
        self._collector.restore(worlds)


def written_by(collectors: Iterable[Collector | RecordingCollector]) -> list[Written]:
    """Return what the collectors of some units have written of their last collection; those that write nothing are
    left out."""
    return [one for each in collectors if isinstance(each, RecordingCollector) for one in each.written]


class RunRecord:
    """The record of a run as its own process has it: which shards belong to it.

    A context manager: where the block ends without an exception, all that was taken is listed, and what does not belong
    to the record is removed. Nobody may collect any more then. Until the end nobody else may write to the record, or
    label it.

    Args:
        place: of the record.
        units: of the run.
        groups: that are recorded.
        info: where the rows come from; group and unit are added.
        num_collections: that are planned at most.

    Raises:
        SimulationError: if the units or the collections are more than a dataset can list.
        MissingExtraError: without pyarrow; of a URL without fsspec.
    """

    def __init__(
        self,
        place: RecordPlace,
        units: Sequence[Unit],
        groups: Collection[str],
        *,
        info: DatasetInfo,
        num_collections: int,
    ) -> None:
        for count, limit, what in (
            (num_collections, MAX_SHARDS, "collections: lower `total_env_steps`, or collect more ticks at a time"),
            (len(units), MAX_PARTS, "units: give `unit_worlds` more worlds"),
        ):
            if count > limit:
                raise SimulationError(f"a record has at most {limit:,} {what}; the run has {count:,}")
        self.place = place
        self._groups = tuple(groups)
        self._owners = [
            {group: _owner(place, unit, replace(info, group=group)) for group in self._groups} for unit in units
        ]
        self._begun = False

    def require_free(self) -> None:
        """Refuse a place where something is recorded; nothing is made there. Raises `ArtifactError` if it holds a
        dataset or a part of one, or cannot be asked."""
        for group in self._groups:
            require_nothing_there(folder_of(self.place.dataset(group)))

    def begin(self, count: int) -> None:
        """Claim the place, and go back to the first collections; nobody may collect meanwhile.

        Args:
            count: of collections that are kept; 0 of a run that begins.

        Raises:
            ArtifactError: if the place is that of another record, or lacks what is to be kept.
        """
        for owner in self._all:
            owner.claim()
        for owner in self._all:
            owner.go_back_to(count)
        self._begun = True

    @property
    def begun(self) -> bool:
        """Whether the place was claimed by this process."""
        return self._begun

    def take(self, written: Sequence[Written], collected: Collected) -> None:
        """Take what the units have written of one collection.

        Args:
            written: of each unit.
            collected: by all of them.

        Raises:
            ManifestError: if an entry is none.
        """
        for owners, entries in zip(self._owners, written, strict=True):
            if entries.keys() != owners.keys():
                raise ManifestError(str(self.place.place), "parse", f"expected {sorted(owners)}, got {sorted(entries)}")
            for group, owner in owners.items():
                origin, entry = str(self.place.dataset(group)), entries[group]
                shard = None if entry is None else parse_shard(Fields(entry, origin, error=ManifestError), origin)
                owner.add(shard, collected.batches[group].schema)

    def list_shards(self) -> None:
        """Say of everything that was taken that it belongs to the record. Raises `ArtifactError` if a file is not
        there, or a manifest cannot be written."""
        if self._begun:
            for owner in self._all:
                owner.list_shards()

    def __enter__(self) -> RunRecord:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        with ExitStack() as stack:
            for owner in self._all:
                stack.callback(owner.close)
            if error is None and self._begun:
                for owner in self._all:
                    owner.finish()

    @property
    def _all(self) -> list[PartOwner]:
        return [owner for owners in self._owners for owner in owners.values()]


class Writing(Protocol):
    """A collector whose units write what they collect."""

    @property
    def written(self) -> Sequence[Written]:
        """What each unit has written of the last collection that was taken."""
        ...

    def collect(
        self,
        actors: Mapping[str, AnyActor] | None,
        *,
        num_ticks: int,
        ratio: float,
        opponents: Opponents = NO_OPPONENTS,
    ) -> Collected:
        """See `Collector.collect`."""
        ...

    def save_state(self) -> SavedState | None:
        """See `Collector.save_state`."""
        ...

    def restore(self, state: SavedState) -> None:
        """See `Collector.restore`."""
        ...


class RecordedCollector:
    """The collector of a run whose units write what they collect.

    Args:
        collector: of the run.
        record: of the run.
    """

    def __init__(self, collector: Writing, record: RunRecord) -> None:
        self._collector, self._record = collector, record
        self._count = 0

    @property
    def max_ahead(self) -> int:
        """Collections that can have begun beside the one that is waited for."""
        return self._collector.max_ahead if isinstance(self._collector, AheadCollector) else 0

    def collect(
        self,
        actors: Mapping[str, AnyActor] | None,
        *,
        num_ticks: int,
        ratio: float,
        opponents: Opponents = NO_OPPONENTS,
        ahead: Sequence[float] = (),
    ) -> Collected:
        """Return the next collection, which is in the record by then; see `Collector.collect`.

        Args:
            actors: one for each group; None: the script alone.
            num_ticks: of every world.
            ratio: share of decisions given to the actors.
            opponents: play the groups that are not recorded.
            ahead: the ratios of the collections that come next, where the collector can begin them.

        Raises:
            ArtifactError: if the place of the record is taken, or cannot be written.
            SimulationError: if the collector cannot begin ahead.
        """
        if not self._record.begun:
            self._record.begin(0)
        more: dict[str, Any] = {"num_ticks": num_ticks, "ratio": ratio, "opponents": opponents}
        if ahead:
            if not self.max_ahead:
                raise SimulationError(f"expected a collector that begins ahead, got {type(self._collector).__name__}")
            more["ahead"] = ahead
        collected = self._collector.collect(actors, **more)
        self._record.take(self._collector.written, collected)
        self._count += 1
        return collected

    def save_state(self) -> SavedState | None:
        """See `Collector.save_state`. What was taken is listed first: a checkpoint never says more than the record."""
        self._record.list_shards()
        return _with_count(self._collector.save_state(), self._count)

    def restore(self, state: SavedState) -> None:
        """See `Collector.restore`. The record goes back to the same collection.

        Raises:
            ArtifactError: if the record is not there, or is that of another run.
        """
        self._count, inner = _count_of(state)
        # First: units begin again at once where they were begun ahead.
        self._record.begin(self._count)
        self._collector.restore(inner)


def _owner(place: RecordPlace, unit: Unit, info: DatasetInfo) -> PartOwner:
    notes = {**info.notes, "unit": unit.index, "units": unit.count, "unit_worlds": unit.num_worlds}
    info = replace(info, notes=notes)
    return PartOwner(place.dataset(info.group), part_of(unit), token=place.token, info=info)


def _with_count(state: SavedState | None, count: int) -> SavedState | None:
    """A state of worlds that says how many collections were recorded; None where they cannot be saved."""
    if state is None:
        return None
    return join_groups({_COUNT: {"collections": np.array(count, np.int64)}, _WORLDS: state})


def _count_of(state: SavedState) -> tuple[int, SavedState]:
    """Undo `_with_count`."""
    own, worlds = split_groups(state, (_COUNT, _WORLDS)).values()
    return saved_number(own, "collections"), worlds
