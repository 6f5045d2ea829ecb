"""The nodes around a model compute in onnxruntime what the equation says, and numpy the same."""

import numpy as np
import onnxruntime
import pytest
from foreign_models import FLOAT, INT64, model_of, node
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from strategies import LOWEST

from townlet_runtime.policy.wrapping import ModelInput, ModelState, OutputKind, Wiring, log_probs_of, wrap

SCORES = model_of([node("Identity", ["x"], ["said"])], {"x": (FLOAT, ["N", 3])}, {"said": (FLOAT, ["N", 3])}, {})
NAMED = model_of([node("Cast", ["x"], ["said"], to=INT64)], {"x": (FLOAT, ["N", 1])}, {"said": (INT64, ["N", 1])}, {})


def wrapped(output: NDArray[np.float32], kind: OutputKind, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    width = output.shape[1]
    one = ModelInput(name="x", kind=FLOAT, shape=(None, width))
    wiring = Wiring(inputs={"scores": one}, states=(), output="said", output_kind=kind, values=None)
    model = wrap(NAMED if kind == "actions" else SCORES, wiring, {"scores": (width,)}, 3)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (log_probs,) = session.run(None, {"scores": output, "action_mask": mask})
    return log_probs


ALL = np.ones((1, 3), np.bool_)


@pytest.mark.parametrize(
    ("output", "kind", "mask", "probabilities"),
    [
        ([np.log(2.0), 0.0, 0.0], "logits", [1, 1, 1], [0.5, 0.25, 0.25]),
        ([np.log(2.0), 0.0, 0.0], "logits", [0, 1, 1], [0.0, 0.5, 0.5]),
        ([-np.inf, 0.0, 0.0], "log_probs", [1, 1, 0], [0.0, 1.0, 0.0]),
        ([0.5, 0.25, 0.25], "probs", [1, 1, 1], [0.5, 0.25, 0.25]),
        ([0.5, 0.5, 0.0], "probs", [0, 1, 1], [0.0, 1.0, 0.0]),
        ([2.0], "actions", [1, 1, 1], [0.0, 0.0, 1.0]),
        ([2.0], "actions", [1, 1, 0], [0.5, 0.5, 0.0]),
    ],
)
def test_by_hand(output: list[float], kind: OutputKind, mask: list[int], probabilities: list[float]) -> None:
    given_output, legal = np.array([output], np.float32), np.array([mask], np.bool_)
    for log_probs in (wrapped(given_output, kind, legal), log_probs_of(given_output, kind, legal)):
        np.testing.assert_allclose(np.exp(log_probs[0]), probabilities, rtol=1e-6)
        assert (log_probs[0][~legal[0]] == LOWEST).all() and np.isfinite(log_probs).all()


@pytest.mark.property
@given(
    npst.arrays(np.float32, (5, 3), elements=st.floats(-50, 50, width=32)),
    npst.arrays(np.bool_, (5, 3)),
    st.sampled_from(["logits", "probs"]),
)
def test_onnxruntime_and_numpy_agree(scores: NDArray[np.float32], mask: NDArray[np.bool_], kind: OutputKind) -> None:
    mask[:, 0] = True
    if kind == "probs":
        scores = np.abs(scores) + np.float32(0.1)
        scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    np.testing.assert_allclose(wrapped(scores, kind, mask), log_probs_of(scores, kind, mask), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_not_made_one(value: float) -> None:
    scores = np.array([[0.0, value, 0.0]], np.float32)
    assert not np.isfinite(wrapped(scores, "logits", ALL)).all()


def test_a_state_of_layers_is_one_row_an_agent() -> None:
    one = ModelInput(name="h", kind=FLOAT, shape=(2, None, 3))
    state = ModelState(input=one, output="h.next", layers=2, size=6)
    rows = np.arange(24, dtype=np.float32).reshape(4, 6)
    layered = state.handed_in(rows)
    assert layered.shape == (2, 4, 3)
    # agent 1 holds 6..11: layer 0 has the first three, layer 1 the others
    assert layered[0, 1].tolist() == [6.0, 7.0, 8.0] and layered[1, 1].tolist() == [9.0, 10.0, 11.0]
    np.testing.assert_array_equal(state.handed_back(layered), rows)
    flat = ModelState(input=one, output="h.next", layers=None, size=6)
    assert flat.handed_in(rows) is rows and flat.handed_back(rows) is not None
    np.testing.assert_array_equal(flat.handed_back(rows), rows)
