"""Reads a policy file, verifies its checksum and parses its card; nothing in it is run here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from townlet_runtime.errors import PolicyFileError
from townlet_trajectory import ACTION_MASK, ArtifactError, SchemaError, vocabulary_digest
from townlet_trajectory.data.actions import ArrayActions, parse_actions
from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.policy_card import POLICY_FORMAT, POLICY_VERSION, STATE_IN, Commitment
from townlet_trajectory.evaluation.policy_card import PolicyCard as PolicyCard
from townlet_trajectory.storage.json import Fields
from townlet_trajectory.storage.paths import read_named

MAX_POLICY_BYTES = 256 * 2**20
"""A larger file is refused before it is read."""
MAX_STATE = 2**16
"""Numbers of recurrent state of one agent."""
MAX_BATCH = 4096
"""Agents of one forward pass, which the graph in a file is checked for; more are asked about in several."""

_DIGEST = re.compile(rb'"file_sha256": "([0-9a-f]{64})"')
_ZEROS = b"0" * 64
_Kind = TypeVar("_Kind")
_NAMES = {str: "text", int: "an integer", bool: "true or false", list: "a list", dict: "an object"}


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
    if version not in range(1, POLICY_VERSION + 1):
        newer = isinstance(version, int) and version > POLICY_VERSION
        raise PolicyFileError(
            path,
            expected=f"version 1 to {POLICY_VERSION}",
            got=f"{version!r}" + (": written by a newer townlet" if newer else ""),
        )
    actions = None if version == 1 else actions_in(raw, path)
    vocabulary = vocabulary_in(raw, path) if actions is None else texts_in(raw, "vocabulary", path)
    if (stated := raw.get("vocabulary_sha256")) != (found := vocabulary_digest(vocabulary)):
        raise PolicyFileError(path, expected=f"vocabulary of SHA-256 {stated!r}", got=found)
    state_size = value_in(raw, "state_size", int, path)
    if not 0 <= state_size <= MAX_STATE:
        raise PolicyFileError(path, expected=f"a `state_size` in [0, {MAX_STATE}]", got=repr(state_size))
    try:
        card = PolicyCard(
            vocabulary=vocabulary,
            observation_shapes=shapes_in(raw, path),
            weights_sha256=value_in(raw, "weights_sha256", str, path),
            world=value_in(raw, "world", str, path),
            feature_names=texts_in(raw, "feature_names", path),
            commitment=commitment_in(raw, path),
            state_size=state_size,
            has_values=value_in(raw, "values", bool, path),
            actions=actions,
            distribution=value_in({"distribution": "", **raw}, "distribution", str, path) if actions else "",
        )
    except EvaluationError as error:
        raise PolicyFileError(path, expected="a label that does not contradict itself", got=str(error)) from error
    if (stated := raw.get("spec_sha256")) != card.spec_sha256:
        raise PolicyFileError(path, expected=f"a spec of SHA-256 {stated!r}", got=card.spec_sha256)
    return card


def vocabulary_in(raw: Mapping[str, object], path: Path) -> tuple[str, ...]:
    """The keys in `vocabulary`; errors as `value_in`, and if two are the same or there is none."""
    vocabulary = texts_in(raw, "vocabulary", path)
    if not vocabulary or len(set(vocabulary)) != len(vocabulary):
        raise PolicyFileError(path, expected="a list of different keys in `vocabulary`", got=repr(vocabulary)[:80])
    return vocabulary


def actions_in(raw: Mapping[str, object], path: Path) -> ArrayActions:
    """The array actions in `actions`; errors as `value_in`, and if they are none."""
    stated = value_in(raw, "actions", dict, path)
    try:
        return parse_actions(Fields(stated, path))
    except (ArtifactError, SchemaError) as error:
        reason = error.reason if isinstance(error, ArtifactError) else str(error)
        raise PolicyFileError(path, expected="parts, or names and bounds, in `actions`", got=reason) from error


def value_in(raw: Mapping[str, object], name: str, kind: type[_Kind], path: Path) -> _Kind:
    """Return one value of an object that was read from a file.

    Args:
        raw: the object.
        name: of the value.
        kind: that it must be, exactly: no bool is an int.
        path: of the file, for the error.

    Raises:
        PolicyFileError: if it is missing or of another kind.
    """
    value = raw.get(name)
    if type(value) is not kind:
        raise PolicyFileError(path, expected=f"{_NAMES[kind]} in `{name}`", got=repr(value)[:80])
    return value


def texts_in(raw: Mapping[str, object], name: str, path: Path) -> tuple[str, ...]:
    """A list of texts; see `value_in`."""
    value: list[object] = value_in(raw, name, list, path)
    return tuple(value_in({name: one}, name, str, path) for one in value)


def shapes_in(raw: Mapping[str, object], path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes in `observations`; errors as `value_in`."""
    value: dict[str, object] = value_in(raw, "observations", dict, path)
    if not value or value.keys() & {ACTION_MASK, STATE_IN}:
        raise PolicyFileError(path, expected="a shape per observation in `observations`", got=repr(value)[:80])
    shapes = {}
    for name, shape in value.items():
        if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
            raise PolicyFileError(path, expected=f"positive sizes in `observations.{name}`", got=repr(shape)[:80])
        shapes[name] = tuple(shape)
    return shapes


def commitment_in(raw: Mapping[str, object], path: Path) -> Commitment | None:
    """The place in `commitment`, which may be null; errors as `value_in`."""
    if raw.get("commitment", "") is None:
        return None
    value: dict[str, object] = value_in(raw, "commitment", dict, path)
    return (
        value_in(value, "observation", str, path),
        value_in(value, "start", int, path),
        value_in(value, "max_ticks", int, path),
    )
