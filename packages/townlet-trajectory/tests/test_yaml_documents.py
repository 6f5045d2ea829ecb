"""YAML manifests: what JSON can say, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory import ArtifactError
from townlet_trajectory.formats.captures.directory import UnnamedActionsWarning, read_captures
from townlet_trajectory.storage.json import MAX_JSON_DEPTH
from townlet_trajectory.storage.yaml import MAX_YAML_BYTES, parse_yaml

PATH = Path("manifest.yaml")
DATA = Path(__file__).parent / "data"


def values(text: st.SearchStrategy[str], numbers: st.SearchStrategy[float]) -> st.SearchStrategy[object]:
    return st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | numbers | text,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
        max_leaves=12,
    )


def parse(text: str) -> object:
    return parse_yaml(text.encode(), PATH)


@pytest.mark.property
@given(values(st.text(), st.floats(allow_nan=False, allow_infinity=False)))
def test_what_pyyaml_writes_is_read_back(value: object) -> None:
    assert parse(yaml.safe_dump(value)) == value


@pytest.mark.property
@given(
    values(
        st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])),
        st.integers(-999, 999).map(lambda n: n / 8),
    )
)
def test_json_is_yaml(value: object) -> None:
    # but for surrogate pairs (YAML escapes characters, not UTF-16) and 1e16 (in YAML 1.1 a number has a point)
    assert parse(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing", None),
        ("- a.npz\n- sample: b.npz\n  accepted: no\n", ["a.npz", {"sample": "b.npz", "accepted": False}]),
        ("[yes, On, TRUE, off, ~, null, 'yes']", [True, True, True, False, None, None, "yes"]),
        ("[1, 0x10, 010, 1_000, 1:30, 1.5, 3e4, 3.0e+4, .5]", [1, 16, 8, 1000, 90, 1.5, "3e4", 3e4, 0.5]),
        ("[2020-01-01, 2020-01-01T10:00:00Z, <<, =]", ["2020-01-01", "2020-01-01T10:00:00Z", "<<", "="]),
        ('{"a": {b: [c, {}]}, d: []}', {"a": {"b": ["c", {}]}, "d": []}),
        ("---\na: |\n  x\n  y\n...\n", {"a": "x\ny\n"}),
    ],
)
def test_by_hand(text: str, value: object) -> None:
    assert parse(text) == value


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
        ("9" * 200, "a number of 200 characters"),
        ("a\n---\nb", "a second document"),
        ("a: [1, 2", "expected ',' or ']'"),
        ("a: b: c", "mapping values are not allowed"),
        ("a: \x07", "not YAML"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason) as caught:
        parse(text)
    assert (caught.value.path, caught.value.stage) == (PATH, "parse")


def test_not_utf8() -> None:
    with pytest.raises(ArtifactError, match="not YAML as it is read here: 'utf-8'"):
        parse_yaml(b"\xff\xfe", PATH)


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
    accepted: no
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
