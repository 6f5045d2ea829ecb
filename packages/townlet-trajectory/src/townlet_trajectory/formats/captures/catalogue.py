"""Catalogues of classic datasets: `versions.json`, which says where each one's manifest, digests and files are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from townlet_trajectory.errors import CaptureError
from townlet_trajectory.storage.json import MAX_JSON_BYTES, Fields, JsonValue, parse_object
from townlet_trajectory.storage.paths import read_below, read_named, relative_parts


@dataclass(frozen=True, kw_only=True)
class SampleChecksum:
    """One sample as a catalogue or a file of checksums lists it."""

    sample: str
    """The npz file."""
    meta: str
    """The description."""
    sha256: str
    """Of the bytes of the npz file followed by those of the description; hex."""


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """One dataset of a catalogue. Its paths are relative to the catalogue's data root."""

    name: str
    manifest: str
    checksums: str
    captures_dir: str
    tags: tuple[str, ...]
    state: str
    """`status` of the file, `active` for one; empty where it does not say."""
    samples: Mapping[str, SampleChecksum]
    """The digests, where the catalogue repeats them."""


def read_catalogue(versions: str | Path) -> dict[str, JsonValue]:
    """The datasets of a catalogue by name, as they are in the file; `catalogue_entry` parses one.

    Raises:
        ArtifactError: if the file is missing or is no JSON object.
    """
    return parse_object(read_named(versions, max_bytes=MAX_JSON_BYTES), versions)


def catalogue_entry(versions: str | Path, name: str, value: JsonValue) -> CatalogueEntry:
    """Parse the dataset `name` of the catalogue `versions`.

    Raises:
        CaptureError: if something is missing or of another type.
        ArtifactError: if a path is absolute or leaves its root.
    """
    where = f"{versions}: {name}"
    if not isinstance(value, dict):
        raise CaptureError(where, "parse", f"expected an object, got {value!r:.80}")
    fields = Fields(value, where)
    entry = CatalogueEntry(
        name=name,
        manifest=fields.text("manifest"),
        checksums=fields.text("checksums"),
        captures_dir=fields.text("captures_dir"),
        tags=fields.texts("tags") if "tags" in value else (),
        state=fields.text("status") if "status" in value else "",
        samples=_checksums(fields.object("samples"), f"{where}: samples") if "samples" in value else {},
    )
    for path in (entry.manifest, entry.checksums, entry.captures_dir):
        relative_parts(path, where)
    return entry


def read_checksums(root: Path, name: str, *, origin: str | Path) -> dict[str, SampleChecksum]:
    """The file of checksums `name` below `root`, by sample.

    Raises:
        ArtifactError: if it is missing, damaged or not below `root`; `CaptureError` if an entry is.
    """
    document = parse_object(read_below(root, name, max_bytes=MAX_JSON_BYTES, origin=origin), root / name)
    return _checksums(document, root / name)


def _checksums(document: Mapping[str, JsonValue], path: str | Path) -> dict[str, SampleChecksum]:
    checksums = {}
    for name in document:
        fields = Fields(document, path).inside(name)
        checksums[name] = SampleChecksum(
            sample=fields.text("sample"), meta=fields.text("meta"), sha256=fields.text("sha256")
        )
        for file in (checksums[name].sample, checksums[name].meta):
            relative_parts(file, f"{path}:{name}")
    return checksums
