"""The last ticks of the watched world: a strip of each agent, sums for charts, whole decisions of those looked at."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
WORLD = 0
"""The one of the parallel worlds that is watched."""


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
    """[reasons]; by the place in `History.veto_reasons`."""


class Latest(NamedTuple):
    """Columns of the agents that decided in a tick, all groups one after the other, each [N]."""

    agent_ids: NDArray[np.object_]
    deciders: NDArray[np.uint8]
    actions: NDArray[np.int16]
    """-1 where actions are arrays."""
    rewards: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Whole:
    """Decisions of some agents of one group, their rows of every array copied, and what came of them."""

    decided: Decided
    rewards: NDArray[np.float32]
    terms: Mapping[str, NDArray[np.float32]]

    @classmethod
    def of(
        cls,
        decided: Decided,
        rewards: NDArray[np.float32],
        terms: Mapping[str, NDArray[np.float32]],
        rows: NDArray[np.int64],
    ) -> Whole:
        """Copy some rows of everything: what comes later must not change it.

        Args:
            decided: of N agents.
            rewards: [N]; what came of it.
            terms: parts of the rewards by name, each [N].
            rows: [M].
        """
        seen, proposals = decided.observed, decided.proposals
        observed = Observed(
            slots=seen.slots[rows],
            agent_ids=seen.agent_ids[rows],
            observations={name: array[rows] for name, array in seen.observations.items()},
            keys=seen.keys[rows],
            worlds=seen.worlds[rows],
            episodes=seen.episodes[rows],
            action_mask=None if seen.action_mask is None else seen.action_mask[rows],
        )
        columns = {name: column[rows] for name, column in decided.decisions.columns().items()}
        return cls(
            decided=Decided(
                observed=observed,
                decisions=DecisionBatch(**columns),
                proposals=None if proposals is None else _rows_of(proposals, rows),
                tick=decided.tick,
            ),
            rewards=rewards[rows],
            terms={name: term[rows] for name, term in terms.items()},
        )

    def one(self, agent_id: str) -> Whole | None:
        """That of one agent alone; None where it is not among them."""
        rows = np.flatnonzero(self.decided.observed.agent_ids == agent_id)
        if not rows.size:
            return None
        return Whole.of(self.decided, self.rewards, self.terms, rows)

    def explained(self, runtime: BatchRuntime) -> StepExplanation:
        """The decision of the only agent in words and numbers, with the policy's answer."""
        row = self.decided
        (found,) = explain_decided(row, runtime.names, world=WORLD, option_ticks=runtime.option_ticks).values()
        # A policy that was not asked for its values has the column's 0.
        asked = row.proposals is not None and row.proposals.values is not None
        terms = {name: float(term[0]) for name, term in self.terms.items()}
        value = found.value if asked else None
        return replace(found, value=value, reward=float(self.rewards[0]), reward_terms=terms)


class _Tick(NamedTuple):
    """One tick of one group."""

    tick: int
    columns: Latest
    whole: Whole
    """Of those that are looked at."""


_NOBODY = Latest(np.empty(0, object), np.empty(0, np.uint8), np.empty(0, np.int16), np.empty(0, np.float32))


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
        reasons = {group: runtime.names.veto_reasons for group, runtime in runtimes.items()}
        self.veto_reasons = tuple(dict.fromkeys(reason for each in reasons.values() for reason in each))
        """Of all groups."""
        self._places = {
            group: np.array(list(map(self.veto_reasons.index, each)), np.int64) for group, each in reasons.items()
        }

    def look_at(self, agent_id: str, by: int) -> None:
        """Keep whole decisions of an agent from now on: one more (`by` 1) or one fewer (-1) looks at it."""
        count = self._looked_at.get(agent_id, 0) + by
        if count > 0:
            self._looked_at[agent_id] = count
        else:
            self._looked_at.pop(agent_id, None)

    def record(self, stepped: Mapping[str, Stepped]) -> None:
        """Note the tick that was just done."""
        counts, vetoes = np.zeros(len(Decider), np.int64), np.zeros(len(self.veto_reasons), np.int64)
        reward_sum, agents = 0.0, 0
        for group, runtime in self._runtimes.items():
            decided = runtime.decided
            if decided is None:
                continue
            decisions, outcome = decided.decisions, stepped[group]
            columns = Latest(
                agent_ids=decided.observed.agent_ids,
                deciders=deciders_of(decisions, runtime.names.proposers),
                actions=_actions_of(decisions),
                rewards=outcome.rewards,
            )
            rows = self._rows_to_keep(columns.agent_ids)
            self._ticks[group].append(
                _Tick(decided.tick, columns, Whole.of(decided, outcome.rewards, outcome.reward_terms, rows))
            )
            counts += np.bincount(columns.deciders, minlength=len(Decider))
            places = self._places[group]
            vetoes[places] += np.bincount(decisions.veto_reason, minlength=len(places) + 1)[1:]
            reward_sum += float(np.add.reduce(columns.rewards, dtype=np.float64))
            agents += len(columns.rewards)
            self.tick = decided.tick
        self._points.append(Point(self.tick, counts, reward_sum / max(agents, 1), vetoes))

    def _rows_to_keep(self, agent_ids: NDArray[np.object_]) -> NDArray[np.int64]:
        if len(agent_ids) <= ALWAYS_WHOLE:
            return np.arange(len(agent_ids))
        return np.flatnonzero(np.isin(agent_ids, list(self._looked_at)))

    def latest(self) -> Latest:
        """The agents of the last tick."""
        last = [ring[-1].columns for ring in self._ticks.values() if ring]
        return Latest(*map(np.concatenate, zip(*last, strict=True))) if last else _NOBODY

    def strip_of(self, agent_id: str) -> dict[str, list[Any]]:
        """The ticks of one agent that are kept: `ticks`, `decider`, `action`, `reward` and `vetoed`, oldest first."""
        found = [
            (one.tick, *(column[row] for column in one.columns[1:]))
            for ring in self._ticks.values()
            for one in ring
            for row in np.flatnonzero(one.columns.agent_ids == agent_id)[:1]
        ]
        return {
            "ticks": [tick for tick, *_ in found],
            "decider": [int(decider) for _, decider, *_ in found],
            "action": [int(action) for _, _, action, _ in found],
            "reward": [float(reward) for *_, reward in found],
            "vetoed": [bool(decider == Decider.VETOED) for _, decider, *_ in found],
        }

    def moment(self, agent_id: str, tick: int | None) -> tuple[str, Whole] | None:
        """The group and the decision of an agent at a tick that is kept whole; of None at the last one; else None."""
        for group, ring in self._ticks.items():
            for one in reversed(ring):
                if tick in (None, one.tick) and (whole := one.whole.one(agent_id)) is not None:
                    return group, whole
        return None

    def points(self) -> tuple[Point, ...]:
        """Those of the charts, oldest first, for other threads: the ring goes on."""
        return tuple(self._points)

    def cut(self, tick: int) -> None:
        """Forget `tick` and what came after it: the world went back to where it is decided next."""
        for ring in self._ticks.values():
            while ring and ring[-1].tick >= tick:
                ring.pop()
        while self._points and self._points[-1].tick >= tick:
            self._points.pop()
        self.tick = max(tick - 1, 0)


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


def _rows_of(proposals: Proposals, rows: NDArray[np.int64]) -> Proposals:
    columns: dict[str, Any] = {
        name: value[rows] for name, value in vars(proposals).items() if isinstance(value, np.ndarray)
    }
    return replace(proposals, **columns)
