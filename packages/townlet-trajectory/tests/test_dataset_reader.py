"""What a reader keeps, and what it notices."""

import numpy as np
import pytest
from made_source import MadeSource
from strategies import make_trajectory

from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.dataset.dataset import TrajectoryDataset
from townlet_trajectory.dataset.selection import StepSelection, StepWeights
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.errors import ArtifactError, DatasetError


def make_batch(demonstrated: bool) -> TrajectoryBatch:
    trajectory = make_trajectory(1, 4)
    columns = {**trajectory.columns, "demonstrated": np.full(4, demonstrated)}
    return TrajectoryBatch.from_trajectories(
        [make_trajectory(1, 4).__class__(**{**vars(trajectory), "columns": columns})]
    )


def test_blocks_that_two_windows_share_are_read_once() -> None:
    source = MadeSource(3, encoded=0)
    dataset = TrajectoryDataset(source, batch_size=1200, seed=0)
    source.loads.clear()
    for epoch in (0, 1, 5):
        dataset.batch(epoch, 0)
    assert sorted(source.loads) == [0, 1, 2]


def test_a_source_that_changed_since_it_was_counted_is_noticed() -> None:
    class Changed(BatchSource):
        def decision_column(self, block: int, name: str) -> Array:
            return make_batch(True).columns[name]

    select = StepSelection(demonstrated=True)
    dataset = TrajectoryDataset(Changed(make_batch(False)), batch_size=4, seed=0, select=select)
    with pytest.raises(DatasetError, match=r"blocks \[0\] of the source are not what they were"):
        dataset.batch(0, 0)


def test_weights_that_are_all_zero_are_refused() -> None:
    weights = StepWeights(columns=("kind",), function=lambda columns: np.zeros(len(columns["kind"])))
    with pytest.raises(DatasetError, match="`weights` of all 4 selected steps are 0"):
        TrajectoryDataset(BatchSource(make_batch(True)), batch_size=4, seed=0, weights=weights)


def test_a_block_that_cannot_be_read_leaves_the_position_where_it_was() -> None:
    class Broken(MadeSource):
        broken = True

        def load_block(self, block: int) -> TrajectoryBatch:
            if self.broken and block == 2:
                raise ArtifactError("steps-000002.arrow", "read", "it is gone")
            return super().load_block(block)

    source = Broken(3, encoded=0)
    dataset = TrajectoryDataset(source, batch_size=100, seed=0)
    with pytest.raises(ArtifactError, match="it is gone"):
        next(iter(dataset))
    assert (dataset.position().epoch, dataset.position().batch) == (0, 0)
    source.broken = False
    expected = TrajectoryDataset(MadeSource(3, encoded=0), batch_size=100, seed=0)
    assert next(iter(dataset)).steps.tolist() == next(iter(expected)).steps.tolist()
