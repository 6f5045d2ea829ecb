"""`townlet train`: a run directory from beginning to end."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from townlet_runtime._training import (
    Progress,
    TrainingConfig,
    TrainingError,
    orchestrator_of,
    preset_name_for,
    standing_of,
    training_config,
    training_fields,
)
from townlet_runtime.cli.console import Console
from townlet_runtime.cli.exits import GATE_FAILED, SUCCESS, CommandError, stop_on_signals
from townlet_runtime.cli.outcome import outcome_lines, outcome_record
from townlet_runtime.cli.results import evaluation_file, summary_file
from townlet_runtime.cli.still import picture_of
from townlet_runtime.cli.threads import BEGUN
from townlet_runtime.cli.train import TrainPlan
from townlet_runtime.cli.worlds import is_module
from townlet_runtime.config import Config, dump_config, training_settings, with_training
from townlet_runtime.core.collector import Collector
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.report import write_report
from townlet_runtime.runs.directory import CONFIG, EVALUATION, SUMMARY, new_run_directory
from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.evaluation.results import FinalEvaluation, RunSummary
from townlet_trajectory.storage.files import write_bytes_atomic, write_json_atomic
from townlet_trajectory.storage.json import MAX_JSON_BYTES, JsonValue, parse_object
from townlet_trajectory.storage.paths import read_named


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run, completely decided."""

    plan: TrainPlan
    config: Config
    """With every value of training written out."""
    training: TrainingConfig


def train(plan: TrainPlan, console: Console) -> int:
    """Train, write the run directory, print what came of it, and return the exit code."""
    job = _job(plan)
    # Built first: what contradicts itself is refused before anything is written.
    worlds = plan.worlds.make(job.training.num_envs)
    ticks = max(job.training.rollout_ticks, job.training.anneal.clone_ticks)
    capacity = max(spec.capacity for spec in worlds.specs.values())
    collector = Collector(worlds, config=plan.worlds.bridge, seed=plan.seed, max_rows=ticks * capacity)
    evaluator = Evaluator(plan.worlds.make_scored, config=plan.worlds.bridge, seed=plan.seed)
    begun_at = _begun_at(plan, console) if plan.resume else 0
    with (
        stop_on_signals() as stop,
        console.progress(total=job.training.total_env_steps, unit="env steps", begun_at=begun_at) as shown,
    ):

        def on_progress(progress: Progress) -> None:
            note = "" if progress.last_return is None else f"return {progress.last_return:.3f}"
            shown.update(progress.stage, progress.env_steps, note)

        try:
            orchestrator = orchestrator_of(
                job.training,
                collector,
                evaluator,
                run_dir=plan.run_dir,
                threads=plan.threads,
                on_progress=on_progress,
                stop=stop,
                notes=_notes(plan),
                resume=plan.resume,
            )
            if not plan.resume:
                with new_run_directory(plan.run_dir):
                    # The config comes last: a run that has one can be gone on with, however early it is killed.
                    write_json_atomic(plan.run_dir / BEGUN, {**_notes(plan)})
                    write_bytes_atomic(plan.run_dir / CONFIG, dump_config(job.config).encode())
            summary = orchestrator.run()
        except TrainingError as error:
            raise CommandError(str(error)) from error
    final = summary.final
    if summary.interrupted or final is None:
        console.note(f"stopped at {summary.counters.env_steps:,} env steps; kept in {summary.checkpoint}")
        console.note(f"go on with: {_resume_command(plan)}")
        return stop.code
    horizon = next(iter(worlds.specs.values())).episode_ticks
    return _finish(job, summary, final, console, horizon=horizon)


def _job(plan: TrainPlan) -> Job:
    config = plan.config
    # A config of the town without a preset means the defaults of the file format.
    if config.preset is None and plan.worlds.towns is None:
        config = config.model_copy(update={"preset": preset_name_for(plan.worlds.environment)})
    training = training_config(
        training_settings(config),
        preset_name=config.preset,
        mode=plan.mode,
        seed=plan.seed,
        behaviors=plan.behaviors,
    )
    written = with_training(config, mode=plan.mode, seed=plan.seed, fields=training_fields(training))
    return Job(plan=plan, config=written, training=training)


def _notes(plan: TrainPlan) -> dict[str, str]:
    """What `BEGUN` says of a run."""
    notes = {"threads": str(plan.threads)}
    return notes if plan.worlds.controller is None else {**notes, "controller": plan.worlds.controller}


def _begun_at(plan: TrainPlan, console: Console) -> int:
    """Say where a run goes on, and return the env steps that it has made.

    Raises:
        CommandError: if its newest checkpoint or `BEGUN` is damaged, or it was begun with something else that it
            depends on.
    """
    path = plan.run_dir / BEGUN
    try:
        standing = standing_of(plan.run_dir)
        theirs: Mapping[str, JsonValue] = parse_object(read_named(path, max_bytes=MAX_JSON_BYTES), path)
    except (TrainingError, ArtifactError) as error:
        raise CommandError(str(error)) from error
    ours = _notes(plan)
    for name in sorted(ours.keys() | theirs.keys()):
        if theirs.get(name) != ours.get(name):
            raise CommandError(f"{plan.run_dir}: {_difference(name, theirs.get(name), ours.get(name))}")
    if standing is None or not standing.prepared:
        console.note(f"{plan.run_dir}: nothing was learned yet; the run begins again in its place")
        return 0
    console.note(f"{plan.run_dir}: going on at {standing.env_steps:,} env steps ({standing.stage})")
    return standing.env_steps


def _difference(option: str, begun: JsonValue, now: str | None) -> str:
    if begun is None:
        return f"begun without --{option}, which is {now} now; leave it out"
    return f"begun with --{option} {begun}, which is {'nothing' if now is None else now} now; say --{option} {begun}"


def _resume_command(plan: TrainPlan) -> str:
    command = ["townlet", "train", "--resume", str(plan.run_dir)]
    controller = plan.worlds.controller
    if controller is not None and is_module(controller):
        command += ["--controller", controller]
    return shlex.join(command)


def _finish(job: Job, summary: RunSummary, final: FinalEvaluation, console: Console, *, horizon: int) -> int:
    """Write what the run came to, and the report."""
    plan = job.plan
    evaluation = evaluation_file(summary, final, horizon=horizon)
    record = summary_file(
        summary,
        final,
        environment=plan.worlds.environment,
        controller=plan.worlds.controller,
        preset=job.config.preset,
        threads=plan.threads,
    )
    evaluation.write(plan.run_dir / EVALUATION)
    record.write(plan.run_dir / SUMMARY)
    picture = picture_of(plan.run_dir, plan.config, seed=plan.seed)
    report = write_report(plan.run_dir, town_picture=picture)
    reason = summary.failure if summary.promotion is None else summary.promotion.reason
    lines = outcome_lines(record, evaluation, reason=reason, report=report)
    console.result(outcome_record(record, plan.run_dir), lines)
    return GATE_FAILED if record.promotion == "FAIL" or summary.failure is not None else SUCCESS
