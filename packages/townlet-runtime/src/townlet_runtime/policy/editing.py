"""Reads ONNX models of other libraries, and edits of graphs that leave what they compute as it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf publishes no types
from onnx import ModelProto, TensorProto, ValueInfoProto
from onnx.inliner import inline_local_functions
from onnx.numpy_helper import from_array, to_array

from townlet_runtime.errors import PolicyFileError
from townlet_runtime.policy.file import MAX_POLICY_BYTES, read_policy_bytes
from townlet_runtime.policy.operators import ALLOWED
from townlet_trajectory import ArtifactError
from townlet_trajectory.storage.paths import read_below


def read_foreign_model(path: Path) -> ModelProto:
    """Read an ONNX model that any library may have written, as one plain graph.

    Weights in files beside it are taken in, functions are inlined, inputs with a default become constants, and all that
    describes the graph without changing it is dropped.

    Args:
        path: of your own model: it is parsed as a whole.

    Raises:
        PolicyFileError: if it cannot be read, is no ONNX model, or is larger than `MAX_POLICY_BYTES`.
    """
    try:
        model: ModelProto = ModelProto.FromString(read_policy_bytes(path))
    except DecodeError as error:
        raise PolicyFileError(path, expected="an ONNX model", got=str(error)) from error
    if model.functions:
        model = inline_local_functions(model)
    if not model.graph.node or not model.opset_import:
        raise PolicyFileError(path, expected="an ONNX model", got="one without a node or an operator set")
    tensors = [_plain(tensor, path) for tensor in model.graph.initializer]
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)
    names = {tensor.name for tensor in tensors}
    inputs = [one for one in model.graph.input if one.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    strip(model)
    return model


def _plain(tensor: TensorProto, path: Path) -> TensorProto:
    """The same numbers as raw bytes in the tensor itself."""
    if tensor.data_location == TensorProto.EXTERNAL:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        try:
            location, offset = entries["location"], int(entries.get("offset", "0"))
            data = read_below(path.parent, location, max_bytes=MAX_POLICY_BYTES, origin=path)
            length = int(entries.get("length", len(data) - offset))
        except (KeyError, ValueError, ArtifactError) as error:
            raise PolicyFileError(path, expected=f"the weights `{tensor.name}` beside it", got=str(error)) from error
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT
        tensor.raw_data = data[offset : offset + length]
    try:
        return from_array(to_array(tensor), tensor.name)
    except (ValueError, TypeError) as error:
        raise PolicyFileError(path, expected=f"the numbers of `{tensor.name}`", got=str(error)[:200]) from error


def strip(model: ModelProto) -> None:
    """Drop what describes a graph without changing it: names of files and people, shapes, metadata."""
    del model.metadata_props[:]
    model.doc_string = model.producer_name = model.producer_version = model.domain = ""
    graph = model.graph
    del graph.metadata_props[:], graph.value_info[:], graph.quantization_annotation[:]
    graph.doc_string = ""
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""


def require_operators(model: ModelProto, path: Path) -> None:
    """Refuse a graph with an operator that a policy file must not use.

    Raises:
        PolicyFileError: names the operator and its node.
    """
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in ALLOWED:
            operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise PolicyFileError(
                path,
                expected="operators that a policy may use (docs/policy-format.md lists them)",
                got=f"`{operator}` in the node `{node.name}`, which computes {list(node.output)}",
            )


def set_outputs(model: ModelProto, names: Collection[str]) -> None:
    """Make `names`, values of the graph, its outputs, and drop what they do not need, in place."""
    del model.graph.output[:]
    model.graph.output.extend(ValueInfoProto(name=name) for name in names)
    keep_outputs(model, names)


def keep_outputs(model: ModelProto, names: Collection[str]) -> None:
    """Drop all outputs of a graph but `names`, and the nodes and constants that only the others needed, in place.

    Args:
        model: its nodes are in the order in which they are computed.
        names: of outputs.
    """
    graph = model.graph
    kept = [output for output in graph.output if output.name in names]
    needed = {output.name for output in kept}
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(filter(None, node.input))
            nodes.append(node)
    initializers = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.output[:], graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.output.extend(kept)
    graph.node.extend(reversed(nodes))
    graph.initializer.extend(initializers)


def with_outputs(data: bytes, names: Collection[str]) -> bytes:
    """Return the model in `data` with these of its outputs alone, see `keep_outputs`."""
    model = ModelProto.FromString(data)
    keep_outputs(model, names)
    edited: bytes = model.SerializeToString()
    return edited


def inferred_shapes(model: ModelProto) -> Mapping[str, list[int | str]]:
    """Sizes of the values of a graph as far as they follow from its inputs, by name: for telling somebody."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {
        one.name: [dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in tensor.shape.dim]
        for one in (*inferred.value_info, *inferred.output)
        if (tensor := one.type.tensor_type).HasField("shape")
    }


def initializers_sha256(model: ModelProto) -> str:
    """SHA-256 (hex) over name, type, shape and bytes of every constant, in the order of the names."""
    digest = hashlib.sha256()
    for tensor in sorted(model.graph.initializer, key=lambda one: one.name):
        digest.update(json.dumps([tensor.name, tensor.data_type, list(tensor.dims)]).encode() + b"\n")
        digest.update(tensor.raw_data)
    return digest.hexdigest()
