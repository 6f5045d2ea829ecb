"""Which agents are in which group of a world that is split: by id, by pattern, by number, or by share."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import Observed, SimulationSpec

log = logging.getLogger(__name__)

Members: TypeAlias = "Sequence[str] | int | float"
"""Agents of a group: ids or patterns of them (`*`, `?`, `[abc]`), a number of them in each world, or a share in (0, 1)
of the places of each world."""
Rows: TypeAlias = NDArray[np.int64]


class Membership:
    """Which group an agent is in, by its place in its world and its id."""

    def __init__(self, groups: Mapping[str, Members], spec: SimulationSpec, *, rest: str) -> None:
        self._places = places = spec.capacity // spec.num_worlds
        self._name = spec.name
        self._patterns = {group: one for group, one in groups.items() if not isinstance(one, int | float)}
        claimed = np.full(places, -1, np.int64)
        end: float = 0.0
        for index, (group, members) in enumerate(groups.items()):
            if not isinstance(members, int | float):
                if isinstance(members, str) or not members:
                    raise SimulationError(f"group `{group}`: expected ids or patterns of agents, got {members!r}")
                continue
            if isinstance(members, bool) or members <= 0 or (isinstance(members, float) and members >= 1.0):
                raise SimulationError(f"group `{group}`: expected a number of agents or a share, got {members!r}")
            begin, end = round(end), end + (members if isinstance(members, int) else members * places)
            if not begin < round(end) <= places:
                raise SimulationError(f"group `{group}`: expected 1 to {places - begin} more places, got {members!r}")
            claimed[begin : round(end)] = index
        everybody = any("*" in patterns for patterns in self._patterns.values())
        self.names = tuple(groups) if everybody or (claimed >= 0).all() else (*groups, rest)
        """Of the groups, the rest last."""
        self._order = {group: index for index, group in enumerate(groups)}
        self._by_place = np.where(claimed < 0, len(groups), claimed)
        """[places]."""
        self._group: NDArray[np.int64] = np.tile(self._by_place, spec.num_worlds)
        """[capacity]; index of the group of the agent in each slot."""
        self._known: NDArray[np.object_] = np.full(spec.capacity, None, np.object_)
        self._roster = (b"", b"")
        self._ids: NDArray[np.object_] = np.empty(0, np.object_)
        self._rows: dict[str, Rows] = {}
        self._has_warned = False

    def rows_of(self, observed: Observed) -> dict[str, Rows]:
        """Return the rows of each group in a view; agents are looked at when they change."""
        slots, ids = observed.slots, observed.agent_ids
        # Texts are compared by address, which costs nothing: those of `_ids` are kept alive.
        roster = (slots.tobytes(), ids.tobytes() if self._patterns else b"")
        if roster != self._roster or not self._rows:
            if self._patterns:
                for row in np.flatnonzero(self._known[slots] != ids).tolist():
                    self._group[slots[row]] = self._claimed(int(slots[row]) % self._places, ids[row])
                self._known[slots] = ids
            self._roster, self._ids = roster, ids.copy()
            groups = self._group[slots]
            self._rows = {group: np.flatnonzero(groups == index) for index, group in enumerate(self.names)}
        return self._rows

    def warn_of_absent(self, agent_ids: NDArray[np.object_]) -> None:
        """Warn, once, of a group whose patterns name no agent at the start of any world."""
        if self._has_warned:
            return
        self._has_warned = True
        for group, patterns in self._patterns.items():
            if not len(self._rows[group]):
                there = ", ".join(dict.fromkeys(agent_ids.tolist()[:8]))
                log.warning(
                    "`%s`: no agent at the start is %s of group `%s`; there are %s",
                    self._name,
                    " or ".join(patterns),
                    group,
                    there,
                )

    def _claimed(self, place: int, agent_id: str) -> int:
        claims = [
            self._order[group]
            for group, patterns in self._patterns.items()
            if any(fnmatchcase(agent_id, pattern) for pattern in patterns)
        ]
        return min([*claims, int(self._by_place[place])])
