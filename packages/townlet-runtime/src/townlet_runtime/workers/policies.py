"""Policies as bytes, for other processes: those of files, alone or beside networks."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

from townlet_runtime.policy.file import verified_digest
from townlet_runtime.policy.onnx import FilePolicy, OnnxPolicy, RecurrentOnnxPolicy, policy_of
from townlet_runtime.workers.messages import read_message, write_message
from townlet_trajectory.evaluation.interfaces import AnyActor

Pack = Callable[[Mapping[str, AnyActor]], bytes | None]
"""Turns policies into bytes, of which a worker makes the same policies; None where that cannot be."""
Unpack = Callable[[bytes], Mapping[str, AnyActor]]
"""Makes the same policies again."""
_BESIDE = b"\xff" * 8
"""At the beginning of networks with files beside them: no length that networks alone begin with."""


def packed_files(actors: Mapping[str, AnyActor]) -> bytes | None:
    """Turn policies into bytes, group by group; None where one of them has no file."""
    files = _files_of(actors)
    return None if files.keys() != actors.keys() else _packed({group: one.data for group, one in files.items()})


def unpacked_files(data: bytes) -> dict[str, FilePolicy]:
    """Make the same policies again; see `packed_files`.

    Raises:
        PolicyFileError: if one is damaged.
    """
    return {
        group: policy_of(one, verified_digest(one, Path(f"policy of {group}")), Path(f"policy of {group}"))
        for group, one in _unpacked(data).items()
    }


def packed_beside(actors: Mapping[str, AnyActor], *, networks: Pack) -> bytes | None:
    """Turn networks, and the policies of files beside them, into bytes; networks alone as `networks` does.

    Args:
        actors: by group.
        networks: packs those that have no file.
    """
    files = _files_of(actors)
    if not files:
        return networks(actors)
    rest = {group: one for group, one in actors.items() if group not in files}
    packed = networks(rest) if rest else b""
    if packed is None:
        return None
    return _BESIDE + _packed({"networks": packed, "files": _packed({group: one.data for group, one in files.items()})})


def unpacked_beside(data: bytes, *, networks: Unpack) -> dict[str, AnyActor]:
    """Make the same policies again; see `packed_beside`.

    Args:
        data: of all of them.
        networks: unpacks those that have no file.

    Raises:
        PolicyFileError: if the policy of a file is damaged.
    """
    if not data.startswith(_BESIDE):
        return {**networks(data)}
    parts = _unpacked(data[len(_BESIDE) :])
    rest = networks(parts["networks"]) if parts["networks"] else {}
    return {**rest, **unpacked_files(parts["files"])}


def _files_of(actors: Mapping[str, AnyActor]) -> dict[str, FilePolicy]:
    return {group: one for group, one in actors.items() if isinstance(one, OnnxPolicy | RecurrentOnnxPolicy)}


def _packed(parts: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    write_message(stream, {"sizes": {name: len(data) for name, data in parts.items()}}, list(parts.values()))
    return stream.getvalue()


def _unpacked(data: bytes) -> dict[str, bytes]:
    read = read_message(io.BytesIO(data))
    assert read is not None, "policies end before their last byte"
    message, joined = read
    parts, begin = {}, 0
    for name, size in message["sizes"].items():
        parts[name] = joined[begin : begin + size]
        begin += size
    return parts
