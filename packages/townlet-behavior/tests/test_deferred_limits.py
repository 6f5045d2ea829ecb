"""Budgets, breaker and cache, each with numbers that were worked out by hand."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from strategies import ints, through_a_file

from townlet_behavior import Budget, DeferredConfig, StateError
from townlet_behavior.deferred.limits import AnswerCache, Breaker, Charges, digests, texts


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_digests_go_there_and_back() -> None:
    shown = [sha("a"), sha("b")]
    assert digests(shown).shape == (2, 32)
    assert texts(digests(shown)) == shown
    assert digests([]).shape == (0, 32)


def charges_of(run: Budget, agent: Budget | None = None) -> Charges:
    agent = Budget() if agent is None else agent
    config = DeferredConfig(run_budget=run, agent_budget=agent, tokens_per_question=10, cost_per_question=0.5)
    return Charges(capacity=3, config=config)


def test_a_question_is_charged_its_worst_case_and_then_what_it_took() -> None:
    charges = charges_of(Budget(tokens=35))
    assert charges.room() == 3
    charges.charge(charges.worst, 1)
    charges.charge(charges.worst, 2)
    assert (charges.run, charges.room()) == ((2, 20, 10**9), 1)
    charges.charge((0, -8, 0), 1)  # took 2 tokens
    assert (charges.run, charges.room()) == ((2, 12, 10**9), 2)
    charges.charge((0, 40, 0), None)  # took 50, and its agent has left
    assert charges.room() == 0


def test_the_budget_of_an_agent_begins_anew_with_the_next_one() -> None:
    charges = charges_of(Budget(), Budget(calls=2, cost=0.9))
    everybody = np.arange(3)
    assert charges.has_room(everybody).tolist() == [True] * 3  # type: ignore[union-attr]
    charges.charge(charges.worst, 1)
    assert charges.has_room(everybody).tolist() == [True, False, True]  # type: ignore[union-attr]
    charges.charge((0, 0, -(10**9) // 5), 1)  # 0.3 instead of 0.5: 0.3 + 0.5 are within 0.9
    assert charges.has_room(ints(1)).tolist() == [True]  # type: ignore[union-attr]
    charges.charge(charges.worst, 1)
    charges.forget(ints(1))
    assert charges.has_room(ints(1)).tolist() == [True]  # type: ignore[union-attr]
    assert charges.run[0] == 2
    assert charges_of(Budget(calls=1)).has_room(everybody) is None


def test_charges_are_saved_and_refused_where_they_do_not_fit() -> None:
    charges, again = charges_of(Budget(calls=5)), charges_of(Budget(calls=5))
    charges.charge(charges.worst, 2)
    again.restore(through_a_file(charges.save_state()))
    assert (again.run, again.room()) == (charges.run, 4)
    with pytest.raises(StateError, match="`run` must be in"):
        again.restore(dict(charges.save_state()) | {"run": ints(-1, 0, 0)})
    with pytest.raises(StateError, match="arrays"):
        again.restore({})


def test_the_breaker_stops_after_failures_in_a_row_and_tries_one() -> None:
    breaker = Breaker(failures=2, ticks=5)
    assert not breaker.failed(1)
    breaker.succeeded()
    assert [breaker.failed(3), breaker.failed(4)] == [False, True]
    assert [breaker.room(9, tick) for tick in (4, 8, 9)] == [0, 0, 1]  # five ticks from 4 on
    assert breaker.room(0, 9) == 0
    breaker.begun(7)
    assert breaker.room(9, 9) == 0  # until the trial is over
    breaker.ended(7)
    assert breaker.failed(12)
    assert [breaker.room(9, tick) for tick in (16, 17)] == [0, 1]
    breaker.begun(8)
    breaker.ended(8)  # lost: neither good nor bad
    assert breaker.room(9, 17) == 1
    breaker.succeeded()
    assert breaker.room(9, 17) == 9


def test_the_breaker_is_saved() -> None:
    breaker, again = Breaker(failures=1, ticks=5), Breaker(failures=1, ticks=5)
    breaker.failed(3)
    breaker.begun(6)
    again.restore(through_a_file(breaker.save_state()))
    assert again.room(9, 8) == 0
    again.ended(6)
    assert again.room(9, 8) == 1
    with pytest.raises(StateError, match="`breaker` must be"):
        again.restore({"breaker": ints(1, 2)})


def cache_of(entries: int = 2) -> AnswerCache:
    return AnswerCache(entries=entries, num_actions=5)


def test_the_cache_drops_what_was_unused_for_longest() -> None:
    cache = cache_of()
    cache.put(sha("a"), 1)
    cache.put(sha("b"), 2)
    assert cache.get(sha("a")) == 1
    cache.put(sha("c"), 3)
    assert [cache.get(sha(text)) for text in "abc"] == [1, None, 3]
    cache.put(sha("a"), 4)
    assert cache.get(sha("a")) == 4
    none = cache_of(0)
    none.put(sha("a"), 1)
    assert none.get(sha("a")) is None


def test_the_cache_is_saved_in_order() -> None:
    cache, again = cache_of(), cache_of()
    cache.put(sha("a"), 1)
    cache.put(sha("b"), 2)
    cache.get(sha("a"))
    again.restore(through_a_file(cache.save_state()))
    again.put(sha("c"), 3)
    assert [again.get(sha(text)) for text in "abc"] == [1, None, 3]
    cache_of().restore(through_a_file(cache_of().save_state()))


@pytest.mark.parametrize(
    ("shown", "action", "problem"),
    [
        ("abc", [0, 1, 2], "`action` must have at most 2 entries, got 3"),
        ("aa", [0, 1], "every digest once"),
        ("a", [5], r"`action` must be in \[0, 4\], got 5"),
        ("ab", [1], "`shown` must be uint8"),
    ],
)
def test_a_state_of_no_cache_is_refused(shown: str, action: list[int], problem: str) -> None:
    cache = cache_of()
    cache.put(sha("z"), 3)
    with pytest.raises(StateError, match=problem):
        cache.restore({"shown": digests([sha(text) for text in shown]), "action": ints(*action)})
    assert cache.get(sha("z")) == 3
