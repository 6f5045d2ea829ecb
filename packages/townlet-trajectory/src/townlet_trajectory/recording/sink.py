"""Where a recorder hands over what it cannot keep."""

from __future__ import annotations

from typing import Protocol

from townlet_trajectory.data.batch import TrajectoryBatch


class BatchSink(Protocol):
    """Takes batches one after the other, in the order recorded; writers of datasets are sinks."""

    def write(self, batch: TrajectoryBatch) -> None:
        """Take `batch` over. When this raises, nothing of it counts as taken, and it is offered again."""
