"""Frozen records as JSON files: what is read is of the declared types, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from townlet_training.errors import CheckpointError, NonFiniteError
from townlet_trajectory import ArtifactError
from townlet_trajectory.storage.json import parse_object

_Record = TypeVar("_Record")


def encode_record(adapter: TypeAdapter[_Record], record: _Record) -> bytes:
    """The file that holds `record`, on one line: a long history is much shorter so.

    Raises:
        NonFiniteError: if a number in it is not finite.
    """
    document = adapter.dump_python(record, mode="json")
    try:
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    except ValueError as error:
        raise NonFiniteError("checkpoint", f"{type(record).__name__}: {error}") from error


def parse_record(adapter: TypeAdapter[_Record], data: bytes, path: Path, *, version: int | None = None) -> _Record:
    """Read a record that came from `path`.

    Args:
        version: what its `schema_version` must be, if anything.

    Raises:
        CheckpointError: if it is not strict JSON, of another version, or anything in it is missing, unknown, of another
            type or out of range.
    """
    try:
        document = parse_object(data, path)
    except ArtifactError as error:
        raise CheckpointError(error.path, error.stage, error.reason) from error
    if version is not None and document.get("schema_version") != version:
        found = document.get("schema_version")
        raise CheckpointError(path, "parse", f"`schema_version` must be {version}, got {found!r:.40}")
    try:
        return adapter.validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the record"
        raise CheckpointError(path, "parse", f"{where}: {first['msg']}") from error
