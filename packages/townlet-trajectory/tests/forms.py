"""The same trajectories in each of the forms that a record has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from strategies import FEATURE_NAMES, VOCABULARY

from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.dataset.source import TrajectorySource
from townlet_trajectory.formats.batch_file import save_batch
from townlet_trajectory.formats.captures.directory import CaptureForm, CaptureInfo
from townlet_trajectory.formats.captures.sample import CaptureLayout
from townlet_trajectory.formats.open import FORMATS, open_dataset

FORM = CaptureForm(
    layout=CaptureLayout(feature_names=FEATURE_NAMES, map_channels=("self", "agents"), action_texts=VOCABULARY),
    info=CaptureInfo(
        config_path=None,
        config_id=None,
        scenario_name=None,
        scenario_description=None,
        ticks=9,
        seed=1,
        policy_hash=None,
        capture_timestamp="2026-01-01T00:00:00Z",
    ),
    final_values=lambda batch: np.zeros(len(batch), np.float32),
)


def write_form(name: str, batch: TrajectoryBatch, folder: Path, *, rows_per_shard: int = 5) -> Path:
    """Write `batch` as it is; shards cut what is longer than one."""
    path = folder / {"captures": "capture", "npz": "batch.npz", "shards": "shards", "minari": "town-v0"}[name]
    if name == "captures":
        FORM.write(path, batch)
    elif name == "npz":
        save_batch(path, batch)
    elif name == "shards":
        from townlet_trajectory.formats.shards.writer import write_shards  # needs an extra, as the next one does

        write_shards(path, batch, rows_per_shard=rows_per_shard)
    else:
        from townlet_trajectory.formats.minari.writer import to_minari

        to_minari(batch, path.name, root=folder)
    return path


@contextmanager
def in_all_forms(batch: TrajectoryBatch, folder: Path, **options: int) -> Iterator[dict[str, TrajectorySource]]:
    """`batch` as it is read from each form."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(open_dataset(write_form(name, batch, folder, **options))).source
            for name in FORMATS
        }
