"""The last ticks of the watched world: a strip of each agent, sums for charts, whole decisions of those looked at."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import DecisionBatch, Kind, Proposals, Source
from townlet_runtime.core.explained import explain_decided
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.core.telemetry import Decided
from townlet_runtime.simulation.interface import Observed, Stepped
from townlet_trajectory.audit.explanation import StepExplanation

STRIP_TICKS = 200
"""That are kept of every agent."""
CHART_POINTS = 600
"""That are kept of every line of a chart."""
ALWAYS_WHOLE = 64
"""In a world of so few agents, whole decisions are kept of all; else of those that are looked at."""


class Decider(IntEnum):
    """Who or what an agent's action is from, for its colour."""

    SCRIPT = 0
    FALLBACK = 1
    """The script that stands in for a slow mind."""
    LEARNED = 2
    PERSON = 3
    VETOED = 4
    COMMITTED = 5
    """An option goes on."""
    ONLY_ACTION = 6
    """The mask left one."""
    MIND = 7
    """An answer of a slow mind, in the script's place."""


class Point(NamedTuple):
    """One point of the charts: sums over the agents of a tick."""

    tick: int
    deciders: NDArray[np.int64]
    """[8]; agents by `Decider`."""
    mean_reward: float
    vetoes: NDArray[np.int64]
    """[reasons]; of the veto reasons of the first group."""


@dataclass(eq=False)
class _Tick:
    """One tick of one group."""

    tick: int
    agent_ids: NDArray[np.object_]
    deciders: NDArray[np.uint8]
    actions: NDArray[np.int16]
    """-1 where actions are arrays."""
    rewards: NDArray[np.float32]
    possessed: NDArray[np.bool_]
    whole: dict[str, Whole] = field(default_factory=dict)
    """By agent id."""


@dataclass(frozen=True, eq=False)
class Whole:
    """The decision of one agent, its row of every array copied, and what came of it."""

    decided: Decided
    """Of this agent alone."""
    reward: float
    terms: Mapping[str, float]

    def explained(self, runtime: BatchRuntime) -> StepExplanation:
        """In words and numbers, with the policy's answer."""
        row = self.decided
        (found,) = explain_decided(row, runtime.names, world=0, option_ticks=runtime.option_ticks).values()
        # A policy that was not asked for its values has the column's 0.
        asked = row.proposals is not None and row.proposals.values is not None
        value = found.value if asked else None
        return replace(found, value=value, reward=self.reward, reward_terms=dict(self.terms))


class History:
    """Rings of the last ticks, by group; the thread of the world alone writes and reads them.

    Args:
        runtimes: of the groups.
    """

    def __init__(self, runtimes: Mapping[str, BatchRuntime]) -> None:
        self._runtimes = runtimes
        self._ticks: dict[str, deque[_Tick]] = {group: deque(maxlen=STRIP_TICKS) for group in runtimes}
        self._points: deque[Point] = deque(maxlen=CHART_POINTS)
        self._looked_at: dict[str, int] = {}
        self.tick = 0
        """Decided last."""

    def look_at(self, agent_id: str, by: int) -> None:
        """Keep whole decisions of an agent from now on: one more (`by` 1) or one fewer (-1) looks at it."""
        count = self._looked_at.get(agent_id, 0) + by
        if count > 0:
            self._looked_at[agent_id] = count
        else:
            self._looked_at.pop(agent_id, None)

    def record(self, stepped: Mapping[str, Stepped]) -> None:
        """Note the tick that was just done."""
        counts, vetoes, rewards, agents = np.zeros(len(Decider), np.int64), np.zeros(0, np.int64), 0.0, 0
        for group, runtime in self._runtimes.items():
            decided = runtime.decided
            if decided is None:
                continue
            decisions, outcome = decided.decisions, stepped[group]
            one = _Tick(
                tick=decided.tick,
                agent_ids=decided.observed.agent_ids,
                deciders=deciders_of(decisions, runtime.names.proposers),
                actions=_actions_of(decisions),
                rewards=outcome.rewards,
                possessed=decisions.possessed,
            )
            one.whole = {
                str(one.agent_ids[row]): _whole(decided, outcome, row) for row in self._rows_to_keep(one.agent_ids)
            }
            self._ticks[group].append(one)
            counts += np.bincount(one.deciders, minlength=len(Decider))
            reasons = np.bincount(decisions.veto_reason, minlength=len(runtime.names.veto_reasons) + 1)[1:]
            vetoes = vetoes + reasons if len(vetoes) == len(reasons) else reasons
            rewards += float(np.add.reduce(one.rewards, dtype=np.float64))
            agents += len(one.rewards)
            self.tick = decided.tick
        self._points.append(Point(self.tick, counts, rewards / max(agents, 1), vetoes))

    def _rows_to_keep(self, agent_ids: NDArray[np.object_]) -> Iterable[int]:
        if len(agent_ids) <= ALWAYS_WHOLE:
            return range(len(agent_ids))
        return [row for one in self._looked_at for row in np.flatnonzero(agent_ids == one)[:1].tolist()]

    def latest(self) -> tuple[dict[str, int], dict[str, NDArray[Any]]]:
        """The agents of the last tick, all groups one after the other: their rows, and their columns."""
        last = [ring[-1] for ring in self._ticks.values() if ring]
        if not last:
            return {}, {}
        names = ("deciders", "actions", "rewards", "possessed")
        columns = {name: np.concatenate([vars(one)[name] for one in last]) for name in names}
        ids = np.concatenate([one.agent_ids for one in last]).tolist()
        return dict(zip(ids, range(len(ids)), strict=True)), columns

    def strip(self, agent_id: str) -> dict[str, list[Any]]:
        """The ticks of one agent that are kept: `ticks`, `decider`, `action`, `reward` and `vetoed`, oldest first."""
        ring, rows = self._of(agent_id)
        return {
            "ticks": [one.tick for one in ring],
            "decider": [int(one.deciders[row]) for one, row in zip(ring, rows, strict=True)],
            "action": [int(one.actions[row]) for one, row in zip(ring, rows, strict=True)],
            "reward": [float(one.rewards[row]) for one, row in zip(ring, rows, strict=True)],
            "vetoed": [bool(one.deciders[row] == Decider.VETOED) for one, row in zip(ring, rows, strict=True)],
        }

    def moment(self, agent_id: str, tick: int | None) -> tuple[str, Whole] | None:
        """The group and the decision of an agent at a tick that is kept whole; of None at the last one; else None."""
        for group, ring in self._ticks.items():
            for one in reversed(ring):
                if agent_id in one.whole and tick in (None, one.tick):
                    return group, one.whole[agent_id]
        return None

    def points(self, after: int) -> list[Point]:
        """Those of the charts after a tick, oldest first."""
        found = []
        for point in reversed(self._points):
            if point.tick <= after:
                break
            found.append(point)
        return found[::-1]

    def cut(self, tick: int) -> None:
        """Forget what came after `tick`: the world went back there."""
        for ring in self._ticks.values():
            while ring and ring[-1].tick >= tick:
                ring.pop()
        while self._points and self._points[-1].tick >= tick:
            self._points.pop()
        self.tick = tick

    def _of(self, agent_id: str) -> tuple[list[_Tick], list[int]]:
        found, rows = list[_Tick](), list[int]()
        for ring in self._ticks.values():
            for one in ring:
                here = np.flatnonzero(one.agent_ids == agent_id)
                if here.size:
                    found.append(one)
                    rows.append(int(here[0]))
        return found, rows


def deciders_of(decisions: DecisionBatch, proposers: tuple[str, ...]) -> NDArray[np.uint8]:
    """Tell from whom each action is.

    Args:
        decisions: of N agents.
        proposers: names of who proposes beside the policy.

    Returns:
        [N]; codes of `Decider`.
    """
    of_proposer = np.array([_of_proposer(name) for name in proposers] + [Decider.SCRIPT], np.uint8)
    found = of_proposer[decisions.proposer]  # -1, where nothing was proposed, is the last: the script waits
    found[decisions.source == Source.LEARNED] = Decider.LEARNED
    forced = decisions.kind == Kind.FORCED
    held = decisions.held_action >= 0
    found[forced & held] = Decider.COMMITTED
    found[forced & ~held] = Decider.ONLY_ACTION
    found[decisions.possessed] = Decider.PERSON
    found[decisions.vetoed] = Decider.VETOED
    return found


def _of_proposer(name: str) -> Decider:
    return Decider.SCRIPT if name == "script" else Decider.FALLBACK if name == "fallback" else Decider.MIND


def _actions_of(decisions: DecisionBatch) -> NDArray[np.int16]:
    actions = decisions.action
    return actions.astype(np.int16) if actions.ndim == 1 else np.full(len(actions), -1, np.int16)


def _whole(decided: Decided, stepped: Stepped, row: int) -> Whole:
    """Copy one row of everything: what comes later must not change it."""
    one = slice(row, row + 1)
    seen, proposals = decided.observed, decided.proposals
    observed = Observed(
        slots=seen.slots[one].copy(),
        agent_ids=seen.agent_ids[one].copy(),
        observations={name: array[one].copy() for name, array in seen.observations.items()},
        keys=seen.keys[one].copy(),
        worlds=np.zeros(1, np.int64),
        episodes=seen.episodes[one].copy(),
        action_mask=None if seen.action_mask is None else seen.action_mask[one].copy(),
    )
    columns = {name: column[one].copy() for name, column in decided.decisions.columns().items()}
    return Whole(
        decided=Decided(
            observed=observed,
            decisions=DecisionBatch(**columns),
            proposals=None if proposals is None else _row_of(proposals, one),
            tick=decided.tick,
        ),
        reward=float(stepped.rewards[row]),
        terms={name: float(term[row]) for name, term in stepped.reward_terms.items()},
    )


def _row_of(proposals: Proposals, one: slice) -> Proposals:
    columns: dict[str, Any] = {
        name: value[one].copy() for name, value in vars(proposals).items() if isinstance(value, np.ndarray)
    }
    return replace(proposals, **columns)
