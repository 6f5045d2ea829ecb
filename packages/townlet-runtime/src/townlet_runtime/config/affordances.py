"""Affordance files: what can be done with objects of each type, in the original's form, checked entry by entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from townlet_runtime.config.problems import path_of, problem_of
from townlet_runtime.config.schema.base import Cell, List, Section
from townlet_runtime.config.yaml_reader import Yaml, parse_yaml, read_yaml
from townlet_runtime.errors import ConfigError
from townlet_runtime.town.config import OBJECT_TYPES

DEFAULT_FILE = "configs/affordances/core.yaml"
"""Where the original keeps its affordances; a copy is built in."""

FILE_KEY = "affordances.affordances_file"

MEAL_AVAILABLE = "meal_available == true"
CONDITIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "occupied == false": OBJECT_TYPES,
        "power_on == true": OBJECT_TYPES,
        "water_on == true": OBJECT_TYPES,
        MEAL_AVAILABLE: ("fridge",),
    }
)
"""Every condition that an affordance may have, and of which types. The first holds for whoever has its turn, and power
and water never fail; the last makes a use take a meal."""

HOOKS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "shower": {"before": ("on_attempt_shower",), "after": ("on_finish_shower",), "fail": ("on_no_power",)},
        "fridge": {"before": ("on_attempt_eat",), "after": ("on_finish_eat",), "fail": ()},
        "stove": {"before": ("on_attempt_cook",), "after": ("on_finish_cook",), "fail": ("on_cook_fail",)},
        "bed": {"before": ("on_attempt_sleep",), "after": ("on_finish_sleep",), "fail": ()},
    }
)
"""Every hook that an affordance may name, by type and stage. What they did in the original is built into the town."""

EntryT = TypeVar("EntryT", bound=Section)

_Name = Annotated[str, Field(min_length=1)]
_Effect = Annotated[float, Field(ge=-1.0, le=1.0)]
_Names = Annotated[List[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
"""A list; one text is a list of one."""


class Effects(Section):
    """What a complete use does to its user."""

    hunger: _Effect | None = None
    hygiene: _Effect | None = None
    energy: _Effect | None = None
    money: float | None = Field(None, le=0.0)
    """Paid when the use begins."""


class Hooks(Section):
    """Names of hooks, by stage."""

    before: _Names = ()
    after: _Names = ()
    fail: _Names = ()

    def stages(self) -> Iterator[tuple[str, str]]:
        """(stage, hook) of every hook that is named."""
        for stage, names in (("before", self.before), ("after", self.after), ("fail", self.fail)):
            yield from ((stage, name) for name in names)


class Affordance(Section):
    """One entry: what can be done with objects of one type."""

    type: Literal["affordance"] = "affordance"
    id: _Name
    object_type: _Name
    duration: int = Field(ge=1)
    """Ticks."""
    effects: Effects
    preconds: _Names = ()
    """Of `CONDITIONS`."""
    hooks: Hooks = Hooks()
    """Of `HOOKS`."""


class PlacedObject(Section):
    """One entry: an object. It is in the town where it has a position."""

    type: Literal["object"]
    id: _Name
    object_type: _Name
    position: Cell | None = None
    stock: Mapping[str, Annotated[int, Field(ge=0)]] = {}


@dataclass(frozen=True, kw_only=True)
class AffordanceFile:
    """A checked file."""

    affordances: Mapping[str, Affordance]
    """By object type of the town."""
    objects: tuple[PlacedObject, ...]
    """Those of the town's types that have a position."""
    without_effect: tuple[str, ...]
    """Entries and keys that the town does nothing with."""


def read_affordances(name: str, folder: Path, *, source: str) -> tuple[AffordanceFile, Path | None]:
    """Read the affordance file `name`: below `folder`, else below the working folder, else, if it has the default
    name, the built-in copy.

    Args:
        name: absolute, or relative to one of the two.
        folder: of the config that names it.
        source: what errors call that config.

    Returns:
        The file, and where it was found; None for the built-in copy.

    Raises:
        ConfigError: if it is in no such place, or wrong; names file, entry and key.
    """
    places = list(dict.fromkeys((folder / name, Path(name))))
    for place in places:
        if place.is_file():
            return _parsed(read_yaml(place), str(place)), place
    if name != DEFAULT_FILE:
        tried = ", ".join(str(place) for place in places)
        raise ConfigError(f"expected an affordance file, found none at {tried}", file=source, key=FILE_KEY)
    text = resources.files("townlet_runtime.config").joinpath("data/affordances_core.yaml").read_text(encoding="utf-8")
    return _parsed(parse_yaml(text, source=name), name), None


def _parsed(content: Yaml, source: str) -> AffordanceFile:
    if not isinstance(content, list):
        raise ConfigError("expected a list of entries (`- id: ...`)", file=source)
    affordances: dict[str, Affordance] = {}
    objects: list[PlacedObject] = []
    idle: dict[str, list[str]] = {}
    ids: set[str] = set()
    for index, item in enumerate(content):
        label = _label(item, index)
        entry = _entry(item, label, source)
        if entry.id in ids:
            raise ConfigError("another entry has this id", file=source, key=f"{label}.id")
        ids.add(entry.id)
        if entry.object_type not in OBJECT_TYPES:
            idle.setdefault(f"type `{entry.object_type}`", []).append(entry.id)
        elif isinstance(entry, Affordance):
            _check(entry, affordances, label, source)
            affordances[entry.object_type] = entry
        elif entry.position is None:
            idle.setdefault("no position", []).append(entry.id)
        else:
            objects.append(entry)
            idle.setdefault("stock", []).extend([entry.id] if entry.stock else [])
    reasons = [f"{source}: {', '.join(names)} ({reason})" for reason, names in idle.items() if names]
    return AffordanceFile(affordances=affordances, objects=tuple(objects), without_effect=tuple(reasons))


def _label(item: Yaml, index: int) -> str:
    """What errors call an entry: its id, or its place in the list."""
    found = item.get("id") if isinstance(item, dict) else None
    return found if isinstance(found, str) and found else f"[{index}]"


def _entry(item: Yaml, label: str, source: str) -> Affordance | PlacedObject:
    if not isinstance(item, dict):
        raise ConfigError(f"expected an entry (`key: value` lines), got {item!r:.80}", file=source, key=label)
    if item.get("type") == "object":
        return _validated(PlacedObject, item, label, source)
    return _validated(Affordance, item, label, source)


def _validated(model: type[EntryT], item: dict[str, Yaml], label: str, source: str) -> EntryT:
    try:
        return model.model_validate(item)
    except ValidationError as error:
        details = error.errors(include_url=False)
        first = details[0]
        path = path_of(first, item)
        key = ".".join((label, *path))
        if first["type"] == "extra_forbidden":
            raise ConfigError("unknown key", file=source, key=key) from error
        same_key = [detail for detail in details if path_of(detail, item) == path]
        raise ConfigError(problem_of(same_key), file=source, key=key) from error


def _check(entry: Affordance, others: Mapping[str, Affordance], label: str, source: str) -> None:
    """Refuse conditions and hooks that the town does not know, and a second affordance of a type."""
    kind = entry.object_type
    if kind in others:
        raise ConfigError(
            f"a type has one affordance, and that of `{kind}` is `{others[kind].id}`",
            file=source,
            key=f"{label}.object_type",
        )
    for condition in entry.preconds:
        if kind not in CONDITIONS.get(" ".join(condition.split()), ()):
            known = ", ".join(f"`{name}`" for name, types in CONDITIONS.items() if kind in types)
            raise ConfigError(f"expected one of {known}, got `{condition}`", file=source, key=f"{label}.preconds")
    for stage, hook in entry.hooks.stages():
        known_hooks = HOOKS[kind][stage]
        if hook not in known_hooks:
            expected = ", ".join(f"`{name}`" for name in known_hooks) or "none"
            raise ConfigError(
                f"expected {expected} for a {kind}, got `{hook}` (a file must not name code to import)",
                file=source,
                key=f"{label}.hooks.{stage}",
            )
