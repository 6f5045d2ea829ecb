"""The keys that exist, found by walking the schema: nearest key to a wrong one, keys without effect."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TypeAlias, get_args

from pydantic.fields import FieldInfo

from townlet_runtime.config.schema import Config, NoEffect, Section

Path: TypeAlias = tuple[str, ...]

ANY = "*"
"""Stands in a known path for a name or position that the file chooses."""

OF_THE_TOWN = frozenset(
    {
        "features",
        "world",
        "town",
        "scenario.objects",
        "scenario.agents",
        "rewards",
        "economy",
        "jobs",
        "behavior",
        "queue_fairness",
        "conflict",
        "personalities",
        "affordances",
        "lifecycle",
        "employment",
        "policy_runtime",
        "observations_config",
        "training.social_reward_stage_override",
    }
)
"""Keys that describe the town, and nothing in another environment."""


def no_effect(field: FieldInfo) -> NoEffect | None:
    """Return the mark of a key that nothing acts on; None where something does."""
    return next((mark for mark in field.metadata if isinstance(mark, NoEffect)), None)


def nearest_key(path: Sequence[str]) -> str:
    """Return the known dotted key that is most like `path`: by its last part, those beside it first."""
    *parent, last = path

    def likeness(known: Path) -> float:
        # A key of another section has to be clearly more like it than those beside it.
        elsewhere = 0.0 if _is_below(known[:-1], parent) else 0.25
        initials = "".join(word[:1] for word in known[-1].split("_"))
        ratio = max(difflib.SequenceMatcher(None, last, spelling).ratio() for spelling in (known[-1], initials))
        return ratio - elsewhere

    best = max(known_keys(), key=likeness)
    return ".".join([*parent, best[-1]] if _is_below(best[:-1], parent) else best)


def _is_below(known_parent: Path, parent: Sequence[str]) -> bool:
    return len(known_parent) == len(parent) and all(a in (ANY, b) for a, b in zip(known_parent, parent, strict=True))


@cache
def known_keys() -> tuple[Path, ...]:
    """Every key of the schema, aliases included."""
    return tuple(_keys_of(Config, ()))


def _keys_of(section: type[Section], prefix: Path) -> Iterator[Path]:
    for name, field in section.model_fields.items():
        for spelling in (name, field.alias):
            if spelling is not None:
                yield (*prefix, spelling)
        inner, is_plain = _section_in(field.annotation)
        if inner is not None:
            yield from _keys_of(inner, (*prefix, name) if is_plain else (*prefix, name, ANY))


def _section_in(annotation: object) -> tuple[type[Section] | None, bool]:
    """The section that an annotation holds, and whether it is the value itself (not inside of a list or mapping)."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation, True
    optional = type(None) in get_args(annotation)
    for argument in get_args(annotation):
        inner, is_plain = _section_in(argument)
        if inner is not None:
            return inner, is_plain and optional
    return None, False


def keys_without_effect(config: Config) -> tuple[str, ...]:
    """Return the dotted keys that `config` was given and nothing acts on, each once, in order."""
    return tuple(dict.fromkeys(_without_effect(config, "", idle_keys(config))))


def idle_keys(config: Config) -> frozenset[str]:
    """Return the dotted keys that have an effect, but not in the environment of `config`."""
    if config.environment.is_town:
        return frozenset({"environment.settings", "environment.vectorization"})
    family, _, _ = config.environment.name.partition(":")
    return OF_THE_TOWN if family == "gymnasium" else OF_THE_TOWN | {"environment.vectorization"}


def _without_effect(section: Section, prefix: str, idle: frozenset[str]) -> Iterator[str]:
    for name in section.model_extra or {}:
        yield f"{prefix}{name}"
    for name, field in type(section).model_fields.items():
        if name not in section.model_fields_set:
            continue
        path = f"{prefix}{name}"
        value: object = getattr(section, name)
        mark = no_effect(field)
        if path in idle:
            if value != field.default:
                yield path
        elif mark is None:
            yield from _inside(value, path, idle)
        elif value not in mark.unless:
            yield path


def _inside(value: object, path: str, idle: frozenset[str]) -> Iterator[str]:
    if isinstance(value, Section):
        yield from _without_effect(value, f"{path}.", idle)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _inside(item, f"{path}.{name}", idle)
    elif isinstance(value, tuple):
        for item in value:
            yield from _inside(item, f"{path}[]", idle)
