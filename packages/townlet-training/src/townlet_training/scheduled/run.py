"""A run that follows a schedule: one network through stages of cloning and PPO, on a record, rollouts, or both."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from townlet_training.config import ONE_GROUP, StageConfig, TrainingConfig
from townlet_training.network.spec import PolicySpec
from townlet_training.run.agent_groups import GroupLearners
from townlet_training.run.checkpoint import Checkpoint
from townlet_training.run.directory import RunDirectory
from townlet_training.run.evaluator import RunEvaluator
from townlet_training.run.experience import RunExperience
from townlet_training.run.metrics import MetricsRow
from townlet_training.run.monitor import Interrupted, RunClock
from townlet_training.run.result import RunResult, export_and_score, summary_of
from townlet_training.run.state import TrainingState
from townlet_training.scheduled.data import (
    ROLLOUT,
    DataMode,
    Record,
    RunWorlds,
    data_of,
    looked_at,
    planned_update,
    require_data,
    stages_of,
)
from townlet_training.scheduled.results import (
    RowMeasures,
    ScheduleOutcome,
    StageUpdate,
    anneal_values,
    clone_result,
    measured_by,
    outcome_of,
    ppo_result,
    schedule_row,
)
from townlet_training.sinks.sink import RunSinks
from townlet_trajectory import TrajectoryBatch, TrajectorySource
from townlet_trajectory.evaluation.anneal_results import StageBaseline, StageResult, Status, reasons_of, status_of
from townlet_trajectory.evaluation.gates import GateResult
from townlet_trajectory.evaluation.interfaces import Collected, EpisodeScores
from townlet_trajectory.evaluation.results import CloneEpoch, CloneRecord, RunSummary
from townlet_trajectory.storage.files import DirectoryLock, write_json_atomic

log = logging.getLogger(__name__)

RESULTS_NAME = "anneal_results.json"


class ScheduledRun:
    """Runs the stages of a schedule, once, in one directory. One network goes through all of them.

    A stage `bc` clones, and passes where its held-out accuracy reaches the threshold; otherwise the weights from before
    it are restored and the run ends. A stage `ppo` makes updates, after which the policy is evaluated and compared with
    the last such stage on the same dataset. A run that was interrupted in any way goes on from its newest checkpoint,
    and comes to the same weights, log and results.
    """

    def __init__(
        self,
        config: TrainingConfig,
        *,
        specs: Mapping[str, PolicySpec],
        run_dir: Path,
        record: Record | None = None,
        lessons: Mapping[str, Sequence[TrajectorySource]] | None = None,
        worlds: Callable[[int], RunWorlds] | None = None,
        on_row: Callable[[MetricsRow], None] = lambda row: None,
        on_rollout: Callable[[Collected], None] = lambda collected: None,
        stop: Callable[[], bool] = bool,
        notes: Mapping[str, str] = {},
        resume: bool = False,
        turn: int = 1,
    ) -> None:
        """Build the networks; nothing is collected or written before `run`.

        Args:
            config: of the run, whose `is_scheduled` is true.
            specs: observations and actions of each agent group's policy; a single group is called `agents`.
            run_dir: an existing directory: without another run in it, or with the one to `resume`.
            record: that PPO learns from, of the only agent group.
            lessons: recorded steps to clone, by agent group.
            worlds: builds the worlds of a cycle; None: the policy fits no world that was named.
            on_row: called with every line of the log when it is written.
            on_rollout: called with every rollout that was learned from.
            stop: asked before every update, pass and evaluation; true ends the run there, with a checkpoint.
            notes: other facts that the run depends on, such as digests of data, for `resume` to compare.
            resume: continue the run in `run_dir` where it was interrupted.
            turn: updates in a row on the record, and then on rollouts, in mode `mixed`.

        Raises:
            ConfigError: if a stage has nothing to learn from, or a group has no proper name.
        """
        self._config = config
        self._run_dir = run_dir
        self._record, self._lessons = record, lessons
        self._worlds = worlds
        self._on_row, self._on_rollout = on_row, on_rollout
        self._stop = stop
        self._resume = resume
        self._stages = stages_of(config)
        self._data = [each for each in data_of(config, has_record=record is not None) for _ in range(turn)]
        require_data(self._stages, self._data, specs, record=record, lessons=lessons, has_world=worlds is not None)
        self.learners, self._clock = GroupLearners(config, specs), RunClock()
        self._directory, self._sinks = RunDirectory(run_dir, keep_last=1), RunSinks(config.metrics, run_dir)
        self._entered: RunWorlds | None = None
        self._experience = RunExperience(None, run_dir=run_dir)
        self._evaluator = RunEvaluator(None, config, before_each=self._stop_if_asked, clock=self._clock)
        self._state = TrainingState(
            config=config,
            specs=dict(specs),
            notes=dict(notes),
            stage="ppo" if self._stages[0].mode == "ppo" else "clone",
            transitions=dict.fromkeys(specs, 0),
            evaluator=self._evaluator.state,
        )
        self.outcome: ScheduleOutcome | None = None
        """None before the run has ended."""

    def run(self) -> RunSummary:
        """Carry the stages out, export the policy, score it and let it try to replace the script.

        Returns:
            The summary of the run, interrupted or not; `outcome` then says how the schedule ended.

        Raises:
            ArtifactError: if another process trains in the directory, or a file cannot be written.
            TrainingError: if the directory holds a run already, or there is nothing to learn from.
            ResumeError: if the run cannot be resumed.
            NonFiniteError: if a number that is not finite comes up; the newest checkpoint is from before it.
        """
        with DirectoryLock(self._run_dir), self._sinks, closing(self.learners):
            if not self._resume:
                self._directory.require_unused()
            if not (self._resume and self._restore_newest()):
                self._enter(self._stages[0].cycle)
                self._directory.begin_log()
                self._save()
            self._sinks.begin(begun_at=self._state.env_steps)
            try:
                while (stage := self._next_stage()) is not None:
                    self._carry_out(stage)
                return self._finish()
            except Interrupted:
                # The present state may be one in the middle of an update; the newest checkpoint is none.
                checkpoint = self._directory.checkpoints.newest() or self._run_dir
                log.info("asked to stop after %d updates; kept in %s", self._state.num_updates, checkpoint)
                return self._summary(None, checkpoint=checkpoint)

    def _next_stage(self) -> StageConfig | None:
        done = self._state.schedule.stage
        ended = done == len(self._stages) or self._state.history.failure is not None
        return None if ended else self._stages[done]

    def _carry_out(self, stage: StageConfig) -> None:
        self._pause_if_asked()
        self._enter(stage.cycle)
        result = self._clone(stage) if stage.mode == "bc" else self._improve(stage)
        schedule = self._state.schedule
        schedule.results += (result,)
        schedule.stage, schedule.num_updates = schedule.stage + 1, 0
        if self._config.schedule.stages and self._config.mode == "anneal":
            write_json_atomic(self._run_dir / RESULTS_NAME, [dict(each) for each in schedule.results])
        self._save()

    def _enter(self, cycle: int) -> None:
        """Go to the worlds of `cycle`, unless the run is in them."""
        if self._worlds is None:
            return
        entered, before = self._worlds(cycle), self._entered
        self._state.schedule.cycle = cycle
        if before is not None and before.key == entered.key:
            return
        self._entered = entered
        self._experience = RunExperience(entered.collector, run_dir=self._run_dir)
        self._evaluator = RunEvaluator(
            entered.evaluator, self._config, before_each=self._stop_if_asked, clock=self._clock
        )
        # Other worlds have other scores: those of the worlds before are of no use here.
        self._state.evaluator = self._evaluator.state

    def _clone(self, stage: StageConfig) -> StageResult:
        """Clone, and restore the weights from before where the clone is not accurate enough."""
        state = self._state
        state.stage = "clone"
        weights, learners = self.learners.weights(), self.learners.state()
        with self._clock.measure("clone"):
            clones = self.learners.clone_record(
                self._lessons or {},
                num_epochs=stage.epochs,
                fit_statistics=not state.history.prepared,
                on_epoch=self._after_epoch,
            )
        results = {group: clone.result for group, clone in clones.items()}
        result, gate = clone_result(stage, results, threshold=self._config.gates.clone_accuracy)
        log.log(logging.WARNING if gate.failed else logging.INFO, "cycle %d: the clone: %s", stage.cycle, gate.detail)
        if not gate.failed:
            state.history.prepared = True
            self._evaluate(gate)
            evaluation = state.history.evaluations[-1] if self._evaluator.has_world else None
            state.history.clone = CloneRecord(results=results, gate=gate, evaluation=evaluation)
            return result
        self.learners.restore(weights, learners)
        state.history.failure = replace(gate, name=f"bc_stage_failed_cycle_{stage.cycle}")
        return {**result, "rolled_back": True}

    def _after_epoch(self, _: CloneEpoch) -> None:
        self._stop_if_asked()

    def _improve(self, stage: StageConfig) -> StageResult:
        """Make the updates of a stage, evaluate the policy, and compare it with the last stage on the same data."""
        state, schedule = self._state, self._state.schedule
        state.stage, dataset = "ppo", self._dataset
        self._prepare()
        while True:
            self._pause_if_asked()
            schedule.num_updates += 1
            made = [each for data in self._data for each in self._update(stage, data)]
            measured = StageBaseline(
                loss=made[-1].update.total_loss, queue_conflict_events=None, queue_conflict_intensity_sum=None
            )
            last = schedule.num_updates == stage.epochs
            if last:
                measured = measured_by(made[-1].update, self._evaluate())
            rows = [self._row(each, stage, measured) for each in made]
            self._directory.append(rows)
            for row in rows:
                self._on_row(row)
            for each, row in zip(made, rows, strict=True):
                self._sinks.update([row.values], each.collected)
            if last:
                schedule.baselines = {**schedule.baselines, dataset: measured}
                return ppo_result(rows[-1], stage, measured)
            if schedule.num_updates % self._config.schedule.checkpoint_every == 0:
                self._save()

    def _prepare(self) -> None:
        """Fit normalization and unit of values to the first rows that PPO learns from; the former not after a clone."""
        state = self._state
        if state.schedule.has_scale:
            return
        if self._record is not None:
            batches = looked_at(self._record, self._config)
            self.learners.freeze_to_record(batches, normalizer=not state.history.prepared)
        elif state.history.prepared:
            self.learners.freeze_value_scale(self._collect(1.0).batches)
        else:
            self.learners.freeze_statistics(self._collect(1.0).batches)
        state.history.prepared = state.schedule.has_scale = True

    def _update(self, stage: StageConfig, data: DataMode) -> list[StageUpdate]:
        """Make one update of every agent group from a record or a rollout."""
        state, schedule, began = self._state, self._state.schedule, time.perf_counter()
        planned = planned_update(self._config, stage, data, schedule)
        rows = {group: RowMeasures(spec=spec) for group, spec in state.specs.items()}
        number, collected = state.num_updates + 1, None
        with self._clock.measure(data):
            if data == "replay" and self._record is not None:
                batches = self._record.batches.epoch(schedule.num_replays)
                updates = {ONE_GROUP: self.learners.replay(self._counted(rows[ONE_GROUP], batches), planned, number)}
                schedule.num_replays += 1
            else:
                collected = self._collect(planned.ratio)
                updates = self.learners.learn(collected, planned, number=number)
                for group, batch in collected.batches.items():
                    rows[group].add(batch)
                schedule.num_rollouts += 1
                self._on_rollout(collected)
                if not schedule.rollout_baseline:
                    schedule.rollout_baseline = {group: each.baseline for group, each in rows.items()}
        state.count_update(updates)
        schedule.num_lines += 1
        make = partial(
            StageUpdate,
            stage=stage,
            planned=planned,
            collected=collected,
            dataset=self._dataset,
            num_line=schedule.num_lines,
            elapsed=self._clock.elapsed,
            seconds=time.perf_counter() - began,
        )
        return [
            make(group=group, update=update, rows=rows[group], baseline=self._baseline(group, rows[group]))
            for group, update in updates.items()
        ]

    def _counted(self, rows: RowMeasures, batches: Iterator[TrajectoryBatch]) -> Iterator[TrajectoryBatch]:
        for batch in rows.added(batches):
            self._stop_if_asked()
            yield batch

    def _baseline(self, group: str, rows: RowMeasures) -> Mapping[str, float]:
        if self._record is not None:
            return self._record.baseline or rows.baseline
        return self._state.schedule.rollout_baseline[group]

    @property
    def _dataset(self) -> str:
        return ROLLOUT if self._record is None else self._record.name

    def _row(self, made: StageUpdate, stage: StageConfig, measured: StageBaseline) -> MetricsRow:
        anneal = {}
        if self._config.mode == "anneal":
            cloned = [each for each in self._state.schedule.results if each["mode"] == "bc"]
            anneal = anneal_values(
                stage,
                made.dataset,
                cloned=cloned[-1] if cloned else None,
                measured=measured,
                baseline=self._state.schedule.baselines.get(made.dataset),
            )
        return schedule_row(made, self._state, anneal=anneal)

    def _collect(self, ratio: float) -> Collected:
        self._directory.saved_at = None
        return self._experience.collect(
            self._state, self.learners.networks, num_ticks=self._config.rollout_ticks, ratios=[ratio]
        )

    def _evaluate(self, gate: GateResult | None = None) -> EpisodeScores | None:
        """Let the trained policy play the episodes of selection; None without a world."""
        if not self._evaluator.has_world:
            return None
        scores = self._evaluator.selection_scores(self.learners.networks)
        record = self._evaluator.record(scores, self._state, gate)
        self._state.history.evaluations += (record,)
        self._sinks.evaluation(record)
        log.info("cycle %d: mean return %.6g", self._state.schedule.cycle, record.return_mean)
        return scores

    def _finish(self) -> RunSummary:
        """Export and score the policy; let it try to replace the script where every stage passed."""
        results = self._state.schedule.results if self._config.mode == "anneal" else ()
        reasons = reasons_of(results, RESULTS_NAME)
        status = status_of(reasons)
        result = export_and_score(
            self.learners,
            self._evaluator,
            state=self._state,
            run_dir=self._run_dir,
            clone=None,
            clock=self._clock,
            promote=status is not Status.HOLD,
        )
        summary = self._summary(result, checkpoint=self._save())
        self.outcome = outcome_of(results, status, reasons, summary)
        return summary

    def _summary(self, result: RunResult | None, *, checkpoint: Path) -> RunSummary:
        return summary_of(self._state, self.learners, result, checkpoint=checkpoint, clock=self._clock)

    def _restore_newest(self) -> bool:
        """Go on from the newest checkpoint; false where there is none, and the run begins in its place."""
        newest = self._directory.newest(self._state)
        if newest is None:
            return False
        path, checkpoint = newest
        self._directory.cut_log(checkpoint.state.log)
        self._directory.checkpoints.prune(protected=frozenset())
        self._clock.resume(checkpoint.state)
        self.learners.restore(checkpoint.weights, checkpoint.learner)
        self._go_on_in_worlds(checkpoint)
        self._directory.saved_at = path
        log.info("resumed after %d updates", self._state.num_updates)
        return True

    def _go_on_in_worlds(self, checkpoint: Checkpoint) -> None:
        scores = checkpoint.state.evaluator
        self._state = checkpoint.state
        self._enter(checkpoint.state.schedule.cycle)
        self._state.evaluator = self._evaluator.state = scores
        self._experience.resume(checkpoint)

    def _save(self) -> Path:
        state = self._state
        self._clock.note(state)
        self._directory.saved_at = None
        return self._directory.save(state, self.learners, self._experience.save_state(), interim=True)

    def _pause_if_asked(self) -> None:
        """As `_stop_if_asked`, where the present state is one to go on from."""
        if self._stop():
            self._save()
            raise Interrupted

    def _stop_if_asked(self) -> None:
        if self._stop():
            raise Interrupted
