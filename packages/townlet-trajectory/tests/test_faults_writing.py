"""Broken off at any call, by an error or for good: a reader finds the old content or the new one.

The figures of `tests-faults` at every system call need root and strace; here the file module's calls are replaced.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fault_breaking import check_errors, check_kills
from fault_operations import OPERATIONS, Operation

by_name = pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.name for operation in OPERATIONS])


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here cuts the power, so nothing needs to reach the disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@by_name
def test_an_error_at_every_call(operation: Operation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_errors(operation, tmp_path, monkeypatch) >= 8


@by_name
def test_killed_at_every_call(operation: Operation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_kills(operation, tmp_path, monkeypatch) >= 4
