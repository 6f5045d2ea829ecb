"""`townlet live --replay`: a record in the browser."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from townlet_behavior import BehaviorError
from townlet_runtime.cli.console import CommandError, Console, one_line, stop_on_signals
from townlet_runtime.cli.running.page import DEFAULT_SPEED, LiveOptions, import_server, warn_of_network
from townlet_runtime.cli.world_options import WorldOptions, is_world_code
from townlet_runtime.cli.worlds import Worlds, load, option, seed_of
from townlet_runtime.config import Config, config_from
from townlet_runtime.errors import ConfigError, TownletError
from townlet_runtime.runs.directory import BEGUN, CHECKPOINTS, INITIAL
from townlet_runtime.runs.recorded import warnings_to
from townlet_trajectory import ArtifactError, DatasetInfo, TrajectoryBatch, TrajectoryError
from townlet_trajectory.audit.agent_steps import names_of_record
from townlet_trajectory.data.pieces import joined
from townlet_trajectory.dataset.memory import step_bytes
from townlet_trajectory.dataset.source import blocks_of
from townlet_trajectory.evaluation.results import LEARNED
from townlet_trajectory.formats.open import OpenDataset, format_of, open_dataset

if TYPE_CHECKING:
    from townlet_runtime.live.record import Record
    from townlet_runtime.live.replay import ReplayStage
    from townlet_runtime.live.resimulation import Resimulation
    from townlet_trajectory.audit.explanation import StepNames

MAX_STEPS, MAX_BYTES = 2_000_000, 2 << 30
"""Of agents, and of all their columns in memory, that are replayed."""
MAX_GROUPS = 64
_CAPTURE = "capture"
_OF_RUNS = (INITIAL, CHECKPOINTS)
"""Folders of a run's own."""


@dataclass(frozen=True, kw_only=True)
class ReplayOptions:
    """What `townlet live --replay` is asked for; None where an option was not given."""

    record: Path
    config: Path | None
    world: WorldOptions
    pace: float | None
    """Ticks a second."""
    seed: int | None
    settings: Sequence[str]

    @property
    def names_world(self) -> bool:
        """Whether somebody says which world the record is of."""
        return self.config is not None or bool(self.settings) or self.world != WorldOptions()


def require_unchanged(world: WorldOptions, given: Mapping[str, object]) -> None:
    """Refuse options that would change what has happened.

    Args:
        world: of the command line; its controller and guardrails are of no use.
        given: values of options by their names; None where one was not given.

    Raises:
        CommandError: names the first.
    """
    named = {**given, "--controller": world.controller, "--guardrail": world.guardrails or None}
    for name, value in named.items():
        if value is not None:
            raise CommandError(f"{name}: --replay shows a record, in which nothing can be changed; leave it out")


def serve_replay(options: ReplayOptions, page: LiveOptions, console: Console) -> int:
    """Serve the page on a record until a signal comes, and return the exit code.

    Args:
        options: name the record, and its world where that is asked for.
        page: where and how it is served.
        console: of the command.

    Raises:
        MissingExtraError: if the extra `live` is not installed.
        ArtifactError: if the record cannot be read.
        ConfigError: if it is too large or empty, or nobody can listen at the address.
    """
    import_server()
    from townlet_runtime.live.hub import Hub
    from townlet_runtime.live.replay import ReplayDesk
    from townlet_runtime.live.serve import served

    if options.pace is not None and options.pace <= 0.0:
        raise ConfigError(f"expected more than 0, got {options.pace}", file="--ticks-per-second")
    with ExitStack() as opened:
        with warnings_to(console.warning):
            stage = _stage_of(options, console, opened)
        if stage.note:
            console.note(f"the agents are shown in a plain grid: {stage.note}")
        warn_of_network(page.host, console)
        hub = Hub(stage, ReplayDesk(stage), mode="replay")
        with served(hub, host=page.host, port=page.port) as address, stop_on_signals() as stop:
            console.note(f"open {address}")
            if page.opens:
                webbrowser.open(address)
            stage.run(stop)
    return stop.code


def records_in(path: Path) -> list[Path]:
    """Return the record at a path: itself, or, of a folder of one record for each group of agents, all of them.

    Of the directory of a run it is the only record that somebody put there.

    Raises:
        ArtifactError: if there is none.
        CommandError: if a run has none, or several.
    """
    if (path / BEGUN).is_file():
        inside = [each for each in _candidates(path) if each.name not in _OF_RUNS]
        if len(inside) != 1:
            found = ", ".join(each.name for each in inside) or "none; `townlet run --record` makes one"
            raise CommandError(f"--replay {path}: expected a run with one record in it, found {found}")
        return inside
    try:
        format_of(path)
        return [path]
    except ArtifactError:
        if not path.is_dir():
            raise
        if not (records := _candidates(path)):
            raise
        return records


def _candidates(folder: Path) -> list[Path]:
    """The records in a folder: batches, and folders."""
    found = [each for each in sorted(folder.iterdir()) if each.suffix == ".npz" or each.is_dir()]
    return [each for each in found[:MAX_GROUPS] if _is_record(each)]


def _is_record(path: Path) -> bool:
    try:
        return bool(format_of(path))
    except ArtifactError:
        return False


def _stage_of(options: ReplayOptions, console: Console, opened: ExitStack) -> ReplayStage:
    from townlet_runtime.live.record import Record
    from townlet_runtime.live.replay import ReplayStage

    info, groups = read_record(options.record, console)
    record = Record(groups)
    picture, note = None, ""
    try:
        picture = _picture_of(record, info, options, console, opened)
        if picture is None:
            note = "the record does not say which world it is of; name it with CONFIG or --env"
    except (TownletError, BehaviorError, TrajectoryError, OSError) as error:
        if options.names_world:
            raise
        note = f"its world cannot be made again ({one_line(error)}); name it with CONFIG or --env"
    return ReplayStage(
        record,
        world=_world_name(info, options),
        policy=_policy_of(info),
        picture=picture,
        note=note,
        speed=options.pace or DEFAULT_SPEED,
    )


def read_record(path: Path, console: Console) -> tuple[DatasetInfo, dict[str, tuple[StepNames, TrajectoryBatch]]]:
    """Read all groups of one world of a record.

    Args:
        path: of the record.
        console: says which world it is, where there are several.

    Returns:
        Where it comes from, and by group the names of its columns and its trajectories, which are whole.

    Raises:
        ArtifactError: if it cannot be read.
        ConfigError: if it is too large.
    """
    groups: dict[str, tuple[StepNames, TrajectoryBatch]] = {}
    info: DatasetInfo | None = None
    steps = size = 0
    for one in records_in(path):
        with _open(one) as dataset:
            table = dataset.source.table
            worlds = np.unique(table.worlds)
            if len(worlds) > 1:
                console.note(f"{one}: world {worlds[0]} of {len(worlds)} is shown")
            mine = table.worlds == (worlds[0] if len(worlds) else 0)
            added = int(table.lengths[mine].sum())
            steps, size = steps + added, size + added * step_bytes(dataset.source.schema)
            if steps > MAX_STEPS or size > MAX_BYTES:
                most = f"at most {MAX_STEPS:,} steps of agents and {MAX_BYTES >> 20:,} MiB"
                raise ConfigError(f"expected {most}, got {steps:,} and {size >> 20:,} MiB", file=str(path))
            name = dataset.info.group if dataset.info != DatasetInfo() else one.stem
            groups[name] = names_of_record(dataset), _read(dataset, mine)
            info = info or dataset.info
    return info or DatasetInfo(), groups


@contextmanager
def _open(path: Path) -> Iterator[OpenDataset]:
    # Samples that are not below the manifest are looked for beside it.
    with open_dataset(path, data_root=path if path.is_dir() else path.parent) as dataset:
        yield dataset


def _read(dataset: OpenDataset, mine: np.ndarray) -> TrajectoryBatch:
    source, parts = dataset.source, []
    for block, first, stop in blocks_of(source):
        here = np.flatnonzero(mine[first:stop])
        if len(here):
            parts.append(source.load_block(block).select(here))
    return joined(TrajectoryBatch.concatenate(parts)) if parts else TrajectoryBatch.empty(source.schema)


def _metadata(info: DatasetInfo) -> Mapping[str, object]:
    """What a capture says of itself; empty of other records."""
    note = info.notes.get(_CAPTURE)
    metadata = note.get("metadata") if isinstance(note, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def _policy_of(info: DatasetInfo) -> str | None:
    digest = info.policies.get(LEARNED, _metadata(info).get("policy_hash"))
    return digest if isinstance(digest, str) else None


def _world_name(info: DatasetInfo, options: ReplayOptions) -> str:
    named = (options.world.env, info.notes.get("environment"), "town" if _metadata(info) else None)
    return next((name for name in named if isinstance(name, str)), options.record.absolute().name)


def _picture_of(
    record: Record, info: DatasetInfo, options: ReplayOptions, console: Console, opened: ExitStack
) -> Resimulation | None:
    """Make the world of a record again; None where nobody says which one it is."""
    from townlet_runtime.live.resimulation import Resimulation

    config = _config_of(info, options, console)
    if config is None:
        return None
    worlds = Worlds.of(config, options.world)
    seed = options.seed
    if seed is None:
        seed = info.seeds.get("world", info.seeds.get("seed", seed_of(config)))
    simulation = worlds.make(1) if worlds.towns is None else worlds.shown(worlds.towns(1))
    opened.enter_context(closing(simulation))
    return Resimulation(simulation, record, seed=seed)


def _config_of(info: DatasetInfo, options: ReplayOptions, console: Console) -> Config | None:
    """The config of the recorded world, as options or else the record name it; None where neither does."""
    overrides = [*options.world.overrides(), *option("seed", options.seed, "--seed")]
    if options.names_world:
        return load(options.config, options.settings, overrides, console).config
    noted, environment = info.notes.get("config"), info.notes.get("environment")
    if isinstance(environment, str) and is_world_code(environment):
        # A record names no code that is run.
        raise CommandError(f"it is of the code {environment}")
    if isinstance(noted, dict):
        return config_from(noted, source="the config of the record").config
    metadata = _metadata(info)
    if not metadata and not isinstance(environment, str):
        return None
    path = metadata.get("config_path")
    named = WorldOptions(env=environment if isinstance(environment, str) else None)
    return load(Path(path) if isinstance(path, str) else None, (), named.overrides(), console).config
