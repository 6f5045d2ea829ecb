"""Figures of any source, by hand, and of a capture beside those of its samples."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from strategies import FEATURE_NAMES, make_trajectory

from townlet_trajectory import SchemaError, TrajectoryBatch
from townlet_trajectory.data.pieces import split_every
from townlet_trajectory.dataset.classic import ClassicColumns
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.formats.captures.directory import read_captures
from townlet_trajectory.formats.captures.figures import source_metrics
from townlet_trajectory.formats.captures.source import CaptureSource

DATA = Path(__file__).parent / "data" / "kitchen_capture"


def test_figures_of_any_source() -> None:
    first = make_trajectory(1, 3, world=1, terminated=True)
    second = make_trajectory(2, 4)
    log_probs = np.array([-1, np.nan, -3], np.float32)
    first = replace(
        first,
        columns={
            **first.columns,
            "action": np.array([0, 1, 1]),
            "behavior_log_prob": log_probs,
            "value": np.array([7, 8, 9], np.float32),
            "vetoed": np.array([True, False, False]),
        },
        rewards=np.array([1, 2, 4], np.float32),
    )
    batch = TrajectoryBatch.from_trajectories([first, second])
    pieces = BatchSource(split_every(batch, 2), rows_per_block=2)
    of_second, of_first = source_metrics(pieces, feature_names=FEATURE_NAMES)
    features = first.observations["features"][:-1]
    assert of_first == {
        "timesteps": 3.0,
        "reward_sum": 7.0,
        "reward_mean": pytest.approx(7 / 3),
        "log_prob_mean": -2.0,  # of the two that are finite
        "value_pred_last": 9.0,
        "rivalry_max_mean": pytest.approx(features[:, 0].mean()),
        "rivalry_max_max": features[:, 0].max(),
        "rivalry_avoid_count_mean": pytest.approx(features[:, 1].mean()),
        "rivalry_avoid_count_max": features[:, 1].max(),
        "lateness_mean": pytest.approx(features[:, 2].mean()),
        "action_nonzero": 2.0,
        "action_total": 3.0,
        "action_entropy": pytest.approx(-(np.log(1 / 3) + 2 * np.log(2 / 3)) / 3),
        "action_wait_count": 3.0,
        "action_blocked_ratio": pytest.approx(1 / 3),  # of the column, not of the texts
    }
    assert (of_second["timesteps"], of_second["reward_sum"]) == (4.0, float(second.rewards.sum()))
    unnamed, _ = source_metrics(pieces, action_texts=["a", "b", "c"])
    assert {"rivalry_max_mean", "action_wait_count"}.isdisjoint(unnamed) and unnamed["action_unknown_count"] == 4.0


def test_figures_of_a_source_without_probabilities() -> None:
    (figures,) = source_metrics(ClassicColumns(BatchSource(TrajectoryBatch.from_trajectories([make_trajectory(0, 2)]))))
    assert {"log_prob_mean", "value_pred_last"}.isdisjoint(figures) and figures["timesteps"] == 2.0
    bare = make_trajectory(0, 2)
    none = {**bare.columns, "behavior_log_prob": np.full(2, np.nan, np.float32)}
    (figures,) = source_metrics(BatchSource(TrajectoryBatch.from_trajectories([replace(bare, columns=none)])))
    assert "log_prob_mean" not in figures and "value_pred_last" in figures


def test_names_that_do_not_fit_a_source() -> None:
    source = BatchSource(TrajectoryBatch.from_trajectories([make_trajectory(0, 2)]))
    with pytest.raises(SchemaError, match="`action_texts` must be 3, one for each action, got 1"):
        next(source_metrics(source, action_texts=["a"]))
    with pytest.raises(SchemaError, match="2 `feature_names` do not fit the observation `features` ArraySpec"):
        next(source_metrics(source, feature_names=["a", "b"]))


@pytest.mark.filterwarnings("ignore::townlet_trajectory.formats.captures.directory.UnnamedActionsWarning")
def test_a_capture_of_the_original_read_as_a_source_lacks_the_first_row() -> None:
    sample = read_captures(DATA / "rollout_sample_manifest.json").samples[0]
    figures, _ = source_metrics(CaptureSource(DATA / "rollout_sample_manifest.json"))
    assert (sample.metrics()["timesteps"], figures["timesteps"]) == (40.0, 39.0)
    assert figures["log_prob_mean"] == pytest.approx(sample.old_log_probs[1:].mean())
    assert figures["value_pred_last"] == sample.value_preds[38]
