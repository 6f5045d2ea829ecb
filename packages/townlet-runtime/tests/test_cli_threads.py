import os
from pathlib import Path

import pytest
import typer

from townlet_runtime.cli import threads
from townlet_runtime.cli.threads import (
    AUTO_THREADS,
    BEGUN,
    asked_threads,
    default_jobs,
    default_processes,
    limit_threads,
    threads_of_run,
)
from townlet_runtime.cli.training.run_options import number_of_threads
from townlet_runtime.runs import directory


def test_numpy_computes_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads.os, "environ", {"OMP_NUM_THREADS": "8"})
    limit_threads()
    assert os.environ["OMP_NUM_THREADS"] == os.environ["OPENBLAS_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("asked", "cpus", "jobs", "processes"),
    [(1, 1, 1, 1), (1, 2, 2, 2), (2, 2, 1, 1), (2, 4, 2, 2), (3, 2, 1, 1), (None, 2, 2, 2), (AUTO_THREADS, 8, 8, 2)],
)
def test_runs_and_processes_are_as_many_as_the_cpus_carry(
    asked: int | None, cpus: int, jobs: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "usable_cpus", lambda: cpus)
    assert default_jobs(asked) == jobs
    assert default_processes(asked) == processes


@pytest.mark.parametrize(("asked", "number"), [(3, 3), (None, 5), (AUTO_THREADS, 5)])
def test_a_run_goes_on_with_the_threads_that_it_noted(asked: int | None, number: int, tmp_path: Path) -> None:
    assert asked_threads(asked, None) == asked_threads(asked, tmp_path) == asked
    (tmp_path / "begun.json").write_text('{"threads": 5}')
    assert asked_threads(asked, tmp_path) == number


@pytest.mark.parametrize(("text", "number"), [("auto", AUTO_THREADS), ("1", 1), ("1_024", 1024)])
def test_threads_are_a_number_or_auto(text: str, number: int) -> None:
    assert number_of_threads(text) == number


@pytest.mark.parametrize("text", ["0", "1025", "Auto", "two"])
def test_other_threads_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="expected a whole number from 1 to 1,024"):
        number_of_threads(text)


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
