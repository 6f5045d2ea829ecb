"""Models of other libraries become policies that act as the models do, for any number of agents."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from foreign_models import BOOL, DOUBLE, FLOAT, INT64, V, W, gru, linear, model_of, node, saved, with_constants
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper
from strategies import LOWEST, log_softmax

from townlet_runtime.errors import PolicyFileError, SimulationError
from townlet_runtime.policy.foreign import ModelParts
from townlet_runtime.policy.onnx import OnnxPolicy, RecurrentOnnxPolicy
from townlet_runtime.policy.policy import require_fit
from townlet_runtime.policy.seal import SealedPolicy, seal
from townlet_runtime.policy.seal_spec import SealSpec
from townlet_runtime.policy.vectors import check_vectors
from townlet_runtime.testing import Corridor
from townlet_trajectory import Box, MultiDiscrete
from townlet_trajectory.evaluation.golden_vectors import read_vectors

KEYS = ("wait", "left", "right")
SPEC = SealSpec(vocabulary=KEYS, world="road", observation_shapes={"features": (4,)})
OBSERVED = np.random.default_rng(5).normal(size=(70, 4)).astype(np.float32)


def sealed(model: ModelProto, tmp_path: Path, spec: SealSpec = SPEC, **parts: object) -> SealedPolicy:
    return seal(saved(model, tmp_path), tmp_path / "policy.onnx", spec=spec, parts=ModelParts(**parts))


def refusal(model: ModelProto, tmp_path: Path, spec: SealSpec = SPEC, **parts: object) -> str:
    with pytest.raises(PolicyFileError) as refused:
        sealed(model, tmp_path, spec, **parts)
    assert not list(tmp_path.glob("policy*"))
    return str(refused.value)


def masked(rows: int = 70) -> NDArray[np.bool_]:
    mask = np.random.default_rng(6).random((rows, 3)) < 0.6
    mask[:, 1] = True
    return mask


def test_a_model_becomes_a_policy_that_says_what_its_weights_say(tmp_path: Path) -> None:
    made = sealed(linear(outputs=("logits", "value")), tmp_path, output="logits", values="value")
    policy = OnnxPolicy.load(made.path, expected_sha256=made.digest)
    assert policy.vocabulary == KEYS and policy.observation_shapes == {"features": (4,)}
    assert (policy.card.world, policy.card.has_values, policy.card.state_size) == ("road", True, 0)
    log_probs, values = policy.act({"features": OBSERVED}, masked())
    np.testing.assert_allclose(
        log_probs,
        np.where(masked(), log_softmax(np.where(masked(), OBSERVED @ W, LOWEST)), LOWEST),
        rtol=1e-5,
        atol=1e-6,
    )
    np.testing.assert_allclose(values, (OBSERVED @ V)[:, 0], rtol=1e-5, atol=1e-6)
    assert (np.exp(log_probs[~masked()]) == 0.0).all()


def test_golden_vectors_of_the_models_own_answers_lie_beside_it(tmp_path: Path) -> None:
    made = sealed(linear(outputs=("logits", "value")), tmp_path, output="logits", values="value")
    assert made.vectors == tmp_path / "policy.vectors.json"
    vectors = read_vectors(made.vectors)
    assert vectors.policy_sha256 == made.digest
    inputs, outputs = vectors.inputs, vectors.outputs
    seen = inputs.observations["features"]
    np.testing.assert_allclose(outputs.values, (seen @ V)[:, 0], rtol=1e-5, atol=1e-6)
    expected = log_softmax(np.where(inputs.action_mask, seen @ W, LOWEST))
    np.testing.assert_allclose(outputs.params[inputs.action_mask], expected[inputs.action_mask], atol=1e-5)
    assert check_vectors(made.path).passed and max(made.differences.values()) < 1e-5


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    first = sealed(linear(), tmp_path).path.read_bytes()
    assert sealed(linear(), tmp_path).path.read_bytes() == first
    assert b"zoo" not in first


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("logits", ()),
        ("log_probs", (node("LogSoftmax", ["logits"], ["said"], axis=1),)),
        ("probs", (node("Softmax", ["logits"], ["said"], axis=1),)),
    ],
)
def test_every_kind_of_output_becomes_log_probabilities(kind: str, more: tuple[object, ...], tmp_path: Path) -> None:
    output = "said" if more else "logits"
    made = sealed(linear(*more, outputs=(output,)), tmp_path, output_kind=kind)
    log_probs, values = OnnxPolicy.load(made.path).act({"features": OBSERVED}, None)
    np.testing.assert_allclose(log_probs, log_softmax(OBSERVED @ W), rtol=1e-4, atol=1e-5)
    assert values is None


def test_a_probability_of_zero_stays_one(tmp_path: Path) -> None:
    more = [node("ArgMax", ["logits"], ["best"], axis=1, keepdims=0), node("OneHot", ["best", "A", "ends"], ["said"])]
    model = with_constants(linear(*more, outputs=("said",)), A=np.array(3), ends=np.array([0.0, 1.0], np.float32))
    log_probs, _ = OnnxPolicy.load(sealed(model, tmp_path, output_kind="probs").path).act({"features": OBSERVED}, None)
    assert np.exp(log_probs).sum(axis=1).tolist() == [1.0] * 70
    np.testing.assert_array_equal(log_probs.argmax(axis=1), (OBSERVED @ W).argmax(axis=1))
    assert set(np.exp(log_probs).ravel().tolist()) == {0.0, 1.0}


def test_a_model_that_names_one_action_takes_it_or_one_of_those_allowed(tmp_path: Path) -> None:
    model = linear(node("ArgMax", ["logits"], ["best"], axis=1, keepdims=0), outputs=("best",))
    model.graph.output[0].type.tensor_type.elem_type = 7
    del model.graph.output[0].type.tensor_type.shape.dim[1]
    policy = OnnxPolicy.load(sealed(model, tmp_path, output_kind="actions").path)
    best = (OBSERVED @ W).argmax(axis=1)
    log_probs, _ = policy.act({"features": OBSERVED}, None)
    np.testing.assert_array_equal(log_probs[np.arange(70), best], np.zeros(70, np.float32))
    assert (np.exp(log_probs).sum(axis=1) == 1.0).all()
    forbidding = np.ones((70, 3), np.bool_)
    forbidding[np.arange(70), best] = False
    log_probs, _ = policy.act({"features": OBSERVED}, forbidding)
    np.testing.assert_allclose(np.exp(log_probs), np.where(forbidding, 0.5, 0.0), rtol=1e-6)


def test_what_is_said_to_be_another_kind_is_refused(tmp_path: Path) -> None:
    assert "expected logits in `said`, got probabilities: each row adds up to 1" in refusal(
        linear(node("Softmax", ["logits"], ["said"], axis=1), outputs=("said",)), tmp_path
    )
    for kind in ("probs", "log_probs"):
        assert f"`logits` to be {kind}, whose probabilities add up to 1" in refusal(
            linear(), tmp_path, output_kind=kind
        )
    assert "expected 1 number for each agent in `logits`" in refusal(linear(), tmp_path, output_kind="actions")
    more = node("ReduceSum", ["logits", "axis"], ["sum"], keepdims=0)
    model = with_constants(linear(more, outputs=("sum",)), axis=np.array([1]))
    del model.graph.output[0].type.tensor_type.shape.dim[1]
    assert "expected actions 0 to 2 in `sum`" in refusal(model, tmp_path, output_kind="actions")


def test_double_precision_is_cast_at_both_ends(tmp_path: Path) -> None:
    made = sealed(linear(kind=DOUBLE, outputs=("logits", "value")), tmp_path, output="logits", values="value")
    log_probs, values = OnnxPolicy.load(made.path).act({"features": OBSERVED}, None)
    assert log_probs.dtype == np.float32 and values is not None and values.dtype == np.float32
    np.testing.assert_allclose(log_probs, log_softmax(OBSERVED @ W), rtol=1e-4, atol=1e-5)


def test_a_model_for_one_agent_is_made_one_for_many(tmp_path: Path) -> None:
    policy = OnnxPolicy.load(sealed(linear(batch=1), tmp_path).path)
    np.testing.assert_allclose(
        policy.act({"features": OBSERVED}, None)[0], log_softmax(OBSERVED @ W), rtol=1e-4, atol=1e-5
    )


def test_a_graph_that_is_right_for_one_agent_alone_is_refused(tmp_path: Path) -> None:
    def with_shape(shape: list[int]) -> ModelProto:
        model = linear(node("Reshape", ["logits", "shape"], ["said"]), batch=1, outputs=("said",))
        return with_constants(model, shape=np.array(shape))

    for shape, found in (([1, 3], "[1, 3]"), ([1, -1], "[1, 12288]")):
        complaint = refusal(with_shape(shape), tmp_path)
        assert f"expected 3 numbers for each agent in `said`, [4096, 3], got {found}" in complaint
        assert "it was exported for one agent: export it with a first axis of any size" in complaint
    model = linear(node("Concat", ["logits", "one"], ["said"], axis=1), batch=1, outputs=("said",))
    complaint = refusal(with_constants(model, one=np.zeros((1, 1), np.float32)), tmp_path)
    assert "Concat to fit its inputs" in complaint and "it was exported for one agent" in complaint


def test_a_graph_that_mixes_agents_is_refused(tmp_path: Path) -> None:
    more = [
        node("ReduceMean", ["logits"], ["mean"], axes=[0], keepdims=1),
        node("Sub", ["logits", "mean"], ["half"]),
        node("Add", ["half", "logits"], ["said"]),
    ]
    assert "its graph fixes the number of agents, or mixes them" in refusal(linear(*more, outputs=("said",)), tmp_path)


def test_an_operator_that_a_policy_must_not_use_is_named(tmp_path: Path) -> None:
    drawing = node("RandomNormalLike", ["logits"], ["said"], name="noise")
    assert "got `RandomNormalLike` in the node `noise`, which computes ['said']" in refusal(
        linear(drawing, outputs=("said",)), tmp_path
    )
    fused = node("FusedMatMul", ["logits", "W2"], ["said"], name="fast", domain="com.microsoft")
    assert "got `com.microsoft.FusedMatMul` in the node `fast`" in refusal(linear(fused, outputs=("said",)), tmp_path)


def test_what_the_actions_do_not_need_is_left_out(tmp_path: Path) -> None:
    noise = node("RandomNormalLike", ["logits"], ["noise"])
    made = sealed(linear(noise, outputs=("logits", "noise")), tmp_path, output="logits")
    assert b"RandomNormalLike" not in made.path.read_bytes()


def test_any_value_of_the_graph_can_tell_the_actions(tmp_path: Path) -> None:
    model = linear(node("LogSoftmax", ["logits"], ["inner"]), node("Relu", ["value"], ["said"]), outputs=("said",))
    made = sealed(model, tmp_path, output="inner", output_kind="log_probs", values="value")
    log_probs, values = OnnxPolicy.load(made.path).act({"features": OBSERVED}, None)
    np.testing.assert_allclose(log_probs, log_softmax(OBSERVED @ W), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(values, (OBSERVED @ V)[:, 0], rtol=1e-5, atol=1e-6)


def test_a_value_that_is_not_there_is_answered_with_those_that_would_do(tmp_path: Path) -> None:
    model = linear(node("Relu", ["logits"], ["inner"]), outputs=("value",))
    complaint = refusal(model, tmp_path, output="absent")
    assert "expected a value `absent` of the graph, got the outputs ['value']" in complaint
    assert "inner values of 3 numbers ['logits', 'inner']" in complaint
    complaint = refusal(linear(outputs=("logits", "value")), tmp_path)
    assert "the name of the output that tells the actions, got ['logits', 'value'] to choose from" in complaint


@pytest.mark.parametrize("layers", [1, 2])
def test_a_layered_state_goes_in_and_out_as_one_row_an_agent(layers: int, tmp_path: Path) -> None:
    model = gru(layers=layers)
    made = sealed(model, tmp_path, output="logits", states={"h0": "hn"})
    policy = RecurrentOnnxPolicy.load(made.path)
    assert policy.state_size == layers * 5
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    state = np.zeros((70, layers * 5), np.float32)
    own = np.zeros((layers, 70, 5), np.float32)
    for tick in range(3):
        seen = OBSERVED + np.float32(tick)
        log_probs, _, state = policy.act({"features": seen}, None, state)
        logits, own = session.run(["logits", "hn"], {"obs": seen, "h0": own})
        np.testing.assert_allclose(log_probs, log_softmax(logits), rtol=1e-4, atol=1e-5)
        for layer in range(layers):
            np.testing.assert_allclose(state[:, 5 * layer : 5 * layer + 5], own[layer], rtol=1e-5, atol=1e-6)


def test_several_states_are_put_side_by_side(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["obs", "W"], ["seen"]),
        node("Add", ["seen", "c"], ["c.next"]),
        node("Sub", ["h", "value"], ["h.next"]),
        node("MatMul", ["obs", "V"], ["value"]),
        node("Add", ["c.next", "h.next"], ["logits"]),
    ]
    nodes = [nodes[0], nodes[3], nodes[1], nodes[2], nodes[4]]
    model = model_of(
        nodes,
        {"obs": (FLOAT, ["N", 4]), "c": (FLOAT, ["N", 3]), "h": (FLOAT, ["N", 1])},
        {"logits": (FLOAT, ["N", 3]), "c.next": (FLOAT, ["N", 3]), "h.next": (FLOAT, ["N", 1])},
        {"W": W, "V": V},
    )
    made = sealed(model, tmp_path, output="logits", states={"c": "c.next", "h": "h.next"})
    state = np.arange(70 * 4, dtype=np.float32).reshape(70, 4) / 64
    _, _, after = RecurrentOnnxPolicy.load(made.path).act({"features": OBSERVED}, None, state)
    np.testing.assert_allclose(after[:, :3], OBSERVED @ W + state[:, :3], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(after[:, 3:], state[:, 3:] - OBSERVED @ V, rtol=1e-5, atol=1e-5)


def test_a_policy_sealed_for_a_world_fits_it_and_is_refused_elsewhere(tmp_path: Path) -> None:
    spec = Corridor().spec
    (width,) = spec.observation_shapes["features"]
    weights = np.ones((width, 4), np.float32)
    model = model_of(
        [node("MatMul", ["obs", "W"], ["logits"])],
        {"obs": (FLOAT, ["N", width])},
        {"logits": (FLOAT, ["N", 4])},
        {"W": weights},
    )
    made = sealed(model, tmp_path, SealSpec.of(spec), inputs={"obs": "features"})
    policy = OnnxPolicy.load(made.path)
    require_fit(policy, spec)
    assert policy.card.feature_names == spec.feature_names and policy.card.world == "corridor"
    # an observation that the model does not read is one that the policy is given nevertheless
    assert policy.observation_shapes == dict(spec.observation_shapes)


def test_a_sealed_file_says_what_it_is(tmp_path: Path) -> None:
    made = sealed(linear(), tmp_path)
    text = made.path.read_bytes()
    start = text.index(b'{"format"')
    label = json.JSONDecoder().raw_decode(text[start:].decode(errors="replace"))[0]
    assert label["file_sha256"] == made.digest and label["values"] is False


PARTS = SealSpec(
    vocabulary=(),
    observation_shapes={"features": (4,)},
    actions=MultiDiscrete(parts={"move": ("stay", "north", "south"), "hand": ("open", "closed")}),
)
NUMBERS = SealSpec(
    vocabulary=(),
    observation_shapes={"features": (4,)},
    actions=Box(names=("steer", "throttle"), low=(-1.0, 0.0), high=(1.0, 4.0)),
    distribution="squashed",
)
WIDE = np.random.default_rng(12).normal(size=(4, 5)).astype(np.float32)


def wide(*more: NodeProto, columns: int, outputs: tuple[str, ...] = ("said",)) -> ModelProto:
    """said = obs W of as many columns, value = obs V, then `more`."""
    nodes = [node("MatMul", ["obs", "W"], ["said"]), node("MatMul", ["obs", "V"], ["value"]), *more]
    declared = {name: (FLOAT, ["N", "P"]) for name in outputs}
    return model_of(nodes, {"obs": (FLOAT, ["N", 4])}, declared, {"W": WIDE[:, :columns], "V": V})


def test_a_model_of_parts_becomes_a_policy_that_normalises_each(tmp_path: Path) -> None:
    made = sealed(wide(columns=5), tmp_path, PARTS, output="said", values="value")
    policy = OnnxPolicy.load(made.path)
    assert (policy.vocabulary, policy.actions, policy.distribution) == ((), PARTS.actions, "")
    mask = np.ones((70, 5), np.bool_)
    mask[:35, 1] = mask[35:, 4] = False
    log_probs, values = policy.act({"features": OBSERVED}, mask)
    scores = np.where(mask, OBSERVED @ WIDE, LOWEST)
    expected = np.concatenate((log_softmax(scores[:, :3]), log_softmax(scores[:, 3:])), axis=1)
    np.testing.assert_allclose(log_probs[mask], expected[mask], rtol=1e-4, atol=1e-5)
    assert (np.exp(log_probs[~mask]) == 0.0).all() and values is not None
    checked = check_vectors(made.path)
    assert checked.passed and checked.differences.keys() == {"log_probs", "values"}


def test_a_model_of_numbers_becomes_a_policy_of_gaussians(tmp_path: Path) -> None:
    made = sealed(wide(columns=4), tmp_path, NUMBERS, output="said", output_kind="gaussian", values="value")
    policy = OnnxPolicy.load(made.path)
    assert (policy.actions, policy.distribution) == (NUMBERS.actions, "squashed")
    params, values = policy.act({"features": OBSERVED}, None)
    np.testing.assert_allclose(params, OBSERVED @ WIDE[:, :4], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values, (OBSERVED @ V)[:, 0], rtol=1e-5, atol=1e-6)
    checked = check_vectors(made.path)
    assert checked.passed and checked.differences.keys() == {"gaussian", "values"}
    alone = policy.without_values()
    assert alone.outputs == ("gaussian",) and alone.act({"features": OBSERVED}, None)[1] is None
    assert policy.act({"features": OBSERVED[:0]}, None)[0].shape == (0, 4)


def test_a_model_that_names_numbers_alone_is_nearly_certain_of_them(tmp_path: Path) -> None:
    made = sealed(wide(columns=2), tmp_path, replace(NUMBERS, distribution="clipped"), output_kind="actions")
    params, _ = OnnxPolicy.load(made.path).act({"features": OBSERVED}, None)
    np.testing.assert_allclose(params[:, :2], OBSERVED @ WIDE[:, :2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.exp(params[:, 2:]), np.tile([1e-3, 2e-3], (70, 1)), rtol=1e-5)


def test_a_mask_of_numbers_is_refused_while_acting(tmp_path: Path) -> None:
    policy = OnnxPolicy.load(sealed(wide(columns=4), tmp_path, NUMBERS, output_kind="gaussian").path)
    with pytest.raises(SimulationError, match="the policy expected no `action_mask` of numbers, got bool"):
        policy.act({"features": OBSERVED}, np.ones((70, 4), np.bool_))


def test_kinds_of_output_that_do_not_tell_such_actions_are_refused(tmp_path: Path) -> None:
    assert "an output kind of numbers within bounds, gaussian or actions, got `logits`" in refusal(
        wide(columns=4), tmp_path, NUMBERS
    )
    for spec in (SPEC, PARTS):
        assert "an output kind of actions with probabilities, logits or log_probs or" in refusal(
            linear(), tmp_path, spec, output_kind="gaussian"
        )
    assert "expected 4 numbers for each agent in `said`" in refusal(
        wide(columns=5), tmp_path, NUMBERS, output_kind="gaussian"
    )
    assert "expected 5 numbers for each agent in `logits`" in refusal(linear(), tmp_path, PARTS)
    masked_model = wide(node("Where", ["mask", "said", "said"], ["chosen"]), columns=4, outputs=("chosen",))
    masked_model.graph.input.append(helper.make_tensor_value_info("mask", BOOL, ["N", 4]))
    assert "no mask, for numbers have none, got the input `action_mask`" in refusal(
        masked_model, tmp_path, NUMBERS, output_kind="gaussian", inputs={"mask": "action_mask", "obs": "features"}
    )


def test_a_spec_of_numbers_without_a_distribution_is_refused(tmp_path: Path) -> None:
    complaint = refusal(wide(columns=4), tmp_path, replace(NUMBERS, distribution=""), output_kind="gaussian")
    assert (
        "a spec that does not contradict itself, got `distribution` must be one of ('clipped', 'squashed')" in complaint
    )


def test_indices_beyond_a_part_are_refused(tmp_path: Path) -> None:
    more = [
        node("Abs", ["said"], ["positive"]),
        node("Add", ["positive", "two"], ["above"]),
        node("Cast", ["above"], ["named"], to=INT64),
    ]
    model = with_constants(wide(*more, columns=2, outputs=("named",)), two=np.array([0.0, 2.0], np.float32))
    model.graph.output[0].type.tensor_type.elem_type = INT64
    complaint = refusal(model, tmp_path, PARTS, output_kind="actions")
    assert "actions 0 to 2 in `named` (of the first part; the parts have [3, 2] values)" in complaint


def test_the_bytes_of_a_sealed_discrete_model_are_those_of_the_release_before(tmp_path: Path) -> None:
    made = sealed(linear(), tmp_path)
    digest = hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert digest == "a99dd877839d86b1b8eb1534c7b993568b7c0bf4890c17ff8908b7958748a4c0"
