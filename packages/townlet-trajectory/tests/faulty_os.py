"""An `os` module that fails: what a disk, a full one or a killed process do to the module that writes files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from townlet_trajectory.storage import files, locks, system

CALLS = ("open", "write", "fsync", "replace", "rename", "close", "mkdir", "makedirs", "ftruncate", "lseek", "read")
"""The calls that touch the disk when something is written, but for removing."""


class Killed(BaseException):
    """The process is gone: no later call has an effect."""


class FaultyOS:
    """The os module, whose k-th call (and the later ones) fails."""

    def __init__(self, at: int, *, error: int | None, ever_after: bool) -> None:
        self._at, self._error, self._ever_after = at, error, ever_after
        self.count = 0

    def __getattr__(self, name: str) -> object:
        original = getattr(os, name)
        if name not in CALLS and not (name == "unlink" and self._error is None):
            return original  # removing works on a full disk; nothing works for a killed process

        def call(*args: object, **kwargs: object) -> object:
            self.count += 1
            if self.count == self._at or (self.count > self._at and (self._ever_after or self._error is None)):
                if name == "close":
                    original(*args, **kwargs)
                if self._error is None:
                    raise Killed
                raise OSError(self._error, os.strerror(self._error))
            return original(*args, **kwargs)

        return call


def inject(monkeypatch: pytest.MonkeyPatch, at: int, *, error: int | None, ever_after: bool = False) -> FaultyOS:
    """Let call `at` of the modules that write fail with `error`; None: the process is killed there."""
    faulty = FaultyOS(at, error=error, ever_after=ever_after)
    for module in (files, locks, system):
        monkeypatch.setattr(module, "os", faulty)
    if error is None:
        monkeypatch.setattr(locks.shutil, "rmtree", lambda *_, **__: None)
    return faulty


def temporaries(folder: Path) -> list[str]:
    """What an unfinished write left."""
    return [path.name for path in folder.rglob("*") if path.name.endswith(".tmp")]
