from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array
from hypothesis import given
from hypothesis import strategies as st

from townlet_runtime.adapters.spaces.observations import ObservationCodec
from townlet_runtime.adapters.spaces.settings import SpaceSettings
from townlet_runtime.errors import EnvironmentFaultError

MOST = 4


def fault(row: int, problem: str) -> EnvironmentFaultError:
    return EnvironmentFaultError("small", problem, world=row)


def things_of(feature: spaces.Space[Any], *, stack: bool = False) -> ObservationCodec:
    space = spaces.Dict({"seen": spaces.Sequence(feature, stack=stack)})
    return ObservationCodec(space, environment="small", settings=SpaceSettings(max_entities=MOST))


def test_choices_are_one_hot_and_numbers_side_by_side() -> None:
    kinds = things_of(spaces.Discrete(3, start=1))
    assert kinds.stacked([{"seen": (3, 1)}], fault)["seen"].tolist() == [[[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0]]]
    assert things_of(spaces.Box(0.0, 1.0, ())).shapes == {"seen": (MOST, 1), "seen_mask": (MOST,)}
    assert things_of(spaces.Box(0.0, 1.0, (2, 3))).shapes["seen"] == (MOST, 6)


def test_a_stacked_sequence_is_read_too() -> None:
    codec = things_of(spaces.Box(0.0, 1.0, (2,)), stack=True)
    rows = [{"seen": np.zeros((0, 2), np.float32)}, {"seen": np.array([[0.5, 1.0]], np.float32)}]
    seen = codec.stacked(rows, fault)
    assert seen["seen_mask"].tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]
    assert seen["seen"][1].tolist() == [[0.5, 1.0], [0, 0], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ((np.zeros(2),) * 5, r"at most 4 things in `seen` \(`environment.max_entities`\), got 5"),
        ((np.zeros(3),), r"`seen` of shape \(2,\), got \(3,\)"),
        ((np.zeros(2), np.array([0.0, np.nan])), r"finite numbers in `seen`, got \[ 0. nan\]"),
        (None, "a sequence `seen`, got TypeError"),
    ],
)
def test_a_sequence_that_is_none_is_named(bad: object, problem: str) -> None:
    codec = things_of(spaces.Box(0.0, 1.0, (2,)))
    with pytest.raises(EnvironmentFaultError, match=f"small, world 1: expected {problem}"):
        codec.stacked([{"seen": (np.zeros(2), np.zeros(2))}, {"seen": bad}], fault)
    with pytest.raises(EnvironmentFaultError, match="world 0: expected a sequence `seen`, got KeyError"):
        codec.stacked([{}], fault)


def test_a_batch_that_is_none_is_named() -> None:
    codec = things_of(spaces.Discrete(2))
    with pytest.raises(EnvironmentFaultError, match="expected 3 sequences `seen`, got 1"):
        codec.batched({"seen": ((0, 1),)}, 3, fault)
    with pytest.raises(EnvironmentFaultError, match="expected observations with `seen`, got KeyError"):
        codec.batched({}, 1, fault)


@given(st.lists(st.lists(st.integers(0, 9), max_size=MOST), max_size=5))
def test_things_come_back_as_they_were(rows: list[list[int]]) -> None:
    """The law: the rows that the mask shows are the things, in order; all else is zero. A batch is read alike."""
    feature = spaces.Box(0.0, 9.0, (2,))
    codec = things_of(feature)
    observations = [{"seen": tuple(np.array([n, 9 - n], np.float32) for n in row)} for row in rows]
    seen = codec.stacked(observations, fault)
    for row, numbers in enumerate(rows):
        shown = seen["seen"][row][seen["seen_mask"][row] == 1.0]
        assert shown.tolist() == [[n, 9 - n] for n in numbers]
        assert not seen["seen"][row][seen["seen_mask"][row] == 0.0].any()
    if rows:
        space = spaces.Dict({"seen": spaces.Sequence(feature)})
        batch = concatenate(space, observations, create_empty_array(space, len(rows)))
        for name, array in codec.batched(batch, len(rows), fault).items():
            np.testing.assert_array_equal(array, seen[name])
