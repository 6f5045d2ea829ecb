"""The actions of a town, and what each of them does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary
from townlet_runtime.town.objects import OBJECT_TYPES

WAIT, CHAT, START, RELEASE, MOVE, REQUEST, WORK = (np.array(act) for act in range(7))
"""Effects of actions; arrays without axes, as the phases of `townlet_runtime.town.state` are. Up to `START` an agent
stays at its object."""

SELECTORS = ("first", "nearest", "least_busy")
"""How `request` selects an object of its type: the lowest index, the fewest steps, the fewest agents at it."""

DIRECTIONS = {"east": (1, 0), "west": (-1, 0), "south": (0, 1), "north": (0, -1)}

NUM_KNOWN = len(OBJECT_TYPES) * len(SELECTORS)
"""Columns of the targets that belong to the town's own types; those of plain objects follow."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionTable:
    """Columns by action index, [A] each. The actions of a town without plain objects come first in every town."""

    types: tuple[str, ...]
    """The town's own, then those of its plain objects."""
    vocabulary: ActionVocabulary
    act: NDArray[np.int64]
    """`WAIT` to `WORK`."""
    target: NDArray[np.int64]
    """Column of the targets (type * 3 + selector) that a request refers to; for another action, a column beyond those
    of all agents."""
    moves: slice
    """The steps, in the order of `DIRECTIONS`."""
    requests: slice
    """The requests of the town's own types, in the order of the columns of the targets."""
    request_of: NDArray[np.int64]
    """[T]; the request that refers to each column of the targets."""

    @property
    def num_targets(self) -> int:
        """T."""
        return len(self.request_of)

    def index(self, key: str) -> int:
        """Return the index of `key`."""
        return self.vocabulary.index(key)


def action_table(plain_types: Sequence[str] = ()) -> ActionTable:
    """Number the actions of a town that has plain objects of these types."""
    rows: list[tuple[str, str, NDArray[np.int64]]] = [("wait", "wait", WAIT)]
    rows += [(f"move:{name}", "move", MOVE) for name in DIRECTIONS]
    first_request = len(rows)
    rows += _requests(OBJECT_TYPES)
    end_request = len(rows)
    rows += [("start", "start", START), ("go_to:workplace", "work", WORK)]
    rows += [("release", "release", RELEASE), ("chat", "chat", CHAT)]
    # At the end, so that a policy finds the actions that it knows where they are in every town.
    first_plain = len(rows)
    rows += _requests(plain_types)
    request_of = np.concatenate((np.arange(first_request, end_request), np.arange(first_plain, len(rows))))
    target = np.full(len(rows), 1 << 40)
    target[request_of] = np.arange(len(request_of))
    return ActionTable(
        types=(*OBJECT_TYPES, *plain_types),
        vocabulary=ActionVocabulary(keys=tuple(r[0] for r in rows), kinds=tuple(r[1] for r in rows), wait=0),
        act=np.array([r[2] for r in rows], dtype=np.int64),
        target=target,
        moves=slice(1, 1 + len(DIRECTIONS)),
        requests=slice(first_request, end_request),
        request_of=request_of,
    )


def _requests(types: Sequence[str]) -> list[tuple[str, str, NDArray[np.int64]]]:
    return [(f"request:{kind}:{how}", "request", REQUEST) for kind in types for how in SELECTORS]


TABLE = action_table()
"""Of a town without plain objects; its indices are right in every town."""
