"""The settings of a PPO update."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from townlet_training.errors import ConfigError

ScheduleKind = Literal["constant", "linear"]
"""`linear`: from the start value down, to reach 0 just after the last update of a run."""

DEFAULT_NUM_MINIBATCHES = 4


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Settings of one update, in which values have the unit of the network's `value_scale`, not that of the rewards.

    Example:
        >>> from townlet_training import PPOConfig
        >>> config = PPOConfig(learning_rate=1e-3, minibatch_size=64)
        >>> config.minibatches_of(1000), config.clip_range
        (16, 0.2)
        >>> PPOConfig(clip_range=2.0)
        Traceback (most recent call last):
        townlet_training.errors.ConfigError: `clip_range` must be in (0, 1), got 2.0
    """

    learning_rate: float = 3e-4
    """Of Adam; above 0."""
    learning_rate_schedule: ScheduleKind = "linear"
    """How a run changes the learning rate; a learner alone takes it as it is."""
    clip_range: float = 0.2
    """ε of the clipped surrogate, arXiv:1707.06347 eq. 7; in (0, 1)."""
    clip_schedule: ScheduleKind = "constant"
    """How a run changes `clip_range`."""
    value_loss_coef: float = 0.5
    entropy_coef: float = 0.01
    num_epochs: int = 4
    """Passes over the batch."""
    minibatch_size: int | None = None
    """About how many rows one gradient step sees; not together with `num_minibatches`."""
    num_minibatches: int | None = None
    """Gradient steps per pass; without it and `minibatch_size`, `DEFAULT_NUM_MINIBATCHES`."""
    gae_lambda: float = 0.95
    """λ of the advantages, in [0, 1]."""
    discount: float = 0.99
    """γ in [0, 1]."""
    max_grad_norm: float = 0.5
    """Gradients of a step are scaled down to this norm together."""
    value_clip: float | None = None
    """How far a value may move in an update before its loss stops pulling; None: as far as it likes."""
    normalize_advantages: bool = True
    """To mean 0 and deviation 1 over the policy rows of the batch."""
    target_kl: float | None = None
    """An update stops before the step at which the KL estimate exceeds 1.5 times this; None: never."""
    min_ratio: float = 0.1
    """β_min in (0, 1]; 1/β_min bounds the weight of a step."""

    def __post_init__(self) -> None:
        schedules, positive, fraction = get_args(ScheduleKind), "finite and above 0", "in [0, 1]"
        bounds = {
            "learning_rate": (0.0 < self.learning_rate < math.inf, positive),
            "learning_rate_schedule": (self.learning_rate_schedule in schedules, f"one of {schedules}"),
            "clip_range": (0.0 < self.clip_range < 1.0, "in (0, 1)"),
            "clip_schedule": (self.clip_schedule in schedules, f"one of {schedules}"),
            "value_loss_coef": (0.0 <= self.value_loss_coef < math.inf, "finite and at least 0"),
            "entropy_coef": (0.0 <= self.entropy_coef < math.inf, "finite and at least 0"),
            "num_epochs": (self.num_epochs >= 1, "at least 1"),
            "minibatch_size": (self.minibatch_size is None or self.minibatch_size >= 1, "at least 1 or None"),
            "num_minibatches": (self.num_minibatches is None or self.num_minibatches >= 1, "at least 1 or None"),
            "gae_lambda": (0.0 <= self.gae_lambda <= 1.0, fraction),
            "discount": (0.0 <= self.discount <= 1.0, fraction),
            "max_grad_norm": (0.0 < self.max_grad_norm < math.inf, positive),
            "value_clip": (self.value_clip is None or 0.0 < self.value_clip < math.inf, f"{positive}, or None"),
            "target_kl": (self.target_kl is None or 0.0 < self.target_kl < math.inf, f"{positive}, or None"),
            "min_ratio": (0.0 < self.min_ratio <= 1.0, "in (0, 1]"),
        }
        for name, (within, expected) in bounds.items():
            if not within:
                raise ConfigError(f"`{name}` must be {expected}, got {vars(self)[name]!r}")
        if self.minibatch_size is not None and self.num_minibatches is not None:
            raise ConfigError(f"`minibatch_size` and `num_minibatches` exclude each other: {self}")

    def minibatches_of(self, num_rows: int) -> int:
        """How many minibatches a batch of `num_rows` is cut into; never more than rows."""
        if self.minibatch_size is not None:
            return math.ceil(num_rows / self.minibatch_size)
        return min(self.num_minibatches or DEFAULT_NUM_MINIBATCHES, num_rows)
