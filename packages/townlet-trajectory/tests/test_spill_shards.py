"""A recorder that spills into shards: what was recorded is on disk, however little fits into memory."""

from pathlib import Path

import numpy as np
from strategies import SCHEMA, assert_same_batch, record_lives

from townlet_trajectory import TrajectoryService
from townlet_trajectory.data.pieces import joined
from townlet_trajectory.formats.shards.reader import read_shards
from townlet_trajectory.formats.shards.writer import ShardWriter


def test_recording_into_shards(tmp_path: Path) -> None:
    whole = TrajectoryService(SCHEMA, max_rows=1000)
    record_lives(whole, 60, 7)
    expected = whole.collect()
    with ShardWriter(tmp_path / "data", SCHEMA, rows_per_shard=20) as writer:
        service = TrajectoryService(SCHEMA, max_rows=17, on_full="spill", spill=writer)
        record_lives(service, 60, 7)
        service.spill()
    assert writer.manifest.num_steps == service.spilled_rows == expected.num_steps
    assert len(writer.manifest.shards) > 2
    actual = joined(read_shards(tmp_path / "data"))
    by_beginning = (actual.ticks[actual.offsets[:-1]], actual.agent_ids.astype(str), actual.worlds)
    assert_same_batch(actual.select(np.lexsort(by_beginning)), expected)
