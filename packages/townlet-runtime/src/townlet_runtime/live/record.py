"""A record of one world as it is replayed: the steps of every group of agents by tick, and what charts show of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import DecisionBatch
from townlet_runtime.errors import ConfigError, SimulationError
from townlet_runtime.live.history import CHART_POINTS, STRIP_TICKS, Decider, Latest, Point, deciders_of
from townlet_trajectory import TrajectoryBatch, default_decision_columns
from townlet_trajectory.audit.agent_steps import AgentSteps
from townlet_trajectory.audit.explanation import StepExplanation, StepNames

MAX_TICKS = 10_000_000
"""From the first to the last of a record."""
_AGENTS_AT_ONCE = 8
"""Whose statistics are kept for the inspector."""
_SPARSE = 4
"""In a record of so many times more agents than are there at once, agents have no cell of their own."""
_NOTHING = {"chosen_action", "expert_action", "drawn_action", "held_action"}
"""Columns that are -1 where a record lacks them."""


class GroupRecord:
    """The steps of one group of agents.

    Args:
        names: that the record knows.
        batch: trajectories of one world, those that were cut joined again; at least one.
        ticks: [R]; place in time of every row.
    """

    def __init__(self, names: StepNames, batch: TrajectoryBatch, ticks: NDArray[np.int64]) -> None:
        self.names, self.batch = names, batch
        self.trajectory_of_row = batch.trajectory_of_row
        ids, first, codes = np.unique(batch.agent_ids.astype(str), return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(first))
        self._codes = order[codes][self.trajectory_of_row]
        """[R]; agents in the order of their first appearance."""
        self.num_agents = len(ids)
        self._order = np.lexsort((self._codes, ticks))
        self.ticks = ticks
        self._sorted = ticks[self._order]
        self.deciders = deciders_of(_decisions_of(batch), names.proposers)
        action = batch.columns.get("action")
        whole = action is not None and action.ndim == 1
        self._actions = action.astype(np.int16) if whole and action is not None else np.full(len(ticks), -1, np.int16)
        most = int(np.unique(self._sorted, return_counts=True)[1].max())
        self._has_cells = self.num_agents <= _SPARSE * most
        self.capacity = self.num_agents if self._has_cells else most
        """Cells of a plain grid."""
        self._steps = lru_cache(_AGENTS_AT_ONCE)(self._steps_of)

    def rows_at(self, tick: int) -> NDArray[np.int64]:
        """The rows of a tick, by agent; none where nobody decided."""
        first, stop = np.searchsorted(self._sorted, (tick, tick + 1))
        return self._order[first:stop]

    def cells_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places of the agents of rows [N] of one tick in a plain grid."""
        return self._codes[rows] if self._has_cells else np.arange(len(rows))

    def ids_of(self, rows: NDArray[np.int64]) -> NDArray[np.object_]:
        """[N]; the agents of rows."""
        return self.batch.agent_ids[self.trajectory_of_row[rows]]

    def rows_of(self, agent_id: str) -> NDArray[np.int64]:
        """All rows of an agent, by tick."""
        rows = np.flatnonzero((self.batch.agent_ids == agent_id)[self.trajectory_of_row])
        return rows[np.argsort(self.ticks[rows], kind="stable")]

    def latest(self, rows: NDArray[np.int64]) -> Latest:
        """What charts and frames show of rows."""
        return Latest(self.ids_of(rows), self.deciders[rows], self._actions[rows], self.batch.rewards[rows])

    def explained(self, row: int) -> StepExplanation:
        """A step compared with all steps of its agent, as `townlet explain` does it."""
        index = int(self.trajectory_of_row[row])
        steps = self._steps(str(self.batch.agent_ids[index]))
        mine = np.flatnonzero(self.batch.agent_ids == self.batch.agent_ids[index])
        place = int(np.searchsorted(mine, index))
        return steps.explain(steps.trajectories[place], row - int(self.batch.offsets[index]))

    def _steps_of(self, agent_id: str) -> AgentSteps:
        mine = np.flatnonzero(self.batch.agent_ids == agent_id)
        return AgentSteps(names=self.names, trajectories=tuple(self.batch.trajectory(index) for index in mine.tolist()))


class Record:
    """All groups of agents of one recorded world.

    Args:
        groups: by name; names of features and the like, and the joined trajectories of the world.

    Raises:
        ConfigError: if nothing is recorded, or it spans too many ticks.
    """

    def __init__(self, groups: Mapping[str, tuple[StepNames, TrajectoryBatch]]) -> None:
        found = {group: each for group, each in groups.items() if len(each[1])}
        if not found:
            raise ConfigError("expected a record with at least one step, got none")
        shifts = _shifts_of([batch for _, batch in found.values()])
        self.groups: Mapping[str, GroupRecord] = {
            group: GroupRecord(names, batch, batch.ticks + shifts[_places(shifts, batch)][:, 1])
            for group, (names, batch) in found.items()
        }
        self.first = min(int(each.ticks.min()) for each in self.groups.values())
        self.last = max(int(each.ticks.max()) for each in self.groups.values())
        if self.last - self.first >= MAX_TICKS:
            span = f"{self.first:,} to {self.last:,}"
            raise ConfigError(f"expected a record of at most {MAX_TICKS:,} ticks, got {span}")
        reasons = [reason for each in self.groups.values() for reason in each.names.veto_reasons]
        self.veto_reasons = tuple(dict.fromkeys(reasons))

    def ratio_at(self, tick: int) -> float:
        """The policy's mean share of the decisions of a tick; 0 where the record does not say."""
        found = [each.batch.columns["ratio"][each.rows_at(tick)] for each in self._with("ratio")]
        together = np.concatenate(found) if found else np.empty(0)
        return float(together.mean(dtype=np.float64)) if len(together) else 0.0

    def point(self, tick: int) -> Point:
        """Sums over the agents of a tick, for charts."""
        counts, vetoes = np.zeros(len(Decider), np.int64), np.zeros(len(self.veto_reasons), np.int64)
        reward_sum, agents = 0.0, 0
        for each in self.groups.values():
            rows = each.rows_at(tick)
            counts += np.bincount(each.deciders[rows], minlength=len(Decider))
            for reason, number in zip(*self._vetoes(each, rows), strict=True):
                vetoes[self.veto_reasons.index(reason)] += number
            reward_sum += float(each.batch.rewards[rows].sum(dtype=np.float64))
            agents += len(rows)
        return Point(tick, counts, reward_sum / max(agents, 1), vetoes)

    def _vetoes(self, each: GroupRecord, rows: NDArray[np.int64]) -> tuple[tuple[str, ...], list[int]]:
        reasons, codes = each.names.veto_reasons, each.batch.columns.get("veto_reason")
        if codes is None or not reasons:
            return (), []
        counts = np.bincount(np.maximum(codes[rows].astype(np.int64), 0), minlength=len(reasons) + 1)
        return reasons, counts[1 : len(reasons) + 1].tolist()

    def _with(self, column: str) -> list[GroupRecord]:
        return [each for each in self.groups.values() if column in each.batch.columns]

    def find(self, agent_id: str, tick: int) -> tuple[GroupRecord, int]:
        """The group and the row of an agent's step.

        Raises:
            SimulationError: if it has none at that tick.
        """
        for each in self.groups.values():
            rows = each.rows_at(tick)
            here = rows[each.ids_of(rows) == agent_id]
            if here.size:
                return each, int(here[0])
        raise SimulationError(f"nothing is recorded of {agent_id!r} at tick {tick}")


class RecordHistory:
    """What `History` is to a world that lives: the ticks of a record up to the present one.

    Args:
        record: of the world.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self.veto_reasons = record.veto_reasons
        self._points: deque[Point] = deque(maxlen=CHART_POINTS)
        self.tick = record.first
        self.go_to(record.first)

    def go_to(self, tick: int) -> None:
        """Make a tick the present one."""
        begin = tick
        if not self._points or tick != self.tick + 1:
            begin = max(self._record.first, tick - CHART_POINTS + 1)
            self._points.clear()
        self._points.extend(self._record.point(each) for each in range(begin, tick + 1))
        self.tick = tick

    def points(self) -> tuple[Point, ...]:
        """Those of the charts, oldest first."""
        return tuple(self._points)

    def latest(self) -> Latest:
        """The agents of the present tick."""
        found = [each.latest(each.rows_at(self.tick)) for each in self._record.groups.values()]
        return Latest(*map(np.concatenate, zip(*found, strict=True)))

    def look_at(self, agent_id: str, by: int) -> None:
        """All steps are kept, of whoever is looked at."""

    def strip_of(self, agent_id: str) -> dict[str, list[Any]]:
        """The last ticks of one agent; see `History.strip_of`."""
        for each in self._record.groups.values():
            rows = each.rows_of(agent_id)
            ticks = each.ticks[rows]
            first, stop = np.searchsorted(ticks, (self.tick - STRIP_TICKS + 1, self.tick + 1))
            rows = rows[first:stop]
            if len(ticks):
                shown = each.latest(rows)
                return {
                    "ticks": each.ticks[rows].tolist(),
                    "decider": shown.deciders.tolist(),
                    "action": shown.actions.tolist(),
                    "reward": shown.rewards.tolist(),
                    "vetoed": (shown.deciders == Decider.VETOED).tolist(),
                }
        return {"ticks": [], "decider": [], "action": [], "reward": [], "vetoed": []}


def _decisions_of(batch: TrajectoryBatch) -> DecisionBatch:
    """The decisions of a record; what it lacks is 0, and -1 where that means nothing."""
    size, given = batch.num_steps, batch.columns
    columns: dict[str, Any] = {}
    for name, spec in default_decision_columns(batch.schema.actions).items():
        missing = -1 if name in _NOTHING else 0
        columns[name] = given[name] if name in given else np.full((size, *spec.shape), missing, spec.dtype)
    return DecisionBatch(**columns)


def _shifts_of(batches: list[TrajectoryBatch]) -> NDArray[np.int64]:
    """By how much the ticks of each episode are moved, [E, 2]: episode, and ticks.

    They stay where they are, unless episodes overlap because each counts its ticks from 0: then they follow each other.
    """
    spans: dict[int, tuple[int, int]] = {}
    for batch in batches:
        firsts, lasts = batch.ticks[batch.offsets[:-1]], batch.ticks[batch.row_of_last]
        for episode, first, last in zip(batch.episodes.tolist(), firsts.tolist(), lasts.tolist(), strict=True):
            known = spans.get(episode, (first, last))
            spans[episode] = min(known[0], first), max(known[1], last)
    in_order = sorted(spans)
    overlap = any(spans[one][1] >= spans[after][0] for one, after in pairwise(in_order))
    shifts, begin = [], spans[in_order[0]][0]
    for episode in in_order:
        first, last = spans[episode]
        shifts.append((episode, begin - first if overlap else 0))
        begin += last - first + 1
    return np.array(shifts, np.int64)


def _places(shifts: NDArray[np.int64], batch: TrajectoryBatch) -> NDArray[np.int64]:
    """[R]; the row of `shifts` that each row of a batch is moved by."""
    return np.searchsorted(shifts[:, 0], batch.episodes)[batch.trajectory_of_row]
