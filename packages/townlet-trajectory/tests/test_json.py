"""Strict JSON, typed access to it, and text from it on a terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory import ArtifactError, CaptureError
from townlet_trajectory.storage.json import (
    MAX_JSON_BYTES,
    MAX_JSON_DEPTH,
    MAX_JSON_VALUES,
    Fields,
    canonical_json,
    parse_json,
    parse_object,
    printable,
    readable_json,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_parse_inverts_both_spellings(value: object) -> None:
    assert parse_json(canonical_json(value), "f") == value
    assert parse_json(readable_json(value), "f") == value


def test_canonical_by_hand() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == b'{"a":"\\u00e9","b":[1,2.5]}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
def test_non_finite_numbers_are_not_written(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"NaN", "NaN is not a number"),
        (b'{"a": -Infinity}', "-Infinity is not a number"),
        (b"1e999", "1e999 is beyond double precision"),
        (b'{"a": 1, "a": 2}', r"repeated keys \['a'\]"),
        (b'{"a": ', "not JSON"),
        (b"\xff", "not JSON"),
        (b"", "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b'"' + b"[" * 10, "may be nested 64 deep|not JSON"),
    ],
)
def test_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason) as caught:
        parse_json(data, "dir/file.json")
    assert (str(caught.value.path), caught.value.stage) == ("dir/file.json", "parse")


def test_depth_to_the_bound_and_one_beyond() -> None:
    deepest = b"[" * MAX_JSON_DEPTH + b"]" * MAX_JSON_DEPTH
    assert parse_json(deepest, "f") == json.loads(deepest)
    with pytest.raises(ArtifactError, match="nested 64 deep, got 65"):
        parse_json(b"[" + deepest + b"]", "f")
    with pytest.raises(ArtifactError, match="got 200000"):
        parse_json(b'{"a":' * 200_000, "f")
    assert parse_json(b'["' + b"[" * 100 + b'\\"{"]', "f") == ["[" * 100 + '"{']


def test_size_to_the_bound_and_one_beyond() -> None:
    assert parse_json(b" " * (MAX_JSON_BYTES - 1) + b"1", "f") == 1
    with pytest.raises(ArtifactError, match="bytes of JSON are read"):
        parse_json(b" " * MAX_JSON_BYTES + b"1", "f")


def test_an_object_is_an_object() -> None:
    assert parse_object(b'{"a": 1}', "f") == {"a": 1}
    with pytest.raises(ArtifactError, match="expected a JSON object, got list"):
        parse_object(b"[]", "f")


def test_the_number_of_values_is_bounded() -> None:
    """Small ones take up to thirty times their bytes."""
    at_limit = b"[" + b"0," * (MAX_JSON_VALUES - 1) + b"0]"
    assert len(parse_json(at_limit, "f")) == MAX_JSON_VALUES
    with pytest.raises(ArtifactError, match=f"at most {MAX_JSON_VALUES} values of JSON are read, got"):
        parse_json(b"[" + at_limit[1:-1] + b",0]", "f")
    assert parse_json(b'"' + b",[{" * MAX_JSON_VALUES + b'"', "f") == ",[{" * MAX_JSON_VALUES


def test_a_string_without_end_takes_linear_time() -> None:
    with pytest.raises(ArtifactError, match="Unterminated string"):
        parse_json(b'"' + b'\\"' * 3_000_000, "f")


def test_repeated_keys_among_many_take_linear_time() -> None:
    keys = b",".join(b'"%d":0' % number for number in range(200_000))
    with pytest.raises(ArtifactError, match=r"repeated keys \['7'\]"):
        parse_json(b"{" + keys + b',"7":1}', "f")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (rb'["\\", [1]]', ["\\", [1]]),
        (rb'["\"[[[", {"a\\\"{": 2}]', ['"[[[', {'a\\"{': 2}]),
        (rb'["\\\\", "]"]', ["\\\\", "]"]),
    ],
)
def test_brackets_in_strings_do_not_count(text: bytes, value: object) -> None:
    deep = b"[" * (MAX_JSON_DEPTH - 3) + text + b"]" * (MAX_JSON_DEPTH - 3)
    found = parse_json(deep, "f")
    for _ in range(MAX_JSON_DEPTH - 3):
        (found,) = found
    assert found == value


FIELDS = Fields(
    {"text": "a", "texts": ["a", "b"], "integer": 3, "integers": [1, 2], "flag": True, "object": {"x": {"y": 1}}},
    "file.json",
)


def test_fields_of_the_right_type() -> None:
    assert FIELDS.text("text") == "a"
    assert FIELDS.texts("texts") == ("a", "b")
    assert FIELDS.integer("integer") == 3
    assert FIELDS.integers("integers") == (1, 2)
    assert FIELDS.flag("flag") is True
    assert FIELDS.object("object") == {"x": {"y": 1}}
    assert FIELDS.inside("object").inside("x").integer("y") == 1


@pytest.mark.parametrize("name", ["text", "texts", "integer", "integers", "flag", "object", "missing"])
@pytest.mark.parametrize("method", ["text", "texts", "integer", "integers", "flag", "object"])
def test_fields_of_another_type(name: str, method: str) -> None:
    if name != method:
        with pytest.raises(CaptureError, match=f"file.json: parse: `{name}` must be"):
            getattr(FIELDS, method)(name)


@pytest.mark.parametrize(("method", "value"), [("integers", [1, True]), ("texts", ["a", 1]), ("integer", 1 << 63)])
def test_fields_of_nearly_the_right_type(method: str, value: list[object] | int) -> None:
    with pytest.raises(CaptureError):
        getattr(Fields({"x": value}, "f"), method)("x")


def test_numbers_are_finite_and_as_many_as_expected() -> None:
    fields = Fields({"n": 3, "x": 0.5, "pair": [1, 2.5], "none": None, "flag": True, "huge": float("inf")}, "f")
    assert (fields.number("n"), fields.number("x"), fields.numbers("pair", count=2)) == (3.0, 0.5, (1.0, 2.5))
    assert type(fields.number("n")) is float
    for name in ("flag", "huge", "none", "missing"):
        with pytest.raises(CaptureError, match=f"f: parse: `{name}` must be a finite number"):
            fields.number(name)
    with pytest.raises(CaptureError, match="`pair` must be a list of 3 numbers"):
        fields.numbers("pair", count=3)
    with pytest.raises(CaptureError, match=r"`l\[1\]` must be a finite number, got 'a'"):
        Fields({"l": [1, "a"]}, "f").numbers("l", count=2)


def test_keys_are_all_there_and_no_other() -> None:
    fields = Fields({"a": None, "b": 1}, "f")
    assert (fields.is_null("a"), fields.is_null("b")) == (True, False)
    fields.require_keys({"a", "b"})
    for keys in ({"a"}, {"a", "b", "c"}):
        with pytest.raises(CaptureError, match="f: parse: missing or unknown keys: [bc]$"):
            fields.require_keys(keys)
    with pytest.raises(CaptureError, match="missing or unknown keys: c"):
        fields.is_null("c")


def test_fields_inside_name_the_place() -> None:
    with pytest.raises(CaptureError, match="file.json:object: parse: `z` must be a string, got None"):
        FIELDS.inside("object").text("z")


def test_what_steers_a_terminal_is_escaped() -> None:
    assert printable("héllo wörld 世") == "héllo wörld 世"
    assert printable("a\n\x1b[2Jb\udc80") == "a\\u000a\\u001b[2Jb\\udc80"
    assert printable("\a\x9b0m\x7f") == "\\u0007\\u009b0m\\u007f"
    assert printable("\u202egpj.exe\u2066\u200f") == "\\u202egpj.exe\\u2066\\u200f"
    assert printable("\U000e0041\u2028") == "\\U000e0041\\u2028"


@given(st.text())
def test_everything_becomes_printable(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
