import numpy as np
import pytest

from townlet_behavior import CHAT_PREFERENCE, PROFILES, arrival_buffers, avoid_thresholds, need_thresholds
from townlet_behavior.personality import BALANCED


def test_the_characters_in_their_order() -> None:
    assert [profile.name for profile in PROFILES] == ["balanced", "industrious", "socialite", "stoic"]
    assert PROFILES[BALANCED].name == "balanced"


def test_the_industrious_set_off_earlier() -> None:
    # 20 · 1.4 = 28
    assert arrival_buffers(20).tolist() == [20, 28, 20, 20]
    assert arrival_buffers(20).dtype == np.int64


def test_buffers_are_whole_ticks() -> None:
    # 1.4 · 1 = 1.4, 1.4 · 4 = 5.6
    assert arrival_buffers(1).tolist() == [1, 1, 1, 1]
    assert arrival_buffers(4).tolist() == [4, 6, 4, 4]
    assert arrival_buffers(0).tolist() == [0, 0, 0, 0]


def test_thresholds_by_character() -> None:
    # stoic: 0.4 · 0.95; socialite: 0.5 · 1.1; industrious: 0.6 · 0.9
    thresholds = need_thresholds((0.4, 0.5, 0.6))
    expected = [[0.4, 0.5, 0.6], [0.4, 0.5, 0.54], [0.4, 0.55, 0.6], [0.38, 0.5, 0.6]]
    assert thresholds == pytest.approx(np.array(expected))
    assert thresholds.dtype == np.float32


def test_no_threshold_is_above_a_satisfied_need() -> None:
    assert need_thresholds((1.0, 0.95, 1.0))[2].tolist() == [1.0, 1.0, 1.0]


def test_socialites_like_to_chat() -> None:
    assert CHAT_PREFERENCE.tolist() == [1.0, 1.0, 1.3, 1.0]


def test_the_stoic_put_up_with_more() -> None:
    # 0.3 / 0.6 = 0.5; 0.7 / 0.6 is more than any rivalry, so it is cut to 1.
    assert avoid_thresholds(0.3) == pytest.approx([0.3, 0.3, 0.3, 0.5])
    assert avoid_thresholds(0.7).tolist() == [0.7, 0.7, 0.7, 1.0]
