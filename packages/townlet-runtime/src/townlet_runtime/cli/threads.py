"""The number of threads, which has to be settled before numpy is imported."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

from townlet_runtime.workers.defaults import THREAD_VARIABLES

BEGUN = "begun.json"
"""As `townlet_runtime.runs.directory.BEGUN`, which imports numpy."""
MAX_THREADS = 1024
MAX_PROCESSES = 2
AUTO_THREADS = 0
"""Stands for a measurement."""
_MAX_BYTES = 1 << 20


def limit_threads() -> None:
    """Let numpy compute with one thread: its products are small. The learners have a number of their own."""
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"


def asked_threads(threads: int | None, resume: Path | None) -> int | None:
    """Return the threads that are asked for: of a run to resume, those that it was begun with, measured or not.

    Args:
        threads: that were named; None: none were.
        resume: directory of the run; None: a new one.

    Returns:
        The number, `AUTO_THREADS`, or None for the rule.
    """
    noted = None if resume is None or threads not in (None, AUTO_THREADS) else threads_of_run(resume)
    return threads if noted is None else noted


def usable_cpus() -> int:
    """Return the CPUs of this process: a container may leave it fewer than the machine has."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_jobs(threads: int | None) -> int:
    """Return how many runs of so many threads the CPUs of this process carry, at least one.

    A number that is not known yet (None, `AUTO_THREADS`) counts as one.
    """
    return max(1, usable_cpus() // (threads or 1))


def default_processes(threads: int | None) -> int:
    """Return how many processes of so many threads play episodes where none is named: two, if the CPUs carry them."""
    return min(MAX_PROCESSES, default_jobs(threads))


def threads_of_run(run_dir: Path) -> int | None:
    """Return the number of threads that a run was begun with, as `BEGUN` says; None where that cannot be read.

    Not by `read_named`, whose package imports numpy. The file is read again, strictly, when the run is resumed.
    """
    try:
        flags = os.O_RDONLY
        if sys.platform != "win32":
            flags |= os.O_NONBLOCK  # opening a pipe would wait for ever; Windows has neither
        with open(os.open(run_dir / BEGUN, flags), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
                return None
            threads = json.loads(stream.read(_MAX_BYTES))["threads"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return threads if isinstance(threads, int) and 1 <= threads <= MAX_THREADS else None
