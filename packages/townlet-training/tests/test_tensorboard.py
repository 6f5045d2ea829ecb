"""Event files as TensorBoard itself reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from townlet_training.sinks.tensorboard import FOLDER, TensorBoardSink

accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def test_what_was_written_is_read_and_what_a_broken_run_wrote_later_is_hidden(tmp_path: Path) -> None:
    sink = TensorBoardSink(tmp_path, begun_at=0)
    for step in (100, 200, 300):
        sink.write({"train/loss": step / 100.0}, step=step)
    sink.close()
    # The run was broken off after 300 steps, and its newest checkpoint is of 200.
    sink = TensorBoardSink(tmp_path, begun_at=200)
    sink.write({"train/loss": 30.0, "eval/mean_reward": 1.5}, step=300)
    sink.close()
    shown = accumulators.EventAccumulator(str(tmp_path / FOLDER))
    shown.Reload()
    assert sorted(shown.Tags()["scalars"]) == ["eval/mean_reward", "train/loss"]
    assert [(event.step, event.value) for event in shown.Scalars("train/loss")] == [(100, 1.0), (200, 2.0), (300, 30.0)]
