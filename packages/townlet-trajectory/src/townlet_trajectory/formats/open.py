"""Which of the formats a path is, and any of them opened as a source."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.dataset.source import BatchSource, TrajectorySource
from townlet_trajectory.errors import ArtifactError, system_errors
from townlet_trajectory.formats.batch_file import load_batch
from townlet_trajectory.formats.captures.directory import info_of_captures
from townlet_trajectory.formats.captures.manifest import YAML_SUFFIXES
from townlet_trajectory.formats.captures.source import CaptureSource
from townlet_trajectory.storage.manifest import MANIFEST_NAME

Format = Literal["captures", "npz", "shards", "minari"]
FORMATS: tuple[Format, ...] = get_args(Format)

_MINARI_METADATA = Path("data", "metadata.json")
_CAPTURE_MANIFESTS = tuple(f"_manifest{suffix}" for suffix in (".json", *YAML_SUFFIXES))


@dataclass(frozen=True, kw_only=True)
class OpenDataset:
    """Trajectories of whatever format, open for reading."""

    source: TrajectorySource
    info: DatasetInfo
    """Where they came from, as far as the format says."""


def format_of(path: str | Path) -> Format:
    """What is at `path`: a file `*.npz` (a whole batch) or a capture's manifest (`*.json`, `*.yaml`, `*.yml`), or a
    directory of shards, of a dataset of Minari, or of one capture. Raises `ArtifactError` if it is none of these."""
    path = Path(path)
    if path.is_file():
        suffix = path.suffix.lower()
        if suffix == ".npz":
            return "npz"
        if suffix in (".json", *YAML_SUFFIXES):
            return "captures"
    elif (path / _MINARI_METADATA).is_file():
        return "minari"
    elif (path / MANIFEST_NAME).is_file():
        return "shards"
    elif path.is_dir() and _manifests_in(path):
        return "captures"
    raise ArtifactError(
        path,
        "open",
        f"expected a batch (*.npz), a capture's manifest (*.json, *.yaml), or a directory with {MANIFEST_NAME}, "
        f"{_MINARI_METADATA} or *{_CAPTURE_MANIFESTS[0]}",
    )


@contextmanager
def open_dataset(path: str | Path, *, data_root: str | Path | None = None) -> Iterator[OpenDataset]:
    """Open trajectories of any format (`format_of`); they can be read until the block ends.

    Samples that are not below a capture's manifest are looked for in `data_root`. Raises `ArtifactError` if it is none
    of the formats, missing or damaged; `MissingExtraError` if the format needs an extra that is not installed.
    """
    path = Path(path)
    match format_of(path):
        case "npz":
            yield OpenDataset(source=BatchSource(load_batch(path)), info=DatasetInfo())
        case "captures":
            manifest = path
            if path.is_dir():
                if len(names := _manifests_in(path)) != 1:
                    raise ArtifactError(
                        path, "open", f"a folder of several captures: name the manifest, one of {names}"
                    )
                manifest = path / names[0]
            captures = CaptureSource(manifest, data_root=data_root)
            shared = frozenset.intersection(*captures.table.tags) if captures.table.tags else frozenset()
            info = info_of_captures(manifest, data_root=data_root, tags=tuple(sorted(shared)))
            yield OpenDataset(source=captures, info=info)
        case "shards":
            from townlet_trajectory.formats.shards.reader import ShardReader  # needs an extra, as the next one does

            shards = ShardReader(path)
            yield OpenDataset(source=shards, info=shards.manifest.info)
        case "minari":
            from townlet_trajectory.formats.minari.reader import MinariReader

            with MinariReader(path) as episodes:
                yield OpenDataset(source=episodes, info=episodes.info)


def _manifests_in(folder: Path) -> list[str]:
    with system_errors(folder, "open"):
        return sorted(name for name in os.listdir(folder) if name.endswith(_CAPTURE_MANIFESTS))
