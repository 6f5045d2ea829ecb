"""What a training run is told, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from townlet_training.errors import ConfigError
from townlet_training.learning.bc_config import BCConfig
from townlet_training.learning.ppo_config import PPOConfig
from townlet_training.network.actor_critic import NetworkConfig
from townlet_training.settings import Count, OpenShare, Ratio, Share, Steps, Ticks, check_settings
from townlet_trajectory.evaluation.intervals import MIN_EPISODES
from townlet_trajectory.evaluation.promotion import PromotionConfig
from townlet_trajectory.evaluation.results import CLONE, LEARNED, SCRIPTED, ZEROS, Acting, Mode, zero_of
from townlet_trajectory.evaluation.seeds import HELD_OUT

Episodes = Annotated[int, Field(ge=MIN_EPISODES, le=10**6)]
"""Episodes of one evaluation: the intervals of fewer miss the mean far more often than they say."""
Coefficient = Annotated[float, Field(ge=0.0, le=100.0)]


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    """What a policy sees and does; stays with its weights wherever they go."""

    world: str
    """Name of the world it was trained in."""
    vocabulary: tuple[str, ...]
    """Keys of the actions, in the order of the network's outputs."""
    observation_shapes: Mapping[str, tuple[int, ...]]
    """Per agent, without the leading axis; all float32."""

    def __post_init__(self) -> None:
        if not self.world:
            raise ConfigError("`world` must be a name, got an empty string")
        if len(set(self.vocabulary)) != len(self.vocabulary) or len(self.vocabulary) < 2:
            raise ConfigError(f"`vocabulary` must hold at least 2 distinct keys, got {self.vocabulary!r}")
        if not self.observation_shapes or "action_mask" in self.observation_shapes:
            raise ConfigError(
                "`observation_shapes` must name at least one observation and not `action_mask`, "
                f"got {sorted(self.observation_shapes)}"
            )


@dataclass(frozen=True, kw_only=True)
class AnnealConfig:
    """How control passes from the script to the policy."""

    clone_ticks: Ticks = 1024
    """Ticks, in each world, of scripted behavior to clone."""
    held_out_fraction: OpenShare = 0.2
    """Share of the scripted episodes that nothing is learned from: a third of them choose the epoch of the clone, two
    thirds measure its accuracy."""
    warmup_updates: Annotated[int, Field(ge=0, le=10**6)] = 5
    """Updates of the value head alone, while the clone acts."""
    blend_fraction: Share = 0.5
    """Share of the updates after the warm-up during which the ratio rises."""
    min_ratio: Ratio = 0.1
    """Ratio at the first update of the blend; it rises to 1 linearly over the blend."""
    kickstart_start: Coefficient = 1.0
    """Coefficient of the cross-entropy towards the script at the first update of the blend."""
    kickstart_end: Coefficient = 0.0
    """What it falls to, linearly, by the end of the blend; 0 from there."""
    max_retries: Annotated[int, Field(ge=0, le=10**6)] = 2
    """How often in a run a failed gate goes back to the last good checkpoint before it stops the run."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.kickstart_start < self.kickstart_end:
            raise ConfigError(
                f"`kickstart_start` must be at least `kickstart_end` {self.kickstart_end!r}, "
                f"got {self.kickstart_start!r}"
            )


@dataclass(frozen=True, kw_only=True)
class GatesConfig:
    """What a run must not fall below. Used by mode `anneal`; the accuracy also by mode `bc`."""

    clone_accuracy: Share = 0.9
    """Of the clone, in the mean over held-out episodes that chose nothing."""
    kept_fraction: Share = 0.8
    """Share of the clone's normalized score that every later evaluation must keep."""
    level: OpenShare = 0.05
    """Chance that all gates of a run together fail a policy that is exactly at the limit."""
    num_resamples: Annotated[int, Field(ge=100, le=10**6)] = 10_000
    """Bootstrap resamples of each interval."""

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run."""

    mode: Mode = "anneal"
    """`anneal`: clone, then blend, then PPO alone; `ppo`: PPO from a fresh network; `bc`: the clone alone."""
    seed: Annotated[int, Field(ge=0, lt=HELD_OUT)]
    """Everything random of the run follows from it; below 2**31, where the held-out worlds begin."""
    total_env_steps: Steps = 300_000
    """World steps to train on, those of cloning and warm-up included (one step: one world, one tick)."""
    num_envs: Annotated[int, Field(ge=1, le=10**4)] = 16
    """Worlds that are stepped together."""
    rollout_ticks: Ticks = 128
    """Ticks, in each world, between two updates."""
    eval_every: Count = 10
    """Updates between two evaluations."""
    eval_episodes: Episodes = 16
    """Episodes of each evaluation during the run (the same ones every time)."""
    final_episodes: Episodes = 100
    """Episodes of the final score; none of them was looked at before."""
    acting: Acting = "greedy"
    """How the policy acts when it is judged, and is meant to act when it is deployed."""
    baselines: tuple[str, ...] = ("scripted", "random")
    """Names of the behaviors without weights to compare with, such as the world has. The anneal needs `scripted`, and
    `idle` or `random`."""
    keep_checkpoints: Count = 3
    """How many of the newest checkpoints stay, beside the best and the last good one."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    bc: BCConfig = field(default_factory=BCConfig)
    anneal: AnnealConfig = field(default_factory=AnnealConfig)
    gates: GatesConfig = field(default_factory=GatesConfig)
    promotion: PromotionConfig = field(default_factory=PromotionConfig)

    def __post_init__(self) -> None:
        check_settings(self)
        improper = [name for name in self.baselines if not name.isprintable() or name in ("", LEARNED, CLONE)]
        if improper or len(set(self.baselines)) != len(self.baselines):
            raise ConfigError(
                f"`baselines` must be different printable names, not {LEARNED} or {CLONE}, got {self.baselines!r}"
            )
        if self.mode == "anneal" and (SCRIPTED not in self.baselines or zero_of(self.baselines) is None):
            raise ConfigError(
                f"mode `anneal` needs the baselines {SCRIPTED}, and {' or '.join(ZEROS)}, got {self.baselines!r}"
            )
        if self.anneal.min_ratio < self.ppo.min_ratio:
            raise ConfigError(
                f"`anneal.min_ratio` {self.anneal.min_ratio!r} must not be below `ppo.min_ratio` "
                f"{self.ppo.min_ratio!r}: such decisions are not trained on"
            )
