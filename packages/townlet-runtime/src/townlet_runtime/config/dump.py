"""A config as YAML that, loaded again, means the same: every key that has an effect, with its value."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from townlet_runtime.config.keys import idle_keys, no_effect
from townlet_runtime.config.learning import TRAINING_NAMES
from townlet_runtime.config.schema import Config, ReadAtLoad, Section
from townlet_runtime.config.yaml_reader import Yaml

# For these, saying nothing is not the same as saying the default: a preset may speak instead.
_ONLY_WHERE_SET = frozenset({*TRAINING_NAMES, "training.source"})


def dump_config(config: Config) -> str:
    """Return the YAML of `config`; comments and keys without effect are left out."""
    text: str = yaml.safe_dump(
        _section(config, "", idle_keys(config)), sort_keys=False, allow_unicode=True, default_flow_style=None
    )
    return text


def _section(section: Section, prefix: str, idle: frozenset[str]) -> dict[str, Yaml]:
    content: dict[str, Yaml] = {}
    for name, field in type(section).model_fields.items():
        path = f"{prefix}{name}"
        is_set = name in section.model_fields_set
        acts = not no_effect(field) and path not in idle and not any(isinstance(m, ReadAtLoad) for m in field.metadata)
        if not acts or (path in _ONLY_WHERE_SET and not is_set):
            continue
        value: object = getattr(section, name)
        plain = _plain(value, path, idle)
        is_empty = isinstance(value, Section) and plain == {}
        says_nothing = is_empty or (value is None and field.default is None and not is_set)
        if not says_nothing:
            content[name] = plain
    return content


def _plain(value: object, path: str, idle: frozenset[str]) -> Yaml:
    if isinstance(value, Section):
        return _section(value, f"{path}.", idle)
    if isinstance(value, Mapping):
        return {str(name): _plain(item, path, idle) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item, path, idle) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"`{path}` holds a {type(value).__name__}, which no config file can")
