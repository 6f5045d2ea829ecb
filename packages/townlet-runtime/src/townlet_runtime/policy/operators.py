"""Operators that a policy file may use, the shapes that they compute, and their cost.

The list is data, so that another kind of network extends it. No operator in it holds a graph of its own (`Loop`, `If`,
`Scan`), makes an output whose size depends on the numbers of its input (`NonZero`, `Range`), draws random numbers, or
reads anything but its inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, TypeProto
from onnx.helper import make_tensor_type_proto
from onnx.numpy_helper import to_array

ARITHMETIC = (
    "Abs Add Ceil Clip Cos CumSum Div Erf Exp Floor IsInf IsNaN Log Max Mean Min Mod Mul Neg Pow Reciprocal Round Sign"
    " Sin Sqrt Sub Sum And Equal Greater GreaterOrEqual Less LessOrEqual Not Or Where Xor ArgMax ArgMin TopK"
)
ACTIVATIONS = (
    "Celu Elu Gelu HardSigmoid HardSwish LeakyRelu LogSoftmax Mish PRelu Relu Selu Sigmoid Softmax Softplus Softsign"
    " Tanh"
)
REDUCTIONS = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare"
)
SHAPES = (
    "Cast Concat Constant ConstantOfShape Expand Flatten Gather GatherElements GatherND Identity OneHot Pad Reshape"
    " Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze"
)
LINEAR = "Gemm MatMul"
CONVOLUTIONS = "AveragePool Conv GlobalAveragePool GlobalMaxPool MaxPool"
RECURRENT = "GRU LSTM RNN"
NORMALIZATION = "BatchNormalization GroupNormalization InstanceNormalization LayerNormalization RMSNormalization"

ALLOWED = frozenset(
    " ".join((ARITHMETIC, ACTIVATIONS, REDUCTIONS, SHAPES, LINEAR, CONVOLUTIONS, RECURRENT, NORMALIZATION)).split()
)
"""MLPs, convolutions, recurrent networks, attention and normalization, with categorical and Gaussian heads, as torch
exports them."""

POSITIVE = frozenset({"dilations", "group", "hidden_size", "kernel_shape", "num_groups", "strides"})
"""Attributes of integers that divide or count, none of which may be less than 1."""

_GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}

MAX_KNOWN = 256
"""Integers of one value that are followed through the arithmetic of shapes."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """One value of the graph at `MAX_BATCH` agents."""

    kind: int
    """`TensorProto.FLOAT` etc."""
    shape: tuple[int, ...]
    content: NDArray[np.int64] | None = None
    """Where it is known and short."""

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def type(self) -> TypeProto:
        return make_tensor_type_proto(self.kind, self.shape)


def known_output(node: NodeProto, inputs: Mapping[str, Value], shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    """Compute the output of a node from shapes and short integer constants.

    Args:
        node: of one output.
        inputs: the node's own, by name.
        shape: of the output, as inferred.

    Returns:
        Integers of that shape; None where they do not follow from what is known.
    """
    if math.prod(shape) > MAX_KNOWN:
        return None
    numbers = {one.name: one.i for one in node.attribute}
    if node.op_type == "Constant":
        for one in node.attribute:
            if one.name == "value" and one.t.data_type == TensorProto.INT64:
                return to_array(one.t)
            if one.name in ("value_int", "value_ints"):
                return np.array(one.i if one.name == "value_int" else one.ints, np.int64)
        return None
    given = [inputs[name] for name in node.input if name]
    if node.op_type == "Shape":
        dims = given[0].shape
        start, end = numbers.get("start", 0), numbers.get("end", len(dims))
        return np.array(dims[start:end], np.int64)
    if node.op_type == "Size":
        return np.array(given[0].size, np.int64)
    contents = [one.content for one in given if one.content is not None]
    if len(contents) < len(given) or not contents:
        return None
    return _computed(node.op_type, contents, numbers, shape)


def _computed(
    operator: str, contents: list[NDArray[np.int64]], numbers: Mapping[str, int], shape: tuple[int, ...]
) -> NDArray[np.int64] | None:
    """The arithmetic of shapes: integers below `MAX_KNOWN` in number."""
    first, *rest = contents
    known: NDArray[np.int64] | None = None
    if operator in ("Identity", "Reshape", "Squeeze", "Unsqueeze") and first.size == math.prod(shape):
        known = first.reshape(shape)
    elif operator == "Cast" and numbers.get("to") == TensorProto.INT64:
        known = first
    elif operator in ("Add", "Sub", "Mul") and len(rest) == 1:
        known = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}[operator](first, rest[0])
    elif operator == "Div" and (rest[0] > 0).all() and (first >= 0).all():
        known = first // rest[0]
    elif operator == "Concat":
        known = np.concatenate(contents, axis=numbers["axis"])
    elif operator == "Gather" and first.ndim == 1 and (np.abs(rest[0]) < len(first)).all():
        known = first[rest[0]]
    elif operator == "Slice" and first.ndim == 1 and all(len(one) == 1 for one in rest):
        start, end, step = (*(int(one[0]) for one in (*rest[:2], *rest[3:4])), 1)[:3]
        known = first[start:end:step]
    return known if known is not None and known.shape == shape else None


def misfit(node: NodeProto, inputs: list[Value]) -> str | None:
    """Say which sizes of a convolution or a recurrent layer contradict each other.

    Inference of shapes looks at few of them, and a runtime finds them out when it computes.

    Args:
        node: one whose `POSITIVE` attributes are.
        inputs: in its order.

    Returns:
        The sizes; None where they fit.
    """
    numbers = {one.name: one.i for one in node.attribute}
    shapes = [one.shape for one in inputs]
    if node.op_type == "Conv":
        (seen, weights), group = shapes[:2], numbers.get("group", 1)
        kernel = next((tuple(one.ints) for one in node.attribute if one.name == "kernel_shape"), weights[2:])
        fits = len(seen) == len(weights) > 2 and seen[1] == weights[1] * group and weights[0] % group == 0
        return (
            None if fits and kernel == weights[2:] else f"{list(seen)}, {list(weights)} in {group} groups of {kernel}"
        )
    if node.op_type in _GATES:
        seen, weights, recurrent = shapes[:3]
        hidden, directions = numbers.get("hidden_size", recurrent[-1]), recurrent[0]
        wide = _GATES[node.op_type] * hidden
        both = any(one.name == "direction" and one.s == b"bidirectional" for one in node.attribute)
        fits = weights == (directions, wide, seen[-1]) and recurrent == (directions, wide, hidden)
        if not fits or directions != 1 + both or numbers.get("layout", 0):
            return f"{list(seen)}, {list(weights)}, {list(recurrent)} with {hidden} units"
    return None


def work_of(node: NodeProto, inputs: list[Value], outputs: int) -> tuple[int, int]:
    """Multiplications of a node, and numbers that it holds beside its outputs while it computes.

    Args:
        node: one whose inputs and outputs fit together.
        inputs: in its order.
        outputs: elements of its largest output.
    """
    operator = node.op_type
    if operator == "MatMul":
        return outputs * inputs[0].shape[-1], 0
    if operator == "Gemm":
        transposed = any(one.name == "transA" and one.i for one in node.attribute)
        return outputs * max(inputs[0].shape[:1] if transposed else inputs[0].shape[1:]), 0
    if operator == "Conv":
        window = inputs[1].size // max(inputs[1].shape[0], 1)
        return outputs * window, window * max(outputs // max(inputs[0].shape[0], 1), 1)
    if operator in ("AveragePool", "MaxPool"):
        window = math.prod(size for one in node.attribute if one.name == "kernel_shape" for size in one.ints)
        return outputs * min(window, inputs[0].size), 0
    if operator in ("GRU", "LSTM", "RNN"):
        steps = inputs[0].shape[0] * inputs[0].shape[1]
        gates = inputs[1].shape[0] * inputs[1].shape[1]
        return steps * (inputs[1].size + inputs[2].size), steps * gates
    return max(outputs, *(one.size for one in inputs), 0) if inputs else outputs, 0
