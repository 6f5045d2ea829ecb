"""Objects from files are taken apart strictly."""

import pytest

from townlet_training.errors import PromotionError
from townlet_training.fields import Fields
from townlet_trajectory.storage.json import JsonValue


def fields(**values: JsonValue) -> Fields:
    return Fields(dict(values), "here", frozenset(values), error=PromotionError)


def test_each_type_is_given_back() -> None:
    record = fields(name="a", size=3, share=1, span=[0, 2.5], rest=None)
    assert record.text("name") == "a"
    assert record.count("size") == 3
    assert record.number("share") == 1.0
    assert record.pair("span") == (0.0, 2.5)
    assert record.value("rest") is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", 3),
        ("count", "3"),
        ("count", True),
        ("count", -1),
        ("count", 1.0),
        ("number", True),
        ("number", "1"),
        ("number", float("nan")),
        ("pair", [1.0]),
        ("pair", [1.0, "2"]),
        ("pair", 1.0),
    ],
)
def test_another_type_is_refused_by_name(kind: str, value: JsonValue) -> None:
    record = fields(it=value)
    methods = {"text": record.text, "count": record.count, "number": record.number, "pair": record.pair}
    with pytest.raises(PromotionError, match=r"^here: `it` must be"):
        methods[kind]("it")


def test_missing_and_unknown_keys_are_named() -> None:
    with pytest.raises(PromotionError, match=r"here has missing or unknown keys: \['b', 'c'\]"):
        Fields({"a": 1, "c": 2}, "here", frozenset({"a", "b"}), error=PromotionError)
    with pytest.raises(PromotionError, match="here must be an object, got list"):
        Fields([], "here", frozenset(), error=PromotionError)
