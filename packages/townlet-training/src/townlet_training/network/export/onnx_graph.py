"""The forward pass of a network as an ONNX graph: the equations of `trunk`, `body`, `memory`, `encoders` once more.

A graph is written in milliseconds. torch's exporter, which is its oracle in the tests, takes seconds and imports a
compiler.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from torch import Tensor, nn

from townlet_training.network.encoders import ENTITY_SIZE, NUM_HEADS, EntityEncoder, ImageEncoder
from townlet_training.network.gaussian import ClippedGaussian
from townlet_training.network.statistics import CLIP
from townlet_training.network.trunk import AddedInputs
from townlet_trajectory import ACTION_MASK
from townlet_trajectory.evaluation.policy_card import STATE_IN, STATE_OUT, VALUES

if TYPE_CHECKING:
    from townlet_training.network.actor_critic import ActorCritic
    from townlet_training.network.body import Reader
    from townlet_training.network.encoders import Encoders
    from townlet_training.network.memory import GatedUnit
    from townlet_training.network.trunk import Trunk
    from townlet_trajectory.evaluation.policy_card import PolicyCard

Operand: TypeAlias = str | Tensor | NDArray[np.generic]
"""Name of a value of the graph, or numbers that become a constant of it."""

_OPSET, _IR_VERSION = 20, 10
_LOWEST = np.array(np.finfo(np.float32).min)
_ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu"}


def model_of(network: ActorCritic, card: PolicyCard) -> ModelProto:
    """Write the forward pass of `network`, with the inputs and outputs that `card` states, as a model."""
    graph = _NetworkGraph(network)
    inputs = [_described(name, shape) for name, shape in network.observation_shapes.items()]
    mask = state = None
    if card.mask_size:
        mask = ACTION_MASK
        inputs.append(_described(mask, (card.mask_size,), TensorProto.BOOL))
    if card.state_size:
        state = STATE_IN
        inputs.append(_described(state, (card.state_size,)))
    policy, critic, after = graph.body(graph.encoded(), state, has_values=card.has_values)
    computed = {graph.params(policy, mask): card.output}
    outputs = [_described(card.output, (network.num_actions,))]
    if card.has_values:
        computed[graph.values(critic)] = VALUES
        outputs.append(_described(VALUES, ()))
    if after is not None:
        computed[after] = STATE_OUT
        outputs.append(_described(STATE_OUT, (card.state_size,)))
    for node in graph.nodes:
        for names in (node.input, node.output):
            names[:] = [computed.get(name, name) for name in names]
    return helper.make_model(
        helper.make_graph(graph.nodes, "policy", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="townlet",
    )


def _described(name: str, shape: tuple[int, ...], kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["agents", *shape])


class _Graph:
    """Nodes in the order in which they are computed, and the constants that they read, tensors by these names."""

    def __init__(self, names: Mapping[str, Tensor]) -> None:
        self._names = {id(tensor): name for name, tensor in names.items()}
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def __call__(self, operator: str, *operands: Operand, **attributes: Any) -> str:
        """Add a node of one output, and return its name."""
        (output,) = self._added(operator, operands, 1, attributes)
        return output

    def split(self, value: str, sizes: Sequence[int]) -> list[str]:
        """The columns of `value` in parts of these sizes."""
        if len(sizes) == 1:
            return [value]
        return self._added("Split", (value, np.array(sizes)), len(sizes), {"axis": 1})

    def joined(self, values: Sequence[str]) -> str:
        """The columns of all values side by side."""
        return values[0] if len(values) == 1 else self("Concat", *values, axis=1)

    def columns(self, value: str, columns: slice) -> str:
        """Columns from `columns.start` to `columns.stop`."""
        start, stop, axis = (np.array([each]) for each in (columns.start, columns.stop, 1))
        return self("Slice", value, start, stop, axis)

    def rows(self, value: str, size: int) -> str:
        """The same numbers in rows of this size."""
        return self("Reshape", value, np.array([-1, size]))

    def linear(self, value: str, layer: nn.Linear) -> str:
        """W x + b of rows [N, F]."""
        return self("Gemm", value, layer.weight, layer.bias, transB=1)

    def _added(
        self,
        operator: str,
        operands: Sequence[Operand],
        num_outputs: int,
        attributes: dict[str, Any],
    ) -> list[str]:
        inputs = [each if isinstance(each, str) else self._constant(each) for each in operands]
        outputs = [f"{operator}_{len(self.nodes)}_{number}" for number in range(num_outputs)]
        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return outputs

    def _constant(self, numbers: Tensor | NDArray[np.generic]) -> str:
        name = self._names.get(id(numbers), f"constant_{len(self.constants)}")
        array = numbers.detach().cpu().numpy() if isinstance(numbers, Tensor) else numbers
        self.constants.append(numpy_helper.from_array(array, name))
        return name


class _NetworkGraph(_Graph):
    """The parts of a network; every value is [N, ...], N agents."""

    def __init__(self, network: ActorCritic) -> None:
        super().__init__(network.state_dict(keep_vars=True))
        self._network = network
        self._activation = _ACTIVATIONS[network.config.activation]

    def encoded(self) -> str:
        """The policy's observations side by side, normalized: `ActorCritic.encode_policy`."""
        network = self._network
        shapes = network.observation_shapes
        encoded = self.joined([name if len(shape) == 1 else self("Flatten", name) for name, shape in shapes.items()])
        if network.config.normalize_observations == "none":
            return encoded
        size = sum(map(math.prod, shapes.values()))
        centred = self("Sub", encoded, network.observation_mean[:size])
        scaled = self("Div", centred, network.observation_std[:size])
        return self("Clip", scaled, np.array(-CLIP, np.float32), np.array(CLIP, np.float32))

    def body(self, encoded: str, state: str | None, *, has_values: bool) -> tuple[str, str, str | None]:
        """What policy and critic read, and the state after the step: `Body`, without inputs of the critic alone.

        Without values the critic's own reader is left out.
        """
        front, after = self._network.front, None
        if front is None:
            return encoded, encoded, None
        if state is not None and front.frames is not None:
            encoded = self.joined([state, encoded])
            after = self.columns(encoded, slice(front.frames.num_inputs, front.frames.num_outputs))
        readers = [front.policy] if front.critic is None or not has_values else [front.policy, front.critic]
        states: list[str | None] = [state] * len(readers)
        if state is not None and front.frames is None:
            states = [*self.split(state, [reader.state_size for reader in readers])]
        read = [self._read(reader, encoded, before) for reader, before in zip(readers, states, strict=True)]
        if afters := [each for _, each in read if each is not None]:
            after = self.joined(afters)
        return read[0][0], read[-1][0], after

    def _read(self, reader: Reader, encoded: str, state: str | None) -> tuple[str, str | None]:
        features, after = encoded, None
        if reader.own is not None:
            frames = encoded if reader.num_frames == 1 else self.rows(encoded, reader.own.num_inputs)
            features = self._seen(reader.own, frames)
            if reader.num_frames > 1:
                features = self.rows(features, reader.num_frames * reader.own.num_outputs)
        if reader.memory is not None and state is not None:
            features = after = self._remembered(reader.memory, features, state)
        for layer in reader.layers:
            features = (
                self.linear(features, layer) if isinstance(layer, nn.Linear) else self(self._activation, features)
            )
        return features, after

    def _remembered(self, unit: GatedUnit, inputs: str, states: str) -> str:
        input_weight, state_weight, input_bias, state_bias = unit.gru.parameters()
        gates = [unit.state_size] * 3
        reset, update, new = self.split(self("Gemm", inputs, input_weight, input_bias, transB=1), gates)
        reset_h, update_h, new_h = self.split(self("Gemm", states, state_weight, state_bias, transB=1), gates)
        keep = self("Sigmoid", self("Add", update, update_h))
        recalled = self("Mul", self("Sigmoid", self("Add", reset, reset_h)), new_h)
        candidate = self("Tanh", self("Add", new, recalled))
        return self("Add", candidate, self("Mul", keep, self("Sub", states, candidate)))

    def _seen(self, encoders: Encoders, encoded: str) -> str:
        parts = [self.columns(encoded, each) for each in encoders.flat_columns]
        for columns, image in zip(encoders.image_columns, encoders.images, strict=True):
            parts.append(self._image(cast(ImageEncoder, image), self.columns(encoded, columns)))
        for (columns, mask), each in zip(encoders.entity_columns, encoders.entities, strict=True):
            things, present = self.columns(encoded, columns), self.columns(encoded, mask)
            parts.append(self._entities(cast(EntityEncoder, each), things, present))
        return self.joined(parts)

    def _image(self, encoder: ImageEncoder, pixels: str) -> str:
        seen = self("Reshape", pixels, np.array([0, *encoder.shape]))
        for each in encoder.convolutions:
            layer = cast(nn.Conv2d, each)
            window = {"kernel_shape": layer.kernel_size, "strides": layer.stride, "pads": [*layer.padding] * 2}
            seen = self("Relu", self("Conv", seen, layer.weight, cast(Tensor, layer.bias), **window))
        return self("Relu", self.linear(self("Flatten", seen), encoder.linear))

    def _entities(self, encoder: EntityEncoder, things: str, present: str) -> str:
        def linear(value: str, layer: nn.Linear) -> str:
            return self("Add", self("MatMul", value, layer.weight.T), layer.bias)

        def heads(layer: nn.Linear, order: Sequence[int]) -> str:
            units = self("Reshape", linear(embedded, layer), np.array([0, 0, NUM_HEADS, ENTITY_SIZE // NUM_HEADS]))
            return self("Transpose", units, perm=order)

        embedded = self("Relu", linear(self("Reshape", things, np.array([0, *encoder.shape])), encoder.embed))
        here = self("Greater", present, np.array(0.5, np.float32))
        queries, keys = heads(encoder.queries, (0, 2, 1, 3)), heads(encoder.keys, (0, 2, 3, 1))
        scale = np.array(math.sqrt(ENTITY_SIZE // NUM_HEADS), np.float32)
        scores = self("Div", self("MatMul", queries, keys), scale)
        scores = self("Where", self("Unsqueeze", here, np.array([1, 2])), scores, _LOWEST)
        attended = self("MatMul", self("Softmax", scores, axis=-1), heads(encoder.values, (0, 2, 1, 3)))
        flat = self("Reshape", self("Transpose", attended, perm=(0, 2, 1, 3)), np.array([0, 0, ENTITY_SIZE]))
        summed, norm = self("Add", embedded, linear(flat, encoder.mix)), encoder.norm
        mixed = self("LayerNormalization", summed, norm.weight, norm.bias, axis=-1, epsilon=norm.eps)
        weights = self("Unsqueeze", self("Cast", here, to=TensorProto.FLOAT), np.array([2]))
        count = self("ReduceSum", weights, np.array([1]), keepdims=0)
        total = self("ReduceSum", self("Mul", mixed, weights), np.array([1]), keepdims=0)
        mean = self("Div", total, self("Max", count, np.array(1.0, np.float32)))
        return self.joined([mean, self("Div", count, np.array(encoder.shape[0], np.float32))])

    def _trunk(self, trunk: Trunk, encoded: str) -> str:
        *layers, head = trunk.linear_layers()
        hidden = encoded if trunk.columns is None else self("Gather", encoded, trunk.columns, axis=1)
        for number, layer in enumerate(layers):
            hidden = self.linear(hidden, layer)
            for each in trunk.added_inputs.values() if number == 0 else ():
                added = cast(AddedInputs, each)
                columns = self("Gather", encoded, added.columns, axis=1)
                hidden = self("Add", hidden, self("MatMul", columns, added.weight.T))
            hidden = self(self._activation, hidden)
        heads = (head, *(cast(nn.Linear, each) for each in trunk.added_outputs.values()))
        outputs = self.joined([self.linear(hidden, each) for each in heads])
        return outputs if trunk.order is None else self("Gather", outputs, trunk.order, axis=1)

    def params(self, features: str, action_mask: str | None) -> str:
        """Parameters of the distribution over actions: `ActorCritic.params`."""
        distribution, unbounded = self._network.distribution, self._network.policy_log_std
        outputs = self._trunk(self._network.policy, features)
        if unbounded is None:
            legal = outputs if action_mask is None else self("Where", action_mask, outputs, _LOWEST)
            return self.joined([self("LogSoftmax", part) for part in self.split(legal, distribution.part_sizes)])
        # Deviations are the same for every observation: a constant.
        at_zero = torch.cat([torch.zeros_like(unbounded), unbounded]).unsqueeze(0)
        center, log_std = distribution.params(at_zero, None).chunk(2, dim=1)
        if isinstance(distribution, ClippedGaussian):
            outputs = self("Add", self("Mul", outputs, distribution.half_range), center)
        return self.joined([outputs, self("Expand", log_std, self("Shape", outputs))])

    def values(self, features: str) -> str:
        """Values in reward units."""
        head = self("Squeeze", self._trunk(self._network.critic, features), np.array([1]))
        return self("Mul", head, self._network.value_scale)
