"""`townlet train`: what is to be trained is decided and checked first, then trained, judged and written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from townlet_runtime.cli.console import GATE_FAILED, SUCCESS, CommandError, Console, stop_on_signals
from townlet_runtime.cli.console import Progress as ShownProgress
from townlet_runtime.cli.start import import_trainer
from townlet_runtime.cli.training.beginning import claimed, notes_of, resume_at, resume_command
from townlet_runtime.cli.training.log_copy import LogCopy
from townlet_runtime.cli.training.plan import TrainOptions, TrainPlan, plan_of, settings_of
from townlet_runtime.cli.training.recording import record_of_run
from townlet_runtime.cli.training.run_starts import (
    earlier_totals,
    extend,
    initial_policy,
    require_initial,
    settle_extension,
)
from townlet_runtime.cli.training.seen import SeenRun, seen_live
from townlet_runtime.cli.training.training_data import data_of, open_data
from townlet_runtime.cli.training.workers import workers_of
from townlet_runtime.cli.worlds import load_of_run
from townlet_runtime.config import (
    config_differences,
    is_scheduled,
    load_config,
    parse_override,
)
from townlet_runtime.errors import require_report_extra
from townlet_runtime.runs.directory import (
    CONFIG,
    MANIFEST,
)
from townlet_runtime.runs.finished import FinishedRun, read_run, write_results
from townlet_runtime.runs.opponents import frozen_opponents, opponent_files
from townlet_runtime.runs.ppo_log import PPOLog
from townlet_runtime.runs.records import SummaryFile
from townlet_runtime.simulation.interface import GroupedSimulation, first_spec
from townlet_trajectory.evaluation.results import SCRIPTED, RunSummary

if TYPE_CHECKING:
    from townlet_runtime.policy.onnx import FilePolicy
    from townlet_runtime.training import DaggerRun, InitialPolicy, Progress, TrainingConfig, TrainingOrchestrator
    from townlet_runtime.training_worlds import Workers
    from townlet_runtime.workers.recording import RunRecord


def train_policy(options: TrainOptions, console: Console) -> int:
    """Train, write the run directory, print the results, and return the exit code."""
    console.mute_ticks()
    if options.init_from is not None:
        if options.resume is not None:
            raise CommandError(f"--init-from {options.init_from}: --resume goes on with the run's own policy")
        require_initial(options.init_from)
    if options.resume is not None:
        settle_extension(options.resume)
        if options.total_steps is not None:
            extend(options.resume, options.total_steps)
        _require_no_contradiction(options, options.resume)
        if (options.resume / MANIFEST).exists():
            return _show_finished(options.resume, console)
    plan = plan_of(options, console)
    if options.init_from is not None and plan.mode == "dagger":
        raise CommandError(f"--init-from {options.init_from}: mode dagger begins with a clone of the script")
    if is_scheduled(plan.config, plan.mode):
        _require_scheduled(options, plan)
        from townlet_runtime.cli.commands.train_schedule import train_scheduled, with_record

        return train_scheduled(with_record(plan, options.data), options.schedule, console)
    with ExitStack() as opened:
        data = open_data(
            data_of(options.data, plan.config, plan.mode, plan.begun, urls=plan.urls),
            plan.specs,
            mode=plan.mode,
            named_world=plan.named_world,
            begun=plan.begun,
            opened=opened,
            console=console,
        )
        needs_script = plan.mode == "dagger" or (data is None and plan.mode != "ppo")
        if needs_script and SCRIPTED not in plan.behaviors:
            raise CommandError(
                f"mode {plan.mode} begins with a script, and `{plan.worlds.environment}` has none: name one with "
                "--controller, recorded steps with --data, or train with --mode ppo"
            )
        return _train(replace(plan, data=data), options.schedule.log(), console)


def _require_no_contradiction(options: TrainOptions, path: Path) -> None:
    """Refuse an option that says something else than the run in `path` was begun with.

    Raises:
        CommandError: names the option.
    """
    if options.config is not None:
        raise CommandError(f"{options.config}: --resume goes on with the config of {path}; leave CONFIG out")
    if options.run_dir is not None and options.run_dir.absolute() != path.absolute():
        raise CommandError(f"--run-dir {options.run_dir}: --resume goes on in {path}; leave --run-dir out")
    begun_with = load_config(path / CONFIG).config
    for override in [*map(parse_override, options.settings), *options.overrides()]:
        if config_differences(load_config(path / CONFIG, [override]).config, begun_with):
            raise CommandError(f"{override.label}: {path / CONFIG} says otherwise; a run goes on as it was begun")


def _show_finished(path: Path, console: Console) -> int:
    """Print the results of a run that has finished; draw its report, if it was killed before that."""
    from townlet_runtime.cli.views.results import draw_report, show_results

    config, _ = load_of_run(path, (), console)
    run = draw_report(read_run(path), config, console)
    console.note(f"{path}: this run has finished; there is nothing to go on with")
    show_results(run, console)
    return SUCCESS


def _require_scheduled(options: TrainOptions, plan: TrainPlan) -> None:
    """Refuse what a run that follows a schedule has not."""
    if options.init_from is not None:
        raise CommandError(f"--init-from {options.init_from}: a schedule begins with a network of its own")
    if plan.workers:
        raise CommandError(f"--workers {plan.workers}: a run that follows a schedule collects in its own process")
    if plan.record is not None:
        raise CommandError(f"--record {plan.record.place}: a run that follows a schedule has --rollout-save-dir")


def _train(plan: TrainPlan, log: PPOLog, console: Console) -> int:
    with ExitStack() as opened:
        # Not before everything that can be refused without it was: the trainer takes seconds to import.
        initial = _initial(plan)
        plan, training = settings_of(plan, initial)
        from townlet_runtime.training_worlds import worlds_of

        # After the trainer, whose extra brings what the report needs; before the run, at whose end it is written.
        require_report_extra()
        seen = opened.enter_context(seen_live(plan, console, has_world=plan.environment is not None))
        record = record_of_run(plan, training, opened)
        if plan.environment is None:
            return _train_in((), plan, training, initial, log, console)
        if (workers := workers_of(plan, training)) is not None:
            opened.callback(workers.pool.close)
        # Built first: a contradiction is refused before anything is written.
        collects = workers is not None and workers.collect
        worlds = worlds_of(training, plan.worlds.make, opened, elsewhere=collects)
        return _train_in(worlds, plan, training, initial, log, console, workers=workers, seen=seen, record=record)


def _initial(plan: TrainPlan) -> InitialPolicy | None:
    """The policy that the run begins with, or did: of a run that is resumed, its own copy."""
    import_trainer()
    from townlet_runtime.training import TrainingError, copied_initial

    try:
        if plan.begun is not None:
            return copied_initial(plan.run_dir)
        return None if plan.init_from is None else initial_policy(plan.init_from)
    except TrainingError as error:
        raise CommandError(str(error)) from error


def _train_in(
    worlds: Sequence[GroupedSimulation],
    plan: TrainPlan,
    training: TrainingConfig,
    initial: InitialPolicy | None,
    log: PPOLog,
    console: Console,
    *,
    workers: Workers | None = None,
    seen: SeenRun | None = None,
    record: RunRecord | None = None,
) -> int:
    from townlet_runtime.training import TrainingError, prepare_run, use_threads

    use_threads(plan.threads)

    kept, noted = (None, {}) if plan.begun is None else (plan.run_dir, plan.begun.opponents_sha256)
    opponents = frozen_opponents(training.groups, plan.specs, kept=kept, sha256=noted)
    begun_at = 0 if plan.begun is None else resume_at(plan, plan.begun, console)
    with (
        stop_on_signals() as stop,
        closing(LogCopy(log)) as copy,
        console.progress(total=training.planned_env_steps, unit="env steps", begun_at=begun_at, told=True) as shown,
    ):
        try:
            with claimed(plan, opponents, initial) as (run_dir, begun):
                orchestrator = prepare_run(
                    training,
                    worlds,
                    plan.worlds.make_scored,
                    bridge=plan.worlds.bridge(plan.specs),
                    run_dir=run_dir,
                    on_progress=_tell(copy, shown, seen),
                    stop=stop,
                    notes=notes_of(begun),
                    resume=plan.begun is not None,
                    data=None if plan.data is None else plan.data.by_group,
                    opponents=opponents,
                    initial=initial,
                    earlier_totals=earlier_totals(begun),
                    workers=workers,
                    record=record,
                )
            summary = _carry_out(orchestrator, run_dir, opponents, copy, seen)
        except TrainingError as error:
            raise CommandError(str(error)) from error
    if summary.interrupted:
        console.note(f"stopped at {summary.counters.env_steps:,} env steps; kept in {summary.checkpoint}")
        console.note(f"go on with: {resume_command(plan, run_dir)}")
        return stop.code
    plan = replace(plan, run_dir=run_dir, begun=begun)
    horizon = first_spec(worlds[0]).episode_ticks if worlds else None
    return _finish(plan, training, summary, console, horizon=horizon)


def _carry_out(
    run: TrainingOrchestrator | DaggerRun,
    run_dir: Path,
    opponents: Mapping[str, FilePolicy],
    copy: LogCopy,
    seen: SeenRun | None,
) -> RunSummary:
    copy.begin(run_dir)
    if seen is not None:
        seen.begin(run, run_dir, opponents)
    summary = run.run()
    copy.update()
    if seen is not None:
        seen.end(summary)
    return summary


def _tell(copy: LogCopy, shown: ShownProgress, seen: SeenRun | None) -> Callable[[Progress], None]:
    """Return what is told of the progress of a run."""

    def on_progress(progress: Progress) -> None:
        copy.update()
        note = "" if progress.last_return is None else f"return {progress.last_return:.3f}"
        shown.update(progress.stage, progress.env_steps, note, left=progress.seconds_left)
        if seen is not None:
            seen.progress(progress)

    return on_progress


def _finish(
    plan: TrainPlan, training: TrainingConfig, summary: RunSummary, console: Console, *, horizon: int | None
) -> int:
    """Write the records of the run, then its report, and print the results."""
    from townlet_runtime.cli.views.results import show_clone, show_results

    opponents = opponent_files(training.groups, plan.run_dir)
    record, run = write_finished(plan, summary, console, horizon=horizon, opponents=opponents)
    if plan.manifest is not None and summary.clone is not None:
        show_clone(summary.clone, plan.manifest, plan.run_dir, console)
    else:
        show_results(run, console, failure=summary.failure)
    return GATE_FAILED if record.promotion == "FAIL" or summary.failure is not None else SUCCESS


def write_finished(
    plan: TrainPlan,
    summary: RunSummary,
    console: Console,
    *,
    horizon: int | None,
    opponents: Mapping[str, Path | None],
) -> tuple[SummaryFile, FinishedRun]:
    """Write the records of a run that has ended, then its report; return its figures and the run as it is read.

    Args:
        plan: of the run.
        summary: that it ended with.
        console: shows a report that cannot be drawn.
        horizon: ticks of an episode; None: there was no world.
        opponents: files of the policies that played groups that do not learn, by group.
    """
    from townlet_runtime.cli.views.results import draw_report

    figures = SummaryFile.of(
        summary,
        environment=plan.environment,
        threads=plan.threads,
        controller=plan.worlds.controller,
        guardrails=plan.worlds.guardrails,
        preset=plan.config.preset,
        config_sha256=None if plan.begun is None else plan.begun.config_sha256,
        opponents=opponents,
    )
    write_results(plan.run_dir, summary, figures, horizon=horizon)
    return figures, draw_report(read_run(plan.run_dir), plan.config, console, equipment=plan.worlds.equipment)
