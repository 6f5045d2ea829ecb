"""`townlet train`: a run directory from beginning to end."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from townlet_runtime._training import (
    FinalEvaluation,
    Progress,
    RunSummary,
    TrainingConfig,
    TrainingError,
    orchestrator_of,
    training_config,
    training_fields,
)
from townlet_runtime.cli.console import Console
from townlet_runtime.cli.exits import GATE_FAILED, SUCCESS, CommandError, stop_on_signals
from townlet_runtime.cli.outcome import evaluation_file, outcome_lines, outcome_record, summary_file
from townlet_runtime.cli.still import picture_of
from townlet_runtime.cli.train import TrainPlan
from townlet_runtime.collector import SimulationCollector
from townlet_runtime.config import Config, dump_config, with_training
from townlet_runtime.evaluate import SimulationEvaluator
from townlet_runtime.report import write_report
from townlet_runtime.rundir import CONFIG, EVALUATION, SUMMARY, new_run_directory
from townlet_trajectory.files import write_bytes_atomic


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
    town = plan.worlds(job.training.num_envs)
    ticks = max(job.training.rollout_ticks, job.training.anneal.clone_ticks)
    collector = SimulationCollector(town, config=plan.bridge, seed=plan.seed, max_rows=ticks * town.spec.capacity)
    evaluator = SimulationEvaluator(plan.worlds, config=plan.bridge, seed=plan.seed)
    with (
        stop_on_signals() as stop,
        console.progress(total=job.training.total_env_steps, unit="env steps") as shown,
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
            )
            with new_run_directory(plan.run_dir):
                write_bytes_atomic(plan.run_dir / CONFIG, dump_config(job.config).encode())
            begun = time.monotonic()
            summary = orchestrator.run()
        except TrainingError as error:
            raise CommandError(str(error)) from error
        wall_time_s = time.monotonic() - begun
    final = summary.final
    if summary.interrupted or final is None:
        console.note(f"stopped at {summary.counters.env_steps:,} env steps; kept in {summary.checkpoint}")
        return stop.code
    return _finish(job, summary, final, console, wall_time_s=wall_time_s)


def _job(plan: TrainPlan) -> Job:
    training = training_config(plan.settings, preset_name=plan.config.preset, mode=plan.mode, seed=plan.seed)
    config = with_training(plan.config, mode=plan.mode, seed=plan.seed, fields=training_fields(training))
    return Job(plan=plan, config=config, training=training)


def _finish(job: Job, summary: RunSummary, final: FinalEvaluation, console: Console, *, wall_time_s: float) -> int:
    """Write what the run came to, and the report."""
    plan = job.plan
    evaluation = evaluation_file(summary, final, horizon=plan.worlds.town.episode_ticks)
    record = summary_file(summary, final, preset=job.config.preset, threads=plan.threads, wall_time_s=wall_time_s)
    evaluation.write(plan.run_dir / EVALUATION)
    record.write(plan.run_dir / SUMMARY)
    picture = picture_of(plan.run_dir, plan.worlds, bridge=replace(plan.bridge, ratio=1.0), seed=plan.seed)
    report = write_report(plan.run_dir, town_picture=picture)
    reason = "" if summary.promotion is None else summary.promotion.reason
    lines = outcome_lines(record, evaluation, reason=reason, report=report)
    console.result(outcome_record(record, plan.run_dir), lines)
    return GATE_FAILED if record.promotion == "FAIL" or summary.failure is not None else SUCCESS
