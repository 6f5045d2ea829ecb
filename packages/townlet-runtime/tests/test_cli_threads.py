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


def test_the_threads_of_a_run_are_those_of_its_newest_checkpoint_that_can_be_read(tmp_path: Path) -> None:
    assert threads_of_run(tmp_path) is None
    for name, text in (("000000100", '{"notes": {"threads": "3"}}'), ("000000200", "cut of"), ("000000300", "{}")):
        folder = tmp_path / "checkpoints" / f"step-{name}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(text)
    assert threads_of_run(tmp_path) == 3
