"""How the inputs of a model find their observations."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_models import BOOL, FLOAT, INT64, W, linear, model_of, node, saved, with_constants
from onnx import ModelProto, TensorProto, helper

from townlet_runtime.errors import PolicyFileError
from townlet_runtime.policy.foreign import ForeignModel, ModelParts
from townlet_runtime.policy.seal_spec import SealSpec

KEYS = ("wait", "left", "right")


def foreign(model: ModelProto, tmp_path: Path, shapes: Any = None, **parts: Any) -> ForeignModel:
    spec = SealSpec(vocabulary=KEYS, observation_shapes=shapes)
    return ForeignModel(saved(model, tmp_path), spec, ModelParts(**parts))


def refusal(model: ModelProto, tmp_path: Path, shapes: Any = None, **parts: Any) -> str:
    with pytest.raises(PolicyFileError, match=r"model.onnx: expected") as refused:
        foreign(model, tmp_path, shapes, **parts)
    return str(refused.value)


def two_inputs(first: str = "a", second: str = "b", *, kind: int = FLOAT) -> ModelProto:
    return model_of(
        [
            node("Cast", [second], ["cast"], to=FLOAT),
            node("MatMul", [first, "W"], ["x"]),
            node("Add", ["x", "cast"], ["y"]),
        ],
        {first: (FLOAT, ["N", 4]), second: (kind, ["N", 3])},
        {"y": (FLOAT, ["N", 3])},
        {"W": W},
    )


def test_inputs_find_observations_of_their_name_the_only_one_or_the_one_they_are_given(tmp_path: Path) -> None:
    assert foreign(linear(), tmp_path).shapes == {"obs": (4,)}
    assert foreign(linear(), tmp_path, {"features": (4,)}).wiring.inputs.keys() == {"features"}
    assert foreign(two_inputs(), tmp_path, {"b": (3,), "a": (4,)}).wiring.inputs.keys() == {"a", "b"}
    given = foreign(two_inputs(), tmp_path, {"x": (3,), "a": (4,)}, inputs={"b": "x"})
    assert {name: one.name for name, one in given.wiring.inputs.items()} == {"a": "a", "x": "b"}
    crossed = foreign(two_inputs(), tmp_path, {"a": (3,), "b": (4,)}, inputs={"a": "b", "b": "a"})
    assert {name: one.name for name, one in crossed.wiring.inputs.items()} == {"a": "b", "b": "a"}


def test_an_input_may_be_the_mask(tmp_path: Path) -> None:
    model = two_inputs("a", "legal", kind=BOOL)
    wired = foreign(model, tmp_path, {"a": (4,)}, inputs={"legal": "action_mask"}).wiring.inputs
    assert {name: one.kind for name, one in wired.items()} == {"a": FLOAT, "action_mask": BOOL}
    complaint = refusal(two_inputs("a", "legal"), tmp_path, {"a": (4,)})
    assert "one of the observations ['a'] for the input `legal`, got `legal`" in complaint


@pytest.mark.parametrize(
    ("shapes", "parts", "complaint"),
    [
        ({"a": (4,), "c": (3,)}, {}, "one of the observations ['a', 'c'] for the input `b`, got `b`"),
        ({"a": (4,), "b": (3,)}, {"inputs": {"b": "a"}}, "for the input `b`, got `a`"),
        ({"a": (4,), "b": (2,)}, {}, "`b` [2] in the input `b`, got [3]"),
        ({"a": (4,), "b": (3, 1)}, {}, "`b` [3, 1] in the input `b`, got [3]"),
        ({"a": (4,)}, {"inputs": {"z": "a"}}, "an input `z` that is read, got ['a', 'b']"),
        ({"a": (4,)}, {"states": {"z": "y"}}, "an input `z` that is read"),
        ({"a": (4,)}, {"states": {"b": "x"}}, None),
        ({"a": (4,)}, {"values": "nothing"}, "a value `nothing` of the graph"),
        ({"a": (4,)}, {"states": {"b": "y"}, "values": "y"}, "expected 1 number for each agent in `y`"),
    ],
)
def test_what_does_not_fit_is_named(shapes: Any, parts: dict[str, Any], complaint: str | None, tmp_path: Path) -> None:
    if complaint is None:
        assert foreign(two_inputs(), tmp_path, shapes, output="y", **parts).wiring.states[0].size == 3
    else:
        assert complaint in refusal(two_inputs(), tmp_path, shapes, output="y", **parts)


def test_an_input_that_nothing_reads_is_none(tmp_path: Path) -> None:
    model = linear()
    model.graph.input.append(helper.make_tensor_value_info("unread", TensorProto.STRING, ["N"]))
    assert foreign(model, tmp_path).wiring.inputs.keys() == {"obs"}


def test_inputs_of_other_kinds_and_numbers_of_agents_are_refused(tmp_path: Path) -> None:
    sixteen = linear(kind=TensorProto.FLOAT16)
    assert "numbers in the input `obs`, got FLOAT16" in refusal(sixteen, tmp_path)
    assert "a first axis for agents, of any number or 1, in the input `obs`, got [8, 4]" in refusal(
        linear(batch=8), tmp_path
    )
    open_ended = linear()
    open_ended.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "F"
    assert "fixed sizes of the input `obs`, or a spec" in refusal(open_ended, tmp_path)
    assert foreign(open_ended, tmp_path, {"obs": (4,)}).shapes == {"obs": (4,)}


def test_old_operator_sets_are_refused(tmp_path: Path) -> None:
    model = linear()
    model.opset_import[0].version = 10
    assert "one operator set of version 11 or newer, got versions [10]" in refusal(model, tmp_path)


def test_whole_numbers_are_no_logits(tmp_path: Path) -> None:
    model = linear(node("Cast", ["logits"], ["said"], to=INT64), outputs=("said",))
    assert "floating-point numbers in `said`, got INT64" in refusal(model, tmp_path)


def test_a_state_of_another_shape_is_named(tmp_path: Path) -> None:
    model = two_inputs()
    model.graph.input[1].type.tensor_type.shape.dim[1].dim_param = "S"
    assert "a state [N, S] or [L, N, S] in `b`, got ['N', 'S']" in refusal(
        model, tmp_path, {"a": (4,)}, states={"b": "y"}
    ).replace("[None, None]", "['N', 'S']")
    wider = with_constants(two_inputs(), one=np.zeros((1, 1), np.float32))
    assert "the next state `cast2`" in refusal(
        _with_node(wider, node("ReduceMax", ["y"], ["cast2"], axes=[1])),
        tmp_path,
        {"a": (4,)},
        output="y",
        states={"b": "cast2"},
    )


def _with_node(model: ModelProto, more: Any) -> ModelProto:
    model.graph.node.append(more)
    return model


def test_answers_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    from townlet_runtime.policy.seal import seal

    model = linear(node("Sqrt", ["logits"], ["said"]), outputs=("said",))
    with pytest.raises(PolicyFileError, match="expected finite numbers in `said`, got NaN or infinity"):
        seal(saved(model, tmp_path), tmp_path / "p.onnx", spec=SealSpec(vocabulary=KEYS))
