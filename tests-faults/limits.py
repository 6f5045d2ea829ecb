"""Every limit of reading: those of the short tests, those of the extras, and those that take gigabytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from fault_limits import LIMITS as PLAIN
from fault_limits import Limit
from fault_limits_extras import LIMITS_OF_EXTRAS

from townlet_trajectory import ArtifactError
from townlet_trajectory.storage.files import MAX_LOG_BYTES, read_json_lines
from townlet_trajectory.storage.npz import MAX_NPZ_BYTES, decode_npz


def _refused_for_its_size(read: Callable[[], object], words: str) -> None:
    """Read what is of the right size, but not right; only the limit is to be refused as such."""
    try:
        read()
    except ArtifactError as error:
        if words in str(error):
            raise


def _log(folder: Path, num_bytes: int) -> object:
    path = folder / "log.jsonl"
    os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), num_bytes)
    return _refused_for_its_size(lambda: read_json_lines(path), f"at most {MAX_LOG_BYTES} bytes are read")


def _npz(_: Path, num_bytes: int) -> object:
    return _refused_for_its_size(
        lambda: decode_npz(bytes(num_bytes), "f.npz", names=frozenset()), f"at most {MAX_NPZ_BYTES} bytes are read"
    )


LIMITS = (
    *PLAIN,
    *LIMITS_OF_EXTRAS,
    Limit(name="bytes of a log", at=MAX_LOG_BYTES, read=_log),
    Limit(name="bytes of an npz", at=MAX_NPZ_BYTES, read=_npz),
)
