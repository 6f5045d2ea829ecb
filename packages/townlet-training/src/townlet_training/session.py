"""The network in training with everything that changes along with it: counts, log, checkpoints."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import torch

from townlet_training.anneal import PlannedUpdate, Stage
from townlet_training.checkpoint import CheckpointState, CheckpointStore, restore, take
from townlet_training.collect import Actor, Collected, Collector
from townlet_training.config import PolicySpec, TrainingConfig
from townlet_training.errors import ConfigError, TrainingError
from townlet_training.metrics import AnnealContext, MetricsWriter, RunCounts, ScriptedBaseline, metrics_row
from townlet_training.networks import ActorCritic
from townlet_training.ppo import PPOLearner, PPOUpdate
from townlet_training.progress import RunClock
from townlet_training.seeds import derive_seed
from townlet_training.weights import weights_sha256
from townlet_trajectory import vocabulary_digest
from townlet_trajectory.files import write_bytes_atomic

log = logging.getLogger(__name__)

LOG_NAME, CHECKPOINTS_NAME = "metrics.jsonl", "checkpoints"


class Session:
    """Collects, updates, logs, saves and goes back; when to do what is decided elsewhere."""

    def __init__(
        self, config: TrainingConfig, collector: Collector, *, spec: PolicySpec, run_dir: Path, clock: RunClock
    ) -> None:
        self._config = config
        self._collector = collector
        self._spec = spec
        self._run_dir = run_dir
        self._clock = clock
        self.network = ActorCritic(
            spec.observation_shapes,
            len(spec.vocabulary),
            config.network,
            generator=torch.Generator().manual_seed(derive_seed(config.seed, "network")),
        )
        self._generator = torch.Generator().manual_seed(derive_seed(config.seed, "learner"))
        self._learner = PPOLearner(self.network, config=config.ppo, generator=self._generator)
        self._store = CheckpointStore(run_dir / CHECKPOINTS_NAME, keep_last=config.keep_checkpoints)
        self._writer = MetricsWriter(run_dir / LOG_NAME)
        self._baseline: ScriptedBaseline | None = None
        self._anneal: AnnealContext | None = None
        self._transitions = 0

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
        """Begin the log, empty.

        Raises:
            TrainingError: if the run directory holds (part of) another run.
        """
        for name in (LOG_NAME, CHECKPOINTS_NAME):
            if (self._run_dir / name).exists():
                raise TrainingError(f"{self._run_dir} holds a run already (`{name}`): use a new directory")
        write_bytes_atomic(self._run_dir / LOG_NAME, b"")

    def collect(self, actor: Actor | None, *, num_ticks: int, ratio: float) -> Collected:
        """Collect, and count the steps.

        Raises:
            ConfigError: if the collector does not have the configured number of worlds.
        """
        collected = self._collector.collect(actor, num_ticks=num_ticks, ratio=ratio)
        if collected.env_steps != self._config.num_envs * num_ticks:
            raise ConfigError(
                f"`num_envs` is {self._config.num_envs}, but {num_ticks} ticks of the collector were "
                f"{collected.env_steps} world steps"
            )
        self.env_steps += collected.env_steps
        self.agent_steps += collected.agent_steps
        self.ratio = ratio
        return collected

    def describe_clone(self, collected: Collected, anneal: AnnealContext) -> None:
        """Say what the script did and how well it was cloned; every line of the log repeats it."""
        self._baseline = ScriptedBaseline.of(collected)
        self._anneal = anneal

    def make(self, planned: PlannedUpdate) -> None:
        """Collect and learn as planned, and log it."""
        began = time.perf_counter()
        self.stage = planned.stage
        with self._clock.measure(planned.stage):
            collected = self.collect(self.network, num_ticks=self._config.rollout_ticks, ratio=planned.ratio)
            update = self._learn(collected, planned)
        self.index += 1
        self.num_updates += 1
        self._transitions += update.num_transitions
        counts = RunCounts(
            epoch=self.num_updates,
            attempt=self.attempt,
            transitions=self._transitions,
            env_steps=self.env_steps,
            agent_steps=self.agent_steps,
            seconds=self._clock.elapsed,
            update_seconds=time.perf_counter() - began,
        )
        self._writer.write(
            metrics_row(
                update,
                collected,
                planned,
                counts,
                rollout_ticks=self._config.rollout_ticks,
                baseline=self._baseline,
                anneal=self._anneal,
            )
        )

    def checkpoint_path(self, env_steps: int) -> Path:
        """Where the checkpoint at `env_steps` is."""
        return self._store.path(env_steps)

    def save(self, *, protected: frozenset[int]) -> int:
        """Write a checkpoint unless this very state has one; returns the world steps that name it."""
        if self._store.path(self.env_steps).exists():
            return self.env_steps
        state = CheckpointState(
            mode=self._config.mode,
            seed=self._config.seed,
            stage=self.stage,
            world=self._spec.world,
            vocabulary_sha256=vocabulary_digest(self._spec.vocabulary),
            update_index=self.index,
            num_updates=self.num_updates,
            env_steps=self.env_steps,
            agent_steps=self.agent_steps,
            transitions=self._transitions,
            ratio=self.ratio,
            attempt=self.attempt,
            weights_sha256=weights_sha256(self.network),
        )
        self._store.save(take(self.network, self._learner, state), protected=protected)
        return self.env_steps

    def load(self, env_steps: int) -> None:
        """Be again what was saved at `env_steps`: weights, optimizer, position in the plan, ratio, random state.

        Steps and updates that were made since stay counted.
        """
        checkpoint = self._store.load(env_steps)
        restore(checkpoint, self.network, self._learner, spec=self._spec)
        self.index = checkpoint.state.update_index
        self.ratio = checkpoint.state.ratio

    def retry(self, env_steps: int) -> None:
        """`load`, then fold the number of the attempt into the random state: the same draws would fail the same way."""
        self.load(env_steps)
        self.attempt += 1
        self._generator.manual_seed(derive_seed(self._config.seed, "attempt", self.attempt))
        log.info("attempt %d goes on from the checkpoint at %d world steps", self.attempt, env_steps)

    def _learn(self, collected: Collected, planned: PlannedUpdate) -> PPOUpdate:
        if planned.stage == "warmup":
            return self._learner.warm_up(collected.batch, learning_rate=planned.learning_rate)
        return self._learner.update(
            collected.batch, kickstart_coef=planned.kickstart_coef, learning_rate=planned.learning_rate
        )
