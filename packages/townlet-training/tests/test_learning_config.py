"""The settings of an update."""

from __future__ import annotations

import math

import pytest

from townlet_training.errors import (
    ConfigError,
)
from townlet_training.learning.config import BCConfig, PPOConfig


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": -1.0},
        {"clip_range": 1.0},
        {"clip_schedule": "square"},
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
        {"critic_learning_rate": 0.0},
        {"kl_target_lr": -0.01},
        {"adam_eps": 0.0},
        {"entropy_schedule": "square"},
        {"entropy_coef_end": -1.0},
        {"lambda_schedule": "square"},
        {"gae_lambda_end": 1.5},
        {"normalize_advantages": "rows"},
        {"sequence_length": 0},
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


def test_normalization_of_advantages_has_the_names_of_before() -> None:
    assert PPOConfig().normalize_advantages == "batch"
    assert PPOConfig(normalize_advantages=True) == PPOConfig(normalize_advantages="batch") == PPOConfig()
    assert PPOConfig(normalize_advantages=False) == PPOConfig(normalize_advantages="none") != PPOConfig()
    assert PPOConfig(normalize_advantages="minibatch").normalize_advantages == "minibatch"


def test_a_rate_that_the_divergence_adapts_begins_within_its_bounds() -> None:
    assert PPOConfig(learning_rate=0.5).learning_rate == 0.5
    assert PPOConfig(learning_rate=1e-2, kl_target_lr=0.01).kl_target_lr == 0.01
    for rate in (1.1e-2, 9e-7):
        with pytest.raises(ConfigError, match=r"`learning_rate` must be in \[1e-06, 0.01\] where `kl_target_lr`"):
            PPOConfig(learning_rate=rate, kl_target_lr=0.01)


@pytest.mark.parametrize("wrong", [{"class_weights": "rare"}, {"sequence_length": 0}])
def test_settings_of_a_cloning_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"`{next(iter(wrong))}` must be .*, got {next(iter(wrong.values()))!r}"):
        BCConfig(**wrong)  # type: ignore[arg-type]  # values by name
