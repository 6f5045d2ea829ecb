from dataclasses import dataclass, field

import pytest

from townlet_runtime.errors import ConfigError
from townlet_runtime.runs.nested import Nested, leaves_of, put_at, without_prose


@dataclass
class Inner:
    rate: float = 0.5
    sizes: tuple[int, ...] = (8,)


@dataclass
class Outer:
    mode: str = "bc"
    inner: Inner = field(default_factory=Inner)


def test_settings_by_dotted_field_and_back() -> None:
    leaves = dict(leaves_of(Outer()))
    assert leaves == {"mode": "bc", "inner.rate": 0.5, "inner.sizes": (8,)}
    content: Nested = {}
    for name, value in leaves.items():
        put_at(content, name.split("."), value)
    assert content == {"mode": "bc", "inner": {"rate": 0.5, "sizes": (8,)}}


def test_a_setting_is_no_section() -> None:
    with pytest.raises(ConfigError, match="`mode` holds no settings of its own"):
        put_at({"mode": "bc"}, ["mode", "x"], 1)


def test_a_schema_without_prose_keeps_everything_else() -> None:
    schema = {"title": "T", "anyOf": [{"description": "d", "type": "null"}, {"minimum": 1}]}
    assert without_prose(schema) == {"anyOf": [{"type": "null"}, {"minimum": 1}]}
