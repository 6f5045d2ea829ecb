"""A log that grows is read once, whole lines alone, through truncation and both kinds of rotation."""

import os
from pathlib import Path

import pytest

from townlet_runtime.cli.reports import following
from townlet_runtime.cli.reports.following import Tail
from townlet_runtime.cli.reports.records import RecordError
from townlet_trajectory.errors import ArtifactError


def look(tail: Tail) -> list[str]:
    return [f"{line.path.name}:{line.number} {line.text.decode()}" for line in tail.look()]


def append(path: Path, text: str, *, age: int = 0) -> None:
    """Append to a file that was last written `age` seconds ago."""
    with path.open("a") as stream:
        stream.write(text)
    when = path.stat().st_mtime - age
    os.utime(path, (when, when))


def test_what_was_appended_is_read_and_half_a_line_waits(tmp_path: Path) -> None:
    log = tmp_path / "log"
    append(log, "a\n")
    tail = Tail(log)
    assert look(tail) == ["log:1 a"]
    assert look(tail) == [] and tail.unended() is None
    append(log, "b\nhal")
    assert look(tail) == ["log:2 b"]
    rest = tail.unended()
    assert rest is not None and (rest.number, rest.text, rest.ended) == (3, b"hal", False)
    append(log, "f\n\nc\n")
    assert look(tail) == ["log:3 half", "log:4 ", "log:5 c"]
    tail.close()


def test_lines_longer_than_a_read_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_CHUNK", 4)
    log = tmp_path / "log"
    append(log, "0123456789\nab\n\nend")
    tail = Tail(log)
    assert look(tail) == ["log:1 0123456789", "log:2 ab", "log:3 "]
    append(log, "\n")
    assert look(tail) == ["log:4 end"]


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "log")
    assert look(tail) == []
    append(tmp_path / "log", "a\n")
    assert look(tail) == ["log:1 a"]


def test_a_file_that_is_cut_short_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "log"
    append(log, "first\nsecond\nhal")
    tail = Tail(log)
    assert len(look(tail)) == 2
    log.write_text("new\n")
    assert look(tail) == ["log:1 new"]


def test_log_rotation_is_followed_and_the_old_file_is_read_to_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    append(log, "a\n", age=9)
    tail = Tail(log)
    assert look(tail) == ["log:1 a"]
    append(log, "b\n", age=6)
    log.rename(tmp_path / "log.1")
    # Between the two steps of a rotation the old file is still the newest.
    assert look(tail) == ["log:2 b"]
    append(log, "c\n")
    assert look(tail) == ["log:1 c"]
    assert look(tail) == []


def test_a_file_that_log_rotation_put_aside_before_is_not_read(tmp_path: Path) -> None:
    append(tmp_path / "log.1", "old\n", age=60)
    append(tmp_path / "log", "new\n")
    assert look(Tail(tmp_path / "log")) == ["log:1 new"]


def test_the_files_of_a_log_with_a_most_number_of_lines_are_read_one_after_the_other(tmp_path: Path) -> None:
    for number, age in ((0, 30), (1, 20)):
        append(tmp_path / ("log.1" if number else "log"), f"{number}a\n{number}b\n", age=age)
    tail = Tail(tmp_path / "log")
    assert look(tail) == ["log:1 0a", "log:2 0b", "log.1:1 1a", "log.1:2 1b"]
    append(tmp_path / "log.2", "2a\n")
    assert look(tail) == ["log.2:1 2a"]
    append(tmp_path / "log.2", "2b\n")
    assert look(tail) == ["log.2:2 2b"]


def test_the_first_file_alone_is_read_where_no_other_is_wanted(tmp_path: Path) -> None:
    append(tmp_path / "log", "a\n", age=30)
    append(tmp_path / "log.1", "b\n")
    assert look(Tail(tmp_path / "log", numbered=False)) == ["log:1 a"]


def test_what_is_no_log_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArtifactError, match="not a regular file"):
        look(Tail(tmp_path))
    monkeypatch.setattr(following, "MAX_JSON_BYTES", 5)
    append(tmp_path / "log", "a\n0123456")
    with pytest.raises(RecordError, match=r"log:2: longer than 5 bytes"):
        look(Tail(tmp_path / "log"))
