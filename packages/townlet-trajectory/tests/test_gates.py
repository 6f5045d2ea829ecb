"""A gate fails only when the whole interval lies on the bad side."""

import numpy as np
import pytest
from strategies import scores

from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.gates import accuracy_gate, excess_gain, floor_gate, gate_level


def test_the_level_is_shared_by_all_gates() -> None:
    assert gate_level(1) == 0.05
    assert gate_level(10, level=0.2) == pytest.approx(0.02)
    with pytest.raises(EvaluationError, match="`num_gates` must be at least 1, got 0"):
        gate_level(0)


def test_excess_gain_by_hand() -> None:
    differences = excess_gain(scores([5.0, 3.0]), scores([11.0, 6.0]), scores([1.0, 1.0]), fraction=0.5)
    # (5 - 1) - 0.5 (11 - 1),  (3 - 1) - 0.5 (6 - 1)
    np.testing.assert_array_equal(differences, [-1.0, -0.5])


def test_excess_gain_is_negative_exactly_below_the_fraction_of_the_normalized_score() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        idle, clone, learned = (scores(list(rng.normal(mean, 1.0, size=6))) for mean in (0.0, 5.0, 4.0))
        mean = excess_gain(learned, clone, idle, fraction=0.8).mean()
        kept = (learned.mean - idle.mean) / (clone.mean - idle.mean)
        assert (mean < 0.0) == (kept < 0.8)


@pytest.mark.parametrize(
    ("values", "passed"),
    [
        ([-1.0, -2.0, -3.0, -1.5], False),  # no resample reaches 0
        ([-1.0, -2.0, -3.0, 4.0], True),  # negative on average, but not surely so
        ([1.0, 2.0], True),
        ([0.0, 0.0], True),  # at the limit
        ([-0.001, -0.001], False),
    ],
)
def test_the_whole_interval_must_be_bad(values: list[float], passed: bool) -> None:
    gate = floor_gate("kept", np.array(values), level=0.05, seed=1, num_resamples=1000)
    assert gate.passed is passed
    assert gate.name == "kept"
    assert gate.detail.startswith(f"mean {np.mean(values):.6g} over {len(values)} episodes, 95 % interval [")


def test_a_smaller_level_is_more_lenient() -> None:
    values = np.array([-1.0, -1.2, -0.8, -0.9, 0.5, -1.1, 0.1, -0.4])
    strict = floor_gate("kept", values, level=0.2, seed=1, num_resamples=5000)
    lenient = floor_gate("kept", values, level=0.0001, seed=1, num_resamples=5000)
    assert (strict.passed, lenient.passed) == (False, True)


@pytest.mark.parametrize(
    ("correct", "labels", "passed"),
    [
        (80, 100, False),  # Wilson's 95 % interval of 80 in 100 is [0.711, 0.867]
        (85, 100, True),  # [0.767, 0.907]
        (9, 10, True),
        (8000, 10_000, False),
        (8950, 10_000, True),  # [0.889, 0.901]
        (100, 100, True),
    ],
)
def test_accuracy_against_nine_tenths(correct: int, labels: int, passed: bool) -> None:
    gate = accuracy_gate("clone", accuracy=correct / labels, num_labels=labels, threshold=0.9, level=0.05)
    assert gate.passed is passed
    assert f"on {labels} labels" in gate.detail


def test_an_accuracy_of_nothing_is_no_accuracy() -> None:
    with pytest.raises(EvaluationError, match="at least one held-out label"):
        accuracy_gate("clone", accuracy=1.0, num_labels=0, threshold=0.9, level=0.05)
    with pytest.raises(EvaluationError, match=r"accuracy in \[0, 1\], got nan"):
        accuracy_gate("clone", accuracy=float("nan"), num_labels=5, threshold=0.9, level=0.05)
