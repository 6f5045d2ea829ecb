"""One trajectory as two classic files, and back without loss."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from strategies import (
    FEATURE_NAMES,
    NUMBERS,
    PARTS,
    SCHEMA,
    VOCABULARY,
    array_batch,
    array_schema,
    assert_same_trajectory,
    damaged,
    make_trajectory,
    trajectories,
)

from townlet_trajectory import ArraySpec, ArtifactError, CaptureError, EpisodeLabel, Kind, Trajectory, TrajectorySchema
from townlet_trajectory.data.actions import ArrayActions
from townlet_trajectory.formats.captures.sample import (
    CLASSIC_ARRAYS,
    SECTION,
    CaptureLayout,
    ReplaySample,
    decode_sample,
    encode_sample,
)
from townlet_trajectory.storage.npz import encode_npz

LAYOUT = CaptureLayout(feature_names=FEATURE_NAMES, map_channels=("self", "agents"), action_texts=VOCABULARY)
NPZ, META = Path("d/sample_001.npz"), Path("d/sample_001.json")


def encode(trajectory: Trajectory, *, final_value: float = 0.5, layout: CaptureLayout = LAYOUT) -> tuple[bytes, bytes]:
    npz, description, _ = encode_sample(
        trajectory, final_value=final_value, layout=layout, info={"scenario_name": "kitchen"}, own={}, npz_path=NPZ
    )
    return npz, description


def decode(npz: bytes, description: bytes) -> ReplaySample:
    return decode_sample(npz, description, npz_path=NPZ, description_path=META)


@given(trajectories())
def test_load_inverts_save(trajectory: Trajectory) -> None:
    restored = decode(*encode(trajectory)).trajectory
    assert restored is not None
    assert_same_trajectory(restored, trajectory)


def test_classic_arrays_by_hand() -> None:
    trajectory = make_trajectory(1, 2, truncated=True)
    npz, description = encode(trajectory, final_value=0.5)
    with np.load(io.BytesIO(npz), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["map"], trajectory.observations["map"][:2], strict=True)
        np.testing.assert_array_equal(arrays["features"], trajectory.observations["features"][:2], strict=True)
        np.testing.assert_array_equal(arrays["actions"], trajectory.columns["action"], strict=True)
        np.testing.assert_array_equal(arrays["old_log_probs"], trajectory.columns["behavior_log_prob"], strict=True)
        assert arrays["value_preds"].tolist() == [*trajectory.columns["value"], 0.5]
        assert arrays["dones"].tolist() == [False, True]
        # steps that no policy decided can be told apart
        assert (arrays["decisions.kind"] == Kind.FOREIGN).tolist() == (trajectory.columns["kind"] == 2).tolist()
    metadata = json.loads(description)
    for name, value in {
        "feature_names": list(FEATURE_NAMES),
        "map_shape": [2, 3, 3],
        "map_channels": ["self", "agents"],
        "training_arrays": ["actions", "old_log_probs", "rewards", "dones", "value_preds"],
        "timesteps": 2,
        "value_pred_steps": 3,
        "action_lookup": {VOCABULARY[0]: 0, VOCABULARY[1]: 1, VOCABULARY[2]: 2},
        "action_dim": 3,
        "agent_id": "alice",
        "trajectory_id": "sample_001",
        "frame_count": 2,
        "tags": [],
        "scenario": "kitchen",
        "capture_metadata": {"scenario_name": "kitchen"},
    }.items():
        assert metadata[name] == value, name
    assert metadata["metrics"]["reward_sum"] == pytest.approx(trajectory.rewards.sum())
    assert metadata["quality_metrics"] == {"reward_sum": metadata["metrics"]["reward_sum"], "timesteps": 2.0}


@pytest.mark.parametrize(
    ("terminated", "truncated", "value", "done"),
    [(True, False, 0.0, True), (True, True, 0.0, True), (False, True, 0.5, True), (False, False, 0.5, False)],
)
def test_the_bootstrap_is_zero_only_after_a_true_end(
    terminated: bool, truncated: bool, value: float, done: bool
) -> None:
    sample = decode(*encode(make_trajectory(1, 3, terminated=terminated, truncated=truncated)))
    assert sample.value_preds[-1] == value
    assert sample.dones.tolist() == [False, False, done]


def classic(num_steps: int = 2, **changes: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    arrays = {
        "map": np.zeros((num_steps, 1, 3, 3), np.float32),
        "features": np.zeros((num_steps, 2), np.float32),
        "actions": np.zeros(num_steps, np.int64),
        "old_log_probs": np.zeros(num_steps, np.float32),
        "rewards": np.zeros(num_steps, np.float32),
        "dones": np.zeros(num_steps, bool),
        "value_preds": np.zeros(num_steps, np.float32),
    }
    return arrays | changes, {"feature_names": ["rivalry_max", "rivalry_avoid_count"]}


def test_a_single_step_without_its_axis() -> None:
    arrays, metadata = classic(1, map=np.ones((1, 3, 3), np.float32), features=np.ones(2, np.float32))
    sample = decode(encode_npz(arrays), json.dumps(metadata).encode())
    assert (sample.map.shape, sample.features.shape) == ((1, 1, 3, 3), (1, 2))
    assert sample.trajectory is None


@pytest.mark.parametrize(
    ("metadata", "vocabulary"),
    [
        ({}, ("action_0", "action_1")),
        ({"action_lookup": {}, "action_dim": 3}, ("action_0", "action_1", "action_2")),
        ({"action_lookup": {"wait": 0, "go": 2}}, ("wait", "action_1", "go")),
        ({"action_lookup": {"{}": 0}, "action_dim": 2}, ("action_0", "action_1")),
        ({"action_lookup": {"go": 1, "{}": 3}}, ("action_0", "go", "action_2", "action_3")),
    ],
)
def test_names_of_actions(metadata: dict[str, object], vocabulary: tuple[str, ...]) -> None:
    arrays, required = classic(actions=np.array([0, 1]))
    sample = decode(encode_npz(arrays), json.dumps(required | metadata).encode())
    assert sample.vocabulary == vocabulary


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"feature_names": None}, "`feature_names` must be a list of strings"),
        ({"feature_names": ["a", "b"]}, "must hold"),
        ({"timesteps": 3}, "`timesteps` is not the length of the arrays"),
        ({"frame_count": 1}, "`frame_count` is not the length"),
        ({"action_lookup": {"a": 0, "b": 0}}, "gives an id twice"),
        ({"action_lookup": {"a": -1}}, "action ids must be in"),
        ({"action_lookup": {"a": 10**9}}, "action ids must be in"),
        ({"action_lookup": []}, "`action_lookup` must be an object"),
        ({"action_lookup": {"": 0}}, "calls an action by an empty text"),
        ({"action_lookup": {"action_2": 0}, "action_dim": 3}, "or as another one is called"),
        ({SECTION: 1}, "`townlet` must be an object"),
        ({SECTION: {"arrays": ["map"]}}, "`arrays` must name"),
        ({SECTION: {"arrays": list(CLASSIC_ARRAYS)}}, "schema_version None is not 1"),
        ({SECTION: {"arrays": list(CLASSIC_ARRAYS), "schema_version": 1}}, "`sha256` must be a string"),
    ],
)
def test_bad_descriptions(metadata: dict[str, object], reason: str) -> None:
    arrays, required = classic()
    with pytest.raises(CaptureError, match=reason):
        decode(encode_npz(arrays), json.dumps(required | metadata).encode())


def resealed(npz: bytes, metadata: dict[str, object]) -> bytes:
    """The description with a digest that fits, as somebody who changes files on purpose would write it."""
    del metadata[SECTION]["sha256"]
    text = json.dumps(metadata, sort_keys=True, separators=(",", ":")).encode()
    metadata[SECTION]["sha256"] = hashlib.sha256(npz + text).hexdigest()
    return json.dumps(metadata).encode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("observations", {"map": {"dtype": "float32", "shape": [2, 3, 3]}, "x": {"dtype": "int8", "shape": []}}),
        ("observations", {"map": {"dtype": "float64", "shape": [2, 3, 3]}}),
        ("decisions", {}),
        ("vocabulary", ["a", "a", "b"]),
        ("terminated", 1),
        ("world", "x"),
        ("episode_label", "fine"),
        ("episode_label", 3),
    ],
)
def test_a_section_that_contradicts_the_arrays(name: str, value: object) -> None:
    npz, description = encode(make_trajectory(1, 3))
    metadata = json.loads(description)
    metadata[SECTION][name] = value
    with pytest.raises(CaptureError, match="parse"):
        decode(npz, resealed(npz, metadata))


def test_a_description_says_the_label_where_there_is_one() -> None:
    trajectory = make_trajectory(1, 3)
    assert "episode_label" not in json.loads(encode(trajectory)[1])[SECTION]
    npz, description = encode(replace(trajectory, episode_label=EpisodeLabel.DISCARD))
    assert json.loads(description)[SECTION]["episode_label"] == "discard"
    assert npz == encode(trajectory)[0]


def test_a_description_belongs_to_its_arrays() -> None:
    npz, _ = encode(make_trajectory(1, 3))
    _, other = encode(make_trajectory(2, 3))
    with pytest.raises(CaptureError, match="expected SHA-256"):
        decode(npz, other)


def test_damaged_files_are_never_loaded_as_something_else() -> None:
    trajectory = make_trajectory(1, 3)
    npz, description = encode(trajectory)
    rng = np.random.default_rng(11)
    for case in range(1500):
        try:
            if case % 3:
                sample = decode(npz, damaged(description, rng))
            else:
                sample = decode(damaged(npz, rng), description)
        except ArtifactError:
            continue
        assert sample.trajectory is not None
        assert_same_trajectory(sample.trajectory, trajectory)
        assert sample.metadata == json.loads(description)


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        (replace(LAYOUT, feature_names=("a",)), r"`features` must be float32 \[1\]"),
        (replace(LAYOUT, action_texts=VOCABULARY[:2]), "`action_texts` must be 3 different texts"),
        (replace(LAYOUT, action_texts=("a", "a", "b")), "`action_texts` must be 3 different texts"),
        (replace(LAYOUT, feature_names=("a", "b", "c")), "must hold"),
    ],
)
def test_a_layout_must_fit(layout: CaptureLayout, reason: str) -> None:
    with pytest.raises(CaptureError, match=reason):
        decode(*encode(make_trajectory(1, 2), layout=layout))


@pytest.mark.parametrize(
    ("observations", "decisions", "reason"),
    [
        ({"map": ArraySpec("float32", (3,))}, {}, r"`map` must be float32 \[C, H, W\]"),
        ({}, {"action": ArraySpec("int32")}, "the column `action` must be"),
    ],
)
def test_a_schema_without_classic_form(
    observations: dict[str, ArraySpec], decisions: dict[str, ArraySpec], reason: str
) -> None:
    trajectory = make_trajectory(1, 2)
    schema = TrajectorySchema(
        observations={**SCHEMA.observations, **observations},
        decisions={**SCHEMA.decisions, **decisions},
        vocabulary=VOCABULARY,
    )
    other = replace(
        trajectory,
        schema=schema,
        observations={name: np.zeros((3, *spec.shape), spec.dtype) for name, spec in schema.observations.items()},
        columns={name: np.zeros((2, *spec.shape), spec.dtype) for name, spec in schema.decisions.items()},
    )
    with pytest.raises(CaptureError, match=reason):
        encode(other)


@pytest.mark.parametrize(("actions", "what"), [(PARTS, "MultiDiscrete"), (NUMBERS, "Box")])
def test_array_actions_have_no_classic_form(actions: ArrayActions, what: str) -> None:
    trajectory = array_batch(array_schema(actions), (3,), seed=1)[0]
    with pytest.raises(CaptureError, match=f"a capture has one action id a step, got {what}"):
        encode(trajectory)


def test_numbers_that_json_cannot_hold() -> None:
    trajectory = make_trajectory(1, 2)
    columns = {**trajectory.columns, "behavior_log_prob": np.array([0, -np.inf], np.float32)}
    with pytest.raises(CaptureError, match="metrics must be finite"):
        encode(replace(trajectory, columns=columns))


SAMPLE = ReplaySample(
    path=Path("a.npz"),
    map=np.zeros((2, 1, 3, 3), np.float32),
    features=np.zeros((2, 2), np.float32),
    actions=np.array([0, 1]),
    old_log_probs=np.zeros(2, np.float32),
    value_preds=np.zeros(3, np.float32),
    rewards=np.zeros(2, np.float32),
    dones=np.zeros(2, bool),
    metadata={},
    feature_names=("rivalry_max", "rivalry_avoid_count"),
    vocabulary=("x", "y"),
    trajectory=None,
)


def test_both_lengths_of_values() -> None:
    assert len(SAMPLE) == 2
    assert len(replace(SAMPLE, value_preds=np.zeros(2, np.float32)).value_preds) == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"map": np.zeros((3, 1, 3, 3), np.float32)}, r"`map` must be \[2, C, H, W\], got \(3, 1, 3, 3\)"),
        ({"map": np.zeros((2, 3, 3), np.float32)}, "`map` must be"),
        ({"features": np.zeros((2, 3), np.float32)}, r"`features` must be \(\(2, 2\),\), got \(2, 3\)"),
        ({"actions": np.array([0, 2])}, r"`actions` must be in \[0, 2\)"),
        ({"actions": np.array([0, -1])}, r"`actions` must be in \[0, 2\)"),
        ({"actions": np.zeros(2, np.int32)}, "`actions` must be int64, got int32"),
        ({"value_preds": np.zeros(4, np.float32)}, r"`value_preds` must be \(\(2,\), \(3,\)\), got \(4,\)"),
        ({"old_log_probs": np.array([0, -np.inf], np.float32)}, "`old_log_probs` must be finite"),
        ({"rewards": np.zeros(0, np.float32)}, "at least one step"),
        ({"dones": np.zeros(2, np.int8)}, "`dones` must be bool, got int8"),
        ({"feature_names": ("a", "rivalry_max")}, r"must hold \['rivalry_avoid_count'\]"),
    ],
)
def test_refused(changes: dict[str, np.ndarray], reason: str) -> None:
    with pytest.raises(CaptureError, match=reason):
        replace(SAMPLE, **changes)
