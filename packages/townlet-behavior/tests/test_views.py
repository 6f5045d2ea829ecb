import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from strategies import bools, ints, mask_of, view_of

from townlet_behavior import ArgumentsView, ShapeError
from townlet_behavior.steps import script_alone
from townlet_behavior.views import check_slots, check_view, gather, same_rows, tick_of, where_rows


def test_a_view_that_fits_passes() -> None:
    check_view(view_of(0, 3, mask=mask_of((0,), (1,))), capacity=4, mask_columns=5)
    check_view(view_of(), capacity=4, mask_columns=5)


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        (ints(-1, 2), r"in \[0, 4\), got -1 to 2"),
        (ints(0, 4), r"in \[0, 4\), got 0 to 4"),
        (ints(1, 1), r"strictly ascending, got \[1, 1\]"),
        (ints(2, 1), r"strictly ascending, got \[2, 1\]"),
        (np.array([0, 1], np.int32), r"int64 \[N\], got int32 \(2,\)"),
        (np.array([[0, 1]], np.int64), r"int64 \[N\], got int64 \(1, 2\)"),
    ],
)
def test_slots_that_would_mix_agents_up_are_refused(slots: np.ndarray, message: str) -> None:
    with pytest.raises(ShapeError, match=f"`slots` must be {message}"):
        check_slots(slots, capacity=4)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("keys", np.zeros(1, np.uint64), r"`keys` must be uint64 \(2,\), got uint64 \(1,\)"),
        ("keys", np.zeros(2, np.int64), r"`keys` must be uint64 \(2,\), got int64 \(2,\)"),
        ("option_done", bools(True), r"`option_done` must be bool \(2,\), got bool \(1,\)"),
        ("option_done", np.zeros(2, np.int8), r"`option_done` must be bool \(2,\), got int8 \(2,\)"),
        ("action_mask", np.ones((2, 4), np.bool_), r"`action_mask` must be bool \(2, 5\), got bool \(2, 4\)"),
        ("action_mask", np.ones((2, 5)), r"`action_mask` must be bool \(2, 5\), got float64 \(2, 5\)"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(field: str, value: np.ndarray, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        check_view(dataclasses.replace(view_of(0, 3), **{field: value}), capacity=4, mask_columns=5)


def test_gather_takes_one_column_of_each_row() -> None:
    table = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert gather(table, ints(2, 0)).tolist() == [3.0, 4.0]


def test_gather_of_a_table_that_is_not_contiguous() -> None:
    table = np.arange(12).reshape(3, 4).T
    assert gather(table, ints(0, 1, 2, 0)).tolist() == [0, 5, 10, 3]


def test_gather_of_no_rows() -> None:
    assert gather(np.zeros((0, 3)), ints()).tolist() == []


def test_a_view_with_arguments_must_say_what_it_does_with_choices() -> None:
    with pytest.raises(NotImplementedError):
        ArgumentsView().choices_made(script_alone(ints(0)), script_alone(ints(0)))


@pytest.mark.parametrize(
    ("world", "tick"), [(SimpleNamespace(tick=7), 7), (SimpleNamespace(tick="late"), None), (3, None)]
)
def test_the_tick_of_a_world_is_told_where_it_has_one(world: object, tick: int | None) -> None:
    assert tick_of(world) == tick


def test_a_view_of_numbers_has_no_mask() -> None:
    check_view(view_of(0, 3), capacity=4, mask_columns=0)
    with pytest.raises(ShapeError, match=r"`action_mask` must be None, because .*, got bool \(2, 0\)"):
        check_view(view_of(0, 3, mask=np.ones((2, 0), np.bool_)), capacity=4, mask_columns=0)


def test_rows_of_whole_actions_are_chosen_and_compared() -> None:
    one, other = np.array([[1, 2], [3, 4], [5, 6]]), np.array([[1, 0], [3, 4], [0, 6]])
    assert where_rows(bools(True, False, True), one, other).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert where_rows(bools(False, False, True), np.array([7, 8]), other).tolist() == [[1, 0], [3, 4], [7, 8]]
    assert where_rows(bools(True, False), ints(1, 2), ints(3, 4)).tolist() == [1, 4]
    assert same_rows(one, other).tolist() == [False, True, False]
    assert same_rows(ints(1, 2), ints(1, 3)).tolist() == [True, False]
