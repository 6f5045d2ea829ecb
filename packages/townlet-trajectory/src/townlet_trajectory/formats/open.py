"""Find the format of a path, and open any of them as a source; installed packages may register formats of their own."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from townlet_trajectory.data.batch import BatchSink
from townlet_trajectory.data.schema import TrajectorySchema
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.dataset.memory import BLOCK_BYTES, step_bytes
from townlet_trajectory.dataset.source import BatchSource, TrajectorySource
from townlet_trajectory.errors import ArtifactError, RegistrationError, system_errors
from townlet_trajectory.formats.batch_file import load_batch
from townlet_trajectory.formats.captures.directory import info_of_captures, named_features
from townlet_trajectory.formats.captures.manifest import YAML_SUFFIXES, is_description
from townlet_trajectory.formats.captures.sample import SECTION
from townlet_trajectory.formats.captures.source import CaptureSource
from townlet_trajectory.formats.shards.parts import PARTS
from townlet_trajectory.storage.entry_points import load_registered, registered_names
from townlet_trajectory.storage.folders import local_path
from townlet_trajectory.storage.json import MAX_JSON_BYTES, JsonValue, parse_json
from townlet_trajectory.storage.manifest import MANIFEST_NAME
from townlet_trajectory.storage.paths import read_named
from townlet_trajectory.storage.urls import Place, Url, named_place

if TYPE_CHECKING:
    from townlet_trajectory.formats.shards.reader import PartsReader, ShardReader

FORMATS = ("captures", "npz", "shards", "minari")
"""The formats of this package."""
GROUP = "townlet.formats"
"""Entry point group in which other packages register a `DatasetFormat` by its name."""

_MAX_NAMED = 8
_MINARI_METADATA = Path("data", "metadata.json")
_CAPTURE_MANIFESTS = tuple(f"_manifest{suffix}" for suffix in (".json", *YAML_SUFFIXES))


@dataclass(frozen=True, kw_only=True)
class OpenDataset:
    """Trajectories of whatever format, open for reading."""

    source: TrajectorySource
    info: DatasetInfo
    """Where they came from, as far as the format says."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns of `features`: of the schema, or as earlier versions kept them; empty: not known."""
        return self.source.schema.feature_names or named_features(self.info)


@runtime_checkable
class DatasetFormat(Protocol):
    """A format of another package, an object that is registered as an entry point in `townlet.formats`."""

    def recognizes(self, path: Path) -> bool:
        """Tell whether `path` is of this format; asked only where it is of none of this package's formats."""
        ...

    def open(self, path: Path) -> AbstractContextManager[OpenDataset]:
        """Open `path` for reading until the block ends."""
        ...

    def sink(self, target: Path, schema: TrajectorySchema, info: DatasetInfo) -> AbstractContextManager[BatchSink]:
        """Open a target for writing, which must be complete when the block ends without an exception.

        Args:
            target: does not exist; its folder does.
            schema: of the batches.
            info: their origin.
        """
        ...


def format_names() -> tuple[str, ...]:
    """Return the names of all formats: those of this package first, then those that other packages registered."""
    return (*FORMATS, *(name for name in registered_names(GROUP) if name not in FORMATS))


def registered_format(name: str) -> DatasetFormat:
    """Load a format that another package registered.

    Raises:
        RegistrationError: if no package did, or it is no `DatasetFormat`.
    """
    found = load_registered(GROUP, name)
    if not isinstance(found, DatasetFormat):
        expected = "a `DatasetFormat` (recognizes, open, sink)"
        raise RegistrationError(GROUP, name, f"expected {expected}, got {'none' if found is None else repr(found)}")
    return found


def format_of(path: str | Path | Url) -> str:
    """Return the format of `path`, of a URL shards.

    It is a file `*.npz` (a whole batch, or a classic sample, whose description lies beside it), a capture's manifest or
    a sample's description (`*.json`, `*.yaml`, `*.yml`), a directory of shards, whole or in parts, of a dataset of
    Minari, of one capture or of samples, or one of another package's format.

    Raises `ArtifactError` if it is none of these."""
    path = named_place(path)
    if isinstance(path, Url):
        return "shards"
    if (found := _form_of_file(path) if path.is_file() else _form_of_folder(path)) is not None:
        return found
    others = format_names()[len(FORMATS) :]
    for name in others:
        if registered_format(name).recognizes(path):
            return name
    raise ArtifactError(
        path,
        "open",
        f"expected a batch (*.npz), a capture's manifest (*.json, *.yaml), a directory with {MANIFEST_NAME}, "
        f"{_MINARI_METADATA}, *{_CAPTURE_MANIFESTS[0]} or samples (*.npz beside *.json)"
        + "".join(f", or a dataset of `{name}`" for name in others),
    )


def _form_of_file(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return "captures" if _is_sample(path) else "npz"
    return "captures" if suffix in (".json", *YAML_SUFFIXES) else None


def _form_of_folder(path: Path) -> str | None:
    if (path / _MINARI_METADATA).is_file():
        return "minari"
    if (path / MANIFEST_NAME).is_file():
        return "shards"
    if path.is_dir() and (_manifests_in(path) or any(map(_is_foreign_sample, _files_in(path, ".npz")))):
        return "captures"
    return "shards" if (path / PARTS).is_dir() else None


@contextmanager
def open_dataset(path: str | Path | Url, *, data_root: str | Path = ".") -> Iterator[OpenDataset]:
    """Open trajectories of any format (`format_of`); they can be read until the block ends.

    A URL is a directory of shards, of one writer or in parts. A text is one if it begins with `SCHEME://`; what came
    from a file belongs into a `Path`, which never is. Parts without a manifest are not read, and named in a warning.
    Samples that are not below a capture's manifest are looked for in `data_root`: the working folder, unless said
    otherwise. Raises `ArtifactError` if it is none
    of the formats, missing or damaged; `MissingExtraError` if the format needs an extra that is not installed.
    """
    place = named_place(path)
    found = format_of(place)
    if found == "shards":
        from townlet_trajectory.formats.shards.reader import open_shards  # needs an extra, as the one of Minari does

        shards = open_shards(place)
        _warn_of_unfinished(shards, place)
        yield OpenDataset(source=shards, info=shards.info)
        return
    path = local_path(place, f"data of the form `{found}` are files of this machine")
    match found:
        case "npz":
            batch = load_batch(path)
            source = BatchSource(batch, rows_per_block=max(1, BLOCK_BYTES // step_bytes(batch.schema)))
            yield OpenDataset(source=source, info=DatasetInfo())
        case "captures":
            manifest = path
            if path.is_dir() and (names := _manifests_in(path)):
                if len(names) != 1:
                    raise ArtifactError(
                        path, "open", f"a folder of several captures: name the manifest, one of {names}"
                    )
                manifest = path / names[0]
            captures = CaptureSource(manifest, data_root=data_root)
            shared = frozenset.intersection(*captures.table.tags) if captures.table.tags else frozenset()
            info = info_of_captures(manifest, data_root=data_root, tags=tuple(sorted(shared)))
            yield OpenDataset(source=captures, info=info)
        case "minari":
            from townlet_trajectory.formats.minari.reader import MinariReader

            with MinariReader(path) as episodes:
                yield OpenDataset(source=episodes, info=episodes.info)
        case _:
            with registered_format(found).open(path) as opened:
                yield opened


def _warn_of_unfinished(shards: ShardReader | PartsReader, place: Place) -> None:
    if names := shards.unfinished:
        listed = ", ".join(names[:_MAX_NAMED]) + (
            f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        )
        message = f"{place}: {len(names)} of its parts have no manifest and are not read: {listed}"
        warnings.warn(f"{message}; they are being written, or were broken off", stacklevel=4)


def _is_sample(npz: Path) -> bool:
    """Whether the description of a classic sample lies beside `npz`."""
    return is_description(_beside(npz))


def _is_foreign_sample(npz: Path) -> bool:
    """Whether it is a sample of another program. Ours without a manifest were broken off while they were written."""
    document = _beside(npz)
    return is_description(document) and isinstance(document, dict) and SECTION not in document


def _beside(npz: Path) -> JsonValue:
    try:
        return parse_json(read_named(npz.with_suffix(".json"), max_bytes=MAX_JSON_BYTES), npz)
    except ArtifactError:
        return None


def _manifests_in(folder: Path) -> list[str]:
    return [path.name for path in _files_in(folder, *_CAPTURE_MANIFESTS)]


def _files_in(folder: Path, *endings: str) -> list[Path]:
    with system_errors(folder, "open"):
        return [folder / name for name in sorted(os.listdir(folder)) if name.endswith(endings)]
