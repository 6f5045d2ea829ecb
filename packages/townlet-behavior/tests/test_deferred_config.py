from typing import Any

import pytest

from townlet_behavior import Budget, CommitmentConfig, ConfigError, DeferredConfig


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"deadline_ticks": 0}, r"`deadline_ticks` must be an integer in \[1, .*\], got 0"),
        ({"deadline_ticks": 2.0}, "`deadline_ticks` must be an integer in .*, got 2.0"),
        (
            {"deadline_ticks": 9, "max_age_ticks": 8},
            r"`max_age_ticks` must be .* \[9 \(`deadline_ticks`\), .* 8",
        ),
        ({"max_uses": 0}, "`max_uses` must be"),
        ({"every_ticks": 0}, "`every_ticks` must be"),
        ({"lead_ticks": -1}, "`lead_ticks` must be"),
        ({"batch_size": 257}, r"`batch_size` must be an integer in \[1, 256\], got 257"),
        ({"in_flight": True}, "`in_flight` must be an integer in .*, got True"),
        ({"cache_entries": -1}, "`cache_entries` must be"),
        ({"breaker_failures": 0}, "`breaker_failures` must be"),
        ({"breaker_ticks": 0}, "`breaker_ticks` must be"),
        ({"tokens_per_question": -1}, "`tokens_per_question` must be"),
        ({"cost_per_question": float("nan")}, "`cost_per_question` must be in .*, got nan"),
        ({"run_budget": Budget(tokens=9)}, "a budget of `tokens` needs `tokens_per_question`, .*, got 0"),
        ({"agent_budget": Budget(cost=9.0)}, "a budget of `cost` needs `cost_per_question`, .*, got 0"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        DeferredConfig(**settings)


@pytest.mark.parametrize("bounds", [{"calls": -1}, {"tokens": 1.0}, {"cost": -0.5}, {"cost": float("inf")}])
def test_a_bound_out_of_range_is_named(bounds: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(bounds))}` must be"):
        Budget(**bounds)


def test_limits_and_worst_cases_are_whole_numbers() -> None:
    calls, tokens, nano = Budget(calls=3, cost=0.1234567891).limits()
    assert (calls, tokens > 10**17, nano) == (3, True, 123_456_789)  # a budget is rounded down,
    assert DeferredConfig(cost_per_question=0.1234567891, tokens_per_question=5).worst_case() == (1, 5, 123_456_790)
    assert Budget(cost=0.0).is_bound and not Budget().is_bound


def test_the_document_holds_every_setting() -> None:
    config = DeferredConfig(options=CommitmentConfig(ticks={"wait": 2}), run_budget=Budget(calls=1))
    document = config.document()
    assert list(document) == list(DeferredConfig.__dataclass_fields__)
    assert document["options"] == {"wait": 2}
    assert document["run_budget"] == {"calls": 1, "tokens": None, "cost": None}
    assert DeferredConfig(options=CommitmentConfig(ticks=4)).document()["options"] == 4
