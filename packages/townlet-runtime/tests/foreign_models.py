"""Small ONNX models as other libraries export them, for the tests of sealing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, save_model
from onnx.numpy_helper import from_array

FLOAT, DOUBLE, INT64, BOOL = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.BOOL
RNG = np.random.default_rng(11)
W = RNG.normal(size=(4, 3)).astype(np.float32)
V = RNG.normal(size=(4, 1)).astype(np.float32)
node = helper.make_node
Sizes = Sequence[int | str]


def model_of(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, tuple[int, Sizes]],
    outputs: Mapping[str, tuple[int, Sizes]],
    constants: Mapping[str, NDArray[np.generic]],
    *,
    opset: int = 17,
) -> ModelProto:
    """A model of these nodes; inputs and outputs by name, with type and shape."""
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info(name, *declared) for name, declared in inputs.items()],
        [helper.make_tensor_value_info(name, *declared) for name, declared in outputs.items()],
        [from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name="zoo")


def linear(
    *more: NodeProto, batch: int | str = "N", kind: int = FLOAT, outputs: Sequence[str] = ("logits",)
) -> ModelProto:
    """logits = obs W, value = obs V, then `more`; outputs without a declared shape are [N, 3]."""
    dtype = np.float64 if kind == DOUBLE else np.float32
    nodes = [node("MatMul", ["obs", "W"], ["logits"]), node("MatMul", ["obs", "V"], ["value"]), *more]
    shapes: dict[str, Sizes] = {"value": [batch, 1]}
    declared = {name: (kind, shapes.get(name, [batch, 3])) for name in outputs}
    return model_of(nodes, {"obs": (kind, [batch, 4])}, declared, {"W": W.astype(dtype), "V": V.astype(dtype)})


def with_constants(model: ModelProto, **arrays: NDArray[np.generic]) -> ModelProto:
    """The same model with more constants."""
    model.graph.initializer.extend(from_array(np.asarray(array), name) for name, array in arrays.items())
    return model


def gru(*, layers: int = 1) -> ModelProto:
    """One step of `layers` GRUs over [N, 4], with a state [layers, N, 5] in and out, as torch exports `nn.GRU`."""
    nodes = [node("Unsqueeze", ["obs", "axis0"], ["x0"])]
    constants: dict[str, NDArray[np.generic]] = {"axis0": np.array([0]), "axis1": np.array([1])}
    constants["P"] = RNG.normal(size=(5, 3)).astype(np.float32)
    nodes.append(node("Split", ["h0"], [f"h0.{layer}" for layer in range(layers)], axis=0))
    for layer in range(layers):
        width = 4 if layer == 0 else 5
        constants[f"W{layer}"] = RNG.normal(size=(1, 15, width)).astype(np.float32)
        constants[f"R{layer}"] = RNG.normal(size=(1, 15, 5)).astype(np.float32)
        inputs = [f"x{layer}", f"W{layer}", f"R{layer}", "", "", f"h0.{layer}"]
        nodes.append(node("GRU", inputs, [f"y{layer}", f"hn.{layer}"], hidden_size=5))
        nodes.append(node("Squeeze", [f"y{layer}", "axis1"], [f"x{layer + 1}"]))
    nodes.append(node("Concat", [f"hn.{layer}" for layer in range(layers)], ["hn"], axis=0))
    nodes.append(node("Squeeze", [f"x{layers}", "axis0"], ["last"]))
    nodes.append(node("MatMul", ["last", "P"], ["logits"]))
    state: tuple[int, Sizes] = (FLOAT, [layers, "N", 5])
    return model_of(
        nodes, {"obs": (FLOAT, ["N", 4]), "h0": state}, {"logits": (FLOAT, ["N", 3]), "hn": state}, constants
    )


def saved(model: ModelProto, folder: Path, *, beside: bool = False) -> Path:
    """The model in a file; with its weights in another one beside it where `beside`."""
    path = folder / "model.onnx"
    if beside:
        save_model(model, path, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    else:
        path.write_bytes(model.SerializeToString())
    return path
