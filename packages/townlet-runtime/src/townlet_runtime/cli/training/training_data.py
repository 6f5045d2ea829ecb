"""The options `--data` and `--data-root` of `townlet train`: the data, whether they fit a world, and their note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.cli.console import CommandError, Console
from townlet_runtime.config import Config
from townlet_runtime.runs.begun import BegunFile, NotedData
from townlet_runtime.runs.recorded import RecordedData, open_recorded
from townlet_runtime.simulation.interface import AGENTS, SimulationSpec
from townlet_trajectory.evaluation.results import Mode
from townlet_trajectory.storage.urls import Place, Url


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The options that name recorded steps; empty and None: not given."""

    paths: tuple[Place, ...] = ()
    root: Path | None = None
    """Where samples that are not below a capture's manifest are looked for; None: the working folder."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingData:
    """Recorded steps to clone, open for reading."""

    records: tuple[RecordedData, ...]
    """At least one."""
    root: Path
    group: str
    """The agent group that they are of."""
    fits: bool
    """Whether a policy for them is one for the world."""

    @property
    def by_group(self) -> Mapping[str, Sequence[RecordedData]]:
        """As a run takes them."""
        return {self.group: self.records}

    @property
    def noted(self) -> tuple[NotedData, ...]:
        """As `begun.json` holds them."""
        return tuple(
            NotedData(path=str(each.path), root=str(self.root), fingerprint=each.source.fingerprint)
            for each in self.records
        )


def place_of(said: str, urls: Sequence[Url], *, name: str) -> Place:
    """Return the place that a config or a run names: a path, or a URL if it was typed too.

    Args:
        said: there.
        urls: that were typed.
        name: of the option that it is typed with, for the error.

    Raises:
        CommandError: if it is a URL that was not.
    """
    if "://" not in said:
        return Path(said)
    for url in urls:
        if str(url) == said:
            return url
    raise CommandError(f"{said}: name it again, {name} URL; one that a file names is not opened")


def data_of(
    options: DataOptions, config: Config, mode: Mode, begun: BegunFile | None, *, urls: Sequence[Url] = ()
) -> DataOptions:
    """Decide which data a run clones: that of the options, of the run to resume, or of the config.

    Args:
        options: as they were given.
        config: of the run. `training.bc.manifest`, and in mode `bc` else `training.replay_manifest`, mean the same as
            `--data`.
        mode: of the run.
        begun: of the run to resume.
        urls: that other options have typed.

    Returns:
        The data; without a path where the script is cloned, or nothing.

    Raises:
        CommandError: if the mode has no use for the data, or a file names a URL.
    """
    if options.paths and mode == "ppo":
        raise CommandError(
            f"--data {options.paths[0]}: mode ppo learns from what its own policy does, and nothing from a record; "
            "clone it with --mode bc, or with --mode anneal and go on from there"
        )
    if begun is not None and not options.paths:
        paths = tuple(place_of(each.path, urls, name="--data") for each in begun.data)
        return DataOptions(paths=paths, root=options.root or (Path(begun.data[0].root) if begun.data else None))
    if options.paths or mode not in ("bc", "anneal", "dagger"):
        return options
    named = config.training.get("bc_manifest")
    if named is None and mode == "bc":
        named = config.training.get("replay_manifest")
    if named is None:
        return options
    return DataOptions(paths=(place_of(named, urls, name="--data"),), root=options.root)


def open_data(
    options: DataOptions,
    specs: Mapping[str, SimulationSpec],
    *,
    mode: Mode,
    named_world: bool,
    begun: BegunFile | None,
    opened: ExitStack,
    console: Console,
) -> TrainingData | None:
    """Open the data of a run, and compare them with its world.

    Args:
        options: as `data_of` decides.
        specs: of the world, by agent group.
        mode: of the run.
        named_world: whether the world was named, so that the policy has to fit it.
        begun: of the run to resume, which had the same data.
        opened: keeps the files open.
        console: prints what is odd about them.

    Returns:
        The data; None where there are none.

    Raises:
        CommandError: if data fit a world that was named not, or one another not, or are not those of the run.
        ArtifactError: if a file is missing or damaged.
    """
    if not options.paths:
        return None
    root = Path() if options.root is None else options.root
    records = tuple(
        opened.enter_context(open_recorded(path, data_root=root, warn=console.warning)) for path in options.paths
    )
    if begun is not None:
        _require_same(records, begun.data)
    require_alike(records)
    misfits = misfits_of(records, specs)
    if misfits and (named_world or mode != "bc"):
        rest = "" if mode != "bc" else ", or train without a world: leave it out"
        raise CommandError(f"{misfits[0]}; name a world that they fit with --env{rest}")
    if misfits and begun is None:
        console.warning(f"{misfits[0]}: the clone is judged by held-out steps alone")
    group = AGENTS if misfits else next(iter(specs))
    return TrainingData(records=records, root=root, group=group, fits=not misfits)


def misfits_of(records: Sequence[RecordedData], specs: Mapping[str, SimulationSpec]) -> list[str]:
    """Say of each record that does not fit the world of `specs`, by agent group, why."""
    if len(specs) > 1:
        return [f"{each.path}: holds one group of agents, and the world has {', '.join(specs)}" for each in records]
    spec = next(iter(specs.values()))
    return [text for each in records if (text := each.misfit(spec)) is not None]


def require_alike(records: Sequence[RecordedData]) -> None:
    """Refuse records that one policy cannot learn from.

    Raises:
        CommandError: if the actions or observations of one are not those of the first.
    """
    first = records[0]
    for other in records[1:]:
        if other.vocabulary != first.vocabulary or dict(other.observation_shapes) != dict(first.observation_shapes):
            raise CommandError(f"{other.path} and {first.path}: have other actions or observations, and one policy")


def _require_same(records: Sequence[RecordedData], noted: Sequence[NotedData]) -> None:
    """Refuse to resume a run with other data than it was begun with."""
    if len(records) != len(noted):
        names = ", ".join(each.path for each in noted) or "none"
        raise CommandError(f"--data: the run was begun with {len(noted)} ({names}), got {len(records)}")
    for record, before in zip(records, noted, strict=True):
        if record.source.fingerprint != before.fingerprint:
            raise CommandError(
                f"{record.path}: not the data that the run was begun with: fingerprint {record.source.fingerprint}, "
                f"and {before.path} had {before.fingerprint}"
            )
