"""Where a dataset came from, and the manifest of a directory of shards with their SHA-256."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.schema import EpisodeLabel, TrajectorySchema, label_named, parse_schema, schema_document
from townlet_trajectory.errors import ManifestError, SchemaError
from townlet_trajectory.storage.json import Fields, JsonValue, canonical_json, parse_object, readable_json
from townlet_trajectory.storage.manifest import MAX_FILE_BYTES, FileEntry

DATASET_VERSION = (1, 0)
"""(major, minor) of what is written. A new minor adds keys and columns that older readers may leave out; a new major
is one that they must not read."""

MAX_SHARDS = 8192
MAX_ROWS = 1 << 40

COMPRESSIONS = ("lz4", "zstd", "none")

_FORMAT = "townlet-dataset"
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """Origin of a dataset, as its recorder described it."""

    group: str = "agents"
    """Name of the agent group."""
    tags: tuple[str, ...] = ()
    seeds: Mapping[str, int] = field(default_factory=dict)
    """What was seeded with what."""
    policies: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 (hex) of the weights of each policy that acted, by its name."""
    notes: Mapping[str, JsonValue] = field(default_factory=dict)
    """Anything else that JSON can say."""

    def __post_init__(self) -> None:
        for name in ("seeds", "policies", "notes"):
            object.__setattr__(self, name, dict(vars(self)[name]))
        if not isinstance(self.group, str) or not self.group:
            raise SchemaError(f"`group` must be a name, got {self.group!r}")
        if not isinstance(self.tags, tuple) or not all(isinstance(tag, str) for tag in self.tags):
            raise SchemaError(f"`tags` must be a tuple of strings, got {self.tags!r}")
        for name, seed in self.seeds.items():
            if not isinstance(name, str) or type(seed) is not int or abs(seed) >= 1 << 63:
                raise SchemaError(f"`seeds` must be integers of 64 bits by name, got {name!r}: {seed!r}")
        for name, digest in self.policies.items():
            if not isinstance(name, str) or not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
                raise SchemaError(f"`policies` must be SHA-256 in hex by name, got {name!r}: {digest!r}")
        try:
            canonical_json(self.document())
        except (TypeError, ValueError) as error:
            raise SchemaError(f"`notes` must be JSON with finite numbers: {error}") from error

    def document(self) -> dict[str, JsonValue]:
        """As JSON."""
        return {**vars(self), "tags": [*self.tags]}


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """One shard: two files with the same number in their names."""

    number: int
    """Of the files; ascends, may skip numbers, is never used twice."""
    steps: FileEntry
    """One row for each step."""
    trajectories: FileEntry
    """One row for each trajectory, with its final observation."""
    num_steps: int
    num_trajectories: int
    labels: Mapping[EpisodeLabel, tuple[int, ...]] = field(default_factory=dict)
    """Rows of the table of trajectories that were labelled after it was written, by label; others are labelled as the
    table says."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", {label: rows for label, rows in self.labels.items() if rows})
        rows = [row for rows in self.labels.values() for row in rows]
        if len(set(rows)) < len(rows) or not all(0 <= row < self.num_trajectories for row in rows):
            expected = f"different rows in [0, {self.num_trajectories})"
            raise SchemaError(f"shard {self.number}: `labels` must be of {expected}, got {sorted(rows)!r:.80}")
        if not 0 <= self.number < 10**9:
            raise SchemaError(f"`number` must be in [0, 10^9), got {self.number}")
        if not 1 <= self.num_trajectories <= self.num_steps <= MAX_ROWS:
            raise SchemaError(
                f"shard {self.number}: expected 1 <= `num_trajectories` <= `num_steps` <= {MAX_ROWS}, "
                f"got {self.num_trajectories} and {self.num_steps}"
            )
        for name, entry in self.files.items():
            if not _DIGEST.fullmatch(entry.sha256) or not 0 <= entry.size <= MAX_FILE_BYTES:
                raise SchemaError(f"{name}: expected a SHA-256 in hex and at most {MAX_FILE_BYTES} bytes, got {entry}")

    @property
    def files(self) -> dict[str, FileEntry]:
        """Both files by name, steps first."""
        return dict(zip(shard_file_names(self.number), (self.steps, self.trajectories), strict=True))

    def labelled(self, labels: NDArray[np.int8]) -> NDArray[np.int8]:
        """Return the labels of the trajectories [B], given those that the table says [B]."""
        if not self.labels:
            return labels
        labels = labels.copy()
        for label, rows in self.labels.items():
            labels[list(rows)] = label
        return labels

    def relabelled(self, label: EpisodeLabel, rows: NDArray[np.int64]) -> ShardEntry:
        """The same shard with `label` for the trajectories `rows` [K]."""
        others = {one: tuple(np.setdiff1d(numbers, rows).tolist()) for one, numbers in self.labels.items()}
        both = np.union1d(others.get(label, ()), rows).astype(np.int64)
        return replace(self, labels={**others, label: tuple(both.tolist())})

    def document(self) -> dict[str, JsonValue]:
        """As JSON; labels are there where there are any."""
        labels: dict[str, JsonValue] = {label.name.lower(): [*rows] for label, rows in sorted(self.labels.items())}
        return {
            "number": self.number,
            "num_steps": self.num_steps,
            "num_trajectories": self.num_trajectories,
            "files": {name: dict(vars(entry)) for name, entry in self.files.items()},
            **({"labels": labels} if labels else {}),
        }


@dataclass(frozen=True, kw_only=True)
class DatasetManifest:
    """A dataset directory. Its own digest is part of what is written."""

    schema: TrajectorySchema
    info: DatasetInfo = field(default_factory=DatasetInfo)
    compression: str = "lz4"
    """Of the shards that were written last, one of `COMPRESSIONS`; every file says its own."""
    shards: tuple[ShardEntry, ...] = ()
    """In the order in which they were written."""
    schema_version: tuple[int, int] = DATASET_VERSION
    """(major, minor) of the files."""

    def __post_init__(self) -> None:
        if self.compression not in COMPRESSIONS:
            raise SchemaError(f"`compression` must be one of {COMPRESSIONS}, got {self.compression!r}")
        if len(self.shards) > MAX_SHARDS:
            raise SchemaError(f"a dataset has at most {MAX_SHARDS} shards: make them larger, `rows_per_shard`")
        numbers = [shard.number for shard in self.shards]
        if any(later <= earlier for earlier, later in pairwise(numbers)):
            raise SchemaError(f"the numbers of the shards must ascend, got {numbers}")

    @property
    def num_steps(self) -> int:
        """Steps of all shards."""
        return sum(shard.num_steps for shard in self.shards)

    @property
    def num_trajectories(self) -> int:
        """Trajectories (and pieces of cut ones) of all shards."""
        return sum(shard.num_trajectories for shard in self.shards)

    @property
    def sha256(self) -> str:
        """Digest of everything else that is written, hex."""
        return document_digest(self._body())

    def encode(self) -> bytes:
        """The file that holds this manifest."""
        body = self._body()
        return readable_json({**body, "sha256": document_digest(body)})

    def _body(self) -> dict[str, JsonValue]:
        return {
            "format": _FORMAT,
            "schema_version": [*self.schema_version],
            **self.info.document(),
            "schema": schema_document(self.schema),
            "vocabulary_digest": self.schema.vocabulary_digest,
            "compression": self.compression,
            "num_steps": self.num_steps,
            "num_trajectories": self.num_trajectories,
            "shards": [shard.document() for shard in self.shards],
        }


def parse_dataset_manifest(data: bytes, path: str | Path) -> DatasetManifest:
    """Read a dataset manifest that came from `path`.

    Keys that are not known are left out: a later minor version may have them. Raises `ArtifactError` if it is not
    strict JSON; `ManifestError` if it is of another format or a newer major version, its digest differs, or an entry is
    wrong.
    """
    document = parse_object(data, path)
    fields = Fields(document, path, error=ManifestError)
    version = fields.version(_FORMAT, DATASET_VERSION)
    if fields.text("sha256") != (actual := document_digest(document)):
        raise ManifestError(path, "verify", f"`sha256` must be {actual}, got {document['sha256']!r:.80}")
    try:
        manifest = DatasetManifest(
            schema_version=version,
            schema=parse_schema(fields.inside("schema")),
            info=parse_info(fields),
            compression=fields.text("compression"),
            shards=tuple(parse_shard(shard, path) for shard in fields.objects("shards")),
        )
    except SchemaError as error:
        raise ManifestError(path, "parse", str(error)) from error
    for name, expected in (
        ("vocabulary_digest", manifest.schema.vocabulary_digest),
        ("num_steps", manifest.num_steps),
        ("num_trajectories", manifest.num_trajectories),
    ):
        if document.get(name) != expected:
            raise ManifestError(path, "verify", f"`{name}` must be {expected}, got {document.get(name)!r:.80}")
    return manifest


def parse_info(fields: Fields) -> DatasetInfo:
    """The inverse of `DatasetInfo.document`; other fields of the object are not looked at.

    Raises:
        ManifestError: the error of `fields`, if a value is missing or of another type.
        SchemaError: if a value is not what `DatasetInfo` allows.
    """
    seeds, policies = fields.inside("seeds"), fields.inside("policies")
    return DatasetInfo(
        group=fields.text("group"),
        tags=fields.texts("tags"),
        seeds={name: seeds.integer(name) for name in fields.object("seeds")},
        policies={name: policies.text(name) for name in fields.object("policies")},
        notes=fields.object("notes"),
    )


def parse_shard(fields: Fields, path: str | Path) -> ShardEntry:
    """The inverse of `ShardEntry.document`.

    Args:
        fields: of the object.
        path: where it came from, for the error.

    Raises:
        ManifestError: if a value is missing or of another type, or the files are not those of the number.
        SchemaError: if a value is not what `ShardEntry` allows.
    """
    files = fields.inside("files")
    entries = {name: files.inside(name) for name in fields.object("files")}
    digests = {
        name: FileEntry(sha256=entry.text("sha256"), size=entry.integer("size")) for name, entry in entries.items()
    }
    number = fields.integer("number")
    steps, trajectories = shard_file_names(number)
    if digests.keys() != {steps, trajectories}:
        raise ManifestError(path, "parse", f"shard {number}: expected {[steps, trajectories]}, got {sorted(digests)}")
    return ShardEntry(
        number=number,
        steps=digests[steps],
        trajectories=digests[trajectories],
        num_steps=fields.integer("num_steps"),
        num_trajectories=fields.integer("num_trajectories"),
        labels=_parse_labels(fields.inside("labels"), fields.object("labels")) if "labels" in fields.values else {},
    )


def _parse_labels(fields: Fields, values: Mapping[str, JsonValue]) -> dict[EpisodeLabel, tuple[int, ...]]:
    return {label_named(name): fields.integers(name) for name in values}


def shard_file_names(number: int) -> tuple[str, str]:
    """Names of the files of shard `number`: its steps and its trajectories."""
    return f"steps-{number:06d}.arrow", f"trajectories-{number:06d}.arrow"


def document_digest(document: Mapping[str, JsonValue]) -> str:
    """SHA-256 (hex) of a document as canonical JSON, without its own `sha256`."""
    body = {name: value for name, value in document.items() if name != "sha256"}
    return hashlib.sha256(canonical_json(body)).hexdigest()
