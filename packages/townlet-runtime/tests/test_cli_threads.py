import os
from pathlib import Path

import pytest

from townlet_runtime.cli import threads
from townlet_runtime.cli.threads import BEGUN, limit_threads, threads_of_run
from townlet_runtime.runs import directory


@pytest.mark.parametrize(("asked", "cores", "number"), [(3, 8, 3), (None, 8, 2), (None, 1, 1), (None, None, 1)])
def test_threads(asked: int | None, cores: int | None, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(threads.os, "environ", {})
    assert limit_threads(asked) == number
    assert os.environ["OMP_NUM_THREADS"] == os.environ["OPENBLAS_NUM_THREADS"] == str(number)


NOTES = {None: None, '{"threads": 3}': 3, '{"threads': None, "{}": None, '{"threads": null}': None, "3": None}
NOTES |= {'{"threads": 1025}': None, '{"threads": 0}': None, "[" * 200_000: None}


@pytest.mark.parametrize("content", NOTES)
def test_the_threads_of_a_run_are_those_it_was_begun_with(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "begun.json").write_text(content)
    assert threads_of_run(tmp_path) == NOTES[content]


def test_no_special_or_endless_file_is_followed(tmp_path: Path) -> None:
    begun = tmp_path / BEGUN
    os.mkfifo(begun)
    assert threads_of_run(tmp_path) is None
    begun.unlink()
    begun.symlink_to("/dev/zero")
    assert threads_of_run(tmp_path) is None
    begun.unlink()
    with begun.open("wb") as stream:
        stream.truncate(20 << 30)
    assert threads_of_run(tmp_path) is None


def test_the_file_is_the_one_that_a_run_writes() -> None:
    assert BEGUN == directory.BEGUN
