"""Readings of a runtime for people and dashboards: its last decision, switches of options, one log line a tick."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary, DecisionBatch, Proposals, SavedState
from townlet_runtime.core.explained import explain_decided
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import ActionArray, Observed
from townlet_runtime.simulation.saved_state import saved_array
from townlet_trajectory import Box, MultiDiscrete
from townlet_trajectory.audit.explanation import StepExplanation, StepNames
from townlet_trajectory.audit.step_row import text_of_numbers, text_of_parts

log = logging.getLogger(__name__)

TOP_ACTIONS = 5


class ActionProbability(TypedDict):
    """One of the most probable actions."""

    action: str
    probability: float


class AgentSnapshot(TypedDict):
    """One agent at its last decision."""

    tick: int
    selected_action: str
    """Key of the executed action; of array actions `NAME=KEY` or `NAME=NUMBER` of every part or number."""
    log_prob: float
    """Of the chosen action under the policy; 0.0 on steps that the policy did not decide."""
    value_pred: float | None
    """None where the policy has no values, or was not asked for them; 0.0 without a policy."""
    top_actions: list[ActionProbability]
    """At most five, most probable first; of several parts the most probable choices `NAME=KEY` of any; empty without a
    policy, and where actions are numbers."""


class Decided(NamedTuple):
    """The last decision, kept for snapshots."""

    observed: Observed
    decisions: DecisionBatch
    proposals: Proposals | None
    """Of the policy, None without one."""
    tick: int

    def snapshots(self, world: int, names: StepNames) -> dict[str, AgentSnapshot]:
        """The snapshots of the agents of a world, by agent id; `names` are those of the actions."""
        rows = np.flatnonzero(self.observed.worlds == world)
        log_probs = None if self.proposals is None else self.proposals.log_probs
        knows_values = self.proposals is None or self.proposals.values is not None
        return {
            str(self.observed.agent_ids[row]): AgentSnapshot(
                tick=self.tick,
                selected_action=_action_text(names, self.decisions.action[row]),
                log_prob=float(self.decisions.policy_log_prob[row]),
                value_pred=float(self.decisions.value[row]) if knows_values else None,
                top_actions=[] if log_probs is None else _top_actions(log_probs[row], names.choices),
            )
            for row in rows.tolist()
        }


class Ahead(NamedTuple):
    """What both sides propose for a decision that has not been made yet."""

    observed: Observed
    """N agents."""
    expert: ActionArray
    """[N] or [N, K]; of the script, -1 for none."""
    proposer: NDArray[np.int8]
    """[N]; index into the names of the proposers, -1 where the script proposes nothing."""
    proposals: Proposals | None
    """Of the policy; None without one."""
    names: StepNames

    def script(self, row: int) -> str | None:
        """Return what the script proposes for the agent of a row; None: nothing."""
        return None if self.proposer[row] < 0 else _action_text(self.names, self.expert[row])

    def policy(self, row: int) -> str | None:
        """Return what the policy has drawn, or thinks best, for the agent of a row; None without a policy."""
        return None if self.proposals is None else _action_text(self.names, self.proposals.actions[row])

    def likely(self, row: int) -> list[ActionProbability]:
        """Return the policy's most probable actions, at most five; empty without a policy, and where actions are
        numbers."""
        log_probs = None if self.proposals is None else self.proposals.log_probs
        return [] if log_probs is None else _top_actions(log_probs[row], self.names.choices)


class Readings:
    """The part of a `BatchRuntime` that is read by the ids of agents: its last decision, and switches of options."""

    names: StepNames
    """What the codes of its decisions mean."""
    option_ticks: NDArray[np.int64]
    """[A]; ticks for which each action is held."""
    decided: Decided | None
    """The last decision; None before the first."""
    _observed: Observed | None
    _switches: OptionSwitches

    def latest_policy_snapshot(self, *, world: int = 0) -> dict[str, AgentSnapshot]:
        """Return the policy's probabilities and values at the last decision, by agent id; empty before the first."""
        if self.decided is None:
            return {}
        return self.decided.snapshots(world, self.names)

    def latest_decisions(self, *, world: int = 0) -> dict[str, StepExplanation]:
        """Explain the last decision of every agent of a world, by agent id; empty before the first."""
        if self.decided is None:
            return {}
        return explain_decided(self.decided, self.names, world=world, option_ticks=self.option_ticks)

    def consume_option_switch_counts(self, *, world: int = 0) -> dict[str, int]:
        """Changes from one non-wait kind directly to another since the last call, by agent id, where there are any."""
        if self._observed is None:
            return {}
        rows = self._observed.worlds == world
        counts = self._switches.take(self._observed.slots[rows]).tolist()
        return {one: count for one, count in zip(self._observed.agent_ids[rows], counts, strict=True) if count}


def _top_actions(log_probs: NDArray[np.float32], keys: tuple[str, ...]) -> list[ActionProbability]:
    order = np.argsort(-log_probs, kind="stable")[:TOP_ACTIONS]
    return [ActionProbability(action=keys[index], probability=float(np.exp(log_probs[index]))) for index in order]


def _action_text(names: StepNames, action: NDArray[Any] | np.int64) -> str:
    if isinstance(names.actions, MultiDiscrete):
        return text_of_parts(names.actions, np.asarray(action))
    if isinstance(names.actions, Box):
        return text_of_numbers(names.actions, np.asarray(action))
    return names.vocabulary[int(action)]


class OptionSwitches:
    """Changes from one non-wait kind directly to another, by slot; a wait in between breaks the chain."""

    def __init__(self, vocabulary: ActionVocabulary, *, capacity: int) -> None:
        kinds = sorted(set(vocabulary.kinds))
        resting = kinds.index(vocabulary.kinds[vocabulary.wait]) if kinds else 0
        self._counts_none = len(kinds) < 2  # nothing to switch between; array actions are no options at all
        codes = np.arange(len(kinds))
        self._kind_of = np.array([kinds.index(kind) for kind in vocabulary.kinds], np.int64)
        self._resting = resting
        self._is_switch = (codes[:, None] != codes) & (codes[:, None] != resting) & (codes != resting)
        self._last = np.full(capacity, resting, np.int64)
        self._counts = np.zeros(capacity, np.int64)

    def note(self, slots: NDArray[np.int64], actions: ActionArray) -> None:
        """The agents in `slots` [N] carry out `actions` [N]."""
        if self._counts_none:
            return
        kinds = self._kind_of.take(actions)
        switched = self._is_switch[self._last.take(slots), kinds]
        if np.count_nonzero(switched):
            self._counts[slots] += switched
        self._last[slots] = kinds

    def take(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Switches of the agents in `slots` [N] since the last call; their counts begin again at 0."""
        counts = self._counts[slots]
        self._counts[slots] = 0
        return counts

    def forget(self, slots: NDArray[np.int64]) -> None:
        """The agents in `slots` have left."""
        self._last[slots] = self._resting
        self._counts[slots] = 0

    def save_state(self) -> SavedState:
        """Last kinds and counts, by slot."""
        return {"last": self._last.copy(), "counts": self._counts.copy()}

    def restore(self, state: SavedState) -> None:
        """Restore last kinds and counts.

        Raises:
            SimulationError: if it is of another number of slots, or of other kinds.
        """
        last, counts = (saved_array(state, key, dtype=np.int64, shape=self._last.shape) for key in ("last", "counts"))
        if last.min() < 0 or last.max() >= max(len(self._is_switch), 1):
            raise SimulationError(f"expected kinds below {len(self._is_switch)} in the saved state, got {last}")
        self._last, self._counts = last, counts


def log_tick_health(*, tick: int, duration_ms: float, queue: int, dropped: int) -> None:
    """Log the health line of a tick at level INFO.

    The last three numbers belong to machinery that this runtime does not have; readers of the line expect them.

    Args:
        tick: just done, from 1.
        duration_ms: of deciding and stepping.
        queue: recorded rows that nobody has collected yet.
        dropped: recorded rows dropped so far because nobody collected them in time.
    """
    log.info(
        "tick_health tick=%d duration_ms=%.3f queue=%d dropped=%d"
        " perturbations_pending=0 perturbations_active=0 exit_queue=0",
        tick,
        duration_ms,
        queue,
        dropped,
    )
