"""The plan of a run: which update belongs to which stage, with which ratio, coefficients and learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from townlet_training.config import TrainingConfig
from townlet_training.errors import ConfigError
from townlet_training.learning.ppo_config import ScheduleKind
from townlet_trajectory.evaluation.results import Stage

STAGES: tuple[Stage, ...] = ("clone", "warmup", "anneal", "ppo")
"""In the order in which a run goes through them; the position is the log's `cycle_id`."""


@dataclass(frozen=True, kw_only=True)
class PlannedUpdate:
    """How one update is to be made."""

    stage: Stage
    ratio: float
    """Share of decisions given to the policy while collecting for it."""
    kickstart_coef: float
    learning_rate: float
    clip_range: float


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Updates 0 .. `num_updates` - 1: first those of the warm-up, then of the blend, then of PPO alone."""

    num_warmup: int
    num_blend: int
    num_ppo: int
    min_ratio: float
    kickstart_start: float
    kickstart_end: float
    learning_rate: float
    learning_rate_schedule: ScheduleKind
    clip_range: float
    clip_schedule: ScheduleKind
    eval_every: int

    @property
    def num_updates(self) -> int:
        """Updates of all stages."""
        return self.num_warmup + self.num_blend + self.num_ppo

    @property
    def num_evaluations(self) -> int:
        """How many of the updates are followed by an evaluation."""
        return sum(self.evaluates_after(done) for done in range(1, self.num_updates + 1))

    def update(self, index: int) -> PlannedUpdate:
        """Update `index`, counted from 0.

        With i counted from the first of the blend's B updates, before the P of PPO alone:

            ratio_i = min_ratio + (1 - min_ratio) i / B,   kickstart_i = start + (end - start) i / B

        Learning rate and clip range stay at their start value in the warm-up. Those with the schedule `linear` then
        fall to reach 0 just after the last update: start × (1 - i / (B + P)).
        """
        if not 0 <= index < self.num_updates:
            raise ConfigError(f"update {index} is outside of a plan of {self.num_updates} updates")
        position = max(0, index - self.num_warmup)
        rest = 1.0 - position / (self.num_blend + self.num_ppo)
        learning_rate = self.learning_rate * (rest if self.learning_rate_schedule == "linear" else 1.0)
        clip_range = self.clip_range * (rest if self.clip_schedule == "linear" else 1.0)
        if index < self.num_warmup or position >= self.num_blend:
            return PlannedUpdate(
                stage="warmup" if index < self.num_warmup else "ppo",
                ratio=1.0,
                kickstart_coef=0.0,
                learning_rate=learning_rate,
                clip_range=clip_range,
            )
        share = position / self.num_blend
        return PlannedUpdate(
            stage="anneal",
            ratio=self.min_ratio + (1.0 - self.min_ratio) * share,
            kickstart_coef=self.kickstart_start + (self.kickstart_end - self.kickstart_start) * share,
            learning_rate=learning_rate,
            clip_range=clip_range,
        )

    def evaluates_after(self, num_done: int) -> bool:
        """Whether the policy is evaluated once `num_done` updates are done: every so many, and where a stage ends."""
        position = num_done - self.num_warmup
        if position < 1:
            return False
        return position % self.eval_every == 0 or position == self.num_blend or num_done == self.num_updates

    def acts_alone_after(self, num_done: int) -> bool:
        """Whether the ratio has reached 1 for good once `num_done` updates are done."""
        return num_done >= self.num_warmup + self.num_blend


def plan(config: TrainingConfig) -> Schedule:
    """Divide the world steps of `config` into updates (ConfigError when they are too few for every stage)."""
    steps_per_update = config.num_envs * config.rollout_ticks
    annealing = config.mode == "anneal"
    before = config.num_envs * (config.anneal.clone_ticks if annealing else config.rollout_ticks)
    num_updates = max(0, config.total_env_steps - before) // steps_per_update
    num_warmup = config.anneal.warmup_updates if annealing else 0
    num_learning = num_updates - num_warmup
    num_blend = round(config.anneal.blend_fraction * num_learning) if annealing else 0
    if num_learning - num_blend < 1:
        raise ConfigError(
            f"`total_env_steps` {config.total_env_steps} leaves {max(0, num_learning)} updates of {steps_per_update} "
            f"steps after {before} steps of preparation and {num_warmup} updates of warm-up; at least one has to be "
            "left for PPO alone"
        )
    return Schedule(
        num_warmup=num_warmup,
        num_blend=num_blend,
        num_ppo=num_learning - num_blend,
        min_ratio=config.anneal.min_ratio,
        kickstart_start=config.anneal.kickstart_start,
        kickstart_end=config.anneal.kickstart_end,
        learning_rate=config.ppo.learning_rate,
        learning_rate_schedule=config.ppo.learning_rate_schedule,
        clip_range=config.ppo.clip_range,
        clip_schedule=config.ppo.clip_schedule,
        eval_every=config.eval_every,
    )
