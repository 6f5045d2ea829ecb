"""Inputs and actions of a network by name, in the blocks in which they were added to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from townlet_training.errors import ConfigError

FEATURES = "features"
"""The observation whose columns have names."""


@dataclass(frozen=True, kw_only=True)
class PolicyBlock:
    """Inputs and actions that a network got together: the first block is what it began with."""

    observations: tuple[str, ...] = ()
    """Names of observations that are inputs, in the order of their columns."""
    features: tuple[str, ...] = ()
    """Names of the columns of `features` that are inputs, in their order; empty: all of it, where it is an input."""
    actions: tuple[str, ...] = ()
    """Keys, in the order of the outputs."""


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """The places of the inputs and actions of each block."""

    inputs: tuple[tuple[int, ...], ...]
    """Columns of the observations side by side, in the order of their names."""
    actions: tuple[tuple[int, ...], ...]
    """Indices into the vocabulary."""

    @classmethod
    def plain(cls, num_inputs: int, num_actions: int) -> Wiring:
        """Make that of a network to which nothing was added."""
        return cls(inputs=(tuple(range(num_inputs)),), actions=(tuple(range(num_actions)),))


def num_inputs_of(observation_shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return the numbers of all observations of one agent."""
    return sum(math.prod(shape) for shape in observation_shapes.values())


def wiring_of(
    blocks: Sequence[PolicyBlock],
    *,
    observation_shapes: Mapping[str, tuple[int, ...]],
    feature_names: Sequence[str],
    vocabulary: Sequence[str],
) -> Wiring:
    """Find the places of the inputs and actions of `blocks`.

    Args:
        blocks: first to last; without any there is one, of everything in its order.
        observation_shapes: per agent, by name.
        feature_names: of the columns of `features`; empty: not known.
        vocabulary: keys of the actions.

    Returns:
        The places, of as many blocks.

    Raises:
        ConfigError: if an input or an action is in no block, in two, or not in the arguments; or the first block has no
            input or no action.
    """
    if not blocks:
        return Wiring.plain(num_inputs_of(observation_shapes), len(vocabulary))
    places = _places(observation_shapes, feature_names)
    action_at = {key: (index,) for index, key in enumerate(vocabulary)}
    wiring = Wiring(
        inputs=tuple(_found(_input_names(block, places), places) for block in blocks),
        actions=tuple(_found(block.actions, action_at) for block in blocks),
    )
    for name, parts, size in (
        ("inputs", wiring.inputs, num_inputs_of(observation_shapes)),
        ("actions", wiring.actions, len(vocabulary)),
    ):
        if sorted(place for part in parts for place in part) != list(range(size)) or not parts[0]:
            raise ConfigError(f"`blocks` must name each of the {size} {name} once, and some in the first block")
    return wiring


def _places(shapes: Mapping[str, tuple[int, ...]], feature_names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Columns of each observation by its name, and of each feature by `features[NAME]`."""
    places: dict[str, tuple[int, ...]] = {}
    start = 0
    for name in sorted(shapes):
        size = math.prod(shapes[name])
        places[name] = tuple(range(start, start + size))
        if name == FEATURES:
            places |= {_feature(each): (start + index,) for index, each in enumerate(feature_names)}
        start += size
    return places


def _input_names(block: PolicyBlock, places: Mapping[str, tuple[int, ...]]) -> Iterable[str]:
    for name in block.observations:
        if name == FEATURES and block.features:
            yield from map(_feature, block.features)
        else:
            yield name


def _feature(name: str) -> str:
    return f"{FEATURES}[{name}]"


def _found(names: Iterable[str], places: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    found: list[int] = []
    for name in names:
        if name not in places:
            raise ConfigError(f"`blocks` names `{name}`, which there is not")
        found += places[name]
    return tuple(found)
