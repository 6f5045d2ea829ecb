from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from strategies import BOX, EAT, NUM_ACTIONS, WORK, ints, through_a_file

from townlet_behavior import StateError, TicketEnd
from townlet_behavior.forms import IndexForm, form_of
from townlet_behavior.possession.tickets import KEPT_ENDS, InputQueues


def queues_of() -> InputQueues:
    return InputQueues(capacity=4, form=IndexForm(NUM_ACTIONS))


def decide(queues: InputQueues, *, tick: int) -> None:
    queues.offer(np.arange(4))
    queues.use_up(np.arange(4), None, tick=tick)


def test_a_thread_waits_for_the_end_of_a_ticket() -> None:
    queues = queues_of()
    ticket = queues.accept(2, EAT, "ann")
    assert ticket.wait(timeout=0.001) is None
    waiting = Event()

    def wait() -> TicketEnd | None:
        waiting.set()
        return ticket.wait(timeout=60)

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(wait)
        assert waiting.wait(timeout=60)
        decide(queues, tick=7)
        assert answer.result(timeout=60) == ("executed", 7)
    assert ticket.wait() == ticket.end == TicketEnd(reason="executed", tick=7)
    assert repr(ticket) == "Ticket(number=0, slot=2, action=2, end=TicketEnd(reason='executed', tick=7))"


def test_the_first_input_of_each_slot_is_shown() -> None:
    queues = queues_of()
    for slot, action in ((3, EAT), (3, WORK), (0, WORK)):
        queues.accept(slot, action, None)
    assert queues.offer(np.arange(4)).tolist() == [WORK, -1, -1, EAT]
    assert queues.offer(ints(1, 3)).tolist() == [-1, EAT]
    queues.use_up(ints(1, 3), None, tick=5)
    assert queues.offer(np.arange(4)).tolist() == [WORK, -1, -1, WORK]
    queues.end_all(3, "released")
    queues.use_up(np.arange(4), np.array([True, False, False, False]), tick=6)
    assert queues.offer(np.arange(4)).tolist() == [-1, -1, -1, -1]
    assert [ticket.end for ticket in queues.take_ended()] == [("executed", 5), ("released", None), ("vetoed", 6)]


def test_an_input_that_comes_while_a_decision_is_made_is_for_the_next_one() -> None:
    queues = queues_of()
    first = queues.accept(1, EAT, None)
    assert queues.offer(ints(1, 2)).tolist() == [EAT, -1]
    late = queues.accept(2, WORK, None)
    queues.end_all(1, "superseded")
    instead = queues.accept(1, WORK, None)
    queues.use_up(ints(1, 2), None, tick=0)
    assert (first.end, late.end, instead.end) == (("superseded", None), None, None)
    decide(queues, tick=1)
    assert late.end == instead.end == ("executed", 1)


def test_a_decision_that_fails_uses_nothing_up() -> None:
    queues = queues_of()
    ticket = queues.accept(1, EAT, None)
    queues.offer(ints(1))
    assert queues.offer(ints(2)).tolist() == [-1]
    queues.use_up(ints(1, 2), None, tick=1)
    assert ticket.end is None


def test_of_very_many_ends_the_newest_are_kept_and_all_are_counted() -> None:
    queues = queues_of()
    for _ in range(KEPT_ENDS + 3):
        queues.accept(1, EAT, None)
        queues.end_all(1, "superseded")
    ended = queues.take_ended()
    assert [ended[0].number, ended[-1].number, len(ended)] == [3, KEPT_ENDS + 2, KEPT_ENDS]
    assert queues.counts()["superseded"] == queues.counts()["accepted"] == KEPT_ENDS + 3


def busy() -> InputQueues:
    """Number 0 was executed; 1 and 3 wait in slot 2, number 2 in slot 0."""
    queues = queues_of()
    for slot, action in ((1, WORK), (2, EAT), (0, EAT), (2, WORK)):
        queues.accept(slot, action, None)
    queues.offer(ints(1))
    queues.use_up(ints(1), None, tick=0)
    return queues


def test_inputs_that_wait_are_saved_by_value() -> None:
    restored = queues_of()
    state = through_a_file(busy().save_state())
    restored.check_state(state)
    restored.restore(state, np.array([None, None, "ann", None], np.object_))
    assert [(one.number, one.slot, one.action, one.owner) for one in restored.waiting()] == [
        (1, 2, EAT, "ann"),
        (3, 2, WORK, "ann"),
        (2, 0, EAT, None),
    ]
    assert restored.offer(np.arange(4)).tolist() == [EAT, -1, EAT, -1]
    assert restored.counts() == busy().counts()
    assert restored.accept(3, EAT, None).number == 4


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("slot", lambda a: a + 2, r"saved `slot` must be in \[0, 3\], got 4"),
        ("slot", lambda a: a[:1], r"saved `action` must be int64 \(1,\), got int64 \(3,\)"),
        ("action", lambda a: a + 3, r"saved `action` must be in \[0, 4\], got 5"),
        ("number", lambda a: a + 1, r"saved `number` must be in \[0, 3\], got 4"),
        ("number", lambda a: np.full_like(a, 1), r"saved `number` must be one for each input, got \[1, 1, 1\]"),
        ("number", lambda a: a[:1], r"saved `number` must be int64 \(3,\), got int64 \(1,\)"),
        ("accepted", lambda a: a + 1, "saved `accepted` must be 1 ends and 3 that wait, got 5"),
        ("ends", lambda a: a[:5], r"saved `ends` must be int64 \(6,\), got int64 \(5,\)"),
        ("ends", lambda a: -a, r"saved `ends` must be in \[0"),
    ],
)
def test_damaged_inputs_are_refused(name: str, change: Callable[[np.ndarray], np.ndarray], message: str) -> None:
    state = dict(busy().save_state())
    state[name] = np.asarray(change(state[name]))
    with pytest.raises(StateError, match=message):
        queues_of().check_state(state)


def test_more_inputs_than_may_wait_are_refused() -> None:
    queues = queues_of()
    for _ in range(64):
        queues.accept(1, EAT, None)
    state = {name: array.copy() for name, array in queues.save_state().items()}
    for name, more in (("slot", 1), ("action", EAT), ("number", 64)):
        state[name] = np.append(state[name], ints(more))
    state["accepted"] = np.array(65)
    with pytest.raises(StateError, match="saved `slot` must have at most 64 inputs for each agent, got 65"):
        queues_of().check_state(state)


def test_inputs_of_several_numbers_wait_and_are_saved_whole() -> None:
    queues = InputQueues(capacity=4, form=form_of(BOX))
    first, second = queues.accept(3, (0.5, 1.0), None), queues.accept(3, (-1.0, 2.0), None)
    nothing = [float("nan")] * 2
    np.testing.assert_array_equal(queues.offer(ints(1, 3)), np.array([nothing, [0.5, 1.0]], np.float32))
    state = through_a_file(queues.save_state())
    assert (state["action"].dtype, state["action"].tolist()) == (np.float32, [[0.5, 1.0], [-1.0, 2.0]])
    other = InputQueues(capacity=4, form=form_of(BOX))
    other.check_state(state)
    other.restore(state, np.full(4, None, np.object_))
    assert [ticket.action for ticket in other.waiting()] == [(0.5, 1.0), (-1.0, 2.0)]
    queues.use_up(ints(1, 3), None, tick=2)
    assert (first.end, second.end) == (("executed", 2), None)
    np.testing.assert_array_equal(queues.offer(ints(3)), np.array([[-1.0, 2.0]], np.float32))
    queues.end_all(3, "released")
    np.testing.assert_array_equal(queues.offer(ints(3)), np.array([nothing], np.float32))


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.array([[0.0, 2.5]], np.float32), r"saved `action` must be in .* got 2.5"),
        (np.array([[np.nan, 1.0]], np.float32), r"saved `action` must be in .* got nan"),
        (np.array([[0.0, 1.0]]), r"saved `action` must be float32 \(1, 2\), got float64 \(1, 2\)"),
        (np.array([0.0], np.float32), r"saved `action` must be float32 \(1, 2\), got float32 \(1,\)"),
    ],
)
def test_damaged_inputs_of_several_numbers_are_refused(action: np.ndarray, message: str) -> None:
    queues = InputQueues(capacity=4, form=form_of(BOX))
    queues.accept(3, (0.5, 1.0), None)
    with pytest.raises(StateError, match=message):
        queues.check_state({**queues.save_state(), "action": action})
