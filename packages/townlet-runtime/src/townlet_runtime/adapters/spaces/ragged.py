"""Sequences of varying length as a table of things, and a mask that says where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.adapters.spaces.arrays import Leaf, pick
from townlet_runtime.adapters.spaces.gymnasium_library import Fault
from townlet_runtime.simulation.interface import ObservationKind, Observations

MASK = "_mask"
"""Follows the name of a table of things: the array that says where there is one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RaggedLeaf:
    """Two arrays of an observation: things `NAME` [E, F], then rows of zeros, and `NAME_mask` [E]."""

    path: tuple[str | int, ...]
    """Keys of dictionaries and positions in tuples, from the outside in."""
    thing: Leaf
    """A row of the table, by its name; F numbers, one-hot where they are choices."""
    max_entities: int
    """E."""

    @property
    def name(self) -> str:
        """Of the table."""
        return self.thing.name

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of the arrays by name."""
        return {self.name: (self.max_entities, *self.thing.shape), self.name + MASK: (self.max_entities,)}

    @property
    def kinds(self) -> Mapping[str, ObservationKind]:
        """Of the arrays that are not flat."""
        return {self.name: "entities"}

    def stacked(self, observations: Sequence[object], fault: Fault) -> Observations:
        """[N, ...] of N observations; see `ObservationCodec.stacked`."""
        rows = [self._things(one, row, fault) for row, one in enumerate(observations)]
        counts = np.array(list(map(len, rows)), np.int64)
        owners = np.repeat(np.arange(len(rows)), counts)
        things = [thing for row in rows for thing in row]
        table = np.zeros((len(rows), self.max_entities, *self.thing.shape), np.float32)
        mask: NDArray[np.bool_] = np.arange(self.max_entities) < counts[:, None]
        table[mask] = self.thing.stacked(things, lambda thing, problem: fault(int(owners[thing]), problem))[self.name]
        return {self.name: table, self.name + MASK: mask.astype(np.float32)}

    def batched(self, batch: object, rows: int, fault: Fault) -> Observations:
        """[N, ...] of a batch of observations, whose sequences are a tuple; see `ObservationCodec.batched`."""
        try:
            sequences: Any = pick(self.path, batch)
            fits = len(sequences) == rows
        except (TypeError, LookupError) as error:
            raise fault(0, f"expected observations with `{self.name}`, got {type(error).__name__}: {error}") from None
        if not fits:
            raise fault(0, f"expected {rows} sequences `{self.name}`, got {len(sequences)}")
        return replace(self, path=()).stacked(list(sequences), fault)

    def _things(self, observation: object, row: int, fault: Fault) -> list[object]:
        try:
            sequence: Any = pick(self.path, observation)
            things = list(sequence)
        except (TypeError, LookupError) as error:
            raise fault(row, f"expected a sequence `{self.name}`, got {type(error).__name__}: {error}") from None
        if len(things) > self.max_entities:
            most = f"at most {self.max_entities} things in `{self.name}` (`environment.max_entities`)"
            raise fault(row, f"expected {most}, got {len(things)}")
        return things
