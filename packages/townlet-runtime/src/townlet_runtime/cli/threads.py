"""How many threads numbers are crunched with; decided before numpy is imported, because it looks only then."""

from __future__ import annotations

import json
import os
from pathlib import Path

DEFAULT_THREADS = 2
_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def default_threads() -> int:
    """Return how many threads are used where nothing is said: two, or as many as there are."""
    return min(DEFAULT_THREADS, os.cpu_count() or 1)


def limit_threads(threads: int | None) -> int:
    """Set the environment for `threads` (None: the default) and return the number."""
    number = default_threads() if threads is None else threads
    for name in _VARIABLES:
        os.environ[name] = str(number)
    return number


def threads_of_run(run_dir: Path) -> int | None:
    """The number that a run was begun with, as its checkpoints note it; None where none can be read that says so.

    Whether the checkpoint is whole is found out when the run is taken up; this comes before numpy may be imported.
    """
    for path in sorted(run_dir.glob("checkpoints/step-*/run.json"), reverse=True):
        try:
            return int(json.loads(path.read_bytes())["notes"]["threads"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None
