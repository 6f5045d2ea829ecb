"""Policy files for tests: one that is written by hand, byte by byte, and recurrent ones beside their numpy twin."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

FLOAT, INT64, BOOL = 1, 7, 9
LOWEST = np.finfo(np.float32).min


def digest(keys: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps(list(keys), separators=(",", ":")).encode()).hexdigest()


def card(
    keys: tuple[str, ...] = ("wait", "left", "right", "rest"),
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    **changes: object,
) -> dict[str, object]:
    """The metadata of a policy file; `changes` replace or add entries."""
    shapes = {"features": (8,), "map": (1, 1, 6)} if shapes is None else shapes
    observations = {name: list(shape) for name, shape in shapes.items()}
    spec = {"commitment": None, "feature_names": [], "observations": observations, "vocabulary": list(keys)}
    spec |= {name: changes[name] for name in spec.keys() & changes.keys()}
    return {
        "format": "townlet-policy",
        "version": 1,
        **spec,
        "vocabulary_sha256": digest(keys),
        "spec_sha256": hashlib.sha256(json.dumps(spec, sort_keys=True, separators=(",", ":")).encode()).hexdigest(),
        "state_size": 0,
        "values": True,
        "weights_sha256": "0" * 64,
        "world": "corridor",
        "file_sha256": "0" * 64,
    } | changes


def policy_file(
    weights: NDArray[np.float32],
    values: NDArray[np.float32],
    metadata: dict[str, object] | str,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    masked: bool = True,
    outputs: tuple[str, str] = ("log_probs", "values"),
    metadata_key: str = "townlet",
) -> bytes:
    """A sealed file: log_probs = log_softmax(features @ weights where legal), values = features @ values.

    Args:
        weights: [F, A].
        values: [F].
        metadata: the metadata entry, as a dictionary or as its text.
        shapes: inputs of the graph.
        masked: whether the graph has an input `action_mask`.
        outputs: names of the two outputs.
        metadata_key: name of the metadata entry.
    """
    shapes = {"features": (8,), "map": (1, 1, 6)} if shapes is None else shapes
    num_actions = weights.shape[1]
    log_probs_name, values_name = outputs
    graph = [
        *(_node(*node) for node in _nodes(masked, log_probs_name, values_name)),
        _text(2, "policy"),
        _tensor("weights", FLOAT, weights.shape, weights.astype("<f4").tobytes()),
        _tensor("value_weights", FLOAT, (len(values), 1), values.astype("<f4").tobytes()),
        _tensor("lowest", FLOAT, (), np.float32(LOWEST).tobytes()),
        _tensor("axis", INT64, (1,), np.int64(1).tobytes()),
        *(_value(11, name, FLOAT, shape) for name, shape in shapes.items()),
        *([_value(11, "action_mask", BOOL, (num_actions,))] if masked else []),
        _value(12, log_probs_name, FLOAT, (num_actions,)),
        _value(12, values_name, FLOAT, ()),
    ]
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    model = [
        _number(1, 8),
        _bytes(7, b"".join(graph)),
        _bytes(8, _text(1, "") + _number(2, 17)),
        _bytes(14, _text(1, metadata_key) + _text(2, text)),
    ]
    return seal(b"".join(model))


def seal(data: bytes) -> bytes:
    """Replace the 64 zeros of `file_sha256` by the digest of the file."""
    marker = b'"file_sha256": "' + b"0" * 64
    return data.replace(marker, b'"file_sha256": "' + hashlib.sha256(data).hexdigest().encode())


def _nodes(masked: bool, log_probs: str, values: str) -> list[tuple[str, list[str], str]]:
    mask = [("Where", ["action_mask", "logits", "lowest"], "masked")]
    return [
        ("MatMul", ["features", "weights"], "logits"),
        *(mask if masked else []),
        ("LogSoftmax", ["masked" if masked else "logits"], log_probs),
        ("MatMul", ["features", "value_weights"], "value_column"),
        ("Squeeze", ["value_column", "axis"], values),
    ]


def _node(operator: str, inputs: list[str], output: str) -> bytes:
    return _bytes(1, b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(4, operator))


def _tensor(name: str, kind: int, shape: tuple[int, ...], raw: bytes) -> bytes:
    return _bytes(5, b"".join(_number(1, size) for size in shape) + _number(2, kind) + _text(8, name) + _bytes(9, raw))


def _value(field: int, name: str, kind: int, shape: tuple[int, ...]) -> bytes:
    rows = _bytes(1, _text(2, "N"))
    dimensions = rows + b"".join(_bytes(1, _number(1, size)) for size in shape)
    return _bytes(field, _text(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, dimensions))))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


class ElmanNetwork:
    """h' = tanh(features W + h U), log π = log_softmax(h' P), V = h' v. A `RecurrentActor`, in numpy."""

    def __init__(self, num_features: int, num_actions: int, *, state_size: int = 3, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        shapes = {"W": (num_features, state_size), "U": (state_size,) * 2, "P": (state_size, num_actions)}
        shapes["v"] = (state_size, 1)
        self.weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        self.state_size = state_size

    def act(
        self,
        observations: Mapping[str, NDArray[np.float32]],
        action_mask: NDArray[np.bool_] | None,
        state: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        w = self.weights
        after = np.tanh(observations["features"] @ w["W"] + state @ w["U"])
        logits = after @ w["P"]
        if action_mask is not None:
            logits = np.where(action_mask, logits, LOWEST)
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return np.maximum(log_probs, LOWEST), (after @ w["v"])[:, 0], after

    def file(
        self, metadata: dict[str, object], shapes: Mapping[str, tuple[int, ...]], *, outputs: tuple[str, ...] = ()
    ) -> bytes:
        """The sealed policy file of this network.

        Args:
            metadata: as `card` gives it, for all of `shapes`.
            shapes: inputs of the graph, of which `features` is read.
            outputs: all three where none is named.
        """
        num_actions = self.weights["P"].shape[1]
        nodes = [
            helper.make_node("MatMul", ["features", "W"], ["seen"]),
            helper.make_node("MatMul", ["state_in", "U"], ["remembered"]),
            helper.make_node("Add", ["seen", "remembered"], ["sum"]),
            helper.make_node("Tanh", ["sum"], ["state_out"]),
            helper.make_node("MatMul", ["state_out", "P"], ["logits"]),
            helper.make_node("Where", ["action_mask", "logits", "lowest"], ["masked"]),
            helper.make_node("LogSoftmax", ["masked"], ["log_probs"]),
            helper.make_node("MatMul", ["state_out", "v"], ["column"]),
            helper.make_node("Squeeze", ["column", "axis"], ["values"]),
        ]
        floats = {**shapes, "state_in": (self.state_size,)}
        inputs = [helper.make_tensor_value_info(name, FLOAT, ["N", *shape]) for name, shape in floats.items()]
        inputs.append(helper.make_tensor_value_info("action_mask", TensorProto.BOOL, ["N", num_actions]))
        sizes = {"log_probs": [num_actions], "values": [], "state_out": [self.state_size]}
        constants = {**self.weights, "lowest": np.array(LOWEST, np.float32), "axis": np.array([1], np.int64)}
        graph = helper.make_graph(
            nodes,
            "elman",
            inputs,
            [helper.make_tensor_value_info(name, FLOAT, ["N", *sizes[name]]) for name in outputs or sizes],
            [from_array(array, name) for name, array in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, {"townlet": json.dumps(metadata)})
        return seal(model.SerializeToString())
