import os

import pytest

from townlet_runtime.cli import threads
from townlet_runtime.cli.threads import limit_threads


@pytest.mark.parametrize(("asked", "cores", "number"), [(3, 8, 3), (None, 8, 2), (None, 1, 1), (None, None, 1)])
def test_threads(asked: int | None, cores: int | None, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(threads.os, "environ", {})
    assert limit_threads(asked) == number
    assert os.environ["OMP_NUM_THREADS"] == os.environ["OPENBLAS_NUM_THREADS"] == str(number)
