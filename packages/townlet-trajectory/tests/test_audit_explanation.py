"""The document of an explanation keeps its keys, and is JSON."""

import json

import numpy as np
from steps_by_hand import NAMES, SCHEMA, WORK, row_of

from townlet_trajectory.audit.explain import RecordedStep, explain_step
from townlet_trajectory.audit.explanation import StepNames
from townlet_trajectory.data.schema import ACTION_MASK

KEYS = {
    "saw": {"numbers", "arrays", "legal_actions", "illegal_actions", "num_actions"},
    "proposed": {
        "expert_action",
        "proposer",
        "proposal_age",
        "drawn_action",
        "policy_probability",
        "behavior_probability",
        "value",
        "policy",
    },
    "difficulty": {"ratio", "temperature", "observation_age"},
    "decided": {
        "by",
        "chosen_action",
        "action",
        "kind",
        "source",
        "possessed",
        "demonstrated",
        "veto_reason",
        "why",
    },
    "came": {"reward", "reward_terms", "end", "episode_label"},
}


def test_the_names_of_a_schema() -> None:
    assert StepNames.of(SCHEMA) == NAMES


def test_the_keys_stay() -> None:
    step = RecordedStep(
        agent_id="ann",
        tick=20,
        observations={
            "features": np.zeros(3, np.float32),
            "map": np.zeros((2, 2), np.float32),
            ACTION_MASK: np.ones(3, np.bool_),
        },
        columns=row_of(held_action=WORK, ticks_left=3),
        log_probs=np.log(np.array([0.7, 0.2, 0.1], np.float32)),
        option_since=18,
    )
    document = explain_step(NAMES, step).document()
    assert document.keys() == {"agent_id", "world", "episode", "tick", "option"} | KEYS.keys()
    again = json.loads(json.dumps(document, allow_nan=False))
    assert again == document
    assert {name: set(again[name]) for name in KEYS} == KEYS
    assert again["option"] == {"action": "work", "ticks_left": 3, "since": 18, "proposer": None}
    assert again["saw"]["numbers"][0] == {"name": "hunger", "value": 0.0, "mean": None, "deviations": None}
    assert again["saw"]["arrays"] == [{"name": "map", "shape": [2, 2], "nonzero": 0}]
    assert set(again["proposed"]["policy"]) == {"top_actions", "chosen_log_prob", "agrees"}
    assert set(again["proposed"]["policy"]["top_actions"][0]) == {"action", "probability"}


def test_the_document_of_a_record_that_says_little() -> None:
    step = RecordedStep(agent_id="ann", tick=0, observations={}, columns={})
    document = explain_step(StepNames(vocabulary=()), step).document()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["option"] is None
