"""Figures of classic samples, by hand and those of the original's own files."""

import json
from pathlib import Path

import numpy as np
import pytest

from townlet_trajectory.formats.captures.directory import read_captures, read_metrics
from townlet_trajectory.formats.captures.metrics import aggregate_metrics, sample_metrics

DATA = Path(__file__).parent / "data" / "kitchen_capture"


def test_by_hand() -> None:
    metrics = sample_metrics(
        rewards=np.array([1, 2, -4, 5], np.float32),
        log_probs=np.array([-1, -1, -2, 0], np.float32),
        value_preds=np.array([1, 2, 3, 4, 0.5], np.float32),
        actions=np.array([0, 0, 1, 2]),
        action_texts=['{"kind":"wait"}', '{"kind":"wait","blocked":true}', "[1]", '{"kind":"chat"}'],
        features=np.array([[0, 1, 2, 8], [1, 0, 2, 8], [0, 0, 5, 8], [1, 3, 7, 8]], np.float32),
        feature_names=["rivalry_max", "rivalry_avoid_count", "lateness_counter", "reward_total"],
    )
    assert metrics == {
        "timesteps": 4.0,
        "reward_sum": 4.0,
        "reward_mean": 1.0,
        "log_prob_mean": -1.0,
        "value_pred_last": 0.5,
        "rivalry_max_mean": 0.5,
        "rivalry_max_max": 1.0,
        "rivalry_avoid_count_mean": 1.0,
        "rivalry_avoid_count_max": 3.0,
        "lateness_mean": 4.0,
        "reward_feature_mean": 8.0,
        "action_nonzero": 3.0,
        "action_total": 4.0,
        "action_entropy": pytest.approx(1.5 * np.log(2)),  # shares 1/2, 1/4, 1/4
        "action_unknown_count": 1.0,
        "action_wait_count": 3.0,
        "action_blocked_ratio": 0.25,
    }


def test_vetoes_are_those_of_the_recording_where_it_says_so() -> None:
    ones = np.ones(4, np.float32)
    metrics = sample_metrics(
        rewards=ones,
        log_probs=None,
        value_preds=None,
        actions=np.array([1, 1, 1, 0]),
        action_texts=['{"kind":"wait"}', '{"kind":"wait","blocked":true}'],
        features=np.zeros((4, 0), np.float32),
        feature_names=[],
        vetoed=np.array([True, False, False, False]),
    )
    assert metrics["action_blocked_ratio"] == 0.25
    assert {"log_prob_mean", "value_pred_last"}.isdisjoint(metrics)


def test_same_as_in_the_files_of_the_original() -> None:
    with pytest.warns(UserWarning, match="action ids"):
        samples = read_captures(DATA / "rollout_sample_manifest.json").samples
    recorded = read_metrics(DATA / "rollout_sample_metrics.json")
    for sample in samples:
        metrics = sample.metrics()
        assert metrics == pytest.approx(recorded[sample.path.name])
        assert json.dumps(metrics, allow_nan=False).count("-0.0") == 0 or sample.rewards.any()


@pytest.mark.parametrize("text", ["action_0", "[" * 200_000, '{"kind":' * 200_000, '"\ud800"'])
def test_text_that_is_not_json_is_of_unknown_kind(text: str) -> None:
    ones = np.ones(1, np.float32)
    metrics = sample_metrics(
        rewards=ones,
        log_probs=ones,
        value_preds=ones,
        actions=np.zeros(1, np.int64),
        action_texts=[text],
        features=ones[None],
        feature_names=["x"],
    )
    assert metrics["action_unknown_count"] == 1.0
    assert metrics["action_entropy"] == 0.0
    assert "rivalry_max_mean" not in metrics


def test_aggregates_by_hand() -> None:
    samples = [
        {"timesteps": 2.0, "reward_sum": 3.0, "action_total": 2.0, "action_wait_count": 2.0, "lateness_mean": 1.0},
        {"timesteps": 4.0, "reward_sum": 5.0, "action_total": 4.0, "lateness_mean": None},
    ]
    assert aggregate_metrics(samples) == {
        "sample_count": 2.0,
        "timesteps": 3.0,
        "reward_sum": 8.0,
        "reward_sum_mean": 4.0,
        "action_total": 6.0,
        "action_total_mean": 3.0,
        "action_wait_count": 1.0,  # the second sample has none, which is 0
        "lateness_mean": 1.0,  # the second sample has no such feature
    }
    assert aggregate_metrics([]) == {"sample_count": 0.0}
    assert aggregate_metrics(iter(samples)) == aggregate_metrics(samples[::-1])
