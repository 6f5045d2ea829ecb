"""The log of answers: JSON Lines that a run is repeated and resumed from without one call of the mind.

The first line is the header. Then there is a line for every call that was `asked`, every question that was `answered`
or found in the cache (`cached`), every call that was `overdue`, and every time a run was `resumed`: calls that were
under way then have no answers.
"""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import AnswerLogError
from .records import MAX_COST, MAX_NOTE, MAX_TOKENS, NANO, Failure, Reply

FORMAT, VERSION = "townlet-answers", 1
MAX_LINE_BYTES = 1 << 20
MAX_AGENT = 200
"""Characters of an agent's id that the log keeps."""
CUT_SUFFIX = ".cut"
"""Of the file beside the log that keeps what a killed process left of its last line."""
ASKED, ANSWERED, CACHED, OVERDUE, RESUMED = "asked", "answered", "cached", "overdue", "resumed"

_BEGINNING = b'{"capacity":'
"""Of every header: a file that begins otherwise is not touched."""
_MAX_NUMBER = 2**62
_KEYS = {
    ASKED: {"event", "tick", "call", "questions"},
    ANSWERED: {
        *("event", "tick", "call", "question", "slot", "world", "agent", "asked", "shown"),
        *("action", "failure", "tokens", "cost", "note"),
    },
    CACHED: {"event", "tick", "slot", "world", "agent", "shown", "action"},
    OVERDUE: {"event", "tick", "call"},
    RESUMED: {"event", "tick", "asking"},
}
_NUMBERS = ("tick", "call", "question", "slot", "world", "asked")


def encode(record: Mapping[str, Any]) -> bytes:
    """Return a record as a line of canonical JSON, without its end."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


@dataclass(frozen=True, kw_only=True)
class Line:
    """A whole line of a log."""

    number: int
    """Counted from 1."""
    text: bytes
    """Without its end."""
    record: Mapping[str, Any]

    @property
    def event(self) -> str:
        """One of the kinds of lines, such as `ANSWERED`."""
        return str(self.record["event"])

    @property
    def tick(self) -> int:
        """At which it took effect."""
        return int(self.record["tick"])

    def reply(self) -> Reply:
        """Return the judged answer of a line `answered`."""
        record = self.record
        return Reply(
            action=record["action"],
            failure=None if record["failure"] is None else Failure(record["failure"]),
            tokens=record["tokens"],
            nano=None if record["cost"] is None else round(record["cost"] * NANO),
            note=record["note"],
        )


class AnswerLog:
    """A log of answers, for reading on and for appending whole lines.

    What it already holds is repeated first: a controller goes on live, and appends, where the log ends. Of an
    unterminated last line, which a killed process leaves, the bytes are moved to a file beside it.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "answers.jsonl"
        >>> with AnswerLog(path) as log:
        ...     log.writable, path.exists()
        (True, True)

    Args:
        path: of the file; made where there is none.

    Raises:
        AnswerLogError: if the file cannot be opened, or is no log of answers.
    """

    def __init__(self, path: str | os.PathLike[str], *, writable: bool = True) -> None:
        self.path, self.writable = os.fspath(path), writable
        self._offset, self._number = 0, 0
        self._next: Line | None = None
        with ExitStack() as undo, self._blamed("opened"):
            if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
                raise AnswerLogError(self.path, "expected a regular file")
            self._writer = undo.enter_context(io.FileIO(path, "a")) if writable else None
            self._reader = undo.enter_context(io.BufferedReader(io.FileIO(path, "r")))
            self._end = self._whole_lines()
            undo.pop_all()

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> AnswerLog:
        """Return a log that is repeated and never written to; its controller has no mind.

        Raises:
            AnswerLogError: if the file cannot be opened, or has no whole line.
        """
        log = cls(path, writable=False)
        if log._end == 0:
            log.close()
            raise AnswerLogError(log.path, "expected a log of answers, got no whole line")
        return log

    def __enter__(self) -> AnswerLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def position(self) -> tuple[int, int]:
        """Bytes and lines that were read or written so far; `seek` goes back there."""
        return self._offset, self._number

    def begin(self, header: Mapping[str, Any]) -> None:
        """Write the header, or compare it with the one that is there; the first line after it is read next.

        Raises:
            AnswerLogError: if the log is of another format, vocabulary, capacity, name or setting; names it.
        """
        if self._end == 0:
            self._write(encode(header) + b"\n")
        self.seek(0, 0)
        text = self._read_line()
        there = self._parsed(text)
        for key in header:
            if key not in there or encode({"": there[key]}) != encode({"": header[key]}):
                self._refuse(f"`{key}` must be {_brief(header[key])}, got {_brief(there.get(key))}")
        self._offset, self._number = len(text) + 1, 1

    def require(self, offset: int) -> None:
        """Refuse a place that is not in the log.

        Raises:
            AnswerLogError: if the log is shorter.
        """
        if not 0 <= offset <= self._end:
            raise AnswerLogError(self.path, f"expected at least {offset} bytes, which were there, got {self._end}")

    def seek(self, offset: int, number: int) -> None:
        """Read on from a place.

        Args:
            offset: in bytes; the beginning of a line.
            number: of lines before it.

        Raises:
            AnswerLogError: if the log is shorter.
        """
        self.require(offset)
        self._offset, self._number, self._next = offset, number, None

    def peek(self) -> Line | None:
        """Return the line that comes next; None at the end.

        Raises:
            AnswerLogError: if it is no line of a log; names it.
        """
        if self._next is None and self._offset < self._end:
            text = self._read_line()
            self._next = Line(number=self._number + 1, text=text, record=self._checked(self._parsed(text)))
        return self._next

    def advance(self) -> None:
        """Go behind the line that `peek` returned."""
        if self._next is not None:
            self._offset, self._number, self._next = self._offset + len(self._next.text) + 1, self._next.number, None

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write lines at the end, all in one go.

        Raises:
            AnswerLogError: if they cannot be written, another process writes to the file, or one is too long.
        """
        lines = [encode(record) for record in records]
        if max(map(len, lines), default=0) >= MAX_LINE_BYTES:
            raise AnswerLogError(self.path, f"a line must have less than {MAX_LINE_BYTES} bytes")
        self._write(b"".join(line + b"\n" for line in lines))
        self._offset, self._number = self._end, self._number + len(lines)

    def sync(self) -> None:
        """Bring what was written to the disk: states that are saved afterwards refer to it.

        Raises:
            AnswerLogError: if the disk fails.
        """
        if self._writer is not None:
            with self._blamed("brought to the disk"):
                os.fsync(self._writer.fileno())

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
        if self._writer is not None:
            self._writer.close()

    @contextmanager
    def _blamed(self, deed: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise AnswerLogError(self.path, f"cannot be {deed}: {error}") from error

    def _whole_lines(self) -> int:
        """Return the bytes of all whole lines; move the rest away, if the log is to be written to."""
        size = self._reader.seek(0, os.SEEK_END)
        self._reader.seek(0)
        begins = self._reader.read(len(_BEGINNING))
        if not (begins == _BEGINNING or (len(begins) == size and _BEGINNING.startswith(begins))):
            raise AnswerLogError(self.path, "expected a log of answers, got another file")
        start = max(0, size - MAX_LINE_BYTES - 1)
        self._reader.seek(start)
        tail = self._reader.read(size - start)
        last = tail.rfind(b"\n")
        if last < 0 < start:
            raise AnswerLogError(self.path, f"a line must have less than {MAX_LINE_BYTES} bytes")
        end = start + last + 1
        if end < size and self._writer is not None:
            with io.FileIO(self.path + CUT_SUFFIX, "a") as aside:
                aside.write(tail[end - start :] + b"\n")
                os.fsync(aside.fileno())
            self._writer.truncate(end)
        return end

    def _write(self, data: bytes) -> None:
        if self._writer is None:
            raise AnswerLogError(self.path, "was opened for reading")
        with self._blamed("written"), ExitStack() as undo:
            size = os.fstat(self._writer.fileno()).st_size
            if size != self._end:
                raise AnswerLogError(self.path, f"expected {self._end} bytes, got {size}: somebody else writes to it")
            undo.callback(self._writer.truncate, self._end)
            written = self._writer.write(data)
            if written != len(data):
                raise OSError(f"{written} of {len(data)} bytes were written")
            undo.pop_all()
        self._end += len(data)

    def _read_line(self) -> bytes:
        """Read the line after `position`, without its end."""
        self._reader.seek(self._offset)
        text = self._reader.readline(MAX_LINE_BYTES)
        if not text.endswith(b"\n"):
            self._refuse(f"a line must have less than {MAX_LINE_BYTES} bytes")
        return text[:-1]

    def _parsed(self, text: bytes) -> dict[str, Any]:
        try:
            document = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise AnswerLogError(self.path, f"expected a JSON object: {error}", line=self._number + 1) from error
        if not isinstance(document, dict):
            self._refuse(f"expected a JSON object, got {_brief(document)}")
        return dict(document)

    def _checked(self, record: dict[str, Any]) -> dict[str, Any]:
        """Refuse a record that no log has; what only its run can know is compared there."""
        event = record.get("event")
        if not isinstance(event, str) or record.keys() != _KEYS.get(event, set()):
            self._refuse(f"expected an event of {sorted(_KEYS)} with its own keys, got {_brief(record)}")
        for key in _NUMBERS:
            if key in record and not _is_integer(record[key], _MAX_NUMBER):
                self._refuse(f"`{key}` must be an integer that is not negative, got {_brief(record[key])}")
        if (wrong := _wrong_value(record)) is not None:
            self._refuse(f"`{wrong}` is not that of a line `{record['event']}`, got {_brief(record[wrong])}")
        return record

    def _refuse(self, problem: str) -> None:
        raise AnswerLogError(self.path, problem, line=self._number + 1)


def logged_cost(nano: int | None) -> float | None:
    """Return a cost in billionths as the log shows it."""
    return None if nano is None else nano / NANO


def _wrong_value(record: Mapping[str, Any]) -> str | None:
    """Return the key of a value that no line of its event has."""
    if record["event"] == RESUMED:
        return None if isinstance(record["asking"], bool) else "asking"
    if record["event"] == ASKED:
        asked = record["questions"]
        return None if isinstance(asked, list) and all(isinstance(one, dict) for one in asked) else "questions"
    return _wrong_answer(record) if record["event"] == ANSWERED else None


def _wrong_answer(record: Mapping[str, Any]) -> str | None:
    texts = {"agent": MAX_AGENT, "shown": 64, "note": MAX_NOTE}
    for key, length in texts.items():
        if not isinstance(record[key], str) or len(record[key]) > length:
            return key
    action, failure, tokens, cost = (record[key] for key in ("action", "failure", "tokens", "cost"))
    if failure is not None and failure not in list(Failure):
        return "failure"
    if action is not None and (not isinstance(action, str) or failure is not None):
        return "action"
    if tokens is not None and not _is_integer(tokens, MAX_TOKENS):
        return "tokens"
    if cost is not None and not (isinstance(cost, float) and 0.0 <= cost <= MAX_COST):
        return "cost"
    return None


def _is_integer(value: object, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= high


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key comes twice")
    return document


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:100] + "..."
