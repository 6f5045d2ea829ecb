"""Sections about learning. Where a key is null, the preset speaks, or else townlet-training's own default.

The keys of `ppo` and `training` are the original's; `network`, `anneal` and `evaluation` are ours.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from townlet_runtime.config.schema.base import NO_EFFECT, List, NoEffect, Section, Share, SocialStage
from townlet_trajectory.evaluation.intervals import MIN_EPISODES

Source = Literal["replay", "rollout", "mixed", "bc", "anneal", "ppo"]


class PPO(Section):
    """`ppo`: one update."""

    learning_rate: float = Field(3e-4, gt=0.0)
    clip_param: float = Field(0.2, ge=0.0, le=1.0)
    """ε of the clipped surrogate."""
    value_loss_coef: float = Field(0.5, ge=0.0)
    entropy_coef: float = Field(0.01, ge=0.0)
    num_epochs: int = Field(4, ge=1, le=64)
    """Passes over the data of an update."""
    mini_batch_size: int = Field(32, ge=1)
    """Steps of one gradient step, where `num_mini_batches` does not decide."""
    gae_lambda: Share = 0.95
    gamma: Share = 0.99
    """Discount per tick."""
    max_grad_norm: float = Field(0.5, ge=0.0)
    value_clip: Share | None = 0.2
    """How far a value may move in an update; null: as far as it likes."""
    advantage_normalization: bool = True
    num_mini_batches: int = Field(4, ge=1, le=1024)
    """Gradient steps of one pass."""
    target_kl: float | None = Field(None, gt=0.0)
    """Divergence from the acting policy at which an update stops early; null: never."""
    min_ratio: float | None = Field(None, gt=0.0, le=1.0)
    """Decisions drawn with a lower ratio are not learned from."""
    learning_rate_schedule: Literal["constant", "linear"] | None = None
    """`linear`: the learning rate falls to 0 over the updates after the warm-up."""
    clip_schedule: Literal["constant", "linear"] | None = None
    """The same of `clip_param`."""


class BehaviorCloning(Section):
    """`training.bc`: cloning of the script."""

    manifest: Annotated[str | None, NO_EFFECT] = None
    learning_rate: float = Field(1e-3, gt=0.0)
    batch_size: int = Field(64, ge=1)
    """Steps."""
    epochs: int = Field(10, ge=1)
    weight_decay: float = Field(0.0, ge=0.0)
    device: Annotated[str, NoEffect(unless=("cpu",))] = "cpu"


class AnnealStage(Section):
    """One stage of the original's schedule."""

    cycle: int = Field(0, ge=0)
    mode: Literal["bc", "ppo"] = "ppo"
    epochs: int = Field(1, ge=1)
    bc_weight: Share = 1.0


class SocialRewardStage(Section):
    """One stage of the original's social rewards."""

    cycle: int = Field(0, ge=0)
    stage: SocialStage


class Training(Section):
    """`training`: what is trained, and how much."""

    source: Source = "replay"
    """What `townlet train` does without `--mode`; `rollout` is another name of `ppo`."""
    rollout_ticks: int = Field(100, ge=0)
    """Ticks, in each world, between two updates."""
    total_env_steps: int = Field(300_000, ge=1)
    """World steps (one world, one tick) of the whole run."""
    num_envs: int | None = Field(None, ge=1)
    """Worlds stepped together."""
    keep_checkpoints: int | None = Field(None, ge=1)
    bc: BehaviorCloning = BehaviorCloning()
    anneal_accuracy_threshold: Share = 0.9
    """Held-out accuracy that the clone has to reach."""
    anneal_enable_policy_blend: Annotated[bool, NoEffect(unless=(True,))] = False
    anneal_schedule: Annotated[List[AnnealStage], NO_EFFECT] = ()
    rollout_auto_seed_agents: Annotated[bool, NoEffect(unless=(True,))] = False
    replay_manifest: Annotated[str | None, NO_EFFECT] = None
    social_reward_stage_override: SocialStage | None = None
    """Replaces `features.stages.social_rewards` in every command: a policy is judged in the world it was trained in."""
    social_reward_schedule: Annotated[List[SocialRewardStage], NO_EFFECT] = ()


class Network(Section):
    """`network`: the actor-critic."""

    hidden_sizes: List[int] | None = None
    activation: Literal["tanh", "relu"] | None = None
    normalize_observations: Literal["frozen", "none"] | None = None
    """`frozen`: by statistics taken before anything is learned."""
    value_scale: Literal["frozen", "none"] | None = None
    """`frozen`: values are learned in units of the typical return."""


class Anneal(Section):
    """`anneal`: how control passes from the script to the policy."""

    clone_ticks: int | None = Field(None, ge=1)
    """Ticks, in each world, of scripted behavior to clone."""
    held_out_fraction: float | None = Field(None, gt=0.0, lt=1.0)
    """Share of the scripted episodes that accuracy is measured on."""
    warmup_updates: int | None = Field(None, ge=0)
    """Updates of the value head alone, while the clone acts."""
    blend_fraction: Share | None = None
    """Share of the later updates during which the ratio rises."""
    min_ratio: float | None = Field(None, gt=0.0, le=1.0)
    """Ratio at the first update of the blend."""
    kickstart_start: float | None = Field(None, ge=0.0, le=100.0)
    """Coefficient of the cross-entropy towards the script at the first update of the blend."""
    kickstart_end: float | None = Field(None, ge=0.0, le=100.0)
    max_retries: int | None = Field(None, ge=0)
    """How often a failed gate goes back to the last good weights before it stops the run."""
    kept_fraction: Share | None = None
    """Share of the clone's normalized score that every later evaluation must keep."""


class Evaluation(Section):
    """`evaluation`: how a policy is judged."""

    every_updates: int | None = Field(None, ge=1)
    episodes: int | None = Field(None, ge=MIN_EPISODES)
    """Of each evaluation during the run."""
    final_episodes: int | None = Field(None, ge=MIN_EPISODES)
    acting: Literal["greedy", "sampled"] | None = None
    level: float | None = Field(None, gt=0.0, lt=1.0)
    """Chance that the gates of a run together fail a policy that is exactly at the limit."""
    resamples: int | None = Field(None, ge=100)
    """Bootstrap resamples of each interval."""
    promotion_episodes: int | None = Field(None, ge=MIN_EPISODES)
    """Of one promotion pass."""
    tail_margin: float | None = Field(None, ge=0.0)
    """How much lower, in units of return, the worst tenth may be than the incumbent's."""
