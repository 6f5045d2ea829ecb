"""Wraps the graph of a model, so that inputs and outputs are those of a policy file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper
from onnx.compose import add_prefix
from onnx.numpy_helper import from_array

from townlet_runtime.policy.graph import BOOL, FLOAT
from townlet_trajectory import ACTION_MASK
from townlet_trajectory.evaluation.policy_card import LOG_PROBS, STATE_IN, STATE_OUT, VALUES

OutputKind = Literal["logits", "log_probs", "probs", "actions"]
LOWEST = np.array(np.finfo(np.float32).min, np.float32)
UNLIKELY = np.array(-110.0, np.float32)
"""Log-probability of what a model that names one action did not name: e^-110 is 0 in float32."""
INT64 = int(TensorProto.INT64)
_PREFIX = "model/"


@dataclass(frozen=True, kw_only=True)
class ModelInput:
    """One input of a model."""

    name: str
    kind: int
    """`TensorProto.FLOAT` etc."""
    shape: tuple[int | None, ...]
    """As the model declares it; None: a size that is not fixed."""


@dataclass(frozen=True, kw_only=True)
class ModelState:
    """A recurrent state of a model: an input, and the output that is its next value."""

    input: ModelInput
    output: str
    layers: int | None
    """Layers L of a state [L, N, S], None for a state [N, S]."""
    size: int
    """Numbers of an agent: L · S, or S."""

    def handed_in(self, state: NDArray[np.float32]) -> NDArray[np.float32]:
        """The model's input for a state [N, `size`]."""
        return state if self.layers is None else state.reshape(len(state), self.layers, -1).transpose(1, 0, 2)

    def handed_back(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """The state [N, `size`] in the model's output."""
        turned = output if self.layers is None else output.transpose(1, 0, 2)
        return turned.reshape(-1, self.size)


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """Which values of a model are what."""

    inputs: Mapping[str, ModelInput]
    """By the name of the observation, or `action_mask`, that each is fed with."""
    states: Sequence[ModelState]
    output: str
    output_kind: OutputKind
    values: str | None


class _Nodes:
    """Collects nodes and constants of a part of a graph."""

    def __init__(self, part: str) -> None:
        self._part = part
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(
        self,
        operator: str,
        *inputs: str | NDArray[np.generic],
        output: str | None = None,
        attributes: Mapping[str, int | Sequence[int]] | None = None,
    ) -> str:
        """Add a node, whose inputs are values of the graph or constants; return the name of its output."""
        names = [one if isinstance(one, str) else self._constant(one) for one in inputs]
        output = f"{self._part}/{len(self.nodes)}" if output is None else output
        node = helper.make_node(operator, names, [output])
        node.attribute.extend(helper.make_attribute(*item) for item in (attributes or {}).items())
        self.nodes.append(node)
        return output

    def _constant(self, array: NDArray[np.generic]) -> str:
        name = f"{self._part}/constant/{len(self.constants)}"
        self.constants.append(from_array(np.asarray(array), name))
        return name


def wrap(model: ModelProto, wiring: Wiring, shapes: Mapping[str, tuple[int, ...]], num_actions: int) -> ModelProto:
    """Return a model with the inputs and outputs of a policy file around the nodes of `model`.

    Args:
        model: a plain graph of one operator set, whose outputs are those that `wiring` names.
        wiring: of all its inputs and outputs.
        shapes: of the observations, per agent; one that the model does not read is an input without use.
        num_actions: size of the vocabulary.
    """
    body = add_prefix(model, _PREFIX).graph
    before, after = _Nodes("before"), _Nodes("after")
    for name, one in wiring.inputs.items():
        before.add("Cast", name, output=_PREFIX + one.name, attributes={"to": one.kind})
    _wrap_states(wiring.states, before, after)
    _wrap_actions(_PREFIX + wiring.output, wiring.output_kind, num_actions, after)
    outputs: dict[str, tuple[int, ...]] = {LOG_PROBS: (num_actions,)}
    if wiring.values is not None:
        column = after.add("Cast", _PREFIX + wiring.values, attributes={"to": FLOAT})
        after.add("Reshape", column, np.array([-1]), output=VALUES)
        outputs[VALUES] = ()
    floats = dict(shapes)
    if wiring.states:
        floats[STATE_IN] = outputs[STATE_OUT] = (sum(state.size for state in wiring.states),)
    graph = helper.make_graph(
        [*before.nodes, *body.node, *after.nodes],
        "policy",
        [*_declared(floats, FLOAT), *_declared({ACTION_MASK: (num_actions,)}, BOOL)],
        _declared(outputs, FLOAT),
        [*body.initializer, *before.constants, *after.constants],
    )
    return helper.make_model(graph, opset_imports=[model.opset_import[0]], ir_version=model.ir_version)


def _declared(shapes: Mapping[str, tuple[int, ...]], kind: int) -> list[ValueInfoProto]:
    return [helper.make_tensor_value_info(name, kind, ["agents", *shape]) for name, shape in shapes.items()]


def _wrap_states(states: Sequence[ModelState], before: _Nodes, after: _Nodes) -> None:
    """Cut `state_in` into the model's states, and put the next ones together as `state_out`."""
    start, ends = 0, []
    for state in states:
        end = start + state.size
        part = before.add("Slice", STATE_IN, np.array([start]), np.array([end]), np.array([1]))
        if state.layers is not None:
            part = before.add("Reshape", part, np.array([-1, state.layers, state.size // state.layers]))
            part = before.add("Transpose", part, attributes={"perm": [1, 0, 2]})
        before.add("Cast", part, output=_PREFIX + state.input.name, attributes={"to": state.input.kind})
        turned = _PREFIX + state.output
        if state.layers is not None:
            turned = after.add("Transpose", turned, attributes={"perm": [1, 0, 2]})
        ends.append(
            after.add("Reshape", after.add("Cast", turned, attributes={"to": FLOAT}), np.array([-1, state.size]))
        )
        start = end
    if states:
        after.add("Concat", *ends, output=STATE_OUT, attributes={"axis": 1})


def _wrap_actions(output: str, kind: OutputKind, num_actions: int, after: _Nodes) -> None:
    """log_probs = log_softmax of the scores where the mask allows the action, finfo.min elsewhere."""
    if kind == "actions":
        named = after.add("Reshape", after.add("Cast", output, attributes={"to": INT64}), np.array([-1, 1]))
        chosen = after.add("Equal", named, np.arange(num_actions)[None])
        scores = after.add("Where", chosen, np.array(0.0, np.float32), UNLIKELY)
    else:
        scores = after.add("Reshape", after.add("Cast", output, attributes={"to": FLOAT}), np.array([-1, num_actions]))
        if kind == "probs":
            possible = after.add("Greater", scores, np.array(0.0, np.float32))
            scores = after.add("Where", possible, after.add("Log", scores), LOWEST)
        else:
            scores = after.add("Where", after.add("IsInf", scores, attributes={"detect_positive": 0}), LOWEST, scores)
    masked = after.add("LogSoftmax", after.add("Where", ACTION_MASK, scores, LOWEST), attributes={"axis": 1})
    after.add("Where", ACTION_MASK, masked, LOWEST, output=LOG_PROBS)


def log_probs_of(output: NDArray[np.generic], kind: OutputKind, action_mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Compute in numpy what the nodes around a model compute of its output.

    Args:
        output: [N, A] of the model, or [N] where `kind` is `actions`.
        kind: of the output.
        action_mask: [N, A].

    Returns:
        Log-probabilities [N, A].
    """
    num_agents, num_actions = action_mask.shape
    if kind == "actions":
        chosen = output.reshape(num_agents, 1).astype(np.int64) == np.arange(num_actions)
        scores = np.where(chosen, 0.0, np.float64(UNLIKELY))
    else:
        scores = output.reshape(num_agents, num_actions).astype(np.float64)
        if kind == "probs":
            with np.errstate(divide="ignore"):
                scores = np.log(scores)
    scores = np.maximum(np.where(action_mask, scores, -np.inf), np.float64(LOWEST))
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.where(action_mask, log_probs, LOWEST).astype(np.float32)
