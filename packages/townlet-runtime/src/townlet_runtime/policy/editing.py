"""Edits of ONNX graphs that leave what they compute as it is."""

from __future__ import annotations

from collections.abc import Collection

from onnx import ModelProto


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
