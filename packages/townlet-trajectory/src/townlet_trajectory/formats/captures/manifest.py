"""What a classic manifest lists, read before any of its samples is: a JSON list, or a JSON or YAML mapping."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from townlet_trajectory.dataset.info import document_digest
from townlet_trajectory.errors import ArtifactError, CaptureError, system_errors
from townlet_trajectory.formats.captures.sample import ReplaySample, decode_sample
from townlet_trajectory.storage.json import MAX_JSON_BYTES, Fields, JsonValue, parse_json, parse_object
from townlet_trajectory.storage.npz import MAX_NPZ_BYTES
from townlet_trajectory.storage.paths import read_below, read_named, relative_parts

YAML_SUFFIXES = (".yaml", ".yml")
"""Manifests with one of these names are YAML, all others JSON."""


@dataclass(frozen=True, kw_only=True)
class CaptureEntry:
    """One sample as a manifest lists it."""

    where: str
    """The manifest and the number of the entry, for messages."""
    roots: tuple[Path, ...]
    """The folders below which the two files are looked for, in this order."""
    sample: str
    """The npz file, relative."""
    meta: str
    """The description, relative."""
    accepted: bool = True
    """Whether it is to be used."""
    agent_id: str | None = None
    """Where the manifest says it, the sample must say the same; so too for the next two."""
    frame_count: int | None = None
    sha256: str | None = None
    """Of both files, one after the other; hex."""
    metrics: Mapping[str, JsonValue] | None = None
    """What the manifest says of the sample, as it stands there."""

    def load(self) -> ReplaySample:
        """Read and check the two files. Raises `ArtifactError` if one is missing, damaged, or not below a root;
        `CaptureError` if it is another sample than the manifest says."""
        npz_root, meta_root = (_root_of(name, self.roots, self.where) for name in (self.sample, self.meta))
        npz = read_below(npz_root, self.sample, max_bytes=MAX_NPZ_BYTES, origin=self.where)
        description = read_below(meta_root, self.meta, max_bytes=MAX_JSON_BYTES, origin=self.where)
        if self.sha256 is not None and self.sha256 != sample_digest(npz, description):
            raise CaptureError(self.where, "verify", f"SHA-256 of {self.sample} and {self.meta} is not {self.sha256}")
        sample = decode_sample(
            npz, description, npz_path=npz_root / self.sample, description_path=meta_root / self.meta
        )
        agent_id = sample.metadata.get("agent_id")
        if self.agent_id not in (None, agent_id):
            raise CaptureError(self.where, "check", f"`agent_id` must be that of {self.meta}, {agent_id!r}")
        if self.frame_count not in (None, len(sample)):
            raise CaptureError(self.where, "check", f"`frame_count` must be {len(sample)}, got {self.frame_count}")
        return sample


@dataclass(frozen=True, kw_only=True)
class CaptureManifest:
    """Entries of a manifest; no sample has been looked for yet."""

    path: Path
    metadata: Mapping[str, JsonValue]
    """Empty where the manifest has none."""
    entries: tuple[CaptureEntry, ...]
    """In the order of the file, also those that are not accepted."""

    @property
    def accepted(self) -> tuple[CaptureEntry, ...]:
        """The entries that are to be used."""
        return tuple(entry for entry in self.entries if entry.accepted)


def read_capture_manifest(path: str | Path, *, data_root: str | Path = ".") -> CaptureManifest:
    """Read a manifest, YAML or JSON by its name; one sample, named by either of its files, and a folder of samples are
    read as if a manifest listed them.

    Files that are not below the manifest's own folder are looked for in `data_root`: the working folder, to which the
    original's paths are relative, unless said otherwise. Raises `ArtifactError` if the file is missing, damaged, or of
    another form; `CaptureError` if an entry is; `MissingExtraError` for YAML, where the extra `yaml` is not installed.
    """
    path = Path(path)
    if path.is_dir():
        return CaptureManifest(path=path, metadata={}, entries=_entries_in(path))
    if path.suffix.lower() == ".npz":
        return CaptureManifest(path=path, metadata={}, entries=(_alone(path),))
    data = read_named(path, max_bytes=MAX_JSON_BYTES)
    if path.suffix.lower() in YAML_SUFFIXES:
        from townlet_trajectory.storage.yaml import parse_yaml  # an extra: only who has such files needs it

        document = parse_yaml(data, path)
    else:
        document = parse_json(data, path)
    metadata: dict[str, JsonValue] = {}
    if is_description(document):
        return CaptureManifest(path=path, metadata={}, entries=(_alone(path),))
    if isinstance(document, dict):
        metadata = Fields(document, path).object("metadata") if "metadata" in document else {}
        values, document = document, document.get("samples")
        entries_are_ours = isinstance(document, list) and any(isinstance(e, dict) and "sha256" in e for e in document)
        verify_digest(values, path, ours=entries_are_ours)
    if not isinstance(document, list):
        raise CaptureError(path, "parse", "expected a list, or an object with a list `samples`")
    roots = (path.parent, Path(data_root))
    entries = tuple(_entry(value, roots, f"{path}: entry {number}") for number, value in enumerate(document))
    return CaptureManifest(path=path, metadata=metadata, entries=entries)


def is_description(document: JsonValue) -> bool:
    """Whether the content of a JSON file is the description of one sample, and no manifest."""
    return isinstance(document, dict) and "feature_names" in document and "samples" not in document


def _alone(path: Path) -> CaptureEntry:
    """The sample that either of its files is named by."""
    return CaptureEntry(where=str(path), roots=(path.parent,), sample=f"{path.stem}.npz", meta=f"{path.stem}.json")


def _entries_in(folder: Path) -> tuple[CaptureEntry, ...]:
    """All samples of a folder, by name."""
    with system_errors(folder, "open"):
        names = sorted(name for name in os.listdir(folder) if name.endswith(".npz"))
    return tuple(replace(_alone(folder / name), where=f"{folder}: {name}") for name in names)


def sample_digest(npz: bytes, description: bytes) -> str:
    """SHA-256 (hex) of the two files of a sample, one after the other, as catalogues and our manifests hold it."""
    return hashlib.sha256(npz + description).hexdigest()


def verify_digest(document: Mapping[str, JsonValue], path: Path, *, ours: bool) -> None:
    """Compare the digest of a manifest or of metrics with their content; who edits one by hand takes the digest out.

    Args:
        document: its content.
        path: the file, for the error.
        ours: whether it is known to be written by this package: an unknown key may then be the digest's, damaged.

    Raises:
        CaptureError: if the digest differs, or may be damaged.
    """
    if "sha256" in document:
        if document["sha256"] != (digest := document_digest(document)):
            raise CaptureError(path, "verify", f"expected SHA-256 {document['sha256']!r:.80}, got {digest}")
    elif ours and (unknown := sorted(document.keys() - {"metadata", "samples"})):
        raise CaptureError(path, "verify", f"no `sha256`, but unknown keys {unknown!r:.200}")


def _entry(value: JsonValue, roots: tuple[Path, ...], where: str) -> CaptureEntry:
    values: dict[str, JsonValue] = value if isinstance(value, dict) else {"sample": value}
    fields = Fields(values, where)
    sample = fields.text("sample")
    meta = fields.text("meta") if "meta" in values else f"{sample.removesuffix('.npz')}.json"
    for name in (sample, meta):
        relative_parts(name, where)
    optional: dict[str, Callable[[str], Any]] = {
        "accepted": fields.flag,
        "agent_id": fields.text,
        "frame_count": fields.integer,
        "sha256": fields.text,
        "metrics": fields.object,
    }
    return CaptureEntry(
        where=where,
        roots=roots,
        sample=sample,
        meta=meta,
        **{name: read(name) for name, read in optional.items() if name in values},
    )


def _root_of(name: str, roots: tuple[Path, ...], where: str) -> Path:
    """The first root below which `name` is; whether it may be opened is found out when it is."""
    for root in roots:
        if os.path.lexists(root / name):
            return root
    raise ArtifactError(where, "open", f"{name} is not below {' or '.join(map(str, roots))}")


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
    """The datasets of a catalogue by name, as they are in the file; `catalogue_entry` parses one. Raises
    `ArtifactError` if the file is missing or is no JSON object."""
    return parse_object(read_named(versions, max_bytes=MAX_JSON_BYTES), versions)


def catalogue_entry(versions: str | Path, name: str, value: JsonValue) -> CatalogueEntry:
    """Parse one dataset of a catalogue.

    Args:
        versions: path of the catalogue.
        name: of the dataset.
        value: what `read_catalogue` has for it.

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
    """Read a file of checksums, by sample.

    Args:
        root: the data root.
        name: path of the file below it.
        origin: what names the file, for the error.

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


DEFAULT_MIN_LENGTH = 10


def list_captures(
    folder: str | Path,
    *,
    relative_to: str | Path,
    min_length: int = DEFAULT_MIN_LENGTH,
    min_return: float | None = None,
) -> list[dict[str, JsonValue]]:
    """List the samples of a folder as the entries of a manifest, by name; one is in memory at a time.

    Args:
        folder: pairs `NAME.npz` and `NAME.json`; folders in it are not looked at.
        relative_to: the folder that the paths of the entries are relative to: the manifest's, or the data root.
        min_length: an entry is `accepted` where its sample has at least this many steps,
        min_return: and its rewards add up to at least this.

    Returns:
        `{sample, meta, metrics {timesteps, reward_sum, mean_reward, done_count}, accepted}` for each sample.

    Raises:
        ArtifactError: if `folder` is not at or below `relative_to`, a sample lacks one of its files, or is damaged.
    """
    folder = Path(folder)
    try:
        with system_errors(folder, "open"):
            below = folder.resolve().relative_to(Path(relative_to).resolve())
    except ValueError as error:
        raise ArtifactError(folder, "path", f"expected a folder at or below {relative_to}") from error
    entries = []
    for found in _entries_in(folder):
        sample = found.load()
        size, total = len(sample), float(sample.rewards.sum(dtype=np.float64))
        ends = int(sample.dones.sum())
        entry: dict[str, JsonValue] = {
            "sample": (below / found.sample).as_posix(),
            "meta": (below / found.meta).as_posix(),
            "metrics": {"timesteps": size, "reward_sum": total, "mean_reward": total / size, "done_count": ends},
            "accepted": size >= min_length and (min_return is None or total >= min_return),
        }
        entries.append(entry)
    return entries
