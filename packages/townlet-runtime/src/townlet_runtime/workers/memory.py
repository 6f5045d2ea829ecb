"""Memory that this process and its workers share, as a file that is nowhere but in memory."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path

_FOLDER = Path("/dev/shm")
"""Where Linux has one; elsewhere the folder of temporary files."""


class SharedMemory:
    """A file that workers write to and this process reads in place; it grows as they need.

    This process removes it when it closes it. Where it dies, the workers that know of it do.
    """

    def __init__(self) -> None:
        folder = str(_FOLDER) if os.access(_FOLDER, os.W_OK) else None
        number, self.name = tempfile.mkstemp(prefix="townlet-", dir=folder)
        self._file = os.fdopen(number, "rb")

    def read(self, size: int) -> memoryview:
        """Return its first `size` bytes, which change when somebody writes."""
        return memoryview(mmap(self._file.fileno(), size, access=ACCESS_READ))

    def close(self) -> None:
        """Remove it; what was read of it stays."""
        self._file.close()
        with suppress(OSError):
            os.unlink(self.name)
