"""Robust scores by hand and by a twin of plain Python; figures of trajectories; what is named first, and why."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import NUMBERS, PARTS, array_batch, array_schema

from townlet_trajectory import ArraySpec, DatasetError, Trajectory, TrajectoryBatch, TrajectorySchema, save_batch
from townlet_trajectory.audit.outliers import (
    LIMIT,
    MAX_ELEMENTS,
    find_outliers,
    rank_outliers,
    robust_scores,
    trajectory_figures,
)
from townlet_trajectory.data.pieces import split_every
from townlet_trajectory.dataset.source import BatchSource

SCHEMA = TrajectorySchema(
    observations={
        "features": ArraySpec("float32", (2,)),
        "light": ArraySpec("float32"),
        "map": ArraySpec("float32", (2, 2)),
        "action_mask": ArraySpec("bool", (3,)),
        "long": ArraySpec("uint8", (MAX_ELEMENTS + 1,)),
    },
    decisions={"action": ArraySpec("int64")},
    vocabulary=("wait", "eat", "chat"),
)


def life(agent_id: str, actions: list[int], rewards: list[float], *, hunger: float = 0.5) -> Trajectory:
    """A life with one feature constant, the other its tick."""
    size = len(actions)
    observations: dict[str, NDArray[np.generic]] = {
        name: np.zeros((size + 1, *spec.shape), spec.dtype) for name, spec in SCHEMA.observations.items()
    }
    observations["features"] = np.column_stack((np.full(size + 1, hunger), np.arange(size + 1))).astype(np.float32)
    return Trajectory(
        schema=SCHEMA,
        observations=observations,
        columns={"action": np.array(actions)},
        rewards=np.array(rewards, np.float32),
        ticks=np.arange(size),
        terminated=True,
        truncated=False,
        agent_id=agent_id,
        world=1,
        episode=2,
    )


def town() -> TrajectoryBatch:
    """Five lives of 4 steps and return 2; `eve` is 12 steps long, and eats and waits by turns; `fay` earns 9."""
    lives = [life(name, [0, 1, 2, 0], [0.5] * 4) for name in ("ann", "ben", "cat", "dan")]
    lives.insert(2, life("eve", [0, 1] * 6, [0.25] * 8 + [0.0] * 4))
    lives.append(life("fay", [0, 1, 2, 0], [1.0, 2.0, 3.0, 3.0]))
    return TrajectoryBatch.from_trajectories(lives)


def twin(values: list[float]) -> list[float]:
    """The definition in plain Python, for numbers without rounding: integers."""
    median = statistics.median(values)
    distances = [abs(value - median) for value in values]
    mad = statistics.median(distances)
    if mad:
        return [0.6745 * (value - median) / mad for value in values]
    mean = statistics.fmean(distances)
    return [(value - median) * math.sqrt(2 / math.pi) / mean if mean else 0.0 for value in values]


def test_scores_by_hand() -> None:
    # Median 4, distances 3 2 1 0 1 2 96, their median 2.
    scores = robust_scores(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 100.0]))
    assert scores.tolist() == pytest.approx([-1.01175, -0.6745, -0.33725, 0.0, 0.33725, 0.6745, 32.376])


def test_where_most_are_equal_the_mean_deviation_takes_over() -> None:
    # Median 2, MAD 0; distances 0 0 0 0 10 with the mean 2: 10 / (2 / 0.79788) = 3.98942.
    scores = robust_scores(np.array([2.0, 2.0, 2.0, 2.0, 12.0]))
    assert scores.tolist() == pytest.approx([0.0, 0.0, 0.0, 0.0, 3.989423])


def test_equal_numbers_score_0_and_so_does_their_rounding() -> None:
    assert robust_scores(np.full(4, 0.1)).tolist() == [0.0] * 4
    assert robust_scores(np.array([0.1, 0.1 + 1e-16, 0.1 - 1e-16, 0.1 + 3e-16])).tolist() == [0.0] * 4
    assert robust_scores(np.array([7.0])).tolist() == [0.0]


def test_scores_stay_finite() -> None:
    scores = robust_scores(np.array([0.0, 5e-324, 5e-324 * 2, 1e308, -1e308]))
    assert np.isfinite(scores).all()
    assert scores[3] == -scores[4] == 1e300


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf, 1.0]])
def test_what_is_no_finite_number_is_refused(values: list[float]) -> None:
    with pytest.raises(DatasetError, match="finite"):
        robust_scores(np.array(values))


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=40))
def test_scores_are_those_of_plain_python(values: list[int]) -> None:
    assert robust_scores(np.array(values, np.float64)).tolist() == pytest.approx(twin([*map(float, values)]))


@given(
    st.lists(st.integers(-1000, 1000), min_size=1, max_size=40),
    st.integers(-1000, 1000),
    st.sampled_from([-8, -1, 2, 1024]),
    st.randoms(use_true_random=False),
)
def test_scores_do_not_depend_on_origin_unit_or_order(
    values: list[int], origin: int, unit: int, random: Random
) -> None:
    scores = robust_scores(np.array(values, np.float64))
    moved = robust_scores(np.array(values, np.float64) * unit + origin)
    np.testing.assert_allclose(moved, scores * np.sign(unit), rtol=1e-12)
    order = list(range(len(values)))
    random.shuffle(order)
    np.testing.assert_allclose(robust_scores(np.array(values, np.float64)[order]), scores[order], rtol=1e-12)


def test_figures_by_hand() -> None:
    figures = trajectory_figures(BatchSource(town()), element_names={"features": ("hunger", "clock")})
    assert [*figures] == ["length", "return", "action_entropy", "mean hunger", "mean clock", "mean light"]
    assert figures["length"].tolist() == [4, 4, 12, 4, 4, 4]
    assert figures["return"].tolist() == [2, 2, 2, 2, 2, 9]
    # Shares 1/2, 1/4, 1/4; eve's are 1/2 and 1/2.
    long, short = 1.5 * math.log(2), math.log(2)
    assert figures["action_entropy"].tolist() == pytest.approx([long, long, short, long, long, long])
    assert figures["mean hunger"].tolist() == [0.5] * 6
    assert figures["mean clock"].tolist() == [1.5, 1.5, 5.5, 1.5, 1.5, 1.5]
    assert figures["mean light"].tolist() == [0.0] * 6


def test_elements_without_names_are_numbered() -> None:
    names = {"features": ("hunger", "hunger")}
    assert "mean features[1]" in trajectory_figures(BatchSource(town()), element_names=names)


def test_pieces_are_judged_whole_however_they_are_stored() -> None:
    whole, pieces = town(), split_every(town(), 3)
    expected = trajectory_figures(BatchSource(whole))
    found = trajectory_figures(BatchSource(pieces, rows_per_block=2))
    assert len(pieces) > len(whole)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12, err_msg=name)


def test_without_a_vocabulary_there_is_no_entropy() -> None:
    schema = replace(SCHEMA, vocabulary=(), observations={"light": ArraySpec("float32")})
    assert [*trajectory_figures(BatchSource(TrajectoryBatch.empty(schema)))] == ["length", "return", "mean light"]


def test_ranks_by_the_greatest_deviation_and_says_which() -> None:
    # In `a` the median is 4 and MAD 2, in `b` 0 and 1 (6 numbers at distance 1 or less, one at 50).
    ranked = rank_outliers(
        {
            "a": np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 100.0]),
            "b": np.array([-1.0, 1.0, 1.0, 0.0, 50.0, -1.0, -1.0]),
        }
    )
    assert [one.place for one in ranked] == [4, 6, 0, 1, 2, 5]
    first, second = ranked[:2]
    assert first.score == pytest.approx(0.6745 * 50)
    assert [(each.figure, each.value, each.median) for each in first.reasons] == [("b", 50.0, 0.0)]
    assert second.reasons[0].deviations == pytest.approx(32.376)
    # Below the limit the greatest alone is named: -1.01 in `a`.
    assert ranked[2].score < LIMIT
    (only,) = ranked[2].reasons
    assert only.figure == "a"
    assert only.deviations == pytest.approx(-1.01175)


def test_several_reasons_are_named_the_greatest_first() -> None:
    base = [0.0, 1.0, 2.0, 3.0, 4.0]
    figures = {name: np.array([*base, far]) for name, far in zip("abcd", (40.0, 90.0, 60.0, 80.0), strict=True)}
    (first, *_) = rank_outliers(figures)
    assert (first.place, [each.figure for each in first.reasons]) == (5, ["b", "d", "c"])


def test_equal_trajectories_do_not_differ() -> None:
    assert rank_outliers({"a": np.ones(5), "b": np.zeros(5)}) == []


@pytest.mark.parametrize("figures", [{}, {"a": np.ones(2), "b": np.ones(3)}])
def test_figures_of_different_lengths_are_refused(figures: dict[str, NDArray[np.float64]]) -> None:
    with pytest.raises(DatasetError, match="equal length"):
        rank_outliers(figures)


def test_a_dataset_names_those_to_look_at_first(tmp_path: Path) -> None:
    save_batch(tmp_path / "town.npz", town())
    report = find_outliers(tmp_path / "town.npz", top=1)
    assert (report.name, report.num_trajectories, report.num_beyond) == ("town.npz", 6, 2)
    (first,) = report.outliers
    # Five of six are equal, so the mean deviation counts: 8 / (8 / 6 / 0.79788) = 4.787, and so in all its figures;
    # which rounding puts first is no matter.
    assert (first.agent_id, first.world, first.episode, first.first_tick, first.length) == ("eve", 1, 2, 0, 12)
    assert {each.figure for each in first.outlier.reasons} == {"length", "action_entropy", "mean features[1]"}
    assert first.outlier.score == pytest.approx(6 * math.sqrt(2 / math.pi))
    two = find_outliers(tmp_path / "town.npz").document()
    assert json.loads(json.dumps(two, allow_nan=False)) == two
    assert [*two] == ["name", "num_trajectories", "num_beyond", "limit", "figures", "outliers"]
    outliers = two["outliers"]
    assert isinstance(outliers, list)
    assert outliers[1] == {
        "agent_id": "fay",
        "world": 1,
        "episode": 2,
        "first_tick": 0,
        "length": 4,
        "score": pytest.approx(4.787307),
        "beyond_limit": True,
        "reasons": [{"figure": "return", "value": 9.0, "median": 2.0, "deviations": pytest.approx(4.787307)}],
    }


def test_two_trajectories_have_no_median_to_differ_from(tmp_path: Path) -> None:
    save_batch(tmp_path / "two.npz", town().select(np.array([0, 1])))
    with pytest.raises(DatasetError, match="three trajectories or more, got 2"):
        find_outliers(tmp_path / "two.npz")


def test_the_figures_of_array_actions() -> None:
    parts = array_batch(array_schema(PARTS), (4, 2), seed=1)
    executed = np.array([[0, 0], [0, 0], [1, 0], [1, 0], [2, 1], [2, 1]])
    figures = trajectory_figures(BatchSource(replace(parts, columns={**parts.columns, "action": executed})))
    # Two actions at two steps each, then one alone.
    np.testing.assert_allclose(figures["action_entropy"], [math.log(2.0), 0.0], atol=1e-12)
    numbers = array_batch(array_schema(NUMBERS), (4, 2), seed=1)
    drawn = np.array([[0, 1], [0.5, 1], [0, 1], [0.5, 2], [-1, 0.5], [-0.5, 0.5]], np.float32)
    whole = replace(numbers, columns={**numbers.columns, "action": drawn})
    for rows in (None, 2):  # however the lives are cut
        figures = trajectory_figures(BatchSource(whole if rows is None else split_every(whole, rows)))
        assert "action_entropy" not in figures
        np.testing.assert_allclose(figures["mean action.steer"], [0.25, -0.75])
        np.testing.assert_allclose(figures["mean action.throttle"], [1.25, 0.5])
