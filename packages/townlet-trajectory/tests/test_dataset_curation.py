"""Datasets made of datasets: laws, and figures by hand."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_same_batch, batches, make_trajectory

from townlet_trajectory import Trajectory, TrajectoryBatch
from townlet_trajectory.data.pieces import canonical, joined
from townlet_trajectory.dataset.curation import (
    CurationResult,
    filter_dataset,
    merge_datasets,
    reshard,
    split_dataset,
)
from townlet_trajectory.dataset.filter import TrajectoryFilter
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.errors import DatasetError, SchemaError, ShapeError


class ListSink:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.batches: list[TrajectoryBatch] = []

    def write(self, batch: TrajectoryBatch) -> None:
        assert len(batch) > 0
        self.batches.append(batch)

    def all(self) -> TrajectoryBatch:
        return TrajectoryBatch.concatenate(self.batches)


def source(trajectories: Sequence[Trajectory], rows_per_block: int = 4) -> BatchSource:
    return BatchSource(TrajectoryBatch.from_trajectories(trajectories), rows_per_block=rows_per_block)


def pieces(trajectory: Trajectory, *cuts: int) -> list[Trajectory]:
    bounds = [0, *cuts, len(trajectory)]
    return [trajectory[first:stop] for first, stop in pairwise(bounds)]


def test_a_filter_writes_what_it_keeps_and_counts_wholes() -> None:
    long, short = make_trajectory(1, 9, terminated=True), make_trajectory(2, 4, agent_id="bob", terminated=True)
    first, second = pieces(long, 3)
    sink = ListSink()
    result = filter_dataset(source([first, short, second]), sink, TrajectoryFilter(min_length=5))
    assert result == CurationResult(total=2, accepted=1, num_steps=9)
    assert result.rejected == 1
    assert_same_batch(joined(sink.all()), TrajectoryBatch.from_trajectories([long]))


def test_nothing_is_written_where_nothing_is_kept() -> None:
    sink = ListSink()
    result = filter_dataset(source([make_trajectory(1, 3)]), sink, TrajectoryFilter(min_length=4))
    assert (result.accepted, sink.batches) == (0, [])


def test_worlds_are_renumbered_so_that_runs_stay_apart() -> None:
    one = source([make_trajectory(1, 3, world=0), make_trajectory(2, 3, world=2)])
    two = source([make_trajectory(3, 3, world=1), make_trajectory(4, 3, world=4)])
    sink = ListSink()
    assert merge_datasets([one, two, one], sink, renumber_worlds=True) == 6
    assert sink.all().worlds.tolist() == [0, 2, 4, 7, 8, 10]


def test_two_runs_with_the_same_worlds_are_not_put_together_silently() -> None:
    one = source([make_trajectory(1, 5, agent_id="bob"), make_trajectory(2, 5)])
    two = source([make_trajectory(3, 5, agent_id="carol"), make_trajectory(4, 5, first_tick=4)])
    sink = ListSink()
    with pytest.raises(DatasetError, match=r"source 1: agent 'alice' of world 0, episode 0 .* `renumber_worlds=True`"):
        merge_datasets([one, two], sink)
    assert sink.batches == []


def test_what_overlaps_in_one_source_already_may_be_merged() -> None:
    one = source([make_trajectory(1, 5), make_trajectory(2, 5)])
    sink = ListSink()
    assert merge_datasets([one, source([make_trajectory(3, 5, world=1)])], sink) == 3


def test_a_merge_needs_sources_of_one_schema() -> None:
    with pytest.raises(DatasetError, match="at least one source"):
        merge_datasets([], ListSink())
    other = TrajectoryBatch.empty(
        make_trajectory(1, 1).schema.__class__(
            observations=make_trajectory(1, 1).schema.observations,
            decisions={"action": make_trajectory(1, 1).schema.decisions["action"]},
            vocabulary=make_trajectory(1, 1).schema.vocabulary,
        )
    )
    with pytest.raises(SchemaError, match="differs"):
        merge_datasets([source([make_trajectory(1, 1)]), BatchSource(other)], ListSink())


def test_pieces_far_apart_are_put_together_while_they_fit_the_window() -> None:
    lives = [make_trajectory(seed, 12, agent_id=f"agent {seed}", terminated=True) for seed in range(3)]
    cut = [piece for parts in zip(*(pieces(life, 4, 8) for life in lives), strict=True) for piece in parts]
    sink = ListSink()
    assert reshard(source(cut), sink, window_bytes=20_000) == 3
    assert_same_batch(sink.all(), TrajectoryBatch.from_trajectories(lives))


def test_a_small_window_leaves_pieces_and_loses_nothing() -> None:
    life = make_trajectory(1, 40)
    sink = ListSink()
    assert reshard(source(pieces(life, *range(4, 40, 4))), sink, window_bytes=1) == 10
    assert_same_batch(joined(sink.all()), TrajectoryBatch.from_trajectories([life]))


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_fractions_are_shares(fraction: float) -> None:
    with pytest.raises(ShapeError, match="`fraction`"):
        split_dataset(source([make_trajectory(1, 1)]), ListSink(), ListSink(), fraction=fraction, seed=1)


def test_a_window_holds_something() -> None:
    with pytest.raises(DatasetError, match="`window_bytes`"):
        reshard(source([make_trajectory(1, 1)]), ListSink(), window_bytes=0)


@given(batches(), st.floats(0, 1), st.integers(), st.integers(1, 9))
def test_split_then_merge_is_the_identity(batch: TrajectoryBatch, fraction: float, seed: int, rows: int) -> None:
    whole, train, held_out, merged = BatchSource(batch, rows_per_block=rows), ListSink(), ListSink(), ListSink()
    results = split_dataset(whole, train, held_out, fraction=fraction, seed=seed)
    for sink, expected, result in zip(
        (train, held_out), batch.split_by_episode(fraction, seed=seed), results, strict=True
    ):
        assert result.num_steps == expected.num_steps
        if len(expected):
            assert_same_batch(sink.all(), expected)
        else:
            assert sink.batches == []
    sides = [BatchSource(sink.all(), rows_per_block=rows) for sink in (train, held_out) if sink.batches]
    merge_datasets(sides, merged)
    assert_same_batch(canonical(merged.all()), canonical(batch))


@given(batches(), st.integers(1, 9), st.integers(1, 3_000), st.integers(1, 9))
def test_resharding_keeps_every_step(batch: TrajectoryBatch, rows: int, window_bytes: int, again: int) -> None:
    once, twice = ListSink(), ListSink()
    reshard(BatchSource(batch, rows_per_block=rows), once, window_bytes=window_bytes)
    reshard(BatchSource(once.all(), rows_per_block=again), twice, window_bytes=1 << 20)
    assert_same_batch(canonical(joined(twice.all())), canonical(joined(batch)))


@given(batches(), st.integers(1, 9), st.integers(1, 6))
def test_a_filter_and_its_opposite_share_all_trajectories(batch: TrajectoryBatch, rows: int, length: int) -> None:
    data = BatchSource(batch, rows_per_block=rows)
    short, long = ListSink(), ListSink()
    shorts = filter_dataset(data, short, TrajectoryFilter(max_length=length))
    longs = filter_dataset(data, long, TrajectoryFilter(min_length=length + 1))
    assert shorts.total == longs.total == shorts.accepted + longs.accepted
    assert shorts.num_steps + longs.num_steps == batch.num_steps
    everything = TrajectoryBatch.concatenate([*short.batches, *long.batches])
    assert_same_batch(canonical(everything), canonical(batch))
