"""Actions in a child process of their own, with bounded time and address space, and what became of them."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from townlet_trajectory import ArtifactError

ADDRESS_SPACE = 2 << 30
"""Bytes that a child may map on top of what it has."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of an action."""

    kind: str
    """`returned`, `refused` (an ArtifactError), `raised` (another error), `hung`, or the name of a signal."""
    text: str = ""
    """The error."""
    peak_bytes: int = 0
    """Growth of the resident memory, at its highest."""


def isolated(action: Callable[[], object], *, seconds: float = 20.0) -> Outcome:
    """Run `action` in a forked child; it may do there what it likes."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _run(action, writing, seconds)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        report = stream.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return Outcome(kind="hung" if number == signal.SIGALRM else signal.Signals(number).name)
    return Outcome(**json.loads(report))


def limit_address_space() -> None:
    """Let this process map at most `ADDRESS_SPACE` bytes more."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + ADDRESS_SPACE, resource.RLIM_INFINITY))


def watch(seconds: float) -> None:
    """Let the system end this process after so long, whatever it does; 0: no longer."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _run(action: Callable[[], object], descriptor: int, seconds: float) -> NoReturn:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    limit_address_space()
    watch(seconds)
    ctypes.CDLL(None).malloc_trim(0)  # what the parent has freed is not to be had for nothing
    Path("/proc/self/clear_refs").write_text("5")  # begin the peak anew (proc_pid_clear_refs(5))
    before = _memory("VmRSS")
    kind, text = "returned", ""
    try:
        action()
    except ArtifactError as error:
        kind, text = "refused", str(error)
    except BaseException as error:
        kind, text = "raised", "".join(traceback.format_exception(error)[-4:])
    watch(0)
    report = {"kind": kind, "text": text[:20_000], "peak_bytes": _memory("VmHWM") - before}
    os.write(descriptor, json.dumps(report).encode())
    os._exit(0)


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) * 1024
