"""Sets of runs: their scores, their summary, and two of them compared."""

import numpy as np
import pytest
from strategies import scores

from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.across_runs import student_interval, welch_interval
from townlet_trajectory.evaluation.run_sets import RunScores, compare_runs, summarize_runs


def runs(**returns: list[float]) -> RunScores:
    """Scores by seed: `s3=[...]` are the returns of the run with seed 3."""
    return RunScores.of({int(name[1:]): scores(values) for name, values in returns.items()})


def test_runs_lie_in_the_order_of_their_seeds() -> None:
    found = runs(s7=[1.0, 3.0], s2=[5.0, 6.0])
    assert found.seeds == (2, 7)
    assert found.returns.tolist() == [[5.0, 6.0], [1.0, 3.0]]
    assert found.means.tolist() == [5.5, 2.0]


def test_runs_have_played_the_same_episodes() -> None:
    with pytest.raises(EvaluationError, match="same episodes: 1 and 4 have not"):
        RunScores.of({1: scores([1.0]), 4: scores([1.0], first_seed=9)})
    with pytest.raises(EvaluationError, match="at least one run"):
        RunScores.of({})


def test_a_summary_by_hand() -> None:
    found = summarize_runs(runs(s0=[0.0, 2.0], s1=[2.0, 4.0], s2=[8.0, 8.0], s3=[4.0, 6.0]), seed=0, num_resamples=400)
    assert (found.num_runs, found.num_episodes) == (4, 2)
    # scores 1, 3, 8, 5: one is cut at each end; of the eight returns 0 2 2 4 4 6 8 8 two are
    assert (found.mean, found.iqm, found.episodes_iqm) == (4.25, 4.0, 4.0)
    assert found.ci == student_interval([1.0, 3.0, 8.0, 5.0], level=0.05)
    for ends in (found.iqm_ci, found.episodes_iqm_ci):
        assert ends is not None and 1.0 <= ends[0] < 4.0 < ends[1] <= 8.0


def test_one_run_has_no_interval() -> None:
    found = summarize_runs(runs(s0=[0.0, 2.0]), seed=0, num_resamples=10)
    assert (found.mean, found.iqm) == (1.0, 1.0)
    assert (found.ci, found.iqm_ci, found.episodes_iqm_ci) == (None, None, None)
    alone = compare_runs(runs(s0=[0.0, 2.0]), runs(s0=[1.0, 0.0]), trained=True, seed=0)
    assert (alone.mean, alone.ci, alone.p_value, alone.num_runs) == (0.5, None, None, (1, 1))


def test_the_same_seeds_are_compared_seed_by_seed() -> None:
    # Seeds differ by 100, the way of training by 1, 2 and 3: pairing sees it, independent runs do not.
    first = runs(s0=[1.0], s1=[102.0], s2=[203.0])
    second = runs(s2=[200.0], s0=[0.0], s1=[100.0])
    found = compare_runs(first, second, trained=True, seed=0)
    assert found.paired and found.mean == 2.0
    assert found.ci == student_interval([1.0, 2.0, 3.0], level=0.05)
    # Of nine pairs the first has the better run in 3 + 2 + 1.
    assert found.probability == pytest.approx(6 / 9)


def test_other_seeds_are_independent_runs() -> None:
    first, second = runs(s0=[1.0], s1=[2.0], s2=[3.0]), runs(s0=[2.0], s1=[4.0], s5=[6.0])
    found = compare_runs(first, second, trained=True, seed=0)
    assert not found.paired and found.mean == -2.0
    assert found.ci == welch_interval([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], level=0.05)
    assert found.p_value is not None and 0.1 < found.p_value <= 1.0


def test_a_behavior_is_one_however_often_it_was_scored() -> None:
    # Three copies of one script are no three runs of it, so no test may count them.
    found = compare_runs(runs(s0=[1.0], s1=[2.0], s2=[3.0]), runs(s0=[0.0], s1=[0.0], s2=[0.0]), trained=False, seed=0)
    assert (found.mean, found.probability, found.p_value) == (2.0, 1.0, None)


def test_a_comparison_turns_around() -> None:
    rng = np.random.default_rng(0)
    first = RunScores.of({seed: scores(rng.normal(size=4).tolist()) for seed in range(6)})
    second = RunScores.of({seed: scores(rng.normal(size=4).tolist()) for seed in range(6)})
    there, back = (compare_runs(a, b, trained=True, seed=0) for a, b in ((first, second), (second, first)))
    assert there.ci is not None and back.ci is not None
    assert there.mean == pytest.approx(-back.mean)
    assert there.ci == pytest.approx((-back.ci[1], -back.ci[0]))
    assert there.probability == pytest.approx(1.0 - back.probability)
    assert there.p_value == pytest.approx(back.p_value)


def test_other_episodes_cannot_be_compared() -> None:
    with pytest.raises(EvaluationError, match="same episodes only"):
        compare_runs(
            RunScores.of({0: scores([1.0])}), RunScores.of({0: scores([1.0], first_seed=3)}), trained=True, seed=0
        )
