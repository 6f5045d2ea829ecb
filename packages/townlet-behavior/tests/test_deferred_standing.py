"""What is saved of a slow mind comes back as it was, or is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from minds import CAPACITY
from strategies import VOCABULARY, ints, through_a_file

from townlet_behavior import DeferredConfig, StateError
from townlet_behavior.deferred.records import Failure, Reply, failed
from townlet_behavior.deferred.standing import OpenCall, Standing

CONFIG = DeferredConfig(batch_size=2, in_flight=2, deadline_ticks=3, max_age_ticks=3)
SHA = "ab" * 32
EAT = Reply(action="eat", failure=None, tokens=2, nano=0, note="")


def standing_of(config: DeferredConfig = CONFIG, capacity: int = CAPACITY) -> Standing:
    return Standing(VOCABULARY, capacity=capacity, config=config)


def ask(standing: Standing, *slots: int) -> OpenCall:
    return standing.begin_call([standing.asked(slot, SHA, agent=f"agent {slot}", world=0) for slot in slots])


def busy() -> Standing:
    """Two calls under way: one overdue, with an agent that left and a question that was answered; and one new."""
    standing = standing_of()
    first = ask(standing, 0, 1)
    standing.forget(ints(1))
    standing.end(first, first.asked[0], EAT)
    standing.tick = 3
    assert standing.give_up() == [first]
    ask(standing, 2)
    standing.tick = 4
    return standing


def test_all_of_it_comes_back() -> None:
    standing, again = busy(), standing_of()
    again.restore(through_a_file(standing.save_state()))
    assert (again.tick, again.next_call, again.num_answers) == (4, 2, 1)
    assert again.counts() == standing.counts()
    flags = [[(one.slot, one.life, one.ended) for one in call.asked] for call in again.open.values()]
    assert flags == [[(0, 0, True), (1, 0, False)], [(2, 0, False)]]
    assert [(call.number, call.tick, call.overdue) for call in again.open.values()] == [(0, 0, True), (1, 3, False)]
    first = again.open[0]
    assert not again.is_answer(first, first.asked[1], EAT)  # its agent has left, and it is late
    again.end(first, first.asked[1], EAT)
    assert list(again.open) == [1]
    assert (again.counts().gone, again.counts().late) == (1, 0)
    assert not np.shares_memory(again.action, standing.action)


def test_an_answer_at_its_deadline_is_in_time_and_one_tick_later_late() -> None:
    for waited, name in ((3, "answered"), (4, "late")):
        standing = standing_of()
        call = ask(standing, 0)
        standing.tick = waited
        assert standing.is_answer(call, call.asked[0], EAT) is (name == "answered")
        standing.end(call, call.asked[0], EAT)
        assert getattr(standing.counts(), name) == 1


def test_a_call_that_was_lost_says_nothing_of_the_mind() -> None:
    standing = standing_of(DeferredConfig(breaker_failures=1))
    call = ask(standing, 0)
    standing.end(call, call.asked[0], failed(Failure.LOST))
    assert (standing.room() > 1, standing.counts().opened, standing.counts().lost) == (True, 0, 1)
    call = ask(standing, 0)
    standing.end(call, call.asked[0], failed(Failure.RAISED))
    assert (standing.room(), standing.counts().opened) == (0, 1)


def test_one_good_answer_makes_a_good_call() -> None:
    standing = standing_of(DeferredConfig(breaker_failures=1))
    call = ask(standing, 0, 1)
    standing.end(call, call.asked[0], failed(Failure.UNKNOWN_ACTION))
    standing.end(call, call.asked[1], EAT)
    assert standing.room() > 1


WRONG: dict[str, Any] = {
    "slots/action": np.full(CAPACITY, len(VOCABULARY)),
    "slots/seen_at": np.zeros(CAPACITY, np.int32),
    "slots/pending": np.zeros(CAPACITY + 1, np.bool_),
    "slots/shown": np.zeros((CAPACITY, 31), np.uint8),
    "calls/call": ints(0, 0, 2),
    "calls/call_tick": ints(0, 0, 5),
    "calls/slot": ints(0, 1, CAPACITY),
    "calls/life": ints(0, -1, 0),
    "calls/ended": ints(0, 0, 0),
    "calls/shown": np.zeros((2, 32), np.uint8),
    "counts/ticks": ints(-1, 2),
    "counts/counts": ints(0),
    "charges/run": ints(-1, 0, 0),
    "breaker/breaker": ints(0),
    "cache/action": ints(7),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_state_that_cannot_be_is_named(name: str) -> None:
    state = busy().save_state()
    assert name in state
    with pytest.raises(StateError, match=f"`{name.split('/')[1]}` must"):
        standing_of().restore(dict(state) | {name: WRONG[name]})


def test_calls_in_another_order_are_refused() -> None:
    state = dict(busy().save_state())
    for order in ([2, 0, 1], [0, 2, 1]):
        mixed = {name: array[order] if name.startswith("calls/") else array for name, array in state.items()}
        with pytest.raises(StateError, match="`call` must be in ascending order"):
            standing_of().restore(mixed)


def test_more_questions_than_can_be_under_way_are_refused() -> None:
    state = dict(busy().save_state())
    calls = {name: np.repeat(array, 2, axis=0) for name, array in state.items() if name.startswith("calls/")}
    with pytest.raises(StateError, match="`call` must have at most 4 questions, got 6"):
        standing_of().restore(state | calls)


def test_a_state_of_another_capacity_is_refused() -> None:
    with pytest.raises(StateError, match=r"`action` must be int64 \(5,\), got int64 \(4,\)"):
        standing_of(capacity=5).restore(busy().save_state())
    with pytest.raises(StateError, match="arrays"):
        standing_of().restore({})
