"""Where the keys of a YAML file stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from townlet_runtime.config.check import MAX_BYTES
from townlet_runtime.errors import ConfigError
from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.storage.json import JsonValue
from townlet_trajectory.storage.paths import read_named
from townlet_trajectory.storage.yaml import Mark, Marks, parse_yaml, place_of


class UnreadableError(ConfigError):
    """A file that is no YAML: names the place where it is known."""

    def __init__(self, problem: str, *, file: Path | str, mark: Mark | None) -> None:
        self.mark = mark
        super().__init__(problem, file=file)


class Place(NamedTuple):
    """Where a key stands."""

    key: str
    """As it stands in the file: places in lists are those before anything was taken out."""
    mark: Mark | None
    """Of the key, or of the section around it that is there; None: there is none."""
    is_exact: bool
    """Whether the key itself is there."""


@dataclass
class _Node:
    """A value of the file; what is taken out of the content is taken out here too."""

    name: str
    mark: Mark | None
    below: dict[str | int, _Node] = field(default_factory=dict)


class _Step(NamedTuple):
    """From a section to a key of it."""

    name: str | int
    node: _Node
    value: JsonValue
    text: str
    """As it is written in a dotted key."""


class Located:
    """The content of a YAML file, with the place of each of its keys.

    Args:
        content: of the file.
        marks: of its keys and items.
    """

    def __init__(self, content: JsonValue, marks: Marks) -> None:
        self.content = content
        self._root = _tree("", content, (), marks)

    @classmethod
    def parse(cls, data: bytes, source: Path | str) -> Located:
        """Read YAML that is called `source` in errors.

        Raises:
            UnreadableError: if it is none, or holds what a config does not need.
        """
        marks: Marks = {}
        try:
            return cls(parse_yaml(data, source, marks), marks)
        except ArtifactError as error:
            raise UnreadableError(error.reason, file=source, mark=place_of(error)) from error

    @classmethod
    def read(cls, path: Path) -> Located:
        """Read a YAML file.

        Raises:
            UnreadableError: as `parse`, and if it cannot be read or is too large.
        """
        try:
            data = read_named(path, max_bytes=MAX_BYTES)
        except ArtifactError as error:
            raise UnreadableError(f"cannot read it: {error.reason}", file=path, mark=None) from error
        return cls.parse(data, path)

    def place(self, key: str) -> Place:
        """Return where a dotted key stands.

        Args:
            key: as errors name it, with items of a list by place or id: `agents.0.job`, `agents[bob].job`.
        """
        steps, rest = self._steps(key)
        shown = "".join(step.text for step in steps)
        full = f"{shown}.{rest}" if rest else shown
        return Place(full.removeprefix("."), steps[-1].node.mark if steps else None, not rest)

    def take(self, key: str) -> bool:
        """Take a key out of the content; where it is not there, the section around it. Return whether anything was.

        A list of values is taken as a whole: with one of them less it would mean something else.
        """
        steps, _ = self._steps(key)
        while steps and isinstance(steps[-1].name, int) and not isinstance(steps[-1].value, dict):
            steps.pop()
        if not steps:
            return False
        *above, last = steps
        content, node = (above[-1].value, above[-1].node) if above else (self.content, self._root)
        if isinstance(content, dict) and isinstance(last.name, str):
            del content[last.name]
            del node.below[last.name]
        elif isinstance(content, list) and isinstance(last.name, int):
            del content[last.name]
            left = [each for place, each in node.below.items() if place != last.name]
            node.below = dict(enumerate(left))
        return True

    def _steps(self, key: str) -> tuple[list[_Step], str]:
        """The steps that lead to a key as far as it is there, and what is left of the key."""
        steps: list[_Step] = []
        content, node, rest = self.content, self._root, key
        while rest:
            found = _next(content, rest)
            if found is None:
                break
            name, form, rest = found
            content, node = _value(content, name), node.below[name]
            # By its number, an item is shown with the one that it has in the file.
            text = node.name if form.isdecimal() else form
            steps.append(_Step(name, node, content, text if text.startswith("[") else f".{text}"))
        return steps, rest


def _tree(name: str, content: JsonValue, path: tuple[str | int, ...], marks: Marks) -> _Node:
    # By a list of what waits: as deep as a file may be, and no recursion.
    root = _Node(name, marks.get(path))
    waiting: list[tuple[_Node, JsonValue, tuple[str | int, ...]]] = [(root, content, path)]
    while waiting:
        node, value, where = waiting.pop()
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            node.below[key] = _Node(str(key), marks.get((*where, key)))
            waiting.append((node.below[key], inner, (*where, key)))
    return root


def _value(content: JsonValue, name: str | int) -> JsonValue:
    if isinstance(content, dict) and isinstance(name, str):
        return content[name]
    return content[name] if isinstance(content, list) and isinstance(name, int) else None


def _next(content: JsonValue, rest: str) -> tuple[str | int, str, str] | None:
    """The name in `content` that a dotted key begins with, how it is written, and the rest; a name may hold dots."""
    if isinstance(content, list):
        names: list[tuple[str | int, str]] = []
        for index, item in enumerate(content):
            label = item.get("id") if isinstance(item, dict) else None
            names += [(index, str(index)), (index, f"[{index}]")]
            names += [(index, label), (index, f"[{label}]")] if isinstance(label, str) and label else []
    elif isinstance(content, dict):
        names = [(name, form) for name in content for form in (name, f"[{name}]")]
    else:
        return None
    for name, form in sorted(names, key=lambda each: -len(each[1])):
        if rest.startswith(form) and (len(rest) == len(form) or rest[len(form)] in ".["):
            return name, form, rest[len(form) :].removeprefix(".")
    return None
