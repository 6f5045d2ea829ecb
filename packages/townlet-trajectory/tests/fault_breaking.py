"""Operations broken off at each call of the modules that write, by replacing their `os`. See `faulty_os`."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from fault_operations import Operation
from faulty_os import Killed, inject, temporaries

from townlet_trajectory import ArtifactError
from townlet_trajectory.storage import files

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES, errno.EROFS)


class Broken:
    """An operation in fresh folders, one for each time that it is broken off."""

    def __init__(self, operation: Operation, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._operation, self._folder, self._monkeypatch = operation, folder, monkeypatch
        place = self.fresh("whole")
        self.old = operation.state(place)
        with monkeypatch.context() as patch:
            counting = inject(patch, at=10**9, error=errno.EIO)
            operation.act(place)
        self.new, self.num_calls = operation.state(place), counting.count
        assert temporaries(place) == []

    def fresh(self, name: str) -> Path:
        place = self._folder / name
        place.mkdir(parents=True)
        self._operation.prepare(place)
        return place

    def check(self, place: Path) -> None:
        """The old content or the new one; whoever comes next cleans up, and can do it."""
        operation, state = self._operation, self._operation.state(place)
        assert operation.allowed(state, self.old, self.new), state
        with files.DirectoryLock(place):
            assert temporaries(place) == []
        if operation.state(place) != self.new:
            operation.act(place)
            assert operation.state(place) == self.new


def check_errors(operation: Operation, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let each call fail, alone and with all later ones; the number of cases."""
    broken = Broken(operation, folder, monkeypatch)
    for at in range(1, broken.num_calls + 1):
        for ever_after in (False, True):
            error = ERRORS[at % len(ERRORS)]
            place = broken.fresh(f"{at}-{ever_after}")
            with monkeypatch.context() as patch:
                inject(patch, at, error=error, ever_after=ever_after)
                with pytest.raises(ArtifactError, match=os.strerror(error)):
                    operation.act(place)
            assert temporaries(place) == [] or operation.removes
            broken.check(place)
    return 2 * broken.num_calls


def check_kills(operation: Operation, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let the process end at each call; the number of cases."""
    broken = Broken(operation, folder, monkeypatch)
    for at in range(1, broken.num_calls + 1):
        place = broken.fresh(str(at))
        with monkeypatch.context() as patch:
            inject(patch, at, error=None)
            with pytest.raises(Killed):
                operation.act(place)
        broken.check(place)
    return broken.num_calls
