"""The command `townlet`, whose learner is not told that a script decided: what the correction is worth.

Every decision of the blend is recorded as if the policy had drawn it, so that all importance weights are 1.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from townlet_runtime import Collector, training_worlds
from townlet_runtime.cli import main
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.evaluation.interfaces import Collected


def as_own(batch: TrajectoryBatch) -> TrajectoryBatch:
    """Return `batch` with μ = π."""
    columns = {**batch.columns, "behavior_log_prob": batch.columns["policy_log_prob"]}
    return replace(batch, columns=columns)


class UncorrectedCollector(Collector):
    """Collects what the blend decides as what the policy decided."""

    collections = 0
    """Of all collectors of this process."""

    def collect(self, actors: Mapping[str, Any] | None, **how: Any) -> Collected:
        collected = super().collect(actors, **how)
        UncorrectedCollector.collections += 1
        return replace(collected, batches={group: as_own(each) for group, each in collected.batches.items()})


if __name__ == "__main__":
    training_worlds.Collector = UncorrectedCollector
    code = main(sys.argv[1:])
    if not UncorrectedCollector.collections:
        raise SystemExit("the command collected by another class: this run was corrected")
    sys.exit(code)
