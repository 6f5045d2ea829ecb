"""The settings of behavior cloning."""

from __future__ import annotations

from dataclasses import dataclass

from townlet_training.settings import Count, NotNegative, Positive, Rows, check_settings


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

    def __post_init__(self) -> None:
        check_settings(self)
