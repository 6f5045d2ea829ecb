from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from townlet_behavior import CommitmentConfig
from townlet_runtime.adapters.spaces import (
    ActionCodec,
    ObservationCodec,
    find_mask,
    stacked_flags,
    stacked_masks,
    stacked_rewards,
)
from townlet_runtime.errors import ConfigError, EnvironmentFaultError


def fault(row: int, problem: str) -> EnvironmentFaultError:
    return EnvironmentFaultError("small", problem, world=row)


def codec(space: spaces.Space[Any]) -> ObservationCodec:
    return ObservationCodec(space, environment="small")


def test_boxes_keep_their_shape_and_become_float32() -> None:
    image = codec(spaces.Box(0, 255, (2, 3, 1), np.uint8))
    assert image.shapes == {"observation": (2, 3, 1)}
    seen = image.stacked([np.full((2, 3, 1), 255, np.uint8)] * 2, fault)["observation"]
    assert (seen.dtype, seen.shape, seen.min()) == (np.float32, (2, 2, 3, 1), 255.0)
    scalar = codec(spaces.Box(-1.0, 1.0, ()))
    assert scalar.shapes == {"observation": (1,)}
    assert scalar.stacked([0.5, np.float64(-1.0)], fault)["observation"].tolist() == [[0.5], [-1.0]]


def test_discrete_observations_are_one_hot() -> None:
    seen = codec(spaces.Discrete(3, start=-1)).stacked([-1, np.int64(1), np.array(0)], fault)["observation"]
    assert seen.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_dictionaries_and_tuples_become_named_arrays() -> None:
    space = spaces.Dict(
        {
            "arm": spaces.Dict({"angle": spaces.Box(-4.0, 4.0, (2,)), "features": spaces.Discrete(2)}),
            "features": spaces.Box(0.0, 1.0, (1,)),
            "pair": spaces.Tuple((spaces.Discrete(2), spaces.Box(0.0, 1.0, ()))),
            "5 m": spaces.Box(0.0, 1.0, (1,)),
            "action": spaces.Box(0.0, 1.0, (1,)),
            "action_mask": spaces.MultiBinary(4),
        }
    )
    names = codec(space)
    assert names.has_mask
    assert names.shapes == {
        "_5_m": (1,),
        "action_": (1,),
        "arm_angle": (2,),
        "arm_features": (2,),
        "features_": (1,),
        "pair_item_0": (2,),
        "pair_item_1": (1,),
    }
    one = {
        "arm": {"angle": [1.0, 2.0], "features": 1},
        "features": [0.5],
        "pair": (0, 0.25),
        "5 m": [0.0],
        "action": [0.0],
        "action_mask": [1, 1, 1, 1],
    }
    seen = names.stacked([one], fault)
    assert seen["arm_angle"].tolist() == [[1.0, 2.0]] and seen["arm_features"].tolist() == [[0.0, 1.0]]
    assert seen["pair_item_0"].tolist() == [[1.0, 0.0]] and seen["pair_item_1"].tolist() == [[0.25]]


def test_an_observation_beside_its_mask_is_just_an_observation() -> None:
    space = spaces.Dict({"action_mask": spaces.MultiBinary(2), "observation": spaces.Box(0.0, 1.0, (1,))})
    assert codec(space).shapes == {"observation": (1,)}
    assert not codec(spaces.Dict({"x": spaces.Discrete(2)})).has_mask


def test_a_batch_is_read_like_its_rows() -> None:
    space = spaces.Dict({"a": spaces.Box(0.0, 1.0, (2,)), "b": spaces.Discrete(3)})
    rows = [{"a": np.array([0.0, 0.5]), "b": 2}, {"a": np.array([1.0, 0.25]), "b": 0}]
    batch = {"a": np.array([row["a"] for row in rows]), "b": np.array([row["b"] for row in rows])}
    one, other = codec(space).stacked(rows, fault), codec(space).batched(batch, 2, fault)
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])
    # what was read is nobody else's
    other["a"][:] = 9
    assert batch["a"].max() == 1.0
    with pytest.raises(EnvironmentFaultError, match=r"expected `a` of shape \(3, 2\), got \(2, 2\)"):
        codec(space).batched(batch, 3, fault)


def test_nobody_sees_nothing() -> None:
    seen = codec(spaces.Dict({"a": spaces.Box(0.0, 1.0, (2,)), "b": spaces.Discrete(3)})).stacked([], fault)
    assert {name: array.shape for name, array in seen.items()} == {"a": (0, 2), "b": (0, 3)}
    assert stacked_masks([], 3, fault).shape == (0, 3)
    assert stacked_rewards([], fault).shape == stacked_flags("terminated", [], fault).shape == (0,)


GOOD = np.array([0.0, 0.5], np.float32)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (np.zeros(3, np.float32), r"expected `observation` of shape \(2,\), got \(3,\)"),
        (np.zeros((1, 2), np.float32), r"of shape \(2,\), got \(1, 2\)"),
        (0.0, r"of shape \(2,\), got \(\)"),
        (None, r"of shape \(2,\), got \(\)"),
        ([0.0, [1.0]], "expected an observation with `observation`, got ValueError"),
        (np.array([0.0, np.nan]), r"expected finite numbers in `observation`, got \[ 0. nan\]"),
        (np.array([np.inf, 0.0]), "expected finite numbers"),
        (np.array([1e300, 0.0]), "expected finite numbers"),
    ],
)
def test_an_observation_that_is_not_of_its_space_is_named(bad: object, problem: str) -> None:
    with pytest.raises(EnvironmentFaultError, match=f"small, world 1: .*{problem}"):
        codec(spaces.Box(0.0, 1.0, (2,))).stacked([GOOD, bad, GOOD], fault)


def test_observations_of_another_dtype_are_refused() -> None:
    with pytest.raises(EnvironmentFaultError, match="expected `observation` of dtype float32, got <U1"):
        codec(spaces.Box(0.0, 1.0, (2,))).stacked([["a", "b"]], fault)
    with pytest.raises(EnvironmentFaultError, match="expected `observation` of dtype int64, got float64"):
        codec(spaces.Discrete(3)).stacked([1.0], fault)


@pytest.mark.parametrize("bad", [3, -1])
def test_a_number_outside_of_its_space_is_named(bad: int) -> None:
    with pytest.raises(EnvironmentFaultError, match=rf"world 1: expected `observation` in \[0, 3\), got {bad}"):
        codec(spaces.Discrete(3)).stacked([0, bad], fault)


def test_a_part_that_is_missing_is_named() -> None:
    space = spaces.Dict({"a": spaces.Box(0.0, 1.0, (1,))})
    with pytest.raises(EnvironmentFaultError, match="world 1: expected an observation with `a`, got KeyError"):
        codec(space).stacked([{"a": [0.0]}, {"b": [0.0]}], fault)


@pytest.mark.parametrize("space", [spaces.MultiBinary(3), spaces.Text(4), spaces.Dict({"x": spaces.MultiBinary(2)})])
def test_other_observation_spaces_are_refused_by_name(space: spaces.Space[Any]) -> None:
    with pytest.raises(
        ConfigError, match="`environment.name`: `small` cannot be learned: expected observations of Box"
    ):
        codec(space)


def test_an_environment_that_shows_only_a_mask_is_refused() -> None:
    with pytest.raises(ConfigError, match="`small` shows nothing"):
        codec(spaces.Dict({"action_mask": spaces.MultiBinary(2)}))


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


def test_a_choice_binds_for_no_longer_than_its_tick() -> None:
    vocabulary = ActionCodec(spaces.Discrete(4), environment="small").vocabulary
    assert CommitmentConfig(ticks=15).lengths(vocabulary).tolist() == [0, 0, 0, 0]


def test_more_than_a_thousand_actions_are_refused() -> None:
    assert len(ActionCodec(spaces.MultiDiscrete([32, 32]), environment="small").vocabulary) == 1024
    for space in (spaces.MultiDiscrete([2] * 100), spaces.Discrete(1025)):
        with pytest.raises(ConfigError, match="expected 2 to 1024 actions to choose from, got"):
            ActionCodec(space, environment="small")


@pytest.mark.parametrize("space", [spaces.Box(-1.0, 1.0, (2,)), spaces.MultiBinary(2), spaces.Tuple([])])
def test_other_action_spaces_are_refused_by_name(space: spaces.Space[Any]) -> None:
    with pytest.raises(ConfigError, match="expected actions of Discrete or MultiDiscrete, got .*continuous actions"):
        ActionCodec(space, environment="small")


def test_masks_are_found_in_dictionaries_alone() -> None:
    assert find_mask({"action_mask": [1]}) == [1]
    assert find_mask({}) is None and find_mask(None) is None and find_mask(np.zeros(2)) is None


def test_masks_are_numbers_or_bools() -> None:
    masks = [np.array([1, 0], np.int8), np.array([False, True]), [1, 1]]
    assert stacked_masks(masks, 2, fault).tolist() == [[True, False], [False, True], [True, True]]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ([1, 1, 1], r"expected an action mask of 2 zeros and ones, got int64 of shape \(3,\)"),
        ([0.5, 1.0], "zeros and ones, got float64"),
        ([0, 0], "a mask that allows an action|an action mask that allows an action, got one that allows none"),
    ],
)
def test_a_mask_that_is_none_is_named(bad: list[float], problem: str) -> None:
    with pytest.raises(EnvironmentFaultError, match=f"world 1: .*(?:{problem})"):
        stacked_masks([[1, 1], bad], 2, fault)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39, None])
def test_a_reward_that_is_not_finite_is_named(bad: object) -> None:
    assert stacked_rewards([1, np.float32(0.5), np.array(2.0)], fault).tolist() == [1.0, 0.5, 2.0]
    with pytest.raises(EnvironmentFaultError, match="world 1: expected a finite reward, got"):
        stacked_rewards([0.0, bad], fault)


@pytest.mark.parametrize("bad", [[1.0], np.zeros(1), "much", {}])
def test_a_reward_that_is_no_number_is_named(bad: object) -> None:
    with pytest.raises(EnvironmentFaultError, match="world 1: expected a number as reward, got"):
        stacked_rewards([0.0, bad], fault)


@pytest.mark.parametrize("bad", [1, None, np.array([True])])
def test_a_flag_that_is_no_bool_is_named(bad: object) -> None:
    assert stacked_flags("terminated", [True, np.bool_(False)], fault).tolist() == [True, False]
    with pytest.raises(EnvironmentFaultError, match="world 1: expected a bool as `terminated`, got"):
        stacked_flags("terminated", [False, bad], fault)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(1),
        spaces.Discrete(2**40),
        spaces.MultiDiscrete([1, 1]),
        spaces.MultiDiscrete([]),
        spaces.MultiDiscrete([40, 40]),
        spaces.MultiDiscrete([2] * 80),
    ],
)
def test_actions_without_a_choice_or_too_many_are_refused_by_the_environment(space: spaces.Space[Any]) -> None:
    with pytest.raises(ConfigError, match="`small` cannot be learned: expected 2 to 1024 actions to choose from, got"):
        ActionCodec(space, environment="small")


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(0.0, 1.0, (0,)),
        spaces.Dict({"a": spaces.Box(0.0, 1.0, (2,)), "b": spaces.Box(0.0, 1.0, (3, 0))}),
        spaces.Discrete(2**40),
    ],
)
def test_empty_and_boundless_observations_are_refused_by_the_environment(space: spaces.Space[Any]) -> None:
    with pytest.raises(ConfigError, match="`small` cannot be learned: expected observations of 1 to 16777216 numbers"):
        codec(space)
