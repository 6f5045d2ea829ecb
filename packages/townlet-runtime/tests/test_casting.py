import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.casting import BOOL, FLOAT32, FLOAT64, INT64, OBJECT, UINT64, Agents, Caster, Form

WHO = Agents(np.array(["ann", "bob"], object), np.array([0, 1]))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=2))
def test_an_integer_is_cast_to_a_float_where_the_float_is_that_integer(values: list[int]) -> None:
    if all(int(np.float32(value)) == value for value in values):
        assert Caster("garden").cast("rewards", values, FLOAT32, (2,), WHO).tolist() == values
    else:
        with pytest.raises(SimulationError, match="`garden`, world .*, agent .*, tick 0: expected float32 `rewards`"):
            Caster("garden").cast("rewards", values, FLOAT32, (2,), WHO)


@given(st.lists(st.floats(), min_size=2, max_size=2))
def test_a_float_is_cast_to_an_integer_where_it_is_one(values: list[float]) -> None:
    if all(value.is_integer() and -(2**63) <= value < 2**63 for value in values):
        assert Caster("garden").cast("slots", values, INT64, (2,), None).tolist() == values
    else:
        with pytest.raises(SimulationError, match="`garden`, tick 0: expected int64 `slots`"):
            Caster("garden").cast("slots", values, INT64, (2,), None)


def test_a_float_is_rounded_and_no_negative_number_wraps() -> None:
    caster = Caster("garden")
    assert caster.cast("rewards", [0.1, 0.2], FLOAT32, (2,), WHO).tolist() == np.float32([0.1, 0.2]).tolist()
    caster.tick = 7
    with pytest.raises(SimulationError, match="world 1, agent 'bob', tick 7: expected uint64 `keys`, got -1"):
        caster.cast("keys", [1, -1], UINT64, (2,), WHO)


def test_nothing_in_a_list_is_nothing_of_any_shape() -> None:
    assert Caster("garden").cast("soil", [], FLOAT32, (0, 3), None).shape == (0, 3)
    with pytest.raises(SimulationError, match=r"expected float32 \[1, 3\] `soil`, got float64 \[0\]"):
        Caster("garden").cast("soil", [], FLOAT32, (1, 3), None)


def test_texts_are_no_numbers_and_numbers_no_texts() -> None:
    assert Caster("garden").cast("agent_ids", ["ann", "bob"], OBJECT, (2,), None).dtype == object
    with pytest.raises(SimulationError, match=r"expected int64 \[2\] `slots`, got object \[2\]"):
        Caster("garden").cast("slots", [1, None], INT64, (2,), None)


def test_a_form_is_types_dtypes_and_shapes() -> None:
    form = Form.of([(INT64, (2,)), (BOOL, (2, 1))])
    numbers, flags = np.zeros(2, np.int64), np.zeros((2, 1), np.bool_)
    assert form.fits([numbers, flags])
    assert not form.fits([numbers, flags[0]]) and not form.fits([numbers.astype(FLOAT64), flags])
    assert not form.fits([numbers, flags.tolist()]) and not form.fits([numbers])


def test_the_first_row_that_breaks_a_promise_is_named() -> None:
    with pytest.raises(SimulationError, match="`garden`, world 1, agent 'bob', tick 0: expected soft soil, got 9"):
        Caster("garden").require_rows(np.array([True, False]), "soft soil", WHO, np.array([1, 9]))
    Caster("garden").require_rows(np.array([True, True]), "soft soil", WHO, np.array([1, 9]))
