"""Conditions and weights over decision columns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SCHEMA, batches, make_trajectory

from townlet_trajectory import Kind, SchemaError, Source, TrajectoryBatch
from townlet_trajectory.dataset.selection import ALL_STEPS, StepSelection, StepWeights, select_steps, weights_by
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.errors import DatasetError

COLUMNS = {
    "source": np.array([0, 1, 2, 1], np.int8),
    "kind": np.array([2, 0, 2, 1], np.int8),
    "demonstrated": np.array([False, False, True, False]),
}


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (ALL_STEPS, [True, True, True, True]),
        (StepSelection(sources=(Source.LEARNED,)), [False, True, False, True]),
        (StepSelection(kinds=(Kind.DECISION, Kind.FORCED)), [False, True, False, True]),
        (StepSelection(demonstrated=True), [False, False, True, False]),
        (StepSelection(demonstrated=False, sources=(Source.SCRIPTED, Source.EXTERNAL)), [True, False, False, False]),
        (StepSelection(kinds=()), [False, False, False, False]),
    ],
)
def test_conditions_by_hand(selection: StepSelection, expected: list[bool]) -> None:
    assert selection.steps(COLUMNS, 4).tolist() == expected


def test_a_selection_names_its_columns_and_itself() -> None:
    selection = StepSelection(kinds=(Kind.FOREIGN, Kind.DECISION), demonstrated=True, tags=("b", "a"))
    assert selection.columns == ("kind", "demonstrated")
    assert selection.document() == {"sources": None, "kinds": [0, 2], "demonstrated": True, "tags": ["a", "b"]}
    assert ALL_STEPS.columns == ()


@given(batches(), st.integers(1, 9), st.booleans())
def test_what_is_counted_is_what_a_loop_counts(batch: TrajectoryBatch, rows_per_block: int, demonstrated: bool) -> None:
    selection = StepSelection(demonstrated=demonstrated)
    weights = StepWeights(columns=("kind", "source"), function=lambda columns: columns["kind"] * columns["source"])
    selected = select_steps(BatchSource(batch, rows_per_block=rows_per_block), selection, weights)
    for index, trajectory in enumerate(batch):
        chosen = trajectory.columns["demonstrated"] == demonstrated
        product = trajectory.columns["kind"].astype(int) * trajectory.columns["source"].astype(int)
        assert selected.steps[index] == chosen.sum()
        assert selected.weights[index] == product[chosen].sum()


def test_tags_select_whole_trajectories() -> None:
    batch = TrajectoryBatch.from_trajectories([make_trajectory(1, 2), make_trajectory(2, 3)])
    tagged, plain = BatchSource(batch, tags=frozenset({"a", "b"})), BatchSource(batch)
    assert select_steps(tagged, StepSelection(tags=("a",)), None).steps.tolist() == [2, 3]
    assert select_steps(tagged, StepSelection(tags=("a", "c")), None).steps.tolist() == [0, 0]
    assert select_steps(plain, StepSelection(tags=("a",)), None).steps.tolist() == [0, 0]
    assert select_steps(plain, ALL_STEPS, None).within(np.array([False, True])).weights.tolist() == [0.0, 3.0]


def test_only_the_columns_that_are_asked_about_are_read() -> None:
    asked: list[str] = []

    class Watched(BatchSource):
        def load_block(self, block: int) -> TrajectoryBatch:
            raise AssertionError("no block is loaded to count")

        def decision_column(self, block: int, name: str) -> np.ndarray:
            asked.append(name)
            return super().decision_column(block, name)

    source = Watched(TrajectoryBatch.from_trajectories([make_trajectory(1, 2)]))
    select_steps(source, ALL_STEPS, None)
    assert asked == []
    select_steps(source, StepSelection(demonstrated=True), weights_by("kind"))
    assert asked == ["demonstrated", "kind"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], r"`weights` of 2 rows must be \(2,\), got \(1,\)"),
        ([1.0, -1.0], "finite and not negative, got -1.0 to 1.0"),
        ([1.0, np.nan], "finite and not negative"),
        ([1.0, np.inf], "finite and not negative"),
    ],
)
def test_weights_are_checked(values: list[float], message: str) -> None:
    source = BatchSource(TrajectoryBatch.from_trajectories([make_trajectory(1, 2)]))
    weights = StepWeights(columns=("kind",), function=lambda columns: np.array(values))
    with pytest.raises(DatasetError, match=message):
        select_steps(source, ALL_STEPS, weights)


def test_columns_must_be_decisions() -> None:
    source = BatchSource(TrajectoryBatch.from_trajectories([make_trajectory(1, 2)]))
    with pytest.raises(SchemaError, match="`features` is no decision column"):
        select_steps(source, ALL_STEPS, weights_by("features"))
    assert "features" in SCHEMA.observations
