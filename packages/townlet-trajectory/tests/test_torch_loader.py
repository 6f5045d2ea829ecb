"""Views that a loader can index."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_source import MadeSource, least_budget
from strategies import batch_sources, make_trajectory

from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.dataset.dataset import TrajectoryDataset
from townlet_trajectory.dataset.selection import StepSelection, weights_by
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.dataset.torch_loader import EpochView, StepView
from townlet_trajectory.errors import DatasetError


def make_source() -> BatchSource:
    batch = TrajectoryBatch.from_trajectories([make_trajectory(n, n + 1, world=n) for n in range(6)])
    return BatchSource(batch, rows_per_block=5)


@given(batch_sources(), st.booleans(), st.none() | st.integers(0, 9000), st.data())
def test_steps_by_number_are_those_of_the_sources_in_order(
    made: tuple[list[BatchSource], TrajectoryBatch], demonstrated: bool, slack: int | None, data: st.DataObject
) -> None:
    sources, whole = made
    budget = None if slack is None else slack + least_budget(sources, batch_size=3)
    select = StepSelection(demonstrated=demonstrated)
    view = StepView(TrajectoryDataset(*sources, batch_size=3, seed=0, memory_budget_bytes=budget, select=select))
    rows = np.flatnonzero(whole.columns["demonstrated"] == demonstrated)
    assert len(view) == len(rows)
    if len(rows):
        numbers = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=9))
        steps = view.gather(np.array(numbers))
        np.testing.assert_array_equal(steps.steps, rows[numbers])
        np.testing.assert_array_equal(steps.observations["features"], whole.observations["features"][rows[numbers]])


def test_one_step_several_steps_and_a_list_of_steps() -> None:
    view = StepView(TrajectoryDataset(make_source(), batch_size=4, seed=0, next_observations=True))
    one, several, single = view[7], view[[7, 2, 20]], view.__getitems__([7, 2, 20])
    assert one.keys() == several.keys() == single[0].keys()
    assert (one["steps"], several["steps"].tolist(), [int(s["steps"]) for s in single]) == (7, [7, 2, 20], [7, 2, 20])
    for arrays in (one, single[0]):
        assert np.shape(arrays["observations"]["map"]) == (2, 3, 3)
        np.testing.assert_array_equal(arrays["next_observations"]["map"], several["next_observations"]["map"][0])
        np.testing.assert_array_equal(arrays["columns"]["action"], several["columns"]["action"][0])
    for numbers in ([21], [-1], [], 21):
        with pytest.raises(IndexError, match=r"steps must be numbers in \[0, 21\)"):
            view[numbers]


def test_what_was_read_stays_within_the_budget() -> None:
    source = MadeSource(8, encoded=0)
    held = int(TrajectoryDataset(source, batch_size=4, seed=0).reader.memory.held[0])
    budget = least_budget([source], batch_size=4) + held
    view = StepView(TrajectoryDataset(source, batch_size=4, seed=0, memory_budget_bytes=budget))
    source.loads.clear()
    for numbers in ([0, 1], [400], [2], [800], [3], [401]):  # blocks 0, 1, 0, 2 (1 goes), 0, 1 again
        view.gather(np.array(numbers))
    assert source.loads == [0, 1, 2, 1]


def test_batches_of_an_epoch_by_number() -> None:
    dataset = TrajectoryDataset(make_source(), batch_size=4, seed=0)
    view = EpochView(dataset, 3)
    assert len(view) == 6
    assert [view[n]["steps"].tolist() for n in range(6)] == [b.steps.tolist() for b in dataset.epoch(3)]
    with pytest.raises(IndexError, match="batch 6 of 6, epoch 3"):
        view[6]


def test_trajectories_are_padded() -> None:
    dataset = TrajectoryDataset(make_source(), batch_size=4, seed=0, unit="trajectories", shuffle=False)
    arrays = EpochView(dataset, 0)[0]
    assert arrays["lengths"].tolist() == [1, 2, 3, 4]
    assert arrays["mask"].sum(axis=1).tolist() == [1, 2, 3, 4]
    assert arrays["observations"]["map"].shape == (4, 4, 2, 3, 3)
    assert arrays["final_observations"]["map"].shape == (4, 2, 3, 3)
    assert not arrays["columns"]["value"][0, 1:].any()


def test_a_view_is_sent_to_another_process_without_what_it_read() -> None:
    dataset = TrajectoryDataset(MadeSource(4, encoded=0), batch_size=4, seed=0)
    view, epoch = StepView(dataset), EpochView(dataset, 0)
    empty = len(pickle.dumps(view)), len(pickle.dumps(epoch))
    first = view[[0, 999]], epoch[0]
    sent, sent_epoch = pickle.dumps(view), pickle.dumps(epoch)
    assert abs(len(sent) - empty[0]) < 2000
    # The plan of an epoch is small, blocks are not.
    assert abs(len(sent_epoch) - empty[1]) < 2000
    np.testing.assert_array_equal(pickle.loads(sent)[[0, 999]]["rewards"], first[0]["rewards"])
    np.testing.assert_array_equal(pickle.loads(sent_epoch)[0]["steps"], first[1]["steps"])


def test_only_steps_without_weights_have_numbers() -> None:
    for dataset in (
        TrajectoryDataset(make_source(), batch_size=4, seed=0, unit="trajectories"),
        TrajectoryDataset(make_source(), batch_size=4, seed=0, weights=weights_by("kind")),
    ):
        with pytest.raises(DatasetError, match="a view of steps must be of a dataset with `unit='steps'`"):
            StepView(dataset)
