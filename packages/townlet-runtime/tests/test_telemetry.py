import logging
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import LOWEST

from townlet_behavior import ActionVocabulary, DecisionBatch
from townlet_runtime.core.telemetry import OptionSwitches, log_tick_health, snapshot_of
from townlet_runtime.errors import SimulationError


def test_the_line_has_the_fields_that_readers_know(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="townlet_runtime.core.telemetry"):
        log_tick_health(tick=7, duration_ms=1.25, queue=30, dropped=2)
    assert caplog.messages == [
        "tick_health tick=7 duration_ms=1.250 queue=30 dropped=2"
        " perturbations_pending=0 perturbations_active=0 exit_queue=0"
    ]


KEYS = ("wait", "a", "b", "c", "d", "e", "f")


def decisions(actions: list[int]) -> DecisionBatch:
    size = len(actions)
    action = np.array(actions)
    zeros, integers, floats = np.zeros(size, np.bool_), np.zeros(size, np.int8), np.zeros(size, np.float32)
    return DecisionBatch(
        action=action,
        chosen_action=action,
        kind=integers,
        source=integers,
        vetoed=zeros,
        veto_reason=integers,
        possessed=zeros,
        demonstrated=zeros,
        expert_action=action,
        behavior_log_prob=floats,
        policy_log_prob=np.arange(size, dtype=np.float32) - 2,
        value=np.arange(size, dtype=np.float32) + 1,
        ratio=floats,
        held_action=action,
        ticks_left=np.zeros(size, np.int32),
    )


def test_the_five_most_probable_actions_come_first() -> None:
    probabilities = np.array([[0.1, 0.2, 0, 0.3, 0.15, 0.15, 0.1]])
    log_probs = np.where(probabilities > 0, np.log(np.maximum(probabilities, 1e-9)), LOWEST).astype(np.float32)
    agents = np.array(["ann"], np.object_)
    shots = snapshot_of(np.array([0]), agents, decisions([3]), log_probs, keys=KEYS, tick=9)
    top = shots["ann"]["top_actions"]
    assert [entry["action"] for entry in top] == ["c", "a", "d", "e", "wait"]
    assert [entry["probability"] for entry in top] == pytest.approx([0.3, 0.2, 0.15, 0.15, 0.1])
    assert (shots["ann"]["tick"], shots["ann"]["selected_action"]) == (9, "c")
    assert (shots["ann"]["log_prob"], shots["ann"]["value_pred"]) == (-2.0, 1.0)


def test_only_the_rows_asked_for_are_shown() -> None:
    agents = np.array(["ann", "bob", "cid"], np.object_)
    shots = snapshot_of(np.array([0, 2]), agents, decisions([0, 1, 2]), None, keys=KEYS, tick=1)
    assert {name: shot["selected_action"] for name, shot in shots.items()} == {"ann": "wait", "cid": "b"}
    assert shots["cid"]["top_actions"] == [] and shots["cid"]["value_pred"] == 3.0


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


@pytest.mark.property
@given(st.lists(st.integers(0, 3), max_size=30))
def test_a_list_says_the_same(actions: list[int]) -> None:
    kinds = [VOCABULARY.kinds[action] for action in actions]
    pairs = pairwise(kinds)
    assert counted(*actions) == sum(one != other and "wait" not in (one, other) for one, other in pairs)


@pytest.mark.property
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


def test_counts_by_id_are_those_of_who_has_switched() -> None:
    switches = OptionSwitches(VOCABULARY, capacity=3)
    for actions in ([LEFT, REST], [REST, REST]):
        switches.note(np.array([0, 2]), np.array(actions))
    assert switches.take_by_id(np.array([0, 2]), np.array(["a", "b"], np.object_)) == {"a": 1}


def test_a_state_of_other_kinds_is_refused() -> None:
    switches = OptionSwitches(VOCABULARY, capacity=2)
    state = dict(switches.save_state())
    with pytest.raises(SimulationError, match=r"expected kinds below 3 in the saved state, got \[3 1\]"):
        switches.restore({**state, "last": np.array([3, 1])})
    with pytest.raises(SimulationError, match="expected `counts`"):
        switches.restore({**state, "counts": np.zeros(3, np.int64)})
