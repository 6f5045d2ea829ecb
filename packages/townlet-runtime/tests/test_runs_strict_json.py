"""Strict JSON into records: every refusal names the file, the key, what was expected and what came."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from townlet_runtime.errors import TownletError
from townlet_runtime.runs import strict_json
from townlet_runtime.runs.strict_json import (
    EXACT,
    OPEN,
    ReportError,
    parse_record,
    read_bytes,
    read_record,
    require_digest,
    require_finite,
    require_interval,
    write_record,
)


@dataclass(frozen=True, kw_only=True)
class Pair:
    __pydantic_config__ = EXACT
    low: float
    high: float

    def __post_init__(self) -> None:
        require_interval("Pair", "low, high", (self.low, self.high))


@dataclass(frozen=True, kw_only=True)
class Loose:
    __pydantic_config__ = OPEN
    count: int


PAIR = TypeAdapter(Pair)


def test_a_report_error_is_a_townlet_error_and_keeps_its_parts() -> None:
    error = ReportError("run/summary.json", key="seed", expected="a valid integer", came="'x'")
    assert isinstance(error, TownletError)
    assert str(error) == "run/summary.json: `seed`: expected a valid integer, got 'x'"
    assert (error.file, error.key, error.expected, error.came) == ("run/summary.json", "seed", "a valid integer", "'x'")


def test_a_record_is_read_and_whole_numbers_are_numbers() -> None:
    assert parse_record(PAIR, b'{"low": 1, "high": 2.5}', file="f") == Pair(low=1.0, high=2.5)


@pytest.mark.parametrize(
    ("text", "key", "expected", "came"),
    [
        (b'{"low": 1}', "high", "a value", "nothing"),
        (b'{"low": 1, "high": 2, "more": [3]}', "more", "no such key", "[3]"),
        (b'{"low": NaN, "high": 2}', "low", "a finite number", "nan"),
        (b'{"low": 1, "high": -Infinity}', "high", "a finite number", "-inf"),
        (b'{"low": "1", "high": 2}', "low", "a valid number", "'1'"),
        (b'{"low": true, "high": 2}', "low", "a valid number", "True"),
        (b'{"low": 3, "high": 2}', "low, high", "(lower, upper)", "(3.0, 2.0)"),
        (b"[1, 2]", "(document)", "an object", "[1, 2]"),
        (b'{"low": 1,', "(text)", "strict JSON", "Invalid JSON: EOF while parsing a value at line 1 column 10"),
        (b'{"low": 1, "low": 1, "high": 2}', "(text)", "strict JSON", "not JSON: repeated keys ['low']"),
    ],
)
def test_what_is_refused_and_what_is_said(text: bytes, key: str, expected: str, came: str) -> None:
    with pytest.raises(ReportError) as caught:
        parse_record(PAIR, text, file="pair.json")
    error = caught.value
    assert (error.file, error.key, error.expected) == ("pair.json", key, expected)
    assert error.came.startswith(came)


def test_a_line_is_named_before_its_key() -> None:
    with pytest.raises(ReportError, match=r"f: `line 3: high`: expected a value, got nothing"):
        parse_record(PAIR, b'{"low": 1}', file="f", where="line 3: ")


def test_a_loose_record_ignores_more_keys_but_not_their_nan() -> None:
    adapter = TypeAdapter(Loose)
    assert parse_record(adapter, b'{"count": 1, "more": 2}', file="f") == Loose(count=1)
    with pytest.raises(ReportError, match="strict JSON"):
        parse_record(adapter, b'{"count": 1, "more": NaN}', file="f")
    with pytest.raises(ReportError, match="strict JSON"):
        parse_record(adapter, b'{"count": 1, "more": 1e999}', file="f")


def test_a_deep_document_is_refused_not_followed() -> None:
    with pytest.raises(ReportError):
        parse_record(TypeAdapter(Loose), b'{"count": 1, "more": ' + b"[" * 5000 + b"]" * 5000 + b"}", file="f")


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(ReportError) as caught:
        parse_record(PAIR, b'{"low": "' + b"x" * 500 + b'", "high": 2}', file="f")
    assert len(caught.value.came) == 80


def test_a_record_is_written_in_field_order(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Outer:
        pairs: tuple[Pair, ...]
        names: Mapping[str, int]
        nothing: None

    outer = Outer(pairs=(Pair(low=0.1, high=1e22),), names={"z": 1, "a": 2}, nothing=None)
    expected = (
        '{\n  "pairs": [\n    {\n      "low": 0.1,\n      "high": 1e+22\n    }\n  ],\n'
        '  "names": {\n    "z": 1,\n    "a": 2\n  },\n  "nothing": null\n}\n'
    )
    write_record(TypeAdapter(Outer), outer, tmp_path / "outer.json")
    assert (tmp_path / "outer.json").read_text() == expected


def test_a_number_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Number:
        value: float

    with pytest.raises(ValueError, match="not JSON compliant"):
        write_record(TypeAdapter(Number), Number(value=float("nan")), tmp_path / "number.json")
    assert not (tmp_path / "number.json").exists()


def test_require_finite_names_the_place() -> None:
    require_finite("R", a=1.0, b=None, c=(1.0, 2.0), d={"e": 3.0}, f="nan", g=7)
    with pytest.raises(ReportError, match=r"R: `c.1`: expected a finite number, got inf"):
        require_finite("R", c=(1.0, float("inf")))
    with pytest.raises(ReportError, match=r"R: `d.e.f`: expected a finite number, got nan"):
        require_finite("R", d={"e": {"f": float("nan")}})


def test_an_interval_may_be_absent_or_a_point() -> None:
    require_interval("R", "ci", None)
    require_interval("R", "ci", (1.0, 1.0))


@pytest.mark.parametrize("digest", ["a" * 63, "A" * 64, "a" * 65, "g" * 64, "a" * 64 + "\n"])
def test_a_digest_is_64_lower_case_hexadecimal_digits(digest: str) -> None:
    require_digest("R", "sha", "0123456789abcdef" * 4)
    require_digest("R", "sha", None)
    with pytest.raises(ReportError, match="64 lower-case hexadecimal digits"):
        require_digest("R", "sha", digest)


def test_a_missing_file_and_a_huge_file_are_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReportError, match="expected a readable file, got No such file"):
        read_bytes(tmp_path / "absent")
    (tmp_path / "big").write_bytes(b"12345")
    monkeypatch.setattr(strict_json, "MAX_BYTES", 5)
    assert read_bytes(tmp_path / "big") == b"12345"
    monkeypatch.setattr(strict_json, "MAX_BYTES", 4)
    with pytest.raises(ReportError, match="got at most 4 bytes are read, got 5"):
        read_bytes(tmp_path / "big")


def test_only_a_regular_file_of_bounded_size_and_depth_is_read(tmp_path: Path) -> None:
    pipe, sparse, deep = tmp_path / "pipe", tmp_path / "sparse", tmp_path / "deep"
    os.mkfifo(pipe)
    with sparse.open("wb") as stream:
        stream.truncate(20 << 30)
    deep.write_bytes(b'{"count": 1, "more": ' + b"[" * 200_000 + b"]" * 200_000 + b"}")
    for path, problem in (
        (pipe, "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (sparse, "at most .* bytes are read"),
        (deep, "strict JSON"),
    ):
        with pytest.raises(ReportError, match=problem):
            read_record(TypeAdapter(Loose), path)
