"""A journal is a chain: what was changed, removed, doubled or moved is seen, and a torn end is as if never written."""

import json
from pathlib import Path

import pytest

from townlet_trajectory.errors import ArtifactError, ManifestError
from townlet_trajectory.storage import journal as module
from townlet_trajectory.storage.files import DirectoryLock
from townlet_trajectory.storage.journal import Journal, read_journal


def written(path: Path, count: int) -> list[bytes]:
    """The lines of a journal with so many records."""
    own = Journal(path=path)
    for number in range(count):
        own.append(own.draft("counted", {"number": number}, time=100.0 - number))
        own = read_journal(path)
    return path.read_bytes().splitlines(keepends=True)


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    lines = written(tmp_path / "j.jsonl", 3)
    own = read_journal(tmp_path / "j.jsonl")
    assert [(one.sequence, one.event, one.time, one.content.integer("number")) for one in own.records] == [
        (1, "counted", 100.0, 0),
        (2, "counted", 99.0, 1),
        (3, "counted", 98.0, 2),
    ]
    assert own.data == b"".join(lines)
    assert json.loads(lines[0])["previous"] == "0" * 64


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[0], lines[2]],
        lambda lines: lines[1:],
        lambda lines: [lines[0], lines[0], *lines[1:]],
        lambda lines: [lines[0], lines[2], lines[1]],
        lambda lines: [lines[0], lines[1].replace(b'"number":1', b'"number":7'), lines[2]],
        lambda lines: [lines[0], lines[1].replace(b'"time":99.0', b'"time":99.5'), lines[2]],
    ],
)
def test_a_changed_journal_is_refused(tmp_path: Path, change) -> None:
    lines = written(tmp_path / "j.jsonl", 3)
    (tmp_path / "j.jsonl").write_bytes(b"".join(change(lines)))
    with pytest.raises(ManifestError, match="does not follow the line before it"):
        read_journal(tmp_path / "j.jsonl")


def test_a_torn_last_line_is_as_if_never_written(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    *whole, last = written(path, 3)
    for cut in (1, len(last) // 2, len(last) - 1):
        path.write_bytes(b"".join(whole) + last[:cut])
        own = read_journal(path)
        assert len(own.records) == 2
        with DirectoryLock(tmp_path):
            own.append(own.draft("counted", {"number": 9}, time=1.0))
        assert [one.content.integer("number") for one in read_journal(path).records] == [0, 1, 9]


def test_what_is_known_is_not_parsed_again_unless_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    lines = written(path, 4)
    path.write_bytes(b"".join(lines[:2]))
    known = read_journal(path)
    path.write_bytes(b"".join(lines))
    longer = read_journal(path, known)
    assert all(one is other for one, other in zip(longer.records, known.records, strict=False))
    assert len(longer.records) == 4
    path.write_bytes(b"".join(lines[:1]))
    assert len(read_journal(path, longer).records) == 1
    path.write_bytes(lines[0].replace(b'"number":0', b'"number":5') + b"".join(lines[1:]))
    with pytest.raises(ManifestError, match="does not follow the line before it"):
        read_journal(path, longer)


@pytest.mark.parametrize("line", [b"[]", b"{}", b"", b'{"sequence": NaN}', b"\xff"])
def test_a_foreign_line_is_refused(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "j.jsonl").write_bytes(line + b"\n")
    with pytest.raises(ArtifactError, match=r"j\.jsonl:1: parse"):
        read_journal(tmp_path / "j.jsonl")


def test_a_journal_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j.jsonl"
    written(path, 3)
    own = read_journal(path)
    monkeypatch.setattr(module, "MAX_JOURNAL_BYTES", len(own.data) + 50)
    with pytest.raises(ArtifactError, match="append: a record has at most"):
        own.draft("counted", {"number": 3}, time=1.0)
    monkeypatch.setattr(module, "MAX_JOURNAL_BYTES", len(own.data) - 1)
    with pytest.raises(ArtifactError, match="bytes are read"):
        read_journal(path)
    monkeypatch.undo()
    with pytest.raises(ArtifactError, match=f"at most {module.MAX_RECORD_BYTES} bytes"):
        own.draft("counted", {"text": "x" * module.MAX_RECORD_BYTES}, time=1.0)
    monkeypatch.setattr(module, "MAX_RECORD_BYTES", 10)
    with pytest.raises(ManifestError, match="a record has at most 10 bytes"):
        read_journal(path)


@pytest.mark.parametrize("time", [float("nan"), float("inf")])
def test_a_time_is_finite(tmp_path: Path, time: float) -> None:
    with pytest.raises(ArtifactError, match="encode"):
        Journal(path=tmp_path / "j.jsonl").draft("counted", {}, time=time)
