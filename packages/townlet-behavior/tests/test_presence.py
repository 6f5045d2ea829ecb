import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import ints

from townlet_behavior import PossessionError
from townlet_behavior.possession.presence import Presence


def test_those_of_the_last_view_are_there_until_they_leave() -> None:
    presence = Presence(capacity=5)
    presence.show(ints(1, 3, 4))
    presence.leave(ints(3))
    assert presence.table().tolist() == [False, True, False, False, True]
    presence.check(1)
    for slot in (0, 2, 3):
        with pytest.raises(PossessionError, match=f"slot {slot}: must hold an agent that is present, holds nobody"):
            presence.check(slot)
    presence.show(ints(3))
    presence.check(3)
    assert presence.table().tolist() == [False, False, False, True, False]


@pytest.mark.parametrize("slot", [-1, 5])
def test_a_slot_that_does_not_exist_is_refused(slot: int) -> None:
    for check in (Presence(capacity=5).check, Presence(capacity=5).check_slot):
        with pytest.raises(PossessionError, match=rf"`slot` must be in \[0, 5\), got {slot}"):
            check(slot)


slots = st.sets(st.integers(0, 4))


@given(st.lists(st.tuples(st.booleans(), slots), max_size=8))
def test_presence_is_a_set(events: list[tuple[bool, set[int]]]) -> None:
    presence, there = Presence(capacity=5), set()
    for shown, changed in events:
        if shown:
            there = set(changed)
            presence.show(np.array(sorted(changed), np.int64))
        else:
            there -= changed
            presence.leave(np.array(sorted(changed), np.int64))
        assert np.flatnonzero(presence.table()).tolist() == sorted(there)
