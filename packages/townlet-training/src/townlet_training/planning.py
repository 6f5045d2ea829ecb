"""The plan of a run's updates, which follows from its settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypedDict

from townlet_training.config import AnnealConfig, TrainingConfig
from townlet_training.errors import ConfigError
from townlet_training.learning.config import PPOConfig, ScheduleKind
from townlet_trajectory.evaluation.results import Stage

STAGES: tuple[Stage, ...] = ("clone", "warmup", "anneal", "ppo")
"""In the order in which a run goes through them; the position is the log's `cycle_id`."""


def scheduled(kind: ScheduleKind, start: float, end: float, done: float) -> float:
    """Return a value of a run that is on its way from `start` to `end`.

        constant: start;   linear: end + (start - end) (1 - x);   cosine: end + (start - end) (1 + cos πx) / 2

    Args:
        kind: of the schedule.
        start: value at x = 0.
        end: value at x = 1.
        done: x, the share of the updates that are done, in [0, 1].

    Returns:
        The value.
    """
    if kind == "constant":
        return start
    rest = 1.0 - done if kind == "linear" else (1.0 + math.cos(math.pi * done)) / 2.0
    return end + (start - end) * rest


class ScheduledSettings(TypedDict):
    """Settings of `PlannedUpdate` that a schedule of `PPOConfig` changes."""

    learning_rate: float
    clip_range: float
    entropy_coef: float
    gae_lambda: float


def scheduled_settings(ppo: PPOConfig, done: float) -> ScheduledSettings:
    """Return the settings of an update when the share `done`, in [0, 1], of a run's updates are done."""
    return ScheduledSettings(
        learning_rate=scheduled(ppo.learning_rate_schedule, ppo.learning_rate, ppo.learning_rate_end, done),
        clip_range=scheduled(ppo.clip_schedule, ppo.clip_range, ppo.clip_range_end, done),
        entropy_coef=scheduled(ppo.entropy_schedule, ppo.entropy_coef, ppo.entropy_coef_end, done),
        gae_lambda=scheduled(ppo.lambda_schedule, ppo.gae_lambda, ppo.gae_lambda_end, done),
    )


def blend_ratio(anneal: AnnealConfig, done: float) -> float:
    """Return the ratio of a blend that is on its way from `min_ratio` to `end_ratio`.

        constant: min_ratio;   linear: min_ratio + (end_ratio - min_ratio) x;   cosine: with (1 - cos πx) / 2 for x

    Args:
        anneal: of the run.
        done: x, the share of the blend that is done, in [0, 1].

    Returns:
        The ratio, in (0, 1].
    """
    risen = {"constant": 0.0, "linear": done, "cosine": (1.0 - math.cos(math.pi * done)) / 2.0}[anneal.ratio_schedule]
    return anneal.min_ratio + (anneal.end_ratio - anneal.min_ratio) * risen


def adapted_ratio(ratio: float, interval: tuple[float, float], *, margin: float, anneal: AnnealConfig) -> float:
    """Move a ratio by what a comparison of policy and script on fresh episodes says.

        β' = min(1, β + step)           where low > -margin: the policy is not much worse
        β' = max(min_ratio, β - step)   where high < -margin: it is
        β' = β                          where nobody knows

    low and high are bounds of the mean of (policy alone - script) that hold with 90 % each. This project's; it is the
    test of non-inferiority of Piaggio et al. 2012 (JAMA 308, 2594, figure 1), decided again at every comparison.

    Args:
        ratio: β of the blend so far, in (0, 1].
        interval: low and high, in units of returns.
        margin: at least 0, in the same units.
        anneal: has the step, and the least ratio.

    Returns:
        β'.
    """
    low, high = interval
    if low > -margin:
        return min(1.0, round(ratio + anneal.ratio_step, 9))
    if high < -margin:
        return max(anneal.min_ratio, round(ratio - anneal.ratio_step, 9))
    return ratio


class UpdateSettings(TypedDict):
    """Arguments of `PPOLearner.update` beside the batch."""

    kickstart_coef: float
    learning_rate: float
    clip_range: float
    entropy_coef: float
    gae_lambda: float


@dataclass(frozen=True, kw_only=True)
class PlannedUpdate:
    """Settings of one update."""

    stage: Stage
    ratio: float
    """Share of decisions given to the policy while collecting for it."""
    kickstart_coef: float
    learning_rate: float
    clip_range: float
    entropy_coef: float
    gae_lambda: float

    @property
    def settings(self) -> UpdateSettings:
        """Return the arguments of `PPOLearner.update`."""
        return UpdateSettings(
            kickstart_coef=self.kickstart_coef,
            learning_rate=self.learning_rate,
            clip_range=self.clip_range,
            entropy_coef=self.entropy_coef,
            gae_lambda=self.gae_lambda,
        )


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
        return sum(self.evaluates_after(done) for done in range(1, self.num_updates + 1))

    def update(self, index: int, *, adapted: float | None = None) -> PlannedUpdate:
        """Compute the settings of update `index`, counted from 0.

        With i counted from the first of the blend's B updates, before the P of PPO alone:

            ratio_i: `blend_ratio` at x = i / B,   kickstart_i = start + (end - start) i / B

        Learning rate, clip range, entropy coefficient and λ stay at their start value in the warm-up; then they are
        `scheduled` at x = i / (B + P).

        Args:
            index: of the update.
            adapted: ratio of the blend that comparisons came to; None: that of the plan.

        Returns:
            The settings.
        """
        if not 0 <= index < self.num_updates:
            raise ConfigError(f"update {index} is outside of a plan of {self.num_updates} updates")
        anneal = self.config.anneal
        position = max(0, index - self.num_warmup)
        warms_up, blends = index < self.num_warmup, index >= self.num_warmup and position < self.num_blend
        share = position / self.num_blend if blends else 1.0
        kickstart = anneal.kickstart_start + (anneal.kickstart_end - anneal.kickstart_start) * share
        blended = blend_ratio(anneal, share) if adapted is None else adapted
        return PlannedUpdate(
            stage="warmup" if warms_up else "anneal" if blends else "ppo",
            ratio=blended if blends else 1.0,
            kickstart_coef=kickstart if blends else 0.0,
            **scheduled_settings(self.config.ppo, position / (self.num_blend + self.num_ppo)),
        )

    def ratios(self, index: int, *, adapted: float | None = None) -> list[float]:
        """Return the ratio of update `index`, and of those after it whose collections may begin before it is done."""
        end = min(index + self.config.collect_ahead + 1, self.num_updates)
        return [self.update(each, adapted=adapted).ratio for each in range(index, end)]

    def blends_after(self, num_done: int) -> bool:
        """Return whether the update after the first `num_done` is one of the blend."""
        return self.num_warmup <= num_done < self.num_warmup + self.num_blend

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
