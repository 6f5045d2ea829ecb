"""YAML as a config may use it: plain mappings, lists and scalars; no tags, aliases, repeated keys, NaN or infinity."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Protocol, TypeAlias

import yaml

from townlet_runtime.errors import ConfigError

Yaml: TypeAlias = "bool | int | float | str | list[Yaml] | dict[str, Yaml] | None"

MAX_BYTES = 2**20
"""A larger file is refused unread."""
MAX_DEPTH = 64

_EXPONENT = re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+")
_DROPPED_TAGS = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")
_FLOAT_TAG = "tag:yaml.org,2002:float"


class _Position(Protocol):
    line: int
    column: int


class _RefusedError(yaml.YAMLError):
    """What YAML allows and a config does not."""

    def __init__(self, problem: str, mark: _Position | None) -> None:
        super().__init__(problem + _place(mark))


def _place(mark: _Position | None) -> str:
    return "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    kept = {
        first: [(tag, pattern) for tag, pattern in pairs if tag not in _DROPPED_TAGS]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    # YAML 1.1 reads 3e-4 as text because it has no point; everybody means the number.
    for first in "-+0123456789":
        kept[first] = [(_FLOAT_TAG, _EXPONENT), *kept.get(first, [])]
    return kept


class _StrictLoader(yaml.SafeLoader):
    yaml_implicit_resolvers = _resolvers()

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            raise _RefusedError("anchors and aliases are not allowed", event.start_mark)
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
            raise _RefusedError(f"the tag {event.tag!r} is not allowed", event.start_mark)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _RefusedError(f"more than {MAX_DEPTH} levels deep", event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _RefusedError(f"the key {key!r} is not text (quote it)", key_node.start_mark)
            if key in seen:
                raise _RefusedError(f"the key `{key}` twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        value: float = super().construct_yaml_float(node)
        if not math.isfinite(value):
            raise _RefusedError(f"the number {node.value} is not finite", node.start_mark)
        return value


_StrictLoader.add_constructor(_FLOAT_TAG, _StrictLoader.construct_yaml_float)


def parse_yaml(text: str, *, source: Path | str) -> Yaml:
    """Return what `text` says.

    Args:
        source: named in errors.

    Raises:
        ConfigError: for what is no YAML, and for what a config may not use; names the line.
    """
    try:
        content: Yaml = yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{problem}{_place(error.problem_mark)}", file=source) from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(" ".join(str(error).split())[:200], file=source) from error
    return content


def read_yaml(path: Path) -> Yaml:
    """Return what the file at `path` says.

    Raises:
        ConfigError: if it cannot be read, is larger than `MAX_BYTES`, is not UTF-8, or `parse_yaml` refuses it.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read it: {error.strerror}", file=path) from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"larger than {MAX_BYTES} bytes", file=path)
    try:
        return parse_yaml(data.decode("utf-8"), source=path)
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 at byte {error.start}", file=path) from error
