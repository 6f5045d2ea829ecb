"""A log can be cut back to where it was marked."""

import hashlib
from pathlib import Path

import pytest

from townlet_training.errors import ResumeError
from townlet_training.run.log_file import LogMark, cut_log, mark_log


def test_a_mark_is_the_length_and_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"{}\n")
    assert mark_log(path) == LogMark(size=3, sha256=hashlib.sha256(b"{}\n").hexdigest())


@pytest.mark.parametrize("more", [b"", b"[]\n", b"[]\n{"])
def test_what_came_behind_the_mark_is_taken_away(tmp_path: Path, more: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"{}\n")
    mark = mark_log(path)
    path.write_bytes(b"{}\n" + more)
    cut_log(path, mark)
    assert path.read_bytes() == b"{}\n"


def test_what_is_missing_or_another_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"{}\n{}\n")
    mark = mark_log(path)
    path.write_bytes(b"{}\n")
    with pytest.raises(ResumeError, match="has 3 bytes, but the newest checkpoint was taken after 6"):
        cut_log(path, mark)
    path.write_bytes(b"{}\n[]\n[]\n")
    with pytest.raises(ResumeError, match="its first 6 bytes are not those"):
        cut_log(path, mark)
    assert path.read_bytes() == b"{}\n[]\n[]\n"
