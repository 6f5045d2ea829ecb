"""A process beside the world: it is given an order, says how far it is, and is ended with all that it began."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

PATIENCE_S = 5.0
"""Given to a process that was killed, to be gone."""
_MAX_LINE = 500
"""Characters that are shown of a line."""


class Background:
    """Runs a command that writes one JSON object a line, and tells of each, from a thread of its own.

    The command gets its order as the first line of its standard input, which ends when this process does, however that
    happens: so the command can end, too.

    Args:
        command: of the process.
        order: what JSON can hold.
        log: the file that its standard error goes to.
        on_message: told of every object.
        on_end: told at last, once, unless it was stopped: the exit code, and the last line of the log.
    """

    def __init__(
        self,
        command: Sequence[str],
        order: Mapping[str, Any],
        *,
        log: Path,
        on_message: Callable[[Mapping[str, Any]], None],
        on_end: Callable[[int, str], None],
    ) -> None:
        self._log, self._on_message, self._on_end = log, on_message, on_end
        self._stopped = threading.Event()
        apart: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.BELOW_NORMAL_PRIORITY_CLASS
            apart = {"creationflags": flags}
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, **apart
            )
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended already, which `on_end` tells
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        self._thread = threading.Thread(target=self._listen, name="townlet-live-lesson", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Of the process, which leads a group of its own."""
        return self._process.pid

    def stop(self) -> None:
        """End the process and everything that it began, at once; nobody is told. Again: nothing happens."""
        self._stopped.set()
        _kill(self._process)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE_S)
        if threading.current_thread() is not self._thread:
            self._thread.join(PATIENCE_S)

    def _listen(self) -> None:
        out = self._process.stdout
        assert out is not None
        for line in out:
            try:
                message = json.loads(line)
            except ValueError:
                continue  # what a world prints
            if isinstance(message, dict) and not self._stopped.is_set():
                self._on_message(message)
        code = self._process.wait()
        if not self._stopped.is_set():
            self._on_end(code, _last_line(self._log))


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        # Ends the children, too, which have no group that could be killed.
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:_MAX_LINE] if said else ""
