"""A config file with every key: what it means, its range, and its default."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from townlet_runtime.config.dump import SAID_ELSEWHERE, resolved
from townlet_runtime.config.file_schema import Schema, followed, key_of_setting, own_schema, preset_values
from townlet_runtime.config.load import config_from
from townlet_runtime.config.origins import check_preset, preset_of_world
from townlet_runtime.config.schema import Config
from townlet_runtime.config.sections import idle_keys
from townlet_runtime.town.config import TOWN
from townlet_trajectory.storage.json import JsonValue
from townlet_trajectory.storage.yaml import dump_yaml

WIDTH = 100
_HEAD = """\
A config of the `townlet` command: every key, what it means, its range and its default.
A key that is commented out (#key: value) has the value that it shows; take the # away to change it.
`townlet config check FILE` finds what is wrong, `townlet config show FILE` says what everything comes to.
"""
_SILENCE: dict[str, JsonValue] = {
    "training.source": "anneal",
    "training.rollout_auto_seed_agents": False,
    "training.social_reward_schedule": [],
}
"""What it means that a key, for which nothing stands, is not said."""
_NEVER_SAID = frozenset({"affordances.runtime"})
_KINDS = {"integer": "whole number", "number": "number", "string": "text", "null": "null"}
_KINDS |= {"boolean": "true | false", "object": "section"}
"""Words for the types of JSON."""


def annotated_config(*, world: str = TOWN, preset: str | None = None) -> str:
    """Return a config file that says nothing but the name of its world, and of its preset, and explains every key.

    Args:
        world: as `environment.name` says it.
        preset: start values of training; None: those that the world has anyway.

    Raises:
        ConfigError: if there is no such preset, or a config cannot name the world.
    """
    said: dict[str, JsonValue] = {} if world == TOWN else {"environment": {"name": world}}
    if preset is not None:
        said["preset"] = preset
    config = config_from(said, source="config").config
    check_preset(config)
    return "\n".join(_Writer(config).lines()) + "\n"


class _Writer:
    def __init__(self, config: Config) -> None:
        self._schema = own_schema()
        self._world = config.environment.name
        self._idle = idle_keys(self._world) | SAID_ELSEWHERE | _NEVER_SAID
        self._said = {"config_id": config.config_id}
        if config.preset is not None:
            self._said["preset"] = config.preset
        if self._world != TOWN:
            self._said["environment.name"] = self._world
        self._defaults: dict[str, Any] = resolved(config)
        start = preset_values()[config.preset or preset_of_world(self._world)]
        self._start = {".".join(key_of_setting(name)): value for name, value in start.items()}

    def lines(self) -> Iterator[str]:
        yield from (f"# {line}" for line in _HEAD.splitlines())
        for name, part in self._schema["properties"].items():
            if name in self._idle:
                continue
            section = followed(self._schema, part)
            if "properties" in section:
                yield ""
                yield from _comment(part.get("description") or section.get("description", "").partition("\n")[0], "")
                yield f"{name}:"
                for key, inner in section["properties"].items():
                    yield from self._key(f"{name}.{key}", key, inner, "  ")
            else:
                yield ""
                yield from self._key(name, name, part, "")

    def _key(self, dotted: str, name: str, part: Schema, indent: str) -> Iterator[str]:
        if dotted in self._idle:
            return
        text, kind = part.get("description", ""), self._range(part)
        yield from _comment(f"{text}  [{kind}]" if kind else text, indent)
        entry = self._entry(part)
        for key, inner in entry.items():
            about = f"{key}: {inner.get('description', '')}  [{self._range(inner)}]"
            yield from _comment(" ".join(about.split()), indent, "    ")
        value = self._said.get(dotted, self._default(dotted, part))
        mark = "" if dotted in self._said else "#"
        # In one line: what a comment begins ends with it.
        line = " ".join(dump_yaml({name: value}).split())
        yield f"{indent}{mark}{line if isinstance(value, list | dict) else line.strip('{}')}"

    def _default(self, dotted: str, part: Schema) -> JsonValue:
        if dotted in self._start:
            started: JsonValue = self._start[dotted]
            return started
        if dotted in _SILENCE:
            return _SILENCE[dotted]
        value: Any = self._defaults
        for name in dotted.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        found: JsonValue = part.get("default") if value is None else value
        return found

    def _entry(self, part: Schema) -> Schema:
        """The keys of each entry of a list or mapping of sections."""
        inside = followed(self._schema, part)
        items = inside.get("items", inside.get("additionalProperties"))
        entry = followed(self._schema, items) if isinstance(items, dict) else {}
        properties: Schema = entry.get("properties", {})
        return properties

    def _range(self, part: Schema) -> str:
        choices = part.get("anyOf")
        if choices is not None:
            return " or ".join(dict.fromkeys(filter(None, map(self._range, choices))))
        if "$ref" in part:
            return self._range(followed(self._schema, part))
        if "enum" in part:
            return " | ".join(map(str, part["enum"]))
        if part.get("type") == "array" and "prefixItems" not in part:
            items = self._range(part.get("items", {}))
            return f"list of {items}" if items else "list"
        if "prefixItems" in part:
            return f"each: {self._range(part['prefixItems'][0])}"
        if "properties" in part:
            ranges = {name: _bounds(inner) for name, inner in part["properties"].items()}
            is_by_need = all(inner.get("type") == "number" for inner in part["properties"].values())
            return ", ".join(f"{name} {text}" for name, text in ranges.items() if text) if is_by_need else "section"
        return " ".join(filter(None, (_KINDS.get(part.get("type", ""), ""), _bounds(part))))


def _bounds(part: Schema) -> str:
    low, high = part.get("minimum"), part.get("maximum")
    if low is not None and high is not None:
        return f"{low:,} to {high:,}"
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    return ", ".join(f"{word} {part[name]:,}" for name, word in words.items() if name in part)


def _comment(text: str, indent: str, more: str = "") -> Iterator[str]:
    if text.strip():
        yield from textwrap.wrap(
            text.strip(),
            WIDTH,
            initial_indent=f"{indent}# {more}",
            subsequent_indent=f"{indent}# {more}",
            break_long_words=False,
            break_on_hyphens=False,
        )
