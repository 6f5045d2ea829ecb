import os
from pathlib import Path

import pytest

from townlet_runtime.cli import threads
from townlet_runtime.cli.threads import limit_threads, threads_of_run


@pytest.mark.parametrize(("asked", "cores", "number"), [(3, 8, 3), (None, 8, 2), (None, 1, 1), (None, None, 1)])
def test_threads(asked: int | None, cores: int | None, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(threads.os, "environ", {})
    assert limit_threads(asked) == number
    assert os.environ["OMP_NUM_THREADS"] == os.environ["OPENBLAS_NUM_THREADS"] == str(number)


NOTES = {None: None, '{"threads": "3"}': 3, '{"threads': None, "{}": None, '{"threads": null}': None, "3": None}


@pytest.mark.parametrize("content", NOTES)
def test_the_threads_of_a_run_are_those_it_was_begun_with(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "begun.json").write_text(content)
    assert threads_of_run(tmp_path) == NOTES[content]
