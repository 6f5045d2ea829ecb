"""The label of a policy file says the same thing to every reader, and its checksum is that of the file."""

import hashlib
import json
from dataclasses import replace

import pytest

from townlet_trajectory import vocabulary_digest
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


def test_the_digest_of_a_spec_is_that_of_its_canonical_json() -> None:
    # printf %s '{"commitment":null,...}' | sha256sum
    text = '{"commitment":null,"feature_names":[],"observations":{"b":[2],"c":[1,3]},"vocabulary":["x","y"]}'
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert spec_digest(("x", "y"), {"c": (1, 3), "b": (2,)}, (), None) == expected


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
