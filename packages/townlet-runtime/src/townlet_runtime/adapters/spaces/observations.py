"""Observation spaces of Gymnasium as a network needs them: named float32 arrays."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from townlet_runtime.adapters.spaces.arrays import Leaf, Parts
from townlet_runtime.adapters.spaces.gymnasium_library import NAME_KEY, Fault, gymnasium, spaces, unlearnable
from townlet_runtime.adapters.spaces.ragged import MASK, RaggedLeaf
from townlet_runtime.adapters.spaces.settings import SpaceSettings
from townlet_runtime.errors import ConfigError
from townlet_runtime.simulation.interface import ObservationKind, Observations
from townlet_trajectory import ACTION_MASK, default_decision_columns

MAX_OBSERVATION_SIZE = 2**24
"""Numbers in one array of one agent's observation."""
WIDE = 1024
"""More columns than this of a one-hot observation are said to be many."""
EQUAL_SPACES = 3
"""So many equal spaces in a tuple look like things of one kind."""

_KINDS_KEY = "environment.observation_kinds"
_RESERVED = frozenset({ACTION_MASK, "features", "rewards", "ticks", *default_decision_columns()})
"""Names of columns that mean something else where experience is recorded."""

_TAKEN = "Box, Discrete, MultiBinary, MultiDiscrete, Text, Dict, Tuple or Sequence"
_CHANNELS = (1, 3, 4)
_SIDE_BY_SIDE = f"is read as numbers side by side; `{_KINDS_KEY}` can say"
_MAP = "`channels_first` or `channels_last` of a map or image"


class FlattenedObservationWarning(UserWarning):
    """An observation is read as numbers side by side, though its space has a structure."""


class ObservationCodec:
    """Turns observations of a space into named float32 arrays.

    Box and MultiBinary: as they are, scalars as [1]. Discrete: one-hot. MultiDiscrete: the one-hot parts side by side.
    Text: each of its `max_length` characters one-hot, with a column more for what follows the end. Dict and Tuple of
    these: one array each, named by its keys. Boxes without numbers are left out. An entry `action_mask` of a Dict is no
    observation. A Sequence of F numbers: things `NAME` [E, F] and `NAME_mask` [E], with E = `max_entities`.

    An image is shown channels first: [H, W, C] becomes [C, H, W]. Without being declared, it is a Box of uint8 with
    three axes, of which the last, or else the first, is 1, 3 or 4 and the shortest. A table `NAME` [E, F] beside
    `NAME_mask` [E] holds things. A warning names each observation that is flattened though its space has a structure.

    Args:
        space: of one agent.
        environment: its name, for errors.
        settings: kinds of observations that are declared.

    Attributes:
        shapes: of the arrays of one agent, by name.
        kinds: of those that are images or things.

    Raises:
        ConfigError: if the space holds anything else, nothing, or an array larger than `MAX_OBSERVATION_SIZE`, or a
            declared kind does not fit it.
    """

    def __init__(self, space: gymnasium.Space[Any], *, environment: str, settings: SpaceSettings | None = None) -> None:
        self.has_mask = isinstance(space, spaces.Dict) and ACTION_MASK in space.spaces
        self._leaves: list[Leaf | RaggedLeaf] = []
        self._environment = environment
        self._settings = SpaceSettings() if settings is None else settings
        self._doubts: dict[str, str] = {}
        """Why an observation is not learned well, by its name."""
        self._add(space, ())
        if not self._leaves:
            raise ConfigError(f"`{environment}` shows nothing: its observation space is {space}", key=NAME_KEY)
        self._pair_masks()
        self.shapes: Mapping[str, tuple[int, ...]] = {
            name: shape for leaf in self._leaves for name, shape in leaf.shapes.items()
        }
        self.kinds: Mapping[str, ObservationKind] = {
            name: kind for leaf in self._leaves for name, kind in leaf.kinds.items()
        }
        for name, doubt in self._doubts.items():
            # Python shows equal warnings once.
            warnings.warn(f"{environment}: `{name}` {doubt}", FlattenedObservationWarning, stacklevel=2)

    def stacked(self, observations: Sequence[object], fault: Fault) -> Observations:
        """Arrays [N, ...] of N observations, one by one; what does not fit the space is a `fault` of its row."""
        if len(self._leaves) == 1:
            return self._leaves[0].stacked(observations, fault)
        return {name: array for leaf in self._leaves for name, array in leaf.stacked(observations, fault).items()}

    def batched(self, batch: object, rows: int, fault: Fault) -> Observations:
        """Convert a batch of observations.

        Args:
            batch: observations of N rows, in the structure of the space.
            rows: N.
            fault: makes the error of a row that does not fit the space.

        Returns:
            Each [N, ...].
        """
        return {name: array for leaf in self._leaves for name, array in leaf.batched(batch, rows, fault).items()}

    def _add(self, space: gymnasium.Space[Any], path: tuple[str | int, ...]) -> None:
        if isinstance(space, spaces.Dict):
            for key, inner in space.spaces.items():
                if path or key != ACTION_MASK:
                    self._add(inner, (*path, key))
        elif isinstance(space, spaces.Tuple):
            if len(space.spaces) >= EQUAL_SPACES and all(inner == space.spaces[0] for inner in space.spaces):
                self._doubts[self._name(path)] = (
                    f"is {len(space.spaces)} equal spaces, each with weights of its own in a network; things of one "
                    f"kind are a Box [E, F] beside a MultiBinary `NAME{MASK}` [E], or a Sequence"
                )
            for position, inner in enumerate(space.spaces):
                self._add(inner, (*path, position))
        elif isinstance(space, spaces.Sequence):
            self._add_sequence(space, path)
        elif not (isinstance(space, spaces.Box) and 0 in space.shape):
            self._leaves.append(self._leaf(space, self._name(path), path))

    def _add_sequence(self, space: gymnasium.spaces.Sequence, path: tuple[str | int, ...]) -> None:
        most, name = self._settings.max_entities, self._name(path, ("", MASK))
        if most is None:
            expected = "a bound on the length of sequences (`environment.max_entities`)"
            raise unlearnable(self._environment, expected, f"none, and {space}")
        if isinstance(space.feature_space, spaces.Dict | spaces.Tuple | spaces.Sequence | spaces.Text):
            raise unlearnable(self._environment, "sequences of Box, MultiBinary, Discrete or MultiDiscrete", f"{space}")
        thing = self._leaf(space.feature_space, name, ())
        self._doubts.pop(name, None)
        flat = replace(thing, shape=(math.prod(thing.shape),), kind=None, channels_last=False)
        self._leaves.append(RaggedLeaf(path=path, thing=flat, max_entities=most))

    def _leaf(self, space: gymnasium.Space[Any], name: str, path: tuple[str | int, ...]) -> Leaf:
        size, parts = space.shape or (), Parts.of(space)
        if parts is None and not isinstance(space, spaces.Box | spaces.MultiBinary):
            raise unlearnable(self._environment, f"observations of {_TAKEN}", f"{space}")
        shape = (size or (1,)) if parts is None else (int(parts.counts.sum()),)
        if not 0 < math.prod(shape) <= MAX_OBSERVATION_SIZE:
            expected = f"observations of 1 to {MAX_OBSERVATION_SIZE} numbers"
            raise unlearnable(self._environment, expected, f"{shape} of {space}")
        leaf = Leaf(name=name, path=path, dtype=np.dtype(space.dtype), size=size, shape=shape, parts=parts)
        declared = self._settings.observation_kinds.get(name)
        if declared in ("channels_first", "channels_last"):
            return self._image(leaf, space, channels_last=declared == "channels_last")
        if declared is None:
            channels = _pixels(space)
            if channels is not None:
                return self._image(leaf, space, channels_last=channels == "last")
            doubt = _doubt(space, leaf)
            if doubt is not None:
                self._doubts[name] = doubt
        return leaf

    def _image(self, leaf: Leaf, space: gymnasium.Space[Any], *, channels_last: bool) -> Leaf:
        """The leaf of a map or image: channels of numbers, one channel without an axis, or cells of some choices."""
        axes = leaf.size
        if leaf.parts is not None:
            equal = len(axes) == 2 and leaf.parts.alphabet is None and len(set(leaf.parts.counts.tolist())) == 1
            axes = (*axes, int(leaf.parts.counts[0])) if equal else ()
            channels_last = True
        elif len(axes) == 2:
            axes = (*axes, 1) if channels_last else (1, *axes)
        if len(axes) != 3:
            raise self._unfit(leaf.name, "an image of two axes, or three with its channels", f"{space}")
        shape = (axes[2], *axes[:2]) if channels_last else axes
        return replace(leaf, shape=shape, kind="image", channels_last=channels_last)

    def _pair_masks(self) -> None:
        """Tables of things are those beside which a mask says where there is one."""
        places = {leaf.name: place for place, leaf in enumerate(self._leaves)}
        for name, place in places.items():
            leaf, mask_place = self._leaves[place], places.get(name + MASK)
            mask = None if mask_place is None else self._leaves[mask_place]
            declared = self._settings.observation_kinds.get(name)
            if isinstance(leaf, RaggedLeaf):
                if declared not in (None, "entities"):
                    raise self._unfit(name, "a Box", "a Sequence, whose things are `entities`")
            elif isinstance(mask, Leaf) and mask_place is not None and _is_table(leaf, mask):
                if declared == "entities" or (declared is None and mask.dtype.kind in "biu"):
                    self._leaves[place] = replace(leaf, kind="entities")
                    self._leaves[mask_place] = replace(mask, is_mask=True)
                    self._doubts.pop(name, None)
            elif declared == "entities":
                found = ", ".join(f"`{one}` {shape}" for each in self._leaves for one, shape in each.shapes.items())
                raise self._unfit(name, f"[E, F], with `{name}{MASK}` [E] beside it", found)

    def _unfit(self, name: str, expected: str, found: str) -> ConfigError:
        return ConfigError(f"`{self._environment}`: expected `{name}` to be {expected}, got {found}", key=_KINDS_KEY)

    def _name(self, path: tuple[str | int, ...], suffixes: tuple[str, ...] = ("",)) -> str:
        words = [f"item_{step}" if isinstance(step, int) else step for step in path] or ["observation"]
        name = re.sub(r"\W", "_", "_".join(words), flags=re.ASCII)[:48]
        if not name or name[0].isdigit():
            name = f"_{name}"
        taken = _RESERVED | {taken for leaf in self._leaves for taken in leaf.shapes}
        while not taken.isdisjoint(name + suffix for suffix in suffixes):
            name += "_"
        return name


def require_known_names(environment: str, settings: SpaceSettings, codecs: Iterable[ObservationCodec]) -> None:
    """Refuse kinds of observations that no agent has.

    Args:
        environment: its name.
        settings: with the kinds.
        codecs: of all agents.

    Raises:
        ConfigError: names the first unknown one, and all that there are.
    """
    known = {name for codec in codecs for name in codec.shapes}
    for name in settings.observation_kinds:
        if name not in known:
            there = ", ".join(sorted(known))
            raise ConfigError(f"`{environment}` has no observation `{name}` (there are: {there})", key=_KINDS_KEY)


def _is_table(leaf: Leaf, mask: Leaf) -> bool:
    """Tell whether rows of numbers have a number each that says whether they are there."""
    return leaf.parts is None and mask.parts is None and len(leaf.size) == 2 and mask.size == leaf.size[:1]


def _pixels(space: gymnasium.Space[Any]) -> Literal["first", "last"] | None:
    """Where the channels of a space that holds pixels are; None for other spaces."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) != 3:
        return None
    first, *_, last = space.shape
    if last in _CHANNELS and last < min(space.shape[:2]):
        return "last"
    return "first" if first in _CHANNELS and first < min(space.shape[1:]) else None


def _doubt(space: gymnasium.Space[Any], leaf: Leaf) -> str | None:
    """Why a network will not learn an observation well, and what helps; None where nothing speaks against it."""
    if isinstance(space, spaces.Text):
        return "is text, of whose one-hot characters a network learns little; the environment can encode it in numbers"
    if leaf.parts is not None and len(leaf.size) == 2:
        return f"{leaf.size} {_SIDE_BY_SIDE} `channels_last` of a map whose cells are choices"
    if leaf.parts is not None:
        wide = f"has {leaf.shape[0]} one-hot columns, each learned for itself; numbers in an order are better a Box"
        return wide if leaf.shape[0] > WIDE else None
    if len(leaf.size) == 2:
        return f"{leaf.size} {_SIDE_BY_SIDE} {_MAP}; a table of things has `{leaf.name}{MASK}` beside it"
    if len(leaf.size) == 3:
        return f"{leaf.size} {_SIDE_BY_SIDE} {_MAP}"
    return f"{leaf.size} is read as numbers side by side" if len(leaf.size) > 3 else None
