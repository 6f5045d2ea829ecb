import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count

import pytest
from strategies import COOK, EAT, NUM_ACTIONS, WORK, Script, ints, view_of

from townlet_behavior import (
    ActionVocabulary,
    BehaviorBridge,
    BridgeConfig,
    Possession,
    PossessionError,
    UnknownActionError,
)


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
