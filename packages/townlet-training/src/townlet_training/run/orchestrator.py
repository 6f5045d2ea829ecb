"""One training run in the order of its events: clone, anneal, PPO, export and score; and back where a gate fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from torch import Tensor

from townlet_training.config import TrainingConfig
from townlet_training.errors import ConfigError
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.spec import PolicySpec
from townlet_training.planning import Schedule, plan
from townlet_training.run.agent_groups import GroupLearners
from townlet_training.run.checkpoint import Checkpoint
from townlet_training.run.directory import RunDirectory
from townlet_training.run.evaluator import RunEvaluator
from townlet_training.run.experience import RunExperience
from townlet_training.run.metrics import metrics_row
from townlet_training.run.monitor import Interrupted, Progress, RunMonitor, WorkLeft, ignore
from townlet_training.run.recorded import RecordedData, fingerprints, require_origin
from townlet_training.run.result import RunResult, export_and_score, summary_of
from townlet_training.run.state import ClonedScript, EarlierTotal, RatioState, TrainingState
from townlet_training.sinks.sink import RunSinks
from townlet_trajectory.evaluation.gates import GateResult, Verdict, gate_level
from townlet_trajectory.evaluation.interfaces import Actor, AnyActor, Collected, Collector, EpisodeScores, Evaluator
from townlet_trajectory.evaluation.results import CloneEpoch, CloneRecord, RunSummary
from townlet_trajectory.storage.files import DirectoryLock

log = logging.getLogger(__name__)


class TrainingOrchestrator:
    """Runs one training run, once, in one directory. It computes nothing itself: learners, evaluator and worlds do.

    Examples:
        Two levers, of which the second pays 1, and nothing to compare with but chance.

        >>> import tempfile
        >>> import numpy as np
        >>> from townlet_training import Collected, EpisodeScores, PolicySpec, TrainingConfig, TrainingOrchestrator
        >>> from townlet_trajectory import ArraySpec, TrajectoryBatch, TrajectorySchema, default_decision_columns
        >>> bias, decisions, levers = ArraySpec("float32", (1,)), default_decision_columns(), ("first", "second")
        >>> schema = TrajectorySchema(observations={"bias": bias}, decisions=decisions, vocabulary=levers)
        >>> class Worlds:
        ...     rng = np.random.default_rng(0)
        ...     def collect(self, actors, *, num_ticks, ratio):
        ...         seen = {"bias": np.ones((num_ticks, 1), np.float32)}
        ...         log_probs, values = actors["agents"].act(seen, None)
        ...         action = (self.rng.random(num_ticks) < np.exp(log_probs[:, 1])).astype(np.int64)
        ...         columns = {name: np.zeros(num_ticks, spec.numpy_dtype) for name, spec in decisions.items()}
        ...         columns |= {"action": action, "chosen_action": action, "value": values}
        ...         columns["policy_log_prob"][:] = log_probs[np.arange(num_ticks), action]
        ...         columns["behavior_log_prob"][:], columns["ratio"][:] = columns["policy_log_prob"], ratio
        ...         batch = TrajectoryBatch(
        ...             schema=schema, offsets=np.array([0, num_ticks]), observations=seen, columns=columns,
        ...             final_observations={"bias": seen["bias"][:1]}, rewards=action.astype(np.float32),
        ...             ticks=np.arange(num_ticks), terminated=np.array([True]), truncated=np.array([False]),
        ...             agent_ids=np.array(["anna"], object), worlds=np.array([0]), episodes=np.array([0]))
        ...         counts = {"events": {}, "decisions_by_source": {}, "ticks_by_source": {}, "vetoes": 0}
        ...         return Collected(batches={"agents": batch}, env_steps=num_ticks, agent_steps=num_ticks, **counts)
        ...     def save_state(self):
        ...         return None
        ...     def evaluate(self, actors, *, seeds, sample):
        ...         log_probs, _ = actors["agents"].act({"bias": np.ones((1, 1), np.float32)}, None)
        ...         return EpisodeScores.of(returns=np.full(len(seeds), log_probs.argmax()), seeds=seeds)
        ...     def baseline(self, name, *, seeds):
        ...         return EpisodeScores.of(returns=np.full(len(seeds), 0.5), seeds=seeds)
        >>> config = TrainingConfig(mode="ppo", seed=1, num_envs=1, total_env_steps=128 * 5, baselines=("random",))
        >>> spec = PolicySpec(world="levers", vocabulary=levers, observation_shapes={"bias": (1,)})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     worlds, specs = Worlds(), {"agents": spec}
        ...     summary = TrainingOrchestrator(config, worlds, worlds, specs=specs, run_dir=Path(folder)).run()
        >>> summary.final.learned.mean, summary.final.paired["random"].mean, summary.counters.num_updates
        (1.0, 0.5, 4)

    Args:
        config: of the run.
        collector: of `config.num_envs` worlds, with training seeds; it has not collected yet.
        evaluator: of the same kind of world, with seeds it is given. A run without a world has neither: it clones
            `data`, judges the clone by the episodes of `data` that are held out, and exports it.
        specs: observations and actions of each agent group's policy; a single group is called `agents`.
        frozen: policies of the agent groups that are played by one from a file, as `config.groups` says.
        run_dir: an existing directory: without another run in it, or with the one to `resume`.
        data: recorded steps that each agent group is cloned from; None: what the script does in `collector`. Its
            fingerprints are among the settings that `resume` compares.
        on_progress: called after every pass of cloning, every update and every evaluation, and before the last ones.
        stop: asked before every collection and evaluation; true ends the run there, with a checkpoint.
        notes: other facts that the run depends on, such as the name of a controller, for `resume` to compare.
        resume: continue the run in `run_dir` where it was interrupted, in whatever way, to the same weights, log
            (apart from `WALL_TIME_KEYS`) and summary (apart from timings). A finished run is judged once more.
        initial: weights of `InitialPolicy` to begin with. Mode `anneal` then begins with the warm-up, and its gates
            compare with this policy in the place of the clone. None: fresh networks.
        earlier_totals: totals of world steps that a resumed run had before it was extended, oldest first.

    Raises:
        ConfigError: if `config.total_env_steps` does not suffice for every stage, a group has no proper name, there
            is no data of a group, the mode needs a world or has no use for data, or is one of `ScheduledRun`.
    """

    def __init__(
        self,
        config: TrainingConfig,
        collector: Collector | None,
        evaluator: Evaluator | None,
        *,
        specs: Mapping[str, PolicySpec],
        frozen: Mapping[str, AnyActor] = {},
        run_dir: Path,
        data: RecordedData | None = None,
        on_progress: Callable[[Progress], None] = ignore,
        stop: Callable[[], bool] = bool,
        notes: Mapping[str, str] = {},
        resume: bool = False,
        initial: Mapping[str, Tensor] | None = None,
        earlier_totals: Sequence[EarlierTotal] = (),
    ) -> None:
        """Build the networks; nothing is collected or written before `run`. See `TrainingOrchestrator`."""
        if config.is_scheduled or config.mode == "dagger":
            raise ConfigError(f"mode `{config.mode}` is for `{'ScheduledRun' if config.is_scheduled else 'DaggerRun'}`")
        self.learners = GroupLearners(config, specs, frozen=frozen, initial=initial)  # of all groups
        specs, has_world = self.learners.specs, collector is not None and evaluator is not None
        require_origin(config.mode, data, specs.keys(), has_world=has_world, begins_trained=initial is not None)
        collector, evaluator = self.learners.opponents.against(collector, evaluator)
        self._config, self._run_dir = config, run_dir
        self._experience = RunExperience(collector, run_dir=run_dir)
        self._data, self._resume = data, resume
        self._begins_trained, self._earlier = initial is not None, tuple(earlier_totals)
        self._schedule, num_evaluations = None, 0
        if config.mode != "bc":
            total = self._earlier[0].total_env_steps if self._earlier else None
            self._schedule = plan(config, from_data=data is not None, clones=initial is None, first_total=total)
            num_evaluations = self._schedule.num_evaluations
        self._gate_level = gate_level(len(specs) + num_evaluations, level=config.gates.level)
        self._sinks = RunSinks(config.metrics, run_dir)
        self._monitor = RunMonitor(on_progress=on_progress, stop=stop, left=self._left)
        self._evaluator = RunEvaluator(
            evaluator,
            config,
            before_each=lambda: self._monitor.before_evaluation(self._state),
            opponents=self.learners.opponents.digest,
            clock=self._monitor.clock,
        )
        self._directory = RunDirectory(run_dir, keep_last=config.keep_checkpoints)
        self._state = TrainingState(
            config=config,
            specs=dict(specs),
            notes={**notes, **fingerprints(data)},
            stage="ppo" if config.mode == "ppo" else "clone" if config.mode == "bc" or initial is None else "warmup",
            transitions=dict.fromkeys(specs, 0),
            evaluator=self._evaluator.state,
            adaptive=RatioState(ratio=config.anneal.min_ratio) if config.adapts_ratio else None,
        )

    def run(self) -> RunSummary:
        """Train, export and score.

        Returns:
            The summary of the run, interrupted or not.

        Raises:
            ArtifactError: if another process trains in the directory, or a file cannot be written.
            TrainingError: if the directory holds a run already, or what was collected cannot be learned from.
            ResumeError: if the run cannot be resumed.
        """
        with DirectoryLock(self._run_dir), self._sinks, closing(self.learners):
            if not self._resume:
                self._directory.require_unused()
            if not (self._resume and self._restore_newest()):
                # A checkpoint before anything else says what is to be run.
                self._directory.begin_log()
                self._save(interim=True)
            self._sinks.begin(begun_at=self._state.env_steps)
            self._evaluator.play_ahead()
            try:
                if not self._state.history.prepared:
                    self._prepare()
                if self._state.history.clone is not None:
                    self._evaluator.play_clone_ahead(partial(self._networks_of, self._state.history.clone))
                if self._schedule is not None:
                    self._train(self._schedule)
            except Interrupted:
                log.info("asked to stop at %d world steps", self._state.env_steps)
                return self._summary(None, self._save(interim=True))
            self._monitor.scoring, self._evaluator.at_end = True, self._evaluator.plays_at_end()
            try:
                result = self._export_and_score()
            except Interrupted:
                log.info("asked to stop while the policy was scored")
                result = None
            return self._summary(result, self._directory.checkpoints.path(self._state.history.candidate))

    def _summary(self, result: RunResult | None, checkpoint: Path) -> RunSummary:
        return summary_of(self._state, self.learners, result, checkpoint=checkpoint, clock=self._monitor.clock)

    def _restore_newest(self) -> bool:
        """Restore the newest checkpoint; false where nothing was learned yet, and the run begins again in its place."""
        newest = self._directory.newest(self._state, self._earlier)
        if newest is None:
            return False
        path, checkpoint = newest
        self._monitor.clock.resume(checkpoint.state)
        if not checkpoint.state.history.prepared:
            return False
        self._directory.go_back_to(checkpoint)
        self.learners.restore(checkpoint.weights, checkpoint.learner)
        self._state, self._evaluator.state = checkpoint.state, checkpoint.state.evaluator
        self._experience.resume(checkpoint)
        self._directory.saved_at = path
        log.info("resumed at %d world steps", self._state.env_steps)
        return True

    def _prepare(self) -> None:
        """Clone the script; in mode `ppo`, and with an initial policy, fit normalization to what the policy meets."""
        state, config = self._state, self._config
        self._monitor.stop_if_asked()
        if config.mode == "ppo" or (config.mode == "anneal" and self._begins_trained):
            collected = self._collect(self.learners.networks, config.rollout_ticks, 1.0)
            self.learners.freeze_statistics(collected.batches)
            scores = self._evaluator.selection_scores(self.learners.networks)
            self._note(scores, None)
            if config.mode == "anneal":
                self._evaluator.keep_clone(scores)
                state.history.clone = CloneRecord(results={}, gate=None, evaluation=state.history.evaluations[-1])
        else:
            self._clone()
        state.history.prepared, state.history.good = True, state.env_steps
        if config.mode != "anneal" and state.history.evaluations:
            state.history.best = state.history.evaluations[-1]
        self._save()

    def _clone(self) -> None:
        state, config = self._state, self._config
        with self._monitor.clock.measure("clone"):
            events: Mapping[str, float] = {}
            if self._data is None:
                collected = self._collect(None, config.anneal.clone_ticks, 0.0)
                events = collected.events_per_env_step
                clones = self.learners.clone(collected, on_epoch=self._after_epoch)
            else:
                clones = self.learners.clone_record(self._data, on_epoch=self._after_epoch)
        results = {group: clone.result for group, clone in clones.items()}
        gate = self._evaluator.accuracy_gate(results, level=self._gate_level)
        threshold, passed = config.gates.clone_accuracy, not gate.failed
        state.cloned = {
            group: ClonedScript.of(clone, events=events, threshold=threshold, passed=passed)
            for group, clone in clones.items()
        }
        evaluation = None
        if self._evaluator.has_world:
            scores = self._evaluator.selection_scores(self.learners.networks)
            self._evaluator.keep_clone(scores)
            self._note(scores, gate)
            evaluation = state.history.evaluations[-1]
        state.history.clone = CloneRecord(results=results, gate=gate, evaluation=evaluation)
        if gate.failed:
            self._fail(gate)

    def _after_epoch(self, _: CloneEpoch) -> None:
        self._monitor.report(self._state)
        self._monitor.stop_if_asked()

    def _train(self, schedule: Schedule) -> None:
        """Follow the plan until world steps run out or a gate ends the run."""
        state, history = self._state, self._state.history
        rollout = self._config.num_envs * self._config.rollout_ticks
        while history.failure is None:
            if schedule.evaluates_after(state.update_index) and history.evaluations[-1].env_steps != state.env_steps:
                self._evaluate(schedule)
                continue
            if state.update_index >= schedule.num_updates or state.env_steps + rollout > self._config.total_env_steps:
                break
            self._monitor.stop_if_asked()
            self._update(schedule)
            self._monitor.report(self._state)
            if state.update_index == schedule.num_warmup:
                history.good = state.env_steps
                self._save()
        if history.failure is None and history.best is None:
            detail = f"the policy was not in charge alone within {self._config.total_env_steps} world steps"
            self._fail(GateResult(name="acts_alone", verdict=Verdict.FAILED, detail=detail))
        self._save()

    def _update(self, schedule: Schedule) -> None:
        """Collect and learn as planned, and log it."""
        state, began = self._state, time.perf_counter()
        planned = schedule.update(state.update_index, adapted=state.blend_ratio)
        state.stage = planned.stage
        with self._monitor.clock.measure(planned.stage):
            ratios = schedule.ratios(state.update_index, adapted=state.blend_ratio)
            collected = self._collect(self.learners.networks, self._config.rollout_ticks, *ratios)
            if self._data is not None and state.update_index == 0:
                # The rewards of a record may be on another scale than the world's.
                self.learners.freeze_value_scale(collected.batches)
            updates = self.learners.learn(collected, planned, number=state.num_updates + 1)
        state.count_update(updates)
        elapsed, seconds = self._monitor.clock.elapsed, time.perf_counter() - began
        rows = [
            metrics_row(update, collected, planned, state, group=group, elapsed=elapsed, update_seconds=seconds)
            for group, update in updates.items()
        ]
        self._directory.append(rows)
        self._sinks.update([row.values for row in rows], collected)

    def _evaluate(self, schedule: Schedule) -> None:
        """Evaluate; keep a checkpoint of a policy that is good enough, go back from one that is not."""
        state, history = self._state, self._state.history
        scores, gate = self._evaluator.selection_scores(self.learners.networks), None
        if history.clone is not None:
            gate = self._evaluator.kept_score_gate(
                self.learners.networks,
                scores,
                partial(self._networks_of, history.clone),
                level=self._gate_level,
                env_steps=state.env_steps,
            )
        adaptive, passed = state.adaptive, gate is None or not gate.failed
        if adaptive is not None and schedule.blends_after(state.update_index) and passed:
            adaptive = self._evaluator.adapt_ratio(self.learners.networks, adaptive)
        self._note(scores, gate)
        # Not before: a run that is asked to stop in between evaluates once more.
        state.adaptive = adaptive
        if gate is None or not gate.failed:
            record = history.evaluations[-1]
            history.good = state.env_steps
            if schedule.acts_alone_after(state.update_index) and (
                history.best is None or self.learners.opponents.moving or record.return_mean > history.best.return_mean
            ):
                history.best = record
        elif state.attempt < self._config.anneal.max_retries:
            self._retry(history.good)
        else:
            self._fail(gate)
        self._save()

    def _retry(self, env_steps: int) -> None:
        """Go back to a checkpoint, with other random states: the same draws would fail the same way."""
        state, checkpoint = self._state, self._restore(env_steps)
        state.go_back_to(checkpoint.state)
        self.learners.reseed(state.attempt)
        self._directory.saved_at = None
        log.info("attempt %d goes on from the checkpoint at %d world steps", state.attempt, env_steps)

    def _export_and_score(self) -> RunResult:
        state, history, clock = self._state, self._state.history, self._monitor.clock
        self._restore(history.candidate)
        clone = None if history.clone is None else self._networks_of(history.clone)
        return export_and_score(
            self.learners, self._evaluator, state=state, run_dir=self._run_dir, clone=clone, clock=clock
        )

    def _collect(self, actors: Mapping[str, Actor] | None, num_ticks: int, *ratios: float) -> Collected:
        self._directory.saved_at = None
        return self._experience.collect(self._state, actors, num_ticks=num_ticks, ratios=ratios)

    def _note(self, scores: EpisodeScores, gate: GateResult | None) -> None:
        """Add an evaluation, beside the result of its gate, to the history."""
        state = self._state
        record = self._evaluator.record(scores, state, gate)
        state.history.evaluations += (record,)
        self._sinks.evaluation(record)
        if gate is not None:
            level = logging.INFO if gate.verdict is Verdict.PASSED else logging.WARNING
            log.log(level, "gate %s: %s: %s", gate.name, gate.verdict, gate.detail)
        log.info("%d world steps (%s): mean return %.6g", state.env_steps, state.stage, record.return_mean)
        self._monitor.report(self._state)

    def _fail(self, gate: GateResult) -> None:
        self._state.history.failure = gate
        log.warning("stopped by gate %s: %s", gate.name, gate.detail)

    def _save(self, *, interim: bool = False) -> Path:
        state = self._state
        self._monitor.clock.note(state)
        worlds = self._experience.save_state() if state.history.prepared else None
        return self._directory.save(state, self.learners, worlds, interim=interim)

    def _restore(self, env_steps: int) -> Checkpoint:
        """Restore the networks of a checkpoint of this run."""
        checkpoint = self._directory.load(env_steps, specs=self._state.specs)
        self.learners.restore(checkpoint.weights, checkpoint.learner)
        return checkpoint

    def _networks_of(self, clone: CloneRecord) -> Mapping[str, ActorCritic]:
        """Build networks with the weights of the clone; those in training stay as they are."""
        return self.learners.copies(self._directory.load(clone.env_steps, specs=self._state.specs).weights)

    def _left(self) -> WorkLeft:
        """What is left of the run, where no gate fails."""
        schedule, done = self._schedule, self._state.update_index
        plays = self._evaluator.at_end if self._monitor.scoring else self._evaluator.plays_at_end()
        if schedule is None or self._monitor.scoring:
            return WorkLeft(updates=0, plays=plays)
        until_then = self._evaluator.plays_until_then(schedule, done)
        return WorkLeft(updates=schedule.num_updates - done, plays=[*until_then, *plays])
