"""What ended is kept until its tick is forgotten."""

from collections.abc import Mapping

import numpy as np
import pytest
from strategies import SCHEMA, rows_of

from townlet_trajectory import NonFiniteError, SchemaError, ShapeError
from townlet_trajectory.recording.endings import Ended, Endings


def flags(*rows: int) -> np.ndarray:
    marked = np.zeros(4, bool)
    marked[list(rows)] = True
    return marked


def checked(endings: Endings, tick: int, finals: Mapping[str, np.ndarray], rows: tuple[int, ...] = (1, 3)) -> Ended:
    return endings.checked(tick, np.arange(10, 14), flags(*rows[:1]), flags(*rows[1:]), np.array(rows), finals)


def test_all_in_the_order_they_came() -> None:
    endings = Endings(SCHEMA)
    assert endings.all().numbers.tolist() == []
    assert endings.all().final_observations["map"].shape == (0, 2, 3, 3)
    for tick in (1, 2):
        endings.add(checked(endings, tick, rows_of(SCHEMA.observations, 2, np.random.default_rng(tick))))
    ended = endings.all()
    assert (ended.tick, ended.numbers.tolist()) == (2, [11, 13, 11, 13])
    assert ended.terminated.tolist() == [True, False] * 2
    assert ended.truncated.tolist() == [False, True] * 2
    first = rows_of(SCHEMA.observations, 2, np.random.default_rng(1))
    for name, column in first.items():
        np.testing.assert_array_equal(ended.final_observations[name][:2], column, strict=True)
    endings.drop_before(2)
    assert endings.all().numbers.tolist() == [11, 13]
    endings.clear()
    assert endings.all().numbers.tolist() == []


def test_finals_are_copied_and_the_mask_may_be_left_out() -> None:
    endings = Endings(SCHEMA)
    finals = rows_of(SCHEMA.observations, 2, np.random.default_rng(0))
    before = finals["map"].copy()
    del finals["action_mask"]
    ended = checked(endings, 1, finals)
    finals["map"][:] = 0
    np.testing.assert_array_equal(ended.final_observations["map"], before)
    assert ended.final_observations["action_mask"].all()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"rumor": np.zeros(2)}, SchemaError, r"final_observations: missing \[\], unknown \['rumor'\]"),
        ({"features": np.zeros((2, 3))}, SchemaError, "`features` must have dtype float32, got float64"),
        ({"features": np.zeros((3, 3), np.float32)}, ShapeError, r"`features` must have shape \(2, 3\), got \(3, 3\)"),
        ({"features": np.full((2, 3), np.nan, np.float32)}, NonFiniteError, "`features` .* got nan at tick 5, row 0"),
    ],
)
def test_bad_finals(changes: dict[str, np.ndarray], error: type[Exception], message: str) -> None:
    finals = rows_of(SCHEMA.observations, 2, np.random.default_rng(0))
    with pytest.raises(error, match=message):
        checked(Endings(SCHEMA), 5, {**finals, **changes})


def test_final_rows_are_those_that_ended() -> None:
    with pytest.raises(ShapeError, match=r"`final_rows` must be the rows that ended, \[1 3\], got \[1 2\]"):
        Endings(SCHEMA).checked(0, np.arange(4), flags(1), flags(3), np.array([1, 2]), {})
