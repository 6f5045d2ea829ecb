"""Typed access to JSON."""

import pytest

from townlet_trajectory import CaptureError
from townlet_trajectory.storage.json_fields import Fields

FIELDS = Fields(
    {"text": "a", "texts": ["a", "b"], "integer": 3, "integers": [1, 2], "flag": True, "object": {"x": {"y": 1}}},
    "file.json",
)


def test_values_of_the_right_type() -> None:
    assert FIELDS.text("text") == "a"
    assert FIELDS.texts("texts") == ("a", "b")
    assert FIELDS.integer("integer") == 3
    assert FIELDS.integers("integers") == (1, 2)
    assert FIELDS.flag("flag") is True
    assert FIELDS.object("object") == {"x": {"y": 1}}
    assert FIELDS.inside("object").inside("x").integer("y") == 1


@pytest.mark.parametrize("name", ["text", "texts", "integer", "integers", "flag", "object", "missing"])
@pytest.mark.parametrize("method", ["text", "texts", "integer", "integers", "flag", "object"])
def test_values_of_another_type(name: str, method: str) -> None:
    if name != method:
        with pytest.raises(CaptureError, match=f"file.json: parse: `{name}` must be"):
            getattr(FIELDS, method)(name)


@pytest.mark.parametrize(("method", "value"), [("integers", [1, True]), ("texts", ["a", 1]), ("integer", 1 << 63)])
def test_near_misses(method: str, value: list[object] | int) -> None:
    with pytest.raises(CaptureError):
        getattr(Fields({"x": value}, "f"), method)("x")


def test_inside_names_the_place() -> None:
    with pytest.raises(CaptureError, match="file.json:object: parse: `z` must be a string, got None"):
        FIELDS.inside("object").text("z")
