"""YAML that says what JSON could say: no tags, anchors, repeated keys, NaN or infinity; bounded size and depth.

Needs the extra `yaml`. Plain words mean what they mean in YAML 1.1, as in files that PyYAML has read before (`no` is
false, `3e4` without a point is text, like any short hash); only dates stay text, because JSON has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.storage.extras import require
from townlet_trajectory.storage.json import MAX_JSON_DEPTH, JsonValue

if TYPE_CHECKING:
    import yaml
else:
    yaml = require("yaml", "yaml")

MAX_YAML_BYTES = 4 << 20
"""Without libyaml, PyYAML reads about 100 kB a second: a longer manifest should be JSON."""

_MAX_NUMBER = 100
_PREFIX = "tag:yaml.org,2002:"
_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


def parse_yaml(data: bytes, path: str | Path) -> JsonValue:
    """Parse YAML that came from `path` (for the error).

    Raises:
        ArtifactError: if it is longer than `MAX_YAML_BYTES`, nested deeper than `MAX_JSON_DEPTH`, not UTF-8, not YAML,
            more than one document, repeats a key, has a key that is not text, or holds a tag, an anchor, an alias, NaN
            or infinity.
    """
    if len(data) > MAX_YAML_BYTES:
        raise ArtifactError(path, "parse", f"at most {MAX_YAML_BYTES} bytes of YAML are read, got {len(data)}")
    try:
        return _Builder().build(yaml.parse(data.decode(), Loader=_LOADER))
    except (yaml.YAMLError, ValueError) as error:
        raise ArtifactError(path, "parse", f"not YAML as it is read here: {' '.join(str(error).split())}") from error


class _Builder:
    """Puts the parser's events together, with a list for a stack: depth costs no recursion, an alias no expansion."""

    def __init__(self) -> None:
        self._open: list[list[JsonValue] | dict[str, JsonValue]] = []
        self._keys: list[str | None] = []
        """Of each open collection: the key that waits for its value."""
        self._roots: list[JsonValue] = []

    def build(self, events: Iterable[yaml.Event]) -> JsonValue:
        for event in events:
            if isinstance(event, yaml.AliasEvent):
                raise _refused("anchors and aliases are not allowed", event)
            if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
                self._begin(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._open.pop()
                self._keys.pop()
        return self._roots[0] if self._roots else None

    def _begin(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.anchor is not None:
            raise _refused("anchors and aliases are not allowed", event)
        if event.tag is not None:
            raise _refused(f"the tag {event.tag!r} is not allowed", event)
        if isinstance(event, yaml.ScalarEvent):
            self._add(_scalar(event), event)
            return
        value: list[JsonValue] | dict[str, JsonValue] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._add(value, event)
        self._open.append(value)
        self._keys.append(None)
        if len(self._open) > MAX_JSON_DEPTH:
            raise _refused(f"more than {MAX_JSON_DEPTH} levels deep", event)

    def _add(self, value: JsonValue, event: yaml.Event) -> None:
        if not self._open:
            if self._roots:
                raise _refused("a second document", event)
            self._roots.append(value)
            return
        into = self._open[-1]
        if isinstance(into, list):
            into.append(value)
        elif (key := self._keys[-1]) is not None:
            into[key], self._keys[-1] = value, None
        elif not isinstance(value, str):
            raise _refused(f"the key {value!r:.80} is not text (quote it)", event)
        elif value in into:
            raise _refused(f"the key {value!r:.80} twice", event)
        else:
            self._keys[-1] = value


def _scalar(event: yaml.ScalarEvent) -> JsonValue:
    text: str = event.value
    if not event.implicit[0]:  # quoted
        return text
    tag = _resolve(text)
    if tag in ("int", "float") and len(text) > _MAX_NUMBER:
        raise _refused(f"a number of {len(text)} characters", event)
    return _VALUE_OF[tag](text) if tag in _VALUE_OF else text


def _resolve(text: str) -> str:
    """The type of plain text in YAML 1.1: `int`, `bool`, ..., `str`."""
    tag: str = yaml.resolver.Resolver().resolve(  # type: ignore[no-untyped-call]  # the stubs leave its types out
        yaml.ScalarNode, text, (True, False)
    )
    return tag.removeprefix(_PREFIX)


def _float(text: str) -> float:
    value: float = yaml.constructor.SafeConstructor().construct_yaml_float(yaml.ScalarNode(f"{_PREFIX}float", text))
    if not math.isfinite(value):
        raise ValueError(f"the number {text} is not finite")
    return value


def _int(text: str) -> int:
    value: int = yaml.constructor.SafeConstructor().construct_yaml_int(yaml.ScalarNode(f"{_PREFIX}int", text))
    return value


_BOOLS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_VALUE_OF: dict[str, Callable[[str], JsonValue]] = {
    "null": lambda _: None,
    "bool": lambda text: _BOOLS[text.lower()],
    "int": _int,
    "float": _float,
}


def _refused(problem: str, event: yaml.Event) -> ValueError:
    mark = event.start_mark
    return ValueError(problem if mark is None else f"{problem} (line {mark.line + 1}, column {mark.column + 1})")
