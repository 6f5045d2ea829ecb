"""What a reader keeps, and what it notices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_source import MadeSource
from strategies import make_trajectory

from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.dataset.dataset import TrajectoryDataset
from townlet_trajectory.dataset.reader import EpochPlan, Order, plan_epoch
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


IN_ORDER = Order(seed=0, shuffle=False, weighted=False)
SHUFFLED = Order(seed=3, shuffle=True, weighted=False)
WEIGHTED = Order(seed=3, shuffle=True, weighted=True)


def plan(units: list[int], held: list[int], *, order: Order = IN_ORDER, window_bytes: int | None) -> EpochPlan:
    return plan_epoch(
        np.array(units), np.array(units, float), np.array(held), order=order, epoch=0, window_bytes=window_bytes
    )


def test_windows_by_hand() -> None:
    # Block 1 holds nothing that is selected; 5 + 4 fit into 9 bytes, 5 + 4 + 2 do not.
    actual = plan([3, 0, 2, 7, 1], [5, 5, 4, 2, 7], window_bytes=9)
    assert actual.windows == ((0, 2), (3, 4))
    assert actual.offsets.tolist() == [0, 5, 13]
    assert list(actual.parts(3, 7)) == [(0, slice(3, 5)), (1, slice(0, 2))]
    assert list(actual.parts(5, 13)) == [(1, slice(0, 8))]
    assert plan([3, 0, 2, 7, 1], [5, 5, 4, 2, 7], window_bytes=None).windows == ((0, 2, 3, 4),)


def test_nothing_selected_has_no_window() -> None:
    for order in (IN_ORDER, SHUFFLED, WEIGHTED):
        actual = plan([0, 0], [1, 1], order=order, window_bytes=1)
        assert (actual.windows, actual.offsets.tolist()) == ((), [0])


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=12),
    st.integers(0, 20),
    st.sampled_from([IN_ORDER, SHUFFLED, WEIGHTED]),
    st.integers(1, 7),
)
def test_parts_of_all_batches_are_the_epoch(
    blocks: list[tuple[int, int]], slack: int, order: Order, batch_size: int
) -> None:
    units, held = [block[0] for block in blocks], [block[1] for block in blocks]
    limit = max(held) + slack
    actual = plan(units, held, order=order, window_bytes=limit)
    assert sorted(block for window in actual.windows for block in window) == [k for k, n in enumerate(units) if n]
    assert all(sum(held[block] for block in window) <= limit for window in actual.windows)
    total = int(actual.offsets[-1])
    assert total == sum(units)
    seen = [
        (window, unit)
        for first in range(0, total, batch_size)
        for window, inside in actual.parts(first, min(first + batch_size, total))
        for unit in range(inside.start, inside.stop)
    ]
    counts = np.diff(actual.offsets)
    assert seen == [(window, unit) for window in range(len(counts)) for unit in range(counts[window])]


def test_a_draw_is_a_pure_function_of_seed_epoch_and_window() -> None:
    numbers = np.arange(50) * 3

    def draw(order: Order, epoch: int, window: int) -> list[int]:
        return order.draw(numbers, None, 50, epoch=epoch, window=window).tolist()

    usual = draw(SHUFFLED, 1, 2)
    assert sorted(usual) == numbers.tolist()
    assert draw(SHUFFLED, 1, 2) == usual
    others = [draw(SHUFFLED, 2, 1), draw(SHUFFLED, 1, 1), draw(Order(seed=4, shuffle=True, weighted=False), 1, 2)]
    assert all(other != usual for other in others)
    assert draw(IN_ORDER, 1, 2) == numbers.tolist()


def test_a_unit_without_weight_is_never_drawn() -> None:
    numbers, weights = np.array([10, 11, 12, 13]), np.array([0.0, 1.0, 3.0, 0.0])
    drawn = WEIGHTED.draw(numbers, weights, 4000, epoch=0, window=0)
    assert set(drawn.tolist()) == {11, 12}
    assert abs((drawn == 12).mean() - 0.75) < 0.03  # 4 standard deviations


def test_draws_fall_into_windows_by_their_weights() -> None:
    counts = WEIGHTED.counts(np.array([1.0, 3.0]), 4000, epoch=0)
    assert counts.sum() == 4000
    assert abs(counts[1] - 3000) < 110  # 4 standard deviations
