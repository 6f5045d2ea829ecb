"""The settings of a `DeferredController`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from ..commitment import CommitmentConfig
from ..errors import ConfigError
from .records import MAX_COST, MAX_TOKENS, nano_of

MAX_BATCH = 256
MAX_IN_FLIGHT = 256
_MAX_TICKS = 2**40
_MAX_COUNT = 2**60
_MAX_MONEY = 1e9


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Bounds that are never exceeded; None: no bound.

    Examples:
        >>> Budget(calls=100, cost=2.5)
        Budget(calls=100, tokens=None, cost=2.5)

    Raises:
        ConfigError: if a bound is negative or not finite.
    """

    calls: int | None = None
    """Questions handed to the mind, however they are batched."""
    tokens: int | None = None
    """See `DeferredConfig.tokens_per_question`."""
    cost: float | None = None
    """See `DeferredConfig.cost_per_question`."""

    def __post_init__(self) -> None:
        for name, number in (("calls", self.calls), ("tokens", self.tokens)):
            if number is not None:
                _require_integer(name, number, 0, _MAX_COUNT)
        if self.cost is not None and not 0.0 <= self.cost <= _MAX_MONEY:
            raise ConfigError(f"`cost` must be in [0, {_MAX_MONEY:g}], got {self.cost!r}")

    @property
    def is_bound(self) -> bool:
        """Whether there is any bound."""
        return (self.calls, self.tokens, self.cost) != (None, None, None)

    def limits(self) -> tuple[int, int, int]:
        """Return the bounds of calls, tokens and billionths of cost; very large numbers where there is none."""
        cost = _MAX_COUNT if self.cost is None else math.floor(self.cost * 1e9)
        return (
            _MAX_COUNT if self.calls is None else self.calls,
            _MAX_COUNT if self.tokens is None else self.tokens,
            cost,
        )


@dataclass(frozen=True, kw_only=True)
class DeferredConfig:
    """Settings of a `DeferredController`.

    What is bounded: a question is asked only while what all questions before it are charged, and the worst case of this
    one, are together within every budget. A question is charged its worst case when it is asked; what the mind reports
    takes the place of that. So calls are bounded strictly. Tokens and cost are as long as no report is above the stated
    worst case: one that is counts as an `overrun`, and is charged in full.

    Examples:
        >>> config = DeferredConfig(run_budget=Budget(tokens=100_000), tokens_per_question=800)
        >>> config.deadline_ticks, config.max_age_ticks, config.max_uses
        (50, 100, 1)

    Raises:
        ConfigError: if a setting is out of its range, or two contradict each other.
    """

    deadline_ticks: int = 50
    """An answer that comes more ticks after its question is dropped, and the agent may be asked again."""
    max_age_ticks: int = 100
    """An answer whose question was asked more ticks ago is not carried out."""
    max_uses: int | None = 1
    """Free decisions for which one answer is proposed; None: all until it is `max_age_ticks` old, or another comes."""
    every_ticks: int = 1
    """An agent is asked again after so many ticks at the earliest."""
    lead_ticks: int = 0
    """An agent that is bound to an option is asked when so many ticks of it are left, or fewer."""
    options: CommitmentConfig = field(default_factory=CommitmentConfig)
    """How long options bind: as of the bridge."""
    only_changed: bool = False
    """Whether an agent is asked only if what it is shown differs from what it was asked about last."""
    batch_size: int = 8
    """Most questions in one call of the mind."""
    in_flight: int = 2
    """Most calls of the mind at one time. A call that hangs keeps its place until it returns."""
    agent_budget: Budget = field(default_factory=Budget)
    """Of every agent, from its arrival until it leaves."""
    run_budget: Budget = field(default_factory=Budget)
    """Of all agents together."""
    tokens_per_question: int = 0
    """Worst case of the tokens of one question, which a budget of tokens needs."""
    cost_per_question: float = 0.0
    """Worst case of the cost of one question, which a budget of cost needs."""
    cache_entries: int = 1024
    """Answers that are kept for questions that were asked before; the one unused for longest is dropped. 0: none."""
    breaker_failures: int = 5
    """After so many failed calls in a row no question is asked for `breaker_ticks`, then a single one, on trial."""
    breaker_ticks: int = 500
    """See `breaker_failures`."""

    def __post_init__(self) -> None:
        _require_integer("deadline_ticks", self.deadline_ticks, 1, _MAX_TICKS)
        _require_integer("max_age_ticks", self.max_age_ticks, self.deadline_ticks, _MAX_TICKS, above="`deadline_ticks`")
        if self.max_uses is not None:
            _require_integer("max_uses", self.max_uses, 1, _MAX_TICKS)
        _require_integer("every_ticks", self.every_ticks, 1, _MAX_TICKS)
        _require_integer("lead_ticks", self.lead_ticks, 0, _MAX_TICKS)
        _require_integer("batch_size", self.batch_size, 1, MAX_BATCH)
        _require_integer("in_flight", self.in_flight, 1, MAX_IN_FLIGHT)
        _require_integer("tokens_per_question", self.tokens_per_question, 0, MAX_TOKENS)
        if not 0.0 <= self.cost_per_question <= MAX_COST:
            raise ConfigError(f"`cost_per_question` must be in [0, {MAX_COST:g}], got {self.cost_per_question!r}")
        _require_integer("cache_entries", self.cache_entries, 0, 2**20)
        _require_integer("breaker_failures", self.breaker_failures, 1, _MAX_COUNT)
        _require_integer("breaker_ticks", self.breaker_ticks, 1, _MAX_TICKS)
        for budget in (self.agent_budget, self.run_budget):
            if budget.tokens is not None and self.tokens_per_question == 0:
                raise ConfigError("a budget of `tokens` needs `tokens_per_question`, the worst case of one, got 0")
            if budget.cost is not None and self.cost_per_question == 0.0:
                raise ConfigError("a budget of `cost` needs `cost_per_question`, the worst case of one, got 0")

    def worst_case(self) -> tuple[int, int, int]:
        """Return the calls, tokens and billionths of cost that a question is charged when it is asked."""
        return 1, self.tokens_per_question, nano_of(self.cost_per_question)

    def document(self) -> dict[str, Any]:
        """Return all settings as JSON, for the header of a log and a saved state."""
        ticks = self.options.ticks
        return asdict(self) | {"options": ticks if isinstance(ticks, int) else dict(ticks)}


def _require_integer(name: str, number: object, low: int, high: int, *, above: str = "") -> None:
    if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
        least = f"{low} ({above})" if above else f"{low}"
        raise ConfigError(f"`{name}` must be an integer in [{least}, {high}], got {number!r}")
