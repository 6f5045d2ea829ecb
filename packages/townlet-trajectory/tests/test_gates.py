"""A gate fails only when the whole interval lies on the bad side, and holds its level: simulations of policies that are
exactly at the limit."""

import numpy as np
import pytest
from strategies import scores

from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.gates import (
    RARE,
    GateResult,
    Verdict,
    accuracy_gate,
    episodes_to_fail,
    every_group,
    excess_gain,
    floor_gate,
    gate_level,
)


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


def test_a_policy_at_the_limit_is_not_below_it_by_rounding() -> None:
    clone = scores(list(np.random.default_rng(1).integers(5, 9, size=40) / 10))
    idle = scores([0.1] * 40)
    candidate = scores([0.1 + 0.8 * (each - 0.1) for each in clone.returns])
    differences = excess_gain(candidate, clone, idle, fraction=0.8)
    assert differences.tolist() == [0.0] * 40
    assert floor_gate("kept", differences, level=0.05, seed=1).verdict is Verdict.PASSED


def floor(values: list[float], level: float = 0.05) -> GateResult:
    return floor_gate("kept", np.array(values), level=level, seed=1)


def test_the_number_of_episodes_by_hand() -> None:
    # 0.95^n <= 0.025 from n = 71.9 on; 0.95^n <= 0.00125 from n = 130.3 on.
    assert (episodes_to_fail(0.05), episodes_to_fail(0.0025)) == (72, 131)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([-1.0, -2.0, -3.0, -1.5] * 18, Verdict.FAILED),
        ([-1.0, -2.0, -3.0, -1.5] * 17 + [-1.0, -2.0, -3.0], Verdict.NOT_ENOUGH_EVIDENCE),  # 71 episodes
        ([-1.0, -2.0, -3.0, 4.0] * 18, Verdict.PASSED),  # negative on average, but not surely so
        ([1.0, 2.0], Verdict.PASSED),
        ([0.0, 0.0], Verdict.PASSED),  # at the limit
        ([-0.001] * 72, Verdict.FAILED),
    ],
)
def test_the_whole_interval_must_be_bad(values: list[float], verdict: Verdict) -> None:
    gate = floor(values)
    assert (gate.name, gate.verdict, gate.failed) == ("kept", verdict, verdict is Verdict.FAILED)
    assert gate.detail.startswith(f"mean {np.mean(values):.6g} over {len(values)} episodes, at most ")
    assert ("; 72 episodes are needed" in gate.detail) == (verdict is Verdict.NOT_ENOUGH_EVIDENCE)


def test_a_smaller_level_is_more_lenient() -> None:
    values = list(np.random.default_rng(3).normal(-0.3, 1.0, size=140))
    assert [floor(values, level).verdict for level in (0.2, 0.0025)] == [Verdict.FAILED, Verdict.PASSED]


def false_fails(draw, size: int, level: float, num_policies: int = 300) -> int:
    """Of policies that are exactly at the limit, how many fail after the first 16 and then `size` episodes."""
    rng, failed = np.random.default_rng(8), 0
    for seed in range(num_policies):
        values = draw(rng, size)
        # The bound is above the mean: it need not be computed where that is not negative.
        if values[:16].mean() >= 0.0 or values.mean() >= 0.0:
            continue
        early = floor_gate("kept", values[:16], level=level, seed=seed)
        assert not early.failed
        if early.verdict is Verdict.NOT_ENOUGH_EVIDENCE:
            failed += floor_gate("kept", values, level=level, seed=seed).failed
    return failed


def jackpots(share: float):
    """Episodes that earn 1 too little, but for a `share` of them, which earn all of it back."""
    return lambda rng, size: np.where(rng.random(size) < share, 1.0 / share - 1.0, -1.0) + 0.1 * rng.normal(size=size)


@pytest.mark.parametrize(
    "draw",
    [
        jackpots(0.1),
        jackpots(RARE),
        lambda rng, size: rng.exponential(size=size) - 1.0,
        lambda rng, size: rng.lognormal(0.0, 1.0, size=size) - np.exp(0.5),
        lambda rng, size: rng.standard_t(3, size=size),
        lambda rng, size: 1.0 - rng.exponential(size=size),
    ],
)
def test_a_policy_at_the_limit_fails_no_more_often_than_the_level_says(draw) -> None:
    # Binomial(300, 0.05) has deviation 3.8. The bootstrap of 16 episodes failed 68 of 300 with one jackpot in ten.
    assert false_fails(draw, episodes_to_fail(0.05), 0.05) <= 15 + 2 * 3.8


def test_a_policy_that_kept_too_little_fails() -> None:
    rng = np.random.default_rng(2)
    verdicts = [
        floor_gate("kept", rng.normal(-1.0, 1.0, size=131), level=0.0025, seed=seed).verdict for seed in range(10)
    ]
    assert verdicts == [Verdict.FAILED] * 10


def accuracy(shares: list[float], threshold: float = 0.9, level: float = 0.05) -> GateResult:
    return accuracy_gate("clone", np.array(shares), threshold=threshold, level=level, seed=1)


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ([0.5] * 10, Verdict.FAILED),
        ([0.85] * 10, Verdict.FAILED),  # at most 0.85 + 0.15 (1 - 0.05^(1/10)) = 0.889
        ([0.85] * 6, Verdict.PASSED),  # at most 0.909
        ([0.9] * 3, Verdict.PASSED),
        ([0.1], Verdict.NOT_ENOUGH_EVIDENCE),  # with every label wrong, at most 0.95
        ([0.1, 0.0], Verdict.FAILED),  # with every label wrong, at most 0.776
        ([1.0], Verdict.PASSED),
    ],
)
def test_accuracy_against_nine_tenths(shares: list[float], verdict: Verdict) -> None:
    gate = accuracy(shares)
    assert gate.verdict is verdict
    assert f"in {len(shares)} episodes" in gate.detail


def test_labels_of_one_episode_are_not_counted_as_if_they_were_independent() -> None:
    # 12 episodes of 400 labels each, true accuracy exactly at the threshold, deviation 0.05 between episodes: an
    # interval over the 4,800 labels failed 71 of 300 at this level.
    rng, failed = np.random.default_rng(6), 0
    for seed in range(300):
        # Beta with mean 0.9 and deviation 0.05.
        shares = rng.binomial(400, rng.beta(31.5, 3.5, size=12)) / 400
        failed += accuracy_gate("clone", shares, threshold=0.9, level=0.05, seed=seed).failed
    assert failed <= 15 + 2 * 3.8


def test_an_accuracy_of_nothing_is_no_accuracy() -> None:
    with pytest.raises(EvaluationError, match="one axis and a number"):
        accuracy([])
    with pytest.raises(EvaluationError, match=r"accuracies in \[0, 1\], got 0.5 to 1.5"):
        accuracy([0.5, 1.5])
    with pytest.raises(EvaluationError, match="must be finite"):
        accuracy([float("nan")])


def test_of_several_groups_the_worst_verdict_counts() -> None:
    results = {
        verdict: GateResult(name="clone", verdict=verdict, detail=str(verdict))
        for verdict in (Verdict.PASSED, Verdict.NOT_ENOUGH_EVIDENCE, Verdict.FAILED)
    }
    passed, unsure, failed = results.values()
    assert every_group({"one": failed}) == failed
    assert every_group({"one": passed, "two": passed}).verdict is Verdict.PASSED
    assert every_group({"one": passed, "two": unsure}).verdict is Verdict.NOT_ENOUGH_EVIDENCE
    combined = every_group({"one": unsure, "two": failed, "three": passed})
    assert (combined.name, combined.verdict) == ("clone", Verdict.FAILED)
    assert combined.detail == "one: not enough evidence; two: failed; three: passed"
