"""Datasets: every selected step once an epoch, the same for the same seed, gone on with anywhere, within the budget."""

import gc
import json
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_source import MadeSource, least_budget
from strategies import SCHEMA, batch_sources, make_trajectory

from townlet_trajectory import Kind, SchemaError, ShapeError, Source, Trajectory, TrajectoryBatch
from townlet_trajectory.data.steps import StepBatch
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.dataset.dataset import DatasetPosition, TrajectoryDataset, position_of
from townlet_trajectory.dataset.memory import step_bytes
from townlet_trajectory.dataset.selection import StepSelection, StepWeights, weights_by
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.errors import DatasetError, MemoryBudgetError
from townlet_trajectory.storage.json import JsonValue

SELECTIONS = st.builds(
    StepSelection,
    sources=st.none() | st.lists(st.sampled_from(Source), max_size=2).map(tuple),
    kinds=st.none() | st.lists(st.sampled_from(Kind), max_size=2).map(tuple),
    demonstrated=st.none() | st.booleans(),
)
SLACK = st.none() | st.integers(0, 20_000)
SEEDS = st.integers(0, 2**70)


def make_batch(num_trajectories: int = 6) -> TrajectoryBatch:
    """Trajectories of 1, 2, ... steps, each an episode of its own."""
    return TrajectoryBatch.from_trajectories(
        [make_trajectory(n, n + 1, world=n, episode=n, terminated=n % 2 == 0) for n in range(num_trajectories)]
    )


def steps_of(batches: Iterable[StepBatch]) -> list[int]:
    return [step for batch in batches for step in batch.steps.tolist()]


def bytes_of(batch: StepBatch) -> bytes:
    arrays = [*batch.observations.values(), *batch.next_observations.values(), *batch.columns.values()]
    return b"".join(array.tobytes() for array in [*arrays, batch.rewards, batch.ticks, batch.steps])


@given(batch_sources(), SEEDS, st.integers(1, 9), SLACK, st.booleans(), SELECTIONS)
def test_every_selected_step_is_handed_out_once_with_all_that_belongs_to_it(
    made: tuple[list[BatchSource], TrajectoryBatch],
    seed: int,
    batch_size: int,
    slack: int | None,
    shuffle: bool,
    select: StepSelection,
) -> None:
    sources, whole = made
    budget = None if slack is None else slack + least_budget(sources, batch_size=batch_size, next_observations=True)
    dataset = TrajectoryDataset(
        *sources,
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        memory_budget_bytes=budget,
        select=select,
        next_observations=True,
    )
    expected = np.flatnonzero(select.steps(whole.columns, whole.num_steps)).tolist()
    trajectory_of_row, following = whole.trajectory_of_row, followers(whole)
    for epoch in range(2):
        handed_out = list(dataset.epoch(epoch))
        steps = steps_of(handed_out)
        assert sorted(steps) == expected
        assert shuffle or steps == expected
        assert [len(batch) for batch in handed_out[:-1]] == [batch_size] * (len(dataset) - 1)
        for batch in handed_out:
            for name in whole.schema.observations:
                np.testing.assert_array_equal(batch.observations[name], whole.observations[name][batch.steps])
                np.testing.assert_array_equal(batch.next_observations[name], following[name][batch.steps])
            for name in whole.schema.decisions:
                np.testing.assert_array_equal(batch.columns[name], whole.columns[name][batch.steps])
            np.testing.assert_array_equal(batch.rewards, whole.rewards[batch.steps])
            np.testing.assert_array_equal(batch.ticks, whole.ticks[batch.steps])
            np.testing.assert_array_equal(batch.trajectories, trajectory_of_row[batch.steps])
            last = np.isin(batch.steps, whole.row_of_last)
            np.testing.assert_array_equal(batch.terminated, last & whole.terminated[batch.trajectories])
            np.testing.assert_array_equal(batch.truncated, last & whole.truncated[batch.trajectories])
            assert dataset.table.worlds[batch.trajectories].tolist() == whole.worlds[batch.trajectories].tolist()


def followers(whole: TrajectoryBatch) -> dict[str, Array]:
    """What each row's action led to, trajectory by trajectory."""
    parts = [whole.trajectory(index).observations for index in range(len(whole))]
    return {name: np.concatenate([part[name][1:] for part in parts]) for name in whole.schema.observations}


@given(batch_sources(), SEEDS, st.integers(1, 4), SLACK, st.booleans(), SELECTIONS)
def test_every_trajectory_with_a_selected_step_is_handed_out_once_and_whole(
    made: tuple[list[BatchSource], TrajectoryBatch],
    seed: int,
    batch_size: int,
    slack: int | None,
    shuffle: bool,
    select: StepSelection,
) -> None:
    sources, whole = made
    selected = select.steps(whole.columns, whole.num_steps)
    wanted = np.flatnonzero(np.logical_or.reduceat(selected, whole.offsets[:-1])).tolist()
    budget = None
    if slack is not None:
        with pytest.raises(MemoryBudgetError) as caught:
            TrajectoryDataset(*sources, batch_size=batch_size, seed=0, unit="trajectories", memory_budget_bytes=1)
        budget = caught.value.needed_bytes + slack
    dataset = TrajectoryDataset(
        *sources,
        batch_size=batch_size,
        seed=seed,
        unit="trajectories",
        shuffle=shuffle,
        memory_budget_bytes=budget,
        select=select,
    )
    found = [identity(trajectory) for batch in dataset for trajectory in batch]
    expected = [identity(whole[index]) for index in wanted]
    assert (sorted(found) if shuffle else found) == (sorted(expected) if shuffle else expected)
    assert dataset.num_units == len(wanted)


def identity(trajectory: Trajectory) -> tuple[object, ...]:
    """All that there is of a trajectory, comparable."""
    arrays = [*trajectory.observations.values(), *trajectory.columns.values(), trajectory.rewards, trajectory.ticks]
    ids = (trajectory.agent_id, trajectory.world, trajectory.episode)
    return (*ids, trajectory.terminated, trajectory.truncated, *(array.tobytes() for array in arrays))


@given(batch_sources(), SEEDS, st.integers(1, 9), SLACK, st.integers(0, 40), st.booleans())
def test_seek_goes_on_exactly_as_the_unbroken_run(
    made: tuple[list[BatchSource], TrajectoryBatch],
    seed: int,
    batch_size: int,
    slack: int | None,
    stop_after: int,
    weighted: bool,
) -> None:
    sources, _ = made
    budget = None if slack is None else slack + least_budget(sources, batch_size=batch_size)

    def fresh() -> TrajectoryDataset[StepBatch]:
        weights = StepWeights(columns=("kind",), function=lambda columns: columns["kind"] + 1.0)
        return TrajectoryDataset(
            *sources,
            batch_size=batch_size,
            seed=seed,
            memory_budget_bytes=budget,
            weights=weights if weighted else None,
        )

    unbroken, positions, batches = fresh(), [], []
    for _ in range(3):
        positions.append(unbroken.position())
        for batch in unbroken:
            batches.append(bytes_of(batch))
            positions.append(unbroken.position())
        positions.pop()  # of the end of an epoch and the beginning of the next, one is enough
    stop_after %= len(batches)
    resumed = fresh()
    resumed.seek(positions[stop_after])
    assert resumed.position() == positions[stop_after]
    rest = []
    while resumed.position().epoch < 3:
        rest += [bytes_of(batch) for batch in resumed]
    assert rest == batches[stop_after:]


def test_the_same_seed_gives_the_same_bytes_and_each_epoch_another_order() -> None:
    source = BatchSource(make_batch(12), rows_per_block=10)

    def read(seed: int) -> list[list[bytes]]:
        dataset = TrajectoryDataset(source, batch_size=8, seed=seed)
        return [[bytes_of(batch) for batch in dataset] for _ in range(2)]

    assert read(5) == read(5)
    first, second = read(5)
    assert first != second
    assert first != read(6)[0]


def test_the_order_by_hand() -> None:
    # Blocks of the trajectories {0, 1}, {2}, {3}, {4}, {5} (begin at rows 0, 1 | 3 | 6 | 10 | 15; stripes of 3 rows)
    dataset = TrajectoryDataset(BatchSource(make_batch(), rows_per_block=3), batch_size=4, seed=0, shuffle=False)
    assert [batch.steps.tolist() for batch in dataset] == [list(range(n, min(n + 4, 21))) for n in range(0, 21, 4)]
    assert len(dataset) == 6


def test_drop_last_leaves_out_only_what_does_not_fill_a_batch() -> None:
    source = BatchSource(make_batch())  # 21 steps
    kept = TrajectoryDataset(source, batch_size=4, seed=1)
    dropped = TrajectoryDataset(source, batch_size=4, seed=1, drop_last=True)
    assert (len(kept), len(dropped)) == (6, 5)
    assert steps_of(dropped) == steps_of(kept)[:20]


def test_what_a_shuffle_within_a_budget_mixes() -> None:
    # 64 equal blocks, read 16 at a time: the first batches of an epoch hold steps of 16 blocks, others each epoch.
    whole = TrajectoryBatch.from_trajectories([make_trajectory(n, 8, world=n) for n in range(64)])
    source = BatchSource(whole, rows_per_block=8)
    least = least_budget([source], batch_size=16)
    one_more = int(TrajectoryDataset(source, batch_size=16, seed=0).reader.memory.held[0])
    dataset = TrajectoryDataset(source, batch_size=16, seed=0, memory_budget_bytes=least + 15 * one_more)
    blocks = [frozenset(np.concatenate([b.trajectories for b in list(dataset.epoch(n))[:8]]).tolist()) for n in (0, 1)]
    assert [len(found) for found in blocks] == [16, 16]
    assert blocks[0] != blocks[1]


def test_a_loop_that_is_left_early_is_gone_on_with_by_the_next() -> None:
    dataset = TrajectoryDataset(BatchSource(make_batch()), batch_size=4, seed=3)
    whole_epoch = steps_of(dataset.epoch(0))
    first = next(iter(dataset))
    assert dataset.position().batch == 1
    assert first.steps.tolist() + steps_of(dataset) == whole_epoch
    assert (dataset.position().epoch, dataset.position().batch) == (1, 0)
    assert steps_of(dataset) == steps_of(dataset.epoch(1))


def test_a_position_is_refused_by_another_dataset() -> None:
    source = BatchSource(make_batch())
    position = TrajectoryDataset(source, batch_size=4, seed=3).position()
    other_content = BatchSource(make_batch(7))
    for other in (
        TrajectoryDataset(source, batch_size=4, seed=4),
        TrajectoryDataset(source, batch_size=5, seed=3),
        TrajectoryDataset(source, batch_size=4, seed=3, drop_last=True),
        TrajectoryDataset(source, batch_size=4, seed=3, memory_budget_bytes=1 << 20),
        TrajectoryDataset(source, batch_size=4, seed=3, select=StepSelection(demonstrated=True)),
        TrajectoryDataset(source, batch_size=4, seed=3, weights=weights_by("kind")),
        TrajectoryDataset(source, batch_size=4, seed=3).split(0.5, seed=1)[0],
        TrajectoryDataset(other_content, batch_size=4, seed=3),
    ):
        with pytest.raises(DatasetError, match="another dataset or of other options"):
            other.seek(position)
    TrajectoryDataset(BatchSource(make_batch()), batch_size=4, seed=3).seek(position)  # equal content


def test_a_position_behind_the_last_batch_is_refused() -> None:
    dataset = TrajectoryDataset(BatchSource(make_batch()), batch_size=4, seed=3)
    with pytest.raises(DatasetError, match="an epoch has 6 batches, the position says batch 6"):
        dataset.seek(replace(dataset.position(), batch=6))
    with pytest.raises(IndexError, match="batch 6 of 6, epoch 0"):
        dataset.batch(0, 6)
    with pytest.raises(IndexError, match="batch 0 of 6, epoch -1"):
        dataset.batch(-1, 0)


@given(batch_sources(), st.integers(-5, 2**70), st.floats(0, 1))
def test_the_sides_of_a_split_are_disjoint_and_complete_and_hold_whole_episodes(
    made: tuple[list[BatchSource], TrajectoryBatch], seed: int, held_out: float
) -> None:
    sources, whole = made
    train, aside = TrajectoryDataset(*sources, batch_size=3, seed=0).split(held_out, seed=seed)
    assert sorted(steps_of(train) + steps_of(aside)) == list(range(whole.num_steps))
    trajectories = [np.concatenate([b.trajectories for b in side.epoch(0)] or [[]]) for side in (train, aside)]
    episodes = [{(whole.worlds[i], whole.episodes[i]) for i in side.astype(int)} for side in trajectories]
    assert not episodes[0] & episodes[1]
    assert len(np.unique(trajectories[1])) == len(whole.split_by_episode(held_out, seed=seed)[1])


@given(batch_sources(schema=SCHEMA), batch_sources(schema=SCHEMA), st.integers(0, 99), st.floats(0, 1))
def test_what_is_added_moves_nothing_to_the_other_side(
    first: tuple[list[BatchSource], TrajectoryBatch],
    added: tuple[list[BatchSource], TrajectoryBatch],
    seed: int,
    held_out: float,
) -> None:
    def held_out_of(sources: list[BatchSource]) -> list[int]:
        return steps_of(TrajectoryDataset(*sources, batch_size=5, seed=0).split(held_out, seed=seed)[1])

    before = set(held_out_of(first[0]))
    assert {step for step in held_out_of([*first[0], *added[0]]) if step < first[1].num_steps} == before


def test_a_split_must_be_a_share() -> None:
    with pytest.raises(ShapeError, match=r"`fraction` must be in \[0, 1\], got 1.5"):
        TrajectoryDataset(BatchSource(make_batch()), batch_size=4, seed=3).split(1.5, seed=0)


def test_a_selection_by_tag_takes_the_tagged_sources() -> None:
    tagged = BatchSource(make_batch(2), tags=frozenset({"good", "kitchen"}))
    plain = BatchSource(make_batch(3))
    dataset = TrajectoryDataset(plain, tagged, batch_size=99, seed=0, select=StepSelection(tags=("kitchen",)))
    assert sorted(steps_of(dataset)) == [6, 7, 8]
    both = StepSelection(tags=("kitchen", "bad"))
    assert len(TrajectoryDataset(plain, tagged, batch_size=99, seed=0, select=both)) == 0


def test_an_empty_selection_has_empty_epochs() -> None:
    dataset = TrajectoryDataset(BatchSource(make_batch()), batch_size=4, seed=0, select=StepSelection(sources=()))
    assert (len(dataset), list(dataset), dataset.position().epoch) == (0, [], 1)
    assert list(TrajectoryDataset(BatchSource(TrajectoryBatch.empty(SCHEMA)), batch_size=4, seed=0)) == []


# The 99.9 % quantile of χ² with 20 degrees of freedom.
CHI_SQUARE_LIMIT = 45.31


@pytest.mark.parametrize("slack", [None, pytest.param(0, marks=pytest.mark.thorough)])
def test_steps_are_drawn_in_proportion_to_their_weights(slack: int | None) -> None:
    weights = np.arange(21.0) % 5 + (np.arange(21) < 10)
    whole = make_batch()
    whole = replace(whole, columns={**whole.columns, "value": weights.astype(np.float32)})
    source = BatchSource(whole, rows_per_block=3)
    budget = None if slack is None else slack + least_budget([source], batch_size=64)
    dataset = TrajectoryDataset(source, batch_size=64, seed=11, weights=weights_by("value"), memory_budget_bytes=budget)
    drawn = np.concatenate([steps_of(dataset.epoch(epoch)) for epoch in range(2000)])
    assert len(drawn) == 2000 * 21
    counts, expected = np.bincount(drawn, minlength=21), weights / weights.sum() * len(drawn)
    assert not counts[weights == 0].any()
    possible = weights > 0
    assert np.sum((counts - expected)[possible] ** 2 / expected[possible]) < CHI_SQUARE_LIMIT


def test_trajectories_are_drawn_in_proportion_to_the_weights_of_their_selected_steps() -> None:
    whole = make_batch()
    weights = StepWeights(columns=("action",), function=lambda columns: np.ones(len(columns["action"])))
    dataset = TrajectoryDataset(BatchSource(whole), batch_size=6, seed=2, unit="trajectories", weights=weights)
    drawn = np.concatenate([batch.worlds for epoch in range(3000) for batch in dataset.epoch(epoch)])
    expected = whole.lengths / 21 * len(drawn)
    # The 99.9 % quantile of χ² with 5 degrees of freedom.
    assert np.sum((np.bincount(drawn, minlength=6) - expected) ** 2 / expected) < 20.52


def test_a_shuffle_is_uniform() -> None:
    whole = TrajectoryBatch.from_trajectories([make_trajectory(n, 1) for n in range(5)])
    dataset = TrajectoryDataset(BatchSource(whole, rows_per_block=2), batch_size=5, seed=9)
    counts = np.zeros((5, 5))
    for epoch in range(4000):
        counts[np.arange(5), steps_of(dataset.epoch(epoch))] += 1
    # 16 degrees of freedom (each step is in one place and each place has one step), 99.9 % quantile
    assert np.sum((counts - 800) ** 2 / 800) < 39.25


def test_options_are_checked() -> None:
    source = BatchSource(make_batch())
    for name, value, message in (
        ("batch_size", 0, "`batch_size` must be an integer >= 1, got 0"),
        ("batch_size", True, "`batch_size` must be an integer >= 1, got True"),
        ("seed", -1, "`seed` must be an integer >= 0, got -1"),
        ("unit", "frames", "`unit` must be `steps` or `trajectories`, got 'frames'"),
        ("memory_budget_bytes", 0, "`memory_budget_bytes` must be at least 1, got 0"),
    ):
        options = {"batch_size": 4, "seed": 0, name: value}
        with pytest.raises(DatasetError, match=message):
            TrajectoryDataset(source, **options)
    with pytest.raises(DatasetError, match="`weights` draw at random"):
        TrajectoryDataset(source, batch_size=4, seed=0, shuffle=False, weights=weights_by("kind"))
    with pytest.raises(DatasetError, match="`next_observations` are of steps"):
        TrajectoryDataset(source, batch_size=4, seed=0, unit="trajectories", next_observations=True)
    with pytest.raises(DatasetError, match="at least one source"):
        TrajectoryDataset(batch_size=4, seed=0)
    with pytest.raises(SchemaError, match="`reward` is no decision column"):
        TrajectoryDataset(source, batch_size=4, seed=0, weights=weights_by("reward"))
    with pytest.raises(DatasetError, match=r"`trajectories` must be bool \[6\], got int64 \(6,\)"):
        TrajectoryDataset(source, batch_size=4, seed=0).restricted(np.zeros(6, np.int64))


@pytest.mark.parametrize("unit", ["steps", "trajectories"])
@pytest.mark.parametrize("blocks_held", [1, 3, 7])
def test_what_is_held_stays_within_the_budget(unit: str, blocks_held: int) -> None:
    """Counted in the memory that numpy and Python asked for, batches that are handed out included."""
    source = MadeSource(24, encoded=30_000)
    size, following = (200, True) if unit == "steps" else (3, False)

    def make(budget: int) -> TrajectoryDataset[StepBatch]:
        return TrajectoryDataset(
            source,
            batch_size=size,
            seed=4,
            unit=unit,
            memory_budget_bytes=budget,
            next_observations=following,
        )

    with pytest.raises(MemoryBudgetError) as caught:
        make(1)
    budget = caught.value.needed_bytes
    dataset = make(budget + (blocks_held - 1) * int(make(budget).reader.memory.held[0]))
    budget += (blocks_held - 1) * int(dataset.reader.memory.held[0])
    for _ in dataset:  # numpy's own caches fill up
        pass
    source.loads.clear()
    gc.collect()
    tracemalloc.start()
    try:
        batch = None
        for batch in dataset:
            assert len(batch)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # What was loaded before counting began was let go; the interpreter's own objects take some KiB.
    assert blocks_held * 400 * step_bytes(SCHEMA) < peak <= budget + 64 * 1024
    assert sorted(source.loads) == list(range(24))


def test_the_peak_is_known_before_anything_is_read() -> None:
    source = MadeSource(24, encoded=10_000)
    least = least_budget([source], batch_size=50)
    bounded = TrajectoryDataset(source, batch_size=50, seed=0, memory_budget_bytes=least)
    unbounded = TrajectoryDataset(source, batch_size=50, seed=0)
    assert bounded.peak_bytes == least
    assert unbounded.peak_bytes > 24 * 400 * step_bytes(SCHEMA)
    ample = TrajectoryDataset(source, batch_size=50, seed=0, memory_budget_bytes=10 * unbounded.peak_bytes)
    assert ample.peak_bytes == unbounded.peak_bytes
    gc.collect()
    source.loads.clear()
    tracemalloc.start()
    try:
        for batch in unbounded:
            assert len(batch)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 24 * 400 * step_bytes(SCHEMA) < peak <= unbounded.peak_bytes + 64 * 1024


def test_a_budget_below_one_block_is_refused_with_both_figures() -> None:
    source = BatchSource(make_batch(), rows_per_block=3)
    least = least_budget([source], batch_size=4)
    TrajectoryDataset(source, batch_size=4, seed=0, memory_budget_bytes=least)
    with pytest.raises(
        MemoryBudgetError, match=f"must be at least {least}, got {least - 1}: one block takes"
    ) as caught:
        TrajectoryDataset(source, batch_size=4, seed=0, memory_budget_bytes=least - 1)
    assert (caught.value.budget_bytes, caught.value.needed_bytes) == (least - 1, least)


def test_without_a_budget_every_block_is_read_once() -> None:
    source = MadeSource(5, encoded=0)
    dataset = TrajectoryDataset(source, batch_size=64, seed=0)
    for _ in range(3):
        assert len(list(dataset)) == len(dataset)
    assert sorted(source.loads) == list(range(5))


def test_seek_reads_only_the_blocks_of_its_own_window() -> None:
    source = MadeSource(24, encoded=0)
    probe = TrajectoryDataset(source, batch_size=50, seed=0)
    budget = least_budget([source], batch_size=50) + 2 * int(probe.reader.memory.held[0])
    dataset = TrajectoryDataset(source, batch_size=50, seed=0, memory_budget_bytes=budget)
    source.loads.clear()
    dataset.seek(replace(dataset.position(), epoch=7, batch=100))
    next(iter(dataset))
    assert len(source.loads) == 3


def test_a_source_that_contradicts_its_table_is_refused() -> None:
    class Other(BatchSource):
        def load_block(self, block: int) -> TrajectoryBatch:
            return make_batch(2)

    with pytest.raises(DatasetError, match="block 0 of the source does not hold the trajectories"):
        next(iter(TrajectoryDataset(Other(make_batch()), batch_size=4, seed=0)))


@given(st.integers(0), st.integers(0), st.binary(min_size=32, max_size=32))
def test_a_position_survives_json(epoch: int, batch: int, digest: bytes) -> None:
    position = DatasetPosition(epoch=epoch, batch=batch, fingerprint=digest.hex())
    assert position_of(json.loads(json.dumps(position.document()))) == position


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "a position must be an object of epoch, batch, fingerprint, got None"),
        ({"epoch": 0, "batch": 0}, "a position must be an object"),
        ({"epoch": 0, "batch": 0, "fingerprint": "0" * 64, "more": 1}, "a position must be an object"),
        ({"epoch": "0", "batch": 0, "fingerprint": "0" * 64}, "`epoch` must be an integer >= 0, got '0'"),
        ({"epoch": True, "batch": 0, "fingerprint": "0" * 64}, "`epoch` must be an integer >= 0, got True"),
        ({"epoch": 0, "batch": -1, "fingerprint": "0" * 64}, "`batch` must be an integer >= 0, got -1"),
        ({"epoch": 0, "batch": 0.0, "fingerprint": "0" * 64}, "`batch` must be an integer >= 0, got 0.0"),
        ({"epoch": 0, "batch": 0, "fingerprint": "0" * 63}, "`fingerprint` must be 64 hex digits"),
    ],
)
def test_anything_else_is_refused(document: JsonValue, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        position_of(document)
