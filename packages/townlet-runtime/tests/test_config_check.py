from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from townlet_runtime.config.check import MAX_BYTES, checked, parse, read
from townlet_runtime.errors import ConfigError, UnknownKeyError, WrongValueError


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    id: str
    ticks: int | dict[str, int] = 0


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = "a"
    rate: float = 0.5
    cell: tuple[int, int] = (0, 0)
    items: tuple[Inner, ...] = ()
    size: int = Field(1, le=2**40)
    settings: dict[str, int | float] = {}


def refusal(content: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    with pytest.raises((UnknownKeyError, WrongValueError)) as caught:
        checked(Outer, content)
    return caught.value.problem, caught.value.path


def test_a_list_is_a_tuple_and_a_whole_number_a_float_or_the_other_way_round() -> None:
    outer = checked(Outer, {"cell": [3, 4e0], "rate": 1, "size": 1e6, "items": [{"id": "x", "ticks": 3e4}]})
    assert (outer.cell, outer.rate, outer.size, outer.items[0].ticks) == ((3, 4), 1.0, 1_000_000, 30_000)
    assert type(outer.size) is type(outer.items[0].ticks) is int


def test_what_is_passed_on_to_others_keeps_its_type() -> None:
    assert type(checked(Outer, {"settings": {"gravity": 10.0}}).settings["gravity"]) is float


@pytest.mark.parametrize(
    ("content", "problem", "path"),
    [
        ({"size": 1.5}, "must be a valid integer, got 1.5", "size"),
        ({"size": 1e300}, "must be a valid integer, got 1e+300", "size"),
        ({"size": 2**41}, "must be less than or equal to 1099511627776, got 2199023255552", "size"),
        ({"size": True}, "must be a valid integer, got True", "size"),
        ({"rate": "0.5"}, "must be a valid number, got '0.5'", "rate"),
        ({"items": [{"id": "x", "ticks": "y"}]}, "must be a valid integer or an object, got 'y'", "items.0.ticks"),
        ({"items": [{"id": "x"}, {}]}, "must be there", "items.1.id"),
        ({"cell": [3]}, "must be there", "cell.1"),
        ({"items": [3]}, "must be a section (`key: value` lines), got 3", "items.0"),
        ({"name": ["x" * 99]}, f"must be a valid string, got ['{'x' * 78}...", "name"),
        ({"nam": 3, "size": "x"}, "unknown key", "nam"),
        ({"items": [{"id": "x", "tick": 3}]}, "unknown key", "items.0.tick"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(content: dict[str, Any], problem: str, path: str) -> None:
    assert refusal(content) == (problem, tuple(path.split(".")))


def test_a_file_is_read_by_the_core_schema_up_to_a_size(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("{a: 010, b: 0o10, c: no, d: 1:30, e: 3e-4, f: '1'}")
    assert read(path) == {"a": 10, "b": 8, "c": "no", "d": "1:30", "e": 3e-4, "f": "1"}
    path.write_text("a: 1 #".ljust(MAX_BYTES, "x"))
    assert read(path) == {"a": 1}
    path.write_text("a: 1 #".ljust(MAX_BYTES + 1, "x"))
    with pytest.raises(ConfigError, match=rf"^{path}: .*1048576 bytes"):
        read(path)


def test_what_cannot_be_read_is_named_by_file_and_place(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    with pytest.raises(ConfigError, match=rf"^{path}: .*No such file"):
        read(path)
    path.write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match=rf"^{path}: not UTF-8 at byte 3"):
        read(path)
    with pytest.raises(ConfigError, match=r"^x: .*twice.*line 2"):
        parse(b"a: 1\na: 2", "x")
