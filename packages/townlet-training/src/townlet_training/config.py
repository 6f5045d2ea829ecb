"""The settings of a training run, checked once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from townlet_training.errors import ConfigError
from townlet_training.learning.config import BCConfig, Device, EpisodeLabelName, PPOConfig, ScheduleKind
from townlet_training.network.config import NetworkConfig
from townlet_training.settings import Count, NotNegative, OpenShare, Ratio, Rows, Share, Steps, Ticks, check_settings
from townlet_trajectory.evaluation.comparisons import MIN_EPISODES
from townlet_trajectory.evaluation.interfaces import HELD_OUT
from townlet_trajectory.evaluation.promotion import PromotionConfig
from townlet_trajectory.evaluation.results import CLONE, LEARNED, SCRIPTED, ZEROS, Acting, Mode, zero_of

Episodes = Annotated[int, Field(ge=MIN_EPISODES, le=10**6)]
"""Episodes of one evaluation: the intervals of fewer miss the mean far more often than they say."""
Coefficient = Annotated[float, Field(ge=0.0, le=100.0)]

ONE_GROUP = "agents"
"""Name of the agent group where there is only one."""


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
    """Ratio at the first update of the blend."""
    ratio_schedule: ScheduleKind = "linear"
    """How the ratio rises over the blend, from `min_ratio` to `end_ratio`, after which the policy decides alone."""
    end_ratio: Ratio = 1.0
    """What the ratio reaches at the end of the blend, unless it is constant."""
    adaptive_ratio: bool = False
    """Whether the ratio follows from comparisons instead of `ratio_schedule`: after every evaluation of the blend the
    policy alone and the script play fresh episodes, and the ratio rises or falls by a step where they are clear."""
    ratio_step: Ratio = 0.1
    """By which an adaptive ratio rises or falls."""
    ratio_margin: NotNegative = 0.05
    """How much worse than the script the policy may be for an adaptive ratio to rise, as a share of the script's gain
    over the zero of the scores."""
    ratio_episodes: Episodes = 20
    """Fresh episodes of each comparison of an adaptive ratio."""
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
        if self.end_ratio < self.min_ratio:
            raise ConfigError(f"`end_ratio` must be at least `min_ratio` {self.min_ratio!r}, got {self.end_ratio!r}")


@dataclass(frozen=True, kw_only=True)
class DaggerConfig:
    """Rounds of play whose states the script labels (Ross et al. 2011, arXiv:1011.0686). Used by mode `dagger`."""

    rounds: Annotated[int, Field(ge=1, le=999)] = 5
    """Rounds; the first is played by the script alone."""
    ticks: Ticks = 512
    """Ticks, in each world, of a round."""
    beta_schedule: Literal["first", "linear", "exponential"] = "first"
    """Share β of the script's decisions, 1 in the first round. `first`: 0 from the second on; `linear`: it falls to 0
    in the last; `exponential`: round i has `beta` to the power of i - 1."""
    beta: Share = 0.5
    """Of the schedule `exponential`."""
    anew: bool = True
    """Whether every round clones with a fresh network; else the policy of the round before learns on."""

    def __post_init__(self) -> None:
        check_settings(self)

    def script_share(self, number: int) -> float:
        """Return the share of the decisions that the script makes in round `number`, counted from 1."""
        if self.beta_schedule == "exponential":
            return self.beta ** (number - 1)
        if self.beta_schedule == "linear" and self.rounds > 1:
            return 1.0 - (number - 1) / (self.rounds - 1)
        return 1.0 if number == 1 else 0.0


@dataclass(frozen=True, kw_only=True)
class GatesConfig:
    """What a run must not fall below. Used by mode `anneal`; the accuracy also by the modes `bc` and `dagger`."""

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


_PAST = re.compile(r"past\((?:([A-Za-z0-9_][A-Za-z0-9_.-]{0,63}) *, *)?([0-9]{1,3})\)")


class PastSelf(NamedTuple):
    """An earlier self of a learning group."""

    group: str | None
    """None: the learning group with the same actions and observations."""
    updates: int
    """How many updates ago; 0: its present weights."""


@dataclass(frozen=True, kw_only=True)
class GroupConfig:
    """Who plays an agent group."""

    policy: Annotated[str, Field(min_length=1)] = "learn"
    """`learn`; `script`; `past(k)`, the weights that the learning group with the same actions and observations had k
    updates ago, or `past(GROUP, k)` where there are several; or a policy file or run directory, which stays as it is.
    Who does not learn decides alone, and is neither recorded nor exported."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.policy.partition("(")[0].strip() == "past" and _PAST.fullmatch(self.policy) is None:
            raise ConfigError(f"`policy` must be past(k) or past(GROUP, k), k from 0 to 999, got {self.policy!r}")

    @property
    def past(self) -> PastSelf | None:
        """Return the earlier self that it names; None where it names none."""
        found = _PAST.fullmatch(self.policy)
        return None if found is None else PastSelf(found[1], int(found[2]))

    @property
    def file(self) -> Path | None:
        """Return the policy file or run directory that it names; None where it names none."""
        named = self.policy not in ("learn", "script") and self.past is None
        return Path(self.policy) if named else None


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage of a schedule: a cloning, or updates of PPO."""

    cycle: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Stages are carried out in the order of their cycles; those of one cycle in the order in which they are listed."""
    mode: Literal["bc", "ppo"] = "ppo"
    epochs: Count = 1
    """Of `bc`, passes over the labels; of `ppo`, updates."""
    bc_weight: Share = 1.0
    """Of `ppo`: the coefficient of the cross-entropy towards the script, where its proposals are known. 0: none."""

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """The stages of a run that follows a schedule, and how it reads a record. Used by `ScheduledRun` alone."""

    stages: tuple[StageConfig, ...] = ()
    """Of mode `anneal`; empty: the run is one of `TrainingOrchestrator`."""
    epochs: Count = 1
    """Updates of the modes `replay`, `rollout` and `mixed`."""
    policy_blend: bool = False
    """Whether script and policy are blended in the rollouts of a schedule, from `anneal.min_ratio` in the first of them
    to the policy alone in the last; else the policy acts alone in all of them."""
    batch_size: Rows = 1
    """Trajectories of a record that are learned from at once."""
    shuffle: bool = False
    """Whether the trajectories of a record are in a new order in every update."""
    shuffle_seed: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None
    """Of these orders; None: one that follows from the seed of the run."""
    drop_last: bool = False
    """Whether a last batch of less than `batch_size` trajectories is left out."""
    episode_labels: tuple[EpisodeLabelName, ...] | None = None
    """Trajectories of the record that are learned from, by what was said of their episodes; without it all but those to
    `discard`."""
    streaming: bool = False
    """Whether the record stays on disk, and about one of its files is in memory at a time."""
    checkpoint_every: Count = 10
    """Updates between two checkpoints; there is one at the end of every stage too."""

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def in_order(self) -> tuple[StageConfig, ...]:
        """The stages in the order in which they are carried out."""
        return tuple(sorted(self.stages, key=lambda stage: stage.cycle))


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run."""

    mode: Mode = "anneal"
    """`anneal`: clone, then blend, then PPO alone, or the stages of `schedule`; `ppo`: PPO from a fresh network; `bc`:
    the clone alone; `dagger`: clones of states that the policy met, in rounds; `replay`: PPO on a record; `rollout`:
    PPO on rollouts; `mixed`: on both by turns."""
    seed: Annotated[int, Field(ge=0, lt=HELD_OUT)]
    """Everything random of the run follows from it; below 2**31, where the held-out worlds begin."""
    total_env_steps: Steps = 300_000
    """World steps to train on, those of cloning and warm-up included (one step: one world, one tick)."""
    num_envs: Annotated[int, Field(ge=1, le=10**4)] = 16
    """Worlds that are stepped side by side."""
    unit_worlds: Annotated[int, Field(ge=1, le=10**4)] | None = None
    """Worlds of a unit of collection, such that units divide `num_envs`; None: all are one unit. One worker at a time
    steps a unit. What is learned follows from this number, and never from that of the workers."""
    collect_ahead: Annotated[int, Field(ge=0, le=100)] = 0
    """Collections that workers may begin before the updates that come first are done. 0: the policy that acts is always
    the newest; else it is so many updates old, and V-trace corrects for it."""
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
    device: Device = "cpu"
    """Where the learners compute; experience is collected, and episodes are played, on the CPU."""
    num_learners: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that make each update of PPO together, each with a share of every minibatch, and with a GPU of its own
    on `cuda`. Another number rounds otherwise, so it is a setting of the run."""
    metrics: tuple[str, ...] = ()
    """Sinks of metrics beside the log, by the names that packages registered in `townlet.metrics`, such as
    `tensorboard`."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    bc: BCConfig = field(default_factory=BCConfig)
    anneal: AnnealConfig = field(default_factory=AnnealConfig)
    dagger: DaggerConfig = field(default_factory=DaggerConfig)
    gates: GatesConfig = field(default_factory=GatesConfig)
    promotion: PromotionConfig = field(default_factory=PromotionConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    groups: Mapping[str, GroupConfig] = field(default_factory=dict)
    """By agent group; those that are not named learn."""

    def __post_init__(self) -> None:
        check_settings(self)
        improper = [name for name in self.baselines if not name.isprintable() or name in ("", LEARNED, CLONE)]
        if improper or len(set(self.baselines)) != len(self.baselines):
            raise ConfigError(
                f"`baselines` must be different printable names, not {LEARNED} or {CLONE}, got {self.baselines!r}"
            )
        if (
            self.mode == "anneal"
            and not self.is_scheduled
            and (SCRIPTED not in self.baselines or zero_of(self.baselines) is None)
        ):
            raise ConfigError(
                f"mode `anneal` needs the baselines {SCRIPTED}, and {' or '.join(ZEROS)}, got {self.baselines!r}"
            )
        if self.num_envs % (self.unit_worlds or 1):
            raise ConfigError(f"`unit_worlds` must divide `num_envs` {self.num_envs}, got {self.unit_worlds}")
        if self.unit_worlds is not None and self.is_scheduled:
            raise ConfigError(
                f"a run that follows a schedule collects in one unit, got `unit_worlds` {self.unit_worlds}"
            )
        if self.collect_ahead and (self.is_scheduled or self.mode not in ("anneal", "ppo")):
            raise ConfigError(f"`collect_ahead` is for the modes anneal and ppo, got mode {self.mode}")
        if self.collect_ahead and self.anneal.adaptive_ratio:
            raise ConfigError("`collect_ahead` needs ratios that are known ahead, got `anneal.adaptive_ratio`")
        if self.num_learners > 1 and self.mode in ("bc", "dagger"):
            raise ConfigError(f"`num_learners` is for modes with updates of PPO, got mode {self.mode}")
        opposed = [group for group, one in self.groups.items() if one.policy != "learn"]
        if self.is_scheduled and opposed:
            raise ConfigError(f"all `groups` learn in a run that follows a schedule, got opponents of {opposed}")
        if self.anneal.min_ratio < self.ppo.min_ratio:
            raise ConfigError(
                f"`anneal.min_ratio` {self.anneal.min_ratio!r} must not be below `ppo.min_ratio` "
                f"{self.ppo.min_ratio!r}: such decisions are not trained on"
            )

    @property
    def adapts_ratio(self) -> bool:
        """Whether the ratio of the blend follows from comparisons."""
        return self.mode == "anneal" and self.anneal.adaptive_ratio and not self.is_scheduled

    @property
    def planned_env_steps(self) -> int:
        """World steps that the run is to have: `total_env_steps`, and in mode `dagger` those of all rounds."""
        return self.num_envs * self.dagger.rounds * self.dagger.ticks if self.mode == "dagger" else self.total_env_steps

    @property
    def is_scheduled(self) -> bool:
        """Whether the run is one of `ScheduledRun`, not of `TrainingOrchestrator`."""
        return self.mode in ("replay", "rollout", "mixed") or (self.mode == "anneal" and bool(self.schedule.stages))
