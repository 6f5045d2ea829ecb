"""`townlet train`: a run directory from beginning to end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

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
from townlet_runtime.cli.worlds import Worlds, load, option, seed_of
from townlet_runtime.collector import SimulationCollector
from townlet_runtime.config import (
    Config,
    bridge_config,
    dump_config,
    training_mode,
    training_settings,
    with_training,
)
from townlet_runtime.evaluate import SimulationEvaluator
from townlet_runtime.rundir import CONFIG, EVALUATION, SUMMARY, default_run_dir, new_run_directory
from townlet_trajectory.files import write_bytes_atomic


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of `townlet train`; None where one was not given."""

    config: Path | None
    mode: str | None
    total_steps: int | None
    num_envs: int | None
    seed: int | None
    run_dir: Path | None
    eval_every: int | None
    threads: int
    preset: str | None
    settings: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run, completely decided."""

    config: Config
    """With every value of training written out."""
    training: TrainingConfig
    run_dir: Path
    threads: int


def train_policy(options: TrainOptions, console: Console) -> int:
    """Train, write the run directory, print what came of it, and return the exit code."""
    console.mute_ticks()
    job = _job(options, console)
    # Built first: what contradicts itself is refused before anything is written.
    worlds = Worlds.of(job.config)
    bridge = bridge_config(job.config, ratio=0.0)
    town = worlds(job.training.num_envs)
    ticks = max(job.training.rollout_ticks, job.training.anneal.clone_ticks)
    collector = SimulationCollector(town, config=bridge, seed=job.training.seed, max_rows=ticks * town.spec.capacity)
    evaluator = SimulationEvaluator(worlds, config=bridge, seed=job.training.seed)
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
                run_dir=job.run_dir,
                threads=job.threads,
                on_progress=on_progress,
                stop=stop,
            )
            with new_run_directory(job.run_dir):
                write_bytes_atomic(job.run_dir / CONFIG, dump_config(job.config).encode())
            begun = time.monotonic()
            summary = orchestrator.run()
        except TrainingError as error:
            raise CommandError(str(error)) from error
        wall_time_s = time.monotonic() - begun
    final = summary.final
    if summary.interrupted or final is None:
        console.note(f"stopped at {summary.counters.env_steps:,} env steps; kept in {summary.checkpoint}")
        return stop.code
    return _finish(job, summary, final, worlds, console, wall_time_s=wall_time_s)


def _job(options: TrainOptions, console: Console) -> Job:
    overrides = [
        *option("training.source", options.mode, "--mode"),
        *option("training.total_env_steps", options.total_steps, "--total-steps"),
        *option("training.num_envs", options.num_envs, "--num-envs"),
        *option("evaluation.every_updates", options.eval_every, "--eval-every"),
        *option("seed", options.seed, "--seed"),
        *option("preset", options.preset, "--preset"),
    ]
    config = load(options.config, options.settings, overrides, console).config
    mode = training_mode(config)
    seed = seed_of(config) if options.seed is None else options.seed
    training = training_config(training_settings(config), preset_name=config.preset, mode=mode, seed=seed)
    return Job(
        config=with_training(config, mode=mode, seed=seed, fields=training_fields(training)),
        training=training,
        run_dir=options.run_dir or default_run_dir(now=datetime.now(), mode=mode, seed=seed),
        threads=options.threads,
    )


def _finish(
    job: Job, summary: RunSummary, final: FinalEvaluation, worlds: Worlds, console: Console, *, wall_time_s: float
) -> int:
    """Write what the run came to, and the report."""
    from townlet_runtime.report import write_report

    evaluation = evaluation_file(summary, final, horizon=worlds.town.episode_ticks)
    record = summary_file(summary, final, preset=job.config.preset, threads=job.threads, wall_time_s=wall_time_s)
    evaluation.write(job.run_dir / EVALUATION)
    record.write(job.run_dir / SUMMARY)
    picture = picture_of(job.run_dir, worlds, bridge=bridge_config(job.config, ratio=1.0), seed=job.training.seed)
    report = write_report(job.run_dir, town_picture=picture)
    reason = "" if summary.promotion is None else summary.promotion.reason
    console.result(outcome_record(record, job.run_dir), outcome_lines(record, evaluation, reason=reason, report=report))
    return GATE_FAILED if record.promotion == "FAIL" or summary.failure is not None else SUCCESS
