"""Classic capture directories: samples of trajectories, a manifest and metrics, written and read."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.trajectory import Trajectory
from townlet_trajectory.dataset.info import DatasetInfo, document_digest
from townlet_trajectory.errors import CaptureError, SchemaError
from townlet_trajectory.formats.captures.manifest import (
    read_capture_manifest,
    sample_digest,
    verify_digest,
)
from townlet_trajectory.formats.captures.sample import CaptureLayout, ReplaySample, encode_sample
from townlet_trajectory.storage.files import DirectoryLock, make_directory, write_bytes_atomic, write_json_atomic
from townlet_trajectory.storage.json import MAX_JSON_BYTES, Fields, JsonValue, parse_object
from townlet_trajectory.storage.paths import escaped, read_named, relative_parts

DEFAULT_PREFIX = "rollout_sample"

MAX_CAPTURE_BYTES = 2 << 30
"""Arrays of all samples that are read at once; `CaptureSource` reads one sample at a time, however many there are."""


class UnnamedActionsWarning(UserWarning):
    """A capture does not say what its action ids mean."""


@dataclass(frozen=True, kw_only=True)
class CaptureInfo:
    """Where a capture comes from: `metadata` of its manifest."""

    config_path: str | None
    config_id: str | None
    scenario_name: str | None
    scenario_description: str | None
    ticks: int
    seed: int | None
    policy_hash: str | None
    capture_timestamp: str
    """ISO 8601."""

    def document(self) -> dict[str, JsonValue]:
        """As it is written."""
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True, eq=False)
class Capture:
    """The samples that a manifest lists."""

    metadata: Mapping[str, JsonValue]
    """Empty where the manifest has none."""
    samples: tuple[ReplaySample, ...]
    """In the order of the manifest, without those that are marked `accepted: false`."""

    def batch(self) -> TrajectoryBatch:
        """The trajectories, as they were recorded. Raises `CaptureError` if a sample was not written by this package
        and lacks what a trajectory needs."""
        trajectories = []
        for sample in self.samples:
            if sample.trajectory is None:
                raise CaptureError(sample.path, "restore", "a classic sample has no final observation and no `kind`")
            trajectories.append(sample.trajectory)
        return TrajectoryBatch.from_trajectories(trajectories)


def write_captures(
    directory: str | Path,
    batch: TrajectoryBatch,
    *,
    final_values: NDArray[np.float32],
    layout: CaptureLayout,
    info: CaptureInfo,
    prefix: str = DEFAULT_PREFIX,
    descriptions: Sequence[Mapping[str, JsonValue]] = (),
) -> Path:
    """Write one sample per trajectory, their metrics and, last, the manifest.

    Samples are named `PREFIX_AGENT_NNN`, NNN counting from 001 in the order in which the trajectories begin. Files of
    the same names are replaced; until the manifest is, reading it fails, because it holds the digests of the samples.

    Args:
        directory: created where missing.
        batch: the trajectories.
        final_values: [B]; V of each final observation (0 is written after a true end).
        layout: names of features, channels and actions.
        info: where the capture comes from.
        prefix: a plain file name.
        descriptions: [B]; keys of the world's own for the description of each sample. Empty: none.

    Returns:
        The manifest's path.

    Raises:
        ArtifactError: if another writer holds the directory or it cannot be written.
        CaptureError: if the batch has no classic form.
    """
    directory, size = Path(directory), len(batch)
    if len(relative_parts(prefix, directory)) != 1:
        raise CaptureError(directory, "path", f"`prefix` must be a plain file name, got {prefix!r}")
    for name, shape in (("final_values", final_values.shape), ("descriptions", (len(descriptions) or size,))):
        if shape != (size,):
            raise CaptureError(directory, "encode", f"`{name}` must be [{size}], got {shape}")
    make_directory(directory)
    with DirectoryLock(directory):
        entries: list[JsonValue] = []
        metrics: dict[str, JsonValue] = {}
        begin_order = np.argsort(batch.ticks[batch.offsets[:-1]], kind="stable")
        for number, index in enumerate(begin_order.tolist(), start=1):
            trajectory, final_value = batch.trajectory(index), float(final_values[index])
            stem = directory / f"{prefix}_{escaped(trajectory.agent_id)}_{number:03d}"
            own = descriptions[index] if descriptions else {}
            entry, metrics[f"{stem.name}.npz"] = _write_sample(trajectory, final_value, layout, info, own, stem)
            entries.append(entry)
        _write_signed(directory / f"{prefix}_metrics.json", {"metadata": info.document(), "samples": metrics})
        manifest = directory / f"{prefix}_manifest.json"
        _write_signed(manifest, {"metadata": info.document(), "samples": entries})
    return manifest


def read_captures(manifest: str | Path, *, data_root: str | Path = ".") -> Capture:
    """Read the accepted samples of a manifest: a JSON list, or a JSON or YAML mapping, YAML or JSON by its name.

    Files that are not below its own folder are looked for in `data_root`. Raises `ArtifactError` if a file is missing,
    damaged, or below neither; `CaptureError` if parts contradict, or there is more than `MAX_CAPTURE_BYTES`;
    `MissingExtraError` for YAML, where the extra `yaml` is not installed.
    """
    listed = read_capture_manifest(manifest, data_root=data_root)
    samples: list[ReplaySample] = []
    num_bytes = 0
    for entry in listed.accepted:
        samples.append(entry.load())
        num_bytes += sum(array.nbytes for array in samples[-1].arrays().values())
        if num_bytes > MAX_CAPTURE_BYTES:
            message = f"at most {MAX_CAPTURE_BYTES} bytes of samples are read at once, got {num_bytes}"
            raise CaptureError(entry.where, "read", message)
    if unnamed := [sample for sample in samples if not sample.names_all_actions]:
        message = f"{listed.path}: {len(unnamed)} of {len(samples)} samples do not say what their action ids mean"
        warnings.warn(f"{message}; they are called action_0, action_1, ...", UnnamedActionsWarning, stacklevel=2)
    return Capture(metadata=listed.metadata, samples=tuple(samples))


def read_metrics(path: str | Path) -> dict[str, dict[str, float | None]]:
    """The metrics of each sample from a metrics file, with or without metadata. Raises `ArtifactError` if the file is
    damaged or has another form."""
    document = parse_object(read_named(path, max_bytes=MAX_JSON_BYTES), path)
    samples = document
    if "samples" in document:
        verify_digest(document, Path(path), ours=True)
        samples = Fields(document, path).object("samples")
    metrics: dict[str, dict[str, float | None]] = {}
    for sample in samples:
        metrics[sample] = {}
        for name, value in Fields(samples, path).object(sample).items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
                raise CaptureError(
                    f"{path}: {sample}", "parse", f"`{name}` must be a number or null, got {value!r:.80}"
                )
            metrics[sample][name] = value
    return metrics


def _write_signed(path: Path, document: dict[str, JsonValue]) -> None:
    write_json_atomic(path, {**document, "sha256": document_digest(document)})


def _write_sample(
    trajectory: Trajectory,
    final_value: float,
    layout: CaptureLayout,
    info: CaptureInfo,
    own: Mapping[str, JsonValue],
    stem: Path,
) -> tuple[dict[str, JsonValue], dict[str, JsonValue]]:
    """Write the two files `stem`.npz and .json; return the manifest's entry and the metrics."""
    npz_path, meta_path = stem.with_name(f"{stem.name}.npz"), stem.with_name(f"{stem.name}.json")
    npz, description, metrics = encode_sample(
        trajectory, final_value=final_value, layout=layout, info=info.document(), own=own, npz_path=npz_path
    )
    write_bytes_atomic(npz_path, npz)
    write_bytes_atomic(meta_path, description)
    entry: dict[str, JsonValue] = {
        "sample": npz_path.name,
        "meta": meta_path.name,
        "agent_id": trajectory.agent_id,
        "frame_count": len(trajectory),
        "sha256": sample_digest(npz, description),
    }
    return entry, dict(metrics)


NOTE = "capture"
"""Key of `DatasetInfo.notes` that holds it."""


@dataclass(frozen=True, kw_only=True)
class CaptureForm:
    """Names and metadata that `write_captures` needs beside a batch."""

    layout: CaptureLayout
    info: CaptureInfo
    prefix: str = DEFAULT_PREFIX
    final_values: Callable[[TrajectoryBatch], NDArray[np.float32]] | None = None
    """[B] of a batch: V of each final observation. None: every trajectory must have terminated, where it is 0."""

    def write(self, directory: str | Path, batch: TrajectoryBatch) -> Path:
        """Write the batch as a capture. Raises `CaptureError` if the batch has no classic form, or values of final
        observations are not known; `ArtifactError` if it cannot be written."""
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


def info_of_captures(path: str | Path, *, data_root: str | Path = ".", tags: tuple[str, ...] = ()) -> DatasetInfo:
    """Collect what the manifest and the first sample of a capture say, for a dataset of another format.

    Args:
        path: the manifest.
        data_root: as `read_capture_manifest`.
        tags: of the dataset.

    Returns:
        The info, with a note from which `form_of` makes a capture again.

    Raises:
        ArtifactError: as `read_capture_manifest`, or if there is no sample.
    """
    manifest = read_capture_manifest(path, data_root=data_root)
    if not manifest.accepted:
        raise CaptureError(path, "parse", "there is no accepted sample")
    sample = manifest.accepted[0].load()
    seed, channels = manifest.metadata.get("seed"), sample.metadata.get("map_channels")
    note: dict[str, JsonValue] = {
        "feature_names": [*sample.feature_names],
        "map_channels": channels if isinstance(channels, list) else [],
        "action_texts": [*sample.vocabulary],
        "metadata": dict(manifest.metadata),
    }
    try:
        return DatasetInfo(tags=tags, seeds={"seed": seed} if type(seed) is int else {}, notes={NOTE: note})
    except SchemaError as error:
        raise CaptureError(path, "parse", str(error)) from error


def named_features(origin: DatasetInfo) -> tuple[str, ...]:
    """The names of the features that `info_of_captures` kept, or a recorder in a note `feature_names`; none where there
    are none."""
    note = origin.notes.get(NOTE)
    names = (note if isinstance(note, dict) else origin.notes).get("feature_names")
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def form_of(origin: DatasetInfo, path: str | Path) -> CaptureForm:
    """The form that `info_of_captures` kept; `CaptureError` if there is none, or it lacks what a capture must say."""
    if NOTE not in origin.notes:
        raise CaptureError(path, "encode", f"names of features, channels and actions are not known: no note {NOTE!r}")
    fields = Fields(origin.notes, path).inside(NOTE)
    metadata = fields.object("metadata")
    said = Fields(metadata, path)
    texts = ("config_path", "config_id", "scenario_name", "scenario_description", "policy_hash")
    info = CaptureInfo(
        **{name: None if metadata.get(name) is None else said.text(name) for name in texts},
        ticks=said.integer("ticks"),
        seed=None if metadata.get("seed") is None else said.integer("seed"),
        capture_timestamp=said.text("capture_timestamp"),
    )
    return CaptureForm(
        layout=CaptureLayout(
            feature_names=fields.texts("feature_names"),
            map_channels=fields.texts("map_channels"),
            action_texts=fields.texts("action_texts"),
        ),
        info=info,
    )
