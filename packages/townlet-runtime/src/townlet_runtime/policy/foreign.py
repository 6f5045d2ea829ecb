"""Models of other libraries, and how their inputs and values are wired to observations and actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from townlet_runtime.errors import PolicyFileError
from townlet_runtime.policy.editing import inferred_shapes, read_foreign_model, require_operators, set_outputs
from townlet_runtime.policy.file import MAX_BATCH
from townlet_runtime.policy.graph import BOOL, FLOAT, check_graph, declared_inputs
from townlet_runtime.policy.onnx import ONNXRUNTIME_ERRORS, open_session
from townlet_runtime.policy.seal_spec import SealSpec
from townlet_runtime.policy.wrapping import (
    INT64,
    ModelInput,
    ModelState,
    OutputKind,
    Wiring,
    gaussian_of,
    log_probs_of,
    outputs_of,
)
from townlet_trajectory import ACTION_MASK, Box
from townlet_trajectory.evaluation.golden_vectors import PolicyInputs, PolicyOutputs

MIN_OPSET = 11
_DOUBLE, _INT32 = int(TensorProto.DOUBLE), int(TensorProto.INT32)
_FLOATS, _INTEGERS = (FLOAT, _DOUBLE), (_INT32, INT64)
_NUMPY: dict[int, type[np.generic]] = {
    FLOAT: np.float32,
    _DOUBLE: np.float64,
    _INT32: np.int32,
    INT64: np.int64,
    BOOL: np.bool_,
}
_CERTAIN = 1e-3
"""Probabilities of a row add up to 1 within this."""


@dataclass(frozen=True, kw_only=True)
class ModelParts:
    """Which inputs and values of a model are what; what is not said follows where there is one way to see it."""

    output: str | None = None
    """The value that tells the actions: an output or any other value of the graph. None: its only output."""
    output_kind: OutputKind = "logits"
    """`logits`, `log_probs` or `probs` [N, A], or `actions` [N], the index of one action for each agent. Of several
    parts: side by side [N, P], and [N, K]. Of numbers: `gaussian` [N, 2K], means and then logarithms of deviations, or
    `actions` [N, K]."""
    values: str | None = None
    """The value of the state, [N] or [N, 1]. None: the policy has none."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Observation, or `action_mask`, by the model's input. Missing: the one of the same name, or the only one."""
    states: Mapping[str, str] = field(default_factory=dict)
    """The output with the next recurrent state by the model's input, [N, S] or [L, N, S] (layers first)."""


class ForeignModel:
    """The model of another library: a plain graph of allowed operators, wired to observations and actions."""

    def __init__(self, path: Path, spec: SealSpec, parts: ModelParts) -> None:
        self._path = path
        self._head = spec.head
        self._width = outputs_of(spec.head, parts.output_kind)
        self._require_head(parts.output_kind)
        self.model = read_foreign_model(path)
        output = self._action_output(parts.output)
        wanted = [output, *([] if parts.values is None else [parts.values]), *parts.states.values()]
        self._require_values(wanted)
        set_outputs(self.model, dict.fromkeys(wanted))
        require_operators(self.model, path)
        self._require_opset()
        declared = self._inputs(parts)
        states = [self._state(declared[name], after) for name, after in parts.states.items()]
        self.wiring = Wiring(
            inputs=self._wired(declared, spec, parts),
            states=states,
            output=output,
            output_kind=parts.output_kind,
            values=parts.values,
        )
        self.shapes = self._shapes(spec)
        self._check_outputs()
        self._session = open_session(self.model.SerializeToString(), path, 1)

    def _refused(self, expected: str, got: str) -> PolicyFileError:
        return PolicyFileError(self._path, expected=expected, got=got)

    def _require_head(self, kind: OutputKind) -> None:
        """The kind of output must be one that such actions can be told by."""
        kinds = ("gaussian", "actions") if isinstance(self._head, Box) else ("logits", "log_probs", "probs", "actions")
        if kind not in kinds:
            what = "numbers within bounds" if isinstance(self._head, Box) else "actions with probabilities"
            raise self._refused(f"an output kind of {what}, {' or '.join(kinds)}", f"`{kind}`")

    def _action_output(self, named: str | None) -> str:
        names = [output.name for output in self.model.graph.output]
        if named is None and len(names) != 1:
            raise self._refused("the name of the output that tells the actions", f"{names} to choose from")
        return names[0] if named is None else named

    def _require_values(self, names: list[str]) -> None:
        known = {name for node in self.model.graph.node for name in node.output}
        for name in names:
            if name not in known:
                shapes = inferred_shapes(self.model)
                fitting = [one for one, sizes in shapes.items() if sizes[-1:] == [self._width]]
                outputs = [output.name for output in self.model.graph.output]
                raise self._refused(
                    f"a value `{name}` of the graph",
                    f"the outputs {outputs}, and inner values of {self._width} numbers {fitting[:12]}",
                )

    def _require_opset(self) -> None:
        versions = {one.version for one in self.model.opset_import if one.domain in ("", "ai.onnx")}
        if len(versions) != 1 or min(versions) < MIN_OPSET:
            raise self._refused(f"one operator set of version {MIN_OPSET} or newer", f"versions {sorted(versions)}")
        # Nodes of other sets are refused by now, or were inlined.
        del self.model.opset_import[:]
        self.model.opset_import.append(helper.make_opsetid("", versions.pop()))

    def _inputs(self, parts: ModelParts) -> dict[str, ModelInput]:
        """The inputs that are read, with their states."""
        read = {name for node in self.model.graph.node for name in node.input}
        declared = {}
        for name, (kind, shape) in declared_inputs(self.model).items():
            if name not in read:
                continue
            if kind not in _NUMPY:
                raise self._refused(f"numbers in the input `{name}`", TensorProto.DataType.Name(kind))
            sizes = tuple(None if size < 0 else size for size in shape)
            declared[name] = ModelInput(name=name, kind=kind, shape=sizes)
        for name in (*parts.inputs, *parts.states):
            if name not in declared:
                raise self._refused(f"an input `{name}` that is read", f"{sorted(declared)}")
        return declared

    def _state(self, one: ModelInput, output: str) -> ModelState:
        """[N, S], or layers first: [L, N, S] with L and S fixed."""
        match one.shape:
            case (_, int(size)):
                return ModelState(input=one, output=output, layers=None, size=size)
            case (int(layers), _, int(size)):
                return ModelState(input=one, output=output, layers=layers, size=layers * size)
            case _:
                raise self._refused(f"a state [N, S] or [L, N, S] in `{one.name}`", f"{list(one.shape)}")

    def _wired(self, declared: Mapping[str, ModelInput], spec: SealSpec, parts: ModelParts) -> dict[str, ModelInput]:
        free = [one for name, one in declared.items() if name not in parts.states]
        names = list(spec.observation_shapes or ())
        wired: dict[str, ModelInput] = {}
        for one in free:
            name = parts.inputs.get(one.name, one.name)
            if one.name not in parts.inputs and name not in names and len(names) == 1 == len(free):
                (name,) = names
            if name in wired or (spec.observation_shapes is not None and name not in (*names, ACTION_MASK)):
                raise self._refused(f"one of the observations {names} for the input `{one.name}`", f"`{name}`")
            wired[name] = one
        return wired

    def _shapes(self, spec: SealSpec) -> dict[str, tuple[int, ...]]:
        """Shapes of the observations; the model's inputs must be of these, with one axis for the agents before."""
        shapes: dict[str, tuple[int, ...]] = dict(spec.observation_shapes or {})
        expected: tuple[int, ...]
        for name, one in self.wiring.inputs.items():
            sizes = one.shape[1:]
            if not one.shape or one.shape[0] not in (None, 1):
                raise self._refused(
                    f"a first axis for agents, of any number or 1, in the input `{one.name}`", f"{list(one.shape)}"
                )
            if name == ACTION_MASK:
                expected = self._mask_shape()
            elif spec.observation_shapes is None:
                expected = tuple(size for size in sizes if size is not None)
                if len(expected) != len(sizes):
                    raise self._refused(f"fixed sizes of the input `{one.name}`, or a spec", f"{list(one.shape)}")
                shapes[name] = expected
            else:
                expected = shapes[name]
            fits = len(sizes) == len(expected) and all(
                size in (None, wanted) for size, wanted in zip(sizes, expected, strict=False)
            )
            if not fits:
                raise self._refused(f"`{name}` {list(expected)} in the input `{one.name}`", f"{list(sizes)}")
        return shapes

    def _check_outputs(self) -> None:
        """Infer the outputs at `MAX_BATCH` agents, which also bounds the graph."""
        inputs = {one.name: (one.kind, (-1, *self._sizes(name))) for name, one in self.wiring.inputs.items()}
        for state in self.wiring.states:
            numbers = state.size // (state.layers or 1)
            shape = (-1, numbers) if state.layers is None else (state.layers, -1, numbers)
            inputs[state.input.name] = (state.input.kind, shape)
        try:
            outputs = check_graph(self.model, inputs, self._path)
        except PolicyFileError as error:
            raise self._refused(error.expected, error.got + self._hint) from error
        wiring = self.wiring
        kinds = (*_FLOATS, *_INTEGERS) if wiring.output_kind == "actions" else _FLOATS
        self._require_output(wiring.output, outputs, kinds, self._width)
        if wiring.values is not None:
            self._require_output(wiring.values, outputs, _FLOATS, 1)
        for state in wiring.states:
            kind, found = outputs[state.output]
            sizes = inputs[state.input.name][1]
            expected = tuple(MAX_BATCH if size < 0 else size for size in sizes)
            if kind not in _FLOATS or found != expected:
                raise self._refused(f"the next state `{state.output}` {list(expected)}", f"{list(found)}")

    @property
    def _hint(self) -> str:
        for_one = any(one.shape[0] == 1 for one in self.wiring.inputs.values())
        return "; it was exported for one agent: export it with a first axis of any size (dynamic)" if for_one else ""

    def _sizes(self, name: str) -> tuple[int, ...]:
        return self._mask_shape() if name == ACTION_MASK else self.shapes[name]

    def _mask_shape(self) -> tuple[int, ...]:
        if isinstance(self._head, Box):
            raise self._refused("no mask, for numbers have none", f"the input `{ACTION_MASK}`")
        return (sum(self._head),)

    def _require_output(
        self, name: str, outputs: Mapping[str, tuple[int, tuple[int, ...]]], kinds: tuple[int, ...], width: int
    ) -> None:
        kind, shape = outputs[name]
        if kind not in kinds:
            expected = "numbers" if len(kinds) > 2 else "floating-point numbers"
            raise self._refused(f"{expected} in `{name}`", TensorProto.DataType.Name(kind))
        if not shape or shape[0] != MAX_BATCH or int(np.prod(shape)) != MAX_BATCH * width:
            raise self._refused(
                f"{width} number{'s' * (width != 1)} for each agent in `{name}`, [{MAX_BATCH}, {width}]",
                f"{list(shape)}{self._hint}",
            )

    def answer(self, inputs: PolicyInputs) -> PolicyOutputs:
        """What the model itself answers, asked about one agent at a time."""
        rows = [self._answer_one(inputs, row) for row in range(inputs.rows)]
        joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        wiring = self.wiring
        self._require_kind(joined[wiring.output])
        values = None if wiring.values is None else joined[wiring.values].reshape(-1).astype(np.float32)
        states = [joined[state.output].astype(np.float32) for state in wiring.states]
        told, kind = joined[wiring.output], wiring.output_kind
        if isinstance(self._head, Box):
            params = gaussian_of(told, kind, self._head)
        else:
            assert inputs.action_mask is not None
            params = log_probs_of(told, kind, inputs.action_mask, self._head)
        return PolicyOutputs(
            params,
            values,
            np.concatenate(states, axis=1) if states else None,
        )

    def _answer_one(self, inputs: PolicyInputs, row: int) -> dict[str, NDArray[Any]]:
        one = slice(row, row + 1)
        given: dict[str, NDArray[Any]] = dict(inputs.observations)
        if inputs.action_mask is not None:
            given[ACTION_MASK] = inputs.action_mask
        feed: dict[str, NDArray[Any]] = {
            each.name: given[name][one].astype(_NUMPY[each.kind]) for name, each in self.wiring.inputs.items()
        }
        start = 0
        for state in self.wiring.states:
            assert inputs.state is not None
            part = inputs.state[one, start : start + state.size]
            feed[state.input.name] = state.handed_in(part).astype(_NUMPY[state.input.kind])
            start += state.size
        names = [output.name for output in self.model.graph.output]
        try:
            found = dict(zip(names, self._session.run(names, feed), strict=True))
        except ONNXRUNTIME_ERRORS as error:
            raise self._refused("a model that can be computed for any numbers", str(error)[:200]) from error
        for state in self.wiring.states:
            found[state.output] = state.handed_back(found[state.output])
        return {name: array.reshape(1, -1) for name, array in found.items()}

    def _require_kind(self, output: NDArray[Any]) -> None:
        """Refuse answers that are not of the kind they are said to be."""
        kind, name = self.wiring.output_kind, self.wiring.output
        if not np.isfinite(output[~np.isneginf(output)]).all():
            raise self._refused(f"finite numbers in `{name}`", "NaN or infinity")
        if isinstance(self._head, Box):
            return
        if kind == "actions":
            sizes = np.array(self._head)
            if not ((output == np.floor(output)) & (output >= 0) & (output < sizes)).all():
                of = "" if len(sizes) == 1 else f" (of the first part; the parts have {sizes.tolist()} values)"
                raise self._refused(f"actions 0 to {sizes[0] - 1} in `{name}`{of}", f"{np.unique(output)[:8]}")
            return
        for part in np.split(output, np.cumsum(self._head)[:-1], axis=1):
            self._require_kind_of_part(part)

    def _require_kind_of_part(self, output: NDArray[Any]) -> None:
        kind, name = self.wiring.output_kind, self.wiring.output
        sums = (np.exp(output) if kind == "log_probs" else output).sum(axis=1, dtype=np.float64)
        adds_up = bool((np.abs(sums - 1.0) < _CERTAIN).all()) and (kind == "log_probs" or bool((output >= 0.0).all()))
        if kind == "logits" and adds_up and output.shape[1] > 1:
            raise self._refused(f"logits in `{name}`", "probabilities: each row adds up to 1")
        if kind in ("probs", "log_probs") and not adds_up:
            raise self._refused(f"`{name}` to be {kind}, whose probabilities add up to 1", f"sums {sums[:4].tolist()}")
