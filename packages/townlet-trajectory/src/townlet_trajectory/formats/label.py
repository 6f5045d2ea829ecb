"""Labels given to the episodes of a dataset that lies on disk, of any format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.schema import EpisodeLabel
from townlet_trajectory.data.table import TrajectoryTable, whole_of_piece
from townlet_trajectory.dataset.filter import TrajectoryFilter
from townlet_trajectory.dataset.labelled import Relabelled
from townlet_trajectory.dataset.source import BatchSource, TrajectorySource
from townlet_trajectory.errors import DatasetError
from townlet_trajectory.formats.batch_file import load_batch, save_batch
from townlet_trajectory.formats.open import format_of
from townlet_trajectory.storage.folders import local_path
from townlet_trajectory.storage.urls import Url

IN_PLACE = ("npz", "shards")
"""Formats whose labels can be changed where they are; of others a new dataset is written."""


@dataclass(frozen=True, kw_only=True)
class LabelResult:
    """Counts of trajectories; pieces of one count once."""

    total: int
    labelled: int


def label_dataset(path: str | Path | Url, label: EpisodeLabel, condition: TrajectoryFilter) -> LabelResult:
    """Label the trajectories that meet a condition, in place: a file of one batch, or the manifest of shards.

    Args:
        path: of a dataset of one of the formats `IN_PLACE`.
        label: in place of what was said before; `NONE` takes it back.
        condition: pieces of one trajectory are judged whole.

    Raises:
        DatasetError: if it is of another format: `labelled_source` shows it with other labels, to be written anew.
        ArtifactError: if it is none, missing or damaged, another writer holds it, or it cannot be written.
    """
    path = local_path(path, "labels are changed in place on this machine: write the dataset anew with them")
    found = format_of(path)
    if found == "npz":
        batch = load_batch(path)
        source, result = labelled_source(BatchSource(batch), label, condition)
        save_batch(path, replace(batch, episode_labels=source.table.episode_labels))
        return result
    if found != "shards":
        raise DatasetError(
            f"{path}: labels are changed in place in {' and '.join(IN_PLACE)}, and this is of the form `{found}`: "
            "write it anew with them"
        )
    from townlet_trajectory.formats.shards.writer import label_shards  # needs an extra

    return _result(*label_shards(path, label, condition.kept))


def labelled_source(
    source: TrajectorySource, label: EpisodeLabel, condition: TrajectoryFilter
) -> tuple[Relabelled, LabelResult]:
    """Show a source with `label` for the trajectories that meet a condition, and count them; nothing is written.

    Args:
        source: what to read.
        label: in place of what was said before.
        condition: pieces of one trajectory are judged whole.

    Raises:
        SchemaError: if the condition is about a column that the source has not.
        ArtifactError: if something cannot be read.
    """
    chosen = condition.kept(source)
    labels = np.where(chosen, np.int8(label), source.table.episode_labels)
    return Relabelled(source, labels), _result(source.table, chosen)


def _result(table: TrajectoryTable, chosen: NDArray[np.bool_]) -> LabelResult:
    wholes = whole_of_piece(table)
    return LabelResult(total=len(np.unique(wholes)), labelled=len(np.unique(wholes[chosen])))
