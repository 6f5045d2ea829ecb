"""Reads a policy file, verifies its checksum and parses its card; nothing in it is run here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.errors import PolicyFileError
from townlet_trajectory import ArtifactError, vocabulary_digest
from townlet_trajectory.storage.paths import read_named

POLICY_FORMAT = "townlet-policy"
POLICY_VERSION = 1
MAX_POLICY_BYTES = 256 * 2**20
"""A larger file is refused before it is read."""
MAX_BATCH = 4096
"""Agents of one forward pass, which the graph in a file is checked for; more are asked about in several."""

_DIGEST = re.compile(rb'"file_sha256": "([0-9a-f]{64})"')
_ZEROS = b"0" * 64


@dataclass(frozen=True, kw_only=True)
class PolicyCard:
    """The label of a policy file: its actions, observations, weights and world."""

    vocabulary: tuple[str, ...]
    observation_shapes: Mapping[str, tuple[int, ...]]
    weights_sha256: str
    """Of the network's weights, whatever file holds them."""
    world: str
    """Name of the simulation that it was trained in."""


def read_policy_bytes(path: Path) -> bytes:
    """Read a whole file; only a regular one, and never more than `MAX_POLICY_BYTES`.

    Raises:
        PolicyFileError: if it cannot be read, is no regular file, or is too large.
    """
    try:
        return read_named(path, max_bytes=MAX_POLICY_BYTES)
    except ArtifactError as error:
        raise PolicyFileError(path, expected="a readable policy file", got=error.reason) from error


def verified_digest(data: bytes, path: Path) -> str:
    """Return the file's own digest, after checking that the bytes still have it.

    It is the SHA-256 of the whole file with the digest's 64 characters replaced by zeros.

    Raises:
        PolicyFileError: if there is no digest (a foreign file) or another one (a damaged file).
    """
    found = list(_DIGEST.finditer(data))
    if len(found) != 1:
        raise PolicyFileError(
            path,
            expected=f"one `file_sha256` of a {POLICY_FORMAT} file",
            got=f"{len(found)}: foreign, or damaged in that place",
        )
    start, end = found[0].span(1)
    view = memoryview(data)
    digest = hashlib.sha256(view[:start])
    digest.update(_ZEROS)
    digest.update(view[end:])
    stated = data[start:end].decode("ascii")
    if digest.hexdigest() != stated:
        raise PolicyFileError(path, expected=f"SHA-256 {stated}", got=f"{digest.hexdigest()}: the file is damaged")
    return stated


def parse_card(text: str, path: Path) -> PolicyCard:
    """Parse the metadata entry `townlet`.

    Raises:
        PolicyFileError: if it is foreign, of a newer version, or contradicts itself.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyFileError(path, expected="JSON in the metadata entry `townlet`", got=str(error)) from error
    if not isinstance(raw, dict) or raw.get("format") != POLICY_FORMAT:
        raise PolicyFileError(path, expected=f"format `{POLICY_FORMAT}`", got=f"{text[:80]!r}: foreign")
    version = raw.get("version")
    if version != POLICY_VERSION:
        newer = isinstance(version, int) and version > POLICY_VERSION
        raise PolicyFileError(
            path,
            expected=f"version {POLICY_VERSION}",
            got=f"{version!r}" + (": written by a newer townlet" if newer else ""),
        )
    vocabulary = _vocabulary(raw.get("vocabulary"), path)
    stated = raw.get("vocabulary_sha256")
    if stated != vocabulary_digest(vocabulary):
        raise PolicyFileError(
            path, expected=f"vocabulary of SHA-256 {stated!r}", got=f"{vocabulary_digest(vocabulary)}"
        )
    return PolicyCard(
        vocabulary=vocabulary,
        observation_shapes=_shapes(raw.get("observations"), path),
        weights_sha256=_text(raw.get("weights_sha256"), "weights_sha256", path),
        world=_text(raw.get("world"), "world", path),
    )


def _text(value: object, name: str, path: Path) -> str:
    if not isinstance(value, str):
        raise PolicyFileError(path, expected=f"text in `{name}`", got=repr(value))
    return value


def _vocabulary(value: object, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or len(set(map(repr, value))) != len(value):
        raise PolicyFileError(path, expected="a list of different keys in `vocabulary`", got=repr(value)[:80])
    return tuple(_text(key, "vocabulary", path) for key in value)


def _shapes(value: object, path: Path) -> dict[str, tuple[int, ...]]:
    if not isinstance(value, dict) or not value:
        raise PolicyFileError(path, expected="a shape per observation in `observations`", got=repr(value)[:80])
    shapes = {}
    for name, shape in value.items():
        if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
            raise PolicyFileError(path, expected=f"positive sizes in `observations.{name}`", got=repr(shape)[:80])
        shapes[name] = tuple(shape)
    return shapes
