"""What a scheduled run reports: measures of its rows, the lines of its log, and how its stages ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from townlet_training.config import StageConfig
from townlet_training.learning.record import decisions_of
from townlet_training.learning.update import PPOUpdate
from townlet_training.network.spec import PolicySpec
from townlet_training.planning import PlannedUpdate
from townlet_training.run.metrics import (
    ANNEAL_KEYS,
    BASELINE_KEYS,
    CONTRACT_KEYS,
    GROUP_KEY,
    OWN_KEYS,
    TELEMETRY_VERSION,
    MetricsRow,
    MetricValue,
    of_collection,
    of_update,
)
from townlet_training.run.state import TrainingState
from townlet_trajectory import Kind, TrajectoryBatch
from townlet_trajectory.evaluation.anneal_results import StageBaseline, StageResult, Status, flags_of
from townlet_trajectory.evaluation.gates import GateResult, Verdict
from townlet_trajectory.evaluation.interfaces import Collected, EpisodeScores
from townlet_trajectory.evaluation.promotion import Decision
from townlet_trajectory.evaluation.results import CloneResult, RunSummary
from townlet_trajectory.formats.captures.metrics import CONFLICT_FEATURES


@dataclass(frozen=True, kw_only=True)
class ScheduleOutcome:
    """How a schedule ended: `schedule.json`."""

    results: tuple[StageResult, ...]
    """The stages that were carried out; empty where the run has no schedule."""
    status: Status
    reasons: tuple[str, ...]
    decision: Decision
    """Whether the policy may replace the script."""
    reason: str
    """Of the decision, in words."""


@dataclass(kw_only=True)
class RowMeasures:
    """Running measures of the rows of one update, which may come in parts."""

    spec: PolicySpec
    num_trajectories: int = 0
    num_rows: int = 0
    num_decisions: int = 0
    reward_sum: float = 0.0
    log_prob_sum: float = 0.0
    conflict_sums: dict[str, float] = field(default_factory=dict)
    conflict_maxima: dict[str, float] = field(default_factory=dict)

    def add(self, batch: TrajectoryBatch) -> None:
        """Count the rows of `batch`."""
        self.num_trajectories += len(batch)
        self.num_rows += batch.num_steps
        self.reward_sum += float(batch.rewards.sum(dtype=np.float64))
        columns = decisions_of(batch)
        decided = columns["kind"] == Kind.DECISION
        self.num_decisions += int(decided.sum())
        self.log_prob_sum += float(np.asarray(columns["behavior_log_prob"], np.float64)[decided].sum())
        for name in CONFLICT_FEATURES:
            if name in self.spec.feature_names:
                column = batch.observations["features"][:, self.spec.feature_names.index(name)]
                self.conflict_sums[name] = self.conflict_sums.get(name, 0.0) + float(column.sum(dtype=np.float64))
                greatest = max(self.conflict_maxima.get(name, 0.0), float(column.max(initial=0.0)))
                self.conflict_maxima[name] = greatest

    def added(self, batches: Iterable[TrajectoryBatch]) -> Iterable[TrajectoryBatch]:
        """Hand on `batches`, each of which is counted."""
        for batch in batches:
            self.add(batch)
            yield batch

    @property
    def baseline(self) -> dict[str, float]:
        """The figures of these rows that later ones can be compared with."""
        rows, trajectories = max(self.num_rows, 1), max(self.num_trajectories, 1)
        return {
            "sample_count": float(self.num_trajectories),
            "reward_mean": self.reward_sum / rows,
            "reward_sum": self.reward_sum,
            "reward_sum_mean": self.reward_sum / trajectories,
            "log_prob_mean": self.log_prob_sum / max(self.num_decisions, 1),
        }

    @property
    def conflict(self) -> dict[str, float]:
        """Mean and maximum of the features that say how agents get on, where the policy sees them."""
        rows = max(self.num_rows, 1)
        return {f"conflict.{name}_mean_avg": total / rows for name, total in self.conflict_sums.items()} | {
            f"conflict.{name}_max_avg": greatest for name, greatest in self.conflict_maxima.items()
        }


@dataclass(frozen=True, kw_only=True)
class StageUpdate:
    """One update of one agent group in a stage of PPO."""

    group: str
    stage: StageConfig
    planned: PlannedUpdate
    update: PPOUpdate
    rows: RowMeasures
    collected: Collected | None
    """None: the rows are of a record."""
    baseline: Mapping[str, float]
    """`RowMeasures.baseline` of the record, or of the first rollout."""
    dataset: str
    num_line: int
    """Of the line in the log, from 1."""
    elapsed: float
    """Seconds since the run began."""
    seconds: float
    """That the update took, its collection included."""


def schedule_row(made: StageUpdate, state: TrainingState, *, anneal: Mapping[str, MetricValue]) -> MetricsRow:
    """Put one update into a line of the log, with every key of it: null where there is no such number.

    Args:
        made: the update.
        state: of the run after it.
        anneal: `anneal_values` within a schedule, else nothing.

    Returns:
        The line.
    """
    collected, update = made.collected, made.update
    values: dict[str, MetricValue] = dict.fromkeys((*CONTRACT_KEYS, *OWN_KEYS))
    values |= of_update(update)
    values |= {
        "epoch": state.schedule.num_updates,
        "telemetry_version": TELEMETRY_VERSION,
        "lr": made.update.learning_rate,
        "steps": state.transitions[made.group],
        "epoch_duration_sec": made.seconds,
        "data_mode": "replay" if collected is None else "rollout",
        "cycle_id": made.stage.cycle,
        "rollout_ticks": 0 if collected is None else state.config.rollout_ticks,
        "log_stream_offset": made.num_line,
        "stage": "ppo",
        "attempt": 0,
        "env_steps": state.env_steps,
        "agent_steps": state.agent_steps,
        "kickstart_coef": made.planned.kickstart_coef,
        "wall_time_s": made.elapsed,
        "reward_mean": made.rows.baseline["reward_mean"],
        **{key: made.baseline.get(key.removeprefix("baseline_")) for key in BASELINE_KEYS},
    }
    if collected is not None:
        values |= of_collection(collected, made.group)
        values["ratio"] = made.planned.ratio
        values["env_steps_per_s"] = collected.env_steps / made.seconds if made.seconds > 0.0 else None
        if len(collected.batches) > 1:
            values[GROUP_KEY] = made.group
    values |= made.rows.conflict
    return MetricsRow(values={**values, **anneal})


def anneal_values(
    stage: StageConfig,
    dataset: str,
    *,
    cloned: StageResult | None,
    measured: StageBaseline,
    baseline: StageBaseline | None,
) -> dict[str, MetricValue]:
    """Return the keys of a line that only a schedule has.

    Args:
        stage: that is going on.
        dataset: name of the data that it learns from.
        cloned: result of the last stage of cloning; None: there was none.
        measured: of this line; its counts are None before the stage's end.
        baseline: of the last stage of PPO on the same dataset; None: there was none.

    Returns:
        `ANNEAL_KEYS`.
    """
    cloned = cloned or {}
    flags = flags_of(measured, baseline)
    values: dict[str, MetricValue] = {
        "anneal_cycle": stage.cycle,
        "anneal_stage": stage.mode,
        "anneal_dataset": dataset,
        "anneal_bc_accuracy": cloned.get("accuracy"),
        "anneal_bc_threshold": cloned.get("threshold"),
        "anneal_bc_passed": cloned.get("passed"),
        "anneal_loss_baseline": None if baseline is None else baseline.loss,
        "anneal_queue_baseline": None if baseline is None else baseline.queue_conflict_events,
        "anneal_intensity_baseline": None if baseline is None else baseline.queue_conflict_intensity_sum,
        **{f"anneal_{name}_flag": raised for name, raised in flags.items()},
    }
    return {key: values[key] for key in ANNEAL_KEYS}


def clone_result(
    stage: StageConfig, results: Mapping[str, CloneResult], *, threshold: float
) -> tuple[StageResult, GateResult]:
    """Judge the clones of a stage: it passes where the held-out accuracy of every agent group reaches the threshold.

    Args:
        stage: that has ended.
        results: of the clones, by agent group.
        threshold: of the accuracy, in [0, 1].

    Returns:
        The result of the stage, with the least accuracy and the greatest loss, and the verdict.
    """
    accuracy = min(result.accuracy for result in results.values())
    passed = accuracy >= threshold
    gate = GateResult(
        name="clone_accuracy",
        verdict=Verdict.PASSED if passed else Verdict.FAILED,
        detail=f"accuracy {accuracy:.6g} against {threshold:.6g}",
    )
    result: StageResult = {
        "cycle": stage.cycle,
        "mode": stage.mode,
        "accuracy": accuracy,
        "loss": max(each.epochs[each.best_epoch - 1].loss for each in results.values()),
        "threshold": threshold,
        "passed": passed,
        "bc_weight": stage.bc_weight,
    }
    return result, gate


def ppo_result(row: MetricsRow, stage: StageConfig, measured: StageBaseline) -> StageResult:
    """Return the result of a stage of PPO: the last line of it, with the counts that its flags judge.

    Args:
        row: the last line of the stage.
        stage: that has ended.
        measured: of the stage.
    """
    return {
        "cycle": stage.cycle,
        "mode": stage.mode,
        **row.values,
        "queue_conflict_events": measured.queue_conflict_events,
        "queue_conflict_intensity_sum": measured.queue_conflict_intensity_sum,
        "bc_weight": stage.bc_weight,
    }


def measured_by(update: PPOUpdate, scores: EpisodeScores | None) -> StageBaseline:
    """What a stage is compared by: its last loss, and what the trained policy did in the episodes of its evaluation."""

    def mean(event: str) -> float | None:
        counts = () if scores is None else scores.events.get(event, ())
        return sum(counts) / len(counts) if counts else None

    return StageBaseline(
        loss=update.total_loss,
        queue_conflict_events=mean("queue_conflict_events"),
        queue_conflict_intensity_sum=mean("queue_conflict_intensity_sum"),
    )


def outcome_of(
    results: tuple[StageResult, ...], status: Status, reasons: tuple[str, ...], summary: RunSummary
) -> ScheduleOutcome:
    """Decide about the policy: what its stages amount to, and what its passes against the script showed.

    Args:
        results: of the stages.
        status: that they amount to.
        reasons: why that is not `PASS`.
        summary: of the run.

    Returns:
        The outcome: FAIL or HOLD where `status` is, else the decision that `summary` holds; HOLD where there is none.
    """
    promotion = summary.promotion
    if status is Status.FAIL:
        decision, reason = Decision.FAIL, f"the schedule failed: {', '.join(reasons)}"
    elif status is Status.HOLD:
        decision, reason = Decision.HOLD, f"the schedule raised flags: {', '.join(reasons)}"
    elif promotion is not None:
        decision, reason = promotion.decision, promotion.reason
    elif summary.final is None:
        decision, reason = Decision.HOLD, "no evidence: the policy fits no world that was named"
    else:
        decision, reason = Decision.HOLD, "there is no script to replace"
    return ScheduleOutcome(results=results, status=status, reasons=reasons, decision=decision, reason=reason)
