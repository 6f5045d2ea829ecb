"""The settings of an update."""

from __future__ import annotations

import math

import pytest

from townlet_training.errors import (
    ConfigError,
)
from townlet_training.learning.ppo import PPOConfig


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": -1.0},
        {"clip_range": 1.0},
        {"clip_schedule": "cosine"},
        {"learning_rate_schedule": ""},
        {"value_loss_coef": -0.1},
        {"entropy_coef": math.inf},
        {"num_epochs": 0},
        {"minibatch_size": 0},
        {"num_minibatches": 0},
        {"gae_lambda": 1.1},
        {"discount": 5.0},
        {"max_grad_norm": 0.0},
        {"value_clip": 0.0},
        {"target_kl": math.nan},
        {"min_ratio": 0.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=rf"`{next(iter(wrong))}` must be .*, got {next(iter(wrong.values()))!r}"):
        PPOConfig(**wrong)  # type: ignore[arg-type]  # ints and floats by name


def test_how_many_minibatches_there_are() -> None:
    assert PPOConfig().minibatches_of(100) == 4 and PPOConfig().minibatches_of(3) == 3
    assert PPOConfig(num_minibatches=7).minibatches_of(100) == 7
    assert PPOConfig(minibatch_size=30).minibatches_of(90) == 3 and PPOConfig(minibatch_size=30).minibatches_of(91) == 4
    with pytest.raises(ConfigError, match="`minibatch_size` and `num_minibatches` exclude each other"):
        PPOConfig(minibatch_size=2, num_minibatches=2)
