from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from townlet_behavior import Box, CommitmentConfig, MultiDiscrete
from townlet_runtime.adapters.spaces.actions import (
    action_codec,
    find_mask,
    num_values,
    rows_of_masks,
    stacked_masks,
)
from townlet_runtime.adapters.spaces.settings import ActionForm
from townlet_runtime.errors import ConfigError, EnvironmentFaultError


def fault(row: int, problem: str) -> EnvironmentFaultError:
    return EnvironmentFaultError("small", problem, world=row)


def test_discrete_actions_begin_where_the_space_does() -> None:
    actions = action_codec(spaces.Discrete(3, start=5), environment="small")
    assert actions.vocabulary.keys == ("0", "1", "2")
    assert actions.encode(np.array([2, 0])).tolist() == [7, 5]
    assert [type(action) for action in actions.commands(np.array([2, 0]))] == [np.int64, np.int64]


def test_joint_actions_are_all_combinations() -> None:
    actions = action_codec(spaces.MultiDiscrete([2, 3], start=[0, 10]), environment="small")
    combinations = [[0, 10], [0, 11], [0, 12], [1, 10], [1, 11], [1, 12]]
    assert actions.vocabulary.keys == ("0", "1", "2", "3", "4", "5")
    assert actions.encode(np.arange(6)).tolist() == combinations
    space = spaces.MultiDiscrete(np.array([[2, 2], [2, 1]]))
    nested = action_codec(space, environment="small").commands(np.arange(8))
    assert all(space.contains(action) for action in nested) and nested[5].tolist() == [[1, 0], [1, 0]]


def test_bits_are_all_combinations() -> None:
    space = spaces.MultiBinary((2, 2))
    actions = action_codec(space, environment="small")
    assert len(actions.vocabulary) == 16
    assert all(space.contains(action) for action in actions.commands(np.arange(16)))
    assert actions.encode(np.array([0b0110])).tolist() == [[[0, 1], [1, 0]]]


def test_a_choice_binds_for_no_longer_than_its_tick() -> None:
    vocabulary = action_codec(spaces.Discrete(4), environment="small").vocabulary
    assert CommitmentConfig(ticks=15).lengths(vocabulary).tolist() == [0, 0, 0, 0]


def test_more_than_a_thousand_combinations_are_parts() -> None:
    joint = action_codec(spaces.MultiDiscrete([32, 32]), environment="small")
    assert (len(joint.vocabulary), joint.arrays) == (1024, None)
    parts = action_codec(spaces.MultiDiscrete([32, 33]), environment="small")
    assert len(parts.vocabulary) == 0
    assert isinstance(parts.arrays, MultiDiscrete) and parts.arrays.sizes == (32, 33)
    assert (parts.mask_width, parts.part_starts) == (65, (0, 32))


def test_parts_are_asked_for_or_forbidden() -> None:
    space = spaces.MultiDiscrete([2, 3], start=[0, 10])
    parts = action_codec(space, environment="small", form="parts")
    assert isinstance(parts.spec, MultiDiscrete)
    assert parts.spec.parts == {"0": ("0", "1"), "1": ("0", "1", "2")}
    assert parts.encode(np.array([[0, 0], [1, 2]])).tolist() == [[0, 10], [1, 12]]
    assert [space.contains(action) for action in parts.commands(np.array([[0, 0], [1, 2]]))] == [True, True]
    # one choice has no parts
    assert len(action_codec(spaces.Discrete(3), environment="small", form="parts").vocabulary) == 3
    with pytest.raises(ConfigError, match="got 1056 of .*`environment.actions`: `parts` takes more"):
        action_codec(spaces.MultiDiscrete([32, 33]), environment="small", form="joint")


def test_parts_of_one_value_are_no_choice() -> None:
    space = spaces.MultiDiscrete(np.array([[2, 1], [3, 1]]), start=np.array([[0, 7], [0, 8]]))
    parts = action_codec(space, environment="small", form="parts")
    assert isinstance(parts.spec, MultiDiscrete)
    assert parts.spec.parts == {"0_0": ("0", "1"), "1_0": ("0", "1", "2")}
    (action,) = parts.commands(np.array([[1, 2]]))
    assert action.tolist() == [[1, 7], [2, 8]] and space.contains(action)
    assert masks_of(space, ([0, 1], [1], [1, 0, 1], [1]), form="parts") == [[False, True, True, False, True]]


def test_bits_are_parts_of_two() -> None:
    space = spaces.MultiBinary(11)
    parts = action_codec(space, environment="small")
    assert isinstance(parts.arrays, MultiDiscrete) and parts.arrays.sizes == (2,) * 11
    (action,) = parts.commands(np.array([[0, 1] * 5 + [1]]))
    assert action.dtype == np.int8 and space.contains(action) and action.tolist() == [0, 1] * 5 + [1]
    # the first must be 0, the second 1, the others are free
    assert masks_of(space, [0, 1] + [2] * 9, form="parts") == [[True, False, False, True] + [True] * 18]


def test_numbers_keep_their_bounds_and_their_shape() -> None:
    space = spaces.Box(np.array([[-1.0, 0.0]]), np.array([[1.0, 0.1]]), dtype=np.float64)
    numbers = action_codec(space, environment="small")
    assert numbers.spec == Box(names=("0_0", "0_1"), low=(-1.0, 0.0), high=(1.0, float(np.float32(0.1))))
    assert (numbers.mask_width, len(numbers.vocabulary)) == (0, 0)
    (action,) = numbers.commands(np.array([[0.5, 0.1]], np.float32))
    # 0.1 as float32 is above 0.1
    assert action.dtype == np.float64 and action.tolist() == [[0.5, 0.1]] and space.contains(action)
    one = action_codec(spaces.Box(-2.0, 2.0, ()), environment="small")
    assert one.spec == Box(names=("0",), low=(-2.0,), high=(2.0,))
    assert one.encode(np.array([[1.5], [-2.0]], np.float32)).tolist() == [1.5, -2.0]


def test_numbers_with_equal_bounds_are_no_choice() -> None:
    space = spaces.Box(np.array([3.0, -1.0], np.float32), np.array([3.0, 1.0], np.float32))
    numbers = action_codec(space, environment="small")
    assert numbers.spec == Box(names=("1",), low=(-1.0,), high=(1.0,))
    assert numbers.encode(np.array([[0.25]], np.float32)).tolist() == [[3.0, 0.25]]


def test_a_box_of_whole_numbers_is_a_choice_of_each() -> None:
    space = spaces.Box(np.array([-1, 0]), np.array([1, 1]), dtype=np.int32)
    joint = action_codec(space, environment="small")
    assert joint.encode(np.array([0, 5])).tolist() == [[-1, 0], [1, 1]]
    parts = action_codec(space, environment="small", form="parts")
    assert isinstance(parts.spec, MultiDiscrete) and parts.spec.sizes == (3, 2)
    (action,) = parts.commands(np.array([[2, 0]]))
    assert action.tolist() == [1, 0] and space.contains(action)


@pytest.mark.parametrize(
    ("space", "problem"),
    [
        (spaces.Box(-np.inf, np.inf, (2,)), "actions between finite bounds"),
        (spaces.Box(-1e300, 1e300, (2,), np.float64), "actions between finite bounds"),
        (spaces.Box(0.0, np.inf, (1,)), "actions between finite bounds"),
        (spaces.Box(1.0, 1.0, (2,)), "1 to 2048 numbers to choose, got 0"),
        (spaces.Box(0.0, 1.0, (2049,)), "1 to 2048 numbers to choose, got 2049"),
        (spaces.Box(0.0, 1.0, (0,)), "1 to 2048 numbers to choose, got 0"),
        (spaces.Text(2), "actions of Discrete, MultiDiscrete, MultiBinary or Box"),
        (spaces.Tuple([spaces.Discrete(2)]), "actions of Discrete, MultiDiscrete, MultiBinary or Box"),
    ],
)
def test_other_action_spaces_are_refused_by_name(space: spaces.Space[Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=f"`environment.name`: `small` cannot be learned: expected {problem}"):
        action_codec(space, environment="small")


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
        spaces.Discrete(1025),
    ],
)
def test_actions_without_a_choice_or_too_many_are_refused_by_the_environment(space: spaces.Space[Any]) -> None:
    with pytest.raises(ConfigError, match="`small` cannot be learned: expected 2 to 1024 actions to choose from, got"):
        action_codec(space, environment="small")


@pytest.mark.parametrize(
    "space", [spaces.MultiDiscrete([1, 1]), spaces.MultiDiscrete([]), spaces.MultiDiscrete([5000, 2])]
)
def test_parts_without_a_choice_or_too_many_are_refused_by_the_environment(space: spaces.Space[Any]) -> None:
    with pytest.raises(ConfigError, match="`small` cannot be learned: expected parts of 2 to 4096 values together"):
        action_codec(space, environment="small", form="parts")


def masks_of(space: spaces.Space[Any], *masks: object, form: ActionForm = "joint") -> list[list[bool]]:
    return stacked_masks(masks, action_codec(space, environment="small", form=form), fault).tolist()


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


@pytest.mark.parametrize(
    "mask",
    [
        (np.array([1, 0], np.int8), np.array([1, 0, 1], np.int8)),
        [[1.0, 0.0], [True, False, True]],
        [1, 0, 1, 0, 1],
        np.array([1, 0, 1, 0, 1], np.float32),
    ],
)
def test_masks_of_parts_stay_side_by_side(mask: object) -> None:
    assert masks_of(PARTS, mask, [1] * 5, form="parts") == [[True, False, True, False, True], [True] * 5]


def test_parts_cannot_say_a_mask_of_combinations() -> None:
    expected = "world 0: expected an action mask of 5 zeros and ones, got one for every combination, which"
    with pytest.raises(EnvironmentFaultError, match=expected):
        masks_of(PARTS, [1, 0, 1, 0, 0, 0], form="parts")
    # 4 = 2 + 2 = 2 * 2: the parts are meant
    assert masks_of(spaces.MultiDiscrete([2, 2]), [0, 1, 1, 1], form="parts") == [[False, True, True, True]]


def test_numbers_have_no_mask() -> None:
    with pytest.raises(EnvironmentFaultError, match="expected no action mask where actions are numbers"):
        masks_of(spaces.Box(0.0, 1.0, (1,)), [1])


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
    # by parts: nothing in one of them is nothing at all
    waits = [True, False, True, False, False]
    stuck = [([0, 0], [1, 1, 1]), [0] * 5, [0, 1, 0, 0, 0], [0, 1, 0, 0, 1]]
    assert masks_of(PARTS, *stuck, form="parts") == [waits, waits, waits, [False, True, False, False, True]]


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
    actions = action_codec(space, environment="small")
    good = np.ones(len(actions.vocabulary), np.int8)
    expected = f"expected an action mask of {len(good)} zeros and ones, got {problem}$"
    with pytest.raises(EnvironmentFaultError, match=f"world 1: {expected}"):
        stacked_masks([good, bad], actions, fault)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda sizes: np.prod(sizes) > 1), st.data())
def test_parts_allow_what_each_of_them_allows(sizes: list[int], data: st.DataObject) -> None:
    space = spaces.MultiDiscrete(sizes)
    mask = tuple(np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), np.int8) for n in sizes)
    actions = action_codec(space, environment="small")
    legal = actions.legal(mask)
    for index, action in enumerate(actions.encode(np.arange(len(actions.vocabulary)))):
        assert legal[index] == all(part[value] for part, value in zip(mask, action, strict=True))
    np.testing.assert_array_equal(actions.legal(np.concatenate(mask)), legal)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda sizes: np.prod(sizes) > 1), st.data())
def test_by_parts_as_by_combinations(sizes: list[int], data: st.DataObject) -> None:
    space = spaces.MultiDiscrete(
        sizes, start=data.draw(st.lists(st.integers(-3, 3), min_size=len(sizes), max_size=len(sizes)))
    )
    joint, parts = (action_codec(space, environment="small", form=form) for form in ("joint", "parts"))
    free = [part for part, size in enumerate(sizes) if size > 1]
    index = np.arange(np.prod(sizes))
    chosen = np.stack(np.unravel_index(index, sizes), axis=1)[:, free]
    np.testing.assert_array_equal(parts.encode(chosen), joint.encode(index))
    mask = tuple(np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), np.int8) for n in sizes)
    (by_part,) = stacked_masks([mask], parts, fault)
    (by_index,) = stacked_masks([mask], joint, fault)
    allowed = by_part[np.array(parts.part_starts) + chosen].all(axis=1)
    np.testing.assert_array_equal(allowed, by_index)


@pytest.mark.parametrize(
    ("space", "count"),
    [
        (spaces.Discrete(3, start=2), 3),
        (spaces.MultiDiscrete([2, 3]), 5),
        (spaces.MultiBinary((2, 2)), 8),
        (spaces.Box(0, 3, (2,), np.int8), 8),
        (spaces.Box(0.0, 1.0, (2,)), 0),
    ],
)
def test_values_of_all_parts_are_counted(space: spaces.Space[Any], count: int) -> None:
    assert num_values(space) == count


def test_masks_of_a_vector_environment_are_split_by_world() -> None:
    rows = rows_of_masks(np.eye(2), 2)
    assert rows is not None and [row.tolist() for row in rows] == [[1, 0], [0, 1]]
    parts = rows_of_masks((np.array([[1, 0], [0, 1], [1, 1]]), np.zeros((3, 4))), 3)
    assert parts is not None and len(parts) == 3 and parts[1][0].tolist() == [0, 1] and len(parts[1][1]) == 4
    single = rows_of_masks(([1, 0], [1, 1]), 2)
    assert single == [[1, 0], [1, 1]]
    for bad in (np.eye(3), (np.eye(3), np.eye(3)), np.array(1), None, "ab", {0: 1}):
        assert rows_of_masks(bad, 2) is None


def test_nobody_has_no_mask() -> None:
    assert stacked_masks([], action_codec(THREE, environment="small"), fault).shape == (0, 3)
