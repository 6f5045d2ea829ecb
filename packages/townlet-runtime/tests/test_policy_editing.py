"""Models of any library become one plain graph, and edits leave what is computed as it is."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from foreign_models import FLOAT, W, linear, node, saved
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array

from townlet_runtime.errors import PolicyFileError
from townlet_runtime.policy.editing import (
    inferred_shapes,
    initializers_sha256,
    keep_outputs,
    read_foreign_model,
    require_operators,
    set_outputs,
    with_outputs,
)

SEEN = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)


def run(model: ModelProto, *names: str) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(names, {"obs": SEEN})


def test_weights_beside_the_file_are_taken_in(tmp_path: Path) -> None:
    model = read_foreign_model(saved(linear(), tmp_path, beside=True))
    assert all(tensor.raw_data and not tensor.external_data for tensor in model.graph.initializer)
    np.testing.assert_allclose(run(model, "logits")[0], SEEN @ W, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("location", ["../model.onnx.data", "/etc/hostname", "absent.data"])
def test_weights_elsewhere_are_refused(tmp_path: Path, location: str) -> None:
    path = saved(linear(), tmp_path, beside=True)
    model = ModelProto.FromString(path.read_bytes())
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(PolicyFileError, match=r"model.onnx: expected the weights `W` beside it"):
        read_foreign_model(path)


def test_numbers_in_typed_fields_become_raw(tmp_path: Path) -> None:
    model = linear()
    del model.graph.initializer[:]
    model.graph.initializer.append(helper.make_tensor("W", FLOAT, W.shape, W.ravel().tolist()))
    model.graph.initializer.append(from_array(np.ones((4, 1), np.float32), "V"))
    read = read_foreign_model(saved(model, tmp_path))
    assert [tensor.name for tensor in read.graph.initializer if tensor.raw_data] == ["W", "V"]
    np.testing.assert_array_equal(run(read, "logits")[0], run(linear(), "logits")[0])


def test_inputs_with_a_default_are_constants(tmp_path: Path) -> None:
    model = linear()
    model.graph.input.append(helper.make_tensor_value_info("W", FLOAT, [4, 3]))
    read = read_foreign_model(saved(model, tmp_path))
    assert [one.name for one in read.graph.input] == ["obs"]


def test_functions_are_inlined(tmp_path: Path) -> None:
    model = linear(node("Twice", ["logits"], ["said"], domain="mine"), outputs=("said",))
    twice = helper.make_function(
        "mine", "Twice", ["x"], ["y"], [node("Add", ["x", "x"], ["y"])], [helper.make_opsetid("", 17)]
    )
    model.functions.append(twice)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    read = read_foreign_model(saved(model, tmp_path))
    require_operators(read, tmp_path)
    assert {one.op_type for one in read.graph.node} == {"MatMul", "Add"} and not read.functions
    np.testing.assert_allclose(run(read, "said")[0], 2 * (SEEN @ W), rtol=1e-5, atol=1e-6)


def test_names_of_files_and_people_are_dropped(tmp_path: Path) -> None:
    model = linear()
    model.doc_string = "somebody"
    model.graph.node[0].doc_string = "/home/somebody/train.py"
    model.metadata_props.add(key="author", value="somebody")
    assert b"somebody" not in read_foreign_model(saved(model, tmp_path)).SerializeToString()


@pytest.mark.parametrize(
    ("data", "came"), [(b"no model at all", "expected an ONNX model"), (b"", "one without a node")]
)
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes, came: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(PolicyFileError, match=came):
        read_foreign_model(path)


def test_outputs_that_are_dropped_take_their_nodes_and_weights_along() -> None:
    model = linear(outputs=("logits", "value"))
    smaller = ModelProto.FromString(with_outputs(model.SerializeToString(), ["logits"]))
    assert [one.name for one in smaller.graph.output] == ["logits"]
    assert [one.output[0] for one in smaller.graph.node] == ["logits"]
    assert [one.name for one in smaller.graph.initializer] == ["W"]
    np.testing.assert_array_equal(run(smaller, "logits")[0], run(model, "logits")[0])
    keep_outputs(model, ["logits", "value"])
    assert len(model.graph.node) == 2


def test_an_inner_value_becomes_an_output() -> None:
    model = linear(node("Relu", ["logits"], ["said"]), outputs=("said",))
    set_outputs(model, ["logits"])
    np.testing.assert_allclose(run(model, "logits")[0], SEEN @ W, rtol=1e-5, atol=1e-6)
    assert len(model.graph.node) == 1


def test_sizes_are_told_as_far_as_they_follow() -> None:
    shapes = inferred_shapes(linear(node("Relu", ["logits"], ["said"]), outputs=("said",)))
    assert shapes == {"logits": ["N", 3], "value": ["N", 1], "said": ["N", 3]}


def test_the_digest_of_weights_is_theirs_alone() -> None:
    digest = initializers_sha256(linear())
    other = linear(node("Relu", ["logits"], ["said"]), outputs=("said",))
    other.graph.initializer.reverse()
    assert initializers_sha256(other) == digest
    assert initializers_sha256(linear(kind=TensorProto.DOUBLE)) != digest
