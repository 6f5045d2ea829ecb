import logging
from typing import Any

import numpy as np
import pytest
from boats import Boats
from boats import Kind as Kinds
from strategies import LOWEST

from townlet_behavior import DecisionBatch, Proposals
from townlet_runtime.core.telemetry import Decided, log_tick_health
from townlet_runtime.simulation.interface import Observed
from townlet_runtime.simulation.recorded import recorded_actions
from townlet_trajectory.audit.explanation import StepNames


def test_the_line_has_the_fields_that_readers_know(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="townlet_runtime.core.telemetry"):
        log_tick_health(tick=7, duration_ms=1.25, queue=30, dropped=2)
    assert caplog.messages == [
        "tick_health tick=7 duration_ms=1.250 queue=30 dropped=2"
        " perturbations_pending=0 perturbations_active=0 exit_queue=0"
    ]


NAMES = StepNames(vocabulary=("wait", "a", "b", "c", "d", "e", "f"))


def decisions(actions: list[Any]) -> DecisionBatch:
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
        drawn_action=action,
        proposer=integers,
        proposal_age=np.zeros(size, np.int32),
        observation_age=np.zeros(size, np.int32),
        temperature=np.ones(size, np.float32),
    )


def observed(worlds: list[int], *agents: str) -> Observed:
    slots = np.arange(len(agents))
    return Observed(
        slots=slots,
        keys=slots.astype(np.uint64),
        agent_ids=np.array(agents, np.object_),
        worlds=np.array(worlds),
        episodes=np.zeros(len(agents), np.int64),
        observations={},
        action_mask=None,
        option_done=np.zeros(len(agents), np.bool_),
    )


def test_the_five_most_probable_actions_come_first() -> None:
    probabilities = np.array([[0.1, 0.2, 0, 0.3, 0.15, 0.15, 0.1]])
    log_probs = np.where(probabilities > 0, np.log(np.maximum(probabilities, 1e-9)), LOWEST).astype(np.float32)
    proposals = Proposals(actions=np.array([3]), log_probs=log_probs, values=np.ones(1, np.float32))
    shots = Decided(observed([0], "ann"), decisions([3]), proposals, 9).snapshots(0, NAMES)
    top = shots["ann"]["top_actions"]
    assert [entry["action"] for entry in top] == ["c", "a", "d", "e", "wait"]
    assert [entry["probability"] for entry in top] == pytest.approx([0.3, 0.2, 0.15, 0.15, 0.1])
    assert (shots["ann"]["tick"], shots["ann"]["selected_action"]) == (9, "c")
    assert (shots["ann"]["log_prob"], shots["ann"]["value_pred"]) == (-2.0, 1.0)


def test_only_the_rows_asked_for_are_shown() -> None:
    shots = Decided(observed([0, 1, 0], "ann", "bob", "cid"), decisions([0, 1, 2]), None, 1).snapshots(0, NAMES)
    assert {name: shot["selected_action"] for name, shot in shots.items()} == {"ann": "wait", "cid": "b"}
    assert shots["cid"]["top_actions"] == [] and shots["cid"]["value_pred"] == 3.0


def test_a_value_that_was_not_asked_for_is_none_and_not_zero() -> None:
    proposals = Proposals(actions=np.array([3]), log_probs=None, values=None)
    shots = Decided(observed([0], "ann"), decisions([3]), proposals, 9).snapshots(0, NAMES)
    assert shots["ann"]["value_pred"] is None


def names_of(kind: Kinds) -> StepNames:
    return StepNames(vocabulary=(), actions=recorded_actions(Boats(kind).spec))


def test_array_actions_are_shown_by_the_names_of_their_parts_and_numbers() -> None:
    log_probs = np.log(np.array([[0.2, 0.5, 0.3, 0.4, 0.6]], np.float32))
    proposals = Proposals(actions=np.array([[1, 1]]), log_probs=log_probs, values=None)
    shot = Decided(observed([0], "ann"), decisions([[1, 0]]), proposals, 9).snapshots(0, names_of("parts"))["ann"]
    assert shot["selected_action"] == "east=west, north=rest"
    assert [entry["action"] for entry in shot["top_actions"]] == [
        "north=north",
        "east=west",
        "north=rest",
        "east=east",
        "east=rest",
    ]
    numbers = Decided(observed([0], "ann"), decisions([[0.25, -0.125]]), None, 9).snapshots(0, names_of("numbers"))[
        "ann"
    ]
    assert (numbers["selected_action"], numbers["top_actions"]) == ("east=0.25, north=-0.125", [])
