import pytest
from strategies import COOK, EAT, NUM_ACTIONS, WORK, ints

from townlet_behavior import Possession, PossessionError, UnknownActionError


def possession_of(acquired: list[int] | None = None) -> Possession:
    told = [] if acquired is None else acquired
    return Possession(capacity=8, num_actions=NUM_ACTIONS, on_acquire=told.append)


def decide(possession: Possession, *slots: int, tick: int) -> tuple[list[bool], list[int]]:
    """What a bridge does in one tick."""
    possessed, action = possession.wishes(ints(*slots), tick)
    possession.use_up(ints(*slots), tick)
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
    with pytest.raises(PossessionError, match="slot 2 is possessed by 'ann', got owner 'bob'"):
        possession.feed(2, EAT, owner="bob")
    with pytest.raises(PossessionError, match="slot 2 is possessed by 'ann', got owner None"):
        possession.release(2)
    assert possession.is_possessed(2)
    possession.feed(2, EAT, owner="ann")
    assert possession.release(2, owner="ann")


def test_an_agent_that_is_not_possessed_cannot_be_fed() -> None:
    with pytest.raises(PossessionError, match="slot 2 must be possessed"):
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
    assert possession.acquire(2, tick=0)
    assert decide(possession, 2, tick=0) == ([True], [-1])
