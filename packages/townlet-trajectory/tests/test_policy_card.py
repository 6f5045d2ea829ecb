"""The label of a policy file says the same thing to every reader, and its checksum is that of the file."""

import hashlib
import json
from dataclasses import replace

import pytest

from townlet_trajectory import Box, MultiDiscrete, vocabulary_digest
from townlet_trajectory.data.actions import ArrayActions
from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.policy_card import PolicyCard, seal_policy, spec_digest

CARD = PolicyCard(
    vocabulary=("wait", "go"),
    observation_shapes={"features": (3,), "map": (1, 2, 2)},
    weights_sha256="ab" * 32,
    world="road",
    feature_names=("speed", "held", "left"),
    commitment=("features", 1, 15),
)

PARTS = MultiDiscrete(parts={"move": ("stay", "north", "south"), "hand": ("open", "closed")})
NUMBERS = Box(names=("steer", "throttle"), low=(-1.0, 0.0), high=(1.0, 2.5))


def of_actions(actions: ArrayActions, distribution: str = "") -> PolicyCard:
    return replace(CARD, vocabulary=(), actions=actions, distribution=distribution)


def test_the_bytes_of_a_label_of_discrete_actions_are_those_of_version_1() -> None:
    # Written by the release 0.2.0.
    assert (
        hashlib.sha256(CARD.text().encode()).hexdigest()
        == "019df822964dc7ad9c9d3f7f59b2fca156bf42199ba2566dd50b9a3ff2aabf15"
    )


def test_the_label_by_hand() -> None:
    label = json.loads(CARD.text())
    assert label == {
        "format": "townlet-policy",
        "version": 1,
        "world": "road",
        "vocabulary": ["wait", "go"],
        "vocabulary_sha256": vocabulary_digest(("wait", "go")),
        "observations": {"features": [3], "map": [1, 2, 2]},
        "feature_names": ["speed", "held", "left"],
        "commitment": {"observation": "features", "start": 1, "max_ticks": 15},
        "spec_sha256": CARD.spec_sha256,
        "state_size": 0,
        "values": True,
        "weights_sha256": "ab" * 32,
        "file_sha256": "0" * 64,
    }


@pytest.mark.parametrize(
    ("card", "stated"),
    [
        (
            of_actions(PARTS),
            {
                "actions": {
                    "parts": [
                        {"name": "move", "keys": ["stay", "north", "south"]},
                        {"name": "hand", "keys": ["open", "closed"]},
                    ]
                }
            },
        ),
        (
            of_actions(NUMBERS, "squashed"),
            {
                "actions": {"names": ["steer", "throttle"], "low": [-1.0, 0.0], "high": [1.0, 2.5]},
                "distribution": "squashed",
            },
        ),
    ],
)
def test_the_labels_of_array_actions_by_hand(card: PolicyCard, stated: dict[str, object]) -> None:
    label = json.loads(card.text())
    assert {key: label.get(key) for key in ("version", "vocabulary", "vocabulary_sha256")} == {
        "version": 2,
        "vocabulary": [],
        "vocabulary_sha256": vocabulary_digest(()),
    }
    assert {key: value for key, value in label.items() if key not in json.loads(CARD.text())} == stated


@pytest.mark.parametrize(
    ("card", "output", "num_outputs", "mask_size"),
    [
        (CARD, "log_probs", 2, 2),
        (of_actions(PARTS), "log_probs", 5, 5),
        (of_actions(NUMBERS, "clipped"), "gaussian", 4, 0),
    ],
)
def test_the_output_that_tells_the_actions(card: PolicyCard, output: str, num_outputs: int, mask_size: int) -> None:
    assert (card.output, card.num_outputs, card.mask_size) == (output, num_outputs, mask_size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": PARTS}, "a policy has `vocabulary` or `actions`, got both"),
        ({"distribution": "clipped"}, r"`distribution` must be one of \('',\), got 'clipped'"),
        ({"vocabulary": (), "actions": PARTS, "distribution": "clipped"}, "`distribution` must be one of"),
        ({"vocabulary": (), "actions": NUMBERS}, r"`distribution` must be one of \('clipped', 'squashed'\), got ''"),
    ],
)
def test_a_label_that_contradicts_itself(change: dict[str, object], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        replace(CARD, **change)


def test_the_digest_of_a_spec_is_that_of_its_canonical_json() -> None:
    # printf %s '{"commitment":null,...}' | sha256sum
    text = '{"commitment":null,"feature_names":[],"observations":{"b":[2],"c":[1,3]},"vocabulary":["x","y"]}'
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert spec_digest(("x", "y"), {"c": (1, 3), "b": (2,)}, (), None) == expected


def test_the_digest_of_a_spec_with_array_actions_names_them() -> None:
    text = (
        '{"actions":{"high":[1.0],"low":[-1.0],"names":["steer"]},'
        '"commitment":null,"feature_names":[],"observations":{"b":[2]},"vocabulary":[]}'
    )
    steer = Box(names=("steer",), low=(-1.0,), high=(1.0,))
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert spec_digest((), {"b": (2,)}, (), None, actions=steer) == expected


def test_the_digest_is_that_of_the_world_whatever_the_distribution() -> None:
    assert of_actions(NUMBERS, "clipped").spec_sha256 == of_actions(NUMBERS, "squashed").spec_sha256


@pytest.mark.parametrize(
    "change",
    [
        {"vocabulary": ("go", "wait")},
        {"observation_shapes": {"features": (3,)}},
        {"observation_shapes": {"features": (4,), "map": (1, 2, 2)}},
        {"feature_names": ("held", "speed", "left")},
        {"commitment": None},
        {"commitment": ("features", 1, 10)},
    ],
)
def test_the_digest_differs_where_a_policy_would_not_fit(change: dict[str, object]) -> None:
    assert replace(CARD, **change).spec_sha256 != CARD.spec_sha256


@pytest.mark.parametrize("change", [{"world": "rail"}, {"weights_sha256": "0" * 64}, {"state_size": 4}])
def test_the_digest_is_the_same_where_it_would_fit(change: dict[str, object]) -> None:
    assert replace(CARD, **change).spec_sha256 == CARD.spec_sha256


def test_a_seal_by_hand() -> None:
    data = b'{"file_sha256": "' + b"0" * 64 + b'"}'
    digest = hashlib.sha256(data).hexdigest()
    assert seal_policy(data) == (b'{"file_sha256": "' + digest.encode() + b'"}', digest)


@pytest.mark.parametrize("times", [0, 2])
def test_a_seal_needs_exactly_one_place(times: int) -> None:
    with pytest.raises(EvaluationError, match="exactly once"):
        seal_policy((b'"file_sha256": "' + b"0" * 64 + b'"') * times)
