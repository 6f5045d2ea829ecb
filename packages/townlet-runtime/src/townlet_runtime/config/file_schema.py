"""The JSON schema of a config file, for editors: every key in every spelling, with its range, default and meaning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from importlib import resources
from typing import Any, TypeAlias

from pydantic import TypeAdapter

from townlet_runtime.config.keys import (
    ANY,
    FORMAT_DEFAULTS,
    IN_SCHEDULES,
    NO_EFFECT,
    SCHEDULES,
    SPELLINGS,
    STAGES,
    Path,
)
from townlet_runtime.config.prose import prose_of, sections_of
from townlet_runtime.config.schema import (
    SECTIONS_OF_TRAINING,
    Config,
    KeysAlone,
    affordance_section,
    learning_section,
    schema_of_training,
    town_section,
)
from townlet_runtime.town.config import NEEDS, Effects, TownConfig

Schema: TypeAlias = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_RELATIONSHIPS: Path = ("features", "stages", "relationships")
_CONTRACT = "contract"


@cache
def preset_values() -> Mapping[str, Mapping[str, Any]]:
    """Return the settings of training's presets, by name and dotted field; `contract` is that of a silent file."""
    text = resources.files("townlet_runtime.config").joinpath("data/presets.json").read_text(encoding="utf-8")
    presets: dict[str, dict[str, Any]] = json.loads(text)
    return presets


def key_of_setting(name: str) -> Path:
    """Return the key by which a config says a dotted field of `TrainingConfig`."""
    return tuple(name.split(".")) if "." in name else ("training", name)


def file_schema() -> Schema:
    """Return the JSON schema (2020-12) of a config file, in the spelling used here and in that of the original."""
    schema = own_schema()
    for theirs, ours in SPELLINGS.items():
        meant = deepcopy(property_at(schema, ours))
        if theirs == _RELATIONSHIPS:
            meant = {"enum": list(STAGES), "default": "OFF"}
        note = f"The original's name of `{'.'.join(ours)}`. {meant.get('description', '')}".strip()
        _put(schema, theirs, {**_or_null(meant), "description": note, "deprecated": True})
    for name, ours_here in IN_SCHEDULES.items():
        entry = section_at(schema, SCHEDULES)
        note = f"The original's name of `{ours_here}`."
        entry["properties"].setdefault(name, {**entry["properties"][ours_here], "description": note})
    for pattern in NO_EFFECT:
        path = tuple(pattern.split("."))
        if path[-1] == ANY:
            section_at(schema, path[:-1])["additionalProperties"] = True
        else:
            _put(schema, path, {"description": "Accepted; nothing here acts on it."})
    schema["properties"] = {name: _or_null(part) for name, part in schema["properties"].items()}
    return schema


def own_schema() -> Schema:
    """Return the schema of the keys that have an effect, in the spelling used here."""
    schema: Schema = {"$schema": DIALECT, **Config.model_json_schema(schema_generator=KeysAlone)}
    schema |= {"title": "Townlet config", "description": "A config file of the `townlet` command."}
    definitions: Schema = schema["$defs"]
    _add(definitions, "Town", town_section().model_json_schema(schema_generator=KeysAlone))
    _add(definitions, "Affordance", affordance_section().model_json_schema(schema_generator=KeysAlone))
    definitions["Town"]["properties"]["affordances"]["additionalProperties"] = {"$ref": "#/$defs/Affordance"}
    _add(definitions, "Effects", TypeAdapter(Effects).json_schema())
    definitions["Affordance"]["properties"]["effects"] = {"$ref": "#/$defs/Effects"}
    _describe(definitions)
    _add_training(definitions)
    for name in ("town", "training", *SECTIONS_OF_TRAINING):
        schema["properties"][name] = {"$ref": f"#/$defs/{name.capitalize()}"}
    for name in Config.model_fields.keys() & prose_of(Config).keys():
        schema["properties"][name]["description"] = prose_of(Config)[name]
    for part in (schema, *definitions.values()):
        for inner in part.get("properties", {}).values():
            if "$ref" in inner:
                inner.pop("default", None)
    _set_defaults(schema)
    # Sections that nothing knows are left out with a warning.
    schema["additionalProperties"] = True
    return schema


def _add(definitions: Schema, name: str, schema: Schema) -> None:
    for inner, part in schema.pop("$defs", {}).items():
        definitions.setdefault(inner, part)
    definitions[name] = schema


def _add_training(definitions: Schema) -> None:
    """Add the sections of training, as the trainer declares them."""
    declared = deepcopy(schema_of_training())
    for name, record in declared.pop("$defs").items():
        if name not in definitions:
            definitions[name] = {**record, "additionalProperties": False}
    for name in SECTIONS_OF_TRAINING:
        definitions[name.capitalize()] = deepcopy(definitions[declared["properties"][name]["$ref"].rpartition("/")[2]])
    training = learning_section("training").model_json_schema(schema_generator=KeysAlone)
    _add(definitions, "Training", training)
    for name, part in declared["properties"].items():
        if name in training["properties"]:
            training["properties"][name] = part


def _describe(definitions: Schema) -> None:
    """Give each property what its field says about itself, and each set of numbers by need its names."""
    for section in {*sections_of(Config), *sections_of(TownConfig)}:
        part = definitions.get("Town" if section is TownConfig else section.__name__)
        if part is None:
            continue
        if tuple(getattr(section, "_fields", ())) == NEEDS:
            values = dict(zip(NEEDS, part["prefixItems"], strict=True))
            by_name = {"type": "object", "properties": values, "additionalProperties": False}
            definitions[section.__name__] = {"anyOf": [by_name, part]}
            continue
        for name, text in prose_of(section).items():
            if name in part.get("properties", ()):
                part["properties"][name]["description"] = text


def _set_defaults(schema: Schema) -> None:
    """Put in the defaults that hold where a file is silent, which are not always those of the part that uses a key."""
    said: list[tuple[Path, Any]] = [((section,), value) for section, value in FORMAT_DEFAULTS.items()]
    said += [(key_of_setting(name), value) for name, value in preset_values()[_CONTRACT].items()]
    while said:
        path, value = said.pop()
        inner = section_at(schema, path)
        if isinstance(value, dict) and "properties" in inner:
            said += [((*path, name), each) for name, each in value.items()]
        else:
            property_at(schema, path)["default"] = value


def property_at(schema: Schema, path: Path) -> Schema:
    """Return the part of a schema that stands at a key of its section; it may be a reference."""
    part: Schema = section_at(schema, path[:-1])["properties"][path[-1]]
    return part


def section_at(schema: Schema, path: Path) -> Schema:
    """Return what a key is to be, references followed; `ANY` stands for every name or place."""
    part = schema
    for name in path:
        if name == ANY:
            items = part.get("items", part.get("additionalProperties"))
            part = followed(schema, items if isinstance(items, dict) else {})
        else:
            part = followed(schema, part["properties"][name])
    return part


def followed(schema: Schema, part: Schema) -> Schema:
    """Return the section that a part means: what it refers to, the first of its choices."""
    while "$ref" in part or "anyOf" in part:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part["anyOf"][0]
    return part


def _put(schema: Schema, path: Path, part: Schema) -> None:
    """Add a property, making the sections that are missing."""
    section = schema
    for name in path[:-1]:
        if name == ANY:
            section = followed(schema, section["items"])
            continue
        made: Schema = {
            "anyOf": [{"type": "object", "properties": {}, "additionalProperties": False}, {"type": "null"}]
        }
        section = followed(schema, section["properties"].setdefault(name, made))
    section["properties"].setdefault(path[-1], part)


def _or_null(part: Schema) -> Schema:
    """The same, or nothing: a section may be begun and left empty."""
    if ("anyOf" in part and {"type": "null"} in part["anyOf"]) or part.keys() <= {"description"}:
        return part
    beside: Schema = {name: part[name] for name in ("default", "description", "deprecated") if name in part}
    return {**beside, "anyOf": [{name: each for name, each in part.items() if name not in beside}, {"type": "null"}]}
