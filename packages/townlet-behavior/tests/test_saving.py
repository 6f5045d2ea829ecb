from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import bools, ints, through_a_file

from townlet_behavior import StateError
from townlet_behavior.saving import check_array, check_names, join_groups, restore_names, save_names, split_groups


def test_parts_are_joined_and_split_again() -> None:
    plans = {"inner/position": ints(3), "length": ints(1)}
    joined = join_groups({"counts": {"steps": ints(1, 2)}, "plans": plans, "empty": {}})
    assert list(joined) == ["counts/steps", "plans/inner/position", "plans/length"]
    parts = split_groups(through_a_file(joined), ("counts", "plans", "empty"))
    assert {part: sorted(state) for part, state in parts.items()} == {
        "counts": ["steps"],
        "plans": ["inner/position", "length"],
        "empty": [],
    }
    assert parts["counts"]["steps"].tolist() == [1, 2]


@pytest.mark.parametrize("name", ["counts", "other/steps", "counts/", ""])
def test_an_array_of_no_part_is_refused(name: str) -> None:
    with pytest.raises(StateError, match=rf"with a group of \['counts', 'plans'\], got '{name}'"):
        split_groups({name: ints(1)}, ("plans", "counts"))


@pytest.mark.parametrize("names", [(), ("a",), ("a", "b", "c"), ("a", "c")])
def test_missing_and_surplus_arrays_are_refused(names: tuple[str, ...]) -> None:
    check_names({"b": ints(), "a": ints()}, ("a", "b"), of="the thing")
    with pytest.raises(StateError, match=r"the saved state of the thing must have the arrays \['a', 'b'\], got "):
        check_names({name: ints() for name in names}, ("a", "b"), of="the thing")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (ints(1, 2), r"saved `x` must be int64 \(3,\), got int64 \(2,\)"),
        (bools(True, True, True), r"saved `x` must be int64 \(3,\), got bool \(3,\)"),
        (ints(0, 5, 0), r"saved `x` must be in \[-1, 4\], got 5"),
        (ints(0, 0, -2), r"saved `x` must be in \[-1, 4\], got -2"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(StateError, match=message):
        check_array({"x": array}, "x", like=np.zeros(3, np.int64), low=-1, high=4)


def test_the_ends_of_the_range_belong_to_it_and_nan_does_not() -> None:
    check_array({"x": ints(-1, 4)}, "x", like=ints(0, 0), low=-1, high=4)
    check_array({"x": np.array(1.0)}, "x", like=np.array(0.5), low=0.0, high=1.0)
    with pytest.raises(StateError, match=r"must be in \[0.0, 1.0\], got nan"):
        check_array({"x": np.array(np.nan)}, "x", like=np.array(0.5), low=0.0, high=1.0)


def test_names_by_hand() -> None:
    state = save_names(["ann", None, "", "Zoë\0"])
    assert state["name_length"].tolist() == [3, -1, 0, 5]
    assert state["name_bytes"].tobytes() == b"annZo\xc3\xab\0"


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=[]), max_size=5), max_size=6))
def test_names_come_back_as_they_were(names: list[str | None]) -> None:
    assert restore_names(through_a_file(save_names(names)), count=len(names)) == names


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("name_length", lambda a: a[:1], r"saved `name_length` must be int64 \(2,\), got int64 \(1,\)"),
        ("name_length", lambda a: ints(4, -1), r"saved `name_length` must be in \[-1, 3\], got 4"),
        ("name_length", lambda a: ints(1, 1), "saved `name_length` must add up to 3 bytes, got 2"),
        ("name_bytes", lambda a: a | 128, r"saved `name_bytes` must be UTF-8, got b'\\xe1\\xee\\xee'"),
        ("name_bytes", lambda a: a.astype(np.int16), "saved `name_bytes` must be uint8"),
    ],
)
def test_damaged_names_are_refused(name: str, change: Callable[[np.ndarray], np.ndarray], message: str) -> None:
    state = dict(save_names(["ann", None]))
    state[name] = np.asarray(change(state[name]))
    with pytest.raises(StateError, match=message):
        restore_names(state, count=2)
