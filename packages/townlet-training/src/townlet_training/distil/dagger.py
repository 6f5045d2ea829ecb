"""DAgger in the order of its events: rounds of play, labels of the script, and clones of all labels so far.

Each round plays the blend of script and policy, and asks the script about every state that was met, so that the policy
learns what to do where its own mistakes lead (Ross et al. 2011, arXiv:1011.0686, algorithm 3.1):

    π_i = β_i π* + (1 - β_i) π̂_i,   D ← D ∪ {(s, π*(s)) : s met by π_i},   π̂_{i+1} = clone of D

The result is the best π̂_i on the episodes of selection.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from townlet_training.config import TrainingConfig
from townlet_training.errors import ConfigError, ResumeError
from townlet_training.learning.bc import right_labels
from townlet_training.network.spec import PolicySpec
from townlet_training.run.agent_groups import GroupLearners
from townlet_training.run.cloning import Clone
from townlet_training.run.directory import RunDirectory
from townlet_training.run.evaluator import RunEvaluator
from townlet_training.run.experience import RunExperience
from townlet_training.run.monitor import Interrupted, Play, Progress, RunMonitor, WorkLeft, ignore
from townlet_training.run.recorded import RecordedData, fingerprints, require_origin
from townlet_training.run.result import RunResult, export_and_score, summary_of
from townlet_training.run.state import TrainingState
from townlet_training.sinks.sink import RunSinks
from townlet_trajectory import TrajectoryBatch, TrajectorySource
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.errors import ManifestError
from townlet_trajectory.evaluation.gates import gate_level
from townlet_trajectory.evaluation.interfaces import AnyActor, Collected, Collector, Evaluator
from townlet_trajectory.evaluation.results import LEARNED, CloneEpoch, CloneRecord, DaggerRound, RunSummary
from townlet_trajectory.formats.batch_file import load_batch, save_batch
from townlet_trajectory.storage.files import DirectoryLock, make_directory

log = logging.getLogger(__name__)

ROUNDS_NAME = "rounds"
"""Folder of a run that holds the states of each round, as `round-NNN-GROUP.npz`."""


class DaggerRun:
    """Runs DAgger, once, in one directory. A run that was broken off goes on with the round that it was in.

    Args:
        config: of the run; mode `dagger`.
        collector: of `config.num_envs` worlds with a script; it has not collected yet.
        evaluator: of the same kind of world.
        specs: observations and actions of each agent group's policy.
        frozen: policies of the agent groups that are played by one from a file.
        run_dir: an existing directory: without another run in it, or with the one to `resume`.
        data: recorded steps that every round learns from too, by agent group, such as demonstrations.
        on_progress: called after every pass of cloning and every evaluation, and before those at the end.
        stop: asked before every round, pass and evaluation; true ends the run there.
        notes: other facts that the run depends on, for `resume` to compare.
        resume: continue the run in `run_dir`.

    Raises:
        ConfigError: if the mode is another one, or a group has no proper name.
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
    ) -> None:
        if config.mode != "dagger":
            raise ConfigError(f"rounds of DAgger are of mode `dagger`, got `{config.mode}`")
        self.learners = GroupLearners(config, specs, frozen=frozen)
        specs = self.learners.specs
        require_origin(config.mode, data, specs.keys(), has_world=collector is not None and evaluator is not None)
        collector, evaluator = self.learners.opponents.against(collector, evaluator)
        self._config, self._run_dir, self._data, self._resume = config, run_dir, data or {}, resume
        self._fresh = self.learners.weights(), self.learners.state()
        self._met: list[Mapping[str, TrajectoryBatch]] = []
        """Of each round that was carried out, its states by agent group."""
        self._experience = RunExperience(collector, run_dir=run_dir)
        self._directory = RunDirectory(run_dir, keep_last=config.keep_checkpoints)
        self._sinks = RunSinks(config.metrics, run_dir)
        self._monitor = RunMonitor(on_progress=on_progress, stop=stop, left=self._left)
        self._evaluator = RunEvaluator(
            evaluator,
            config,
            before_each=lambda: self._monitor.before_evaluation(self._state),
            opponents=self.learners.opponents.digest,
            clock=self._monitor.clock,
        )
        self._state = TrainingState(
            config=config,
            specs=dict(specs),
            notes={**notes, **fingerprints(data)},
            stage="clone",
            transitions=dict.fromkeys(specs, 0),
            evaluator=self._evaluator.state,
        )

    def run(self) -> RunSummary:
        """Carry the rounds out, export the best clone and score it.

        Returns:
            The summary of the run, interrupted or not, with its rounds.

        Raises:
            ArtifactError: if another process trains in the directory, or a file cannot be read or written.
            TrainingError: if the directory holds a run already, or there is nothing to learn from.
            ResumeError: if the run cannot be resumed.
        """
        with DirectoryLock(self._run_dir), self._sinks:
            if not self._resume:
                self._directory.require_unused()
            if not (self._resume and self._restore_newest()):
                # A checkpoint before anything else says what is to be run.
                self._directory.begin_log()
                self._save(interim=True)
            self._sinks.begin(begun_at=self._state.env_steps)
            try:
                for number in range(len(self._met) + 1, self._config.dagger.rounds + 1):
                    self._monitor.stop_if_asked()
                    self._carry_out(number)
                result = self._export_and_score()
            except Interrupted:
                # The present weights may be those of a pass in the middle; the newest checkpoint has none of them.
                log.info("asked to stop after %d rounds", len(self._state.rounds))
                return self._summary(None, self._directory.checkpoints.newest() or self._run_dir)
            return self._summary(result, self._directory.checkpoints.path(self._state.history.candidate))

    def _carry_out(self, number: int) -> None:
        """Play, label, learn and evaluate; the round is kept where all of it was done."""
        state, history, dagger = self._state, self._state.history, self._config.dagger
        with self._monitor.clock.measure("round"):
            collected = self._collect(number)
            digests = self._write(number, collected.batches)
            before = None if number == 1 else self._agreement(collected.batches)
            clones = self._clone(number, collected)
        scores = self._evaluator.selection_scores(self.learners.networks)
        results = {group: clone.result for group, clone in clones.items()}
        level = gate_level(len(results) * dagger.rounds, level=self._config.gates.level)
        gate = self._evaluator.accuracy_gate(results, level=level)
        record = self._evaluator.record(scores, state, gate)
        last = history.evaluations[-1].return_mean if history.evaluations else None
        history.evaluations += (record,)
        if history.best is None or record.return_mean > history.best.return_mean:
            # The clone that the result is compared with is that of the first round: plain behavior cloning.
            history.best = record
            history.clone = CloneRecord(results=results, gate=gate, evaluation=history.evaluations[0])
        state.rounds += (
            DaggerRound(
                number=number,
                script_share=dagger.script_share(number),
                num_states=collected.agent_steps,
                num_labels=sum(result.num_labels for result in results.values()),
                agreement_before=before,
                accuracy=min(result.accuracy for result in results.values()),
                return_mean=record.return_mean,
                gained=None if last is None else record.return_mean - last,
                env_steps=state.env_steps,
                states_sha256=digests,
            ),
        )
        log.info("round %d: mean return %.6g, agreement before %s", number, record.return_mean, before)
        self._met.append(collected.batches)
        history.prepared, history.good = True, state.env_steps
        self._sinks.evaluation(record)
        self._save()
        self._monitor.report(state)

    def _collect(self, number: int) -> Collected:
        """Play a round; the states of one that was broken off are met again."""
        share, dagger = self._config.dagger.script_share(number), self._config.dagger
        self._directory.saved_at = None
        return self._experience.collect(
            self._state,
            None if share == 1.0 else self.learners.networks,
            num_ticks=dagger.ticks,
            ratios=[1.0 - share],
        )

    def _agreement(self, batches: Mapping[str, TrajectoryBatch]) -> float | None:
        """Return the share of the labels in `batches` that the policies would have given; None without a label."""
        networks, config = self.learners.networks, self._config.bc
        right = np.concatenate([right_labels(networks[group], batch, config)[1] for group, batch in batches.items()])
        return float(right.mean()) if len(right) else None

    def _clone(self, number: int, collected: Collected) -> dict[str, Clone]:
        begins = number == 1 or self._config.dagger.anew
        if begins:
            self.learners.restore(*self._fresh)
        batches = [*self._met, collected.batches]
        lessons: dict[str, list[TrajectorySource]] = {
            group: [*self._data.get(group, ()), *(BatchSource(each[group]) for each in batches)]
            for group in self.learners.specs
        }
        clones = self.learners.clone_record(lessons, on_epoch=self._after_epoch, fit_statistics=begins)
        if begins:
            self.learners.freeze_value_scale(collected.batches)
        return clones

    def _after_epoch(self, _: CloneEpoch) -> None:
        self._monitor.report(self._state)
        self._monitor.stop_if_asked()

    def _left(self) -> WorkLeft:
        """What is left of the run: a round takes as long as all labels up to it."""
        if self._monitor.scoring:
            return WorkLeft(updates=0, plays=self._evaluator.at_end)
        rounds = range(len(self._state.rounds) + 1, self._config.dagger.rounds + 1)
        evaluations = Play(LEARNED, len(rounds) * self._config.eval_episodes)
        return WorkLeft(updates=sum(rounds), plays=[evaluations, *self._evaluator.plays_at_end()])

    def _export_and_score(self) -> RunResult:
        state, clock = self._state, self._monitor.clock
        self._monitor.scoring, self._evaluator.at_end = True, self._evaluator.plays_at_end()
        history, clone = state.history, None
        if history.clone is not None:
            gate = history.clone.gate
            history.failure = gate if gate is not None and gate.failed else None
            checkpoint = self._directory.load(history.clone.env_steps, specs=state.specs)
            clone = self.learners.copies(checkpoint.weights)
        best = self._directory.load(history.candidate, specs=state.specs)
        self.learners.restore(best.weights, best.learner)
        return export_and_score(
            self.learners, self._evaluator, state=state, run_dir=self._run_dir, clone=clone, clock=clock
        )

    def _summary(self, result: RunResult | None, checkpoint: Path) -> RunSummary:
        return summary_of(self._state, self.learners, result, checkpoint=checkpoint, clock=self._monitor.clock)

    def _restore_newest(self) -> bool:
        """Restore the newest checkpoint and the states of its rounds; false where no round was carried out."""
        newest = self._directory.newest(self._state)
        if newest is None:
            return False
        path, checkpoint = newest
        self._monitor.clock.resume(checkpoint.state)
        if not checkpoint.state.history.prepared:
            return False
        self._directory.go_back_to(checkpoint)
        self.learners.restore(checkpoint.weights, checkpoint.learner)
        self._state, self._evaluator.state = checkpoint.state, checkpoint.state.evaluator
        self._met = [self._read(each) for each in checkpoint.state.rounds]
        self._experience.resume(checkpoint)
        self._directory.saved_at = path
        log.info("resumed after %d rounds", len(self._met))
        return True

    def _save(self, *, interim: bool = False) -> None:
        self._monitor.clock.note(self._state)
        worlds = self._experience.save_state() if self._state.history.prepared else None
        self._directory.save(self._state, self.learners, worlds, interim=interim)

    def _write(self, number: int, batches: Mapping[str, TrajectoryBatch]) -> dict[str, str]:
        """Write the states of a round, and return the digests of the files by agent group."""
        make_directory(self._run_dir / ROUNDS_NAME)
        return {group: save_batch(self._path(number, group), batch) for group, batch in batches.items()}

    def _read(self, done: DaggerRound) -> dict[str, TrajectoryBatch]:
        noted = done.states_sha256.items()
        try:
            return {group: load_batch(self._path(done.number, group), sha256=sha256) for group, sha256 in noted}
        except ManifestError as error:
            raise ResumeError(f"not the states of round {done.number} that were noted: {error}") from error

    def _path(self, number: int, group: str) -> Path:
        return self._run_dir / ROUNDS_NAME / f"round-{number:03}-{group}.npz"
