"""Checks that a policy's graph is bounded before onnxruntime sees it: its operators, sizes and work.

An ONNX file is a program. `read_model` refuses one whose description is large, `check_graph` walks the nodes once, in
the order in which they are computed, at `MAX_BATCH` agents: every operator is one of a list without control flow, every
intermediate value has a size that is known beforehand, and their sum and the number of multiplications stay below the
limits here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sized
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf publishes no types
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, TypeProto
from onnx.checker import ValidationError
from onnx.numpy_helper import from_array, to_array
from onnx.shape_inference import InferenceError, infer_node_outputs

from townlet_runtime.errors import PolicyFileError
from townlet_runtime.policy.file import MAX_BATCH
from townlet_runtime.policy.operators import ALLOWED, MAX_KNOWN, POSITIVE, Value, known_output, misfit, work_of

FLOAT, BOOL = int(TensorProto.FLOAT), int(TensorProto.BOOL)
MAX_DESCRIPTION_BYTES = 2**20
"""Of a file without the raw content of its initializers."""
MAX_NODES = 2000
MAX_INTERMEDIATE_BYTES = 2**32
"""All intermediate values of one forward pass of `MAX_BATCH` agents together."""
MAX_MULTIPLICATIONS = 2**43
"""Of one forward pass of `MAX_BATCH` agents."""

_ITEM_BYTES: dict[int, int] = {
    TensorProto.FLOAT: 4,
    TensorProto.DOUBLE: 8,
    TensorProto.INT32: 4,
    TensorProto.INT64: 8,
    TensorProto.BOOL: 1,
}
_PLAIN = {
    AttributeProto.FLOAT,
    AttributeProto.INT,
    AttributeProto.STRING,
    AttributeProto.TENSOR,
    AttributeProto.FLOATS,
    AttributeProto.INTS,
    AttributeProto.STRINGS,
}
_LARGEST_NUMBER = 2**31
"""Of the integers that sizes are computed from; products of a few of them would no longer fit 64 bits."""
_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_RAW_DATA = 7, 5, 9
"""Field numbers of onnx.proto."""


def read_model(data: bytes, path: Path) -> ModelProto:
    """Parse a model, if its description is small enough to be parsed in bounded time and memory.

    Raises:
        PolicyFileError: if it is no ONNX model, or holds more than `MAX_DESCRIPTION_BYTES` beside its weights.
    """
    try:
        fields = _Fields(data)
        raw_bytes = sum(
            end - start
            for graph in fields.numbered(_MODEL_GRAPH, (0, len(data)))
            for tensor in fields.numbered(_GRAPH_INITIALIZER, graph)
            for start, end in fields.numbered(_TENSOR_RAW_DATA, tensor)
        )
    except OverflowError:  # more fields than a small description can hold
        raw_bytes = 0
    except (ValueError, IndexError) as error:
        raise PolicyFileError(path, expected="an ONNX model", got="another protocol buffer, or none") from error
    if len(data) - raw_bytes > MAX_DESCRIPTION_BYTES:
        expected = f"at most {MAX_DESCRIPTION_BYTES} bytes beside the content of the initializers"
        raise PolicyFileError(path, expected=expected, got="more of them")
    try:
        model: ModelProto = ModelProto.FromString(data)
    except DecodeError as error:
        raise PolicyFileError(path, expected="an ONNX model", got=str(error)) from error
    return model


class _Fields:
    """Finds fields of a protocol buffer that hold bytes, without parsing their content.

    https://protobuf.dev/programming-guides/encoding/: a key (field number << 3 | wire type), then what it says.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = MAX_DESCRIPTION_BYTES // 2  # the shortest field takes two bytes

    def numbered(self, number: int, span: tuple[int, int]) -> Iterator[tuple[int, int]]:
        """The spans of the fields `number` of the message in `span`; `ValueError` if it is none."""
        position, end = span
        while position < end:
            self._left -= 1
            if self._left < 0:
                raise OverflowError
            key, position = self._varint(position)
            wire_type, length = key & 7, 0
            if wire_type == 2:
                length, position = self._varint(position)
            elif wire_type == 0:
                _, position = self._varint(position)
            else:
                length = {1: 8, 5: 4}.get(wire_type, len(self._data))
            if position + length > end:
                raise ValueError("a field that is longer than its message")
            if key >> 3 == number and wire_type == 2:
                yield position, position + length
            position += length

    def _varint(self, position: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
        raise ValueError("a number of more than ten bytes")


def check_graph(
    model: ModelProto, inputs: Mapping[str, tuple[int, tuple[int, ...]]], path: Path
) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Refuse a graph that is not bounded; nothing of it is run.

    Args:
        model: as `read_model` gives it.
        inputs: data type and shape of each graph input; -1: the number of agents.
        path: of the file, for errors.

    Returns:
        data type and shape of each graph output at `MAX_BATCH` agents.

    Raises:
        PolicyFileError: names the operator, node, initializer or size that is refused.
    """
    _check_parts(model, path)
    walk = _Walk(model, path)
    for name, (kind, sizes) in inputs.items():
        walk.put(name, Value(kind=kind, shape=tuple(MAX_BATCH if size < 0 else size for size in sizes)))
    for tensor in model.graph.initializer:
        walk.check_tensor(tensor, tensor.name)
        shape = tuple(tensor.dims)
        known = tensor.data_type == TensorProto.INT64 and math.prod(shape) <= MAX_KNOWN
        walk.put(tensor.name, Value(kind=tensor.data_type, shape=shape, content=to_array(tensor) if known else None))
    for node in model.graph.node:
        walk.visit(node)
    names = [output.name for output in model.graph.output]
    if missing := [name for name in names if name not in walk.values]:
        raise PolicyFileError(path, expected="nodes that compute every output", got=f"none for {missing}")
    return {name: (walk.values[name].kind, walk.values[name].shape) for name in names}


def declared_inputs(model: ModelProto) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Data type and shape of each graph input; -1 for a size that is not fixed."""
    types = {one.name: one.type.tensor_type for one in model.graph.input}
    return {name: (int(tensor.elem_type), _shape(tensor)) for name, tensor in types.items()}


def _shape(tensor: TypeProto.Tensor) -> tuple[int, ...]:
    return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)


def _check_parts(model: ModelProto, path: Path) -> None:
    graph = model.graph
    refused = {
        "functions of its own": [function.name for function in model.functions],
        "sparse initializers": [one.values.name for one in graph.sparse_initializer],
        "operator sets": [one.domain for one in model.opset_import if one.domain not in ("", "ai.onnx")],
        "training": [str(index) for index in range(len(model.training_info))],
    }
    for what, found in refused.items():
        if found:
            raise PolicyFileError(path, expected="a plain graph of ONNX's own operators", got=f"{what}: {found[:3]}")
    if len(model.opset_import) != 1:
        raise PolicyFileError(path, expected="one operator set", got=f"{len(model.opset_import)}")
    version, newest = model.opset_import[0].version, onnx.defs.onnx_opset_version()
    if not 1 <= version <= newest:
        raise PolicyFileError(path, expected=f"an operator set of version 1 to {newest}", got=f"{version}")
    if len(graph.node) > MAX_NODES:
        raise PolicyFileError(path, expected=f"at most {MAX_NODES} nodes", got=f"{len(graph.node)}")


def _kind_name(kind: int) -> str:
    return TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else f"data type {kind}"


class _Walk:
    """Infers every value of a graph, node by node, and keeps count of sizes and multiplications."""

    def __init__(self, model: ModelProto, path: Path) -> None:
        self.values: dict[str, Value] = {}
        self._opset = model.opset_import[0]
        self._ir_version = model.ir_version
        self._path = path
        self._bytes = 0
        self._multiplications = 0

    def put(self, name: str, value: Value) -> None:
        if name in self.values:
            raise self._refused("every value computed once", f"`{name}` twice")
        self.values[name] = value

    def check_tensor(self, tensor: TensorProto, name: str) -> None:
        """The stored content is in the file, of a plain kind, and as large as its shape says."""
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise self._refused(f"`{name}` in the file itself", "external data")
        if tensor.data_type not in _ITEM_BYTES:
            raise self._refused(f"numbers or bools in `{name}`", _kind_name(tensor.data_type))
        typed: dict[int, Sized] = {
            TensorProto.FLOAT: tensor.float_data,
            TensorProto.DOUBLE: tensor.double_data,
            TensorProto.INT32: tensor.int32_data,
            TensorProto.BOOL: tensor.int32_data,
            TensorProto.INT64: tensor.int64_data,
        }
        stored = (
            len(tensor.raw_data) // _ITEM_BYTES[tensor.data_type] if tensor.raw_data else len(typed[tensor.data_type])
        )
        if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) != stored:
            raise self._refused(f"`{name}` of shape {list(tensor.dims)}", f"{stored} numbers stored for it")

    def visit(self, node: NodeProto) -> None:
        """Infer the outputs of `node` from its inputs, which must be known."""
        label = f"node `{node.name}` ({node.op_type})" if node.name else f"a node {node.op_type}"
        self._check_node(node, label)
        unknown = [name for name in node.input if name and name not in self.values]
        if unknown:
            raise self._refused(f"{label} after what it needs", f"`{unknown[0]}`, which is not there yet")
        inputs = {name: self.values[name] for name in node.input if name}
        for name, value in inputs.items():
            numbers = [] if value.content is None or node.op_type == "Slice" else value.content.ravel().tolist()
            if any(abs(number) > _LARGEST_NUMBER for number in numbers):
                raise self._refused(f"integers up to 2^31 for {label}", f"`{name}`: {numbers[:8]}")
        outputs = self._inferred(node, inputs, label)
        for name, value in outputs.items():
            if value.kind not in _ITEM_BYTES:
                raise self._refused(f"numbers or bools from {label}", _kind_name(value.kind))
            self._add_bytes(value.size * _ITEM_BYTES[value.kind], f"`{name}` {list(value.shape)} of {label}")
            self.put(name, value)
        given = [self.values[name] for name in node.input if name]  # one value may be several inputs
        if sizes := misfit(node, given):
            raise self._refused(f"{label} to fit its weights", sizes)
        work, scratch = work_of(node, given, max((value.size for value in outputs.values()), default=0))
        self._multiplications += work
        self._add_bytes(4 * scratch, label)
        if self._multiplications > MAX_MULTIPLICATIONS:
            raise self._refused(
                f"at most {MAX_MULTIPLICATIONS} multiplications at {MAX_BATCH} agents",
                f"{self._multiplications} up to {label}",
            )

    def _check_node(self, node: NodeProto, label: str) -> None:
        if node.domain not in ("", "ai.onnx") or node.op_type not in ALLOWED:
            name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise self._refused("operators of plain networks", f"`{name}`, which is none of them")
        for attribute in node.attribute:
            if attribute.type not in _PLAIN or attribute.ref_attr_name:
                raise self._refused(f"plain attributes of {label}", f"`{attribute.name}`, a graph, type or reference")
            if attribute.type == AttributeProto.TENSOR:
                self.check_tensor(attribute.t, f"{attribute.name} of {label}")
            numbers = [attribute.i] if attribute.type == AttributeProto.INT else attribute.ints
            if attribute.name in POSITIVE and min(numbers, default=1) < 1:
                raise self._refused(f"positive integers in {label}", f"`{attribute.name}` {list(numbers)}")
            if any(abs(number) > _LARGEST_NUMBER for number in (attribute.i, *attribute.ints)):
                raise self._refused(f"integers up to 2^31 in {label}", f"`{attribute.name}` with a larger one")

    def _inferred(self, node: NodeProto, inputs: Mapping[str, Value], label: str) -> dict[str, Value]:
        content = {name: from_array(one.content, name) for name, one in inputs.items() if one.content is not None}
        try:
            schema = onnx.defs.get_schema(node.op_type, self._opset.version, "")
            types = infer_node_outputs(
                schema,
                node,
                {name: value.type for name, value in inputs.items()},
                content,
                opset_imports=[self._opset],
                ir_version=self._ir_version,
            )
        except (InferenceError, ValidationError, onnx.defs.SchemaError) as error:
            raise self._refused(f"{label} to fit its inputs", str(error)[:200]) from error
        outputs = {}
        for name in filter(None, node.output):
            tensor = types[name].tensor_type if name in types else None
            shape = (-1,) if tensor is None or not tensor.HasField("shape") else _shape(tensor)
            if tensor is None or any(size < 0 for size in shape):
                raise self._refused(f"{label} to give `{name}` a size that is known beforehand", "one that is not")
            outputs[name] = Value(kind=tensor.elem_type, shape=shape, content=known_output(node, inputs, shape))
        return outputs

    def _add_bytes(self, size: int, label: str) -> None:
        self._bytes += size
        if self._bytes > MAX_INTERMEDIATE_BYTES:
            raise self._refused(
                f"at most {MAX_INTERMEDIATE_BYTES} bytes of intermediate values at {MAX_BATCH} agents",
                f"{self._bytes} with {label}",
            )

    def _refused(self, expected: str, got: str) -> PolicyFileError:
        return PolicyFileError(self._path, expected=expected, got=got)
