"""Settings of a network that contradict each other or are out of range are refused; sizes are as stated."""

from __future__ import annotations

import pytest

from townlet_training.errors import ConfigError
from townlet_training.network.config import NetworkConfig


@pytest.mark.parametrize(
    ("memory", "size", "expected"),
    [("none", None, 0), ("frames", None, 4), ("gru", None, 128), ("frames", 2, 2), ("gru", 7, 7)],
)
def test_what_is_remembered(memory: str, size: int | None, expected: int) -> None:
    assert NetworkConfig(memory=memory, memory_size=size).num_remembered == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"memory": "lstm"}, "`memory` must be 'none', 'frames' or 'gru', got 'lstm'"),
        ({"memory": "frames", "memory_size": 1}, "`memory_size` must be greater than or equal to 2, got 1"),
        ({"memory_size": 8}, "`memory_size` is of a memory, got 8 with `memory` none"),
        ({"encoders": {"map": "cnn"}}, "`encoders` must be 'flat', 'conv' or 'attention'"),
        ({"trunk": "common"}, "`trunk` must be 'separate' or 'shared'"),
        ({"critic_hidden_sizes": ()}, "`critic_hidden_sizes`"),
        ({"initialization": "zero"}, "`initialization` must be 'orthogonal' or 'uniform'"),
        ({"policy_head_gain": 0.0}, "`policy_head_gain` must be greater than 0"),
        ({"distribution": "beta"}, "`distribution` must be 'clipped' or 'squashed'"),
        ({"initial_log_std": -3.0}, "`initial_log_std` must be greater than -3"),
        ({"normalize_observations": "batch"}, "`normalize_observations` must be 'frozen', 'running' or 'none'"),
    ],
)
def test_settings_that_make_no_network_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NetworkConfig(**settings)  # type: ignore[arg-type]  # the refusal is what is tested


def test_settings_follow_no_mapping_that_changes() -> None:
    encoders = {"map": "conv"}
    config = NetworkConfig(encoders=encoders)  # type: ignore[arg-type]
    encoders["map"] = "flat"
    assert config.encoders == {"map": "conv"}
