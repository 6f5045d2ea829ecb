import math

import numpy as np
import pytest
from strategies import BOX, PARTS, VOCABULARY

from townlet_behavior import ActionSpec, BridgeConfig, CommitmentConfig, ConfigError, StateError
from townlet_behavior.config import Blend, Limits, clamped_ratio


def test_defaults_are_those_of_the_contract() -> None:
    config = BridgeConfig()
    assert (config.ratio, config.min_ratio, config.on_policy_error) == (0.0, 0.1, "raise")
    assert (config.commitment.ticks, config.blend) == (0, "mixture")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"ratio": math.nan}, r"`ratio` must be a number in \[0, 1\], got nan"),
        ({"min_ratio": 0.0}, r"`min_ratio` must be in \(0, 1\], got 0.0"),
        ({"min_ratio": 1.1}, r"`min_ratio` must be in \(0, 1\], got 1.1"),
        ({"min_ratio": math.nan}, r"`min_ratio` must be in \(0, 1\], got nan"),
        ({"blend": "both"}, "`blend` must be 'mixture' or 'switch', got 'both'"),
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


NO_DENSITY = "because the mixture of a script and a policy that draws numbers has no density"


@pytest.mark.parametrize(
    ("actions", "setting", "message"),
    [
        (BOX, {"ratio": 0.5}, f"`ratio` must be 0 or 1, got 0.5, {NO_DENSITY}.*blend='switch'"),
        (BOX, {"handover_ticks": 2, "ratio": 1.0}, f"`handover_ticks` must be 0, got 2, {NO_DENSITY}"),
        (BOX, {"temperature": 2.0}, "`temperature` must be 1 for Box actions, got 2.0"),
        (BOX, {"delay_ticks": 3}, "`delay_ticks` must be 0 for Box actions, got 3"),
        (PARTS, {"delay_ticks": 3}, "`delay_ticks` must be 0 for MultiDiscrete actions, got 3"),
        (PARTS, {"commitment": CommitmentConfig(ticks=2)}, "`commitment` must bind no MultiDiscrete action"),
        (BOX, {"commitment": CommitmentConfig(ticks={"wait": 1, "go": 2})}, "`commitment` must bind no Box action"),
    ],
)
def test_settings_that_the_actions_do_not_allow_are_refused(
    actions: ActionSpec, setting: dict[str, float], message: str
) -> None:
    config = BridgeConfig(**setting)
    with pytest.raises(ConfigError, match=message):
        Limits(actions=actions, blend=config.blend).check_config(config)
    Limits(actions=VOCABULARY, blend=config.blend).check_config(config)


@pytest.mark.parametrize(
    ("actions", "setting"),
    [
        (BOX, {"ratio": 0.0}),
        (BOX, {"ratio": 1.0}),
        (BOX, {"ratio": 0.5, "blend": "switch", "handover_ticks": 2}),
        (BOX, {"commitment": CommitmentConfig(ticks=1)}),
        (PARTS, {"ratio": 0.5, "temperature": 0.5, "handover_ticks": 2, "commitment": CommitmentConfig(ticks={})}),
    ],
)
def test_settings_that_the_actions_allow_pass(actions: ActionSpec, setting: dict[str, float]) -> None:
    config = BridgeConfig(**setting)
    Limits(actions=actions, blend=config.blend).check_config(config)


@pytest.mark.parametrize(
    ("blend", "setting", "message"),
    [
        ("mixture", {"ratio": np.array([np.nan, 0.0, 0.25])}, "saved `ratio` must be 0 or 1"),
        ("switch", {"temperature": np.array([1.0, 2.0], np.float32)}, "saved `temperature` must be 1"),
        ("switch", {"delay_ticks": np.array([0, 2])}, "saved `delay_ticks` must be 0"),
    ],
)
def test_saved_settings_that_the_actions_do_not_allow_are_refused(
    blend: Blend, setting: dict[str, np.ndarray], message: str
) -> None:
    limits = Limits(actions=BOX, blend=blend)
    with pytest.raises(StateError, match=message):
        limits.check_saved(**setting)
    limits.check_saved(ratio=np.array([np.nan, 0.0, 1.0]), temperature=np.ones(2, np.float32), delay_ticks=np.zeros(2))
