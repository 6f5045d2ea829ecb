"""From behavior cloning over the anneal to PPO: what follows what, and what happens when a gate fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from townlet_training.config import PolicySpec, TrainingConfig
from townlet_training.run.clock import Progress, RunClock
from townlet_training.run.conclusion import Conclusion, conclude
from townlet_training.run.evaluator import Judge
from townlet_training.run.history import Course
from townlet_training.run.schedule import Schedule, plan
from townlet_training.run.state import Session
from townlet_trajectory.evaluation.gates import GateResult, gate_level
from townlet_trajectory.evaluation.interfaces import Collector, Evaluator
from townlet_trajectory.evaluation.results import CloneEpoch, CloneRecord, RunCounters, RunSummary
from townlet_trajectory.evaluation.scores import EpisodeScores
from townlet_trajectory.storage.files import DirectoryLock

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
        specs: Mapping[str, PolicySpec],
        run_dir: Path,
        on_progress: Callable[[Progress], None] = _ignore,
        stop: Callable[[], bool] = _never,
        notes: Mapping[str, str] = {},
        resume: bool = False,
    ) -> None:
        """Build the networks; nothing is collected or written before `run`.

        Args:
            collector: of `config.num_envs` worlds, with training seeds; it has not collected yet.
            evaluator: of the same kind of world, with seeds it is given.
            specs: what the policy of each agent group sees and does; a single group is called `agents`.
            run_dir: an existing directory: without another run in it, or with the one to `resume`.
            on_progress: called after every pass of cloning, every update and every evaluation, and before those at the
                end.
            stop: asked before every collection and evaluation; true ends the run there, with a checkpoint.
            notes: what else the run depends on, such as the name of a controller, for `resume` to compare.
            resume: take the run in `run_dir` up where it was broken off, however that came about. It comes to what it
                would have come to: weights, log (apart from `WALL_TIME_KEYS`) and summary (apart from timings). A
                finished run is judged once more, with the same result.

        Raises:
            ConfigError: if `config.total_env_steps` does not suffice for every stage, or a group has no proper name.
        """
        self._config = config
        self._specs = specs
        self._run_dir = run_dir
        self._on_progress = on_progress
        self._stop = stop
        self._resume = resume
        self._clock = RunClock()
        self._schedule = None if config.mode == "bc" else plan(config)
        num_evaluations = self._schedule.num_evaluations if self._schedule is not None else 0
        self._session = Session(config, collector, specs=specs, notes=notes, run_dir=run_dir, clock=self._clock)
        self._gate_level = gate_level(len(specs) + num_evaluations, level=config.gates.level)
        self._judge = Judge(evaluator, config, before_each=self._before_evaluation)
        self._course = Course()
        self._conclusion: Conclusion | None = None
        self._judging = False

    def run(self) -> RunSummary:
        """Train, judge, and say what came of it.

        Raises:
            ArtifactError: if another process trains in the directory, or a file cannot be written.
            TrainingError: if the directory holds a run already, or what was collected cannot be learned from.
            ResumeError: if the run cannot be taken up.
        """
        with DirectoryLock(self._run_dir):
            self._begin()
            try:
                if not self._course.prepared:
                    self._prepare()
                if self._schedule is not None:
                    self._learn(self._schedule)
            except _Interrupted:
                log.info("asked to stop at %d world steps", self._session.env_steps)
                return self._summary(self._session.save_interim(self._course), interrupted=True)
            path = self._session.checkpoint_path(self._course.candidate)
            try:
                self._conclusion = self._conclude(self._course.candidate)
            except _Interrupted:
                log.info("asked to stop while the policy was judged")
                return self._summary(path, interrupted=True)
            return self._summary(path, interrupted=False)

    def _begin(self) -> None:
        if not self._resume:
            self._session.begin()
            return
        self._course = self._session.take_up()
        self._judge.take_up(self._course.judge)

    def _prepare(self) -> None:
        """Clone the script; in mode `ppo`, look instead at what an untrained policy sees and earns."""
        session, config = self._session, self._config
        self._stop_if_asked()
        if config.mode == "ppo":
            collected = session.collect(session.learners.networks, num_ticks=config.rollout_ticks, ratio=1.0)
            session.learners.freeze_statistics(collected)
            self._note(self._scores(), None)
        else:
            self._clone()
        best = None if config.mode == "anneal" else self._course.history[-1]
        self._course = replace(self._course, prepared=True, good=session.env_steps, best=best)
        session.save(self._course)

    def _clone(self) -> None:
        session, config = self._session, self._config
        with self._clock.measure("clone"):
            collected = session.collect(None, num_ticks=config.anneal.clone_ticks, ratio=0.0)
            results = session.learners.clone(collected, on_epoch=self._after_epoch)
        gate = self._judge.accuracy_gate(results, level=self._gate_level)
        if not gate.passed:
            self._fail(gate)
        session.describe_clone(collected, results, passed=gate.passed)
        scores = self._scores()
        self._note(scores, gate)
        self._course = replace(
            self._course,
            clone=CloneRecord(results=results, evaluation=self._course.history[-1]),
            clone_scores=scores,
        )

    def _after_epoch(self, _: CloneEpoch) -> None:
        self._report()
        self._stop_if_asked()

    def _learn(self, schedule: Schedule) -> None:
        """Go through the plan, as far as world steps and gates allow."""
        session = self._session
        rollout = self._config.num_envs * self._config.rollout_ticks
        while self._course.failure is None:
            if schedule.evaluates_after(session.index) and self._course.history[-1].env_steps != session.env_steps:
                self._assess(schedule)
                continue
            if session.index >= schedule.num_updates or session.env_steps + rollout > self._config.total_env_steps:
                break
            self._stop_if_asked()
            session.make(schedule.update(session.index))
            self._report()
            if session.index == schedule.num_warmup:
                self._course = replace(self._course, good=session.env_steps)
                session.save(self._course)
        if self._course.failure is None and self._course.best is None:
            self._fail(
                GateResult(
                    name="acts_alone",
                    passed=False,
                    detail=f"the policy was not in charge alone within {self._config.total_env_steps} world steps",
                )
            )
        session.save(self._course)

    def _assess(self, schedule: Schedule) -> None:
        """Evaluate; keep a checkpoint of what is good enough, go back from what is not."""
        session = self._session
        scores, gate = self._scores(), None
        if self._course.clone_scores is not None:
            gate = self._judge.kept_score_gate(
                scores, self._course.clone_scores, level=self._gate_level, env_steps=session.env_steps
            )
        self._note(scores, gate)
        if gate is None or gate.passed:
            record, best = self._course.history[-1], self._course.best
            if schedule.acts_alone_after(session.index) and (best is None or record.return_mean > best.return_mean):
                best = record
            self._course = replace(self._course, good=session.env_steps, best=best)
        elif session.attempt < self._config.anneal.max_retries:
            session.retry(self._course.good)
        else:
            self._fail(gate)
        session.save(self._course)

    def _conclude(self, candidate: int) -> Conclusion:
        """Export and judge the networks as they were at `candidate`."""
        self._judging = True
        course, session = self._course, self._session
        session.load(candidate)
        own = [record.gate for record in course.history if record.env_steps == candidate and record.gate is not None]
        gates = [*course.gates[:1], *own, *([] if course.failure is None else [course.failure])]
        return conclude(
            session.learners,
            self._judge,
            config=self._config,
            specs=self._specs,
            run_dir=self._run_dir,
            clone=None if course.clone is None else session.networks_at(course.clone.evaluation.env_steps),
            gates=list({gate.name: gate for gate in gates}.values()),
            clock=self._clock,
        )

    def _scores(self) -> EpisodeScores:
        with self._clock.measure("evaluation"):
            return self._judge.selection_scores(self._session.learners.networks)

    def _note(self, scores: EpisodeScores, gate: GateResult | None) -> None:
        """Add an evaluation to the history, beside what `gate` said."""
        session, course = self._session, self._course
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
        # Not before the evaluation is complete: one that is broken off is made again, with the same intervals.
        self._course = replace(course, history=(*course.history, record), judge=self._judge.memory)
        if gate is not None:
            log.log(logging.INFO if gate.passed else logging.WARNING, "gate %s: %s", gate.name, gate.detail)
        log.info("%d world steps (%s): mean return %.6g", session.env_steps, session.stage, record.return_mean)
        self._report()

    def _fail(self, gate: GateResult) -> None:
        """End the run at `gate`."""
        self._course = replace(self._course, failure=gate)
        log.warning("stopped by gate %s: %s", gate.name, gate.detail)

    def _report(self) -> None:
        session, history = self._session, self._course.history
        self._on_progress(
            self._clock.progress(
                stage="judge" if self._judging else session.stage,
                env_steps=session.env_steps,
                total_env_steps=self._config.total_env_steps,
                last_return=history[-1].return_mean if history else None,
            )
        )

    def _before_evaluation(self) -> None:
        if self._judging:
            self._report()
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self._stop():
            raise _Interrupted

    def _summary(self, checkpoint: Path, *, interrupted: bool) -> RunSummary:
        session, course, concluded = self._session, self._course, self._conclusion
        failure = course.failure
        return RunSummary(
            mode=self._config.mode,
            acting=self._config.acting,
            seed=self._config.seed,
            interrupted=interrupted,
            failure=None if failure is None else f"{failure.name}: {failure.detail}",
            weights_sha256=session.learners.sha256(),
            policies={} if concluded is None else concluded.policies,
            checkpoint=checkpoint,
            clone=course.clone,
            history=course.history,
            gates=course.gates,
            final=None if concluded is None else concluded.final,
            promotion=None if concluded is None else concluded.promotion,
            counters=RunCounters(
                env_steps=session.env_steps,
                agent_steps=session.agent_steps,
                num_updates=session.num_updates,
                num_retries=session.attempt,
                num_left_out=session.learners.num_left_out,
            ),
            elapsed=self._clock.elapsed,
            timings=self._clock.parts,
        )
