"""`townlet train` in the modes `replay`, `rollout` and `mixed`, and with a schedule: on records, worlds, or both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from townlet_runtime.cli.commands.capture import capture_info, with_seed_agents, write_town_captures
from townlet_runtime.cli.console import GATE_FAILED, SUCCESS, CommandError, Console, Json, stop_on_signals
from townlet_runtime.cli.training.plan import TrainPlan, settings_of
from townlet_runtime.cli.training.schedule_data import ScheduleData, fits_world, open_data_of_schedule
from townlet_runtime.cli.training.schedule_options import ScheduleOptions
from townlet_runtime.cli.training.seen import SeenRun, seen_live
from townlet_runtime.cli.training.training_data import DataOptions
from townlet_runtime.cli.worlds import Worlds
from townlet_runtime.config import Config
from townlet_runtime.config.sections import SocialCycle, SocialStage
from townlet_runtime.errors import require_report_extra
from townlet_runtime.runs.finished import read_run, write_results
from townlet_runtime.runs.ppo_log import PPOLog
from townlet_runtime.runs.recorded import RecordedData
from townlet_runtime.runs.records import SummaryFile
from townlet_runtime.simulation.interface import AGENTS, GroupedSimulation, SimulationSpec
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.evaluation.interfaces import Collected, derive_seed
from townlet_trajectory.evaluation.results import RunSummary
from townlet_trajectory.formats.captures.metrics import CONFLICT_FEATURES
from townlet_trajectory.storage.files import write_json_atomic
from townlet_trajectory.storage.json import JsonValue

if TYPE_CHECKING:
    from townlet_runtime.training import ScheduledRun, ScheduleOutcome, TrainingConfig
    from townlet_runtime.training_schedules import CycleWorlds

RESULTS = "anneal_results.json"


def train_scheduled(plan: TrainPlan, options: ScheduleOptions, console: Console) -> int:
    """Carry the schedule out, write the run directory, print the results, and return the exit code.

    Args:
        plan: of the run, from config and options.
        options: those of `townlet train` that a schedule alone has.
        console: prints the results.

    Returns:
        The exit code.

    Raises:
        CommandError: if options contradict each other, or a stage has nothing to learn from.
        ArtifactError: if data cannot be read.
    """
    require_combination(plan, options)
    if plan.config.training.get("rollout_auto_seed_agents"):
        plan = plan_with_seed_agents(plan)
    with ExitStack() as opened:
        data = open_data_of_schedule(plan, options, console, opened)
        if plan.mode == "replay" and not options.train_ppo and plan.begun is None:
            return _show_batches(cast(RecordedData, data.record), plan, options, console)
        plan, training = settings_of(plan)
        require_report_extra()
        fits = fits_world(plan, data, console)
        seen = opened.enter_context(seen_live(plan, console, has_world=fits))
        return _train(plan, training, data, options, console, specs=plan.specs if fits else None, seen=seen)


def with_record(plan: TrainPlan, data: DataOptions) -> TrainPlan:
    """Return the plan of a schedule, whose record and data to clone are those of `--data` where that was given.

    Raises:
        CommandError: if there are several.
    """
    if len(data.paths) > 1:
        raise CommandError("--data: a schedule learns from one record")
    named = {} if data.root is None else {"data_root": str(data.root)}
    for path in data.paths:
        named |= {"replay_manifest": str(path), "bc_manifest": str(path)}
    training = {**named, **plan.config.training}
    return replace(plan, config=plan.config.model_copy(update={"training": training}))


def require_combination(plan: TrainPlan, options: ScheduleOptions) -> None:
    """Refuse options that say two things at once, as the original did.

    Raises:
        CommandError: names them.
    """
    records = {
        "--replay-manifest": options.replay_manifest,
        "--capture-dir": options.capture_dir,
        "--replay-sample": options.replay_sample,
    }
    given = [name for name, value in records.items() if value is not None]
    if len(given) > 1:
        raise CommandError(f"{' and '.join(given)}: name one record")
    if options.replay_meta is not None and options.replay_sample is None:
        raise CommandError("--replay-meta: is the description of a --replay-sample, and none is named")
    if plan.mode in ("rollout", "mixed") and options.capture_dir is not None:
        raise CommandError(f"--capture-dir: mode {plan.mode} takes no directory of captures")
    if plan.mode == "rollout" and given:
        raise CommandError(f"{given[0]}: mode rollout has no use for a record")
    if plan.mode in ("replay", "mixed") and plan.config.training.get("replay_manifest") is None:
        raise CommandError(f"mode {plan.mode} learns from a record: name one with --replay-manifest or --capture-dir")
    if options.rollout_save_dir is not None and plan.worlds.towns is None:
        raise CommandError(f"--rollout-save-dir: captures are of the town, not of `{plan.worlds.environment}`")


def plan_with_seed_agents(plan: TrainPlan) -> TrainPlan:
    """Return the plan with alice, bob and a stove where nobody is placed."""
    config = with_seed_agents(plan.config)
    worlds = Worlds.of(config, plan.worlds.options)
    with closing(worlds.make(1)) as one:
        return replace(plan, config=config, worlds=worlds, specs=one.specs, behaviors=one.behaviors)


def _show_batches(record: RecordedData, plan: TrainPlan, options: ScheduleOptions, console: Console) -> int:
    """Print what the batches of a record hold, one line each; nothing is trained."""
    said = plan.config.schedule
    batches = record.batches(
        batch_size=said.get("batch_size", 1),
        seed=derive_seed(plan.seed, "record", 0) if (seed := said.get("shuffle_seed")) is None else seed,
        shuffle=said.get("shuffle", False),
        drop_last=said.get("drop_last", False),
        streaming=said.get("streaming", False),
        episode_labels=said.get("episode_labels"),
    )
    summaries = [
        batch_summary(batch, number, record.feature_names) for number, batch in enumerate(batches.epoch(0), start=1)
    ]
    lines = [f"Replay batch {int(summary['batch'])}: {summary}" for summary in summaries]
    console.result({"mode": "replay", "batches": summaries}, lines)
    return SUCCESS


def batch_summary(batch: TrajectoryBatch, number: int, feature_names: tuple[str, ...]) -> dict[str, float]:
    """Return what one batch of a record holds.

    Args:
        batch: of trajectories.
        number: of the batch, from 1.
        feature_names: names of the columns of the observation `features`.

    Returns:
        `batch`, `batch_size` (trajectories), `feature_dim`, and mean and maximum of the features of conflict.
    """
    features = batch.observations.get("features")
    summary = {
        "batch": float(number),
        "batch_size": float(len(batch)),
        "feature_dim": 0.0 if features is None else float(features.shape[1]),
    }
    for name in CONFLICT_FEATURES:
        if features is not None and name in feature_names:
            column = np.asarray(features[:, feature_names.index(name)], np.float64)
            summary[f"conflict.{name}_mean"] = float(column.mean())
            summary[f"conflict.{name}_max"] = float(column.max())
    return summary


def _train(
    plan: TrainPlan,
    training: TrainingConfig,
    data: ScheduleData,
    options: ScheduleOptions,
    console: Console,
    *,
    specs: Mapping[str, SimulationSpec] | None,
    seen: SeenRun | None,
) -> int:
    from townlet_runtime.cli.training.beginning import claimed, notes_of, resume_at, resume_command
    from townlet_runtime.training import TrainingError
    from townlet_runtime.training_schedules import prepare_scheduled_run

    if plan.begun is not None:
        resume_at(plan, plan.begun, console)
    log = options.log()
    rollout = _LastRollout()
    with stop_on_signals() as stop, entered_worlds(plan, training.num_envs) as enter:
        try:
            with claimed(plan) as (run_dir, begun):
                run = prepare_scheduled_run(
                    training,
                    record=data.record,
                    lessons=data.lessons,
                    specs=specs,
                    enter=enter,
                    run_dir=run_dir,
                    threads=plan.threads,
                    on_row=lambda row: _show_row(row.values, log, console, seen),
                    on_rollout=rollout.keep,
                    stop=stop,
                    notes=notes_of(begun) | data.notes,
                    resume=plan.begun is not None,
                )
            if seen is not None:
                seen.begin(run, run_dir)
            summary = run.run()
            if seen is not None:
                seen.end(summary)
        except TrainingError as error:
            raise CommandError(str(error)) from error
        if summary.interrupted:
            console.note(f"stopped after {summary.counters.num_updates} updates; kept in {summary.checkpoint}")
            console.note(f"go on with: {resume_command(plan, run_dir)}")
            return stop.code
    if options.rollout_save_dir is not None and rollout.batch is not None:
        _save_rollout(options.rollout_save_dir, rollout.batch, plan, training, console)
    return _finish(replace(plan, run_dir=run_dir, begun=begun), run, summary, data, options, console)


@dataclass(kw_only=True)
class _LastRollout:
    """The rows of the newest rollout."""

    batch: TrajectoryBatch | None = None

    def keep(self, collected: Collected) -> None:
        self.batch = collected.batches.get(AGENTS)


@contextmanager
def entered_worlds(plan: TrainPlan, num_envs: int) -> Iterator[Callable[[int], CycleWorlds]]:
    """Give the worlds of each cycle, built where they are entered, until the block ends.

    The stage of the social rewards is that of the last entry of `training.social_reward_schedule` whose cycle has come.
    """
    from townlet_runtime.training_schedules import CycleWorlds

    schedule: tuple[SocialCycle, ...] = plan.config.training.get("social_reward_schedule", ())
    ordered = sorted(schedule, key=lambda entry: entry.cycle)
    made: dict[str, CycleWorlds] = {}
    with ExitStack() as simulations:

        def enter(cycle: int) -> CycleWorlds:
            stage = next((entry.stage for entry in reversed(ordered) if entry.cycle <= cycle), None)
            key = stage or ""
            if key not in made:
                worlds = plan.worlds
                if stage is not None:
                    worlds = Worlds.of(_with_stage(plan.config, stage), plan.worlds.options)
                simulation: GroupedSimulation = simulations.enter_context(closing(worlds.make(num_envs)))
                made[key] = CycleWorlds(
                    key=key,
                    simulation=simulation,
                    make_scored=worlds.make_scored,
                    bridge=worlds.bridge(plan.specs),
                )
            return made[key]

        yield enter


def _with_stage(config: Config, stage: SocialStage) -> Config:
    social = replace(config.social, social_rewards=stage)
    return config.model_copy(update={"social": social})


def _show_row(
    values: Mapping[str, int | float | str | bool | None], log: PPOLog, console: Console, seen: SeenRun | None
) -> None:
    log.write(values)
    console.line(f"PPO epoch {values['epoch']}: {dict(values)}")
    if seen is not None:
        seen.row(values)


def _save_rollout(
    folder: Path, batch: TrajectoryBatch, plan: TrainPlan, training: TrainingConfig, console: Console
) -> None:
    spec = plan.specs[AGENTS]
    info = capture_info(plan.config, path=None, ticks=training.rollout_ticks, seed=plan.seed, policy=None)
    place = write_town_captures(folder, batch, spec, policy=None, info=info)
    console.note(f"the last rollout: {place}")


def _finish(
    plan: TrainPlan,
    run: ScheduledRun,
    summary: RunSummary,
    data: ScheduleData,
    options: ScheduleOptions,
    console: Console,
) -> int:
    """Write the records of the run, then its report, and print the results."""
    from townlet_runtime.cli.views.results import draw_report, show_results

    outcome = run.outcome
    if outcome is None:
        raise CommandError(f"{plan.run_dir}: the schedule has no outcome")
    document: dict[str, JsonValue] = {
        "status": str(outcome.status),
        "decision": str(outcome.decision),
        "reasons": [*outcome.reasons],
        "reason": outcome.reason,
    }
    results: list[JsonValue] = [{**result} for result in outcome.results]
    write_json_atomic(plan.run_dir / "schedule.json", document)
    if options.anneal_log_dir is not None and plan.mode == "anneal":
        options.anneal_log_dir.mkdir(parents=True, exist_ok=True)
        write_json_atomic(options.anneal_log_dir / RESULTS, results)
    record = SummaryFile.of(
        summary,
        environment=None if summary.final is None else plan.worlds.environment,
        threads=plan.threads,
        controller=plan.worlds.controller,
        guardrails=plan.worlds.guardrails,
        preset=plan.config.preset,
        config_sha256=None if plan.begun is None else plan.begun.config_sha256,
    )
    horizon = None if summary.final is None else next(iter(plan.specs.values())).episode_ticks
    write_results(plan.run_dir, summary, record, horizon=horizon)
    finished = draw_report(read_run(plan.run_dir), plan.config, console, equipment=plan.worlds.equipment)
    if plan.mode == "anneal" and options.given:
        promotion = _promotion(summary, outcome, plan.config.promotion.required_passes)
        shown: dict[str, Json] = {"status": str(outcome.status), "promotion": promotion, "results": results}
        if console.json:
            shown["run_dir"] = str(plan.run_dir)
        console.result(shown, json.dumps(shown, indent=2).splitlines())
    else:
        if plan.mode == "anneal":
            console.line(f"schedule: {outcome.status}{': ' if outcome.reasons else ''}{', '.join(outcome.reasons)}")
        show_results(finished, console, failure=summary.failure)
    failed = str(outcome.status) != "PASS"
    return GATE_FAILED if failed and options.anneal_exit_on_failure and plan.mode == "anneal" else SUCCESS


def _promotion(summary: RunSummary, outcome: ScheduleOutcome, required_passes: int) -> dict[str, Json]:
    """Where the policy stands, by the names of the original's snapshot; null is what a single run does not know."""
    decided = summary.promotion
    ready = decided is not None and decided.candidate_ready and outcome.decision == "PROMOTE"
    return {
        "state": "ready" if ready else "monitoring",
        "pass_streak": 0 if decided is None else decided.pass_streak,
        "required_passes": required_passes,
        "candidate_ready": ready,
        "candidate_ready_tick": None,
        "last_result": "pass" if outcome.status == "PASS" and outcome.decision != "FAIL" else "fail",
        "last_evaluated_tick": None,
        "current_release": None,
        "initial_release": None,
        "candidate": summary.weights_sha256,
        "history": [],
        "decision": str(outcome.decision),
        "reason": outcome.reason,
    }
