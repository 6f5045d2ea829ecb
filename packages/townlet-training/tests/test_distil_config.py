"""Settings of a distillation."""

from __future__ import annotations

import pytest

from townlet_training.distil.config import DistilConfig
from townlet_training.errors import ConfigError


def test_the_budget_is_that_of_all_rounds() -> None:
    assert DistilConfig(num_rounds=7, labels_per_round=30).num_labels == 210


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_rounds", 0), ("labels_per_round", 0), ("strategy", "best"), ("sharpness", 0.0), ("held_out_episodes", 1)],
)
def test_a_setting_out_of_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"`{name}` must be"):
        DistilConfig(**{name: value})  # type: ignore[arg-type]  # by name
