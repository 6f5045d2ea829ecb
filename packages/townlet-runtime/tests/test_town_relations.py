from __future__ import annotations

import gc
import math
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive_minds import NaiveMinds

from townlet_runtime.town import RivalryConfig, SocialConfig, TownConfig
from townlet_runtime.town.relations import FADE_TICKS, Relations

RULES = RivalryConfig(decay_per_tick=0.01, avoid_threshold=0.5, eviction_threshold=0.05, max_edges=2)
CONFIG = TownConfig(rivalry=RULES, social=SocialConfig(max_edges=2))


def slots(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def relations(config: TownConfig = CONFIG, num_slots: int = 6) -> Relations:
    return Relations(config, num_slots)


def rivals_of(minds: Relations, agent: int, tick: int) -> dict[int, float]:
    minds.refresh(tick)
    others = [other for other in range(len(minds.other)) if other != agent]
    ties = minds.towards(np.full(len(others), agent), slots(*others))
    return {other: pytest.approx(r) for other, r in zip(others, ties.rivalry.tolist(), strict=True) if r}


def test_rivalry_grows_fades_and_is_forgotten_by_hand() -> None:
    minds = relations()
    minds.embitter(slots(0, 1), slots(1, 0), np.array([0.3, 0.3]), tick=10)
    assert rivals_of(minds, 0, 10) == {1: 0.3}
    assert rivals_of(minds, 1, 20) == {0: 0.2}
    minds.embitter(slots(0), slots(1), np.array([0.4]), tick=20)
    # 0.3 - 10 · 0.01 + 0.4 = 0.6 at tick 20: 0.5 and avoided until tick 30, 0.05 at tick 75 and forgotten after it.
    for tick, value, avoided in ((20, 0.6, 1), (30, 0.5, 1), (31, 0.49, 0), (75, 0.05, 0)):
        assert rivals_of(minds, 0, tick) == {1: value}
        assert minds.num_avoided.tolist() == [avoided, 0, 0, 0, 0, 0]
        assert minds.rivalry_max()[0] == pytest.approx(value)
    assert rivals_of(minds, 0, 76) == {}
    assert (minds.other == -1).all()
    assert minds.rivalry_max().tolist() == [0.0] * 6


def test_rivalry_is_bounded_and_forgiveness_makes_no_rivals() -> None:
    minds = relations()
    minds.embitter(slots(0, 0), slots(1, 1), np.array([0.8, 0.8]), tick=0)
    assert rivals_of(minds, 0, 0) == {1: 1.0}
    minds.bond(slots(0, 2), slots(1, 3), (0.1, 0.1, -0.7), tick=0)
    assert rivals_of(minds, 0, 0) == {1: 0.3}
    assert rivals_of(minds, 2, 0) == {}
    assert minds.towards(slots(2), slots(3)).familiarity.tolist() == [0.1]


def test_a_least_value_is_kept_for_ever() -> None:
    minds = relations(replace(CONFIG, rivalry=replace(RULES, min_value=0.1)))
    minds.embitter(slots(0), slots(1), np.array([0.2]), tick=0)
    # A first conflict counts from 0, not from the least value.
    assert rivals_of(minds, 0, 0) == {1: 0.2}
    assert rivals_of(minds, 0, 5000) == {1: 0.1}
    assert rivals_of(minds, 1, 5000) == {}


def test_an_agent_keeps_its_closest_and_its_worst() -> None:
    minds = relations()
    others, closeness = slots(1, 2, 3), np.array([0.3, 0.1, 0.2])
    minds.befriend(slots(0, 0, 0), others, np.zeros(3), closeness)
    minds.embitter(slots(0, 0, 0), others, np.array([0.4, 0.2, 0.2]), tick=0)
    ties = minds.towards(slots(0, 0, 0), others)
    assert ties.familiarity.tolist() == [0.3, 0.0, 0.2]
    # 2 and 3 are equally bad: the lower slot stays.
    assert ties.rivalry.tolist() == [0.4, 0.2, 0.0]
    minds.befriend(slots(0), slots(4), np.array([-0.05]), np.array([0.0]))
    assert minds.towards(slots(0), slots(4)).trust.tolist() == [0.0], "the least close of three is the new one"
    minds.befriend(slots(0), slots(4), np.array([-0.5]), np.array([0.0]))
    assert minds.towards(slots(0, 0), slots(3, 4)).trust.tolist() == [0.0, -0.5], "distrust is close, too"


def test_trust_and_familiarity_fade_by_a_tenth_and_end() -> None:
    minds = relations()
    minds.befriend(slots(0), slots(1), np.array([0.5]), np.array([0.2]))
    minds.fade()
    ties = minds.towards(slots(0), slots(1))
    assert (ties.trust.item(), ties.familiarity.item()) == pytest.approx((0.45, 0.18))
    # 0.7 · 0.9^63 is above 0.0009, 0.9^62 above 0.001: forgotten at the 63rd time.
    for _ in range(61):
        minds.fade()
    assert minds.other[0].max() == 1
    minds.fade()
    assert minds.other[0].max() == -1
    assert FADE_TICKS == 50


def test_whom_a_character_avoids_is_a_matter_of_its_own() -> None:
    minds = relations()
    minds.avoid_from = np.array([0.3, 0.5, 0.5, 0.5, 0.5, 0.5])
    minds.embitter(slots(0, 1), slots(1, 0), np.array([0.4, 0.4]), tick=0)
    minds.refresh(0)
    assert list(zip(minds.avoiding.tolist(), minds.rival.tolist(), strict=True)) == [(0, 1)]
    assert minds.towards(slots(0, 1), slots(1, 0)).avoids.tolist() == [True, False]


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 4), st.integers(1, 8), st.sampled_from([-0.5, -0.1, 0.005, 0.1, 0.3]), st.floats(0.0, 0.5)
    ),
    max_size=60,
)


@given(EVENTS, EVENTS, st.integers(1, 4), st.sampled_from([0.0, 0.1]), st.integers(0, 20))
def test_many_changes_at_once_are_those_changes_one_after_the_other(
    first: list[tuple[int, int, float, float]],
    second: list[tuple[int, int, float, float]],
    most: int,
    min_value: float,
    tick: int,
) -> None:
    rules = replace(RULES, max_edges=most, min_value=min_value)
    config = TownConfig(rivalry=rules, social=SocialConfig(max_edges=most))
    minds = relations(config, num_slots=9)
    naive = NaiveMinds(config.social, rules, list(range(9)), dict.fromkeys(range(9), rules.avoid_threshold))
    naive.at(tick)
    for events in (first, second):
        agents = slots(*(agent for agent, *_ in events))
        others = slots(*((agent + step) % 9 for agent, step, *_ in events))
        trust, amount = np.array([t for *_, t, _ in events]), np.array([a for *_, a in events])
        bitter = amount > 0.0
        minds.befriend(agents, others, trust, amount)
        minds.embitter(agents[bitter], others[bitter], amount[bitter], tick=tick)
        for agent, other, t, a in zip(agents.tolist(), others.tolist(), trust.tolist(), amount.tolist(), strict=True):
            naive.change(agent, other, t, a, 0.0)
        for agent, other, a in zip(
            agents[bitter].tolist(), others[bitter].tolist(), amount[bitter].tolist(), strict=True
        ):
            naive.change(agent, other, 0.0, 0.0, a)
    for agent in range(9):
        row = minds.other[agent]
        known = {int(o): edge for edge, o in enumerate(row) if o >= 0}
        assert known.keys() == naive.close[agent].keys() | naive.rivals[agent].keys()
        for other, edge in known.items():
            tie = (minds.trust[agent, edge], minds.familiarity[agent, edge], minds.rivalry[agent, edge])
            expected = (*naive.tie(agent, other), naive.rivals[agent].get(other, -math.inf))
            assert tie == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("what", ["befriend", "embitter", "bond"])
def test_the_work_does_not_grow_with_how_often_one_agent_occurs(what: str) -> None:
    """Lines of Python that run, in which loops show."""

    def lines(count: int) -> int:
        minds, ran = relations(num_slots=1001), 0
        agents, others, amounts = np.zeros(count, np.int64), np.arange(1, count + 1), np.linspace(0.1, 0.9, count)

        def trace(*_: object) -> Callable[..., object]:
            nonlocal ran
            ran += 1
            return trace

        gc.collect()  # what falls due meanwhile would run its last lines here
        gc.disable()
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            if what == "befriend":
                minds.befriend(agents, others, amounts, amounts)
            elif what == "embitter":
                minds.embitter(agents, others, amounts, tick=0)
            else:
                minds.bond(agents, others, (0.1, 0.1, 0.1), tick=0)
        finally:
            sys.settrace(before)
            gc.enable()
        return ran

    assert lines(1000) == lines(10)


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.integers(1, 5),
        st.sampled_from(["befriend", "embitter", "bond", "fade"]),
        st.floats(0.01, 0.9),
        st.integers(0, 30),
    ),
    max_size=40,
)


@given(CHANGES)
def test_whatever_happens_the_edges_stay_few_and_in_bounds(changes: list[tuple[int, int, str, float, int]]) -> None:
    minds, tick = relations(), 0
    for agent, step, what, amount, later in changes:
        one, other = slots(agent), slots((agent + step) % 6)
        if what == "befriend":
            minds.befriend(one, other, np.array([0.5 - amount]), np.array([amount]))
        elif what == "embitter":
            minds.embitter(one, other, np.array([amount]), tick=tick)
        elif what == "bond":
            minds.bond(one, other, (-amount, 0.0, -amount), tick=tick)
        else:
            minds.fade()
        tick += later
        minds.refresh(tick)
        used = minds.other >= 0
        closeness, rivals = np.abs(minds.trust) + minds.familiarity, minds.rivalry > -math.inf
        assert ((closeness > 0.0) | rivals).tolist() == used.tolist()
        assert (closeness > 0.0).sum(axis=1).max() <= 2
        assert rivals.sum(axis=1).max() <= 2
        assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in minds.other)
        assert (minds.other != np.arange(6)[:, None]).all()
        values = minds.rivalry_max()
        assert values.min() >= 0.0 and values.max() <= 1.0
