"""Messages between a process and its workers: JSON, and bytes that belong to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO, Any

Message = dict[str, Any]
"""What JSON can hold."""
_SIZE = 8
"""Bytes of each of the two lengths before a message."""


def write_message(stream: IO[bytes], message: Message, parts: Sequence[bytes] = ()) -> None:
    """Write a message.

    Args:
        stream: where to.
        message: what JSON can hold.
        parts: bytes that belong to it, which are read as one.
    """
    text = json.dumps(message, allow_nan=False).encode()
    size = sum(map(len, parts))
    stream.write(len(text).to_bytes(_SIZE, "big") + size.to_bytes(_SIZE, "big") + text)
    for part in parts:
        stream.write(part)
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[Message, bytes] | None:
    """Read what `write_message` wrote; None where the stream has ended."""
    sizes = stream.read(2 * _SIZE)
    text_size, data_size = int.from_bytes(sizes[:_SIZE], "big"), int.from_bytes(sizes[_SIZE:], "big")
    text, data = stream.read(text_size), stream.read(data_size)
    if len(sizes) < 2 * _SIZE or len(text) < text_size or len(data) < data_size:
        return None
    message: Message = json.loads(text)
    return message, data
