"""The worlds that a run collects in: unit by unit in this process, or in workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from townlet_behavior import BridgeConfig
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.errors import SimulationError
from townlet_runtime.runs.begun import BegunFile, recorded_at
from townlet_runtime.runs.directory import BEGUN
from townlet_runtime.runs.opponents import opponent_groups
from townlet_runtime.simulation.interface import GroupedSimulation, SimulationSpec, first_spec
from townlet_runtime.workers.collecting import PooledCollector
from townlet_runtime.workers.pool import WorkerPool
from townlet_runtime.workers.recording import RecordedCollector, RecordingCollector, RecordPlace, RunRecord
from townlet_runtime.workers.units import DividedCollector, Unit, units_of
from townlet_trajectory import DatasetInfo
from townlet_trajectory.evaluation.interfaces import AnyActor
from townlet_trajectory.evaluation.results import RANDOM
from townlet_trajectory.storage.urls import Url, named_place

if TYPE_CHECKING:
    from townlet_runtime.training import TrainingConfig

log = logging.getLogger(__name__)

AnyCollector = Collector | DividedCollector | PooledCollector | RecordedCollector


@dataclass(frozen=True, kw_only=True, eq=False)
class Workers:
    """Other processes that work for a run. They play episodes beside its own."""

    pool: WorkerPool
    collect: bool
    """Whether they collect too, in the place of the run's own process."""


def units_of_run(config: TrainingConfig) -> list[Unit]:
    """Divide the worlds of a run as its settings say."""
    return units_of(config.num_envs, unit_worlds=config.unit_worlds, seed=config.seed)


def worlds_of(
    config: TrainingConfig, make: Callable[[int], GroupedSimulation], opened: ExitStack, *, elsewhere: bool = False
) -> list[GroupedSimulation]:
    """Build the worlds of each unit of a run.

    Args:
        config: of the run.
        make: builds so many of them.
        opened: closes them.
        elsewhere: whether workers have them, and one that shows what they are is enough.
    """
    if elsewhere:
        return [opened.enter_context(closing(make(1)))]
    return [opened.enter_context(closing(make(unit.num_worlds))) for unit in units_of_run(config)]


def collector_of(
    config: TrainingConfig,
    worlds: Sequence[GroupedSimulation],
    bridge: BridgeConfig,
    sizes: Mapping[str, int],
    *,
    pool: WorkerPool | None,
    packed: Callable[[Mapping[str, AnyActor]], bytes | None],
    record: RunRecord | None = None,
) -> AnyCollector:
    """Make the collector of a run, whose worlds must be as `config` says.

    Args:
        config: of the run.
        worlds: of each unit; with a `pool`, whose workers have them, one of the same kind.
        bridge: how script and policy are blended.
        sizes: numbers of memory, by the groups whose network remembers.
        pool: of workers that collect; None: this process does.
        packed: makes policies ready to be sent to workers.
        record: where what is collected is written; workers were told of it too. None: nowhere.

    Raises:
        SimulationError: if the worlds lack a baseline or a group of `config`, or are not as many as it says.
    """
    spec, known = first_spec(worlds[0]), (*worlds[0].behaviors, RANDOM)
    if missing := [name for name in config.baselines if name not in known]:
        raise SimulationError(f"`{spec.name}` has no behavior {', '.join(missing)}; there are {', '.join(known)}")
    units = units_of_run(config)
    if pool is not None:
        pooled = PooledCollector(pool, units, worlds[0].specs, packed=packed, ahead=config.collect_ahead)
        return _checked(pooled if record is None else RecordedCollector(pooled, record), spec)
    if config.collect_ahead:
        raise SimulationError("`collect_ahead` needs workers, got none")
    if [first_spec(one).num_worlds for one in worlds] != [unit.num_worlds for unit in units]:
        got = " + ".join(str(first_spec(one).num_worlds) for one in worlds)
        raise SimulationError(f"expected {config.num_envs} parallel worlds of `{spec.name}`, got {got}")
    made = [unit_collector(config, own, bridge, sizes, unit=unit) for own, unit in zip(worlds, units, strict=True)]
    if record is None:
        return _checked(made[0] if len(made) == 1 else DividedCollector(units, made), spec)
    writing = [RecordingCollector(own, record.place, unit) for own, unit in zip(made, units, strict=True)]
    each = writing[0] if len(writing) == 1 else DividedCollector(units, writing)
    return _checked(RecordedCollector(each, record), spec)


def _checked(collector: AnyCollector, spec: SimulationSpec) -> AnyCollector:
    if collector.save_state() is None:
        log.warning("`%s` cannot be saved: a run in it cannot be resumed", spec.name)
    return collector


def planned_collections(config: TrainingConfig) -> int:
    """Return how many collections a run has at most, as its settings say."""
    if config.mode == "dagger":
        return config.dagger.rounds
    return 1 if config.mode == "bc" else 1 + config.total_env_steps // (config.num_envs * config.rollout_ticks)


def made_record(
    named: Path | str | Url | None,
    config: TrainingConfig,
    worlds: GroupedSimulation | None,
    run_dir: Path,
    opened: ExitStack,
    *,
    resume: bool,
    clones: bool,
) -> RunRecord | None:
    """Make the record of a run that is begun from Python.

    Args:
        named: place of the record; None: it was not named.
        config: of the run.
        worlds: of the run; None: it has none.
        run_dir: of the run.
        opened: lists what was collected where its block ends without an exception.
        resume: whether the run was begun before, and its record with it.
        clones: whether it clones data that were recorded before.

    Returns:
        The record; None where nothing is recorded.

    Raises:
        SimulationError: if nothing is collected, or more than a dataset can list.
        RunDirectoryError: as of `recorded_at`.
        ArtifactError: if the place of a new record holds one.
    """
    begun = BegunFile.read(run_dir / BEGUN) if resume else None
    place = recorded_at(None if named is None else named_place(named), begun, run_dir=run_dir)
    if place is None:
        return None
    if worlds is None or (clones and config.mode == "bc"):
        raise SimulationError(f"expected a run that collects in a world, to record at {place.place}; this one does not")
    info = DatasetInfo(notes={"environment": first_spec(worlds).name})
    record = record_of(config, place, worlds.specs, info=info)
    if not resume:
        record.require_free()
    return opened.enter_context(record)


def record_of(config: TrainingConfig, place: RecordPlace, groups: Collection[str], *, info: DatasetInfo) -> RunRecord:
    """Make the record of a run; nothing is written yet.

    Args:
        config: of the run.
        place: of the record.
        groups: of its worlds; those that learn are recorded.
        info: where the rows come from; mode, group and units are added.

    Raises:
        SimulationError: if there are more collections or units than a dataset can list.
        MissingExtraError: without pyarrow; of a URL without fsspec.
    """
    learning = [group for group in groups if group not in config.groups or config.groups[group].policy == "learn"]
    return RunRecord(
        place,
        units_of_run(config),
        learning,
        info=replace(info, seeds={"run": config.seed}, notes={**info.notes, "mode": config.mode}),
        num_collections=planned_collections(config),
    )


def unit_collector(
    config: TrainingConfig, worlds: GroupedSimulation, bridge: BridgeConfig, sizes: Mapping[str, int], *, unit: Unit
) -> Collector:
    """Begin the worlds of one unit of a run.

    Args:
        config: of the run.
        worlds: as many as the unit has.
        bridge: how script and policy are blended.
        sizes: numbers of memory, by the groups whose network remembers.
        unit: whose worlds they are.
    """
    unrecorded = opponent_groups(config.groups, worlds)
    ticks = max(config.rollout_ticks, config.anneal.clone_ticks, config.dagger.ticks if config.mode == "dagger" else 0)
    capacity = max(each.capacity for each in worlds.specs.values())
    return Collector(
        worlds,
        config=bridge,
        seed=unit.draws_seed,
        max_rows=ticks * capacity,
        unrecorded=unrecorded,
        state_sizes={group: size for group, size in sizes.items() if group not in unrecorded},
        world_seeds=unit.world_seeds,
    )
