"""Runs of townlet_training that follow a schedule, in worlds of the runtime or on records alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from townlet_behavior import BridgeConfig
from townlet_runtime.core.evaluator import Evaluator, MakeSimulation
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.runs.recorded import RecordedData
from townlet_runtime.simulation.interface import AGENTS, GroupedSimulation, SimulationSpec
from townlet_runtime.training import (
    MetricsRow,
    PolicySpec,
    Record,
    RunWorlds,
    ScheduledRun,
    TrainingConfig,
    device_note,
    policy_specs,
    record_seed,
    spec_of_data,
    state_sizes,
    use_threads,
)
from townlet_trajectory.evaluation.interfaces import Collected


@dataclass(frozen=True, kw_only=True, eq=False)
class CycleWorlds:
    """Worlds of one cycle of a schedule; those with the same key are the same."""

    key: str
    simulation: GroupedSimulation
    """To train in."""
    make_scored: MakeSimulation
    bridge: BridgeConfig


def prepare_scheduled_run(
    config: TrainingConfig,
    *,
    record: RecordedData | None,
    lessons: RecordedData | None,
    specs: Mapping[str, SimulationSpec] | None,
    enter: Callable[[int], CycleWorlds],
    run_dir: Path,
    threads: int,
    on_row: Callable[[MetricsRow], None],
    on_rollout: Callable[[Collected], None],
    stop: Callable[[], bool],
    notes: Mapping[str, str],
    resume: bool,
    turn: int = 1,
) -> ScheduledRun:
    """Prepare a run that follows a schedule, to be started with its `run`; nothing is collected or written yet.

    Args:
        config: as of `prepare_run`, like what is not listed here.
        record: that PPO learns from.
        lessons: that a stage of cloning learns from.
        specs: of the world, by agent group; None: the policy is made for the data alone, and fits no world.
        enter: builds the worlds of a cycle.
        on_row: called with every line of the log.
        on_rollout: called with every rollout.
        turn: updates in a row on the record, and then on rollouts, in mode `mixed`.

    Raises:
        TrainingError: if a stage has nothing to learn from.
    """
    use_threads(threads)
    data, policies = record or lessons, policy_specs(specs or {}, config.network)
    if specs is None and data is not None:
        policies[AGENTS] = spec_of_data(data)
    entered: dict[str, RunWorlds] = {}

    def of_cycle(cycle: int) -> RunWorlds:
        made = enter(cycle)
        if made.key not in entered:
            entered[made.key] = _worlds_of(made, config, policies)
        return entered[made.key]

    return ScheduledRun(
        config,
        specs=policies,
        run_dir=run_dir,
        record=None if record is None else _record(record, config),
        lessons=None if lessons is None else {AGENTS: [lessons.source]},
        worlds=None if specs is None else of_cycle,
        on_row=on_row,
        on_rollout=on_rollout,
        stop=stop,
        notes={**notes, **device_note(config)},
        resume=resume,
        turn=turn,
    )


def _worlds_of(made: CycleWorlds, config: TrainingConfig, policies: Mapping[str, PolicySpec]) -> RunWorlds:
    """Put collector and evaluator over the worlds of a cycle."""
    ticks = config.rollout_ticks * max(each.capacity for each in made.simulation.specs.values())
    sizes = state_sizes(policies, config.network)
    seed, bridge = config.seed, made.bridge
    collector = Collector(made.simulation, config=bridge, seed=seed, max_rows=ticks, state_sizes=sizes)
    judge = Evaluator(made.make_scored, config=bridge, seed=seed, num_worlds=config.num_envs)
    return RunWorlds(key=made.key, collector=collector, evaluator=judge)


_READING = ("batch_size", "shuffle", "drop_last", "streaming", "episode_labels")


def _record(data: RecordedData, config: TrainingConfig) -> Record:
    reading = {name: vars(config.schedule)[name] for name in _READING}
    return Record(name=data.name, batches=data.batches(seed=record_seed(config), **reading), baseline=data.baseline)
