"""Wraps the graph of a model, so that inputs and outputs are those of a policy file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper
from onnx.compose import add_prefix
from onnx.numpy_helper import from_array

from townlet_runtime.policy.graph import BOOL, FLOAT
from townlet_trajectory import ACTION_MASK, Box
from townlet_trajectory.evaluation.policy_card import GAUSSIAN, LOG_PROBS, STATE_IN, STATE_OUT, VALUES

OutputKind = Literal["logits", "log_probs", "probs", "actions", "gaussian"]
Head: TypeAlias = tuple[int, ...] | Box
"""Values of each part of an action, one part where actions are discrete; or numbers within bounds."""
LOWEST = np.array(np.finfo(np.float32).min, np.float32)
UNLIKELY = np.array(-110.0, np.float32)
"""Log-probability of what a model that names one action did not name: e^-110 is 0 in float32."""
CERTAIN_DEVIATION = 1e-3
"""Standard deviation, in halves of the range, of the numbers of a model that names them alone."""
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


def outputs_of(head: Head, kind: OutputKind) -> int:
    """Numbers of the model's output for each agent."""
    if isinstance(head, Box):
        return len(head.names) if kind == "actions" else head.num_outputs
    return len(head) if kind == "actions" else sum(head)


def certain_deviations(box: Box) -> NDArray[np.float32]:
    """Logarithms of the deviations [K] of numbers that a model names without any."""
    half = (np.array(box.high) - np.array(box.low)) / 2.0
    deviations: NDArray[np.float32] = np.log(CERTAIN_DEVIATION * half).astype(np.float32)
    return deviations


def wrap(model: ModelProto, wiring: Wiring, shapes: Mapping[str, tuple[int, ...]], head: Head) -> ModelProto:
    """Return a model with the inputs and outputs of a policy file around the nodes of `model`.

    Args:
        model: a plain graph of one operator set, whose outputs are those that `wiring` names.
        wiring: of all its inputs and outputs.
        shapes: of the observations, per agent; one that the model does not read is an input without use.
        head: what the actions are.
    """
    body = add_prefix(model, _PREFIX).graph
    before, after = _Nodes("before"), _Nodes("after")
    for name, one in wiring.inputs.items():
        before.add("Cast", name, output=_PREFIX + one.name, attributes={"to": one.kind})
    _wrap_states(wiring.states, before, after)
    outputs: dict[str, tuple[int, ...]] = {}
    masks: dict[str, tuple[int, ...]] = {}
    if isinstance(head, Box):
        _wrap_numbers(_PREFIX + wiring.output, wiring.output_kind, head, after)
        outputs[GAUSSIAN] = (head.num_outputs,)
    else:
        _wrap_actions(_PREFIX + wiring.output, wiring.output_kind, head, after)
        outputs[LOG_PROBS] = masks[ACTION_MASK] = (sum(head),)
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
        [*_declared(floats, FLOAT), *_declared(masks, BOOL)],
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


def _wrap_numbers(output: str, kind: OutputKind, box: Box, after: _Nodes) -> None:
    """gaussian = means and logarithms of deviations as they come, or [numbers, log of `CERTAIN_DEVIATION`]."""
    width = outputs_of(box, kind)
    floats = after.add("Cast", output, attributes={"to": FLOAT})
    if kind == "gaussian":
        after.add("Reshape", floats, np.array([-1, width]), output=GAUSSIAN)
        return
    means = after.add("Reshape", floats, np.array([-1, width]))
    deviations = after.add("Expand", certain_deviations(box)[None], after.add("Shape", means))
    after.add("Concat", means, deviations, output=GAUSSIAN, attributes={"axis": 1})


def _wrap_actions(output: str, kind: OutputKind, sizes: tuple[int, ...], after: _Nodes) -> None:
    """log_probs = log_softmax of the scores of each part where the mask allows the action, finfo.min elsewhere."""
    width = outputs_of(sizes, kind)
    if kind == "actions":
        named = after.add("Reshape", after.add("Cast", output, attributes={"to": INT64}), np.array([-1, width]))
        if width > 1:
            named = after.add("Gather", named, np.repeat(np.arange(width), sizes), attributes={"axis": 1})
        chosen = after.add("Equal", named, np.concatenate([np.arange(size) for size in sizes])[None])
        scores = after.add("Where", chosen, np.array(0.0, np.float32), UNLIKELY)
    else:
        scores = after.add("Reshape", after.add("Cast", output, attributes={"to": FLOAT}), np.array([-1, width]))
        if kind == "probs":
            possible = after.add("Greater", scores, np.array(0.0, np.float32))
            scores = after.add("Where", possible, after.add("Log", scores), LOWEST)
        else:
            scores = after.add("Where", after.add("IsInf", scores, attributes={"detect_positive": 0}), LOWEST, scores)
    scores = after.add("Where", ACTION_MASK, scores, LOWEST)
    parts, start = [scores], 0
    if len(sizes) > 1:
        parts = []
        for size in sizes:
            ends = (np.array([start]), np.array([start := start + size]))
            parts.append(after.add("Slice", scores, *ends, np.array([1])))
    masked = [after.add("LogSoftmax", part, attributes={"axis": 1}) for part in parts]
    joined = masked[0] if len(masked) == 1 else after.add("Concat", *masked, attributes={"axis": 1})
    after.add("Where", ACTION_MASK, joined, LOWEST, output=LOG_PROBS)


def gaussian_of(output: NDArray[np.generic], kind: OutputKind, box: Box) -> NDArray[np.float32]:
    """Compute in numpy what the nodes around a model of numbers compute of its output.

    Args:
        output: [N, 2K] of the model, or [N, K] where `kind` is `actions`.
        kind: of the output.
        box: the numbers.

    Returns:
        K means and K logarithms of deviations, [N, 2K].
    """
    numbers = output.reshape(len(output), outputs_of(box, kind)).astype(np.float32)
    if kind == "gaussian":
        return numbers
    return np.concatenate((numbers, np.broadcast_to(certain_deviations(box), numbers.shape)), axis=1)


def log_probs_of(
    output: NDArray[np.generic], kind: OutputKind, action_mask: NDArray[np.bool_], sizes: tuple[int, ...]
) -> NDArray[np.float32]:
    """Compute in numpy what the nodes around a model compute of its output.

    Args:
        output: [N, M] of the model, or [N, K] where `kind` is `actions`.
        kind: of the output.
        action_mask: [N, M], the K parts side by side.
        sizes: [K], values of each part.

    Returns:
        Log-probabilities [N, M], normalised in each part.
    """
    numbers = output.reshape(len(action_mask), outputs_of(sizes, kind))
    columns = (1,) * len(sizes) if kind == "actions" else sizes
    parts = zip(
        np.split(numbers, np.cumsum(columns)[:-1], axis=1),
        np.split(action_mask, np.cumsum(sizes)[:-1], axis=1),
        strict=True,
    )
    return np.concatenate([_log_probs_of_part(part, kind, legal) for part, legal in parts], axis=1)


def _log_probs_of_part(
    output: NDArray[np.generic], kind: OutputKind, action_mask: NDArray[np.bool_]
) -> NDArray[np.float32]:
    if kind == "actions":
        chosen = output.astype(np.int64) == np.arange(action_mask.shape[1])
        scores = np.where(chosen, 0.0, np.float64(UNLIKELY))
    else:
        scores = output.astype(np.float64)
        if kind == "probs":
            with np.errstate(divide="ignore"):
                scores = np.log(scores)
    scores = np.maximum(np.where(action_mask, scores, -np.inf), np.float64(LOWEST))
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.where(action_mask, log_probs, LOWEST).astype(np.float32)
