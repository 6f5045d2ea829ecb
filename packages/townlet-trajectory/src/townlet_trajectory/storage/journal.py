"""An append-only journal: one JSON object a line, with its number and the SHA-256 of the line before it.

A line that was edited, removed, doubled or moved breaks the chain. Of the last line a crash leaves all or nothing.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from townlet_trajectory.errors import ArtifactError, ManifestError
from townlet_trajectory.storage.files import append_line
from townlet_trajectory.storage.json import Fields, JsonValue, canonical_json, parse_object
from townlet_trajectory.storage.paths import read_named

MAX_JOURNAL_BYTES = 64 << 20
MAX_RECORD_BYTES = 1 << 20

_KEYS = {"sequence", "previous", "time", "event", "content"}


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of a journal."""

    line: bytes
    """Without its line feed."""
    sequence: int
    """Counted from 1: the order of the records, whatever the clock said."""
    time: float
    """Seconds since 1970 as the writer's clock showed them, which may be less than those of the record before."""
    event: str
    content: Fields


@dataclass(frozen=True, kw_only=True)
class Journal:
    """The records of a journal, as they were read."""

    path: Path
    records: tuple[Record, ...] = ()
    data: bytes = b""
    """All whole lines."""

    def draft(self, event: str, content: Mapping[str, JsonValue], *, time: float) -> Record:
        """Make the record that comes next; `append` writes it.

        Args:
            event: name of the event.
            content: everything else that belongs to it.
            time: seconds since 1970.

        Raises:
            ArtifactError: if record or journal would be too long, or a number is not finite.
        """
        number = len(self.records) + 1
        previous = self.records[-1].line if self.records else None
        document: dict[str, JsonValue] = {
            "sequence": number,
            "previous": _digest(previous),
            "time": time,
            "event": event,
            "content": dict(content),
        }
        try:
            line = canonical_json(document)
        except ValueError as error:
            raise ArtifactError(self.path, "encode", str(error)) from error
        if len(line) > MAX_RECORD_BYTES or len(self.data) + len(line) >= MAX_JOURNAL_BYTES:
            raise ArtifactError(
                self.path,
                "append",
                f"a record has at most {MAX_RECORD_BYTES} bytes and a journal {MAX_JOURNAL_BYTES}, "
                f"got {len(line)} after {len(self.data)}",
            )
        return _parsed(line, number, previous, self.path)

    def append(self, record: Record) -> None:
        """Write a record that `draft` made; its directory must be locked since the journal was read.

        Raises:
            ArtifactError: if it cannot be written; the journal is then as before.
        """
        append_line(self.path, record.line.decode())


def read_journal(path: Path, known: Journal | None = None) -> Journal:
    """Read a journal without an unterminated last line, which a writer is writing, or was when it was killed.

    Args:
        path: of the file.
        known: what was read of it before: where it begins with the same bytes, only the rest is parsed.

    Raises:
        ArtifactError: if it cannot be read, is longer than `MAX_JOURNAL_BYTES`, or a line is no object of strict JSON.
        ManifestError: if a line does not follow the one before it.
    """
    data = read_named(path, max_bytes=MAX_JOURNAL_BYTES)
    data = data[: data.rfind(b"\n") + 1]
    begun = known if known is not None and data.startswith(known.data) else Journal(path=path)
    records = list(begun.records)
    for line in io.BytesIO(data[len(begun.data) :]):
        previous = records[-1].line if records else None
        records.append(_parsed(line.removesuffix(b"\n"), len(records) + 1, previous, path))
    return Journal(path=path, records=tuple(records), data=data)


def _digest(line: bytes | None) -> str:
    return "0" * 64 if line is None else hashlib.sha256(line).hexdigest()


def _parsed(line: bytes, number: int, previous: bytes | None, path: Path) -> Record:
    where = f"{path}:{number}"
    if len(line) > MAX_RECORD_BYTES:
        raise ManifestError(where, "parse", f"a record has at most {MAX_RECORD_BYTES} bytes, got {len(line)}")
    fields = Fields(parse_object(line, where), where, error=ManifestError)
    fields.require_keys(_KEYS)
    if fields.integer("sequence") != number or fields.text("previous") != _digest(previous):
        raise ManifestError(where, "verify", "does not follow the line before it: one was changed, removed or added")
    return Record(
        line=line,
        sequence=number,
        time=fields.number("time"),
        event=fields.text("event"),
        content=fields.inside("content"),
    )
