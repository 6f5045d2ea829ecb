"""A model is sealed for the actions and observations of a world, or those that a JSON file states."""

import json
from pathlib import Path

import pytest

import townlet_behavior
from townlet_runtime.errors import PolicyFileError
from townlet_runtime.policy.policy import commitment_of
from townlet_runtime.policy.seal_spec import SealSpec
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_runtime.testing import Corridor
from townlet_trajectory import Box, MultiDiscrete


def test_a_spec_is_that_of_a_simulation() -> None:
    spec = Corridor().spec
    made = SealSpec.of(spec)
    assert made.vocabulary == spec.vocabulary.keys and made.observation_shapes == spec.observation_shapes
    assert (made.world, made.feature_names, made.commitment) == ("corridor", spec.feature_names, commitment_of(spec))


def test_a_spec_of_numbers_is_that_of_a_simulation() -> None:
    actions = townlet_behavior.Box(names=("steer",), low=(-1.0,), high=(1.0,))
    spec = SimulationSpec(
        name="road",
        capacity=2,
        num_worlds=1,
        episode_ticks=9,
        actions=actions,
        observation_shapes={"features": (2,)},
    )
    made = SealSpec.of(spec, distribution="squashed")
    assert (made.vocabulary, made.distribution) == ((), "squashed")
    assert made.actions == made.head == Box(names=("steer",), low=(-1.0,), high=(1.0,))
    assert SealSpec.of(spec).distribution == "clipped"
    assert SealSpec.of(Corridor().spec, distribution="squashed").distribution == ""


def test_a_spec_is_read_from_json(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({"vocabulary": ["wait", "go"]}))
    assert SealSpec.read(path) == SealSpec(vocabulary=("wait", "go"))
    content = {
        "vocabulary": ["wait", "go"],
        "world": "road",
        "observations": {"features": [2]},
        "feature_names": ["speed", "held"],
        "commitment": {"observation": "features", "start": 1, "max_ticks": 15},
    }
    path.write_text(json.dumps(content))
    assert SealSpec.read(path) == SealSpec(
        vocabulary=("wait", "go"),
        world="road",
        observation_shapes={"features": (2,)},
        feature_names=("speed", "held"),
        commitment=("features", 1, 15),
    )


def test_a_spec_of_array_actions_is_read_from_json(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text('{"actions": {"parts": [{"name": "move", "keys": ["stay", "go", "run"]}]}}')
    parts = MultiDiscrete(parts={"move": ("stay", "go", "run")})
    assert SealSpec.read(path) == SealSpec(vocabulary=(), actions=parts)
    assert SealSpec.read(path).head == (3,)
    content: dict[str, object] = {"actions": {"names": ["steer"], "low": [-1], "high": [1]}}
    steer = Box(names=("steer",), low=(-1.0,), high=(1.0,))
    for stated, distribution in (({}, "clipped"), ({"distribution": "squashed"}, "squashed")):
        path.write_text(json.dumps(content | stated))
        assert SealSpec.read(path) == SealSpec(vocabulary=(), actions=steer, distribution=distribution)
        assert SealSpec.read(path).head == steer


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[]", "a JSON object"),
        ("{}", "a list in `vocabulary`, got None"),
        ('{"vocabulary": []}', "a list of different keys"),
        ('{"vocabulary": ["a"], "policy": 1}', r"the keys .*, got \['policy'\]"),
        ('{"vocabulary": ["a"], "actions": {"parts": []}}', "`vocabulary` or `actions`, got both"),
        ('{"actions": 1}', "an object in `actions`"),
        ('{"actions": {"names": ["x"], "low": [1], "high": [0]}}', "parts, or names and bounds, in `actions`"),
        ('{"actions": {"names": ["x"], "low": [0], "high": [1]}, "distribution": "beta"}', r"one of \('clipped', "),
        ('{"vocabulary": ["a", "b"], "distribution": "clipped"}', r"one of \('',\) in `distribution`"),
        ('{"vocabulary": ["a"], "world": 1}', "text in `world`"),
        ('{"vocabulary": ["a"], "observations": {"x": 4}}', "positive sizes in `observations.x`"),
    ],
)
def test_another_spec_is_refused_with_the_file_and_the_key(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(text)
    with pytest.raises(PolicyFileError, match=f"spec.json: expected {complaint}"):
        SealSpec.read(path)
