"""Worlds that are served by the command itself, in a process of their own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def served(folder: Path, *arguments: str, port: int = 0) -> Iterator[str]:
    """Serve a world by `townlet live`; gives the address, and ends the command by Ctrl-C."""
    with started(folder, "live", "--port", str(port), *arguments) as address:
        yield address


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[str]:
    """Start a command that serves a page; gives the address, and ends the command by Ctrl-C."""
    command = [sys.executable, "-m", "townlet_runtime", *arguments]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if (found := re.search(r"http://\S+", line)) is not None:
                break
        else:
            pytest.fail(f"the command ended with exit code {process.wait()}")
        yield found.group(0)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20.0)
