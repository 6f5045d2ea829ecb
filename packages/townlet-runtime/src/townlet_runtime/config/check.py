"""Read YAML, and check content by a section; a fault becomes one error that names file and key."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from townlet_runtime.errors import ConfigError, UnknownKeyError, WrongValueError
from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.storage.json import JsonValue
from townlet_trajectory.storage.yaml import parse_yaml, read_yaml

MAX_BYTES = 2**20
"""A larger file is refused unread."""

_UNKNOWN = frozenset({"extra_forbidden", "unexpected_keyword_argument"})
_LENGTH = re.compile(r"^(?:Tuple|List) should have (at (?:most|least) \d+ items?) after validation, not \d+$")
_NO_SECTION = frozenset({"model_type", "dataclass_type"})

ModelT = TypeVar("ModelT", bound=BaseModel)


def parse(data: bytes, source: str) -> JsonValue:
    """Read YAML that is called `source` in errors.

    Raises:
        ConfigError: if it is no YAML, or holds what a config does not need; names the place.
    """
    try:
        return parse_yaml(data, source)
    except ArtifactError as error:
        raise ConfigError(error.reason, file=source) from error


def read(path: Path) -> JsonValue:
    """Read a YAML file.

    Raises:
        ConfigError: if it cannot be read, is larger than `MAX_BYTES`, or `parse` refuses it.
    """
    try:
        return read_yaml(path, max_bytes=MAX_BYTES)
    except ArtifactError as error:
        problem = error.reason if error.stage == "parse" else f"cannot read it: {error.reason}"
        raise ConfigError(problem, file=path) from error


def checked(model: type[ModelT], content: dict[str, JsonValue]) -> ModelT:
    """Return what `content` says, as `model`.

    Raises:
        UnknownKeyError: for the first key that is not known.
        WrongValueError: for the first wrong value, where every key is known.
    """
    try:
        # As JSON, in which a list is no list but an array: strict, and still what YAML can say.
        return model.model_validate_json(json.dumps(_whole_numbers(content)))
    except ValidationError as error:
        details = error.errors(include_url=False)
        unknown = [detail for detail in details if detail["type"] in _UNKNOWN]
        path = path_of((unknown or details)[0], content)
        if unknown:
            raise UnknownKeyError(path) from error
        same_key = [detail for detail in details if path_of(detail, content) == path]
        raise WrongValueError(problem_of(same_key), path).of_a_field() from error


def _whole_numbers(content: JsonValue) -> JsonValue:
    """Take `1e6` and `3.0`, which YAML calls floats, for the whole numbers that they are: no setting tells them apart.

    The settings of other people's environments are left alone.
    """
    if isinstance(content, dict):
        return {key: value if key == "settings" else _whole_numbers(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_whole_numbers(item) for item in content]
    is_whole = isinstance(content, float) and content.is_integer() and abs(content) < 2**63
    return int(content) if is_whole and isinstance(content, float) else content


def path_of(detail: ErrorDetails, content: JsonValue) -> tuple[str, ...]:
    """Return the key of an error: its location without the names that pydantic gives to branches of unions."""
    path = []
    for part in detail["loc"]:
        if isinstance(content, dict) and part in content:
            content = content[str(part)]
        elif isinstance(content, list) and isinstance(part, int) and part < len(content):
            content = content[part]
        elif not detail["type"].startswith("missing"):
            continue
        path.append(str(part))
    return tuple(path)


def problem_of(details: Sequence[ErrorDetails]) -> str:
    """Say in one line which value was expected and which came, from all errors about one key."""
    messages = [_LENGTH.sub(r"a list with \1", detail["msg"]) for detail in details]
    messages = [message.removeprefix("Value error, ").removeprefix("Input should be ") for message in messages]
    first = details[0]
    if first["type"].startswith("missing"):
        return "must be there"
    if first["type"] == "value_error":
        return messages[0]
    if first["type"] in _NO_SECTION:
        messages = ["a section (`key: value` lines)"]
    shown = repr(first["input"])
    shown = shown if len(shown) <= 80 else f"{shown[:80]}..."
    return f"must be {' or '.join(dict.fromkeys(messages))}, got {shown}"
