from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_behavior import ActionVocabulary
from townlet_runtime.core.telemetry import OptionSwitches
from townlet_runtime.errors import SimulationError

VOCABULARY = ActionVocabulary(keys=("left", "wait", "right", "rest"), kinds=("move", "wait", "move", "start"), wait=1)
LEFT, WAIT, RIGHT, REST = range(4)


def counted(*actions: int) -> int:
    switches = OptionSwitches(VOCABULARY, capacity=5)
    for action in actions:
        switches.note(np.array([3]), np.array([action]))
    return int(switches.take(np.array([3]))[0])


def test_only_a_change_from_one_kind_straight_to_another_counts() -> None:
    assert counted(LEFT, REST, LEFT) == 2
    assert counted(LEFT, WAIT, REST) == 0
    assert counted(LEFT, RIGHT, LEFT) == 0
    assert counted(WAIT, REST) == 0


def test_counts_are_taken_per_agent_and_once() -> None:
    switches = OptionSwitches(VOCABULARY, capacity=3)
    for actions in ([LEFT, REST], [REST, REST]):
        switches.note(np.array([0, 2]), np.array(actions))
    assert switches.take(np.array([2])).tolist() == [0]
    assert switches.take(np.array([0])).tolist() == [1]
    assert switches.take(np.array([0])).tolist() == [0]


def test_who_comes_into_the_place_of_another_begins_anew() -> None:
    switches = OptionSwitches(VOCABULARY, capacity=1)
    slots = np.array([0])
    switches.note(slots, np.array([LEFT]))
    switches.note(slots, np.array([REST]))
    switches.forget(slots)
    switches.note(slots, np.array([LEFT]))
    assert switches.take(slots).tolist() == [0]


@given(st.lists(st.integers(0, 3), max_size=30))
def test_a_list_says_the_same(actions: list[int]) -> None:
    kinds = [VOCABULARY.kinds[action] for action in actions]
    pairs = pairwise(kinds)
    assert counted(*actions) == sum(one != other and "wait" not in (one, other) for one, other in pairs)


@given(st.lists(st.integers(0, 3), max_size=10), st.lists(st.integers(0, 3), max_size=10))
def test_what_was_saved_counts_on(before: list[int], after: list[int]) -> None:
    first, second = OptionSwitches(VOCABULARY, capacity=2), OptionSwitches(VOCABULARY, capacity=2)
    slots = np.array([1])
    for action in before:
        first.note(slots, np.array([action]))
    second.restore(first.save_state())
    for action in after:
        second.note(slots, np.array([action]))
    assert second.take(slots).tolist() == [counted(*before, *after)]


def test_a_state_of_other_kinds_is_refused() -> None:
    switches = OptionSwitches(VOCABULARY, capacity=2)
    state = dict(switches.save_state())
    with pytest.raises(SimulationError, match=r"expected kinds below 3 in the saved state, got \[3 1\]"):
        switches.restore({**state, "last": np.array([3, 1])})
    with pytest.raises(SimulationError, match="expected `counts`"):
        switches.restore({**state, "counts": np.zeros(3, np.int64)})


def test_array_actions_are_no_options() -> None:
    switches = OptionSwitches(ActionVocabulary.none(), capacity=2)
    for actions in ([[0.5], [1.0]], [[-0.5], [0.0]]):
        switches.note(np.array([0, 1]), np.array(actions, np.float32))
    assert switches.take(np.array([0, 1])).tolist() == [0, 0]
    switches.restore(switches.save_state())
