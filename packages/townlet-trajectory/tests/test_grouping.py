"""Grouping many trajectories keeps the order of their rows."""

import numpy as np
import pytest

from townlet_trajectory import ArraySpec, TrajectorySchema, TrajectoryService

SCHEMA = TrajectorySchema(
    observations={"x": ArraySpec("float32")}, decisions={"action": ArraySpec("int64")}, vocabulary=()
)


@pytest.mark.parametrize("num_agents", [7, (1 << 16) + 3])
def test_rows_of_every_agent_in_order(num_agents: int) -> None:
    service = TrajectoryService(SCHEMA, max_rows=2 * num_agents)
    slots = np.arange(num_agents)
    ids = np.full(num_agents, "agent", object)
    nobody = np.zeros(num_agents, bool)
    for tick in range(2):
        service.begin_tick(
            tick,
            slots,
            {"x": (slots + tick / 2).astype(np.float32)},
            agent_ids=ids,
            worlds=np.zeros(num_agents, np.int64),
            episodes=np.zeros(num_agents, np.int64),
        )
        service.record_decisions({"action": 2 * slots + tick})
        ended = ~nobody if tick else nobody
        service.record_outcome(
            np.zeros(num_agents, np.float32),
            ended,
            nobody,
            final_rows=np.flatnonzero(ended),
            final_observations={"x": -slots[ended].astype(np.float32)},
        )
    batch = service.collect()
    np.testing.assert_array_equal(batch.columns["action"], np.arange(2 * num_agents))
    np.testing.assert_array_equal(batch.final_observations["x"], -slots)
    np.testing.assert_array_equal(batch.ticks, np.tile([0, 1], num_agents))
