"""Measures of rows, and the judgment of a stage, by hand and by twins."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import DECISION, FORCED, acted_batch, batch_of, make_network

from townlet_training.config import StageConfig
from townlet_training.network.spec import PolicySpec
from townlet_training.scheduled.results import RowMeasures, anneal_values, clone_result
from townlet_trajectory.evaluation.anneal_results import StageBaseline
from townlet_trajectory.evaluation.results import CloneEpoch, CloneResult

SPEC = PolicySpec(
    world="w",
    vocabulary=("a", "b"),
    observation_shapes={"features": (2,)},
    feature_names=("rivalry_max", "other"),
)


def test_measures_by_hand() -> None:
    rows = RowMeasures(spec=SPEC)
    features = np.array([[0.0, 9.0], [0.5, 9.0], [1.0, 9.0]], np.float32)
    rows.add(
        batch_of(
            lengths=[2, 1],
            rewards=[1.0, 2.0, -6.0],
            terminated=[True, True],
            observations={"features": features},
            kind=[DECISION, FORCED, DECISION],
            behavior_log_prob=[-1.0, -9.0, -3.0],
        )
    )
    assert rows.baseline == {
        "sample_count": 2.0,
        "reward_mean": -1.0,
        "reward_sum": -3.0,
        "reward_sum_mean": -1.5,
        "log_prob_mean": -2.0,
    }
    assert rows.conflict == {"conflict.rivalry_max_mean_avg": 0.5, "conflict.rivalry_max_max_avg": 1.0}


def test_measures_of_parts_are_those_of_the_whole() -> None:
    spec = PolicySpec(world="w", vocabulary=("a", "b"), observation_shapes={"features": (5,)})
    batch = acted_batch(make_network(), lengths=(3, 5, 2))
    whole, parts = RowMeasures(spec=spec), RowMeasures(spec=spec)
    whole.add(batch)
    assert len(list(parts.added(batch.select(np.array([index])) for index in range(3)))) == 3
    assert parts.baseline == pytest.approx(whole.baseline)


def clone(accuracy: float, loss: float) -> CloneResult:
    epochs = (CloneEpoch(epoch=1, loss=9.0, held_out_accuracy=0.0), CloneEpoch(epoch=2, loss=loss, held_out_accuracy=1))
    return CloneResult(epochs=epochs, best_epoch=2, accuracy=accuracy, num_labels=1, num_held_out=1, num_forbidden=0)


@pytest.mark.parametrize(("threshold", "passed"), [(0.8, True), (0.81, False)])
def test_the_worst_group_decides_about_a_cloning(threshold: float, passed: bool) -> None:
    results = {"cats": clone(0.9, 0.1), "dogs": clone(0.8, 0.3)}
    result, gate = clone_result(StageConfig(cycle=4, mode="bc"), results, threshold=threshold)
    assert (result["accuracy"], result["loss"], result["passed"], result["cycle"]) == (0.8, 0.3, passed, 4)
    assert gate.failed is not passed


def test_lines_before_the_first_stage_of_cloning_know_nothing_of_it() -> None:
    measured = StageBaseline(loss=1.0, queue_conflict_events=None, queue_conflict_intensity_sum=None)
    values = anneal_values(StageConfig(cycle=1), "d", cloned=None, measured=measured, baseline=None)
    assert values["anneal_bc_accuracy"] is None and values["anneal_bc_passed"] is None
    assert (values["anneal_dataset"], values["anneal_loss_flag"]) == ("d", False)
    before = StageBaseline(loss=0.5, queue_conflict_events=4.0, queue_conflict_intensity_sum=6.0)
    values = anneal_values(StageConfig(cycle=1), "d", cloned=None, measured=measured, baseline=before)
    assert [values[f"anneal_{name}_baseline"] for name in ("loss", "queue", "intensity")] == [0.5, 4.0, 6.0]
    assert [values[f"anneal_{name}_flag"] for name in ("loss", "queue", "intensity")] == [True, False, False]
