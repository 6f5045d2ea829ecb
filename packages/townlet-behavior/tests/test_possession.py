import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from strategies import (
    BOX,
    COOK,
    EAT,
    NORTH,
    NUM_ACTIONS,
    PARTS,
    VOCABULARY,
    WAIT,
    WORK,
    Script,
    bools,
    ints,
    through_a_file,
    view_of,
)
from twin import Twin

from townlet_behavior import (
    ActionVocabulary,
    BehaviorBridge,
    BridgeConfig,
    ConfigError,
    Possession,
    PossessionError,
    Ticket,
    UnknownActionError,
)


def possession_of(acquired: list[int] | None = None, *, handover_ticks: int = 0) -> Possession:
    """Of eight agents, all of them present."""
    told = [] if acquired is None else acquired
    possession = Possession(capacity=8, num_actions=NUM_ACTIONS, on_acquire=told.append, handover_ticks=handover_ticks)
    possession.present(np.arange(8))
    return possession


def decide(
    possession: Possession, *slots: int, tick: int, vetoed: tuple[bool, ...] | None = None
) -> tuple[list[bool], list[int]]:
    """What a bridge does in one tick."""
    with possession.lock:
        possessed, action = possession.wishes(ints(*slots), tick)
        possession.use_up(ints(*slots), tick, vetoed=None if vetoed is None else bools(*vetoed))
    return possessed.tolist(), action.tolist()


def test_nobody_is_possessed_at_first() -> None:
    possession = possession_of()
    assert decide(possession, 0, 3, tick=0) == ([False, False], [-1, -1])
    assert possession.slots().tolist() == []


def test_an_agent_is_taken_over_once_and_given_back_once() -> None:
    acquired: list[int] = []
    possession = possession_of(acquired)
    assert possession.acquire(3, tick=0)
    assert not possession.acquire(3, tick=0)
    assert not possession.acquire(3, tick=0, owner="else")
    assert (acquired, possession.is_possessed(3), possession.slots().tolist()) == ([3], True, [3])
    assert decide(possession, 0, 3, tick=0) == ([False, True], [-1, -1])
    assert possession.release(3)
    assert not possession.release(3)
    assert not possession.is_possessed(3)
    assert decide(possession, 0, 3, tick=1) == ([False, False], [-1, -1])


def test_a_fed_action_is_used_once() -> None:
    possession = possession_of()
    possession.acquire(3, tick=0)
    possession.feed(3, EAT)
    possession.feed(3, COOK)
    assert [decide(possession, 3, tick=tick) for tick in (0, 1)] == [([True], [COOK]), ([True], [-1])]


def test_asking_uses_nothing_up() -> None:
    possession = possession_of()
    possession.acquire(3, tick=0)
    possession.feed(3, EAT)
    assert [possession.wishes(ints(3), 0)[1].tolist() for _ in range(2)] == [[EAT], [EAT]]


def test_a_fed_action_waits_for_an_agent_that_is_not_there() -> None:
    possession = possession_of()
    possession.acquire(3, tick=0)
    possession.feed(3, EAT)
    decide(possession, 0, tick=0)
    assert decide(possession, 3, tick=1) == ([True], [EAT])


def test_a_lease_ends_by_itself() -> None:
    possession = possession_of()
    possession.acquire(2, tick=5, lease_ticks=2)
    possession.acquire(4, tick=5)
    assert [decide(possession, 2, 4, tick=tick)[0] for tick in (5, 6, 7)] == [[True, True], [True, True], [False, True]]


def test_after_its_last_decision_a_leased_agent_is_free_at_once() -> None:
    possession = possession_of()
    possession.acquire(2, tick=5, lease_ticks=1, owner="ann")
    possession.feed(2, EAT, owner="ann")
    assert decide(possession, 2, tick=5) == ([True], [EAT])
    assert not possession.is_possessed(2)
    assert possession.acquire(2, tick=6, owner="bob")
    assert decide(possession, 2, tick=6) == ([True], [-1])


def test_a_lease_runs_out_while_nobody_decides() -> None:
    possession = possession_of()
    possession.acquire(2, tick=5, lease_ticks=3)
    assert not possession.acquire(2, tick=7)
    assert possession.acquire(2, tick=8)


def test_an_action_fed_before_a_release_is_dropped() -> None:
    possession = possession_of()
    possession.acquire(2, tick=0)
    possession.feed(2, EAT)
    possession.release(2)
    possession.acquire(2, tick=0)
    assert decide(possession, 2, tick=0) == ([True], [-1])


def test_owners_are_told_apart() -> None:
    possession = possession_of()
    possession.acquire(2, tick=0, owner="ann")
    with pytest.raises(PossessionError, match="slot 2: possessed by 'ann', got owner 'bob'"):
        possession.feed(2, EAT, owner="bob")
    with pytest.raises(PossessionError, match="slot 2: possessed by 'ann', got owner None"):
        possession.release(2)
    assert possession.is_possessed(2)
    possession.feed(2, EAT, owner="ann")
    assert possession.release(2, owner="ann")


def test_an_agent_that_is_not_possessed_cannot_be_fed() -> None:
    with pytest.raises(PossessionError, match="slot 2: must be possessed"):
        possession_of().feed(2, EAT)


@pytest.mark.parametrize("action", [-1, NUM_ACTIONS])
def test_an_unknown_action_cannot_be_fed(action: int) -> None:
    possession = possession_of()
    possession.acquire(2, tick=0)
    with pytest.raises(UnknownActionError, match=rf"`action` must be in \[0, 5\), got {action}"):
        possession.feed(2, action)


@pytest.mark.parametrize("slot", [-1, 8])
def test_unknown_slots_are_refused(slot: int) -> None:
    possession = possession_of()
    message = rf"`slot` must be in \[0, 8\), got {slot}"
    with pytest.raises(PossessionError, match=message):
        possession.acquire(slot, tick=0)
    with pytest.raises(PossessionError, match=message):
        possession.release(slot)
    with pytest.raises(PossessionError, match=message):
        possession.feed(slot, EAT)
    with pytest.raises(PossessionError, match=message):
        possession.is_possessed(slot)


def test_a_lease_of_nothing_is_refused() -> None:
    with pytest.raises(PossessionError, match="`lease_ticks` must be at least 1, got 0"):
        possession_of().acquire(2, tick=0, lease_ticks=0)


def test_possession_does_not_outlive_its_agent() -> None:
    possession = possession_of()
    for slot in (1, 2, 3):
        possession.acquire(slot, tick=0, owner="ann")
    possession.feed(2, WORK, owner="ann")
    possession.forget(ints(0, 2))
    assert possession.slots().tolist() == [1, 3]
    possession.present(ints(0, 2))
    assert possession.acquire(2, tick=0)
    assert decide(possession, 2, tick=0) == ([True], [-1])


def test_a_lease_counts_the_decisions_after_the_one_that_is_made_already() -> None:
    # Who looked at the clock before tick 5 was decided, and acquires after it, has tick 6.
    possession = possession_of()
    assert decide(possession, 2, tick=5) == ([False], [-1])
    assert possession.acquire(2, tick=5, lease_ticks=1)
    possession.feed(2, EAT)
    assert decide(possession, 2, tick=6) == ([True], [EAT])
    assert not possession.is_possessed(2)


def test_what_is_fed_after_the_last_decision_is_too_late() -> None:
    possession = possession_of()
    possession.acquire(2, tick=5, lease_ticks=1, owner="ann")
    decide(possession, 2, tick=5)
    with pytest.raises(PossessionError, match="slot 2: must be possessed to be fed an action, is not, or no longer"):
        possession.feed(2, EAT, owner="ann")


# tickets


def test_an_input_is_executed_at_the_tick_that_used_it() -> None:
    possession = possession_of()
    possession.acquire(3, tick=5)
    ticket = possession.feed(3, EAT)
    assert (ticket.number, ticket.slot, ticket.action, ticket.owner, ticket.end) == (0, 3, EAT, None, None)
    decide(possession, 0, 3, tick=7)
    assert ticket.end == ("executed", 7)


def test_a_vetoed_input_has_had_its_decision() -> None:
    possession = possession_of()
    possession.acquire(2, tick=0)
    possession.acquire(3, tick=0)
    tickets = possession.feed(2, EAT), possession.feed(3, EAT)
    decide(possession, 2, 3, tick=4, vetoed=(False, True))
    assert [ticket.end for ticket in tickets] == [("executed", 4), ("vetoed", 4)]


def test_inputs_that_come_too_late_say_why() -> None:
    possession = possession_of()
    for slot in range(4):
        possession.acquire(slot, tick=0, lease_ticks=1 if slot == 1 else None)
    released, ended, superseded = (possession.feed(slot, EAT) for slot in (0, 2, 3))
    executed, lapsed = possession.feed(1, EAT), possession.feed(1, COOK, queue=True)
    possession.release(0)
    possession.forget(ints(2))
    last = possession.feed(3, WORK)
    decide(possession, 0, 1, 3, tick=0)
    assert [one.end for one in (released, lapsed, ended, superseded)] == [
        ("released", None),
        ("lapsed", None),
        ("ended", None),
        ("superseded", None),
    ]
    assert (executed.end, last.end) == (("executed", 0), ("executed", 0))
    assert possession.counts() == {
        "accepted": 6,
        "waiting": 0,
        "executed": 2,
        "vetoed": 0,
        "released": 1,
        "lapsed": 1,
        "ended": 1,
        "superseded": 1,
    }
    assert possession.take_ended() == [released, ended, superseded, executed, last, lapsed]
    assert possession.take_ended() == []


def test_queued_inputs_are_carried_out_one_a_tick_in_their_order() -> None:
    possession = possession_of()
    possession.acquire(3, tick=0)
    tickets = [possession.feed(3, action, queue=True) for action in (EAT, COOK, EAT)]
    assert possession.waiting() == tickets
    done = [decide(possession, 3, tick=tick)[1] for tick in range(4)]
    assert done == [[EAT], [COOK], [EAT], [-1]]
    assert [ticket.end for ticket in tickets] == [("executed", 0), ("executed", 1), ("executed", 2)]


def test_an_input_that_is_not_queued_supersedes_all_that_wait() -> None:
    possession = possession_of()
    possession.acquire(3, tick=0)
    tickets = [possession.feed(3, EAT, queue=True) for _ in range(2)]
    last = possession.feed(3, WORK)
    assert [ticket.end for ticket in tickets] == [("superseded", None)] * 2
    assert possession.waiting() == [last]
    assert decide(possession, 3, tick=0) == ([True], [WORK])


def test_at_most_64_inputs_wait_for_an_agent() -> None:
    possession = possession_of()
    possession.acquire(3, tick=0)
    possession.acquire(4, tick=0)
    for _ in range(64):
        possession.feed(3, EAT, queue=True)
    with pytest.raises(PossessionError, match="slot 3: at most 64 inputs may wait, got one more"):
        possession.feed(3, EAT, queue=True)
    assert possession.counts()["accepted"] == 64
    possession.feed(4, EAT, queue=True)
    possession.feed(3, COOK)
    assert (possession.counts()["waiting"], possession.counts()["superseded"]) == (2, 64)


def test_a_refused_input_changes_nothing() -> None:
    possession = possession_of()
    possession.acquire(3, tick=0, owner="ann")
    ticket = possession.feed(3, EAT, owner="ann")
    for action, owner in ((COOK, "bob"), (NUM_ACTIONS, "ann")):
        with pytest.raises((PossessionError, UnknownActionError)):
            possession.feed(3, action, owner=owner)
    assert (ticket.end, possession.waiting()) == (None, [ticket])


# who is there


def test_slots_that_hold_nobody_are_refused_by_every_call_of_people() -> None:
    possession = possession_of()
    possession.acquire(2, tick=0)
    possession.present(ints(0, 5), tick=1)

    def refused(slot: int) -> None:
        for call in (
            lambda: possession.acquire(slot, tick=0),
            lambda: possession.feed(slot, EAT),
            lambda: possession.renew(slot, 3),
            lambda: possession.release(slot),
        ):
            with pytest.raises(PossessionError, match=f"slot {slot}: must hold an agent that is present, holds nobody"):
                call()

    for slot in (1, 2, 4, 6, 7):
        refused(slot)
    assert possession.acquire(5, tick=1) and possession.acquire(0, tick=1)
    possession.forget(ints(5))
    refused(5)
    assert possession.release(0)
    possession.present(ints(5), tick=2)
    assert possession.acquire(5, tick=2)
    refused(0)


def test_nobody_is_there_before_the_first_view() -> None:
    possession = Possession(capacity=8, num_actions=NUM_ACTIONS, on_acquire=lambda slot: None)
    with pytest.raises(PossessionError, match="slot 3: must hold an agent that is present, holds nobody"):
        possession.acquire(3, tick=0)


# leases


def test_a_lease_is_renewed_from_the_next_decision_on_and_never_shortened() -> None:
    possession = possession_of()
    possession.acquire(2, tick=0, lease_ticks=2, owner="ann")
    decide(possession, 2, tick=0)
    possession.renew(2, 3, "ann")  # ticks 1, 2, 3
    possession.renew(2, 1, "ann")
    assert [decide(possession, 2, tick=tick)[0] for tick in (1, 2, 3, 4)] == [[True], [True], [True], [False]]
    possession.acquire(2, tick=5, lease_ticks=1, owner="ann")
    possession.renew(2, None, "ann")
    assert decide(possession, 2, tick=10**6) == ([True], [-1])


def test_a_lease_is_renewed_from_the_tick_that_the_bridge_has_told() -> None:
    possession = possession_of()
    possession.acquire(2, tick=0, lease_ticks=2000)
    possession.present(ints(2), tick=1000)
    possession.renew(2, 1500)
    assert [decide(possession, 2, tick=tick)[0] for tick in (2499, 2500)] == [[True], [False]]


def test_only_the_owner_of_a_lease_renews_it_while_it_lasts() -> None:
    possession = possession_of()
    with pytest.raises(PossessionError, match="slot 2: must be possessed to have its lease renewed, is not, or no"):
        possession.renew(2, 3)
    possession.acquire(2, tick=0, lease_ticks=1, owner="ann")
    with pytest.raises(PossessionError, match="slot 2: possessed by 'ann', got owner 'bob'"):
        possession.renew(2, 3, "bob")
    with pytest.raises(PossessionError, match="`lease_ticks` must be at least 1, got 0"):
        possession.renew(2, 0, "ann")
    decide(possession, 2, tick=0)
    with pytest.raises(PossessionError, match="slot 2: must be possessed"):
        possession.renew(2, 3, "ann")


def test_a_lease_ends_when_its_tick_comes_whether_or_not_decisions_were_made() -> None:
    possession = possession_of()
    possession.acquire(2, tick=5, lease_ticks=3)
    ticket = possession.feed(2, EAT)
    possession.present(ints(2), tick=7)
    assert possession.is_possessed(2)
    possession.present(ints(2), tick=8)
    assert not possession.is_possessed(2)
    assert ticket.end == ("lapsed", None)


# who is told


def test_possessors_are_told_of_ends_and_lapses_once_and_not_of_releases() -> None:
    told: list[tuple[int, str | None, str]] = []
    possession = Possession(
        capacity=8,
        num_actions=NUM_ACTIONS,
        on_acquire=lambda slot: None,
        on_end=lambda *end: told.append(end),
    )
    possession.present(np.arange(8))
    for slot, owner in enumerate(("ann", "bob", None, "eve")):
        possession.acquire(slot, tick=0, owner=owner, lease_ticks=2 if slot == 1 else None)
    possession.release(0, owner="ann")
    possession.forget(ints(2))
    possession.forget(ints(2))
    assert told == [(2, None, "ended")]
    for tick in range(3):
        decide(possession, 0, 1, 3, tick=tick)
    assert told == [(2, None, "ended"), (1, "bob", "lapsed")]
    possession.acquire(0, tick=3, owner="ann", lease_ticks=1)
    assert possession.acquire(0, tick=4, owner="bob")
    assert told[2:] == [(0, "ann", "lapsed")]


def test_callbacks_may_call_anything_and_find_the_agent_free() -> None:
    possession = possession_of()
    seen: list[object] = []

    def told(slot: int, owner: str | None, reason: str) -> None:
        seen.append((slot, owner, reason, possession.is_possessed(slot)))
        with ThreadPoolExecutor(1) as pool:  # another thread gets the lock while this one is told
            seen.append(pool.submit(possession.acquire, slot, tick=1, owner="bob").result(timeout=60))

    possession.tell_ends(told, name=int)
    possession.acquire(2, tick=0, owner="ann", lease_ticks=1)
    with possession.lock:
        decide(possession, 2, tick=0)
        assert seen == []
    assert seen == [(2, "ann", "lapsed", False), True]


def test_a_name_is_asked_for_while_the_slot_is_still_the_agents() -> None:
    possession, names = possession_of(), {2: "visitor", 3: None}
    told: list[tuple[str, str | None, str]] = []
    possession.tell_ends(lambda *end: told.append(end), name=names.get)
    with possession.lock:
        for slot in (2, 3):
            possession.acquire(slot, tick=0)
        possession.forget(ints(2, 3))
        names[2] = "successor"
    assert told == [("visitor", None, "ended")]


# handing over


def shares(possession: Possession, *slots: int, tick: int) -> list[float] | None:
    answer = possession.handed_over(ints(*slots), tick)
    return None if answer is None else answer.tolist()


def test_script_and_policy_come_back_by_degrees_after_a_release() -> None:
    possession = possession_of(handover_ticks=3)
    assert shares(possession, 2, 3, tick=0) is None
    possession.acquire(2, tick=0)
    assert shares(possession, 2, 3, tick=0) is None
    decide(possession, 2, 3, tick=0)
    possession.release(2)
    found = []
    for tick in (10, 11, 12, 13):  # the first decision after the release is that of tick 10
        found.append(shares(possession, 2, 3, tick=tick))
        assert shares(possession, 3, tick=tick) is None
        decide(possession, 2, 3, tick=tick)
    assert found == [[0.25, 1.0], [0.5, 1.0], [0.75, 1.0], None]


def test_they_come_back_by_degrees_after_a_lapse_too() -> None:
    possession = possession_of(handover_ticks=1)
    possession.acquire(2, tick=0, lease_ticks=2)
    found = []
    for tick in range(4):
        found.append(shares(possession, 2, 3, tick=tick))
        decide(possession, 2, 3, tick=tick)
    assert found == [None, None, [0.5, 1.0], None]


def test_a_new_takeover_and_a_new_agent_begin_afresh() -> None:
    possession = possession_of(handover_ticks=9)
    for slot in (2, 3):
        possession.acquire(slot, tick=0)
        possession.release(slot)
    assert shares(possession, 2, 3, tick=0) == [np.float32(0.1), np.float32(0.1)]
    possession.acquire(2, tick=0)
    possession.forget(ints(3))
    assert shares(possession, 2, 3, tick=0) is None


def test_without_handover_ticks_an_agent_is_handed_over_at_once() -> None:
    possession = possession_of()
    possession.acquire(2, tick=0)
    possession.release(2)
    assert shares(possession, 2, tick=0) is None


# saving


def test_a_restored_possession_reports_the_ends_of_tickets_by_their_numbers() -> None:
    saved, restored = possession_of(), possession_of()
    saved.acquire(3, tick=0, owner="ann", lease_ticks=2)
    saved.feed(3, WORK, owner="ann")
    for action in (EAT, COOK, NORTH):
        saved.feed(3, action, owner="ann", queue=action != EAT)
    restored.restore(saved.save_state())
    assert restored.take_ended() == []
    assert [decide(restored, 3, tick=tick)[1] for tick in (0, 1)] == [[EAT], [COOK]]
    ended = restored.take_ended()
    assert [(one.number, one.slot, one.action, one.owner) for one in ended] == [
        (1, 3, EAT, "ann"),
        (2, 3, COOK, "ann"),
        (3, 3, NORTH, "ann"),
    ]
    assert [one.end for one in ended] == [("executed", 0), ("executed", 1), ("lapsed", None)]
    restored.acquire(3, tick=2)
    assert restored.feed(3, EAT).number == 4
    counts = restored.counts()
    assert counts["accepted"] == 5 == counts["waiting"] + counts["executed"] + counts["lapsed"] + counts["superseded"]


def test_a_lease_is_renewed_after_a_restore_as_before() -> None:
    saved, restored = possession_of(), possession_of()
    decide(saved, 2, tick=7)
    saved.acquire(2, tick=8, lease_ticks=1)
    restored.restore(saved.save_state())
    restored.renew(2, 3)
    assert [decide(restored, 2, tick=tick)[0] for tick in (8, 9, 10, 11)] == [[True], [True], [True], [False]]


def test_what_waited_before_a_restore_has_ended() -> None:
    told: list[tuple[int, str | None, str]] = []
    possession = possession_of()
    possession.tell_ends(lambda *end: told.append(end), name=int)
    empty = possession.save_state()
    possession.acquire(3, tick=0, owner="ann")
    ticket = possession.feed(3, EAT, owner="ann")
    possession.restore(empty)
    assert (ticket.end, told) == (("ended", None), [(3, "ann", "ended")])
    assert possession.slots().tolist() == []


def test_who_is_there_and_who_is_handed_over_is_saved() -> None:
    saved, restored = possession_of(handover_ticks=1), possession_of(handover_ticks=1)
    saved.present(ints(2, 3, 4))
    saved.acquire(2, tick=0)
    saved.release(2)
    saved.forget(ints(4))
    restored.restore(saved.save_state())
    assert shares(restored, 2, 3, tick=5) == [0.5, 1.0]
    for slot in (0, 4):
        with pytest.raises(PossessionError, match="holds nobody"):
            restored.acquire(slot, tick=0)
    assert restored.acquire(3, tick=0)


# against a twin without arrays

CAPACITY = 4
slots = st.integers(0, CAPACITY - 1)
owners = st.sampled_from(["ann", None])
leases = st.none() | st.integers(1, 4)


class PossessionMachine(RuleBasedStateMachine):
    """Everything that people and a bridge do to possession, in any order, done to its twin too."""

    @initialize(handover_ticks=st.integers(0, 3), tick=st.sampled_from([0, 7, 2**40]))
    def begin(self, handover_ticks: int, tick: int) -> None:
        self.handover_ticks, self.tick = handover_ticks, tick
        self.twin = Twin(wait=(WAIT,), sizes=(NUM_ACTIONS,), lengths=[], seed=0, min_ratio=0.1, forbidden=EAT)
        self.since: dict[int, int | None] = {}
        """By slot, the first tick after a possession; None before it."""
        self.tickets: dict[int, Ticket] = {}
        self.renewed()
        self.look(set(range(CAPACITY)))

    def renewed(self) -> None:
        """A possession of its own, which knows nothing."""
        self.told: list[tuple[int, str | None, str]] = []
        self.possession = Possession(
            capacity=CAPACITY,
            num_actions=NUM_ACTIONS,
            on_acquire=lambda slot: None,
            on_end=lambda *end: self.told.append(end),
            handover_ticks=self.handover_ticks,
        )

    @rule(present=st.sets(slots))
    def look(self, present: set[int]) -> None:
        self.possession.present(ints(*sorted(present)), tick=self.tick)
        self.twin.look(sorted(present))
        self.expire(self.tick)

    def expire(self, tick: int) -> None:
        before = set(self.twin.takeovers)
        self.twin.expire(tick)
        self.since |= dict.fromkeys(before - self.twin.takeovers.keys())

    def refusal(self, slot: int, owner: str | None) -> str | None:
        """What the error of a call of people says; None where there is none."""
        if slot not in self.twin.present:
            return "holds nobody"
        if slot not in self.twin.takeovers:
            return "must be possessed"
        return None if self.twin.takeovers[slot].owner == owner else "possessed by"

    @rule(slot=slots, owner=owners, lease=leases)
    def acquire(self, slot: int, owner: str | None, lease: int | None) -> None:
        if slot not in self.twin.present:
            with pytest.raises(PossessionError, match="holds nobody"):
                self.possession.acquire(slot, tick=self.tick, owner=owner, lease_ticks=lease)
            return
        expected = self.twin.acquire(slot, self.tick, owner, lease)
        assert self.possession.acquire(slot, tick=self.tick, owner=owner, lease_ticks=lease) is expected
        if expected:
            self.since.pop(slot, None)

    @rule(slot=slots, owner=owners, action=st.integers(0, NUM_ACTIONS - 1), queue=st.booleans())
    def feed(self, slot: int, owner: str | None, action: int, queue: bool) -> None:
        if problem := self.refusal(slot, owner):
            with pytest.raises(PossessionError, match=problem):
                self.possession.feed(slot, action, owner=owner, queue=queue)
            return
        ticket = self.possession.feed(slot, action, owner=owner, queue=queue)
        assert (ticket.number, ticket.owner) == (self.twin.num_inputs, owner)
        self.twin.feed(slot, action, queue=queue)
        self.tickets[ticket.number] = ticket

    @rule(slot=slots, owner=owners, lease=leases)
    def renew(self, slot: int, owner: str | None, lease: int | None) -> None:
        self.look(self.twin.present)
        if problem := self.refusal(slot, owner):
            with pytest.raises(PossessionError, match=problem):
                self.possession.renew(slot, lease, owner)
            return
        self.possession.renew(slot, lease, owner)
        self.twin.renew(slot, self.tick, lease)

    @rule(slot=slots, owner=owners)
    def release(self, slot: int, owner: str | None) -> None:
        problem = self.refusal(slot, owner)
        if problem == "must be possessed":
            assert not self.possession.release(slot, owner=owner)
        elif problem:
            with pytest.raises(PossessionError, match=problem):
                self.possession.release(slot, owner=owner)
        else:
            assert self.possession.release(slot, owner=owner)
            self.twin.release(slot)
            self.since[slot] = None

    @rule(gone=st.sets(slots))
    def terminate(self, gone: set[int]) -> None:
        self.possession.forget(ints(*sorted(gone)))
        for slot in gone:
            self.twin.forget(slot)
            self.since.pop(slot, None)

    @rule(vetoes=st.sets(slots), fails=st.booleans(), later=st.integers(1, 3))
    def decide(self, vetoes: set[int], fails: bool, later: int) -> None:
        rows = sorted(self.twin.present)
        self.expire(self.tick)
        takeovers = [self.twin.takeovers.get(slot) for slot in rows]
        with self.possession.lock:
            possessed, wishes = self.possession.wishes(ints(*rows), self.tick)
            assert possessed.tolist() == [takeover is not None for takeover in takeovers]
            firsts = [takeover.inputs[0][1] if takeover and takeover.inputs else -1 for takeover in takeovers]
            assert wishes.tolist() == firsts
            self.compare_handover(rows)
            if fails:
                return
            vetoed = bools(*(slot in vetoes for slot in rows))
            self.possession.use_up(ints(*rows), self.tick, vetoed=vetoed)
        for slot, takeover in zip(rows, takeovers, strict=True):
            if takeover is not None and takeover.inputs:
                number, _ = takeover.inputs.pop(0)
                self.twin.ends[number] = "vetoed" if slot in vetoes else "executed", self.tick
        self.since = {slot: self.tick if begun is None else begun for slot, begun in self.since.items()}
        self.expire(self.tick + 1)
        self.tick += later

    def compare_handover(self, rows: list[int]) -> None:
        """k ticks of 1/(k+1) ... k/(k+1) after a possession."""
        passed = {slot: self.tick - (self.tick if begun is None else begun) for slot, begun in self.since.items()}
        share = {slot: (ticks + 1) / (self.handover_ticks + 1) for slot, ticks in passed.items()}
        expected = [np.float32(min(share.get(slot, 1.0), 1.0)) for slot in rows]
        found = self.possession.handed_over(ints(*rows), self.tick)
        assert ([1.0] * len(rows) if found is None else found.tolist()) == expected
        assert found is None or min(expected) < 1.0

    @rule()
    def save_and_restore(self) -> None:
        state = self.possession.save_state()
        self.compare_ends()
        self.renewed()
        self.possession.restore(through_a_file(state))
        self.tickets.clear()  # they are those of the possession that is gone

    @invariant()
    def compare_ends(self) -> None:
        """Inputs and possessions have ended as those of the twin have, each once."""
        for ticket in self.possession.take_ended():
            assert ticket.end == self.twin.ends.pop(ticket.number)
            assert self.tickets.pop(ticket.number, ticket) is ticket
        assert self.twin.ends == {}
        assert all(ticket.end is None for ticket in self.tickets.values())
        waiting = [one for takeover in self.twin.takeovers.values() for one in takeover.inputs]
        assert sorted((one.number, one.action) for one in self.possession.waiting()) == sorted(waiting)
        counts = self.possession.counts()
        assert counts.pop("accepted") == self.twin.num_inputs == sum(counts.values())
        assert self.possession.slots().tolist() == sorted(self.twin.takeovers)
        assert sorted(self.told, key=repr) == sorted(self.twin.told, key=repr)
        self.told.clear(), self.twin.told.clear()


TestPossession = PossessionMachine.TestCase

# threads

CALLS: dict[str, Callable[[Possession], object]] = {
    "acquire": lambda possession: possession.acquire(3, tick=0),
    "feed": lambda possession: possession.feed(2, EAT),
    "renew": lambda possession: possession.renew(2, 5),
    "release": lambda possession: possession.release(2),
    "forget": lambda possession: possession.forget(ints(2)),
    "slots": lambda possession: possession.slots(),
    "waiting": lambda possession: possession.waiting(),
    "take_ended": lambda possession: possession.take_ended(),
    "counts": lambda possession: possession.counts(),
    "save_state": lambda possession: possession.save_state(),
    "restore": lambda possession: possession.restore(possession_of().save_state()),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_call_waits_until_a_decision_is_settled(call: Callable[[Possession], object]) -> None:
    possession = possession_of()
    possession.acquire(2, tick=0)
    with ThreadPoolExecutor(1) as pool:
        with possession.lock:
            calling = pool.submit(call, possession)
            with pytest.raises(TimeoutError):
                calling.result(timeout=0.05)
        calling.result(timeout=60)


NUM_PEOPLE, NUM_FEEDS = 4, 3000
MANY = ActionVocabulary(
    keys=tuple(str(i) for i in range(1 + NUM_PEOPLE * NUM_FEEDS)), kinds=("wait",) * (1 + NUM_PEOPLE * NUM_FEEDS)
)


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def decide_while(bridge: BehaviorBridge, work: list[Callable[[], None]]) -> list[int]:
    """Decide for two agents, tick after tick, while each of `work` runs in a thread; return all that was executed."""
    executed: list[int] = []
    ticks = count()

    def tick() -> None:
        executed.extend(bridge.decide(view_of(0, 1), tick=next(ticks)).action.tolist())

    with ThreadPoolExecutor(len(work)) as pool:
        running: list[Future[None]] = [pool.submit(one) for one in work]
        while not all(future.done() for future in running):
            tick()
        for future in running:
            future.result()
    tick()
    return executed


@pytest.mark.usefixtures("impatient_threads")
def test_threads_never_possess_one_agent_together() -> None:
    bridge = BehaviorBridge(MANY, Script(0, 0), capacity=2, config=BridgeConfig(), seed=0)
    bridge.possession.present(ints(0, 1))
    possession, owner_of = bridge.possession, [[], []]

    def person(name: str) -> Callable[[], None]:
        def acquire_and_release() -> None:
            for turn in range(NUM_FEEDS):
                slot = turn % 2
                if possession.acquire(slot, tick=0, owner=name):
                    owner_of[slot].append(name)
                    assert owner_of[slot] == [name]
                    owner_of[slot].clear()
                    assert possession.release(slot, owner=name)

        return acquire_and_release

    decide_while(bridge, [person(f"person {i}") for i in range(NUM_PEOPLE)])
    assert possession.slots().tolist() == []
    assert not bridge.decide(view_of(0, 1), tick=10**9).possessed.any()


@pytest.mark.usefixtures("impatient_threads")
def test_what_threads_feed_is_executed_once_or_answered_too_late() -> None:
    bridge = BehaviorBridge(MANY, Script(0, 0), capacity=2, config=BridgeConfig(), seed=0)
    bridge.possession.present(ints(0, 1))
    possession, fed, late = bridge.possession, [], []

    def person(number: int) -> Callable[[], None]:
        def lease_and_feed() -> None:
            for turn in range(NUM_FEEDS):
                action = 1 + number * NUM_FEEDS + turn
                # A lease of one decision: it may be over before there is time to feed anything.
                if possession.acquire(turn % 2, tick=0, owner=str(number), lease_ticks=1):
                    try:
                        possession.feed(turn % 2, action, owner=str(number))
                    except PossessionError:
                        late.append(action)
                    else:
                        fed.append(action)

        return lease_and_feed

    executed = [action for action in decide_while(bridge, [person(i) for i in range(NUM_PEOPLE)]) if action]
    assert sorted(executed) == sorted(fed)
    assert fed and not set(fed) & set(late)


# actions without an index


def test_several_numbers_are_fed_at_once() -> None:
    possession = Possession(capacity=8, actions=BOX, on_acquire=lambda slot: None)
    possession.present(np.arange(8))
    assert np.isnan(possession.wishes(ints(2, 3), 0)[1]).all()
    possession.acquire(3, tick=0)
    ticket = possession.feed(3, np.array([0.5, 1.0]))
    assert ticket.action == (0.5, 1.0)
    possessed, wishes = possession.wishes(ints(2, 3), 0)
    assert possessed.tolist() == [False, True]
    np.testing.assert_array_equal(wishes, np.array([[np.nan, np.nan], [0.5, 1.0]], np.float32))
    with pytest.raises(UnknownActionError, match=r"`action` must be in \[-1.0, 1.0\] × \[0.5, 2.0\], got \(0.0, 3.0\)"):
        possession.feed(3, (0.0, 3.0))
    assert possession.waiting() == [ticket]


def test_an_index_of_each_part_is_fed_at_once() -> None:
    possession = Possession(capacity=8, actions=PARTS, on_acquire=lambda slot: None)
    possession.present(np.arange(8))
    possession.acquire(3, tick=0)
    possession.feed(3, [EAT, 1, 2])
    assert possession.wishes(ints(2, 3), 0)[1].tolist() == [[-1, -1, -1], [EAT, 1, 2]]
    with pytest.raises(UnknownActionError, match=r"\[0, 5\) × \[0, 2\) × \[0, 3\), got 2: 'int' object"):
        possession.feed(3, EAT)


def test_possession_is_told_what_can_be_fed_once() -> None:
    for given in ({}, {"num_actions": 5, "actions": BOX}):
        with pytest.raises(ConfigError, match="expected `num_actions` or `actions`"):
            Possession(capacity=8, on_acquire=lambda slot: None, **given)
    vocabulary = Possession(capacity=8, actions=VOCABULARY, on_acquire=lambda slot: None)
    vocabulary.present(np.arange(8))
    vocabulary.acquire(3, tick=0)
    with pytest.raises(UnknownActionError, match=r"`action` must be in \[0, 5\), got 5"):
        vocabulary.feed(3, NUM_ACTIONS)
