"""Blocks are found by name, and are a partition."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from townlet_training.errors import ConfigError
from townlet_training.network.blocks import PolicyBlock, Wiring, num_inputs_of, wiring_of
from townlet_training.network.spec import PolicySpec

SHAPES = {"map": (2, 2), "features": (3,), "age": ()}
FEATURES = ("hunger", "wealth", "held")
KEYS = ("wait", "walk", "eat")


def wired(blocks: Sequence[PolicyBlock]) -> Wiring:
    return wiring_of(blocks, observation_shapes=SHAPES, feature_names=FEATURES, vocabulary=KEYS)


def test_without_blocks_everything_is_in_its_order() -> None:
    assert num_inputs_of(SHAPES) == 8
    assert wired(()) == Wiring.plain(8, 3) == Wiring(inputs=((0, 1, 2, 3, 4, 5, 6, 7),), actions=((0, 1, 2),))


def test_places_by_hand() -> None:
    # Side by side in the order of names: age 0, features 1 to 3 (hunger, wealth, held), map 4 to 7.
    first = PolicyBlock(observations=("map", "features"), features=("held", "hunger"), actions=("eat", "wait"))
    then = PolicyBlock(observations=("age",))
    last = PolicyBlock(observations=("features",), features=("wealth",), actions=("walk",))
    assert wired((first, then, last)) == Wiring(inputs=((4, 5, 6, 7, 3, 1), (0,), (2,)), actions=((2, 0), (), (1,)))


def test_features_without_names_are_the_whole_observation() -> None:
    block = PolicyBlock(observations=("features", "map", "age"), actions=KEYS)
    assert wired((block,)).inputs == ((1, 2, 3, 4, 5, 6, 7, 0),)


ALL = PolicyBlock(observations=("age", "features", "map"), actions=KEYS)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([PolicyBlock(observations=("age", "map"), actions=KEYS)], "each of the 8 inputs once"),
        ([PolicyBlock(observations=("age", "features", "map"), actions=KEYS[:2])], "each of the 3 actions once"),
        ([ALL, PolicyBlock(observations=("age",))], "each of the 8 inputs once"),
        ([ALL, PolicyBlock(actions=("eat",))], "each of the 3 actions once"),
        ([PolicyBlock(actions=KEYS), PolicyBlock(observations=("age", "features", "map"))], "some in the first block"),
        ([PolicyBlock(observations=("age", "features", "map")), PolicyBlock(actions=KEYS)], "some in the first block"),
        ([PolicyBlock(observations=("age", "smell"), actions=KEYS)], "`blocks` names `smell`, which there is not"),
        (
            [PolicyBlock(observations=("features",), features=("luck",), actions=KEYS)],
            r"`blocks` names `features\[luck\]`, which there is not",
        ),
        ([PolicyBlock(observations=("age",), actions=("fly",))], "`blocks` names `fly`, which there is not"),
    ],
)
def test_blocks_that_are_no_partition_are_refused(blocks: Sequence[PolicyBlock], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PolicySpec(world="w", vocabulary=KEYS, observation_shapes=SHAPES, feature_names=FEATURES, blocks=tuple(blocks))
