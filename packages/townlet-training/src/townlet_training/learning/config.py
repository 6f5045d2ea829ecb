"""The settings of PPO and of behavior cloning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from townlet_training.errors import ConfigError
from townlet_training.learning.update import HIGHEST_RATE, LOWEST_RATE
from townlet_training.settings import (
    Count,
    NotNegative,
    OpenShare,
    Positive,
    Ratio,
    Rows,
    Share,
    Ticks,
    check_settings,
)

ScheduleKind = Literal["constant", "linear", "cosine"]
"""How a value changes over a run: from its start to its end, which is reached just after the last update. `linear`: in
equal steps; `cosine`: along half a cosine (Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5)."""

LabelKind = Literal["proposed", "executed"]
SplitUnit = Literal["episodes", "trajectories"]
RowOrder = Literal["source", "canonical"]
EpisodeLabelName = Literal["none", "success", "failure", "discard"]
AdvantageNormalization = Literal["batch", "minibatch", "none"]
ClassWeights = Literal["none", "balanced"]
Device = Literal["auto", "cpu", "cuda", "mps"]
"""Where a learner computes; `auto`: cuda, else mps, else cpu."""

LabelSource = Literal["scripted", "learned", "external"]

DEFAULT_NUM_MINIBATCHES = 4


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Settings of one update, in which values have the unit of the network's `value_scale`, not that of the rewards.

    Examples:
        >>> from townlet_training import PPOConfig
        >>> config = PPOConfig(learning_rate=1e-3, minibatch_size=64)
        >>> config.minibatches_of(1000), config.clip_range
        (16, 0.2)
        >>> PPOConfig(clip_range=2.0)
        Traceback (most recent call last):
        townlet_training.errors.ConfigError: `clip_range` must be less than 1, got 2.0
    """

    learning_rate: Positive = 3e-4
    """Of Adam; above 0."""
    learning_rate_schedule: ScheduleKind = "linear"
    """How a run changes the learning rate; a learner alone takes it as it is."""
    learning_rate_end: NotNegative = 0.0
    """What it reaches at the end of a run, unless it is constant."""
    critic_learning_rate: Positive | None = None
    """Of the critic's own weights; a schedule changes it in proportion. None: the learning rate."""
    kl_target_lr: Positive | None = None
    """KL divergence of one update that the learning rate is adapted to: × 1.5 below a half of it, ÷ 1.5 above twice of
    it, within 1e-6 to 1e-2; a schedule goes on beneath. None: it is not adapted."""
    adam_eps: Positive = 1e-5
    """ε of Adam; 1e-5 since OpenAI baselines (Huang et al. 2022, "The 37 implementation details of PPO", detail 3)."""
    clip_range: OpenShare = 0.2
    """ε of the clipped surrogate, arXiv:1707.06347 eq. 7; in (0, 1)."""
    clip_schedule: ScheduleKind = "constant"
    """How a run changes `clip_range`."""
    clip_range_end: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """What it reaches at the end of a run, unless it is constant."""
    value_loss_coef: NotNegative = 0.5
    entropy_coef: NotNegative = 0.01
    entropy_schedule: ScheduleKind = "constant"
    """How a run changes `entropy_coef`."""
    entropy_coef_end: NotNegative = 0.0
    """What it reaches at the end of a run, unless it is constant."""
    num_epochs: Annotated[int, Field(ge=1, le=64)] = 4
    """Passes over the batch."""
    minibatch_size: Rows | None = None
    """About how many rows one gradient step sees; not together with `num_minibatches`."""
    num_minibatches: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Gradient steps per pass; without it and `minibatch_size`, `DEFAULT_NUM_MINIBATCHES`."""
    gae_lambda: Share = 0.95
    """λ of the advantages, in [0, 1]."""
    lambda_schedule: ScheduleKind = "constant"
    """How a run changes `gae_lambda`."""
    gae_lambda_end: Share = 0.95
    """What it reaches at the end of a run, unless it is constant."""
    discount: Share = 0.99
    """γ in [0, 1]."""
    max_grad_norm: Positive = 0.5
    """Gradients of a step are scaled down to this norm together."""
    value_clip: Ratio | None = None
    """Distance that a value may move in an update before its gradient ends; None: any."""
    normalize_advantages: AdvantageNormalization | bool = "batch"
    """To mean 0 and deviation 1 over the policy rows of the batch, or of each minibatch. True means `batch`, False
    `none`."""
    target_kl: Positive | None = None
    """An update stops before the step at which the KL estimate exceeds 1.5 times this; None: never."""
    min_ratio: Ratio = 0.1
    """β_min in (0, 1]; 1/β_min bounds the weight of a step."""
    sequence_length: Ticks | None = None
    """Ticks of a trajectory that a network with memory learns from at once: gradients reach no further back. None: all
    of a trajectory."""

    def __post_init__(self) -> None:
        check_settings(self)
        if isinstance(self.normalize_advantages, bool):
            object.__setattr__(self, "normalize_advantages", "batch" if self.normalize_advantages else "none")
        if self.kl_target_lr is not None and not LOWEST_RATE <= self.learning_rate <= HIGHEST_RATE:
            raise ConfigError(
                f"`learning_rate` must be in [{LOWEST_RATE:g}, {HIGHEST_RATE:g}] where `kl_target_lr` adapts it, "
                f"got {self.learning_rate!r}"
            )
        if self.minibatch_size is not None and self.num_minibatches is not None:
            raise ConfigError(f"`minibatch_size` and `num_minibatches` exclude each other: {self}")

    def minibatches_of(self, num_rows: int) -> int:
        """Return the number of minibatches of a batch of `num_rows`, at most `num_rows`."""
        if self.minibatch_size is not None:
            return math.ceil(num_rows / self.minibatch_size)
        return min(self.num_minibatches or DEFAULT_NUM_MINIBATCHES, num_rows)


@dataclass(frozen=True, kw_only=True)
class LabelFilter:
    """Which labels are learned from; a row must pass every one of these. None: any."""

    sources: tuple[LabelSource, ...] | None = None
    """Who decided about the row (column `source`)."""
    proposers: tuple[str, ...] | None = None
    """Names of those whose proposals are labels (column `proposer`). It does not ask after labels that are nobody's
    proposal: demonstrations, and executed actions of a policy or a possessor."""
    demonstrated: bool | None = None
    """Whether the row is a demonstration."""
    episode_labels: tuple[EpisodeLabelName, ...] | None = None
    """What was said of the episode of a trajectory; None: anything but `discard`. Single steps do not know it: of a
    record that is streamed, the trajectories are left out before (`view_of`)."""

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class BCConfig:
    """One cloning."""

    learning_rate: Positive = 1e-3
    """Of Adam; above 0."""
    batch_size: Rows = 64
    """Labels per gradient step."""
    num_epochs: Count = 20
    """Passes over the labels; the weights kept are those of the best of them."""
    weight_decay: NotNegative = 0.0
    """Decoupled, per step: the weights shrink by learning rate × this."""
    input_noise: NotNegative = 0.0
    """Deviation of Gaussian noise on the encoded observations of a gradient step, in their own deviations; it helps
    where there are few labels."""
    class_weights: ClassWeights = "none"
    """`balanced`: rare actions weigh as much as frequent ones while they are learned, and the policy has the shares of
    the labels all the same."""
    sequence_length: Ticks | None = None
    """As of `PPOConfig`."""
    labels: LabelKind = "proposed"
    """`proposed`: the script's proposals, and demonstrations; `executed`: every action that was carried out."""
    use_masks: bool = True
    """Whether recorded masks of legal actions drop labels and bound the policy's distribution."""
    sources: tuple[LabelSource, ...] | None = None
    """Who must have decided about a row for its label to be learned; None: anybody."""
    proposers: tuple[str, ...] | None = None
    """Names of those whose proposals are learned, such as that of a slow mind and not its fallback; None: everybody's.
    Demonstrations are nobody's proposal, and are learned in any case."""
    demonstrated: bool | None = None
    """True: demonstrations alone; False: everything else; None: both."""
    split: SplitUnit = "episodes"
    """The unit that is learned from, or held out, as a whole; agents of one episode see each other."""
    row_order: RowOrder = "source"
    """Of recorded steps, before they are shuffled. `canonical`: trajectories by world, episode, first tick and agent,
    so that the same steps in another form, in other files, are learned from alike."""
    episode_labels: tuple[EpisodeLabelName, ...] | None = None
    """Recorded episodes that are learned from, by what was said of them; without it all but those to `discard`."""
    memory_budget_mb: Annotated[int, Field(ge=1, le=10**6)] = 512
    """Megabytes (2**20 bytes) of recorded steps that are held at a time."""

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def label_filter(self) -> LabelFilter:
        """Which labels are learned."""
        return LabelFilter(
            sources=self.sources,
            proposers=self.proposers,
            demonstrated=self.demonstrated,
            episode_labels=self.episode_labels,
        )

    @property
    def memory_budget_bytes(self) -> int:
        """The memory budget in bytes."""
        return self.memory_budget_mb << 20
