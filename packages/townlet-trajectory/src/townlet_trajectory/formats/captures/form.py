"""What a capture says beside its trajectories, kept with other formats so that they can become a capture again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.errors import CaptureError, SchemaError
from townlet_trajectory.formats.captures.directory import DEFAULT_PREFIX, CaptureInfo, write_captures
from townlet_trajectory.formats.captures.manifest import CaptureManifest, read_capture_manifest
from townlet_trajectory.formats.captures.replay_sample import ReplaySample
from townlet_trajectory.formats.captures.sample import CaptureLayout
from townlet_trajectory.storage.json import Fields, JsonValue

NOTE = "capture"
"""Key of `DatasetInfo.notes` that holds it."""


@dataclass(frozen=True, kw_only=True)
class CaptureForm:
    """What `write_captures` needs to know beside a batch."""

    layout: CaptureLayout
    info: CaptureInfo
    prefix: str = DEFAULT_PREFIX
    final_values: Callable[[TrajectoryBatch], NDArray[np.float32]] | None = None
    """[B] of a batch: V of each final observation. None: every trajectory must have terminated, where it is 0."""

    def write(self, directory: str | Path, batch: TrajectoryBatch) -> Path:
        """Write the batch as a capture.

        Raises:
            CaptureError: if the batch has no classic form, or values of final observations are not known.
            ArtifactError: if it cannot be written.
        """
        if self.final_values is not None:
            values = self.final_values(batch)
        elif batch.terminated.all():
            values = np.zeros(len(batch), np.float32)
        else:
            going = np.count_nonzero(~batch.terminated)
            raise CaptureError(
                directory,
                "encode",
                f"{going} of {len(batch)} trajectories have not terminated: the last of `value_preds`, the value of "
                "the final observation, is not recorded; give `final_values`",
            )
        return write_captures(
            directory, batch, final_values=values, layout=self.layout, info=self.info, prefix=self.prefix
        )


def info_of_captures(
    path: str | Path, *, data_root: str | Path | None = None, tags: tuple[str, ...] = ()
) -> DatasetInfo:
    """What the manifest and the first sample of a capture say, for a dataset of another format.

    Args:
        path: the manifest.
        data_root: as `read_capture_manifest`.
        tags: of the dataset.

    Raises:
        ArtifactError: as `read_capture_manifest`, or if there is no sample.
    """
    manifest = read_capture_manifest(path, data_root=data_root)
    if not manifest.accepted:
        raise CaptureError(path, "parse", "there is no accepted sample")
    sample = manifest.accepted[0].load()
    seed = manifest.metadata.get("seed")
    try:
        return DatasetInfo(
            tags=tags,
            seeds={"seed": seed} if type(seed) is int else {},
            notes={NOTE: _document(manifest, sample)},
        )
    except SchemaError as error:
        raise CaptureError(path, "parse", str(error)) from error


def form_of(info: DatasetInfo, path: str | Path) -> CaptureForm:
    """The form that `info_of_captures` kept.

    Raises:
        CaptureError: if there is none, or it lacks what a capture must say.
    """
    if NOTE not in info.notes:
        raise CaptureError(path, "encode", f"names of features, channels and actions are not known: no note {NOTE!r}")
    fields = Fields(info.notes, path).inside(NOTE)
    return CaptureForm(
        layout=CaptureLayout(
            feature_names=fields.texts("feature_names"),
            map_channels=fields.texts("map_channels"),
            action_texts=fields.texts("action_texts"),
        ),
        info=_capture_info(fields.object("metadata"), path),
    )


def _capture_info(metadata: Mapping[str, JsonValue], path: str | Path) -> CaptureInfo:
    fields = Fields(metadata, path)

    def text(name: str) -> str | None:
        return None if metadata.get(name) is None else fields.text(name)

    return CaptureInfo(
        config_path=text("config_path"),
        config_id=text("config_id"),
        scenario_name=text("scenario_name"),
        scenario_description=text("scenario_description"),
        ticks=fields.integer("ticks"),
        seed=None if metadata.get("seed") is None else fields.integer("seed"),
        policy_hash=text("policy_hash"),
        capture_timestamp=fields.text("capture_timestamp"),
    )


def _document(manifest: CaptureManifest, sample: ReplaySample) -> dict[str, JsonValue]:
    channels = sample.metadata.get("map_channels")
    return {
        "feature_names": [*sample.feature_names],
        "map_channels": channels if isinstance(channels, list) else [],
        "action_texts": [*sample.vocabulary],
        "metadata": dict(manifest.metadata),
    }
