"""YAML: what JSON can say, by the core schema of YAML 1.2, and nothing else."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory import ArtifactError
from townlet_trajectory.formats.captures.directory import UnnamedActionsWarning, read_captures
from townlet_trajectory.storage.json import MAX_JSON_DEPTH, JsonValue
from townlet_trajectory.storage.yaml import (
    MAX_YAML_BYTES,
    Marks,
    dump_yaml,
    parse_value,
    parse_yaml,
    place_of,
    read_yaml,
)

_WORDS = ["yes", "On", "no", "off"]
PATH = Path("manifest.yaml")
DATA = Path(__file__).parent / "data"


def values(text: st.SearchStrategy[str]) -> st.SearchStrategy[JsonValue]:
    return st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.floats(allow_nan=False, allow_infinity=False)
        | text,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
        max_leaves=12,
    )


# what a writer or reader of either version of YAML may take for a number, a date, a bool or a comment
LOOKALIKES = st.text(st.sampled_from("01289xob_e.-+:~#&*!|>'\"[]{},% nulNOyt\n"), max_size=8)


def parse(text: str) -> object:
    return parse_yaml(text.encode(), PATH)


@given(values(st.text() | LOOKALIKES))
def test_what_is_dumped_is_read_back_here_and_by_others(value: JsonValue) -> None:
    text = dump_yaml(value)
    assert parse(text) == value
    assert yaml.safe_load(text) == value


def test_dumped_text_is_quoted_where_either_version_of_yaml_would_not_read_text() -> None:
    assert dump_yaml({"a": "0o10", "b": "3e4", "c": "no", "d": "08", "e": "x"}) == (
        "{a: '0o10', b: '3e4', c: 'no', d: '08', e: x}\n"
    )
    shared: list[JsonValue] = [1]
    assert dump_yaml({"b": {"c": shared}, "a": shared}) == "b:\n  c: [1]\na: [1]\n"
    with pytest.raises(ValueError, match="Out of range float values"):
        dump_yaml({"a": math.nan})


@given(values(st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=150)))
def test_json_is_yaml(value: object) -> None:
    # but for surrogate pairs (YAML escapes characters, not UTF-16), and keys of more than 1024 characters
    assert parse(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing", None),
        ("- a.npz\n- sample: b.npz\n  accepted: false\n", ["a.npz", {"sample": "b.npz", "accepted": False}]),
        ("[yes, On, no, off, TRUE, False, ~, null, 'true', y]", [*_WORDS, True, False, None, None, "true", "y"]),
        ("[1, -1, +1, 010, 0x1F, 0o10, 0b10, 1_000, 1:30]", [1, -1, 1, 10, 31, 8, "0b10", "1_000", "1:30"]),
        ("[1.5, 3e4, 1E6, -2.5e+3, 3e-4, .5, 5., 1.5.2, e5]", [1.5, 3e4, 1e6, -2500.0, 3e-4, 0.5, 5.0, "1.5.2", "e5"]),
        ("[08, -0x1, 0o8, 0X1, \u0661]", [8, "-0x1", "0o8", "0X1", "\u0661"]),
        ("a:\nb: ''\n", {"a": None, "b": ""}),
        ("[2020-01-01, 2020-01-01T10:00:00Z, <<, =]", ["2020-01-01", "2020-01-01T10:00:00Z", "<<", "="]),
        ('{"a": {b: [c, {}]}, d: []}', {"a": {"b": ["c", {}]}, "d": []}),
        ("---\na: |\n  x\n  y\n...\n", {"a": "x\ny\n"}),
    ],
)
def test_by_hand(text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize("text", ["1e6", "1", "true"])
def test_types_are_those_of_the_core_schema(text: str) -> None:
    assert type(parse(text)) is {"1e6": float, "1": int, "true": bool}[text]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x 1", r"anchors and aliases are not allowed \(line 1, column 4\)"),
        ("a: *x", "anchors and aliases"),
        ("a: !!int 1", "the tag 'tag:yaml.org,2002:int' is not allowed"),
        ("!!python/object/apply:os.mkdir [x]", "the tag 'tag:yaml.org,2002:python/object/apply:os.mkdir'"),
        ("a: 1\nb: 2\na: 3", r"the key 'a' twice \(line 3, column 1\)"),
        ("1: a", r"the key 1 is not text \(quote it\)"),
        ("? [a]\n: b", r"the key \[\] is not text"),
        ("? {a: b}\n: c", r"the key {} is not text"),
        ("a: .nan", "the number .nan is not finite"),
        ("-.inf", "is not finite"),
        ("1.0e+999", "is not finite"),
        ("9" * 101, "a number has at most 100 characters, got 101"),
        ("1e999", "the number 1e999 is not finite"),
        ("a\n---\nb", "a second document"),
        ("a: [1, 2", r"not YAML: .*expected ',' or ']' \(line \d, column \d\)"),
        ("a: b: c", r"not YAML: mapping values are not allowed.* \(line 1, column 5\)"),
        ("a: 1\nb: \x07", r"the character '\\x07' is not allowed \(line 2\)"),
        ("a: \x1b[2J", r"the character '\\x1b' is not allowed \(line 1\)"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason) as caught:
        parse(text)
    assert (caught.value.path, caught.value.stage) == (PATH, "parse")


def test_not_utf8() -> None:
    with pytest.raises(ArtifactError, match="not UTF-8 at byte 3"):
        parse_yaml(b"a: \xff\xfe", PATH)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("50", 50),
        (" 3e-4 ", 3e-4),
        ("010", 10),
        ("true", True),
        ("null", None),
        ("#ff0000", "#ff0000"),
        ("a # b", "a # b"),
        ("a: b", "a: b"),
        ("- a", "- a"),
        ("*", "*"),
        ("&x", "&x"),
        ("!x", "!x"),
        ("!!int 1", "!!int 1"),
        ("%x", "%x"),
        ("---", "---"),
        ("no", "no"),
        ("''", ""),
        ("'010'", "010"),
        ("[1, a, [2e3]]", [1, "a", [2e3]]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
    ],
)
def test_a_value_of_a_command_line_is_a_scalar_list_or_mapping(text: str, value: object) -> None:
    assert parse_value(text, "--set a") == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected a value, got none"),
        (" \t", "expected a value, got none"),
        ("[1, 2", "not YAML"),
        ("[*x]", "anchors and aliases are not allowed"),
        ("{a: 1, a: 2}", "the key 'a' twice"),
        ("-.inf", "the number -.inf is not finite"),
        ("9" * 101, "a number has at most 100 characters"),
        ("a\x1b[2J", r"the character '\\x1b' is not allowed"),
        ("\udc80", r"the character '\\udc80' is not allowed"),
        ("'\udc80'", "not UTF-8 at byte 1"),
    ],
)
def test_a_value_of_a_command_line_that_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        parse_value(text, "--set a")


def test_a_file_is_read_up_to_the_byte_and_named(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: 1\n")
    assert read_yaml(path) == {"a": 1}
    assert read_yaml(path, max_bytes=5) == {"a": 1}
    with pytest.raises(ArtifactError, match="at most 4 bytes are read, got 5"):
        read_yaml(path, max_bytes=4)
    with pytest.raises(ArtifactError, match=rf"{path.parent / 'd.yaml'}: open: No such file"):
        read_yaml(path.parent / "d.yaml")


def test_depth_to_the_level() -> None:
    assert parse("[" * MAX_JSON_DEPTH + "]" * MAX_JSON_DEPTH) is not None
    with pytest.raises(ArtifactError, match=f"more than {MAX_JSON_DEPTH} levels deep"):
        parse("[" * (MAX_JSON_DEPTH + 1) + "]" * (MAX_JSON_DEPTH + 1))


def test_size_to_the_byte() -> None:
    assert parse_yaml(b"#" * MAX_YAML_BYTES, PATH) is None
    with pytest.raises(ArtifactError, match=f"at most {MAX_YAML_BYTES} bytes of YAML"):
        parse_yaml(b"#" * (MAX_YAML_BYTES + 1), PATH)


@pytest.mark.parametrize("text", ["[" * 200_000, "- " * 200_000, "? " * 200_000, "{a: " * 200_000])
def test_two_hundred_thousand_levels_cost_no_stack(text: str) -> None:
    with pytest.raises(ArtifactError):
        parse(text)


@pytest.mark.parametrize("name", ["m.yaml", "m.yml", "M.YAML"])
@pytest.mark.filterwarnings("ignore", category=UnnamedActionsWarning)
def test_yaml_list_and_mapping(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("- kitchen_capture/rollout_sample_bob_002.npz\n")
    assert [len(sample) for sample in read_captures(path, data_root=DATA).samples] == [40]
    path.write_text(
        """\
metadata:
  scenario_name: kitchen_breakfast
  capture_timestamp: 2026-11-22T06:22:12.127772+00:00
  seed: 4242
samples:
  - {sample: kitchen_capture/rollout_sample_bob_002.npz, meta: kitchen_capture/rollout_sample_bob_002.json}
  - sample: kitchen_capture/rollout_sample_alice_001.npz
    accepted: false
    agent_id: alice
"""
    )
    capture = read_captures(path, data_root=DATA)
    assert capture.metadata == {
        "scenario_name": "kitchen_breakfast",
        "capture_timestamp": "2026-11-22T06:22:12.127772+00:00",
        "seed": 4242,
    }
    assert [sample.metadata["agent_id"] for sample in capture.samples] == ["bob"]


def test_yaml_that_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("samples: &a [x.npz]\nmore: *a\n")
    with pytest.raises(ArtifactError, match="m.yaml: parse: .*anchors and aliases are not allowed"):
        read_captures(path)


def paths_of(value: JsonValue, prefix: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """Every key and item in `value`, by path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = set[tuple[str | int, ...]]()
    for name, inner in items:
        found |= {(*prefix, name)} | paths_of(inner, (*prefix, name))
    return found


def test_the_place_of_every_key_and_item_is_noted() -> None:
    marks: Marks = {}
    parse_yaml(b"a: 1\nb:\n  - {c: 2, d: [3, 44]}\n  - x\n  - [[5]]\n'': [{}]\n", PATH, marks)
    assert marks == {
        ("a",): (1, 1),
        ("b",): (2, 1),
        ("b", 0): (3, 5),
        ("b", 0, "c"): (3, 6),
        ("b", 0, "d"): (3, 12),
        ("b", 0, "d", 0): (3, 16),
        ("b", 0, "d", 1): (3, 19),
        ("b", 1): (4, 5),
        ("b", 2): (5, 5),
        ("b", 2, 0): (5, 6),
        ("b", 2, 0, 0): (5, 7),
        ("",): (6, 1),
        ("", 0): (6, 6),
    }


@given(values(st.text(st.sampled_from("ab"), max_size=2)))
def test_what_has_a_place_is_what_is_there(value: JsonValue) -> None:
    marks: Marks = {}
    assert parse_yaml(dump_yaml(value).encode(), PATH, marks) == value
    assert set(marks) == paths_of(value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\n a: 2", (2, 3)),
        ("a: 1\nb: .nan", (2, 4)),
        ("a: 1\nb: {", (3, 1)),
        ("a: \x07", (1, None)),
        ("a: 1\n\na: 2", (3, 1)),
    ],
)
def test_the_place_of_an_error_is_told_apart_from_its_words(text: str, place: tuple[int, int | None]) -> None:
    with pytest.raises(ArtifactError) as caught:
        parse(text)
    assert place_of(caught.value) == place


def test_an_error_without_a_place_has_none() -> None:
    with pytest.raises(ArtifactError) as caught:
        parse_yaml(b"\xff", PATH)
    assert place_of(caught.value) is None
