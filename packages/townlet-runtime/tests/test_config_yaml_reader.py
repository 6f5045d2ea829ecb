from pathlib import Path

import pytest

from townlet_runtime.config.yaml_reader import MAX_BYTES, MAX_DEPTH, parse_yaml, read_yaml
from townlet_runtime.errors import ConfigError


def test_plain_yaml_is_read() -> None:
    text = "a: 1\nb: [1.5, x, null, true]\nc: {d: 'on', e: -2}\n"
    assert parse_yaml(text, source="x") == {"a": 1, "b": [1.5, "x", None, True], "c": {"d": "on", "e": -2}}
    assert parse_yaml("", source="x") is None


@pytest.mark.parametrize(
    ("text", "value"), [("3e-4", 3e-4), ("1E6", 1e6), ("-2.5e+3", -2500.0), ("2024-01-02", "2024-01-02")]
)
def test_numbers_with_an_exponent_are_numbers_and_dates_are_text(text: str, value: object) -> None:
    assert parse_yaml(text, source="x") == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x 1\nb: *x", "anchors and aliases are not allowed (line 1, column 4)"),
        ("a: *x", "anchors and aliases are not allowed"),
        (
            "!!python/object/apply:os.system ['true']",
            "the tag 'tag:yaml.org,2002:python/object/apply:os.system' is not",
        ),
        ("a: !!str 1", "the tag"),
        ("a: 1\nb: 2\na: 3", "the key `a` twice (line 3, column 1)"),
        ("{a: {b: 1, b: 2}}", "the key `b` twice"),
        ("1: x", "the key 1 is not text"),
        ("on: x", "the key True is not text"),
        ("a: .nan", "the number .nan is not finite"),
        ("a: [.inf]", "the number .inf is not finite"),
        ("a: 1e999", "the number 1e999 is not finite"),
        ("a: [", "(line 1"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("[" * (MAX_DEPTH + 1), "levels deep"),
        ("a: \x07", "special characters are not allowed"),
        ("a: " + "9" * 5000, "4300"),
    ],
)
def test_what_a_config_does_not_need_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, source="my.yaml")
    assert str(caught.value).startswith("my.yaml: ")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_depth_and_size_are_accepted_up_to_the_limit(tmp_path: Path) -> None:
    assert parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH, source="x")
    path = tmp_path / "c.yaml"
    path.write_text("a: 1 #".ljust(MAX_BYTES, "x"))
    assert read_yaml(path) == {"a": 1}
    path.write_text("a: 1 #".ljust(MAX_BYTES + 1, "x"))
    with pytest.raises(ConfigError, match="larger than 1048576 bytes"):
        read_yaml(path)


def test_a_file_that_is_no_text_or_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    with pytest.raises(ConfigError, match=rf"{path}: cannot read it: No such file"):
        read_yaml(path)
    path.write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 3"):
        read_yaml(path)
