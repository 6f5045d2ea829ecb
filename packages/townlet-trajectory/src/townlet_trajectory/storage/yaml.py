"""YAML by the core schema of YAML 1.2, for manifests and configs: content that JSON could hold, and nothing else.

Needs the extra `yaml`. Plain text means what section 10.3.2 of the specification says (https://yaml.org/spec/1.2.2):
`010` is 10, `0o10` is 8, `3e-4` and `1e6` are floats; `no`, `1:30`, `1_000` and dates are text. Tags, anchors, aliases,
repeated keys, keys that are not text, NaN, infinity and a second document are refused with line and column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from townlet_trajectory.errors import ArtifactError, require
from townlet_trajectory.storage.json import MAX_JSON_DEPTH, JsonValue, canonical_json
from townlet_trajectory.storage.paths import read_named

if TYPE_CHECKING:
    import yaml
else:
    yaml = require("yaml", "yaml")

MAX_YAML_BYTES = 4 << 20
"""Without libyaml, PyYAML reads about 100 kB a second: a longer manifest should be JSON."""

_MAX_NUMBER = 100
_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_NOT_IN_YAML = yaml.reader.Reader.NON_PRINTABLE
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


_PLACE = re.compile(r"\(line (\d+)(?:, column (\d+))?\)$")


class Mark(NamedTuple):
    """A place in a file; lines and columns are counted from 1."""

    line: int
    column: int | None


Marks: TypeAlias = dict[tuple[str | int, ...], Mark]
"""By path: where a key of a mapping, or an item of a list, begins."""


def read_yaml(path: str | Path, *, max_bytes: int = MAX_YAML_BYTES) -> JsonValue:
    """Read the one document of a YAML file that the user named; None for an empty file.

    Raises `ArtifactError` as `read_named` and `parse_yaml` do.
    """
    return parse_yaml(read_named(path, max_bytes=max_bytes), path)


def parse_yaml(data: bytes, path: str | Path, marks: Marks | None = None) -> JsonValue:
    """Parse YAML that came from `path` (for the error). Raises `ArtifactError` if it is longer than `MAX_YAML_BYTES`,
    nested deeper than `MAX_JSON_DEPTH`, not UTF-8, not YAML, more than one document, repeats a key, has a key that is
    not text, or holds a tag, an anchor, an alias, NaN or infinity; names line and column.

    Args:
        data: of the file.
        path: of the file, for errors.
        marks: is filled with the place of every key and item; None: nobody asks for them.
    """
    if len(data) > MAX_YAML_BYTES:
        raise ArtifactError(path, "parse", f"at most {MAX_YAML_BYTES} bytes of YAML are read, got {len(data)}")
    try:
        text = data.decode()
        _check_characters(text)
        return _Builder(marks).build(yaml.parse(text, Loader=_LOADER))
    except UnicodeDecodeError as error:
        raise ArtifactError(path, "parse", f"not UTF-8 at byte {error.start}") from error
    except ValueError as error:
        raise ArtifactError(path, "parse", str(error)) from error
    except yaml.MarkedYAMLError as error:
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise ArtifactError(path, "parse", f"not YAML: {problem}{_place(error.problem_mark)}") from error
    except yaml.YAMLError as error:
        raise ArtifactError(path, "parse", f"not YAML: {' '.join(str(error).split())}") from error


def place_of(error: ArtifactError) -> Mark | None:
    """Return the place that an error of `parse_yaml` names; None where it names none."""
    found = _PLACE.search(error.reason)
    return None if found is None else Mark(int(found[1]), None if found[2] is None else int(found[2]))


def parse_value(text: str, path: str | Path) -> JsonValue:
    """Read the value of one key as a command line gives it (`KEY=VALUE`).

    Text that begins with `[`, `{`, `"` or `'` is YAML; any other text is one plain scalar up to its end. So `50` is a
    number and `null` is None, and `#ff0000`, `a: b`, `- a` and `*` are text. Spaces around it do not count. Raises
    `ArtifactError` with the option's name, `path`, if nothing is there or `parse_yaml` would refuse it.
    """
    text = text.strip()
    if not text:
        raise ArtifactError(path, "parse", "expected a value, got none (`''` is the empty text, `null` is none)")
    if text[0] in "[{\"'":
        return parse_yaml(text.encode(errors="surrogatepass"), path)
    try:
        _check_characters(text)
        return _plain(text)
    except ValueError as error:
        raise ArtifactError(path, "parse", str(error)) from error


def dump_yaml(value: JsonValue) -> str:
    """Return the YAML of `value`, keys in the order given; `parse_yaml` reads the same value back. Raises `ValueError`
    if a number is NaN or infinite."""
    canonical_json(value)  # refuses the numbers that YAML would write and no reader here takes
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None)
    return text


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML 1.1 (PyYAML, other readers) or the core schema reads as something else than text."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        # In other quotes, PyYAML writes some line breaks of Unicode as they are, and they are read as spaces.
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


class _Builder:
    """Puts the parser's events together, with a list for a stack: depth costs no recursion, an alias no expansion."""

    def __init__(self, marks: Marks | None = None) -> None:
        self._marks = marks
        self._open: list[list[JsonValue] | dict[str, JsonValue]] = []
        self._keys: list[str | None] = []
        """Of each open collection: the key that waits for its value."""
        self._names: list[str | int] = []
        """Of each open collection but the first: its key or place in the one around it."""
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
                self._names[-1:] = []
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
        name = self._next_name()
        self._add(value, event)
        self._names += [] if name is None else [name]
        self._open.append(value)
        self._keys.append(None)
        if len(self._open) > MAX_JSON_DEPTH:
            raise _refused(f"more than {MAX_JSON_DEPTH} levels deep", event)

    def _next_name(self) -> str | int | None:
        """The key or place of what begins now; None of a document."""
        if not self._open:
            return None
        into = self._open[-1]
        return len(into) if isinstance(into, list) else self._keys[-1]

    def _add(self, value: JsonValue, event: yaml.Event) -> None:
        if not self._open:
            if self._roots:
                raise _refused("a second document", event)
            self._roots.append(value)
            return
        into = self._open[-1]
        if isinstance(into, list):
            self._mark(len(into), event)
            into.append(value)
        elif (key := self._keys[-1]) is not None:
            into[key], self._keys[-1] = value, None
        elif not isinstance(value, str):
            raise _refused(f"the key {value!r:.80} is not text (quote it)", event)
        elif value in into:
            raise _refused(f"the key {value!r:.80} twice", event)
        else:
            self._keys[-1] = value
            self._mark(value, event)

    def _mark(self, name: str | int, event: yaml.Event) -> None:
        mark = event.start_mark
        if self._marks is not None and mark is not None:
            self._marks[*self._names, name] = Mark(mark.line + 1, mark.column + 1)


def _scalar(event: yaml.ScalarEvent) -> JsonValue:
    text: str = event.value
    if not event.implicit[0]:  # quoted
        return text
    try:
        return _plain(text)
    except ValueError as error:
        raise _refused(str(error), event) from error


def _plain(text: str) -> JsonValue:
    """The value of text without quotes, by the core schema."""
    if text in _NULL:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    is_integer = _INTEGER.fullmatch(text) is not None
    if not is_integer and _FLOAT.fullmatch(text) is None:
        if _NOT_FINITE.fullmatch(text):
            raise ValueError(f"the number {text} is not finite")
        return text
    if len(text) > _MAX_NUMBER:
        raise ValueError(f"a number has at most {_MAX_NUMBER} characters, got {len(text)}")
    if is_integer:
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if not math.isfinite(number := float(text)):
        raise ValueError(f"the number {text} is not finite")
    return number


def _check_characters(text: str) -> None:
    if found := _NOT_IN_YAML.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"the character {found.group()!r} is not allowed (line {line})")


def _refused(problem: str, event: yaml.Event) -> ValueError:
    return ValueError(problem + _place(event.start_mark))


class _Mark(Protocol):
    """A place in the text, of either parser; counted from 0."""

    line: int
    column: int


def _place(mark: _Mark | None) -> str:
    return "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
