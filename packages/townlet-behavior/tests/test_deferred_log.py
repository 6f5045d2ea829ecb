"""The log has whole lines alone, and says of a bad one which it is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from townlet_behavior import AnswerLog, AnswerLogError
from townlet_behavior.deferred import log as module
from townlet_behavior.deferred.log import CUT_SUFFIX, MAX_LINE_BYTES, encode, logged_cost
from townlet_behavior.deferred.records import Failure, Reply

HEADER = {"capacity": 2, "format": "townlet-answers", "version": 1, "settings": {"batch_size": 8}}
OVERDUE: dict[str, Any] = {"event": "overdue", "tick": 3, "call": 1}
ANSWERED: dict[str, Any] = {
    **{"event": "answered", "tick": 5, "call": 1, "question": 0, "slot": 0, "world": 0, "agent": "ann", "asked": 3},
    **{"shown": "0" * 64, "action": "eat", "failure": None, "tokens": 7, "cost": 0.25, "note": "yes"},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.jsonl"


def written(path: Path, *records: dict[str, Any]) -> Path:
    with AnswerLog(path) as log:
        log.begin(HEADER)
        log.append(records)
    return path


def with_lines(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in (encode(HEADER), *lines)))
    return path


def read_all(path: Path) -> list[dict[str, Any]]:
    found = []
    with AnswerLog.read(path) as log:
        log.begin(HEADER)
        while (line := log.peek()) is not None:
            found.append(dict(line.record))
            log.advance()
    return found


def test_lines_come_back_in_their_order(path: Path) -> None:
    assert read_all(written(path, OVERDUE, ANSWERED)) == [OVERDUE, ANSWERED]
    assert path.read_bytes() == b"".join(encode(each) + b"\n" for each in (HEADER, OVERDUE, ANSWERED))


def test_a_log_goes_on_where_it_ended(path: Path) -> None:
    written(path, OVERDUE)
    with AnswerLog(path) as log:
        log.begin(HEADER)
        first = log.position
        line = log.peek()
        assert line is not None and (line.number, line.tick, line.event) == (2, 3, "overdue")
        assert log.peek() is line
        log.advance()
        assert log.peek() is None
        log.advance()  # at the end there is nothing to go behind
        log.append([ANSWERED])
        assert log.position == (path.stat().st_size, 3)
        log.seek(*first)
        assert log.peek() == line
        log.sync()
    assert read_all(path) == [OVERDUE, ANSWERED]


def test_a_line_gives_the_reply_that_was_logged(path: Path) -> None:
    failed = ANSWERED | {"action": None, "failure": "raised", "tokens": None, "cost": None}
    written(path, ANSWERED, failed)
    replies = []
    with AnswerLog.read(path) as log:
        log.begin(HEADER)
        while (line := log.peek()) is not None:
            replies.append(line.reply())
            log.advance()
    assert replies == [
        Reply("eat", None, 7, 250_000_000, "yes"),
        Reply(None, Failure.RAISED, None, None, "yes"),
    ]


@pytest.mark.parametrize("nano", [0, 1, 123_456_789, 10**15 - 1, 10**15])
def test_cost_goes_there_and_back_exactly(nano: int, path: Path) -> None:
    written(path, ANSWERED | {"cost": logged_cost(nano)})
    with AnswerLog.read(path) as log:
        log.begin(HEADER)
        line = log.peek()
        assert line is not None and line.reply().nano == nano


@pytest.mark.parametrize("cut", [1, 10, len(encode(ANSWERED))])
def test_an_unterminated_last_line_is_put_aside(path: Path, cut: int) -> None:
    written(path, OVERDUE)
    whole = path.read_bytes()
    path.write_bytes(whole + encode(ANSWERED)[:cut])
    with AnswerLog.read(path) as log:  # reading changes nothing
        log.begin(HEADER)
    assert path.stat().st_size == len(whole) + cut
    AnswerLog(path).close()
    assert path.read_bytes() == whole
    aside = Path(f"{path}{CUT_SUFFIX}")
    assert aside.read_bytes() == encode(ANSWERED)[:cut] + b"\n"
    path.write_bytes(whole + b"{")
    AnswerLog(path).close()
    assert aside.read_bytes() == encode(ANSWERED)[:cut] + b"\n{\n"


def test_a_header_that_was_cut_is_written_anew(path: Path) -> None:
    path.write_bytes(encode(HEADER)[:20])
    written(path, OVERDUE)
    assert read_all(path) == [OVERDUE]


@pytest.mark.parametrize("content", [b"name: town\n", b"\x00" * 100, b"{}", b'{"a": 1}\n', b"\n"])
def test_another_file_is_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(AnswerLogError, match="expected a log of answers, got another file"):
        AnswerLog(path)
    assert path.read_bytes() == content


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    for path, problem in (
        (tmp_path, "expected a regular file"),
        (fifo, "expected a regular file"),
        (tmp_path / "no" / "folder", "cannot be opened: .*No such file"),
    ):
        with pytest.raises(AnswerLogError, match=problem):
            AnswerLog(path)
    with pytest.raises(AnswerLogError, match="cannot be opened: .*No such file"):
        AnswerLog.read(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_an_empty_log_has_nothing_to_repeat(path: Path) -> None:
    path.touch()
    with pytest.raises(AnswerLogError, match="expected a log of answers, got no whole line"):
        AnswerLog.read(path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"capacity": 3}, "`capacity` must be 3, got 2"),
        ({"version": 2}, "`version` must be 2, got 1"),
        ({"settings": {"batch_size": 9}}, "`settings` must be {'batch_size': 9}, got {'batch_size': 8}"),
        ({"name": "mind"}, "`name` must be 'mind', got None"),
    ],
)
def test_a_log_of_another_run_is_named(path: Path, change: dict[str, Any], problem: str) -> None:
    written(path)
    with AnswerLog(path) as log, pytest.raises(AnswerLogError, match=f"{path}:1: {problem}"):
        log.begin(HEADER | change)


BAD = {
    "not JSON": b"{",
    "no object": b"[]",
    "a number that JSON has not": b'{"event":"overdue","tick":NaN,"call":0}',
    "a key twice": b'{"event":"overdue","tick":1,"tick":1,"call":0}',
    "too deep": b"[" * 100_000,
    "a number of many digits": b'{"event":"overdue","tick":' + b"1" * 5000 + b',"call":0}',
    "no UTF-8": b'{"event":"overd\xff"}',
    "another event": b'{"event":"guessed","tick":1}',
    "an event that is no text": b'{"event":["overdue"],"tick":1}',
    "no event": b'{"tick":1}',
    "a key too few": b'{"event":"overdue","tick":1}',
    "a key too many": b'{"event":"overdue","tick":1,"call":0,"more":0}',
    "a negative tick": b'{"event":"overdue","tick":-1,"call":0}',
    "a tick that is no number": b'{"event":"overdue","tick":"1","call":0}',
    "questions that are none": b'{"event":"asked","tick":1,"call":0,"questions":5}',
    "a question that is none": b'{"event":"asked","tick":1,"call":0,"questions":[5]}',
    "asking that is a number": b'{"event":"resumed","tick":1,"asking":1}',
    "a tick that is true": b'{"event":"overdue","tick":true,"call":0}',
}
BAD |= {
    f"{key} {value!r:.20}": encode(ANSWERED | {key: value})
    for key, value in (
        *[("agent", 1), ("agent", "a" * 201), ("shown", "0" * 65), ("note", "n" * 201), ("note", None)],
        *[("action", 1), ("failure", "tired"), ("failure", "raised"), ("failure", []), ("tokens", -1), ("tokens", 1.0)],
        *[("tokens", 10**9 + 1), ("cost", -0.5), ("cost", 1), ("cost", 2e6), ("question", None)],
    )
}


@pytest.mark.parametrize("bad", BAD.values(), ids=list(BAD))
def test_a_bad_line_is_named_by_its_number(path: Path, bad: bytes) -> None:
    with_lines(path, encode(OVERDUE), bad)
    with AnswerLog.read(path) as log:
        log.begin(HEADER)
        log.peek()
        log.advance()
        with pytest.raises(AnswerLogError, match=f"^{path}:3: ") as caught:
            log.peek()
    assert (caught.value.path, caught.value.line) == (str(path), 3)
    assert len(str(caught.value)) < 500 + len(str(path))


def test_a_header_that_is_no_object_is_the_first_line(path: Path) -> None:
    path.write_bytes(b'{"capacity":\n')
    with AnswerLog.read(path) as log, pytest.raises(AnswerLogError, match=f"^{path}:1: expected a JSON object"):
        log.begin(HEADER)


def test_a_line_without_end_is_not_read_whole(path: Path) -> None:
    with_lines(path, b"x" * MAX_LINE_BYTES, encode(OVERDUE))
    with AnswerLog.read(path) as log:
        log.begin(HEADER)
        with pytest.raises(AnswerLogError, match=f"^{path}:2: a line must have less than {MAX_LINE_BYTES} bytes"):
            log.peek()
    path.write_bytes(encode(HEADER) + b"x" * (MAX_LINE_BYTES + 1))
    with pytest.raises(AnswerLogError, match=f"^{path}: a line must have less than"):
        AnswerLog(path)


def test_a_line_that_could_not_be_read_is_not_written(path: Path) -> None:
    with AnswerLog(path) as log:
        log.begin(HEADER)
        with pytest.raises(AnswerLogError, match="a line must have less than"):
            log.append([OVERDUE, ANSWERED | {"note": "x" * MAX_LINE_BYTES}])
        log.append([OVERDUE])
    assert read_all(path) == [OVERDUE]


def test_a_disk_that_is_full_leaves_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(module.io.FileIO):
        room = 10**6

        def write(self, data: Any) -> int:
            taken = min(len(data), type(self).room)
            return super().write(data[:taken])

    monkeypatch.setattr(module.io, "FileIO", Full)
    with AnswerLog(path) as log:
        log.begin(HEADER)
        log.append([OVERDUE])
        before = path.read_bytes()
        Full.room = 5
        with pytest.raises(AnswerLogError, match=r"cannot be written: 5 of \d+ bytes were written"):
            log.append([ANSWERED])
        assert path.read_bytes() == before
        Full.room = 10**6
        log.append([ANSWERED])
    assert read_all(path) == [OVERDUE, ANSWERED]


def test_somebody_else_who_writes_is_noticed(path: Path) -> None:
    with AnswerLog(path) as one, AnswerLog(path) as other:
        one.begin(HEADER)
        with pytest.raises(AnswerLogError, match=r"expected 0 bytes, got \d+: somebody else writes to it"):
            other.begin(HEADER)


def test_a_log_that_was_opened_for_reading_stays_as_it_is(path: Path) -> None:
    written(path, OVERDUE)
    with AnswerLog.read(path) as log:
        assert not log.writable
        log.sync()
        with pytest.raises(AnswerLogError, match="was opened for reading"):
            log.append([ANSWERED])


def test_a_place_that_is_not_there_is_refused(path: Path) -> None:
    written(path, OVERDUE)
    with AnswerLog(path) as log:
        log.begin(HEADER)
        size = path.stat().st_size
        with pytest.raises(AnswerLogError, match=f"expected at least {size + 1} bytes, which were there, got {size}"):
            log.seek(size + 1, 3)
        assert json.loads(log.peek().text) == OVERDUE  # type: ignore[union-attr]
