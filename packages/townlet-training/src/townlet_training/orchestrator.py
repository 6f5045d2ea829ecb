"""One network through behavior cloning, anneal and PPO: what follows what, and what happens when a gate fails."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path

from townlet_training.anneal import Schedule, plan
from townlet_training.bc import BCEpoch
from townlet_training.cloning import clone_script, freeze_statistics
from townlet_training.collect import Actor, Collector
from townlet_training.conclusion import Conclusion, conclude
from townlet_training.config import PolicySpec, TrainingConfig
from townlet_training.evaluation import EpisodeScores, Evaluator
from townlet_training.gates import GateResult, gate_level
from townlet_training.judge import Judge
from townlet_training.metrics import AnnealContext
from townlet_training.progress import Progress, RunClock
from townlet_training.records import CloneRecord, EvaluationRecord, RunCounters, RunSummary
from townlet_training.session import Session
from townlet_training.weights import weights_sha256
from townlet_trajectory.files import DirectoryLock

log = logging.getLogger(__name__)


class _Interrupted(Exception):
    """Whoever started the run asked it to stop."""


def _ignore(progress: Progress) -> None:
    """Watch nothing."""


def _never() -> bool:
    """Never stop."""
    return False


class TrainingOrchestrator:
    """Runs one training run, once, in one directory. It computes nothing itself: learners, judge and worlds do."""

    def __init__(
        self,
        config: TrainingConfig,
        collector: Collector,
        evaluator: Evaluator,
        *,
        spec: PolicySpec,
        run_dir: Path,
        on_progress: Callable[[Progress], None] = _ignore,
        stop: Callable[[], bool] = _never,
    ) -> None:
        """Build the network; nothing is collected or written before `run`.

        Args:
            collector: of `config.num_envs` worlds, with training seeds.
            evaluator: of the same kind of world, with seeds it is given.
            spec: what the policy sees and does.
            run_dir: an existing directory without another run in it.
            on_progress: called after every pass of cloning, every update and every evaluation, and before those at the
                end.
            stop: asked before every collection and evaluation; true ends the run there, with a checkpoint.

        Raises:
            ConfigError: if `config.total_env_steps` does not suffice for every stage.
        """
        self._config = config
        self._spec = spec
        self._run_dir = run_dir
        self._on_progress = on_progress
        self._stop = stop
        self._clock = RunClock()
        self._schedule = None if config.mode == "bc" else plan(config)
        num_evaluations = self._schedule.num_evaluations if self._schedule is not None else 0
        self._gate_level = gate_level(1 + num_evaluations, level=config.gates.level)
        self._session = Session(config, collector, spec=spec, run_dir=run_dir, clock=self._clock)
        self._judge = Judge(evaluator, config, before_each=self._before_evaluation)
        self._good = 0
        """World steps of the checkpoint that a failed gate goes back to."""
        self._best: EvaluationRecord | None = None
        """Of the evaluations after which the policy was in charge alone, the one with the highest mean return."""
        self._clone: CloneRecord | None = None
        self._clone_actor: Actor | None = None
        self._clone_scores: EpisodeScores | None = None
        self._history: list[EvaluationRecord] = []
        self._gates: list[GateResult] = []
        self._failure: GateResult | None = None
        self._conclusion: Conclusion | None = None
        self._judging = False

    def run(self) -> RunSummary:
        """Train, judge, and say what came of it.

        Raises:
            ArtifactError: if another process trains in the directory, or a file cannot be written.
            TrainingError: if the directory holds a run already, or what was collected cannot be learned from.
        """
        with DirectoryLock(self._run_dir):
            self._session.begin()
            try:
                self._prepare()
                if self._schedule is not None and self._failure is None:
                    self._learn(self._schedule)
            except _Interrupted:
                log.info("asked to stop at %d world steps", self._session.env_steps)
                return self._summary(self._save(), interrupted=True)
            candidate = self._best.env_steps if self._best is not None else self._good
            try:
                self._conclusion = self._conclude(candidate)
            except _Interrupted:
                log.info("asked to stop while the policy was judged")
                return self._summary(candidate, interrupted=True)
            return self._summary(candidate, interrupted=False)

    def _prepare(self) -> None:
        """Clone the script; in mode `ppo`, look instead at what an untrained policy sees and earns."""
        session, config = self._session, self._config
        self._stop_if_asked()
        if config.mode == "ppo":
            collected = session.collect(session.network, num_ticks=config.rollout_ticks, ratio=1.0)
            freeze_statistics(session.network, collected.batch, discount=config.ppo.discount)
            self._note(self._scores(), None)
        else:
            with self._clock.measure("clone"):
                collected = session.collect(None, num_ticks=config.anneal.clone_ticks, ratio=0.0)
                result = clone_script(session.network, collected.batch, config=config, on_epoch=self._after_epoch)
            gate = self._judge.accuracy_gate(result, level=self._gate_level)
            if not gate.passed:
                self._fail(gate)
            session.describe_clone(
                collected,
                AnnealContext(accuracy=result.accuracy, threshold=config.gates.clone_accuracy, passed=gate.passed),
            )
            self._clone_actor = copy.deepcopy(session.network)
            self._clone_scores = self._scores()
            self._note(self._clone_scores, gate)
            self._clone = CloneRecord(result=result, evaluation=self._history[-1])
        self._good = self._save()
        if config.mode != "anneal":
            self._best = self._history[-1]

    def _after_epoch(self, _: BCEpoch) -> None:
        self._report()
        self._stop_if_asked()

    def _learn(self, schedule: Schedule) -> None:
        """Go through the plan, as far as world steps and gates allow."""
        session = self._session
        rollout = self._config.num_envs * self._config.rollout_ticks
        while session.index < schedule.num_updates and session.env_steps + rollout <= self._config.total_env_steps:
            self._stop_if_asked()
            session.make(schedule.update(session.index))
            self._report()
            if session.index == schedule.num_warmup:
                self._good = self._save()
            if schedule.evaluates_after(session.index):
                self._assess(schedule)
            if self._failure is not None:
                return
        if self._best is None:
            self._fail(
                GateResult(
                    name="acts_alone",
                    passed=False,
                    detail=f"the policy was not in charge alone within {self._config.total_env_steps} world steps",
                )
            )

    def _assess(self, schedule: Schedule) -> None:
        """Evaluate; keep a checkpoint of what is good enough, go back from what is not."""
        session = self._session
        scores, gate = self._scores(), None
        if self._clone_scores is not None:
            gate = self._judge.kept_score_gate(
                scores, self._clone_scores, level=self._gate_level, env_steps=session.env_steps
            )
        self._note(scores, gate)
        if gate is None or gate.passed:
            record = self._history[-1]
            best = self._best
            if schedule.acts_alone_after(session.index) and (best is None or record.return_mean > best.return_mean):
                self._best = record
            self._good = self._save()
        elif session.attempt < self._config.anneal.max_retries:
            session.retry(self._good)
        else:
            self._fail(gate)

    def _conclude(self, candidate: int) -> Conclusion:
        """Export and judge the network as it was at `candidate`."""
        self._judging = True
        self._session.load(candidate)
        own = [record.gate for record in self._history if record.env_steps == candidate and record.gate is not None]
        gates = [*self._gates[:1], *own, *([] if self._failure is None else [self._failure])]
        return conclude(
            self._session.network,
            self._judge,
            config=self._config,
            spec=self._spec,
            run_dir=self._run_dir,
            clone=self._clone_actor,
            gates=list({gate.name: gate for gate in gates}.values()),
            clock=self._clock,
        )

    def _scores(self) -> EpisodeScores:
        with self._clock.measure("evaluation"):
            return self._judge.selection_scores(self._session.network)

    def _note(self, scores: EpisodeScores, gate: GateResult | None) -> None:
        """Add an evaluation to the history, beside what `gate` said."""
        session = self._session
        with self._clock.measure("evaluation"):
            record = self._judge.record(
                scores,
                env_steps=session.env_steps,
                agent_steps=session.agent_steps,
                stage=session.stage,
                ratio=session.ratio,
                attempt=session.attempt,
                gate=gate,
            )
        self._history.append(record)
        if gate is not None:
            self._gates.append(gate)
            log.log(logging.INFO if gate.passed else logging.WARNING, "gate %s: %s", gate.name, gate.detail)
        log.info("%d world steps (%s): mean return %.6g", session.env_steps, session.stage, record.return_mean)
        self._report()

    def _fail(self, gate: GateResult) -> None:
        """End the run at `gate`."""
        self._failure = gate
        log.warning("stopped by gate %s: %s", gate.name, gate.detail)

    def _save(self) -> int:
        """Save, and keep what may still be needed; returns the world steps that name the checkpoint."""
        best = () if self._best is None else (self._best.env_steps,)
        return self._session.save(protected=frozenset({self._good, *best}))

    def _report(self) -> None:
        session = self._session
        last_return = self._history[-1].return_mean if self._history else None
        self._on_progress(
            self._clock.progress(
                stage="judge" if self._judging else session.stage,
                env_steps=session.env_steps,
                total_env_steps=self._config.total_env_steps,
                last_return=last_return,
            )
        )

    def _before_evaluation(self) -> None:
        if self._judging:
            self._report()
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self._stop():
            raise _Interrupted

    def _summary(self, checkpoint: int, *, interrupted: bool) -> RunSummary:
        session, concluded = self._session, self._conclusion
        return RunSummary(
            mode=self._config.mode,
            acting=self._config.acting,
            seed=self._config.seed,
            interrupted=interrupted,
            failure=None if self._failure is None else f"{self._failure.name}: {self._failure.detail}",
            weights_sha256=weights_sha256(session.network),
            policy=None if concluded is None else concluded.policy,
            checkpoint=session.checkpoint_path(checkpoint),
            clone=self._clone,
            history=tuple(self._history),
            gates=tuple(self._gates),
            final=None if concluded is None else concluded.final,
            promotion=None if concluded is None else concluded.promotion,
            counters=RunCounters(
                env_steps=session.env_steps,
                agent_steps=session.agent_steps,
                num_updates=session.num_updates,
                num_retries=session.attempt,
            ),
            timings=self._clock.parts,
        )
