"""The town's action vocabulary, and what each action is as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary
from townlet_runtime.town.config import OBJECT_TYPES

WAIT, CHAT, START, RELEASE, MOVE, REQUEST, WORK = (np.array(act) for act in range(7))
"""What an action does; arrays without axes, as the phases of `townlet_runtime.town.state` are. Up to `START` an agent
stays at its object."""

CHOICES = ("first", "nearest", "least_busy")
"""How `request` picks an object of its type: the lowest index, the fewest steps, the fewest agents at it."""

DIRECTIONS = {"east": (1, 0), "west": (-1, 0), "south": (0, 1), "north": (0, -1)}


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionTable:
    """Columns by action index, [A] each."""

    vocabulary: ActionVocabulary
    act: NDArray[np.int64]
    """`WAIT` to `WORK`."""
    choice: NDArray[np.int64]
    """Column of the choices (type * 3 + way of choosing) that a request refers to; for what is none, a column beyond
    those of all agents."""
    moves: slice
    """The steps, in the order of `DIRECTIONS`."""
    requests: slice
    """The actions that are requests, in the order of the columns of the choices."""

    def index(self, key: str) -> int:
        """Return the index of `key`."""
        return self.vocabulary.index(key)


def _build() -> ActionTable:
    rows: list[tuple[str, str, NDArray[np.int64]]] = [("wait", "wait", WAIT)]
    rows += [(f"move:{name}", "move", MOVE) for name in DIRECTIONS]
    first_request = len(rows)
    rows += [(f"request:{kind}:{how}", "request", REQUEST) for kind in OBJECT_TYPES for how in CHOICES]
    end_request = len(rows)
    rows += [("start", "start", START), ("go_to:workplace", "work", WORK)]
    rows += [("release", "release", RELEASE), ("chat", "chat", CHAT)]
    num_choices = end_request - first_request
    choice = np.full(len(rows), 1 << 40)
    choice[first_request:end_request] = np.arange(num_choices)
    return ActionTable(
        vocabulary=ActionVocabulary(keys=tuple(r[0] for r in rows), kinds=tuple(r[1] for r in rows), wait=0),
        act=np.array([r[2] for r in rows], dtype=np.int64),
        choice=choice,
        moves=slice(1, 1 + len(DIRECTIONS)),
        requests=slice(first_request, end_request),
    )


TABLE = _build()
NUM_CHOICES = len(OBJECT_TYPES) * len(CHOICES)
