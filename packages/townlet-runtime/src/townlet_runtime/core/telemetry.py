"""Readings of a runtime for people and dashboards: snapshots of its last decision, and one log line a tick."""

from __future__ import annotations

import logging
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import DecisionBatch
from townlet_runtime.simulation.interface import Observed

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
    """Key of the executed action."""
    log_prob: float
    """Of the chosen action under the policy; 0.0 on steps that the policy did not decide."""
    value_pred: float
    top_actions: list[ActionProbability]
    """At most five, most probable first; empty without a policy."""


class Decided(NamedTuple):
    """The last decision, kept for snapshots."""

    observed: Observed
    decisions: DecisionBatch
    log_probs: NDArray[np.float32] | None
    """[N, A] of the policy, None without one."""
    tick: int

    def snapshots(self, world: int, keys: tuple[str, ...]) -> dict[str, AgentSnapshot]:
        """The snapshots of the agents of a world, by agent id; `keys` are those of the vocabulary."""
        observed, decisions, log_probs, tick = self
        rows = np.flatnonzero(observed.worlds == world)
        return snapshot_of(rows, observed.agent_ids, decisions, log_probs, keys=keys, tick=tick)


def snapshot_of(
    rows: NDArray[np.int64],
    agent_ids: NDArray[np.object_],
    decisions: DecisionBatch,
    log_probs: NDArray[np.float32] | None,
    *,
    keys: tuple[str, ...],
    tick: int,
) -> dict[str, AgentSnapshot]:
    """The snapshots of `rows` by agent id.

    Args:
        rows: [M]; which rows of the batch, the agents of one world.
        agent_ids: [N].
        decisions: columns [N].
        log_probs: [N, A] of the policy, None without one.
        keys: the vocabulary.
        tick: of the decision.
    """
    return {
        str(agent_ids[row]): AgentSnapshot(
            tick=tick,
            selected_action=keys[decisions.action[row]],
            log_prob=float(decisions.policy_log_prob[row]),
            value_pred=float(decisions.value[row]),
            top_actions=[] if log_probs is None else _top_actions(log_probs[row], keys),
        )
        for row in rows.tolist()
    }


def _top_actions(log_probs: NDArray[np.float32], keys: tuple[str, ...]) -> list[ActionProbability]:
    order = np.argsort(-log_probs, kind="stable")[:TOP_ACTIONS]
    return [ActionProbability(action=keys[index], probability=float(np.exp(log_probs[index]))) for index in order]


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
