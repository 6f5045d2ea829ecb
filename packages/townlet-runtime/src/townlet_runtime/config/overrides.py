"""`--set KEY=VALUE`: one key of the config, replaced before anything is validated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from townlet_runtime.config.yaml_reader import Yaml, parse_yaml
from townlet_runtime.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Override:
    """A key and the value that replaces what the file says."""

    path: tuple[str, ...]
    value: Yaml
    label: str
    """What errors call it: the option as it was given."""


def parse_override(text: str) -> Override:
    """Return the override that `KEY=VALUE` means; the value is read as YAML.

    Raises:
        ConfigError: names the override.
    """
    label = f"--set {text}"
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise ConfigError("expected KEY=VALUE, such as `town.agents=50`", file=label)
    return Override(path=path, value=parse_yaml(value, source=label), label=label)


def apply_overrides(content: dict[str, Yaml], overrides: Iterable[Override]) -> dict[str, Yaml]:
    """Return `content` with every override carried out, in order; `content` itself stays as it is."""
    for override in overrides:
        content = _replaced(content, override.path, override)
    return content


def _replaced(content: dict[str, Yaml], path: tuple[str, ...], override: Override) -> dict[str, Yaml]:
    first, *rest = path
    if not rest:
        return content | {first: override.value}
    inner = content.get(first)
    if inner is None:
        inner = {}
    if not isinstance(inner, dict):
        where = ".".join(override.path[: len(override.path) - len(rest)])
        raise ConfigError(f"`{where}` is no section, so nothing below it can be set", file=override.label)
    return content | {first: _replaced(inner, tuple(rest), override)}
