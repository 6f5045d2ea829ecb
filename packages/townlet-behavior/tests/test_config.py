import math

import pytest

from townlet_behavior import BridgeConfig, ConfigError
from townlet_behavior.config import clamped_ratio


def test_defaults_are_those_of_the_contract() -> None:
    config = BridgeConfig()
    assert (config.ratio, config.min_ratio, config.on_policy_error) == (0.0, 0.1, "raise")
    assert config.commitment.ticks == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"ratio": math.nan}, r"`ratio` must be a number in \[0, 1\], got nan"),
        ({"min_ratio": 0.0}, r"`min_ratio` must be in \(0, 1\], got 0.0"),
        ({"min_ratio": 1.1}, r"`min_ratio` must be in \(0, 1\], got 1.1"),
        ({"min_ratio": math.nan}, r"`min_ratio` must be in \(0, 1\], got nan"),
        ({"on_policy_error": "ignore"}, "`on_policy_error` must be 'raise' or 'script', got 'ignore'"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BridgeConfig(**setting)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(-0.5, 0.0), (0, 0.0), (0.25, 0.25), (1, 1.0), (3.0, 1.0), (-math.inf, 0.0), (math.inf, 1.0)],
)
def test_a_ratio_is_clamped(given: float, expected: float) -> None:
    clamped = clamped_ratio(given)
    assert isinstance(clamped, float)
    assert clamped == expected
