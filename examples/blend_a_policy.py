"""Let a policy take over a script by degrees, with townlet-behavior alone (needs numpy only).

A hundred walkers stand on a line. The script walks right; a "policy", here a table of probabilities, would rather wait.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary, BehaviorBridge, BridgeConfig, Proposals, StatelessController, View
from townlet_behavior.testing import PlainView, plain_view

NUM_WALKERS = 100
VOCABULARY = ActionVocabulary(keys=("wait", "left", "right"), kinds=("wait", "move", "move"))
PROBABILITIES = np.array([0.6, 0.2, 0.2])


class WalkRight(StatelessController):
    """The script."""

    def propose(self, view: View) -> NDArray[np.int64]:
        return np.full(len(view.slots), VOCABULARY.index("right"), np.int64)


def policy(view: PlainView, rng: np.random.Generator) -> Proposals:
    """One forward pass for everybody: an action for each walker, the log-probabilities of all, and a value."""
    count = len(view.slots)
    return Proposals(
        actions=rng.choice(len(VOCABULARY), size=count, p=PROBABILITIES),
        log_probs=np.tile(np.log(PROBABILITIES).astype(np.float32), (count, 1)),
        values=np.zeros(count, np.float32),
    )


def main() -> None:
    rng = np.random.default_rng(0)
    view = plain_view([f"walker_{number}" for number in range(NUM_WALKERS)])
    bridge = BehaviorBridge(VOCABULARY, WalkRight(), capacity=NUM_WALKERS, config=BridgeConfig(), seed=1)
    for tick in range(50):
        bridge.ratio = tick / 49  # from the script alone to the policy alone
        decisions = bridge.decide(view, tick=tick, proposals=policy(view, rng))
        if tick % 7 == 0:
            moved = np.bincount(decisions.action, minlength=len(VOCABULARY)) / NUM_WALKERS
            # How likely what was done was, script and policy together: what a learner needs to correct for the blend.
            likelihood = np.exp(decisions.behavior_log_prob).mean()
            print(f"ratio {bridge.ratio:.2f}: wait, left, right {moved}; mean probability {likelihood:.2f}")
    print(bridge.take_counts())


if __name__ == "__main__":
    main()
