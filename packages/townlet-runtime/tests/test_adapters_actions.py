from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from townlet_behavior import CommitmentConfig
from townlet_runtime.adapters.actions import (
    ActionCodec,
    find_mask,
    require_info,
    rows_of_masks,
    stacked_masks,
)
from townlet_runtime.errors import ConfigError, EnvironmentFaultError


def fault(row: int, problem: str) -> EnvironmentFaultError:
    return EnvironmentFaultError("small", problem, world=row)


def test_discrete_actions_begin_where_the_space_does() -> None:
    actions = ActionCodec(spaces.Discrete(3, start=5), environment="small")
    assert actions.vocabulary.keys == ("0", "1", "2")
    assert actions.encode(np.array([2, 0])).tolist() == [7, 5]
    assert [type(action) for action in actions.commands(np.array([2, 0]))] == [np.int64, np.int64]


def test_joint_actions_are_all_combinations() -> None:
    actions = ActionCodec(spaces.MultiDiscrete([2, 3], start=[0, 10]), environment="small")
    combinations = [[0, 10], [0, 11], [0, 12], [1, 10], [1, 11], [1, 12]]
    assert actions.vocabulary.keys == ("0", "1", "2", "3", "4", "5")
    assert actions.encode(np.arange(6)).tolist() == combinations
    space = spaces.MultiDiscrete(np.array([[2, 2], [2, 1]]))
    nested = ActionCodec(space, environment="small").commands(np.arange(8))
    assert all(space.contains(action) for action in nested) and nested[5].tolist() == [[1, 0], [1, 0]]


def test_bits_are_all_combinations() -> None:
    space = spaces.MultiBinary((2, 2))
    actions = ActionCodec(space, environment="small")
    assert len(actions.vocabulary) == 16
    assert all(space.contains(action) for action in actions.commands(np.arange(16)))
    assert actions.encode(np.array([0b0110])).tolist() == [[[0, 1], [1, 0]]]


def test_a_choice_binds_for_no_longer_than_its_tick() -> None:
    vocabulary = ActionCodec(spaces.Discrete(4), environment="small").vocabulary
    assert CommitmentConfig(ticks=15).lengths(vocabulary).tolist() == [0, 0, 0, 0]


def test_more_than_a_thousand_actions_are_refused() -> None:
    assert len(ActionCodec(spaces.MultiDiscrete([32, 32]), environment="small").vocabulary) == 1024
    for space in (spaces.MultiDiscrete([2] * 100), spaces.Discrete(1025)):
        with pytest.raises(ConfigError, match="expected 2 to 1024 actions to choose from, got"):
            ActionCodec(space, environment="small")


@pytest.mark.parametrize("space", [spaces.Box(-1.0, 1.0, (2,)), spaces.Text(2), spaces.Tuple([])])
def test_other_action_spaces_are_refused_by_name(space: spaces.Space[Any]) -> None:
    with pytest.raises(
        ConfigError, match="expected actions of Discrete, MultiDiscrete or MultiBinary, got .*continuous actions"
    ):
        ActionCodec(space, environment="small")


def test_masks_are_found_in_dictionaries_alone() -> None:
    assert find_mask({"action_mask": [1]}) == [1]
    assert find_mask({}) is None and find_mask(None) is None and find_mask(np.zeros(2)) is None


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(1),
        spaces.Discrete(2**40),
        spaces.MultiDiscrete([1, 1]),
        spaces.MultiDiscrete([]),
        spaces.MultiDiscrete([40, 40]),
        spaces.MultiDiscrete([2] * 80),
        spaces.MultiBinary(11),
        spaces.MultiBinary(80),
    ],
)
def test_actions_without_a_choice_or_too_many_are_refused_by_the_environment(space: spaces.Space[Any]) -> None:
    with pytest.raises(ConfigError, match="`small` cannot be learned: expected 2 to 1024 actions to choose from, got"):
        ActionCodec(space, environment="small")


def masks_of(space: spaces.Space[Any], *masks: object) -> list[list[bool]]:
    return stacked_masks(masks, ActionCodec(space, environment="small"), fault).tolist()


THREE = spaces.Discrete(3)
PARTS = spaces.MultiDiscrete([2, 3])


@pytest.mark.parametrize(
    "mask",
    [
        [1, 0, 1],
        (True, False, True),
        np.array([1, 0, 1], np.int8),
        np.array([1.0, 0.0, 1.0]),
        np.array([True, False, True]),
        [np.int64(1), 0.0, True],
    ],
)
def test_masks_of_every_usual_type_are_read(mask: object) -> None:
    assert masks_of(THREE, [1, 1, 1], mask) == [[True] * 3, [True, False, True]]


@pytest.mark.parametrize(
    "mask",
    [
        (np.array([1, 0], np.int8), np.array([1, 0, 1], np.int8)),
        [[1.0, 0.0], [True, False, True]],
        np.array([np.array([1, 0]), np.array([1, 0, 1])], object),
        [1, 0, 1, 0, 1],
        np.array([1, 0, 1, 0, 1], np.float32),
        [1, 0, 1, 0, 0, 0],
    ],
)
def test_masks_of_parts_mean_the_combinations_that_they_leave(mask: object) -> None:
    # the first part must be 0, the second must not be 1: combinations 00 and 02
    assert masks_of(PARTS, mask) == [[True, False, True, False, False, False]]
    space = spaces.MultiDiscrete([[3], [2]])
    assert masks_of(space, (([0, 1, 0],), ([1, 0],))) == [[False, False, True, False, False, False]]
    equal = spaces.MultiDiscrete([3, 3])
    assert np.flatnonzero(masks_of(equal, np.array([[0, 1, 0], [1, 0, 1]]))[0]).tolist() == [3, 5]


def test_where_both_lengths_are_equal_the_parts_are_meant() -> None:
    # 4 = 2 + 2 = 2 * 2: the first part must be 1, the second is free
    assert masks_of(spaces.MultiDiscrete([2, 2]), [0, 1, 1, 1]) == [[False, False, True, True]]


def test_bits_are_masked_as_parts_or_as_gymnasium_does() -> None:
    bits = spaces.MultiBinary(3)
    # the first bit must be 0, the second 1, the third is free: 010 and 011
    only = [False, False, True, True, False, False, False, False]
    for mask in ([0, 1, 2], ([1, 0], [0, 1], [1, 1]), [1, 0, 0, 1, 1, 1], np.array(only)):
        assert masks_of(bits, mask) == [only]


def test_an_agent_that_may_do_nothing_is_left_its_first_action_alone() -> None:
    assert masks_of(THREE, [0, 0, 0], [0, 1, 1]) == [[True, False, False], [False, True, True]]
    assert masks_of(PARTS, ([0, 0], [1, 1, 1]))[0] == [True] + [False] * 5
    assert masks_of(PARTS, [0] * 5, [0] * 6) == [[True] + [False] * 5] * 2


@pytest.mark.parametrize(
    ("space", "bad", "problem"),
    [
        (THREE, [1, 1], "one of length 2"),
        (THREE, [0.5, 1.0, 1.0], "one with 0.5 in it"),
        (THREE, [1.0, np.nan, 1.0], "one with nan in it"),
        (THREE, [1, 2, 1], "one with 2 in it"),
        (THREE, [1, -1, 1], "one with -1 in it"),
        (THREE, ["1", "1", "1"], r"<U1 of shape \(3,\)"),
        (THREE, 1, r"int64 of shape \(\)"),
        (THREE, None, r"object of shape \(\)"),
        (THREE, [[1, 1], [1]], "one of length 2 and 1"),
        (THREE, [[1, 1, 1], [1, 1, 1]], "one of length 3 and 3"),
        (PARTS, ([1, 1], [1, 1]), "one of length 2 and 2"),
        (PARTS, ([1, 1, 1], [1, 1]), "one of length 3 and 2"),
        (PARTS, [1, 1, 1], "one of length 3"),
        (PARTS, ([1, 1], [1, 1, 3]), "one with 3 in it"),
        (spaces.MultiBinary(3), [0, 1, 3], "one with 3 in it"),
        (spaces.MultiBinary(3), [0, 1], "one of length 2"),
    ],
)
def test_a_mask_that_is_none_is_named(space: spaces.Space[Any], bad: object, problem: str) -> None:
    actions = ActionCodec(space, environment="small")
    good = np.ones(len(actions.vocabulary), np.int8)
    expected = f"expected an action mask of {len(good)} zeros and ones, got {problem}$"
    with pytest.raises(EnvironmentFaultError, match=f"world 1: {expected}"):
        stacked_masks([good, bad], actions, fault)


@pytest.mark.property
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda sizes: np.prod(sizes) > 1), st.data())
def test_parts_allow_what_each_of_them_allows(sizes: list[int], data: st.DataObject) -> None:
    space = spaces.MultiDiscrete(sizes)
    mask = tuple(np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), np.int8) for n in sizes)
    actions = ActionCodec(space, environment="small")
    legal = actions.legal(mask)
    for index, action in enumerate(actions.encode(np.arange(len(actions.vocabulary)))):
        assert legal[index] == all(part[value] for part, value in zip(mask, action, strict=True))
    np.testing.assert_array_equal(actions.legal(np.concatenate(mask)), legal)


def test_masks_of_a_vector_environment_are_split_by_world() -> None:
    rows = rows_of_masks(np.eye(2), 2)
    assert rows is not None and [row.tolist() for row in rows] == [[1, 0], [0, 1]]
    parts = rows_of_masks((np.array([[1, 0], [0, 1], [1, 1]]), np.zeros((3, 4))), 3)
    assert parts is not None and len(parts) == 3 and parts[1][0].tolist() == [0, 1] and len(parts[1][1]) == 4
    single = rows_of_masks(([1, 0], [1, 1]), 2)
    assert single == [[1, 0], [1, 1]]
    for bad in (np.eye(3), (np.eye(3), np.eye(3)), np.array(1), None, "ab", {0: 1}):
        assert rows_of_masks(bad, 2) is None


def test_an_info_that_is_no_dictionary_is_named() -> None:
    require_info({}, fault, 0)
    for bad in (np.ones(3), None, [1, 1]):
        with pytest.raises(
            EnvironmentFaultError, match=f"world 4: expected a dictionary as info, got {type(bad).__name__}"
        ):
            require_info(bad, fault, 4)


def test_nobody_has_no_mask() -> None:
    assert stacked_masks([], ActionCodec(THREE, environment="small"), fault).shape == (0, 3)
