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

from townlet_runtime.policy.wrapping import (
    Head,
    ModelInput,
    ModelState,
    OutputKind,
    Wiring,
    gaussian_of,
    log_probs_of,
    wrap,
)
from townlet_trajectory import Box

KINDS: tuple[OutputKind, ...] = ("logits", "log_probs", "probs", "actions")

SCORES = model_of([node("Identity", ["x"], ["said"])], {"x": (FLOAT, ["N", "P"])}, {"said": (FLOAT, ["N", "P"])}, {})
NAMED = model_of(
    [node("Cast", ["x"], ["said"], to=INT64)], {"x": (FLOAT, ["N", "K"])}, {"said": (INT64, ["N", "K"])}, {}
)


def wrapped(
    output: NDArray[np.float32], kind: OutputKind, mask: NDArray[np.bool_] | None, head: Head = (3,)
) -> NDArray[np.float32]:
    width = output.shape[1]
    one = ModelInput(name="x", kind=FLOAT, shape=(None, width))
    wiring = Wiring(inputs={"scores": one}, states=(), output="said", output_kind=kind, values=None)
    model = wrap(NAMED if kind == "actions" and mask is not None else SCORES, wiring, {"scores": (width,)}, head)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (params,) = session.run(None, {"scores": output} | ({} if mask is None else {"action_mask": mask}))
    return params


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
    for log_probs in (wrapped(given_output, kind, legal), log_probs_of(given_output, kind, legal, (3,))):
        np.testing.assert_allclose(np.exp(log_probs[0]), probabilities, rtol=1e-6)
        assert (log_probs[0][~legal[0]] == LOWEST).all() and np.isfinite(log_probs).all()


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
    np.testing.assert_allclose(
        wrapped(scores, kind, mask), log_probs_of(scores, kind, mask, (3,)), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("output", "kind", "mask", "probabilities"),
    [
        # ln 2 against 0 and 0 in the first part, 0 against ln 3 in the second
        ([np.log(2.0), 0.0, 0.0, 0.0, np.log(3.0)], "logits", [1, 1, 1, 1, 1], [0.5, 0.25, 0.25, 0.25, 0.75]),
        ([np.log(2.0), 0.0, 0.0, 0.0, np.log(3.0)], "logits", [0, 1, 1, 1, 0], [0.0, 0.5, 0.5, 1.0, 0.0]),
        ([0.5, 0.25, 0.25, 0.1, 0.9], "probs", [1, 1, 1, 1, 1], [0.5, 0.25, 0.25, 0.1, 0.9]),
        ([-np.inf, 0.0, 0.0, 0.0, -np.inf], "log_probs", [1, 1, 0, 1, 1], [0.0, 1.0, 0.0, 1.0, 0.0]),
        ([2.0, 1.0], "actions", [1, 1, 1, 1, 1], [0.0, 0.0, 1.0, 0.0, 1.0]),
        ([2.0, 1.0], "actions", [1, 1, 0, 1, 1], [0.5, 0.5, 0.0, 0.0, 1.0]),
    ],
)
def test_parts_by_hand(output: list[float], kind: OutputKind, mask: list[int], probabilities: list[float]) -> None:
    given_output, legal = np.array([output], np.float32), np.array([mask], np.bool_)
    both = (wrapped(given_output, kind, legal, (3, 2)), log_probs_of(given_output, kind, legal, (3, 2)))
    for log_probs in both:
        np.testing.assert_allclose(np.exp(log_probs[0]), probabilities, rtol=1e-6)
        assert (log_probs[0][~legal[0]] == LOWEST).all() and np.isfinite(log_probs).all()


@given(st.lists(st.integers(2, 5), min_size=1, max_size=4).map(tuple), st.integers(0, 2**32), st.sampled_from(KINDS))
def test_parts_are_each_what_they_are_alone(sizes: tuple[int, ...], seed: int, kind: OutputKind) -> None:
    rng = np.random.default_rng(seed)
    ends = np.cumsum(sizes)[:-1]
    scores = rng.normal(size=(4, sum(sizes))).astype(np.float32)
    if kind == "probs":
        scores = np.concatenate([np.exp(p) / np.exp(p).sum(1, keepdims=True) for p in np.split(scores, ends, 1)], 1)
    if kind == "actions":
        scores = np.stack([rng.integers(size, size=4) for size in sizes], axis=1).astype(np.float32)
    mask = rng.random((4, sum(sizes))) < 0.6
    mask[:, np.cumsum((0, *sizes[:-1]))] = True
    columns = np.split(scores, np.arange(1, len(sizes)) if kind == "actions" else ends, axis=1)
    alone = [
        log_probs_of(part, kind, legal, (size,))
        for part, legal, size in zip(columns, np.split(mask, ends, axis=1), sizes, strict=True)
    ]
    np.testing.assert_array_equal(log_probs_of(scores, kind, mask, sizes), np.concatenate(alone, axis=1))
    np.testing.assert_allclose(wrapped(scores, kind, mask, sizes), np.concatenate(alone, axis=1), rtol=1e-5, atol=1e-5)


def test_numbers_by_hand() -> None:
    box = Box(names=("steer", "throttle"), low=(-1.0, 0.0), high=(1.0, 4.0))
    said = np.array([[0.5, 3.0, -1.0, 0.25], [9.0, -9.0, 0.0, 0.0]], np.float32)
    for params in (wrapped(said, "gaussian", None, box), gaussian_of(said, "gaussian", box)):
        np.testing.assert_array_equal(params, said)
    # Half of the ranges is 1 and 2; deviations are a thousandth of it.
    expected = np.array([[0.5, 3.0, np.log(1e-3), np.log(2e-3)], [9.0, -9.0, np.log(1e-3), np.log(2e-3)]])
    for params in (wrapped(said[:, :2], "actions", None, box), gaussian_of(said[:, :2], "actions", box)):
        np.testing.assert_allclose(params, expected, rtol=1e-6)
        assert params.dtype == np.float32


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
