"""Both platforms keep what is promised: links are refused, bytes stay bytes, and one writer holds a directory.

The calls of POSIX are exercised by `test_paths`, `test_files` and `test_locks`; here another process plays Windows.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

SIMULATION = Path(__file__).parent / "windows_simulated.py"
PACKAGES = [
    name
    for name in ("townlet_trajectory", "townlet_behavior", "townlet_training", "townlet_runtime")
    if find_spec(name) is not None
]


def test_all_modules_are_imported_and_files_are_read_and_written_where_posix_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SIMULATION), str(tmp_path), *PACKAGES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    link = os.strerror(errno.ELOOP)
    *lines, names, num_modules = done.stdout.splitlines()
    assert lines == [
        "another writer holds this directory",
        "No such file or directory",
        f"open {link}",
        f"open {link}",
        f"open {link}",
        "open Permission denied",
        "open No such file or directory",
        f"append {link}",
    ]
    # neither a lock nor a temporary file is left
    assert names.split() == ["b.npz", "e", "f", "g", "link", "log", "log.partial"]
    assert int(num_modules) >= 60
