"""Every limit of `townlet watch`, from both sides of its value, on the records that it is for."""

import pytest

from townlet_runtime.cli.reports.limits import HEALTH_LIMITS, PPO_LIMITS, Limit, breach, unjudged

ANNEAL = {"anneal_stage": "ppo", "anneal_loss_baseline": 2.0, "anneal_queue_baseline": 20.0}
NONE: dict[str, float | None] = {limit.option: None for limit in (*PPO_LIMITS, *HEALTH_LIMITS)}


def one(option: str) -> Limit:
    return next(limit for limit in (*PPO_LIMITS, *HEALTH_LIMITS) if limit.option == option)


@pytest.mark.parametrize("option", sorted(limit.option for limit in PPO_LIMITS if limit.baseline is None))
def test_a_limit_is_broken_beyond_its_value_and_not_at_it(option: str) -> None:
    limit = one(option)
    worse = 0.25 if limit.upper else -0.25
    record = {limit.key: 5.0, "data_mode": "rollout", "anneal_stage": "ppo"}
    assert breach(record, PPO_LIMITS, {option: 5.0}) is None
    word = "exceeds" if limit.upper else "below"
    found = breach({**record, limit.key: 5.0 + worse}, PPO_LIMITS, {option: 5.0})
    assert found == f"{limit.key} {5.0 + worse:.{limit.digits}f} {word} threshold 5.0"


@pytest.mark.parametrize("option", [limit.option for limit in HEALTH_LIMITS])
def test_health_has_upper_limits(option: str) -> None:
    key = one(option).key
    assert breach({key: 3}, HEALTH_LIMITS, {option: 3}) is None
    found = breach({key: 4}, HEALTH_LIMITS, {option: 3})
    assert found == f"{key} {'4.00' if key == 'duration_ms' else '4'} exceeds threshold 3"


@pytest.mark.parametrize("limit", [each for each in PPO_LIMITS if each.rollout], ids=lambda limit: limit.option)
def test_limits_of_events_are_for_rollouts_alone(limit: Limit) -> None:
    record = {limit.key: 9.0 if limit.upper else 1.0, "anneal_stage": "ppo"}
    bounds = {limit.option: 5.0}
    assert breach({**record, "data_mode": "rollout"}, PPO_LIMITS, bounds) is not None
    for mode in ("replay", "mixed"):
        assert breach({**record, "data_mode": mode}, PPO_LIMITS, bounds) is None


def test_a_loss_may_fall_but_not_rise_above_its_baseline_by_more_than_a_tenth() -> None:
    bounds = {"anneal_loss_max": 0.1}
    for loss in (0.0, 1.0, 2.0, 2.19):
        assert breach({**ANNEAL, "loss_total": loss}, PPO_LIMITS, bounds) is None
    found = breach({**ANNEAL, "loss_total": 2.3}, PPO_LIMITS, bounds)
    assert found == "loss_total 2.300000 drifts beyond +10.0% of baseline 2.000000"
    # A tenth of a baseline below 0 is a tenth of its size.
    below = {**ANNEAL, "anneal_loss_baseline": -2.0}
    assert breach({**below, "loss_total": -1.81}, PPO_LIMITS, bounds) is None
    assert breach({**below, "loss_total": -1.7}, PPO_LIMITS, bounds) is not None
    assert breach({"loss_total": 9.0, "anneal_loss_baseline": 2.0}, PPO_LIMITS, bounds) is None  # no anneal


def test_without_a_value_conflicts_may_fall_by_15_per_cent_of_their_baseline() -> None:
    record = {**ANNEAL, "data_mode": "rollout"}
    assert breach({**record, "queue_conflict_events": 17.0}, PPO_LIMITS, NONE) is None
    found = breach({**record, "queue_conflict_events": 16.0}, PPO_LIMITS, NONE)
    assert found == "anneal queue_conflict_events 16.0 below threshold 17.0"
    assert breach({**record, "queue_conflict_events": 16.0}, PPO_LIMITS, {"anneal_queue_min": 3.0}) is None
    assert breach({**record, "queue_conflict_events": 0.0, "anneal_queue_baseline": None}, PPO_LIMITS, NONE) is None


def test_the_first_of_several_broken_limits_is_told() -> None:
    record = {"kl_divergence": 1.0, "loss_total": 1.0}
    assert breach(record, PPO_LIMITS, {"loss_threshold": 0.5, "kl_threshold": 0.5}) == (
        "kl_divergence 1.000000 exceeds threshold 0.5"
    )


def test_a_limit_that_was_given_and_has_no_number_is_told_of() -> None:
    bounds = {**NONE, "reward_corr_threshold": 0.1, "chat_quality_min": 0.2, "anneal_bc_min": 0.9}
    record = {"reward_advantage_corr": None, "data_mode": "rollout", "anneal_stage": "ppo"}
    assert breach(record, PPO_LIMITS, bounds) is None
    # The default of `anneal_bc_min` was not asked for.
    assert [each.key for each in unjudged(record, PPO_LIMITS, bounds)] == ["reward_advantage_corr", "chat_quality_mean"]
    assert list(unjudged({**record, "reward_advantage_corr": 0.3, "data_mode": "replay"}, PPO_LIMITS, bounds)) == []
