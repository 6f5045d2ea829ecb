"""The networks in training with everything that changes along with them: counts, log, checkpoints."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from townlet_training.config import PolicySpec, TrainingConfig
from townlet_training.errors import ConfigError, ResumeError
from townlet_training.learning.ppo import PPOUpdate
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.weights import weights_digest
from townlet_training.run.agent_groups import Learners
from townlet_training.run.checkpoint import Checkpoint, CheckpointState, restore
from townlet_training.run.clock import RunClock
from townlet_training.run.directory import Archive
from townlet_training.run.history import Course, RunRecord
from townlet_training.run.metrics import AnnealContext, MetricsRow, RunCounts, ScriptedBaseline, metrics_row
from townlet_training.run.saved_worlds import SavedWorlds
from townlet_training.run.schedule import PlannedUpdate
from townlet_trajectory.evaluation.interfaces import Actor, Collected, Collector
from townlet_trajectory.evaluation.results import CloneResult, Stage

log = logging.getLogger(__name__)


class Session:
    """Collects, updates, logs, saves, goes back and takes up; when to do what is decided elsewhere."""

    def __init__(
        self,
        config: TrainingConfig,
        collector: Collector,
        *,
        specs: Mapping[str, PolicySpec],
        notes: Mapping[str, str],
        run_dir: Path,
        clock: RunClock,
    ) -> None:
        self._config = config
        self._collector = collector
        self._specs = dict(specs)
        self._notes = dict(notes)
        self._run_dir = run_dir
        self._clock = clock
        self.learners = Learners(config, specs)
        self._archive = Archive(run_dir, keep_last=config.keep_checkpoints)
        self._baselines: Mapping[str, ScriptedBaseline] = {}
        self._anneal: Mapping[str, AnnealContext] = {}
        self._taken_up: Checkpoint | None = None
        """What the worlds have still to be restored from."""
        self._saved_at: Path | None = None
        """The checkpoint that holds what is now, if there is one."""

        self.env_steps = 0
        self.agent_steps = 0
        self.num_updates = 0
        """Updates made, those that a gate took back included."""
        self.index = 0
        """Updates of the plan that are done."""
        self.attempt = 0
        """How often a failed gate went back."""
        self.stage: Stage = "ppo" if config.mode == "ppo" else "clone"
        self.ratio = 0.0
        """Of the last collection."""

    def begin(self) -> None:
        """Begin a run.

        Raises:
            TrainingError: if the run directory holds (part of) another run.
        """
        self._archive.require_unused()
        self._begin_log()

    def take_up(self) -> Course:
        """Be again what the newest checkpoint in the run directory was taken of; returns how the run had gone.

        Where nothing was learned yet, the run begins again, in its place.

        Raises:
            ResumeError: if the directory holds another run, or a damaged log.
            CheckpointError: if a checkpoint that is needed is damaged.
        """
        newest = self._archive.newest(config=self._config, specs=self._specs, notes=self._notes)
        if newest is None:
            self._begin_log()
            return Course()
        path, checkpoint = newest
        self._clock.take_up(checkpoint.run.elapsed, checkpoint.run.timings)
        if not checkpoint.run.course.prepared:
            self._begin_log()
            return Course()
        self._archive.go_back_to(checkpoint)
        self._restore(checkpoint)
        self._taken_up, self._saved_at = checkpoint, path
        log.info("taken up at %d world steps", self.env_steps)
        return checkpoint.run.course

    def collect(self, actors: Mapping[str, Actor] | None, *, num_ticks: int, ratio: float) -> Collected:
        """Collect, and count the steps.

        Raises:
            ConfigError: if the collector does not have the configured worlds and groups.
            ResumeError: if the run was taken up, but its worlds cannot be saved.
        """
        self._restore_worlds()
        collected = self._collector.collect(actors, num_ticks=num_ticks, ratio=ratio)
        if not 0 < collected.env_steps <= self._config.num_envs * num_ticks:
            raise ConfigError(
                f"`num_envs` is {self._config.num_envs}, but {num_ticks} ticks of the collector were "
                f"{collected.env_steps} world steps"
            )
        if collected.batches.keys() != self._specs.keys():
            raise ConfigError(
                f"a collection must be of the agent groups {sorted(self._specs)}, got {sorted(collected.batches)}"
            )
        self.env_steps += collected.env_steps
        self.agent_steps += collected.agent_steps
        self.ratio = ratio
        self._saved_at = None
        return collected

    def describe_clone(self, collected: Collected, results: Mapping[str, CloneResult], *, passed: bool) -> None:
        """Say what the script did and how well it was cloned; every line of the log repeats it."""
        self._baselines = {group: ScriptedBaseline.of(collected, group) for group in results}
        threshold = self._config.gates.clone_accuracy
        self._anneal = {
            group: AnnealContext(accuracy=result.accuracy, threshold=threshold, passed=passed)
            for group, result in results.items()
        }

    def make(self, planned: PlannedUpdate) -> None:
        """Collect and learn as planned, and log it."""
        began = time.perf_counter()
        self.stage = planned.stage
        with self._clock.measure(planned.stage):
            collected = self.collect(self.learners.networks, num_ticks=self._config.rollout_ticks, ratio=planned.ratio)
            updates = self.learners.learn(collected, planned)
        self.index += 1
        self.num_updates += 1
        self._archive.write(self._rows(updates, collected, planned, seconds=time.perf_counter() - began))

    def checkpoint_path(self, env_steps: int) -> Path:
        """Where the checkpoint at `env_steps` is."""
        return self._archive.checkpoints.path(env_steps)

    def save(self, course: Course) -> Path:
        """Write a checkpoint, unless this very state has one."""
        if self._saved_at != self._archive.checkpoints.path(self.env_steps):
            self._saved_at = self._archive.checkpoints.save(self._checkpoint(course), protected=course.protected)
        return self._saved_at

    def save_interim(self, course: Course) -> Path:
        """Write an interim checkpoint, unless this very state has one, interim or not."""
        if self._saved_at is None:
            self._saved_at = self._archive.checkpoints.save_interim(self._checkpoint(course))
        return self._saved_at

    def load(self, env_steps: int) -> None:
        """Be again what was saved at `env_steps`: weights, optimizers, position in the plan, ratio, random state.

        Steps and updates that were made since stay counted.
        """
        checkpoint = self._archive.checkpoints.load(env_steps)
        restore(checkpoint, self.learners, specs=self._specs)
        self.index = checkpoint.state.update_index
        self.ratio = checkpoint.state.ratio
        self._saved_at = None

    def retry(self, env_steps: int) -> None:
        """`load`, then fold the number of the attempt into the random state: the same draws would fail the same way."""
        self.load(env_steps)
        self.attempt += 1
        self.learners.reseed(self.attempt)
        log.info("attempt %d goes on from the checkpoint at %d world steps", self.attempt, env_steps)

    def networks_at(self, env_steps: int) -> Mapping[str, ActorCritic]:
        """Networks with the weights that were saved at `env_steps`; those in training stay as they are."""
        return self.learners.copies(self._archive.checkpoints.load(env_steps).weights)

    def _begin_log(self) -> None:
        """Begin the log, empty, and leave word of what is to be run."""
        self._archive.begin_log()
        self.save_interim(Course())

    def _rows(
        self, updates: Mapping[str, PPOUpdate], collected: Collected, planned: PlannedUpdate, *, seconds: float
    ) -> list[MetricsRow]:
        """The lines of the log about an update of all groups, which took `seconds`."""
        counts = RunCounts(
            epoch=self.num_updates,
            attempt=self.attempt,
            env_steps=self.env_steps,
            agent_steps=self.agent_steps,
            seconds=self._clock.elapsed,
            update_seconds=seconds,
        )
        return [
            metrics_row(
                update,
                collected,
                planned,
                counts,
                group=group,
                transitions=self.learners.transitions[group],
                rollout_ticks=self._config.rollout_ticks,
                baseline=self._baselines.get(group),
                anneal=self._anneal.get(group),
            )
            for group, update in updates.items()
        ]

    def _checkpoint(self, course: Course) -> Checkpoint:
        weights = self.learners.weights()
        return Checkpoint(
            state=CheckpointState(
                mode=self._config.mode,
                seed=self._config.seed,
                stage=self.stage,
                specs=self._specs,
                update_index=self.index,
                num_updates=self.num_updates,
                env_steps=self.env_steps,
                agent_steps=self.agent_steps,
                transitions=dict(self.learners.transitions),
                ratio=self.ratio,
                attempt=self.attempt,
                weights_sha256=weights_digest(weights),
            ),
            run=RunRecord(
                config=self._config,
                notes=self._notes,
                course=course,
                baselines=self._baselines,
                anneal=self._anneal,
                num_left_out=self.learners.num_left_out,
                log=self._archive.mark(),
                elapsed=self._clock.elapsed,
                timings=self._clock.parts,
            ),
            weights=weights,
            learner=self.learners.state(),
            worlds=self._worlds() if course.prepared else None,
        )

    def _worlds(self) -> SavedWorlds | None:
        return self._collector.save_state() if self._taken_up is None else self._taken_up.worlds

    def _restore(self, checkpoint: Checkpoint) -> None:
        restore(checkpoint, self.learners, specs=self._specs)
        state, run = checkpoint.state, checkpoint.run
        self.learners.transitions = dict(state.transitions)
        self.learners.num_left_out = run.num_left_out
        self.index, self.num_updates, self.attempt = state.update_index, state.num_updates, state.attempt
        self.env_steps, self.agent_steps = state.env_steps, state.agent_steps
        self.stage, self.ratio = state.stage, state.ratio
        self._baselines, self._anneal = run.baselines, run.anneal

    def _restore_worlds(self) -> None:
        """Not before they are needed: a run that is only to be judged again needs none."""
        if self._taken_up is None:
            return
        if self._taken_up.worlds is None:
            raise ResumeError(f"{self._run_dir}: the worlds of this run cannot be saved, so it cannot go on")
        self._collector.restore(self._taken_up.worlds)
        self._taken_up = None
