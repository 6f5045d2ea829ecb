"""One distillation in the order of its events: rounds of play, questions and fits; then agreement, export and score."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from townlet_training.config import ONE_GROUP, TrainingConfig
from townlet_training.distil.agreement import HeldOutPlay, JudgedStates, agreements, decision_rows, log_probs_at
from townlet_training.distil.config import DistilConfig
from townlet_training.distil.student import Student, labelled
from townlet_training.errors import ConfigError
from townlet_training.learning.batch import freeze_statistics
from townlet_training.network.spec import PolicySpec
from townlet_training.run.agent_groups import GroupLearners
from townlet_training.run.directory import RunDirectory
from townlet_training.run.evaluator import RunEvaluator
from townlet_training.run.monitor import Interrupted, RunClock
from townlet_training.run.result import export_and_score, summary_of
from townlet_training.run.state import TrainingState
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.evaluation.gates import accuracy_gate
from townlet_trajectory.evaluation.interfaces import Collector, Evaluator, derive_seed, selection_seeds
from townlet_trajectory.evaluation.results import CloneRecord, CloneResult, DistilRecord, DistilRound, RunSummary
from townlet_trajectory.evaluation.teaching import Teacher
from townlet_trajectory.formats.batch_file import load_batch, save_batch
from townlet_trajectory.storage.files import DirectoryLock, make_directory
from townlet_trajectory.storage.npz import MAX_NPZ_BYTES
from townlet_trajectory.storage.paths import read_named

log = logging.getLogger(__name__)

LABELS_NAME = "labels"
"""Folder of a run that holds the labels of each round, as `round-NNN.npz`."""


@dataclass(frozen=True, kw_only=True)
class DistilProgress:
    """How far a distillation is."""

    stage: str
    """`round`, or `judge` once all labels are spent."""
    num_labels: int
    note: str
    """The agreement before the newest labels were learned."""


class DistilRun:
    """Runs one distillation, in one directory.

    Args:
        config: of the run; mode `bc`.
        distil: of the questions.
        teacher: that is asked.
        specs: of the agent group `agents`, the only one.
        collector: opens the worlds of a round, which begin anew from the seed.
        held_out: plays the episodes that the student is judged in.
        evaluator: of the same kind of world.
        run_dir: an existing directory: without another run in it, or with the one to `resume`.
        rounds: those that were carried out before; their labels are in `run_dir`.
        on_round: called with all rounds so far after every round, once its labels are on disk.
        on_progress: called before every round, and at the end.
        stop: asked before every round and evaluation; true ends the run there.
        notes: other facts that the run depends on.
        has_script: whether the worlds have a script; else the first round is played by the student.

    Raises:
        ConfigError: if there are several agent groups, or the mode is another one.
    """

    def __init__(
        self,
        config: TrainingConfig,
        distil: DistilConfig,
        teacher: Teacher,
        *,
        specs: Mapping[str, PolicySpec],
        collector: Callable[[int], AbstractContextManager[Collector]],
        held_out: HeldOutPlay,
        evaluator: Evaluator,
        run_dir: Path,
        rounds: Sequence[DistilRound] = (),
        on_round: Callable[[Sequence[DistilRound]], None] = lambda rounds: None,
        on_progress: Callable[[DistilProgress], None] = lambda progress: None,
        stop: Callable[[], bool] = bool,
        notes: Mapping[str, str] = {},
        has_script: bool = True,
    ) -> None:
        if tuple(specs) != (ONE_GROUP,) or config.mode != "bc":
            raise ConfigError(f"a student is one policy in mode `bc`, got the groups {sorted(specs)} and {config.mode}")
        if specs[ONE_GROUP].actions is not None or config.network.memory != "none":
            raise ConfigError("a student chooses one of a vocabulary of actions, and has no memory")
        self._config, self._distil, self._teacher = config, distil, teacher
        self._collector, self._held_out, self._has_script = collector, held_out, has_script
        self._run_dir, self._on_round, self._on_progress, self._stop = run_dir, on_round, on_progress, stop
        self._learners, self._clock = GroupLearners(config, specs), RunClock()
        self._directory = RunDirectory(run_dir, keep_last=1)
        self._evaluator = RunEvaluator(evaluator, config, before_each=self._stop_if_asked)
        self._rounds = list(rounds)
        self._state = TrainingState(
            config=config,
            specs=dict(specs),
            notes={**notes, "distil": str(distil)},
            stage="clone",
            transitions=dict.fromkeys(specs, 0),
            evaluator=self._evaluator.state,
        )

    def run(self) -> tuple[RunSummary, DistilRecord | None]:
        """Carry the rounds out, judge the student, export and score it.

        Returns:
            The summary of the run, interrupted or not; and the record of the distillation, None where interrupted.

        Raises:
            ArtifactError: if another process trains in the directory, or a file cannot be read or written.
            ResumeError: if the directory holds another run.
            EmptyBatchError: if there is nothing to learn from or to judge by.
            NonFiniteError: if a number that is not finite comes up.
        """
        with DirectoryLock(self._run_dir):
            if self._directory.newest(self._state) is None:
                # A checkpoint before anything else says what is to be run.
                self._directory.begin_log()
                self._directory.save(self._state, self._learners, None, interim=True)
            try:
                fitted = self._carry_out()
                record = self._judge(fitted)
                result = export_and_score(
                    self._learners,
                    self._evaluator,
                    state=self._state,
                    run_dir=self._run_dir,
                    clone=None,
                    clock=self._clock,
                )
            except Interrupted:
                log.info("asked to stop after %d rounds", len(self._rounds))
                return summary_of(self._state, self._learners, None, checkpoint=self._run_dir, clock=self._clock), None
            checkpoint = self._directory.checkpoints.path(self._state.env_steps)
            return summary_of(self._state, self._learners, result, checkpoint=checkpoint, clock=self._clock), record

    def _carry_out(self) -> CloneResult:
        """All rounds; of those that were carried out before, the labels are read."""
        network, student, fitted = self._learners.networks[ONE_GROUP], None, None
        for number in range(1, self._distil.num_rounds + 1):
            is_done = number <= len(self._rounds)
            # The normalization follows from the first round's states, so they are met again in a resumed run.
            if student is None or not is_done:
                self._stop_if_asked()
                self._report("round")
                batch = self._met(number)
            if student is None:
                freeze_statistics(network, batch, discount=self._config.ppo.discount)
                student = Student(network, self._distil, self._config.bc, seed=self._config.seed)
            if is_done:
                student.labels.append(self._read(number))
                if number == len(self._rounds):
                    self._state.env_steps = self._rounds[-1].env_steps
                    self._state.agent_steps = self._rounds[-1].agent_steps
                    fitted = student.fit(number=number)
                continue
            fitted = self._round(student, batch, number)
        if fitted is None:
            raise ConfigError("a distillation needs at least one round")
        return fitted

    def _met(self, number: int) -> TrajectoryBatch:
        """States of a round: of the script's play in the first, and where there is a student, of its own."""
        seed = derive_seed(self._config.seed, "distil/worlds", number)
        alone = number == 1 and self._has_script
        actors = None if alone else self._learners.networks
        with self._clock.measure("play"), self._collector(seed) as collector:
            ticks = self._distil.round_ticks
            collected = collector.collect(actors, num_ticks=ticks, ratio=0.0 if alone else 1.0)
        self._state.count_collection(collected, num_ticks=ticks, ratio=0.0 if alone else 1.0)
        return collected.batches[ONE_GROUP]

    def _round(self, student: Student, batch: TrajectoryBatch, number: int) -> CloneResult:
        decided = decision_rows(batch)
        rows = student.chosen(batch, decided, number=number)
        with self._clock.measure("teacher"):
            taught = self._teacher.label(batch, rows)
        legal = taught.actions >= 0
        before = None
        if number > 1 and legal.any():
            likely = log_probs_at(student.network, batch, rows[legal]).argmax(axis=1)
            before = float((likely == taught.actions[legal]).mean())
        labels = labelled(batch, rows, taught.actions)
        make_directory(self._path(number).parent)
        save_batch(self._path(number), labels)
        student.labels.append(labels)
        with self._clock.measure("fit"):
            fitted = student.fit(number=number)
        self._rounds.append(
            DistilRound(
                number=number,
                num_states=len(decided),
                num_asked=len(rows),
                num_declined=int(np.count_nonzero(~legal)),
                agreement_before=before,
                tokens=taught.tokens,
                cost=taught.cost,
                loss=fitted.epochs[-1].loss,
                env_steps=self._state.env_steps,
                agent_steps=self._state.agent_steps,
                labels_sha256=_sha256(self._path(number)),
            )
        )
        self._on_round(tuple(self._rounds))
        log.info("round %d: %d labels, agreement before %s", number, len(rows), before)
        return fitted

    def _judge(self, fitted: CloneResult) -> DistilRecord:
        """Ask the teacher twice about held-out states, and compare the student; then evaluate and keep it."""
        self._stop_if_asked()
        self._report("judge")
        config, distil, network = self._config, self._distil, self._learners.networks[ONE_GROUP]
        judged = {}
        seeds = selection_seeds(distil.held_out_episodes)
        with self._clock.measure("agreement"):
            for name, num_taught in (("student", 0), ("teacher", distil.states_per_episode)):
                sample = config.acting == "sampled"
                played = self._held_out.play(network, seeds=seeds, sample=sample, num_taught=num_taught)
                judged[name] = JudgedStates.asked(
                    self._teacher,
                    played,
                    per_episode=distil.states_per_episode,
                    seed=derive_seed(config.seed, f"distil/judged/{name}"),
                )
            whole, in_play_of = agreements(
                network,
                judged,
                seed=derive_seed(config.seed, "interval/agreement"),
                num_resamples=config.gates.num_resamples,
            )
        gate = accuracy_gate(
            "teacher_agreement",
            np.array(whole.student),
            threshold=config.gates.clone_accuracy * whole.repeat_mean,
            level=config.gates.level,
            seed=derive_seed(config.seed, "interval/gate"),
        )
        result = replace(fitted, num_held_out=0, accuracy=whole.student_mean, episode_accuracies=whole.student)
        state, history = self._state, self._state.history
        record = self._evaluator.record(self._evaluator.selection_scores(self._learners.networks), state, gate)
        history.evaluations, history.best = (record,), record
        history.clone = CloneRecord(results={ONE_GROUP: result}, gate=gate, evaluation=record)
        history.prepared, history.good = True, state.env_steps
        history.failure = gate if gate.failed else None
        self._clock.note(state)
        # A process that was killed while the student was scored has left the checkpoint of the same weights.
        if not self._directory.checkpoints.path(state.env_steps).exists():
            self._directory.save(state, self._learners, None, interim=False)
        return DistilRecord(
            rounds=tuple(self._rounds),
            agreement=whole,
            in_play_of=in_play_of,
            num_judged=sum(each.num_asked for each in judged.values()),
            judged_tokens=sum(each.tokens for each in judged.values()),
            judged_cost=sum(each.cost for each in judged.values()),
            gate=gate,
        )

    def _path(self, number: int) -> Path:
        return self._run_dir / LABELS_NAME / f"round-{number:03}.npz"

    def _read(self, number: int) -> TrajectoryBatch:
        path = self._path(number)
        if _sha256(path) != self._rounds[number - 1].labels_sha256:
            raise ConfigError(f"{path}: not the labels of round {number} that were noted")
        return load_batch(path)

    def _report(self, stage: str) -> None:
        last = self._rounds[-1].agreement_before if self._rounds else None
        self._on_progress(
            DistilProgress(
                stage=stage,
                num_labels=sum(each.num_asked for each in self._rounds),
                note="" if last is None else f"agreement {last:.3f}",
            )
        )

    def _stop_if_asked(self) -> None:
        if self._stop():
            raise Interrupted


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_named(path, max_bytes=MAX_NPZ_BYTES)).hexdigest()
