"""`townlet soak`: PPO on a record and on rollouts by turns, for many cycles, with a log of its own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from townlet_runtime.cli.console import CommandError, Console, Json, stop_on_signals
from townlet_runtime.cli.training.plan import TrainOptions, TrainPlan, plan_of, settings_of
from townlet_runtime.cli.training.schedule_data import fits_world, open_data_of_schedule
from townlet_runtime.cli.training.schedule_options import ScheduleOptions
from townlet_trajectory.storage.files import append_line, make_directory, remove_file
from townlet_trajectory.storage.urls import Place

if TYPE_CHECKING:
    from townlet_runtime.training import MetricsRow

LOG = "ppo_soak.jsonl"


@dataclass(frozen=True, kw_only=True)
class SoakOptions:
    """The options of `townlet soak`."""

    config: Path | None
    baseline_dir: Place
    output_dir: Path
    cycles: int
    epochs: int
    """Updates of a cycle."""
    rollout_ticks: int
    replay_batch_size: int
    log_frequency: int
    threads: int | None


@dataclass(kw_only=True)
class _Log:
    """The lines of a soak: of the cycles 0, 2, 4, ... on the record, of 1, 3, 5, ... on rollouts."""

    options: SoakOptions
    console: Console
    num_lines: int = 0
    last: dict[str, object] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.options.output_dir / LOG

    @property
    def is_full(self) -> bool:
        """Whether all cycles are over."""
        return self.num_lines >= self.options.cycles * self.options.epochs

    def write(self, row: MetricsRow) -> None:
        """Write the line of an update; one beyond the last cycle is left out, as a turn is always finished."""
        if self.is_full:
            return
        cycle, number = divmod(self.num_lines, self.options.epochs)
        self.num_lines += 1
        values = {**row.values, "cycle_id": cycle, "epoch": number + 1, "log_stream_offset": self.num_lines}
        if self.num_lines % self.options.log_frequency == 0:
            append_line(self.path, json.dumps(values, allow_nan=False))
        self.console.line(f"PPO epoch {number + 1}: {values}")
        self.last = dict(values)


def soak(options: SoakOptions, console: Console) -> int:
    """Train for all cycles, write a line an update, and return the exit code.

    One network goes through all cycles. It is not exported, evaluated or kept: what a soak is about is its log.

    Raises:
        CommandError: if the record does not fit the world.
        ConfigError: if the config is wrong.
        ArtifactError: if the record cannot be read, or the log cannot be written.
    """
    from townlet_runtime.cli.commands.train_schedule import plan_with_seed_agents, require_combination

    console.mute_ticks()
    schedule = ScheduleOptions(
        replay_manifest=options.baseline_dir,
        rollout_ticks=options.rollout_ticks,
        replay_batch_size=options.replay_batch_size,
        # One turn more than there is to do: the run is stopped before it, and so ends without an evaluation.
        epochs=(options.cycles // 2 + 2) * options.epochs,
    )
    plan = plan_of(
        TrainOptions(config=options.config, mode="mixed", threads=options.threads, schedule=schedule), console
    )
    require_combination(plan, schedule)
    if plan.config.training.get("rollout_auto_seed_agents"):
        plan = plan_with_seed_agents(plan)
    make_directory(options.output_dir)
    log = _Log(options=options, console=console)
    remove_file(log.path)
    with ExitStack() as opened:
        code = _train(plan, schedule, log, opened)
    if code:
        console.note(f"stopped after {log.num_lines} updates; telemetry log written to {log.path}")
        return code
    record: dict[str, Json] = {
        "log": str(log.path),
        "cycles": options.cycles,
        "updates": log.num_lines,
        "last": _told(log.last),
    }
    console.result(record, [f"Soak run complete. Telemetry log written to {log.path}"])
    return code


def _told(values: Mapping[str, object]) -> dict[str, Json]:
    names = ("data_mode", "cycle_id", "loss_total", "kl_divergence", "grad_norm")
    found = {name: values.get(name) for name in names}
    return {name: value if isinstance(value, str | int | float) else None for name, value in found.items()}


def _train(plan: TrainPlan, schedule: ScheduleOptions, log: _Log, opened: ExitStack) -> int:
    """Carry out the updates in a folder that is thrown away; return the code of a signal, 0 where none came."""
    data = open_data_of_schedule(plan, schedule, log.console, opened)
    fits_world(plan, data, log.console)
    plan, training = settings_of(plan)
    # Not before everything that can be refused without it was: the trainer takes seconds to import.
    from townlet_runtime.cli.commands.train_schedule import entered_worlds
    from townlet_runtime.training import TrainingError
    from townlet_runtime.training_schedules import prepare_scheduled_run

    folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="townlet-soak-"))
    stop = opened.enter_context(stop_on_signals())
    try:
        prepare_scheduled_run(
            training,
            record=data.record,
            lessons=None,
            specs=plan.specs,
            enter=opened.enter_context(entered_worlds(plan, training.num_envs)),
            run_dir=Path(folder),
            threads=plan.threads,
            on_row=log.write,
            on_rollout=lambda collected: None,
            stop=lambda: stop() or log.is_full,
            notes={},
            resume=False,
            turn=log.options.epochs,
        ).run()
    except TrainingError as error:
        raise CommandError(str(error)) from error
    return stop.code
