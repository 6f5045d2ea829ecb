import numpy as np
import pytest

from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.saved_state import check_saved_state, saved_array, saved_number


def test_an_array_is_copied_out() -> None:
    state = {"a": np.arange(6).reshape(2, 3), "n": np.array(7)}
    taken = saved_array(state, "a", dtype=np.int64, shape=(None, 3))
    taken[:] = 0
    assert state["a"].sum() == 15
    assert saved_number(state, "n") == 7


@pytest.mark.parametrize(
    ("key", "shape", "problem"),
    [
        ("b", (2,), r"expected `b` in the saved state, got \['a'\]"),
        ("a", (3,), r"expected `a` of the saved state to be int64 \[3\], got int64 \[2\]"),
        ("a", (2, 1), r"int64 \[2 1\], got int64 \[2\]"),
        ("a", (), r"int64 \[\], got int64 \[2\]"),
    ],
)
def test_an_array_that_does_not_fit_is_named(key: str, shape: tuple[int, ...], problem: str) -> None:
    with pytest.raises(SimulationError, match=problem):
        saved_array({"a": np.zeros(2, np.int64)}, key, dtype=np.int64, shape=shape)


def test_an_array_of_another_dtype_is_named() -> None:
    with pytest.raises(SimulationError, match=r"to be int64 \[any\], got float64 \[2\]"):
        saved_array({"a": np.zeros(2)}, "a", dtype=np.int64, shape=(None,))


def test_a_state_holds_numbers_bools_and_texts() -> None:
    check_saved_state({"n": np.zeros(1, np.uint8), "f": np.zeros(1), "b": np.zeros(1, np.bool_), "t": np.array("x")})
    for array in (np.array(None, np.object_), np.array(b"x"), np.array(1j)):
        with pytest.raises(SimulationError, match="for `x`"):
            check_saved_state({"x": array})
