from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from strategies import EAT, NUM_ACTIONS, WORK, ints, through_a_file

from townlet_behavior import StateError, TicketEnd
from townlet_behavior.tickets import KEPT_ENDS, InputQueues


def queues_of() -> InputQueues:
    return InputQueues(capacity=4, num_actions=NUM_ACTIONS)


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
        queues.end_first(2, TicketEnd("executed", 7))
        assert answer.result(timeout=60) == ("executed", 7)
    assert ticket.wait() == ticket.end == TicketEnd(reason="executed", tick=7)
    assert repr(ticket) == "Ticket(number=0, slot=2, action=2, end=TicketEnd(reason='executed', tick=7))"


def test_the_first_input_of_each_slot_is_shown() -> None:
    queues = queues_of()
    for slot, action in ((3, EAT), (3, WORK), (0, WORK)):
        queues.accept(slot, action, None)
    assert queues.first.tolist() == [WORK, -1, -1, EAT]
    queues.end_first(3, TicketEnd("executed", 0))
    assert queues.first.tolist() == [WORK, -1, -1, WORK]
    queues.end_all(3, "released")
    queues.end_first(0, TicketEnd("vetoed", 0))
    assert queues.first.tolist() == [-1, -1, -1, -1]
    assert [ticket.end for ticket in queues.take_ended()] == [("executed", 0), ("released", None), ("vetoed", 0)]


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
    queues.end_first(1, TicketEnd("executed", 0))
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
    assert restored.first.tolist() == [EAT, -1, EAT, -1]
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
