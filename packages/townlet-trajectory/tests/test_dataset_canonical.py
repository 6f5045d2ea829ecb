"""Whole trajectories in one order, in blocks that do not depend on how they were stored, within the budget."""

import gc
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_source import MadeSource, least_budget
from strategies import SCHEMA, assert_same_batch, make_trajectory, rows_of, told_apart_batches

from townlet_trajectory import SchemaError, TrajectoryBatch
from townlet_trajectory.data.pieces import split_where
from townlet_trajectory.data.schema import ACTION_MASK, Array
from townlet_trajectory.dataset.canonical import CanonicalOrder
from townlet_trajectory.dataset.dataset import TrajectoryDataset
from townlet_trajectory.dataset.memory import step_bytes
from townlet_trajectory.dataset.source import BatchSource, TrajectorySource, TrajectoryTable, table_of
from townlet_trajectory.errors import DatasetError


def whole_of(source: TrajectorySource) -> TrajectoryBatch:
    blocks = [source.load_block(block) for block in range(len(source.block_offsets) - 1)]
    return TrajectoryBatch.concatenate([TrajectoryBatch.empty(source.schema), *blocks])


def in_order_by_hand(batch: TrajectoryBatch) -> TrajectoryBatch:
    keys = [
        (int(batch.worlds[n]), int(batch.episodes[n]), int(batch.ticks[batch.offsets[n]]), str(batch.agent_ids[n]))
        for n in range(len(batch))
    ]
    return batch.select(np.array(sorted(range(len(batch)), key=keys.__getitem__), np.int64))


@given(told_apart_batches(), st.integers(1, 2000), st.integers(1, 9), st.randoms(use_true_random=False), st.data())
def test_whatever_cut_and_order_the_blocks_are_equal(
    batch: TrajectoryBatch, block_bytes: int, rows_per_block: int, random: object, data: st.DataObject
) -> None:
    cuts = np.array(data.draw(st.lists(st.booleans(), min_size=batch.num_steps, max_size=batch.num_steps)), np.bool_)
    pieces = split_where(batch, cuts)
    order = np.array(data.draw(st.permutations(range(len(pieces)))), np.int64)
    view = CanonicalOrder(BatchSource(pieces.select(order), rows_per_block=rows_per_block), block_bytes=block_bytes)
    plain = CanonicalOrder(BatchSource(batch), block_bytes=block_bytes)
    assert view.block_offsets.tolist() == plain.block_offsets.tolist()
    assert_same_batch(whole_of(view), in_order_by_hand(batch))
    whole = whole_of(view)
    for name, values in vars(table_of(whole)).items():
        np.testing.assert_array_equal(vars(view.table)[name], values, err_msg=name)
    for block in range(len(view.block_offsets) - 1):
        np.testing.assert_array_equal(view.decision_column(block, "kind"), view.load_block(block).columns["kind"])
        rows = view.table.lengths[view.block_offsets[block] : view.block_offsets[block + 1]]
        assert rows[:-1].sum() * step_bytes(SCHEMA) < block_bytes  # the last one alone reaches beyond


def test_order_by_hand() -> None:
    # (world, episode, first tick, agent): a later world comes last though it begins first, and so on.
    made = [
        make_trajectory(0, 2, world=1, first_tick=0),
        make_trajectory(1, 2, episode=1, first_tick=1),
        make_trajectory(2, 2, first_tick=9, agent_id="ann", terminated=True),
        make_trajectory(3, 2, first_tick=9, agent_id="Bob"),  # by code points, capital letters come first
        make_trajectory(4, 2, first_tick=2, agent_id="zoe", truncated=True),
    ]
    view = CanonicalOrder(BatchSource(TrajectoryBatch.from_trajectories(made), tags=frozenset({"calm"})))
    assert_same_batch(whole_of(view), TrajectoryBatch.from_trajectories([made[n] for n in (4, 3, 2, 1, 0)]))
    assert view.table.tags == (frozenset({"calm"}),) * 5
    assert len(view.block_offsets) == 2


def test_what_agrees_in_all_of_that_is_ordered_by_length_and_end() -> None:
    made = [
        make_trajectory(0, 3),
        make_trajectory(1, 2, terminated=True),
        make_trajectory(2, 2, truncated=True),
        make_trajectory(3, 2),
    ]
    view = CanonicalOrder(BatchSource(TrajectoryBatch.from_trajectories(made)))
    assert_same_batch(whole_of(view), TrajectoryBatch.from_trajectories([made[n] for n in (3, 2, 1, 0)]))


def test_pieces_that_show_something_else_where_they_meet_are_refused() -> None:
    first, second = make_trajectory(0, 2), make_trajectory(1, 3, first_tick=2, terminated=True)
    view = CanonicalOrder(BatchSource(TrajectoryBatch.from_trajectories([second, first])))
    assert view.table.lengths.tolist() == [5]
    with pytest.raises(DatasetError, match="'alice' of world 0, episode 0 meet at tick 2 and show another `map` there"):
        view.load_block(0)
    # Of the mask of legal actions a final observation shows nothing.
    met = {name: array.copy() for name, array in first.observations.items()}
    for name in met.keys() - {ACTION_MASK}:
        met[name][-1] = second.observations[name][0]
    met[ACTION_MASK][-1] = False
    batch = TrajectoryBatch.from_trajectories([second, replace(first, observations=met)])
    whole = CanonicalOrder(BatchSource(batch)).load_block(0)
    np.testing.assert_array_equal(whole.observations[ACTION_MASK][2:], second.observations[ACTION_MASK][:-1])
    np.testing.assert_array_equal(whole.rewards, np.concatenate([first.rewards, second.rewards]))
    assert (whole.terminated.tolist(), whole.ticks.tolist()) == ([True], [0, 1, 2, 3, 4])


def test_no_trajectory() -> None:
    view = CanonicalOrder(BatchSource(TrajectoryBatch.empty(SCHEMA)))
    assert (len(view.table), view.block_offsets.tolist(), view.encoded_bytes.tolist()) == (0, [0], [])


def test_what_does_not_fit_is_refused() -> None:
    source = BatchSource(TrajectoryBatch.from_trajectories([make_trajectory(0, 2)]))
    with pytest.raises(DatasetError, match="`block_bytes` must be at least 1, got 0"):
        CanonicalOrder(source, block_bytes=0)
    with pytest.raises(IndexError, match="block 1 of 1"):
        CanonicalOrder(source).load_block(1)
    with pytest.raises(SchemaError, match="`sound` is no decision column"):
        CanonicalOrder(source).decision_column(0, "sound")


def test_the_fingerprint_is_that_of_content_and_blocks() -> None:
    source = BatchSource(TrajectoryBatch.from_trajectories([make_trajectory(0, 2)]))
    other = BatchSource(TrajectoryBatch.from_trajectories([make_trajectory(1, 2)]))
    found = [CanonicalOrder(source).fingerprint, CanonicalOrder(other).fingerprint]
    found.append(CanonicalOrder(source, block_bytes=9).fingerprint)
    assert len({*found, source.fingerprint}) == 4
    assert CanonicalOrder(source).fingerprint == found[0]


LIFE = 6
"""Blocks that the agents of a `Scattered` world go on through."""


class Scattered(MadeSource):
    """Each block holds 100 ticks of the same four agents, who end after some blocks."""

    def _make(self, block: int) -> TrajectoryBatch:
        batch = super()._make(block)
        observations = {name: array.copy() for name, array in batch.observations.items()}
        for name, array in observations.items():
            array[batch.offsets[:-1]] = self._met(block)[name]
        return replace(
            batch,
            observations=observations,
            final_observations=self._met(block + 1),
            ticks=batch.ticks + 100 * (block % LIFE),
            worlds=np.full(4, block // LIFE),
            truncated=np.full(4, block % LIFE == LIFE - 1),
        )

    @staticmethod
    def _met(block: int) -> dict[str, Array]:
        """Each [4, ...]; what the agents see where block `block` begins."""
        return rows_of(SCHEMA.observations, 4, np.random.default_rng((block, 0)))

    @property
    def table(self) -> TrajectoryTable:
        worlds, pieces = np.divmod(np.repeat(np.arange(self._num_blocks), 4), LIFE)
        return replace(super().table, worlds=worlds, first_ticks=100 * pieces, truncated=pieces == LIFE - 1)


@pytest.mark.parametrize("encoded", [0, 30_000])
@pytest.mark.parametrize("made", [MadeSource, Scattered])
def test_memory_stays_within_the_budget(made: type[MadeSource], encoded: int) -> None:
    source = made(24, encoded=encoded)
    view = CanonicalOrder(source, block_bytes=100 * step_bytes(SCHEMA))
    least = least_budget([view], batch_size=64)
    assert least < 24 * 400 * step_bytes(SCHEMA)
    dataset = TrajectoryDataset(view, batch_size=64, seed=3, memory_budget_bytes=least)
    assert dataset.peak_bytes <= least
    for _ in dataset:
        pass
    gc.collect()
    tracemalloc.start()
    try:
        steps = [step for batch in dataset for step in batch.steps.tolist()]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sorted(steps) == list(range(24 * 400))
    # The list of steps and the interpreter's own objects take some of it.
    assert peak <= dataset.peak_bytes + len(steps) * 40 + 64 * 1024


def test_a_block_of_the_source_is_read_once_where_its_order_is_canonical() -> None:
    source = MadeSource(6, encoded=0)
    view = CanonicalOrder(source, block_bytes=100 * step_bytes(SCHEMA))
    assert len(view.block_offsets) == 25
    source.loads.clear()
    assert whole_of(view).num_steps == 2400
    assert source.loads == list(range(6))
