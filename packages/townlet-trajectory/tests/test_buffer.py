"""Rows written tick by tick come back in their order, whatever is dropped, cleared or refused in between."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import SCHEMA, rows_of

from townlet_trajectory import ArraySpec, NonFiniteError, SchemaError, ShapeError, TrajectorySchema
from townlet_trajectory.recording.buffer import RolloutBuffer
from townlet_trajectory.recording.roster import Presence

NARROW = TrajectorySchema(
    observations={"x": ArraySpec("float32", (2,))},
    decisions={"flag": ArraySpec("bool"), "number": ArraySpec("int64"), "logits": ArraySpec("float64", (3,))},
    vocabulary=(),
)


def presence_of(size: int) -> Presence:
    numbers = np.arange(size)
    return Presence(numbers, np.full(size, "a", object), numbers, numbers, numbers)


def seen(numbers: list[int], tick: int) -> dict[str, NDArray[np.generic]]:
    return {"x": np.array([[number, tick] for number in numbers], np.float32).reshape(-1, 2)}


def decided(numbers: list[int]) -> dict[str, NDArray[np.generic]]:
    array = np.array(numbers, np.int64)
    return {"number": array, "flag": array % 2 == 1, "logits": np.multiply.outer(array, [1.0, 2.0, 3.0])}


def append(buffer: RolloutBuffer, tick: int, numbers: list[int]) -> None:
    buffer.begin(tick, len(numbers), seen(numbers, tick))
    buffer.decide(decided(numbers))
    buffer.finish(np.array(numbers, np.float32) / 2, presence_of(len(numbers)))


def append_lent(buffer: RolloutBuffer, tick: int, numbers: list[int], *, lent: int) -> None:
    """The rows are lent while the tick before goes on, and once more if they are not as many as were expected."""
    buffer.begin(tick - 1, 2, seen([8, 8], tick - 1))
    buffer.decide(decided([8, 8]))
    room = buffer.lend(lent)
    room["x"][...] = np.nan
    buffer.finish(np.array([4, 4], np.float32), presence_of(2))
    if lent != len(numbers):
        room = buffer.lend(len(numbers))
    room["x"][...] = seen(numbers, tick)["x"]
    buffer.begin(tick, len(numbers), dict(room))
    assert buffer.in_progress("x").base is room["x"].base
    assert np.shares_memory(buffer.in_progress("x"), room["x"]) == (len(numbers) > 0)
    buffer.decide(decided(numbers))
    buffer.finish(np.array(numbers, np.float32) / 2, presence_of(len(numbers)))


def assert_holds(buffer: RolloutBuffer, rows: list[tuple[int, int]]) -> None:
    """`rows`: tick and number of each."""
    ticks, numbers = [tick for tick, _ in rows], [number for _, number in rows]
    kept = buffer.rows()
    assert kept.ticks.tolist() == ticks
    assert kept.decisions["number"].tolist() == numbers
    assert kept.decisions["flag"].tolist() == [number % 2 == 1 for number in numbers]
    assert kept.decisions["logits"].tolist() == [[number, 2 * number, 3 * number] for number in numbers]
    assert kept.observations["x"].tolist() == [[number, tick] for tick, number in rows]
    assert kept.rewards.tolist() == [number / 2 for number in numbers]
    assert buffer.num_rows == len(rows)
    assert buffer.first_tick == (ticks[0] if rows else None)


def test_ticks_of_different_sizes() -> None:
    buffer = RolloutBuffer(NARROW, chunk_rows=4)
    append(buffer, 3, [7, 8])
    append(buffer, 4, [])
    append(buffer, 5, [9])
    append(buffer, 6, [1, 2, 3, 4, 5])
    append(buffer, 7, [6])
    assert_holds(buffer, [(3, 7), (3, 8), (5, 9), *((6, number) for number in range(1, 6)), (7, 6)])
    assert [block[:2] for block in buffer.blocks()] == [(3, 2), (5, 1), (6, 5), (7, 1)]


def test_rows_go_to_their_places() -> None:
    buffer = RolloutBuffer(NARROW, chunk_rows=2)
    append(buffer, 0, [5, 6])
    append(buffer, 1, [7])
    rows = buffer.rows(np.array([2, 0, 1]))
    assert rows.decisions["number"].tolist() == [6, 7, 5]
    assert rows.observations["x"].tolist() == [[6, 0], [7, 1], [5, 0]]
    assert (rows.rewards.tolist(), rows.ticks.tolist()) == ([3, 3.5, 2.5], [0, 1, 0])


def test_what_is_given_is_copied_and_so_is_what_is_taken() -> None:
    buffer = RolloutBuffer(NARROW, chunk_rows=2)
    observations, decisions, rewards = seen([1], 0), decided([1]), np.ones(1, np.float32)
    buffer.begin(0, 1, observations)
    observations["x"][:] = 9
    buffer.decide(decisions)
    for column in decisions.values():
        column[:] = 0
    buffer.finish(rewards, presence_of(1))
    rewards[:] = 9
    taken = buffer.rows()
    for column in (*taken.observations.values(), *taken.decisions.values(), taken.rewards, taken.ticks):
        column[:] = 0
    rows = buffer.rows()
    assert (rows.observations["x"].tolist(), rows.decisions["number"].tolist()) == ([[1, 0]], [1])
    assert (rows.rewards.tolist(), rows.decisions["logits"].tolist()) == ([1], [[1, 2, 3]])


def test_columns_need_not_be_contiguous() -> None:
    buffer = RolloutBuffer(NARROW, chunk_rows=4)
    buffer.begin(0, 2, {"x": np.array([[1, 2], [3, 4]], np.float32).T})
    decisions = decided([4, 0, 5, 0])
    buffer.decide({name: column[::2] for name, column in decisions.items()} | {"flag": np.broadcast_to(True, 2)})
    buffer.finish(np.arange(4, dtype=np.float32)[::2], presence_of(2))
    rows = buffer.rows()
    assert rows.observations["x"].tolist() == [[1, 3], [2, 4]]
    assert (rows.decisions["number"].tolist(), rows.decisions["flag"].tolist()) == ([4, 5], [True, True])
    assert rows.rewards.tolist() == [0, 2]


def test_whole_oldest_ticks_are_dropped_by_hand() -> None:
    buffer = RolloutBuffer(NARROW, chunk_rows=2)
    for tick in range(3):
        append(buffer, tick, [2 * tick, 2 * tick + 1])
    assert buffer.drop(1) == 2  # although one row would do
    assert_holds(buffer, [(1, 2), (1, 3), (2, 4), (2, 5)])
    assert buffer.drop(0) == 0
    assert buffer.drop(9) == 4
    assert_holds(buffer, [])
    append(buffer, 3, [1])
    assert_holds(buffer, [(3, 1)])


def test_a_tick_in_progress_outlives_a_clear() -> None:
    buffer = RolloutBuffer(NARROW, chunk_rows=4)
    append(buffer, 0, [1, 2, 3])
    buffer.begin(1, 2, seen([4, 5], 1))
    buffer.clear()
    assert buffer.in_progress("x").tolist() == [[4, 1], [5, 1]]
    buffer.decide(decided([4, 5]))
    buffer.clear()
    buffer.finish(np.array([2, 2.5], np.float32), presence_of(2))
    assert_holds(buffer, [(1, 4), (1, 5)])


def test_a_refused_tick_can_be_begun_again() -> None:
    buffer = RolloutBuffer(NARROW, chunk_rows=4)
    append(buffer, 0, [1])
    buffer.begin(1, 3, seen([7, 7, 7], 1))
    buffer.decide(decided([7, 7, 7]))
    with pytest.raises(ShapeError):
        buffer.finish(np.zeros(2, np.float32), presence_of(3))
    append(buffer, 1, [2])
    assert_holds(buffer, [(0, 1), (1, 2)])


def test_rows_that_are_lent_are_kept_where_they_are() -> None:
    buffer = RolloutBuffer(NARROW, chunk_rows=5)
    append_lent(buffer, 1, [1, 2], lent=2)
    assert_holds(buffer, [(0, 8), (0, 8), (1, 1), (1, 2)])
    # The next rows do not fit where these are: others are lent, and the tick between goes on where it is.
    append_lent(buffer, 3, [3, 4, 5], lent=3)
    assert_holds(buffer, [(0, 8), (0, 8), (1, 1), (1, 2), (2, 8), (2, 8), (3, 3), (3, 4), (3, 5)])


def test_rows_that_were_lent_in_vain_leave_no_gap() -> None:
    buffer = RolloutBuffer(NARROW, chunk_rows=9)
    append(buffer, 0, [1])
    buffer.begin(1, 2, seen([7, 7], 1))  # never decided
    room = buffer.lend(2)
    room["x"][...] = seen([2, 3], 1)["x"]
    buffer.begin(1, 2, dict(room))
    buffer.decide(decided([2, 3]))
    buffer.finish(np.array([1, 1.5], np.float32), presence_of(2))
    assert_holds(buffer, [(0, 1), (1, 2), (1, 3)])


def test_other_arrays_than_those_lent_are_copied() -> None:
    buffer = RolloutBuffer(NARROW, chunk_rows=9)
    buffer.lend(2)["x"][...] = np.nan
    append(buffer, 0, [1, 2])
    assert_holds(buffer, [(0, 1), (0, 2)])


def test_lent_rows_are_checked() -> None:
    buffer = RolloutBuffer(NARROW, chunk_rows=9)
    room = buffer.lend(1)
    room["x"][...] = np.inf
    with pytest.raises(NonFiniteError):
        buffer.begin(0, 1, dict(room))
    append(buffer, 0, [1])
    assert_holds(buffer, [(0, 1)])


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({}, SchemaError, r"observations: missing \['x'\], unknown \[\]"),
        ({"y": np.zeros((1, 2), np.float32)}, SchemaError, r"missing \['x'\], unknown \['y'\]"),
        ({"x": np.zeros((1, 2))}, SchemaError, "`x` must have dtype float32, got float64"),
        ({"x": np.zeros((2,), np.float32)}, ShapeError, r"`x` must have shape \(1, 2\), got \(2,\)"),
        ({"x": np.array([[1, np.nan]], np.float32)}, NonFiniteError, "`x` must be finite, got nan at tick 7, row 0"),
        ({"x": np.array([[1, -np.inf]], np.float32)}, NonFiniteError, "got -inf at tick 7, row 0"),
    ],
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_bad_observations(values: dict[str, np.ndarray], error: type[Exception], message: str) -> None:
    buffer = RolloutBuffer(NARROW, chunk_rows=2)
    with pytest.raises(error, match=message):
        buffer.begin(7, 1, values)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"number": None}, SchemaError, r"decisions: missing \['number'\], unknown \[\]"),
        ({"logits": None, "value": np.zeros(2)}, SchemaError, r"missing \['logits'\], unknown \['value'\]"),
        ({"number": np.zeros(2, np.int32)}, SchemaError, "`number` must have dtype int64, got int32"),
        ({"number": np.zeros(2, ">i8")}, SchemaError, "`number` must have dtype int64, got >i8"),
        ({"flag": np.zeros(2, np.int8)}, SchemaError, "`flag` must have dtype bool, got int8"),
        ({"number": np.zeros((2, 1), np.int64)}, ShapeError, r"`number` must have shape \(2,\), got \(2, 1\)"),
        ({"flag": np.array(True)}, ShapeError, r"`flag` must have shape \(2,\), got \(\)"),
        ({"flag": np.zeros(10, bool), "number": np.zeros(1, int)}, ShapeError, r"`number` .* \(2,\), got \(1,\)"),
        ({"logits": np.zeros((2, 4))}, ShapeError, r"`logits` must have shape \(2, 3\), got \(2, 4\)"),
        ({"logits": np.zeros((2, 3), int)}, SchemaError, "`logits` must have dtype float64, got int64"),
    ],
)
def test_bad_decisions(changes: dict[str, np.ndarray | None], error: type[Exception], message: str) -> None:
    buffer = RolloutBuffer(NARROW, chunk_rows=2)
    buffer.begin(0, 2, seen([1, 2], 0))
    columns = {name: column for name, column in {**decided([1, 2]), **changes}.items() if column is not None}
    with pytest.raises(error, match=message):
        buffer.decide(columns)
    buffer.decide(decided([1, 2]))
    buffer.finish(np.array([0.5, 1], np.float32), presence_of(2))
    assert_holds(buffer, [(0, 1), (0, 2)])


@pytest.mark.parametrize("logits", [np.nan, np.inf])
def test_decisions_may_be_infinite(logits: float) -> None:
    buffer = RolloutBuffer(NARROW, chunk_rows=2)
    buffer.begin(0, 1, seen([1], 0))
    buffer.decide({**decided([1]), "logits": np.full((1, 3), logits)})
    buffer.finish(np.zeros(1, np.float32), presence_of(1))
    np.testing.assert_array_equal(buffer.rows().decisions["logits"], np.full((1, 3), logits))


def test_bad_size() -> None:
    with pytest.raises(ShapeError, match="`chunk_rows` must be at least 1, got 0"):
        RolloutBuffer(NARROW, chunk_rows=0)


@given(st.integers(0, 2**32), st.lists(st.integers(0, 5), max_size=8), st.integers(1, 9))
def test_every_dtype_and_shape_comes_back(seed: int, sizes: list[int], chunk_rows: int) -> None:
    rng = np.random.default_rng(seed)
    buffer = RolloutBuffer(SCHEMA, chunk_rows=chunk_rows)
    observations, decisions = rows_of(SCHEMA.observations, sum(sizes), rng), rows_of(SCHEMA.decisions, sum(sizes), rng)
    first = 0
    for tick, size in enumerate(sizes):
        rows = slice(first, first + size)
        buffer.begin(tick, size, {name: column[rows] for name, column in observations.items()})
        buffer.decide({name: column[rows] for name, column in decisions.items()})
        buffer.finish(np.zeros(size, np.float32), presence_of(size))
        first += size
    kept = buffer.rows()
    for ours, theirs in ((kept.observations, observations), (kept.decisions, decisions)):
        assert ours.keys() == theirs.keys()
        for name, column in theirs.items():
            np.testing.assert_array_equal(ours[name], column, strict=True)


@given(
    st.integers(1, 7),
    st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from(["append", "lent", "misjudged", "refused", "clear", "drop"])),
        max_size=40,
    ),
)
def test_a_buffer_is_a_deque_of_ticks(chunk_rows: int, moves: list[tuple[int, str]]) -> None:
    buffer = RolloutBuffer(NARROW, chunk_rows=chunk_rows)
    model: deque[list[tuple[int, int]]] = deque()
    for tick, (size, move) in zip(range(1, 2 * len(moves), 2), moves, strict=True):
        numbers = [tick + number for number in range(size)]
        if move in ("lent", "misjudged"):
            append_lent(buffer, tick, numbers, lent=size + (move == "misjudged"))
            model.append([(tick - 1, 8), (tick - 1, 8)])
            if size:
                model.append([(tick, number) for number in numbers])
        elif move == "append":
            append(buffer, tick, numbers)
            if size:
                model.append([(tick, number) for number in numbers])
        elif move == "refused":
            buffer.begin(tick, size, seen(numbers, tick))
        elif move == "clear":
            buffer.clear()
            model.clear()
        else:
            dropped = 0
            while dropped < size and model:
                dropped += len(model.popleft())
            assert buffer.drop(size) == dropped
        assert_holds(buffer, [row for rows in model for row in rows])
