import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import COOK, EAT, NORTH, VOCABULARY, WAIT, WORK, bools, ints, mask_of

from townlet_behavior import ActionVocabulary, CommitmentConfig, Commitments, ConfigError, Held, Source

TICKS = {"wait": 0, "move": 1, "start": 3, "work": 5, "chat": 9}


def commitments_of(ticks: int | dict[str, int] = 3) -> Commitments:
    return Commitments(capacity=8, vocabulary=VOCABULARY, config=CommitmentConfig(ticks=ticks))


def held(commitments: Commitments, *slots: int, tick: int, mask: NDArray[np.bool_] | None = None) -> Held:
    return commitments.held(ints(*slots), option_done=bools(*[False] * len(slots)), action_mask=mask, tick=tick)


def begin(commitments: Commitments, slot: int, action: int, *, tick: int, source: Source = Source.LEARNED) -> None:
    sources = np.array([source], np.int8)
    commitments.begin(ints(slot), ints(action), sources, fresh=bools(True), tick=tick)


def test_lengths_by_kind() -> None:
    assert CommitmentConfig(ticks=TICKS).lengths(VOCABULARY).tolist() == [0, 1, 3, 3, 5]


def test_a_number_is_for_every_kind_but_that_of_waiting() -> None:
    assert CommitmentConfig(ticks=15).lengths(VOCABULARY).tolist() == [0, 15, 15, 15, 15]


def test_by_default_nothing_binds() -> None:
    assert CommitmentConfig().lengths(VOCABULARY).tolist() == [0] * 5


def test_a_missing_kind_is_named() -> None:
    with pytest.raises(ConfigError, match=r"every kind of the vocabulary, \['move', 'work'\] missing"):
        CommitmentConfig(ticks={"wait": 0, "start": 2}).lengths(VOCABULARY)


@pytest.mark.parametrize(("ticks", "kind"), [(-1, "all kinds"), ({"move": 3, "chat": -1}, "chat")])
def test_a_negative_length_is_refused(ticks: int | dict[str, int], kind: str) -> None:
    with pytest.raises(ConfigError, match=f"`ticks` must be at least 0, got -1 for {kind}"):
        CommitmentConfig(ticks=ticks)


def test_held_until_its_own_tick() -> None:
    # Chosen at tick 10 for 3 ticks: ticks 11 and 12 are bound, 13 is free.
    commitments = commitments_of()
    begin(commitments, 4, EAT, tick=10)
    seen = [held(commitments, 4, tick=tick) for tick in (11, 12, 13, 14)]
    assert [now.action.tolist() for now in seen] == [[EAT], [EAT], [-1], [-1]]
    assert [now.ticks_left.tolist() for now in seen] == [[2], [1], [0], [0]]
    assert [now.in_force.tolist() for now in seen] == [[True], [True], [False], [False]]
    assert (seen[0].action.dtype, seen[0].ticks_left.dtype) == (np.int64, np.int32)


@pytest.mark.parametrize(("action", "bound"), [(WAIT, False), (NORTH, False), (EAT, True), (WORK, True)])
def test_lengths_of_0_and_1_bind_nothing(action: int, bound: bool) -> None:
    commitments = commitments_of(TICKS)
    begin(commitments, 0, action, tick=0)
    assert held(commitments, 0, tick=1).in_force.tolist() == [bound]


def test_it_belongs_to_whoever_began_it() -> None:
    commitments = commitments_of()
    begin(commitments, 1, EAT, tick=0, source=Source.SCRIPTED)
    begin(commitments, 2, EAT, tick=0, source=Source.LEARNED)
    assert held(commitments, 1, 2, tick=1).source.tolist() == [Source.SCRIPTED, Source.LEARNED]


def test_only_fresh_choices_begin_one() -> None:
    commitments = commitments_of()
    sources = np.zeros(3, np.int8)
    commitments.begin(ints(0, 2, 5), ints(EAT, EAT, COOK), sources, fresh=bools(True, False, True), tick=0)
    assert held(commitments, 0, 2, 5, tick=1).action.tolist() == [EAT, -1, COOK]


def test_done_ends_it_for_good() -> None:
    commitments = commitments_of()
    begin(commitments, 3, EAT, tick=0)
    begin(commitments, 6, EAT, tick=0)
    now = commitments.held(ints(3, 6), option_done=bools(True, False), action_mask=None, tick=1)
    assert now.action.tolist() == [-1, EAT]
    assert held(commitments, 3, 6, tick=1).action.tolist() == [-1, EAT]


def test_a_mask_that_forbids_it_ends_it_for_good() -> None:
    commitments = commitments_of()
    begin(commitments, 3, EAT, tick=0)
    begin(commitments, 6, EAT, tick=0)
    now = held(commitments, 3, 6, tick=1, mask=mask_of((WAIT,), (WAIT, EAT)))
    assert (now.action.tolist(), now.ticks_left.tolist(), now.in_force.tolist()) == ([-1, EAT], [0, 2], [False, True])
    assert held(commitments, 3, 6, tick=1).action.tolist() == [-1, EAT]


def test_end() -> None:
    commitments = commitments_of()
    for slot in (1, 2, 3):
        begin(commitments, slot, EAT, tick=0)
    commitments.end(ints(2, 5))
    assert held(commitments, 1, 2, 3, tick=1).action.tolist() == [EAT, -1, EAT]


def test_where_nothing_can_bind_nothing_is_held() -> None:
    commitments = commitments_of({"wait": 0, "move": 1, "start": 1, "work": 0})
    begin(commitments, 0, EAT, tick=0)
    now = held(commitments, 0, 1, tick=1)
    assert (now.action.tolist(), now.ticks_left.tolist(), now.in_force.tolist()) == ([-1, -1], [0, 0], [False, False])


@given(st.integers(0, 2**40), st.integers(2, 50), st.integers(0, 60))
def test_ticks_left_count_down(tick: int, length: int, later: int) -> None:
    commitments = commitments_of(length)
    begin(commitments, 0, EAT, tick=tick)
    assert held(commitments, 0, tick=tick + later).ticks_left.tolist() == [max(0, length - later)]


@pytest.mark.parametrize(
    ("ticks", "binds"), [(0, False), (1, False), (2, True), ({}, False), ({"a": 1, "b": 0}, False), ({"a": 2}, True)]
)
def test_a_choice_binds_where_it_is_held_beyond_its_own_tick(ticks: int | dict[str, int], binds: bool) -> None:
    assert CommitmentConfig(ticks=ticks).binds is binds


def test_without_a_vocabulary_nothing_is_held() -> None:
    none = ActionVocabulary.none()
    commitments = Commitments(capacity=8, vocabulary=none, config=CommitmentConfig(ticks={"wait": 0}))
    assert CommitmentConfig(ticks=1).lengths(none).tolist() == []
    nothing = held(commitments, 1, 2, tick=3)
    assert (nothing.action.tolist(), nothing.in_force.tolist()) == ([-1, -1], [False, False])
    commitments.restore(commitments.save_state())
