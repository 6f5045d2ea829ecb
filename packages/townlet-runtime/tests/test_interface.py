from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from garden import SPEC
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary, Box, CommitmentConfig, MultiDiscrete
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import CommitmentColumns, ObservationKind, require_seeds


def test_the_held_action_is_shown_one_hot_before_its_ticks_left() -> None:
    features = np.full((3, 7), 9, np.float32)
    columns = CommitmentColumns(observation="features", start=2, max_ticks=4)
    held, left = np.array([2, -1, 0]), np.array([3, 0, 4], np.int32)
    columns.show({"features": features}, held, left, num_actions=3)
    # two columns of the world's own, one-hot of three actions, ticks left / 4, one more of the world's own
    expected = [[9, 9, 0, 0, 1, 0.75, 9], [9, 9, 0, 0, 0, 0, 9], [9, 9, 1, 0, 0, 1, 9]]
    assert features.tolist() == expected


@pytest.mark.parametrize(
    ("seeds", "complaint"),
    [
        (np.array([1]), r"`seeds` int64 \[2\], one for each world, got array\(\[1\]\)"),
        (np.array([1.0, 2.0]), r"`seeds` int64 \[2\]"),
        ([1, 2], r"`seeds` int64 \[2\]"),
        (np.array([[1, 2]]), r"`seeds` int64 \[2\]"),
        (np.array([3, -1]), "`seeds` that are not negative"),
    ],
)
def test_seeds_are_one_for_each_world(seeds: NDArray[np.int64], complaint: str) -> None:
    with pytest.raises(SimulationError, match=complaint):
        require_seeds(seeds, 2)


def test_seeds_are_copied() -> None:
    seeds = np.array([3, 4])
    kept = require_seeds(seeds, 2)
    seeds[:] = 0
    assert kept.tolist() == [3, 4]


def test_kinds_that_a_spec_leaves_out_do_not_bind() -> None:
    spec = replace(SPEC, option_ticks={"work": 3})
    assert spec.option_ticks == {"wait": 0, "work": 3}
    assert CommitmentConfig(ticks=SPEC.option_ticks).lengths(SPEC.vocabulary).tolist() == [0, 0]


THINGS = {"things": (4, 3), "things_mask": (4,), "picture": (3, 8, 8)}
STEER = Box(names=("steer", "throttle"), low=(-1.0, 0.0), high=(1.0, 2.0))
PARTS = MultiDiscrete(parts={"move": ("stay", "go"), "hand": ("open", "half", "closed")})


def test_a_spec_says_what_its_agents_can_do() -> None:
    assert SPEC.action_spec is SPEC.vocabulary
    assert SPEC.mask_size == len(SPEC.vocabulary)
    steering = replace(SPEC, vocabulary=ActionVocabulary.none(), actions=STEER, option_ticks={})
    assert (steering.action_spec, steering.mask_size) == (STEER, 0)
    parts = replace(steering, actions=PARTS)
    assert (parts.action_spec, parts.mask_size, parts.option_ticks) == (PARTS, 5, {})


def test_what_is_seen_are_the_observations_of_policy_and_critic() -> None:
    spec = replace(SPEC, critic_shapes={"world": (7,)})
    assert spec.seen_shapes == {**SPEC.observation_shapes, "world": (7,)}
    assert SPEC.seen_shapes == SPEC.observation_shapes


def test_kinds_say_what_the_axes_mean() -> None:
    kinds: dict[str, ObservationKind] = {"picture": "image", "things": "entities"}
    assert replace(SPEC, observation_shapes=THINGS, observation_kinds=kinds).observation_kinds == kinds
    shown = replace(SPEC, critic_shapes=THINGS, observation_kinds=kinds)  # to a critic as well
    assert shown.observation_kinds == kinds


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"actions": STEER}, "a `vocabulary` or `actions`, got both"),
        ({"vocabulary": ActionVocabulary.none(), "option_ticks": {}}, "a `vocabulary` or `actions`, got none"),
        (
            {
                "vocabulary": ActionVocabulary.none(),
                "actions": PARTS,
                "option_ticks": {},
                "observation_shapes": {"features": (9,)},
                "feature_names": (),
                "commitment_columns": CommitmentColumns(observation="features", start=0, max_ticks=3),
            },
            "no commitment columns with array actions",
        ),
        (
            {"critic_shapes": {"things": (1,)}},
            r"`critic_shapes` that no observation of the policy has, got \['things'\]",
        ),
        ({"observation_kinds": {"things": "list"}}, "a kind of `things` among image, entities, got list"),
        ({"observation_kinds": {"nothing": "image"}}, r"`nothing`, image, with 3 axes, got \(\)"),
        ({"observation_kinds": {"things": "image"}}, r"`things`, image, with 3 axes, got \(4, 3\)"),
        ({"observation_kinds": {"picture": "entities"}}, r"`picture`, entities, with 2 axes, got \(3, 8, 8\)"),
        (
            {
                "observation_shapes": {"things": (4, 3), "things_mask": (3,)},
                "observation_kinds": {"things": "entities"},
            },
            r"`things_mask` of \(4,\) beside the entities `things`, got \(3,\)",
        ),
        (
            {"critic_shapes": {"crowd": (4, 3)}, "observation_kinds": {"crowd": "entities"}},
            r"`crowd_mask` of \(4,\) beside the entities `crowd`, got None",
        ),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(changed: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SimulationError, match=complaint):
        replace(SPEC, **{"observation_shapes": THINGS, **changed})
