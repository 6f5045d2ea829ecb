"""What goes through the socket of a served policy, as JSON text or as bytes; `messages.schema.json` describes it.

The binary form is a uint32 (little endian) H, a multiple of 4, then H bytes of JSON, padded with spaces, then arrays.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Literal, TypeAlias, get_args

from numpy.typing import NDArray

from townlet_runtime.sockets.fields import MAX_WHOLE, MessageError, json_object

VERSION = 1
"""Of the messages."""
SUBPROTOCOL = "townlet.serve.v1"
MAX_BYTES = 16 * 2**20
"""Of one message; a larger one ends its connection before it is read (1009, RFC 6455)."""
MAX_TEXT_BYTES = 4 * 2**20
"""Of a JSON text, because the interpreter reads it in one go, and of the JSON in a binary message."""
Kind: TypeAlias = Literal[
    "message",
    "version",
    "size",
    "group",
    "agents",
    "repeated",
    "shape",
    "dtype",
    "finite",
    "mask",
    "memory",
    "policy",
]
"""Of a refusal."""
KINDS: tuple[Kind, ...] = get_args(Kind)
_SIZE = struct.Struct("<I")
_ID_WITHIN = 256
"""Bytes at the beginning of a message too large to read, in which its id is looked for."""


class QuestionError(MessageError):
    """A message that is refused.

    Attributes:
        kind: of the refusal.
        id: of the message; None: it has none that can be read.
    """

    def __init__(self, kind: Kind, text: str) -> None:
        self.kind: Kind = kind
        self.id: int | None = None
        super().__init__(text)


def schema_text() -> str:
    """Return `messages.schema.json`: a JSON Schema (draft 2020-12) of the messages and of the JSON in binary ones."""
    return (files("townlet_runtime") / "serving" / "messages.schema.json").read_text(encoding="utf-8")


def text_message(content: Mapping[str, Any]) -> str:
    """Return a message as JSON text."""
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def binary_message(content: Mapping[str, Any], arrays: Sequence[NDArray[Any]]) -> bytes:
    """Return a message in the binary form.

    Args:
        content: the JSON in it.
        arrays: that follow, little endian.
    """
    text = text_message(content).encode()
    text += b" " * (-len(text) % _SIZE.size)
    rows = (array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes() for array in arrays)
    return b"".join([_SIZE.pack(len(text)), text, *rows])


def split_message(sent: str | bytes) -> tuple[dict[str, Any], memoryview | None]:
    """Return the object of a message, and the bytes after it; None: it is JSON text.

    Raises:
        QuestionError: if it is too large (`size`), or neither form (`message`).
    """
    if isinstance(sent, str):
        if len(sent) > MAX_TEXT_BYTES:
            raise QuestionError("size", f"expected a text of at most {MAX_TEXT_BYTES} bytes, got {len(sent)}")
        return _object(sent), None
    size = _SIZE.unpack_from(sent)[0] if len(sent) >= _SIZE.size else None
    if size is None or size % _SIZE.size or size > len(sent) - _SIZE.size:
        raise QuestionError("message", f"expected the length of the JSON that begins the {len(sent)} bytes")
    if size > MAX_TEXT_BYTES:
        raise QuestionError("size", f"expected JSON of at most {MAX_TEXT_BYTES} bytes, got {size}")
    view = memoryview(sent)[_SIZE.size :]
    return _object(bytes(view[:size])), view[size:]


def id_of(content: Mapping[str, Any]) -> int | None:
    """Return the id of a message; None where it has none."""
    found = content.get("id")
    is_id = isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= MAX_WHOLE
    return found if is_id else None


def id_within(sent: str | bytes) -> int | None:
    """Return the id in the first bytes of a message that is not read; None where there is none."""
    begin = sent[:_ID_WITHIN].encode() if isinstance(sent, str) else sent[:_ID_WITHIN]
    found = re.search(rb'"id" ?: ?(\d{1,16})\b', begin)
    return int(found[1]) if found and int(found[1]) <= MAX_WHOLE else None


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        return json_object(text)
    except MessageError as error:
        kind: Kind = "finite" if "finite" in str(error) else "message"
        raise QuestionError(kind, str(error)) from error
