"""Golden vectors keep inputs and outputs without loss, and notice every difference."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory import Box, MultiDiscrete
from townlet_trajectory.errors import ArtifactError, EvaluationError
from townlet_trajectory.evaluation.golden_vectors import (
    MAX_NUMBERS,
    GoldenVectors,
    PolicyInputs,
    PolicyOutputs,
    draw_inputs,
    golden_vectors,
    read_vectors,
    vectors_path,
)
from townlet_trajectory.evaluation.policy_card import PolicyCard

CARD = PolicyCard(
    vocabulary=("wait", "left", "right"),
    observation_shapes={"features": (4,), "map": (1, 2, 2)},
    weights_sha256="0" * 64,
    world="road",
    state_size=2,
)

PARTS = replace(CARD, vocabulary=(), actions=MultiDiscrete(parts={"move": ("a", "b", "c"), "hand": ("d", "e")}))
NUMBERS = replace(CARD, vocabulary=(), actions=Box(names=("steer",), low=(-1.0,), high=(1.0,)), distribution="clipped")


def answer(inputs: PolicyInputs) -> PolicyOutputs:
    """log π proportional to the first three features, V their sum, the state moved on by 1/3."""
    logits = np.where(inputs.action_mask, inputs.observations["features"][:, :3], np.finfo(np.float32).min)
    log_probs = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)
    values = inputs.observations["features"].sum(axis=1) / np.float32(7.0)
    return PolicyOutputs(log_probs, values, None if inputs.state is None else inputs.state + np.float32(1 / 3))


def made(card: PolicyCard = CARD, *, seed: int = 3) -> GoldenVectors:
    return golden_vectors(card, "ef" * 32, seed=seed, act=answer)


def arrays(vectors: GoldenVectors) -> list[Any]:
    outputs, inputs = vectors.outputs, vectors.inputs
    forbidden_left_out = np.where(inputs.action_mask, outputs.params, 0.0)
    observations = [inputs.observations[name] for name in sorted(inputs.observations)]
    return [*observations, inputs.action_mask, inputs.state, forbidden_left_out, outputs.values, outputs.state]


def test_inputs_are_sixteenths_with_legal_actions() -> None:
    inputs = draw_inputs(CARD, seed=3)
    assert {name: array.shape for name, array in inputs.observations.items()} == {
        "features": (16, 4),
        "map": (16, 1, 2, 2),
    }
    for array in (*inputs.observations.values(), inputs.state):
        assert array is not None and array.dtype == np.float32
        np.testing.assert_array_equal(array * 16, np.round(array * 16))
        assert np.abs(array).max() <= 4.0 and array.std() > 0.5
    assert inputs.action_mask.any(axis=1).all() and not inputs.action_mask.all()
    assert inputs.state is not None and inputs.state.shape == (16, 2)
    assert not np.array_equal(inputs.state, draw_inputs(CARD, seed=4).state)


def test_large_observations_make_few_rows_and_too_large_ones_none() -> None:
    image = replace(CARD, observation_shapes={"image": (3, 100, 100)}, state_size=0)
    assert len(draw_inputs(image, seed=1).action_mask) == MAX_NUMBERS // (30_000 + 2 * 3 + 1) == 8
    too_large = replace(CARD, observation_shapes={"image": (MAX_NUMBERS,)}, state_size=0)
    with pytest.raises(EvaluationError, match="golden vectors hold up to 262144 numbers, one agent .* has 262151"):
        draw_inputs(too_large, seed=1)


@given(st.integers(0, 2**32), st.booleans(), st.booleans())
def test_written_then_read_is_the_same(tmp_path_factory: Any, seed: int, recurrent: bool, critic: bool) -> None:
    vectors = made(CARD if recurrent else replace(CARD, state_size=0), seed=seed)
    if not critic:
        vectors = replace(vectors, outputs=vectors.outputs._replace(values=None))
    path = tmp_path_factory.mktemp("vectors") / "v.json"
    path.write_bytes(vectors.encode())
    again = read_vectors(path)
    assert (again.policy_sha256, again.seed, again.tolerance) == ("ef" * 32, seed, 1e-5)
    for read, written in zip(arrays(again), arrays(vectors), strict=True):
        np.testing.assert_array_equal(read, written)
    assert max(again.differences(vectors.outputs).values()) == 0.0


def test_the_file_is_strict_json_with_null_for_what_is_not_compared() -> None:
    vectors = made()
    content = json.loads(vectors.encode(), parse_constant=pytest.fail)
    assert content["format"] == "townlet-policy-vectors"
    assert content["log_probs"]["shape"] == content["action_mask"]["shape"] == [16, 3]
    legal = [one is not None for one in content["log_probs"]["numbers"]]
    assert legal == vectors.inputs.action_mask.ravel().tolist()
    assert content["action_mask"]["numbers"] == [int(one) for one in legal]


def answer_of_parts(inputs: PolicyInputs) -> PolicyOutputs:
    """Equal probabilities of what is legal in each part."""
    assert inputs.action_mask is not None
    parts = []
    for legal in np.split(inputs.action_mask, [3], axis=1):
        log_probs = -np.log(legal.sum(axis=1, keepdims=True, dtype=np.float32)) * np.ones(legal.shape, np.float32)
        parts.append(np.where(legal, log_probs, np.finfo(np.float32).min))
    return PolicyOutputs(np.concatenate(parts, axis=1), None, inputs.state)


def answer_of_numbers(inputs: PolicyInputs) -> PolicyOutputs:
    """Means and logarithms of deviations."""
    return PolicyOutputs(inputs.observations["features"][:, :2] / np.float32(3.0), None, inputs.state)


def test_vectors_of_parts_have_a_legal_value_in_each(tmp_path: Path) -> None:
    vectors = golden_vectors(PARTS, "ef" * 32, seed=3, act=answer_of_parts)
    mask = vectors.inputs.action_mask
    assert mask is not None and mask.shape == (16, 5) and not mask.all()
    assert mask[:, :3].any(axis=1).all() and mask[:, 3:].any(axis=1).all()
    (tmp_path / "v.json").write_bytes(vectors.encode())
    again = read_vectors(tmp_path / "v.json")
    assert again.differences(vectors.outputs) == {"log_probs": 0.0, "state_out": 0.0}
    off = np.where(mask, vectors.outputs.params + np.float32(0.1), vectors.outputs.params)
    assert again.differences(vectors.outputs._replace(params=off))["log_probs"] > 0.01


def test_vectors_of_numbers_have_no_mask(tmp_path: Path) -> None:
    vectors = golden_vectors(NUMBERS, "ef" * 32, seed=3, act=answer_of_numbers)
    assert vectors.inputs.action_mask is None and vectors.inputs.rows == 16
    content = json.loads(vectors.encode())
    assert content["action_mask"] is None and "log_probs" not in content
    assert content["gaussian"]["shape"] == [16, 2]
    (tmp_path / "v.json").write_bytes(vectors.encode())
    again = read_vectors(tmp_path / "v.json")
    assert again.differences(vectors.outputs) == {"gaussian": 0.0, "state_out": 0.0}
    turned = vectors.outputs._replace(params=vectors.outputs.params[:, ::-1])
    assert again.differences(turned)["gaussian"] > 0.01


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"gaussian": {"shape": [16, 3], "numbers": [0.0] * 48}}, r"rows of means and deviations, got \[16, 3\]"),
        ({"gaussian": {"shape": [32], "numbers": [0.0] * 32}}, "rows of means and deviations"),
        ({"gaussian": {"shape": [15, 2], "numbers": [0.0] * 30}}, "every array must have the 15 rows"),
        ({"gaussian": None}, "`gaussian` must be an object"),
        ({"observations": {}}, "every array must have"),
    ],
)
def test_damaged_vectors_of_numbers_are_refused(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    path = tmp_path / "policy.vectors.json"
    content = json.loads(golden_vectors(NUMBERS, "ef" * 32, seed=3, act=answer_of_numbers).encode())
    path.write_text(json.dumps(content | change))
    with pytest.raises(ArtifactError, match=f"policy.vectors.json.*: .*{complaint}"):
        read_vectors(path)


def test_vectors_of_discrete_actions_keep_their_bytes() -> None:
    # Of what the release 0.2.0 writes for the same card and answers.
    assert (
        hashlib.sha256(made().encode()).hexdigest()
        == "5951874d6d7d47be0ab05a6ae210f446423bb4d0401bd00f25f146fc995529f8"
    )


def test_a_difference_is_relative_above_one() -> None:
    vectors = made()
    values = np.full(16, 9.0, np.float32)
    expected = replace(vectors, outputs=vectors.outputs._replace(values=values))
    # |9.5 - 9| / (1 + 9)
    found = expected.differences(expected.outputs._replace(values=values + np.float32(0.5)))
    assert found == {"log_probs": 0.0, "values": pytest.approx(0.05), "state_out": 0.0}


@pytest.mark.parametrize("output", ["params", "values", "state"])
def test_nan_another_shape_and_absence_are_infinitely_different(output: str) -> None:
    vectors = made()
    right = getattr(vectors.outputs, output)
    name = {"params": "log_probs", "values": "values", "state": "state_out"}[output]
    spoiled = right.copy()
    spoiled[vectors.inputs.action_mask if output == "params" else slice(None)] = np.nan
    assert vectors.differences(vectors.outputs._replace(**{output: spoiled}))[name] == math.inf
    assert vectors.differences(vectors.outputs._replace(**{output: right[:-1]}))[name] == math.inf
    if output != "params":
        assert vectors.differences(vectors.outputs._replace(**{output: None}))[name] == math.inf


def test_a_forbidden_action_with_a_probability_is_infinitely_different() -> None:
    vectors = made()
    log_probs = np.where(vectors.inputs.action_mask, vectors.outputs.params, np.float32(-50.0))
    assert vectors.differences(vectors.outputs._replace(params=log_probs))["log_probs"] == math.inf


def test_an_output_that_is_not_finite_is_not_written() -> None:
    vectors = made()
    values = np.full(16, np.inf, np.float32)
    with pytest.raises(EvaluationError, match="`values` of golden vectors must be finite"):
        replace(vectors, outputs=vectors.outputs._replace(values=values)).encode()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": "zoo"}, "not a townlet-policy-vectors"),
        ({"schema_version": [2, 0]}, "schema version 1.x is read"),
        ({"values": {"shape": [15], "numbers": [0.0] * 15}}, "every array must have the 16 rows"),
        ({"values": {"shape": [16], "numbers": [0.0] * 15}}, "`values` must hold as many `numbers`"),
        ({"values": {"shape": [16], "numbers": ["0"] * 16}}, "`values` must hold float32 numbers"),
        ({"values": {"shape": [16], "numbers": [1e39] * 16}}, "`values` must hold float32 numbers"),
        ({"log_probs": {"shape": [48], "numbers": [0.0] * 48}}, "must be of the shape of `action_mask`"),
        ({"action_mask": {"shape": [0, 3], "numbers": []}}, "must be of the shape"),
        ({"tolerance": -1.0}, "`tolerance` must be at least 0"),
        ({"seed": "x"}, "`seed` must be an integer"),
    ],
)
def test_another_file_is_refused_with_its_place(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    path = tmp_path / "policy.vectors.json"
    path.write_text(json.dumps(json.loads(made().encode()) | change))
    with pytest.raises(ArtifactError, match=f"policy.vectors.json.*: .*{complaint}"):
        read_vectors(path)


def test_the_file_lies_beside_its_policy() -> None:
    assert vectors_path(Path("run/policy-riders.onnx")) == Path("run/policy-riders.vectors.json")
