import logging

import numpy as np
import pytest
from beginnings import begun
from strategies import LOWEST

from townlet_behavior import BehaviorError, DecisionBatch
from townlet_runtime.core.telemetry import agents_named, log_tick_health, snapshot_of
from townlet_runtime.testing import Corridor, CorridorConfig


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


def test_an_error_about_a_slot_gets_the_name_of_its_agent() -> None:
    observed = begun(Corridor(CorridorConfig(places=1), num_worlds=3), 0)
    for error, said in (
        (BehaviorError("no good", slot=2), "world 2, agent 'visitor_0_1': no good"),
        (BehaviorError("no good", slot=2, tick=4), "tick 4, world 2, agent 'visitor_0_1': no good"),
        (BehaviorError("no good", slot=7), "slot 7: no good"),
        (BehaviorError("no good"), "no good"),
    ):
        with pytest.raises(BehaviorError) as caught, agents_named(observed):
            raise error
        assert str(caught.value) == said
    with pytest.raises(BehaviorError, match="^slot 2: no good$"), agents_named(None):
        raise BehaviorError("no good", slot=2)
