"""The number of threads, which has to be settled before numpy is imported."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

from townlet_runtime.cli.options import MAX_PROCESSES, MAX_THREADS

BEGUN = "begun.json"
"""As `townlet_runtime.runs.directory.BEGUN`, which imports numpy."""
DEFAULT_THREADS = 2
_MAX_BYTES = 1 << 20
_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def default_threads() -> int:
    """Return the number of threads where none is named: two, or one on a machine with a single CPU."""
    return min(DEFAULT_THREADS, os.cpu_count() or 1)


def limit_threads(threads: int | None) -> int:
    """Set the environment for `threads` (None: the default) and return the number."""
    number = default_threads() if threads is None else threads
    for name in _VARIABLES:
        os.environ[name] = str(number)
    return number


def default_jobs(threads: int) -> int:
    """Return how many runs of so many threads the CPUs of this process can carry, at least one."""
    cpus = os.cpu_count() or 1
    if sys.platform == "linux":
        cpus = len(os.sched_getaffinity(0))  # a container may leave a process fewer than the machine has
    return max(1, cpus // threads)


def default_processes(threads: int) -> int:
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
