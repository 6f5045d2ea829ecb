"""The ring of rows behaves as a list of ticks."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory import ArraySpec, BufferFullError, NonFiniteError, RolloutBuffer, SchemaError, ShapeError
from townlet_trajectory.rollout import OnFull

GROUPS = {"seen": {"x": ArraySpec("float32", (2,))}, "done": {"number": ArraySpec("int64")}}


def make_buffer(*, chunk_rows: int = 2, max_rows: int = 5, on_full: OnFull = "drop_oldest") -> RolloutBuffer:
    return RolloutBuffer(GROUPS, finite=frozenset({"seen"}), chunk_rows=chunk_rows, max_rows=max_rows, on_full=on_full)


def append(buffer: RolloutBuffer, tick: int, numbers: list[int]) -> None:
    buffer.reserve(tick, len(numbers))
    buffer.write("seen", {"x": np.array([[number, tick] for number in numbers], np.float32).reshape(-1, 2)})
    buffer.write("done", {"number": np.array(numbers, np.int64)})
    buffer.admit()
    buffer.commit()


def test_whole_oldest_ticks_are_dropped_by_hand() -> None:
    buffer = make_buffer(max_rows=5)
    append(buffer, 0, [1, 2])
    append(buffer, 1, [3, 4])
    append(buffer, 2, [5, 6])  # 6 rows do not fit: tick 0 goes, although one row would do
    assert buffer.take("done", "number").tolist() == [3, 4, 5, 6]
    assert buffer.ticks().tolist() == [1, 1, 2, 2]
    assert (buffer.num_rows, buffer.dropped_rows, buffer.first_tick) == (4, 2, 1)


def test_a_full_buffer_raises_and_stays_as_it_was() -> None:
    buffer = make_buffer(max_rows=3, on_full="raise")
    append(buffer, 0, [1, 2])
    with pytest.raises(BufferFullError, match="tick 1 has 2 rows and 2 are kept, `max_rows` is 3"):
        append(buffer, 1, [3, 4])
    assert buffer.take("done", "number").tolist() == [1, 2]
    append(buffer, 1, [3])
    assert buffer.take("done", "number").tolist() == [1, 2, 3]


def test_a_tick_beyond_the_bound_is_refused_even_when_dropping() -> None:
    buffer = make_buffer(max_rows=3)
    append(buffer, 0, [1])
    with pytest.raises(BufferFullError):
        append(buffer, 1, [1, 2, 3, 4])
    assert (buffer.num_rows, buffer.dropped_rows) == (1, 0)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({}, SchemaError, r"seen: missing \['x'\], unknown \[\]"),
        ({"y": np.zeros((1, 2), np.float32)}, SchemaError, r"missing \['x'\], unknown \['y'\]"),
        ({"x": np.zeros((1, 2))}, SchemaError, "`x` must have dtype float32, got float64"),
        ({"x": np.zeros((2,), np.float32)}, ShapeError, r"`x` must have shape \(1, 2\), got \(2,\)"),
        ({"x": np.array([[1, np.nan]], np.float32)}, NonFiniteError, "`x` must be finite, got nan at tick 7, row 0"),
        ({"x": np.array([[1, -np.inf]], np.float32)}, NonFiniteError, "got -inf at tick 7, row 0"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_bad_columns(values: dict[str, np.ndarray], error: type[Exception], message: str) -> None:
    buffer = make_buffer()
    buffer.reserve(7, 1)
    with pytest.raises(error, match=message):
        buffer.write("seen", values)


@pytest.mark.filterwarnings("error")
def test_great_finite_numbers_pass() -> None:
    buffer = make_buffer()
    greatest = float(np.finfo(np.float32).max)
    buffer.reserve(0, 1)
    buffer.write("seen", {"x": np.array([[greatest, -greatest]], np.float32)})
    buffer.commit()
    assert buffer.take("seen", "x").tolist() == [[greatest, -greatest]]


@pytest.mark.parametrize(("chunk_rows", "max_rows"), [(0, 5), (6, 5)])
def test_bad_sizes(chunk_rows: int, max_rows: int) -> None:
    with pytest.raises(ShapeError, match="`chunk_rows` must be in"):
        make_buffer(chunk_rows=chunk_rows, max_rows=max_rows)


def test_bad_on_full() -> None:
    with pytest.raises(SchemaError, match="`on_full` must be"):
        make_buffer(on_full="forget")


def test_reserved_rows_outlive_a_clear() -> None:
    buffer = make_buffer(max_rows=4)
    append(buffer, 0, [1, 2, 3])
    buffer.reserve(1, 3)
    buffer.write("seen", {"x": np.arange(6, dtype=np.float32).reshape(3, 2)})
    buffer.clear()
    assert buffer.num_rows == 0
    assert buffer.take_reserved("seen", "x", np.array([0, 2])).tolist() == [[0, 1], [4, 5]]
    buffer.write("done", {"number": np.array([7, 8, 9])})
    buffer.commit()
    assert buffer.take("seen", "x").tolist() == [[0, 1], [2, 3], [4, 5]]
    assert buffer.take("done", "number", np.array([2, 0])).tolist() == [9, 7]


def test_many_different_tick_sizes_are_bound_anew() -> None:
    buffer = make_buffer(max_rows=400)
    for tick in range(300):
        append(buffer, tick, [tick] * (tick % 290))
    assert set(buffer.take("done", "number").tolist()) == set(buffer.ticks().tolist())
    assert buffer.num_rows <= 400


@pytest.mark.property
@given(
    st.integers(1, 7),
    st.integers(7, 12),
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["append", "clear", "relabel", "drop"])), max_size=40),
)
def test_ring_is_a_deque_of_ticks(chunk_rows: int, max_rows: int, moves: list[tuple[int, str]]) -> None:
    buffer = make_buffer(chunk_rows=chunk_rows, max_rows=max_rows)
    model: deque[list[tuple[int, int]]] = deque()
    for tick, (size, move) in enumerate(moves):
        if move == "clear":
            buffer.clear()
            model.clear()
        elif move == "drop":
            buffer.drop_before(tick - 2)
            while model and model[0][0][0] < tick - 2:
                model.popleft()
        elif move == "relabel":
            buffer.relabel("done", "number", np.arange(8)[::-1])
            model = deque([[(at, 7 - number) for at, number in rows] for rows in model])
        else:
            append(buffer, tick, [number % 8 for number in range(size)])
            if size:
                model.append([(tick, number % 8) for number in range(size)])
            while sum(map(len, model)) > max_rows:
                model.popleft()
        expected = [row for rows in model for row in rows]
        assert buffer.ticks().tolist() == [at for at, _ in expected]
        assert buffer.take("done", "number").tolist() == [number for _, number in expected]
        assert buffer.take("seen", "x")[:, 1].tolist() == [at for at, _ in expected]
        backwards = np.arange(len(expected))[::-1]
        assert buffer.take("done", "number", backwards).tolist() == [number for _, number in expected][::-1]
        assert buffer.num_rows == len(expected)
