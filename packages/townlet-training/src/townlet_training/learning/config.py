"""The settings of PPO and of behavior cloning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from townlet_training.errors import ConfigError
from townlet_training.settings import Count, NotNegative, OpenShare, Positive, Ratio, Rows, Share, check_settings

ScheduleKind = Literal["constant", "linear"]
"""`linear`: from the start value down, to reach 0 just after the last update of a run."""

LabelKind = Literal["proposed", "executed"]
SplitUnit = Literal["episodes", "trajectories"]
RowOrder = Literal["source", "canonical"]
EpisodeLabelName = Literal["none", "success", "failure", "discard"]

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
    clip_range: OpenShare = 0.2
    """ε of the clipped surrogate, arXiv:1707.06347 eq. 7; in (0, 1)."""
    clip_schedule: ScheduleKind = "constant"
    """How a run changes `clip_range`."""
    value_loss_coef: NotNegative = 0.5
    entropy_coef: NotNegative = 0.01
    num_epochs: Annotated[int, Field(ge=1, le=64)] = 4
    """Passes over the batch."""
    minibatch_size: Rows | None = None
    """About how many rows one gradient step sees; not together with `num_minibatches`."""
    num_minibatches: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Gradient steps per pass; without it and `minibatch_size`, `DEFAULT_NUM_MINIBATCHES`."""
    gae_lambda: Share = 0.95
    """λ of the advantages, in [0, 1]."""
    discount: Share = 0.99
    """γ in [0, 1]."""
    max_grad_norm: Positive = 0.5
    """Gradients of a step are scaled down to this norm together."""
    value_clip: Ratio | None = None
    """Distance that a value may move in an update before its gradient ends; None: any."""
    normalize_advantages: bool = True
    """To mean 0 and deviation 1 over the policy rows of the batch."""
    target_kl: Positive | None = None
    """An update stops before the step at which the KL estimate exceeds 1.5 times this; None: never."""
    min_ratio: Ratio = 0.1
    """β_min in (0, 1]; 1/β_min bounds the weight of a step."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.minibatch_size is not None and self.num_minibatches is not None:
            raise ConfigError(f"`minibatch_size` and `num_minibatches` exclude each other: {self}")

    def minibatches_of(self, num_rows: int) -> int:
        """Return the number of minibatches of a batch of `num_rows`, at most `num_rows`."""
        if self.minibatch_size is not None:
            return math.ceil(num_rows / self.minibatch_size)
        return min(self.num_minibatches or DEFAULT_NUM_MINIBATCHES, num_rows)


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
    labels: LabelKind = "proposed"
    """`proposed`: the script's proposals, and demonstrations; `executed`: every action that was carried out."""
    use_masks: bool = True
    """Whether recorded masks of legal actions drop labels and bound the policy's distribution."""
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
    def memory_budget_bytes(self) -> int:
        """The memory budget in bytes."""
        return self.memory_budget_mb << 20
