"""How many threads numbers are crunched with; decided before numpy is imported, because it looks only then."""

from __future__ import annotations

import json
import os
from pathlib import Path

BEGUN = "begun.json"
"""File of a run directory: what must be the same when the run is gone on with, beside its config."""
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
    """The number that a run was begun with, as it notes in `BEGUN`; None where that cannot be read.

    What is wrong with the file is found out when the run is taken up; this comes before numpy may be imported.
    """
    try:
        return int(json.loads((run_dir / BEGUN).read_bytes())["threads"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
