"""Datasets of Minari (Farama Foundation): one directory per agent group, written and read. Needs the extra `minari`.

What we write is loaded by `minari.load_dataset` of Minari 0.5: an episode per trajectory, a `Dict` of the observations,
`Discrete` actions where there is a vocabulary. All decision columns but `action` are in `infos`, row t belonging to
action t; agent, world, episode and first tick are attributes of the episode; schema, vocabulary, seeds and policies are
under `townlet` in `metadata.json`, with the SHA-256 of everything. Minari's episodes end: a trajectory that goes on
elsewhere is shown as truncated there, and the attribute `goes_on` says so.

HDF5 is written and read here; Minari is never imported. It would make an environment out of what a file says, follow
links to other files, and read without limits.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.errors import SchemaError
from townlet_trajectory.formats.minari.reader import MAX_BATCH_BYTES, MinariReader
from townlet_trajectory.formats.minari.writer import MinariCredits, MinariWriter

__all__ = ["MinariCredits", "MinariReader", "MinariWriter", "from_minari", "minari_root", "to_minari"]


def minari_root() -> Path:
    """The folder in which Minari looks for datasets: `MINARI_DATASETS_PATH`, else `~/.minari/datasets`."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")


def to_minari(
    batches: TrajectoryBatch | Iterable[TrajectoryBatch],
    dataset_id: str,
    *,
    root: str | Path | None = None,
    info: DatasetInfo | None = None,
    credits: MinariCredits | None = None,
) -> Path:
    """Write the trajectories of one agent group as a new dataset; one batch at a time is looked at.

    Args:
        batches: at least one; of equal schemas with the decision column `action`.
        dataset_id: `NAME-vN` or `NAMESPACE/NAME-vN`.
        root: the folder of all datasets. None: where Minari looks for them, `minari_root()`.
        info: the group, seeds and policies.
        credits: what else Minari shows.

    Returns:
        The new dataset's directory, `root` / `dataset_id`.

    Raises:
        ArtifactError: if it exists, cannot be written, or the id is not of Minari's form.
        SchemaError: if schemas differ, there is no column `action`, or an action is outside of the vocabulary.
    """
    rest = iter((batches,) if isinstance(batches, TrajectoryBatch) else batches)
    first = next(rest, None)
    if first is None:
        raise SchemaError("at least one batch is needed, to know the schema")
    folder = minari_root() if root is None else root
    with MinariWriter(folder, dataset_id, first.schema, info=info, credits=credits) as writer:
        writer.write(first)
        for batch in rest:
            writer.write(batch)
        return writer.close()


def from_minari(path: str | Path, *, max_bytes: int = MAX_BATCH_BYTES) -> TrajectoryBatch:
    """Everything that a dataset's directory holds, as one batch; `MinariReader` says how, and reads it by blocks.

    Raises:
        ArtifactError: as `MinariReader`, or if the columns would take more than `max_bytes`.
    """
    with MinariReader(path) as reader:
        return reader.load(max_bytes=max_bytes)
