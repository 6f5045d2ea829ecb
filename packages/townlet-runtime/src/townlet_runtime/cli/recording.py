"""Recordings of `townlet run --record` and `townlet capture rollout`: where they go, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

from townlet_behavior import BatchController, Guardrail, proposers_of, veto_reasons_of
from townlet_runtime.adapters.named_code import Factory, blamed, made_by, registered_factory
from townlet_runtime.errors import ConfigError
from townlet_runtime.runs.directory import require_writable
from townlet_runtime.simulation.interface import Observed, SimulationSpec
from townlet_runtime.simulation.recorded import schema_of
from townlet_trajectory import TrajectoryBatch, TrajectoryService
from townlet_trajectory.data.batch import BatchSink
from townlet_trajectory.dataset.curation import reshard
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.formats.convert import convert, target_names
from townlet_trajectory.formats.shards.parts import PARTS
from townlet_trajectory.storage.entry_points import registered_names
from townlet_trajectory.storage.folders import folder_of
from townlet_trajectory.storage.manifest import MANIFEST_NAME
from townlet_trajectory.storage.urls import Place, Url, named_place

MAX_ROWS = 2_000_000
"""Steps of agents that a recording keeps in memory."""
SINKS = "townlet.sinks"
"""Entry point group of places that take recorded batches, other than files of a known format."""
SHARDS = "shards"
CAPTURES, PLAIN = "captures", "npz"
"""The formats of a recording that names none: of the town, and of other worlds."""
_NAMES = {"npz": "{}.npz", "minari": "{}-v0"}
"""File or folder of a group, by format; a folder of its name elsewhere."""


Target: TypeAlias = "FileTarget | SinkTarget"


@dataclass(frozen=True, kw_only=True)
class FileTarget:
    """A folder that a recording is written to."""

    folder: Place
    format: str | None
    """None: captures of the town, npz of other worlds."""
    writer: str | None = None
    """Name of the part of a dataset of shards that is written; None: a dataset of its own."""

    def __post_init__(self) -> None:
        why = f"--writer {self.writer}: a part" if self.writer is not None else f"{self.folder}: what a URL holds"
        if (self.writer is not None or isinstance(self.folder, Url)) and self.format != SHARDS:
            raise ConfigError(f"{why} is written as shards, got {self.format}")

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.folder)

    def require(self, environment: str, *, is_town: bool) -> None:
        """Refuse captures of another world than the town, and a folder that cannot be written to.

        Raises:
            ConfigError, RunDirectoryError, ArtifactError: name the world or the folder.
        """
        if self.format == CAPTURES and not is_town:
            raise ConfigError(f"captures hold what a town shows, and the world is `{environment}`; name another format")
        if isinstance(self.folder, Url):
            folder_of(self.folder).holds(MANIFEST_NAME)  # a store that cannot be asked is named before the run
        else:
            require_writable(self.folder)

    def write(self, batch: TrajectoryBatch, info: DatasetInfo, *, prefix: str = "") -> Place:
        """Write the trajectories of one group in a format of townlet-trajectory; return the place.

        Args:
            batch: the trajectories.
            info: their origin.
            prefix: beginning of the name in the folder.
        """
        form = PLAIN if self.format is None else self.format
        path = self.folder / _NAMES.get(form, "{}").format(f"{prefix}{info.group}")
        if self.writer is not None:
            from townlet_trajectory.formats.shards.writer import ShardWriter  # needs an extra

            with ShardWriter(path, batch.schema, info=info, writer=self.writer) as part:
                reshard(BatchSource(batch), part)
            return path / PARTS / self.writer
        return convert(batch, path, to=form, info=info).target


@dataclass(frozen=True, kw_only=True)
class SinkTarget:
    """A registered sink that a recording is written to.

    It is a function of the text after `NAME:` and, as keyword arguments, the `TrajectorySchema` of the batches and the
    `DatasetInfo` of one group of agents (`schema`, `info`); it returns a context manager that gives a `BatchSink`.
    """

    name: str
    target: str

    @property
    def place(self) -> str:
        """Name and target."""
        return f"{self.name}:{self.target}"

    def require(self, environment: str, *, is_town: bool) -> None:
        """Refuse a sink that cannot be imported; any world will do.

        Raises:
            ConfigError: names the sink.
        """
        self._factory()

    def _factory(self) -> Factory:
        factory = registered_factory(SINKS, self.name)
        if factory is None:
            raise ConfigError(f"no sink `{self.name}` is registered in `{SINKS}`")
        return factory

    def write(self, batch: TrajectoryBatch, info: DatasetInfo, *, prefix: str = "") -> str:
        """Hand the trajectories of one group to the sink; return its name and target.

        Args:
            batch: the trajectories.
            info: their origin.
            prefix: of no effect.

        Raises:
            ConfigError: if the sink cannot be opened.
            SimulationError: if it fails.
        """
        label = f"the sink `{self.name}`"
        opened: AbstractContextManager[BatchSink] = made_by(
            self._factory(),
            self.target,
            settings={"schema": batch.schema, "info": info},
            label=label,
            takes="a target, and `schema` and `info` as keyword arguments",
        )
        with blamed(label), opened as sink:
            sink.write(batch)
        return self.place


def parse_target(text: str, *, writer: str | None = None) -> Target:
    """Parse `DIR`, `FORMAT:DIR` or `SINK:TARGET`; DIR may be a URL, and then `FORMAT` is shards.

    Args:
        text: the value of `--record` or `--output`. A colon of another word belongs to the folder's name.
        writer: the value of `--writer`, with which `FORMAT` is shards.

    Raises:
        ConfigError: if `writer` or a URL is named for another format, or a sink.
        ArtifactError: if a URL is none that is opened.
    """
    name, colon, rest = text.partition(":")
    if colon and name in registered_names(SINKS):
        if writer is not None:
            raise ConfigError(f"--writer {writer}: a part is written as shards, got the sink `{name}`")
        return SinkTarget(name=name, target=rest)
    form, named = (name, rest) if colon and name in target_names() else (None, text)
    folder = named_place(named)
    if form is None and (writer is not None or isinstance(folder, Url)):
        form = SHARDS
    return FileTarget(folder=folder, format=form, writer=writer)


def target_named(text: str | None, *, writer: str | None) -> Target | None:
    """Parse the values of `--record` and `--writer`; None where neither was given. Raises `ConfigError` as
    `parse_target`, and for `--writer` alone."""
    if text is not None:
        return parse_target(text, writer=writer)
    if writer is not None:
        raise ConfigError(f"--writer {writer}: name what it writes to, --record shards:DIR")
    return None


def recorder_of(
    spec: SimulationSpec,
    observed: Observed,
    controller: BatchController,
    guardrails: Sequence[Guardrail],
    *,
    state_size: int = 0,
    numbers_policies: bool = False,
) -> TrajectoryService:
    """Return a recorder of one group, whose schema has a mask where the world shows one, and all names.

    Args:
        spec: of the group.
        observed: its beginning.
        controller: its script, which names the proposers.
        guardrails: its own, which name the reasons of vetoes.
        state_size: numbers of its policy's memory, which is recorded before every tick.
        numbers_policies: whether it is recorded which policy proposed, where one may follow another.
    """
    schema = schema_of(
        spec,
        masked=observed.action_mask is not None,
        proposers=proposers_of(controller),
        veto_reasons=veto_reasons_of(guardrails),
        state_size=state_size,
        numbers_policies=numbers_policies,
    )
    return TrajectoryService(schema, max_rows=MAX_ROWS, on_full="raise")


def require_room(ticks: int, specs: Mapping[str, SimulationSpec], *, option: str, remedy: str) -> None:
    """Refuse a recording that does not fit into memory.

    Args:
        ticks: of the recording.
        specs: of the world, by group of agents.
        option: named in the error.
        remedy: the option that makes it smaller.

    Raises:
        ConfigError: says how many steps of agents there may be.
    """
    rows = ticks * sum(spec.capacity for spec in specs.values())
    if rows > MAX_ROWS:
        raise ConfigError(
            f"keeps at most {MAX_ROWS:,} steps of agents in memory, and these are {rows:,}; lower {remedy}", file=option
        )
