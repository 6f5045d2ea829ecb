import numpy as np
import pytest
from strategies import EAT, WORK, Forbid, Script, bridge_of, proposals_of, view_of

from townlet_behavior import StateError, Tally
from townlet_behavior.tally import TallyCounter

NOBODY = {"scripted": 0, "learned": 0, "external": 0}


def test_a_tick_by_hand() -> None:
    # Ratio 1, options last 3 ticks. Slot 0 works (vetoed), slot 1 is possessed, slot 2 eats and goes on eating.
    bridge = bridge_of(Script(EAT, EAT, EAT), Forbid(WORK), ratio=1.0, ticks=3)
    bridge.held(view_of(0, 1, 2), tick=0)
    bridge.possession.acquire(1, tick=0)
    for tick in range(2):
        bridge.decide(view_of(0, 1, 2), tick=tick, proposals=proposals_of(WORK, WORK, EAT))
    expected = Tally(
        decisions=NOBODY | {"learned": 3},
        ticks=NOBODY | {"learned": 4, "external": 2},
        vetoes={"action_mask": 0, "forbidden": 2},
        forced=1,
        foreign=2,
        policy_errors=0,
        proposals={"script": 6},
    )
    assert bridge.counts() == expected
    assert bridge.take_counts() == expected
    assert bridge.counts() == Tally(
        decisions=NOBODY,
        ticks=NOBODY,
        vetoes={"action_mask": 0, "forbidden": 0},
        forced=0,
        foreign=0,
        policy_errors=0,
        proposals={"script": 0},
    )


def test_the_script_alone_makes_no_decisions_to_learn_from() -> None:
    bridge = bridge_of(Script(EAT, EAT))
    bridge.decide(view_of(0, 1), tick=0)
    tally = bridge.counts()
    assert (tally.decisions, tally.ticks["scripted"], tally.foreign) == (NOBODY, 2, 2)


def test_the_ratio_is_a_share_of_decisions_not_of_ticks() -> None:
    # The policy works for 15 ticks at a time, the script waits for one. Of 10,000 decisions or so 30 % are learned
    # (standard deviation 0.5 %); of the ticks 0.3·15 / (0.3·15 + 0.7) = 86.5 %.
    size = 100
    bridge = bridge_of(Script(*[0] * size), ratio=0.3, ticks=15, capacity=size)
    view, proposals = view_of(*range(size)), proposals_of(*[WORK] * size)
    for tick in range(520):
        bridge.decide(view, tick=tick, proposals=proposals)
    tally = bridge.counts()
    decisions, ticks = sum(tally.decisions.values()), sum(tally.ticks.values())
    assert decisions + tally.forced == ticks == 520 * size
    assert abs(tally.decisions["learned"] / decisions - 0.3) < 4 * np.sqrt(0.21 / decisions)
    assert abs(tally.ticks["learned"] / ticks - 4.5 / 5.2) < 0.02


def test_saved_counts_go_on() -> None:
    counter = TallyCounter(("late", "early"), ("script",))
    counter.add_policy_errors(3)
    counter.add(bridge_of(Script(EAT, EAT), ratio=1.0).decide(view_of(0, 1), tick=0, proposals=proposals_of(WORK, EAT)))
    other = TallyCounter(("late", "early"), ("script",))
    other.restore(counter.save_state())
    assert other.tally() == counter.tally()
    assert (other.tally().policy_errors, other.tally().decisions["learned"]) == (3, 2)
    other.add_policy_errors(1)
    assert (other.tally().policy_errors, counter.tally().policy_errors) == (4, 3)


def test_counts_of_other_guardrails_are_refused() -> None:
    with pytest.raises(StateError, match=r"saved `vetoes` must be int64 \(3,\), got int64 \(2,\)"):
        TallyCounter(("late", "early"), ("script",)).check_state(TallyCounter(("late",), ("script",)).save_state())


def test_counts_may_be_read_at_any_tick() -> None:
    bridge = bridge_of(Script(EAT, -1), Forbid(WORK), ratio=0.5)
    seen = []
    for tick in range(40):
        seen.append(bridge.decide(view_of(0, 1), tick=tick, proposals=proposals_of(WORK, EAT)))
        if tick % 7 == 0:
            tally = bridge.counts()
            sources = np.concatenate([decisions.source for decisions in seen])
            assert list(tally.ticks.values()) == np.bincount(sources, minlength=3).tolist()
            assert tally.vetoes["forbidden"] == sum(int(decisions.vetoed.sum()) for decisions in seen)
            assert tally.proposals == {"script": tick + 1}
