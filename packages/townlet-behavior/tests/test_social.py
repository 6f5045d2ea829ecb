import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_behavior import chat_quality, chat_score

shares = st.floats(0.0, 1.0)
ties = st.floats(-1.0, 1.0)


def floats(*values: float) -> np.ndarray:
    return np.array(values)


def test_scores_by_hand() -> None:
    # 0.5 + 0.25 - 0.1 + 0.1·0.5 = 0.7;  0 + 0 - 0.5 + 0.1·1 = -0.4;  two strangers: 0.1·0.2 = 0.02
    score = chat_score(floats(0.5, 0, 0), floats(0.25, 0, 0), floats(0.1, 0.5, 0), floats(0.5, 1, 0.2))
    assert score == pytest.approx([0.7, -0.4, 0.02])


def test_a_stranger_to_a_reserved_agent_scores_nothing() -> None:
    assert chat_score(floats(0), floats(0), floats(0), floats(0)).tolist() == [0.0]


def test_qualities_by_hand() -> None:
    # 0.5 + 0.3·0.5 + 0.2·0.4 + 0.1·0.3 - 0.2·0.1 = 0.74; times 1.3 it is 0.962; times 0.6 it is 0.444
    ones = np.ones(3)
    quality = chat_quality(0.4 * ones, 0.3 * ones, 0.1 * ones, 0.5 * ones, floats(1.0, 1.3, 0.6))
    assert quality == pytest.approx([0.74, 0.962, 0.444])


def test_preference_counts_within_a_half_and_one_and_a_half() -> None:
    # Between strangers without a spark of extroversion it is 0.5 · preference.
    zeros = np.zeros(4)
    quality = chat_quality(zeros, zeros, zeros, zeros, floats(0.1, 0.5, 1.5, 9.0))
    assert quality == pytest.approx([0.25, 0.25, 0.75, 0.75])


def test_quality_stays_within_a_tenth_and_one() -> None:
    # 0.5 + 0.3 + 0.2 + 0.1 = 1.1 is cut to 1; (0.5 - 0.2 - 0.2 - 0.1)·0.5 = 0 is raised to 0.1.
    quality = chat_quality(floats(1, -1), floats(1, -1), floats(0, 1), floats(1, 0), floats(1, 0.5))
    assert quality.tolist() == [1.0, 0.1]


def test_tables_of_pairs_are_fine_too() -> None:
    trust = np.arange(6.0).reshape(2, 3) / 10
    score = chat_score(trust, 0 * trust, 0 * trust, floats(0.0, 1.0)[:, None])
    assert score == pytest.approx(np.array([[0.0, 0.1, 0.2], [0.4, 0.5, 0.6]]))


@given(ties, shares, shares, shares, shares, st.floats(0.0, 3.0))
def test_a_better_tie_never_makes_a_worse_chat(
    trust: float, familiarity: float, rivalry: float, extroversion: float, more: float, preference: float
) -> None:
    def of(trust: float, familiarity: float, rivalry: float, extroversion: float) -> tuple[float, float]:
        args = (floats(trust), floats(familiarity), floats(rivalry), floats(extroversion))
        return chat_score(*args).item(), chat_quality(*args, floats(preference)).item()

    tie = (trust, familiarity, rivalry, extroversion)
    score, quality = of(*tie)
    for better in (
        (trust + more, familiarity, rivalry, extroversion),
        (trust, familiarity + more, rivalry, extroversion),
        (trust, familiarity, rivalry - more, extroversion),
        (trust, familiarity, rivalry, extroversion + more),
    ):
        better_score, better_quality = of(*better)
        assert better_score >= score
        assert better_quality >= quality
    assert 0.1 <= quality <= 1.0
