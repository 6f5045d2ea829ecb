"""Everything that is wrong with a config file, not the first thing alone: what is refused is taken out, and so on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.config.keys import nearest_key
from townlet_runtime.config.load import LoadedConfig, config_from
from townlet_runtime.config.places import Located, UnreadableError
from townlet_runtime.config.schema import Config, known_keys
from townlet_runtime.errors import ConfigError, UnknownKeyError

MAX_PROBLEMS = 100
"""More are not looked for."""
_OF_FILE = re.compile(r"(.+?): (.+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something about a key of a file."""

    file: str
    line: int | None
    """From 1; None: not known."""
    column: int | None
    key: str | None
    """None: it is about the file."""
    problem: str
    """What was expected, and what came."""
    nearest: str | None = None
    """Of a key that is not known: the known key that is most like it."""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{place}: {self.problem}" if self.key is None else f"{place}: `{self.key}`: {self.problem}"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What there is to say about a config file."""

    file: str
    errors: tuple[Problem, ...]
    """In the order of their lines."""
    warnings: tuple[Problem, ...]
    """Keys that nothing acts on, and objects whose use satisfies nothing."""


Further = Callable[[Config], None]
"""Looks for what only a part beyond the config knows; raises `ConfigError`."""


def config_problems(path: Path, further: Further | None = None) -> Checked:
    """Look for everything that is wrong with a config file.

    Args:
        path: of the file.
        further: looks at what is right so far; None: nothing does.
    """
    source = str(path)
    try:
        file = Located.read(path)
    except UnreadableError as error:
        return Checked(file=source, errors=(_problem(error, source, None),), warnings=())
    errors: list[Problem] = []
    loaded: LoadedConfig | None = None
    while loaded is None and len(errors) < MAX_PROBLEMS:
        try:
            loaded = _loaded(file, path, further)
        except ConfigError as error:
            if error.key is None and errors:
                # Nothing but what is not known is left.
                break
            errors.append(_problem(error, source, file))
            if not file.take(_taken(error, source)):
                break
    warnings = () if loaded is None else _warnings(loaded, file)
    return Checked(file=source, errors=tuple(sorted(errors, key=_order)), warnings=warnings)


def _loaded(file: Located, path: Path, further: Further | None) -> LoadedConfig:
    content = {} if file.content is None else file.content
    if not isinstance(content, dict):
        raise ConfigError("expected sections (`key: value`) at the top", file=path)
    loaded = config_from(content, source=str(path), folder=path.parent)
    if further is not None:
        further(loaded.config)
    return loaded


def _taken(error: ConfigError, source: str) -> str:
    """The key to go on without: of a file that the config names, the key that names it."""
    return (error.key or "") if error.file is None or str(error.file) == source else "affordances.affordances_file"


def _problem(error: ConfigError, source: str, file: Located | None) -> Problem:
    name = source if error.file is None else str(error.file)
    if name != source:
        try:
            file = Located.read(Path(name))
        except UnreadableError:
            file = None
    key, mark = error.key, error.mark if isinstance(error, UnreadableError) else None
    if key is not None and file is not None:
        key, mark, _ = file.place(key)
    return Problem(
        file=name,
        line=None if mark is None else mark.line,
        column=None if mark is None else mark.column,
        key=key,
        problem=error.problem,
        nearest=error.nearest if isinstance(error, UnknownKeyError) else None,
    )


def _warnings(loaded: LoadedConfig, file: Located) -> tuple[Problem, ...]:
    said: list[tuple[str, str, str | None]] = [(key, "nothing acts on it here", None) for key in loaded.without_effect]
    said += [(key, "a plain object: using it satisfies nothing", None) for key in loaded.plain_objects]
    for key in loaded.unknown:
        near = nearest_key([key], known_keys())
        said.append((key, f"unknown, and left out; the nearest known key is `{near}`", near))
    found = [_warning(text, problem, nearest, loaded.source, file) for text, problem, nearest in said]
    return tuple(sorted(found, key=_order))


def _warning(text: str, problem: str, nearest: str | None, source: str, file: Located) -> Problem:
    """A warning of a key, beside which may stand why; or of the entries of another file, which stand below its name."""
    of_file = _OF_FILE.fullmatch(text)
    if of_file is not None:
        return Problem(file=of_file[1], line=None, column=None, key=None, problem=f"{problem}: {of_file[2]}")
    key, _, why = text.partition(" (")
    mark = file.place(key).mark
    return Problem(
        file=source,
        line=None if mark is None else mark.line,
        column=None if mark is None else mark.column,
        key=key,
        problem=f"{problem} ({why}" if why else problem,
        nearest=nearest,
    )


def _order(problem: Problem) -> tuple[int, int]:
    return (problem.line or 0, problem.column or 0)
