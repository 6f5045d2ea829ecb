"""The exported file computes what the network computes, says what it is, and says nothing else."""

import copy
import hashlib
import json
import logging
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from corridor import SPEC, network
from kinds import KINDS, mask_of, network_of, observations_of

from townlet_training.errors import ExportError, NonFiniteError
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import Activation, NetworkConfig, Statistics
from townlet_training.network.export.onnx_export import export_policy
from townlet_training.network.spec import PolicySpec
from townlet_training.network.weights import weights_sha256
from townlet_trajectory import vocabulary_digest
from townlet_trajectory.evaluation.golden_vectors import PolicyOutputs, read_vectors, vectors_path
from townlet_trajectory.evaluation.policy_card import spec_digest
from townlet_trajectory.evaluation.results import ExportedPolicy

TOWN = PolicySpec(
    world="town",
    vocabulary=tuple(f"action{index}" for index in range(7)),
    observation_shapes={"map": (2, 3, 3), "features": (5,)},
    feature_names=("a", "b", "c", "d", "e"),
    commitment=("features", 2, 15),
)


@pytest.fixture(scope="module")
def actor() -> ActorCritic:
    own = ActorCritic(
        TOWN.observation_shapes,
        len(TOWN.vocabulary),
        NetworkConfig(hidden_sizes=(16, 8)),
        generator=torch.Generator().manual_seed(1),
    )
    with torch.no_grad():
        own.observation_mean.normal_(generator=torch.Generator().manual_seed(2))
        own.observation_std.fill_(1.7)
        for weight in own.policy.parameters():
            weight.mul_(20.0)
    own.set_value_scale(12.5)
    return own


@pytest.fixture(scope="module")
def exported(actor: ActorCritic, tmp_path_factory: pytest.TempPathFactory) -> ExportedPolicy:
    return export_policy(actor, tmp_path_factory.mktemp("export") / "policy.onnx", spec=TOWN, seed=1)


def label_of(path: Path) -> dict[str, object]:
    (entry,) = onnx.load(path).metadata_props
    assert entry.key == "townlet"
    return json.loads(entry.value)


def test_the_file_says_what_it_is(actor: ActorCritic, exported: ExportedPolicy) -> None:
    assert label_of(exported.path) == {
        "format": "townlet-policy",
        "version": 1,
        "vocabulary": list(TOWN.vocabulary),
        "vocabulary_sha256": vocabulary_digest(TOWN.vocabulary),
        "observations": {"features": [5], "map": [2, 3, 3]},
        "feature_names": ["a", "b", "c", "d", "e"],
        "commitment": {"observation": "features", "start": 2, "max_ticks": 15},
        "spec_sha256": spec_digest(TOWN.vocabulary, TOWN.observation_shapes, TOWN.feature_names, TOWN.commitment),
        "state_size": 0,
        "values": True,
        "weights_sha256": weights_sha256(actor),
        "world": "town",
        "file_sha256": exported.file_sha256,
    }
    assert exported.weights_sha256 == weights_sha256(actor)


def test_the_file_holds_its_own_digest(exported: ExportedPolicy) -> None:
    data = exported.path.read_bytes()
    assert data.count(exported.file_sha256.encode()) == 1
    blank = data.replace(exported.file_sha256.encode(), b"0" * 64)
    assert hashlib.sha256(blank).hexdigest() == exported.file_sha256


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_any_change_of_the_file_changes_its_digest(exported: ExportedPolicy, position: float) -> None:
    data = bytearray(exported.path.read_bytes().replace(exported.file_sha256.encode(), b"0" * 64))
    data[int(position * len(data))] ^= 1
    assert hashlib.sha256(data).hexdigest() != exported.file_sha256


def test_inputs_and_outputs_are_named(exported: ExportedPolicy) -> None:
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    inputs = {each.name: (each.type, each.shape[1:]) for each in session.get_inputs()}
    assert inputs == {
        "features": ("tensor(float)", [5]),
        "map": ("tensor(float)", [2, 3, 3]),
        "action_mask": ("tensor(bool)", [7]),
    }
    assert all(isinstance(each.shape[0], str) for each in session.get_inputs())
    assert [each.name for each in session.get_outputs()] == ["log_probs", "values"]
    assert [each.type for each in session.get_outputs()] == ["tensor(float)"] * 2


def test_it_computes_what_the_network_computes_for_any_number_of_agents(
    actor: ActorCritic, exported: ExportedPolicy
) -> None:
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    exact, rng = copy.deepcopy(actor).double(), np.random.default_rng(8)
    file_error = network_error = 0.0
    for num_agents in range(1, 301):
        observations = {
            name: rng.normal(scale=5.0, size=(num_agents, *shape)).astype(np.float32)
            for name, shape in TOWN.observation_shapes.items()
        }
        mask = rng.random((num_agents, 7)) < rng.choice([0.1, 0.5, 1.0])
        mask[np.arange(num_agents), rng.integers(7, size=num_agents)] = True
        log_probs, values = session.run(None, {**observations, "action_mask": mask})
        expected_log_probs, expected_values = actor.act(observations, mask)
        assert log_probs.dtype == values.dtype == np.float32
        assert log_probs.shape == (num_agents, 7)
        assert values.shape == (num_agents,)
        tensors = {name: torch.from_numpy(array) for name, array in observations.items()}
        with torch.no_grad():
            exact_log_probs, exact_values = (each.numpy() for each in exact(tensors, torch.from_numpy(mask)))
        expected = exact_log_probs[mask]
        file_error = max(file_error, (np.abs(log_probs[mask] - expected) / (1 + np.abs(expected))).max())
        network_error = max(network_error, (np.abs(expected_log_probs[mask] - expected) / (1 + np.abs(expected))).max())
        assert (np.abs(values - exact_values) <= 1e-5 * (1 + np.abs(exact_values))).all()
        assert (np.abs(values - expected_values) <= 1e-5 * (1 + np.abs(expected_values))).all()
        assert (np.exp(log_probs[~mask]) == 0.0).all()
        np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1.0, rtol=1e-5)
    # Beside float64, with weights so large that float32 has no more digits: on processors without AVX-512 both round
    # more.
    assert network_error <= 1e-5 and file_error <= 1e-5 + network_error


def test_golden_vectors_of_the_network_lie_beside_the_file(actor: ActorCritic, exported: ExportedPolicy) -> None:
    vectors = read_vectors(vectors_path(exported.path))
    assert (vectors.policy_sha256, vectors.seed, vectors.tolerance) == (exported.file_sha256, 1, 1e-5)
    observations, mask = vectors.inputs.observations, vectors.inputs.action_mask
    log_probs, values = actor.act(observations, mask)
    assert vectors.differences(PolicyOutputs(log_probs, values, None)) == {"log_probs": 0.0, "values": 0.0}
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    found = PolicyOutputs(*session.run(None, {**observations, "action_mask": mask}), None)
    assert 0.0 < max(vectors.differences(found).values()) < 1e-5
    # and the comparison means something: another network is found out
    assert max(vectors.differences(PolicyOutputs(log_probs[::-1], values[::-1], None)).values()) > 0.1


def test_observations_too_large_for_golden_vectors_are_refused(tmp_path: Path) -> None:
    shapes = {"image": (2**18,)}
    own = ActorCritic(shapes, 2, NetworkConfig(hidden_sizes=(1,)), generator=torch.Generator().manual_seed(1))
    spec = PolicySpec(world="w", vocabulary=("a", "b"), observation_shapes=shapes)
    with pytest.raises(ExportError, match="golden vectors hold up to 262144 numbers"):
        export_policy(own, tmp_path / "p", spec=spec, seed=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("statistics", get_args(Statistics))
def test_the_graph_is_made_of_a_few_operators_without_control_flow(
    tmp_path: Path, activation: Activation, statistics: Statistics
) -> None:
    # The runtime accepts no other operator, no function and no graph within a graph: this list and its own must agree.
    allowed = {
        "Clip",
        "Concat",
        "Div",
        "Flatten",
        "Gemm",
        "LogSoftmax",
        "Mul",
        "Relu",
        "Squeeze",
        "Sub",
        "Tanh",
        "Where",
    }
    shapes = {"map": (2, 3, 3), "features": (5,), "hunger": ()}
    config = NetworkConfig(activation=activation, normalize_observations=statistics, value_scale=statistics)
    own = ActorCritic(shapes, 7, config, generator=torch.Generator().manual_seed(1))
    own.set_value_scale(12.5)
    path = export_policy(own, tmp_path / "policy.onnx", spec=replace(TOWN, observation_shapes=shapes), seed=1).path
    model = onnx.load(path)
    operators = {node.op_type for node in model.graph.node}
    activations = {"tanh": "Tanh", "relu": "Relu"}  # one node each
    assert operators <= allowed and {"Gemm", "Where", "LogSoftmax", "Mul", activations[activation]} <= operators
    assert not model.functions and [(each.domain, each.version) for each in model.opset_import] == [("", 20)]
    plain = {onnx.AttributeProto.FLOAT, onnx.AttributeProto.INT, onnx.AttributeProto.INTS}
    assert {attribute.type for node in model.graph.node for attribute in node.attribute} <= plain
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_the_same_weights_give_the_same_bytes(actor: ActorCritic, exported: ExportedPolicy, tmp_path: Path) -> None:
    again = export_policy(actor, tmp_path / "again.onnx", spec=TOWN, seed=2)
    assert again.path.read_bytes() == exported.path.read_bytes()


def test_the_file_names_no_place_on_the_machine_that_wrote_it(exported: ExportedPolicy) -> None:
    data = exported.path.read_bytes()
    assert not re.findall(rb"\.py\b|/home|/tmp|/usr|site-packages|File \"", data)
    assert str(Path(__file__).parents[1]).encode() not in data


def test_exporting_is_silent(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    level = logging.getLogger("torch.onnx").level
    with caplog.at_level(logging.INFO):
        export_policy(network(), tmp_path / "policy.onnx", spec=SPEC, seed=1)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert not [one for one in recwarn if one.category is not ResourceWarning]  # of what others left open
    assert logging.getLogger("torch.onnx").level == level
    assert sorted(file.name for file in tmp_path.iterdir()) == ["policy.onnx", "policy.vectors.json"]


def test_exporting_imports_no_compiler(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from pathlib import Path; "
    code += "from corridor import SPEC, network; from townlet_training import export_policy; "
    code += f"export_policy(network(), Path({str(tmp_path / 'policy.onnx')!r}), spec=SPEC, seed=1); "
    code += "raise SystemExit(str({'torch.onnx', 'torch._dynamo', 'onnxscript', 'sympy'} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stderr.strip() == ""


def test_a_spec_of_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="`spec` has 2 actions, the network 3"):
        export_policy(network(), tmp_path / "p", spec=replace(SPEC, vocabulary=("wait", "go")), seed=1)
    with pytest.raises(ExportError, match="`spec` has observations"):
        export_policy(network(), tmp_path / "p", spec=replace(SPEC, observation_shapes={"cell": (5,)}), seed=1)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    own = network()
    with torch.no_grad():
        next(own.critic.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="export: tensor `critic"):
        export_policy(own, tmp_path / "p", spec=SPEC, seed=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("output", ["log_probs", "values"])
def test_a_file_that_computes_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    own = network()
    right = own.act

    def wrong(observations, mask):
        log_probs, values = right(observations, mask)
        return (log_probs - 0.001, values) if output == "log_probs" else (log_probs, values + 0.001)

    monkeypatch.setattr(own, "act", wrong)
    with pytest.raises(ExportError, match=f"`{output}` of the exported policy is off by"):
        export_policy(own, tmp_path / "p", spec=SPEC, seed=1)
    assert not list(tmp_path.iterdir())


def test_values_far_from_one_are_compared_in_their_own_unit(tmp_path: Path) -> None:
    own = ActorCritic.of(TOWN, NetworkConfig(hidden_sizes=(64, 64)), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for weight in own.critic.parameters():
            weight.mul_(4.0)
    # rounding of 1e-6 in the head is 1 here: more than 1e-5 of a value that happens to be near 0
    own.set_value_scale(1e6)
    exported = export_policy(own, tmp_path / "policy.onnx", spec=TOWN, seed=1)
    assert exported.path.exists()


EXPORTED = (
    "parts", "clipped", "squashed", "gru", "gru_shared", "gru_numbers", "frames_shared", "shared", "central",
    "central_gru", "central_frames", "seeing", "seeing_gru_parts", "seeing_central_gru", "running",
)  # fmt: skip


@pytest.mark.parametrize("kind", EXPORTED)
def test_every_kind_of_network_is_the_same_as_a_file(kind: str, tmp_path: Path) -> None:
    own, (spec, _) = network_of(kind), KINDS[kind]
    exported = export_policy(own, tmp_path / "policy.onnx", spec=spec, seed=1)
    label = label_of(exported.path)
    is_central = bool(spec.critic_shapes)
    state_size = own.policy_state_size if is_central else own.state_size
    assert (label["state_size"], label["values"]) == (state_size, not is_central)
    assert label["version"] == (1 if spec.actions is None else 2)
    assert label.get("distribution", "") == spec.distribution
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    first = "gaussian" if spec.distribution else "log_probs"
    outputs = [first, *([] if is_central else ["values"]), *(["state_out"] if state_size else [])]
    assert [each.name for each in session.get_outputs()] == outputs
    for num_agents in (1, 2, 23):
        seen, mask = observations_of(own, num_agents, seed=num_agents), mask_of(own, num_agents, seed=2)
        state = np.random.default_rng(3).normal(size=(num_agents, own.state_size)).astype(np.float32)
        feed = {name: seen[name] for name in spec.observation_shapes}
        feed |= {} if mask is None else {"action_mask": mask}
        feed |= {"state_in": state[:, :state_size]} if state_size else {}
        assert {each.name for each in session.get_inputs()} == set(feed)
        found = dict(zip(outputs, session.run(outputs, feed), strict=True))
        params, values, after = own.act(seen, mask, state)
        legal = np.ones_like(params, np.bool_) if mask is None else mask
        np.testing.assert_allclose(found[first][legal], params[legal], rtol=1e-5, atol=1e-5)
        assert (np.exp(found[first][~legal]) == 0.0).all()
        if not is_central:
            np.testing.assert_allclose(found["values"], values, rtol=1e-5, atol=1e-5)
        if state_size:
            np.testing.assert_allclose(found["state_out"], after[:, :state_size], rtol=1e-5, atol=1e-5)
    vectors = read_vectors(vectors_path(exported.path))
    session_inputs = {**vectors.inputs.observations}
    session_inputs |= {} if vectors.inputs.action_mask is None else {"action_mask": vectors.inputs.action_mask}
    session_inputs |= {} if vectors.inputs.state is None else {"state_in": vectors.inputs.state}
    answered = dict(zip(outputs, session.run(outputs, session_inputs), strict=True))
    answer = PolicyOutputs(answered[first], answered.get("values"), answered.get("state_out"))
    assert all(difference <= vectors.tolerance for difference in vectors.differences(answer).values())


def test_a_file_is_only_written_for_the_spec_of_its_network(tmp_path: Path) -> None:
    for kind, spec, message in (
        ("parts", KINDS["plain"][0], "`spec` has 3 actions, the network 5"),
        ("clipped", KINDS["squashed"][0], "`spec` has the distribution 'squashed', the network 'clipped'"),
        ("seeing", KINDS["plain"][0], "`spec` has observations"),
    ):
        with pytest.raises(ExportError, match=message):
            export_policy(network_of(kind), tmp_path / "policy.onnx", spec=spec, seed=1)
    assert not list(tmp_path.iterdir())
