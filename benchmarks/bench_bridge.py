"""What a decision costs beyond the proposals themselves: blend, commitment, guardrails and provenance.

Prints one JSON line per case: microseconds of CPU time per agent and tick, the median of `REPEATS` timings of `TICKS`
ticks each.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import (
    ActionVocabulary,
    BehaviorBridge,
    BridgeConfig,
    CommitmentConfig,
    Proposals,
    StatelessController,
    View,
)
from townlet_behavior.testing import PlainView, plain_view

NUM_ACTIONS = 20
AGENTS = (10, 100, 1000)
TICKS = 500
REPEATS = 9
COMMITMENT_TICKS = 5


class FixedController(StatelessController):
    """Proposes what it was given, so that only the bridge is timed."""

    def __init__(self, actions: NDArray[np.int64]) -> None:
        self._actions = actions

    def propose(self, view: View) -> NDArray[np.int64]:
        """[N]."""
        return self._actions


def make_bridge(script: NDArray[np.int64], *, ratio: float, commitment_ticks: int) -> BehaviorBridge:
    """A bridge over `NUM_ACTIONS` actions, the first of which waits."""
    kinds = ("wait",) + ("work",) * (NUM_ACTIONS - 1)
    vocabulary = ActionVocabulary(keys=tuple(f"action {i}" for i in range(NUM_ACTIONS)), kinds=kinds)
    config = BridgeConfig(ratio=ratio, commitment=CommitmentConfig(ticks=commitment_ticks))
    return BehaviorBridge(vocabulary, FixedController(script), capacity=len(script), config=config, seed=0)


def make_inputs(num_agents: int) -> tuple[PlainView, NDArray[np.int64], Proposals]:
    """A view with an action mask that leaves wait and three in four actions, the script's actions, the policy's."""
    rng = np.random.default_rng(0)
    mask = rng.random((num_agents, NUM_ACTIONS)) < 0.75
    mask[:, 0] = True
    logits = np.where(mask, rng.normal(size=mask.shape), np.finfo(np.float32).min)
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    proposals = Proposals(
        actions=(log_probs + rng.gumbel(size=mask.shape)).argmax(axis=1),
        log_probs=np.maximum(log_probs, np.finfo(np.float32).min).astype(np.float32),
        values=rng.normal(size=num_agents).astype(np.float32),
    )
    view = plain_view([f"agent {i}" for i in range(num_agents)], action_mask=mask)
    return view, np.array([rng.choice(np.flatnonzero(row)) for row in mask], np.int64), proposals


def time_ticks(bridge: BehaviorBridge, view: View, proposals: Proposals | None) -> float:
    """Microseconds of CPU time per tick."""
    timings, tick = [], 0
    for _ in range(REPEATS):
        start = time.process_time()
        for _ in range(TICKS):
            bridge.decide(view, tick=tick, proposals=proposals)
            tick += 1
        timings.append((time.process_time() - start) / TICKS * 1e6)
    return statistics.median(timings)


def measure() -> Iterator[dict[str, str | int | float]]:
    """One record per case and number of agents."""
    for num_agents in AGENTS:
        masked, script, proposals = make_inputs(num_agents)
        bare = plain_view([f"agent {i}" for i in range(num_agents)])
        cases: list[tuple[str, float, int, View, Proposals | None]] = [
            ("scripted", 0.0, 0, bare, None),
            ("scripted, commitments", 0.0, COMMITMENT_TICKS, bare, None),
            ("blend, mask", 0.5, 0, masked, proposals),
            ("blend, mask, commitments", 0.5, COMMITMENT_TICKS, masked, proposals),
        ]
        for case, ratio, commitment_ticks, view, proposed in cases:
            bridge = make_bridge(script, ratio=ratio, commitment_ticks=commitment_ticks)
            us_per_tick = time_ticks(bridge, view, proposed)
            yield {
                "benchmark": "bridge",
                "case": case,
                "agents": num_agents,
                "us_per_tick": round(us_per_tick, 2),
                "us_per_agent_tick": round(us_per_tick / num_agents, 4),
            }


if __name__ == "__main__":
    for record in measure():
        print(json.dumps(record))
