"""Strict JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory import ArtifactError
from townlet_trajectory.storage.json import (
    MAX_JSON_BYTES,
    MAX_JSON_DEPTH,
    MAX_JSON_VALUES,
    canonical_json,
    parse_json,
    parse_object,
    readable_json,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


@pytest.mark.property
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
