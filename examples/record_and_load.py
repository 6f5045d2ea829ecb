"""Record what agents do, save it and load it again, with townlet-trajectory alone (needs numpy only)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from townlet_trajectory import ArraySpec, TrajectorySchema, TrajectoryService, default_decision_columns
from townlet_trajectory.formats.captures.directory import CaptureInfo, read_captures, write_captures
from townlet_trajectory.formats.captures.sample import CaptureLayout

FEATURES = ("hunger", "rivalry_max", "rivalry_avoid_count")
ACTIONS = ('{"kind":"wait"}', '{"affordance":"eat","kind":"start","object":"fridge_1"}')
COLUMNS = default_decision_columns()
SCHEMA = TrajectorySchema(
    observations={"map": ArraySpec("float32", (1, 3, 3)), "features": ArraySpec("float32", (len(FEATURES),))},
    decisions=COLUMNS,
    vocabulary=ACTIONS,
)


def observe(agents: int, tick: int) -> dict[str, np.ndarray]:
    features = np.tile(np.array([tick / 10, 0.0, 0.0], np.float32), (agents, 1))
    return {"map": np.zeros((agents, 1, 3, 3), np.float32), "features": features}


def main() -> None:
    service = TrajectoryService(SCHEMA, max_rows=1_000, on_full="drop_oldest")
    slots, ids = np.arange(2), np.array(["ann", "ben"], object)
    for tick in range(10):
        ended = np.array([tick == 9, tick == 9])  # a time limit: truncated, not terminated
        service.begin_tick(
            tick, slots, observe(2, tick), agent_ids=ids, worlds=np.zeros(2, np.int64), episodes=np.zeros(2, np.int64)
        )
        decided = {name: np.zeros((2, *spec.shape), spec.dtype) for name, spec in COLUMNS.items()}
        service.record_decisions(decided | {"action": np.array([0, tick % 2])})
        rewards, rows = np.array([0.0, tick % 2], np.float32), slots[ended]
        service.record_outcome(
            rewards, ended & False, ended, final_rows=rows, final_observations=observe(len(rows), tick + 1)
        )
    batch = service.collect()
    layout = CaptureLayout(feature_names=FEATURES, map_channels=("self",), action_texts=ACTIONS)
    info = CaptureInfo(
        config_path=None, config_id="example", scenario_name=None, scenario_description=None,
        ticks=10, seed=0, policy_hash=None, capture_timestamp="2026-01-01T00:00:00Z",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        manifest = write_captures(folder, batch, final_values=np.zeros(2, np.float32), layout=layout, info=info)
        print("wrote", *sorted(path.name for path in Path(folder).iterdir()))
        loaded = read_captures(manifest).batch()
    assert np.array_equal(loaded.rewards, batch.rewards)
    assert np.array_equal(loaded.final_observations["features"], batch.final_observations["features"])
    print(f"loaded what was recorded: {len(loaded)} trajectories of {loaded.lengths.tolist()} steps")


if __name__ == "__main__":
    main()
