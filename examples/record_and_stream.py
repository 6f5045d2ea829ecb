"""Record more than fits into memory, then read it shuffled within a budget, and go on after a break.

pip install 'townlet-trajectory[arrow]'
"""

import tempfile

import numpy as np

from townlet_trajectory import (
    ArraySpec,
    ShardReader,
    ShardWriter,
    TrajectoryDataset,
    TrajectorySchema,
    TrajectoryService,
    position_of,
)

AGENTS, TICKS = 100, 500
SCHEMA = TrajectorySchema(
    observations={"features": ArraySpec("float32", (32,))},
    decisions={"action": ArraySpec("int64")},
    vocabulary=("wait", "eat", "sleep"),
)


def record(writer: ShardWriter) -> None:
    rng, slots = np.random.default_rng(0), np.arange(AGENTS)
    names = np.array([f"agent_{slot}" for slot in slots], object)
    service = TrajectoryService(SCHEMA, max_rows=5_000, on_full="spill", spill=writer)
    for tick in range(TICKS):
        seen = {"features": rng.random((AGENTS, 32), np.float32)}
        service.begin_tick(tick, slots, seen, agent_ids=names, worlds=slots // 10, episodes=slots * 0)
        service.record_decisions({"action": rng.integers(0, 3, AGENTS)})
        over = np.full(AGENTS, tick == TICKS - 1)
        service.record_outcome(
            rng.random(AGENTS, np.float32),
            terminated=over,
            truncated=np.zeros(AGENTS, bool),
            final_rows=np.flatnonzero(over),
            final_observations={"features": np.zeros((over.sum(), 32), np.float32)},
        )
    service.spill()  # what is still in memory


with tempfile.TemporaryDirectory() as folder:
    with ShardWriter(folder, SCHEMA, rows_per_shard=4_000) as writer:
        record(writer)
    shards = ShardReader(folder)
    dataset = TrajectoryDataset(shards, batch_size=256, seed=1, memory_budget_bytes=6_000_000)
    first = next(iter(dataset))
    saved = dataset.position().document()  # JSON
    dataset.seek(position_of(saved))
    rest = sum(len(batch.rewards) for batch in dataset)
    print(f"{len(first.rewards)} steps, then {rest:,} after the break, out of {len(shards.manifest.shards)} shards")
