"""The plan of a run's updates, which follows from its settings."""

from __future__ import annotations

from dataclasses import dataclass

from townlet_training.config import TrainingConfig
from townlet_training.errors import ConfigError
from townlet_trajectory.evaluation.results import Stage

STAGES: tuple[Stage, ...] = ("clone", "warmup", "anneal", "ppo")
"""In the order in which a run goes through them; the position is the log's `cycle_id`."""


@dataclass(frozen=True, kw_only=True)
class PlannedUpdate:
    """Settings of one update."""

    stage: Stage
    ratio: float
    """Share of decisions given to the policy while collecting for it."""
    kickstart_coef: float
    learning_rate: float
    clip_range: float


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Updates 0 .. `num_updates` - 1: first those of the warm-up, then of the blend, then of PPO alone."""

    config: TrainingConfig
    num_warmup: int
    num_blend: int
    num_ppo: int

    @property
    def num_updates(self) -> int:
        """Number of updates of all stages."""
        return self.num_warmup + self.num_blend + self.num_ppo

    @property
    def num_evaluations(self) -> int:
        """Number of updates that are followed by an evaluation."""
        return self.num_evaluations_after(0)

    def num_evaluations_after(self, num_done: int) -> int:
        """Count the updates after the first `num_done` that are followed by an evaluation."""
        return sum(self.evaluates_after(done) for done in range(num_done + 1, self.num_updates + 1))

    def update(self, index: int) -> PlannedUpdate:
        """Compute the settings of update `index`, counted from 0.

        With i counted from the first of the blend's B updates, before the P of PPO alone:

            ratio_i = min_ratio + (1 - min_ratio) i / B,   kickstart_i = start + (end - start) i / B

        Learning rate and clip range stay at their start value in the warm-up. Those with the schedule `linear` then
        fall to reach 0 just after the last update: start × (1 - i / (B + P)).
        """
        if not 0 <= index < self.num_updates:
            raise ConfigError(f"update {index} is outside of a plan of {self.num_updates} updates")
        anneal, ppo = self.config.anneal, self.config.ppo
        position = max(0, index - self.num_warmup)
        rest = 1.0 - position / (self.num_blend + self.num_ppo)
        warms_up, blends = index < self.num_warmup, index >= self.num_warmup and position < self.num_blend
        share = position / self.num_blend if blends else 1.0
        kickstart = anneal.kickstart_start + (anneal.kickstart_end - anneal.kickstart_start) * share
        return PlannedUpdate(
            stage="warmup" if warms_up else "anneal" if blends else "ppo",
            ratio=anneal.min_ratio + (1.0 - anneal.min_ratio) * share if blends else 1.0,
            kickstart_coef=kickstart if blends else 0.0,
            learning_rate=ppo.learning_rate * (rest if ppo.learning_rate_schedule == "linear" else 1.0),
            clip_range=ppo.clip_range * (rest if ppo.clip_schedule == "linear" else 1.0),
        )

    def evaluates_after(self, num_done: int) -> bool:
        """Return whether the policy is evaluated after `num_done` updates: every so many, and where a stage ends."""
        position = num_done - self.num_warmup
        if position < 1:
            return False
        return position % self.config.eval_every == 0 or position == self.num_blend or num_done == self.num_updates

    def acts_alone_after(self, num_done: int) -> bool:
        """Return whether the ratio has reached 1 for good once `num_done` updates are done."""
        return num_done >= self.num_warmup + self.num_blend


def plan(
    config: TrainingConfig, *, from_data: bool = False, clones: bool = True, first_total: int | None = None
) -> Schedule:
    """Divide the world steps of `config` into updates.

    Args:
        config: of mode `anneal` or `ppo`.
        from_data: whether recorded steps are cloned, so that the clone takes no world steps.
        clones: whether mode `anneal` begins with a clone; else with a rollout of its initial policy.
        first_total: world steps that the run was begun with, where it was extended since: what is added goes to PPO
            alone, so warm-up and blend stay as they were.

    Raises:
        ConfigError: if they are too few for every stage.
    """
    annealing = config.mode == "anneal"
    ticks = config.anneal.clone_ticks if annealing and clones else config.rollout_ticks
    before = 0 if from_data else config.num_envs * ticks
    num_warmup = config.anneal.warmup_updates if annealing else 0
    num_learning = _num_updates(config, config.total_env_steps, before) - num_warmup
    first_learning = num_learning
    if first_total is not None:
        first_learning = _num_updates(config, first_total, before) - num_warmup
    num_blend = round(config.anneal.blend_fraction * first_learning) if annealing else 0
    num_ppo = num_learning - num_blend
    if num_ppo < 1:
        raise ConfigError(
            f"`total_env_steps` {config.total_env_steps} leaves {max(0, num_learning)} updates of "
            f"{_steps_per_update(config)} steps after {before} steps of preparation and {num_warmup} updates of "
            "warm-up; at least one has to be left for PPO alone"
        )
    return Schedule(config=config, num_warmup=num_warmup, num_blend=num_blend, num_ppo=num_ppo)


def _steps_per_update(config: TrainingConfig) -> int:
    return config.num_envs * config.rollout_ticks


def _num_updates(config: TrainingConfig, total: int, before: int) -> int:
    return max(0, total - before) // _steps_per_update(config)
