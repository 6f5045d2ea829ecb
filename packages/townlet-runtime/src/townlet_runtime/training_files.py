"""Files of a run that is begun from Python, and the worlds and opponents that it is begun with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.onnx import FilePolicy
from townlet_runtime.runs.begun import BegunFile, InitialSource, noted_record
from townlet_runtime.runs.directory import BEGUN, INITIAL, new_run_directory
from townlet_runtime.runs.finished import write_results
from townlet_runtime.runs.opponents import frozen_opponents, keep_opponents, opponent_files, opponent_groups
from townlet_runtime.runs.records import SummaryFile
from townlet_runtime.simulation.interface import AGENTS, GroupedSimulation, Simulation, SimulationSpec, first_spec
from townlet_runtime.simulation.one_group import in_groups
from townlet_runtime.workers.recording import RunRecord
from townlet_trajectory.evaluation.results import RANDOM, SCRIPTED, RunSummary

if TYPE_CHECKING:
    from townlet_runtime.training import InitialPolicy, TrainingConfig

log = logging.getLogger(__name__)


@contextmanager
def claimed(
    path: Path,
    threads: int,
    opponents: Mapping[str, FilePolicy],
    initial: InitialPolicy | None,
    *,
    resume: bool,
    record: RunRecord | None = None,
) -> Iterator[None]:
    """Hold the directory of a new run while the block prepares the run, which is then noted in it.

    Args:
        path: of the run.
        threads: of the numerical libraries, to be noted.
        opponents: policies from files, which are copied into the run.
        initial: policy that the run begins with, which is written there; None: none.
        resume: whether the run is there already; nothing is then written.
        record: of what it collects, whose place is noted; None: there is none.
    """
    if resume:
        yield
        return
    with new_run_directory(path):
        yield
        kept, source = keep_opponents(path, opponents), None
        if initial is not None:
            source = InitialSource(path=None, weights_sha256=initial.sha256)
            initial.write(path / INITIAL)
        BegunFile(
            schema_version=2,
            threads=threads,
            opponents_sha256=kept,
            initial=source,
            record=noted_record(None if record is None else record.place),
        ).write(path / BEGUN)


def write_records(
    path: Path, summary: RunSummary, config: TrainingConfig, spec: SimulationSpec | None, threads: int
) -> None:
    """Write the records of a run that has ended, and its manifest.

    Args:
        path: of the run.
        summary: that it ended with.
        config: of the run.
        spec: of its world; None: it had none.
        threads: of the numerical libraries.
    """
    record = SummaryFile.of(
        summary,
        environment=None if spec is None else spec.name,
        threads=threads,
        opponents=opponent_files(config.groups, path),
    )
    write_results(path, summary, record, horizon=None if spec is None else spec.episode_ticks)


def made_by(make: Callable[[int], Simulation | GroupedSimulation] | None, num_worlds: int) -> GroupedSimulation:
    """Build so many worlds of a run that may have none. Raises `SimulationError` if it has none, or if `make` makes
    another thing."""
    if make is None:
        raise SimulationError("there is no world to play in")
    return in_groups(make(num_worlds))


def group_of_data(config: TrainingConfig, worlds: GroupedSimulation | None) -> str:
    """Return the group of agents that recorded steps are of: the one that learns.

    Raises:
        SimulationError: if several do.
    """
    if worlds is None:
        return AGENTS
    opposed = opponent_groups(config.groups, worlds)
    learning = [group for group in worlds.specs if group not in opposed]
    if len(learning) > 1:
        raise SimulationError(f"`data` are of one group of agents, and {', '.join(learning)} learn")
    return learning[0]


def opponents_of(
    config: TrainingConfig, worlds: GroupedSimulation | None, *, kept: Path | None
) -> dict[str, FilePolicy]:
    """Read the policies of the groups that are played by one from a file.

    Args:
        config: of the run; says who plays.
        worlds: whose groups they must fit; None: the run has none.
        kept: directory of a run that goes on, which has copies of its own; None: the files that `config` names.

    Returns:
        By agent group.
    """
    noted = {} if kept is None else BegunFile.read(kept / BEGUN).opponents_sha256
    return frozen_opponents(config.groups, {} if worlds is None else worlds.specs, kept=kept, sha256=noted)


def as_can_be(
    config: TrainingConfig, worlds: GroupedSimulation | None, initial: InitialPolicy | None
) -> TrainingConfig:
    """Return the config of a run that begins from scratch, where the worlds have no script to begin with.

    Args:
        config: as it was asked for.
        worlds: of the run; None: it has none.
        initial: policy that the run begins with, whose network it has; None: a fresh one.

    Returns:
        The config, of mode `ppo` and with fewer baselines where there is no script; that is logged as a warning.
    """
    if initial is not None:
        config = replace(config, network=initial.network)
    if worlds is None or SCRIPTED in worlds.behaviors or config.mode != "anneal":
        return config
    baselines = tuple(name for name in config.baselines if name in (*worlds.behaviors, RANDOM))
    log.warning(
        "`%s` has no behavior `%s`: PPO begins from scratch, and is compared with %s",
        first_spec(worlds).name,
        SCRIPTED,
        ", ".join(baselines) or "nothing",
    )
    return replace(config, mode="ppo", baselines=baselines)
