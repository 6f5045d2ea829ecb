import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_files import ElmanNetwork, card, policy_file, seal
from strategies import LOWEST, log_softmax

from townlet_behavior import BridgeConfig
from townlet_runtime.core.loop import BatchLoop
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.errors import PolicyFileError, SimulationError
from townlet_runtime.policy.onnx import OnnxPolicy, RecurrentOnnxPolicy, load_policy
from townlet_runtime.policy.policy import require_fit
from townlet_runtime.testing import Corridor, CorridorConfig

GENERATOR = np.random.default_rng(7)
WEIGHTS = GENERATOR.normal(size=(8, 4)).astype(np.float32)
VALUES = GENERATOR.normal(size=8).astype(np.float32)
MAP = np.zeros((2, 1, 1, 6))


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "policy.onnx"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("rows", [1, 5])
def test_it_says_what_its_weights_say(tmp_path: Path, rows: int) -> None:
    policy = OnnxPolicy.load(written(tmp_path, policy_file(WEIGHTS, VALUES, card())))
    features = GENERATOR.normal(size=(rows, 8)).astype(np.float32)
    observations = {"features": features, "map": np.zeros((rows, 1, 1, 6), np.float32)}
    mask = np.tile([True, False, True, True], (rows, 1))
    log_probs, values = policy.act(observations, mask)
    assert log_probs.dtype == np.float32 and values.dtype == np.float32
    np.testing.assert_allclose(log_probs, log_softmax(np.where(mask, features @ WEIGHTS, LOWEST)), rtol=1e-5)
    np.testing.assert_allclose(values, features @ VALUES, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(policy.act(observations, None)[0], log_softmax(features @ WEIGHTS), rtol=1e-5)


def test_nobody_there_is_no_trouble(tmp_path: Path) -> None:
    policy = OnnxPolicy.load(written(tmp_path, policy_file(WEIGHTS, VALUES, card())))
    observations = {"features": np.zeros((0, 8), np.float32), "map": np.zeros((0, 1, 1, 6), np.float32)}
    log_probs, values = policy.act(observations, np.zeros((0, 4), np.bool_))
    assert (log_probs.shape, values.shape) == ((0, 4), (0,))


def test_a_policy_that_takes_no_mask_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, policy_file(WEIGHTS, VALUES, card(), masked=False))
    with pytest.raises(PolicyFileError, match=r"expected the graph inputs .*'action_mask': \(9, \(-1, 4\)\)"):
        OnnxPolicy.load(path)


def test_it_drives_a_simulation(tmp_path: Path) -> None:
    policy = OnnxPolicy.load(written(tmp_path, policy_file(WEIGHTS, VALUES, card())))
    corridor = Corridor()
    runtime = BatchRuntime(
        corridor.spec, corridor.scripted("idle"), config=BridgeConfig(ratio=1.0), policy=policy, service=None, seed=1
    )
    loop = BatchLoop(corridor, runtime)
    loop.reset(seed=1)
    report = loop.run_for(60)
    assert report.ticks_by_source == {"scripted": 0, "learned": report.agent_ticks, "external": 0}
    assert runtime.active_policy_hash() == policy.digest


def test_another_policy_than_expected_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, policy_file(WEIGHTS, VALUES, card()))
    digest = OnnxPolicy.load(path).digest
    assert OnnxPolicy.load(path, expected_sha256=digest).digest == digest
    with pytest.raises(PolicyFileError, match=rf"policy.onnx: expected the policy {'0' * 64}, got {digest}"):
        OnnxPolicy.load(path, expected_sha256="0" * 64)


def test_a_damaged_file_never_reaches_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.InferenceSession", None)
    damaged = bytearray(policy_file(WEIGHTS, VALUES, card()))
    damaged[len(damaged) // 2] ^= 1
    with pytest.raises(PolicyFileError, match="the file is damaged"):
        OnnxPolicy.load(written(tmp_path, bytes(damaged)))


def test_a_sealed_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    data = seal(b"no protocol buffer" + json.dumps(card()).encode())
    with pytest.raises(PolicyFileError, match="expected an ONNX model"):
        OnnxPolicy.load(written(tmp_path, data))


def test_a_sealed_model_without_our_metadata_is_foreign(tmp_path: Path) -> None:
    data = policy_file(WEIGHTS, VALUES, card(), metadata_key="somebody")
    with pytest.raises(PolicyFileError, match=r"a metadata entry `townlet`, got \['somebody'\]: foreign"):
        OnnxPolicy.load(written(tmp_path, data))


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match="written by a newer townlet"):
        OnnxPolicy.load(written(tmp_path, policy_file(WEIGHTS, VALUES, card(version=3))))


def test_a_graph_that_is_not_what_its_card_says_is_refused(tmp_path: Path) -> None:
    lying = card(shapes={"features": (8,)})
    with pytest.raises(PolicyFileError, match="expected the graph inputs"):
        OnnxPolicy.load(written(tmp_path, policy_file(WEIGHTS, VALUES, lying)))
    data = policy_file(WEIGHTS, VALUES, card(), outputs=("log_probs", "worth"))
    with pytest.raises(PolicyFileError, match="expected the float outputs"):
        OnnxPolicy.load(written(tmp_path, data))


def test_a_policy_of_another_world_is_refused_by_name(tmp_path: Path) -> None:
    policy = OnnxPolicy.load(written(tmp_path, policy_file(WEIGHTS, VALUES, card())))
    spec = Corridor(CorridorConfig(length=9)).spec
    with pytest.raises(SimulationError, match=r"`map` is \(1, 1, 9\) here and \(1, 1, 6\) in the policy"):
        require_fit(policy, spec)


def test_it_takes_one_thread_unless_told_otherwise(tmp_path: Path) -> None:
    path = written(tmp_path, policy_file(WEIGHTS, VALUES, card()))
    assert OnnxPolicy.load(path).session.get_session_options().intra_op_num_threads == 1
    assert OnnxPolicy.load(path, num_threads=2).session.get_session_options().intra_op_num_threads == 2


def test_observations_of_another_type_are_cast(tmp_path: Path) -> None:
    policy = OnnxPolicy.load(written(tmp_path, policy_file(WEIGHTS, VALUES, card())))
    features = np.arange(16).reshape(2, 8)
    place = np.zeros((2, 1, 1, 6))
    expected = policy.act({"features": features.astype(np.float32), "map": place.astype(np.float32)}, None)
    for kind in (np.int64, np.float64, np.uint8):
        actual = policy.act({"features": features.astype(kind), "map": place}, None)
        np.testing.assert_array_equal(actual[0], expected[0])


def test_what_a_critic_alone_sees_is_ignored(tmp_path: Path) -> None:
    policy = OnnxPolicy.load(written(tmp_path, policy_file(WEIGHTS, VALUES, card())))
    seen = {"features": np.ones((2, 8), np.float32), "map": MAP}
    expected = policy.act(seen, None)
    for answer, same in zip(policy.act({**seen, "state": np.ones((2, 3), np.float32)}, None), expected, strict=True):
        np.testing.assert_array_equal(answer, same)


@pytest.mark.parametrize(
    ("observations", "mask", "complaint"),
    [
        ({}, None, r"expected the observations \['features', 'map'\], got \[\]"),
        ({"features": np.zeros((2, 8))}, None, r"expected the observations \['features', 'map'\], got \['features'\]"),
        ({"features": np.zeros((2, 9)), "map": MAP}, None, r"`features` of shape \(2, 8\), got \(2, 9\)"),
        ({"features": np.zeros(8), "map": MAP}, None, r"`features` of shape \(8, 8\), got \(8,\)"),
        ({"features": np.float32(1.0), "map": MAP}, None, "expected numbers in `features`, got float32"),
        ({"features": np.zeros((2, 8)), "map": MAP[:1]}, None, r"`map` of shape \(2, 1, 1, 6\), got \(1, 1, 1, 6\)"),
        ({"features": np.full((2, 8), "x"), "map": MAP}, None, "expected numbers in `features`, got ndarray"),
        ({"features": [[0.0] * 8] * 2, "map": MAP}, None, "expected numbers in `features`, got list"),
        (
            {"features": np.zeros((2, 8)), "map": MAP},
            np.ones((2, 5), np.bool_),
            r"a bool `action_mask` \(2, 4\), got bool \(2, 5\)",
        ),
        (
            {"features": np.zeros((2, 8)), "map": MAP},
            np.ones((2, 4)),
            r"a bool `action_mask` \(2, 4\), got float64 \(2, 4\)",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_its_shape(
    observations: dict[str, Any], mask: Any, complaint: str, tmp_path: Path
) -> None:
    policy = OnnxPolicy.load(written(tmp_path, policy_file(WEIGHTS, VALUES, card())))
    with pytest.raises(SimulationError, match=f"the policy expected .*{complaint}|{complaint}"):
        policy.act(observations, mask)


def test_more_agents_than_one_pass_takes_are_answered_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = OnnxPolicy.load(written(tmp_path, policy_file(WEIGHTS, VALUES, card())))
    features = GENERATOR.normal(size=(7, 8)).astype(np.float32)
    mask = GENERATOR.random((7, 4)) < 0.7
    mask[:, 0] = True
    observations = {"features": features, "map": np.zeros((7, 1, 1, 6), np.float32)}
    whole = policy.act(observations, mask)
    monkeypatch.setattr("townlet_runtime.policy.onnx.MAX_BATCH", 3)
    for part, expected in zip(policy.act(observations, mask), whole, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-5)


SHAPES = {"features": (8,), "map": (1, 1, 6)}
ELMAN = ElmanNetwork(8, 4)


def recurrent(tmp_path: Path, **changes: object) -> RecurrentOnnxPolicy:
    return RecurrentOnnxPolicy.load(written(tmp_path, ELMAN.file(card(state_size=3, **changes), SHAPES)))


def test_a_recurrent_policy_says_what_its_numpy_twin_says_at_every_tick(tmp_path: Path) -> None:
    policy = recurrent(tmp_path)
    assert policy.state_size == 3
    state = twin_state = np.zeros((5, 3), np.float32)
    for _ in range(4):
        features = GENERATOR.normal(size=(5, 8)).astype(np.float32)
        observations = {"features": features, "map": np.zeros((5, 1, 1, 6), np.float32)}
        mask = np.tile([True, False, True, True], (5, 1))
        log_probs, values, state = policy.act(observations, mask, state)
        expected_log_probs, expected_values, twin_state = ELMAN.act(observations, mask, twin_state)
        np.testing.assert_allclose(log_probs, expected_log_probs, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(values, expected_values, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(state, twin_state, rtol=1e-5, atol=1e-6)


def test_many_agents_keep_their_own_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = recurrent(tmp_path)
    observations = {"features": GENERATOR.normal(size=(7, 8)).astype(np.float32), "map": np.zeros((7, 1, 1, 6))}
    state = GENERATOR.normal(size=(7, 3)).astype(np.float32)
    whole = policy.act(observations, None, state)
    monkeypatch.setattr("townlet_runtime.policy.onnx.MAX_BATCH", 3)
    for part, expected in zip(policy.act(observations, None, state), whole, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-5, atol=1e-6)
    nobody = {name: array[:0] for name, array in observations.items()}
    assert [part.shape for part in policy.act(nobody, None, state[:0])] == [(0, 4), (0,), (0, 3)]


def test_a_state_of_another_shape_is_named(tmp_path: Path) -> None:
    observations = {"features": np.zeros((2, 8), np.float32), "map": np.zeros((2, 1, 1, 6), np.float32)}
    with pytest.raises(SimulationError, match=r"expected `state_in` of shape \(2, 3\), got \(2, 4\)"):
        recurrent(tmp_path).act(observations, None, np.zeros((2, 4), np.float32))


def test_each_kind_of_policy_is_loaded_as_what_it_is(tmp_path: Path) -> None:
    plain = written(tmp_path, policy_file(WEIGHTS, VALUES, card()))
    assert type(load_policy(plain)) is OnnxPolicy
    with pytest.raises(PolicyFileError, match="expected the recurrent state of an `RecurrentOnnxPolicy`, got 0 num"):
        RecurrentOnnxPolicy.load(plain)
    remembering = tmp_path / "recurrent.onnx"
    remembering.write_bytes(ELMAN.file(card(state_size=3), SHAPES))
    assert type(load_policy(remembering)) is RecurrentOnnxPolicy
    with pytest.raises(PolicyFileError, match="got 3 numbers of it, which is for `RecurrentOnnxPolicy`"):
        OnnxPolicy.load(remembering)


@pytest.mark.parametrize(
    ("label", "outputs", "complaint"),
    [
        ({"state_size": 4}, (), r"the graph inputs .*'state_in': \(1, \(-1, 4\)\)"),
        ({}, (), "the graph inputs"),
        ({"state_size": 3, "values": False}, (), "the float outputs"),
        ({"state_size": 3}, ("log_probs", "values"), "the float outputs .*state_out"),
        ({"state_size": 3}, ("log_probs", "state_out"), "the float outputs .*values"),
    ],
)
def test_a_label_that_the_graph_contradicts_is_refused(
    tmp_path: Path, label: dict[str, object], outputs: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(PolicyFileError, match=f"expected {complaint}"):
        load_policy(written(tmp_path, ELMAN.file(card(**label), SHAPES, outputs=outputs)))


def test_a_policy_without_values_acts_alike_and_computes_none(tmp_path: Path) -> None:
    observations = {"features": GENERATOR.normal(size=(5, 8)).astype(np.float32), "map": np.zeros((5, 1, 1, 6))}
    policy = OnnxPolicy.load(written(tmp_path, policy_file(WEIGHTS, VALUES, card())))
    quiet = policy.without_values()
    log_probs, values = quiet.act(observations, None)
    assert values is None and quiet.digest == policy.digest and quiet.without_values() is quiet
    np.testing.assert_array_equal(log_probs, policy.act(observations, None)[0])
    assert [output.name for output in quiet.session.get_outputs()] == ["log_probs"]
    assert quiet.act({name: array[:0] for name, array in observations.items()}, None)[1] is None

    remembering = recurrent(tmp_path)
    state = GENERATOR.normal(size=(5, 3)).astype(np.float32)
    log_probs, values, after = remembering.without_values().act(observations, None, state)
    assert values is None
    np.testing.assert_array_equal(log_probs, remembering.act(observations, None, state)[0])
    np.testing.assert_array_equal(after, remembering.act(observations, None, state)[2])


def test_a_file_may_know_no_values(tmp_path: Path) -> None:
    file = ELMAN.file(card(state_size=3, values=False), SHAPES, outputs=("log_probs", "state_out"))
    policy = RecurrentOnnxPolicy.load(written(tmp_path, file))
    observations = {"features": np.zeros((2, 8), np.float32), "map": np.zeros((2, 1, 1, 6), np.float32)}
    assert policy.act(observations, None, np.zeros((2, 3), np.float32))[1] is None
    assert policy.without_values() is policy
