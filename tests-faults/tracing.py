"""Actions in a forked child under strace, which kills it or lets a system call fail where it is told to.

The child stops itself, strace attaches to it, and it goes on: so only the action's own calls are counted, and none of
the time goes into starting Python.
"""

from __future__ import annotations

import mmap
import os
import re
import signal
import subprocess
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from townlet_trajectory import ArtifactError

TRACED = (
    *("openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "link", "linkat"),
    *("close", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "ftruncate", "lseek", "pread64", "read"),
    *("flock", "getdents64", "fcntl", "fstat", "newfstatat", "readlink"),
)
"""Whatever could touch the disk; those that do not occur cost nothing."""

_CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+|\?)(?:<([^>]*)>)?(.*)$")
_BOARD_BYTES = 1 << 14


@dataclass(frozen=True, kw_only=True)
class Call:
    """One system call of the child."""

    name: str
    arguments: str
    result: str
    path: str
    """Of the descriptor that it returned, where it did."""
    injected: bool


@dataclass(frozen=True, kw_only=True)
class Traced:
    """What became of the child."""

    kind: str
    """`done`, `refused` (an ArtifactError), `raised` (another error), or the name of a signal."""
    text: str
    calls: tuple[Call, ...]


def traced(
    action: Callable[[], object],
    log: Path,
    *,
    inject: Sequence[str] = (),
    trace: Sequence[str] = TRACED,
    seconds: float = 20.0,
) -> Traced:
    """Run `action` in a child under strace.

    Args:
        action: what to do.
        log: where strace writes; must be outside what the action works on.
        inject: what to do to which call, in the words of strace's option `inject`.
        trace: names of the calls to look at.
        seconds: after which the child is ended.
    """
    board = mmap.mmap(-1, _BOARD_BYTES)
    pid = os.fork()
    if pid == 0:
        _run(action, board, seconds)
    os.waitpid(pid, os.WUNTRACED)
    options = [option for text in inject for option in ("-e", f"inject={text}")]
    command = ["strace", "-qq", "-f", "-y", "-o", str(log), "-e", f"trace={','.join(trace)}", *options, "-p", str(pid)]
    tracer = subprocess.Popen(command)
    try:
        _wait_for_tracer(pid, tracer)
        os.kill(pid, signal.SIGCONT)
        _, status = os.waitpid(pid, 0)
    finally:
        tracer.wait()
    kind, _, text = board[:].rstrip(b"\0").decode(errors="replace").partition("\n")
    if os.WIFSIGNALED(status):
        kind = signal.Signals(os.WTERMSIG(status)).name
    return Traced(kind=kind, text=text, calls=tuple(_calls(log)))


def successful_calls(calls: Sequence[Call]) -> list[tuple[str, int]]:
    """Each system call by its name and its number among those of that name, but for those that fail anyway."""
    numbers: Counter[str] = Counter()
    found = []
    for call in calls:
        numbers[call.name] += 1
        if not call.result.startswith("-"):
            found.append((call.name, numbers[call.name]))
    return found


def _run(action: Callable[[], object], board: mmap.mmap, seconds: float) -> NoReturn:
    """The end of the child; it tells how it went by memory, because its system calls may fail."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    os.kill(os.getpid(), signal.SIGSTOP)
    report = "done"
    try:
        action()
    except ArtifactError as error:
        report = f"refused\n{error}"
    except BaseException as error:
        report = f"raised\n{''.join(traceback.format_exception_only(error))}"
    data = report.encode(errors="replace")[:_BOARD_BYTES]
    board[: len(data)] = data
    os._exit(0)


def _wait_for_tracer(pid: int, tracer: subprocess.Popen[bytes]) -> None:
    status = Path(f"/proc/{pid}/status")
    while "TracerPid:\t0\n" in status.read_text():
        if tracer.poll() is not None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise RuntimeError(f"strace ended with {tracer.returncode}: {tracer.args}")
        time.sleep(0.0005)


def _calls(log: Path) -> list[Call]:
    calls = []
    for line in log.read_text(errors="replace").splitlines():
        match = _CALL.match(line.partition(" ")[2].strip())
        if match is not None:
            name, arguments, result, path, rest = match.groups()
            calls.append(
                Call(name=name, arguments=arguments, result=result, path=path or "", injected="(INJECTED" in rest)
            )
    return calls
