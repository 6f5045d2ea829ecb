"""Specifications refuse what no column can be, and name differences."""

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from strategies import SCHEMA, any_schemas

from townlet_trajectory import (
    ArraySpec,
    Kind,
    ManifestError,
    SchemaError,
    Source,
    TrajectorySchema,
    default_decision_columns,
    vocabulary_digest,
)
from townlet_trajectory.data.schema import (
    MAX_ROW_BYTES,
    MAX_ROW_DIMENSIONS,
    common_schema,
    parse_schema,
    schema_document,
)
from townlet_trajectory.storage.json import Fields, canonical_json


def test_codes_are_those_of_the_files() -> None:
    assert [(kind.name, kind.value) for kind in Kind] == [("DECISION", 0), ("FORCED", 1), ("FOREIGN", 2)]
    assert [(source.name, source.value) for source in Source] == [("SCRIPTED", 0), ("LEARNED", 1), ("EXTERNAL", 2)]


def test_vocabulary_digest_by_hand() -> None:
    expected = hashlib.sha256(b'["wait","\\u00e9"]').hexdigest()
    assert vocabulary_digest(("wait", "é")) == expected
    assert vocabulary_digest(("é", "wait")) != expected


def test_row_bytes() -> None:
    assert ArraySpec("float32", (4, 11, 11)).row_bytes == 1936
    assert ArraySpec("bool").row_bytes == 1
    assert sum(spec.row_bytes for spec in default_decision_columns().values()) == 79


def test_proposers_are_kept_where_they_are_known() -> None:
    specs = {"x": ArraySpec("float32")}
    schema = TrajectorySchema(observations=specs, decisions={"proposer": ArraySpec("int8")}, vocabulary=("wait",))
    assert "proposers" not in schema_document(schema)
    named = replace(schema, proposers=("script", "mind"))
    assert parse_schema(Fields(schema_document(named), "f")) == named
    assert parse_schema(Fields(schema_document(schema), "f")).proposers == ()
    with pytest.raises(SchemaError, match=r"proposers differ: \('script', 'mind'\) and \(\)"):
        named.require_equal(schema)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("script", "script"), r"`proposers` repeats \['script'\]"),
        (("",), "`proposers` must be a tuple of non-empty"),
    ],
)
def test_names_of_proposers_are_checked(names: tuple[str, ...], problem: str) -> None:
    specs = {"x": ArraySpec("float32")}
    with pytest.raises(SchemaError, match=problem):
        TrajectorySchema(observations=specs, decisions={"y": ArraySpec("int8")}, vocabulary=(), proposers=names)


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [
        ("object", (), "`dtype` must be one of"),
        ("float32", (0,), "`shape` must be a tuple of positive ints"),
        ("float32", [2], "`shape` must be a tuple"),
        ("float32", (True,), "`shape` must be a tuple"),
    ],
)
def test_bad_spec(dtype: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        ArraySpec(dtype, shape)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observations": {}}, "`observations` must name at least one column"),
        ({"decisions": {}}, "`decisions` must name at least one column"),
        ({"observations": {"a/b": ArraySpec("float32")}}, "a column name must match"),
        ({"observations": {"action": ArraySpec("float32")}}, r"both observation and decision: \['action'\]"),
        ({"vocabulary": ("a", "a")}, r"repeats \['a'\]"),
        ({"vocabulary": ["a"]}, "`vocabulary` must be a tuple"),
        ({"vocabulary": ("",)}, "non-empty strings"),
        ({"vocabulary": ("a", "b")}, "`action_mask` must be"),
        ({"vocabulary": ()}, "`action_mask` must be None"),
    ],
)
def test_bad_schema(changes: dict[str, object], message: str) -> None:
    arguments = {
        "observations": SCHEMA.observations,
        "decisions": SCHEMA.decisions,
        "vocabulary": SCHEMA.vocabulary,
        **changes,
    }
    with pytest.raises(SchemaError, match=message):
        TrajectorySchema(**arguments)


def test_a_vocabulary_may_be_empty() -> None:
    schema = TrajectorySchema(
        observations={"observation": ArraySpec("float32", (4,))},
        decisions={"action": ArraySpec("float32", (2,))},
        vocabulary=(),
    )
    assert schema.vocabulary_digest == vocabulary_digest(())


def named_schema(**names: tuple[str, ...]) -> TrajectorySchema:
    return TrajectorySchema(
        observations={"features": ArraySpec("float32", (2,))},
        decisions={"action": ArraySpec("int64")},
        vocabulary=("a",),
        **names,
    )


def test_names_that_are_known_are_kept() -> None:
    schema = named_schema(veto_reasons=("action_mask", "rivalry"), feature_names=("hunger", "wallet"))
    document = schema_document(schema)
    assert (document["veto_reasons"], document["feature_names"]) == (["action_mask", "rivalry"], ["hunger", "wallet"])
    assert parse(json.loads(canonical_json(document))) == schema
    # A record of an earlier version has no names, and says so by leaving them out.
    assert schema_document(named_schema()).keys() == {"observations", "decisions", "vocabulary"}
    assert parse(schema_document(named_schema())) == named_schema()


def test_rows_of_several_schemas_have_the_names_that_agree() -> None:
    known = named_schema(veto_reasons=("mask", "rivalry"), feature_names=("x", "y"))
    assert common_schema([known, named_schema(), known]) == known
    # What later schemas say is not said of the rows of the first.
    assert common_schema([named_schema(), known]) == named_schema()
    other = named_schema(veto_reasons=("mask", "curfew"), feature_names=("x", "y"))
    assert common_schema([known, other]) == named_schema(feature_names=("x", "y"))
    with pytest.raises(SchemaError, match="decision `action` differs"):
        common_schema([known, replace(known, decisions={"action": ArraySpec("int32")})])


def test_names_for_people_are_not_compared() -> None:
    named_schema(veto_reasons=("a",), feature_names=("x", "y")).require_equal(named_schema(veto_reasons=("b", "c")))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"veto_reasons": ("x", "x")}, r"`veto_reasons` repeats \['x'\]"),
        ({"veto_reasons": ["x"]}, "`veto_reasons` must be a tuple of non-empty strings"),
        ({"feature_names": ["x", "y"]}, "`feature_names` must be a tuple of strings"),
        ({"feature_names": (1, 2)}, "`feature_names` must be a tuple of strings"),
        ({"feature_names": ("x",)}, r"`features`, whose columns have 1 names, must be .*\(1,\)\), got .*\(2,\)\)"),
    ],
)
def test_bad_names(names: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        named_schema(**names)


def test_features_that_are_not_there_have_no_names() -> None:
    with pytest.raises(SchemaError, match=r"must be ArraySpec\(.*\), got None"):
        TrajectorySchema(
            observations={"seen": ArraySpec("float32", (2,))},
            decisions={"action": ArraySpec("int64")},
            vocabulary=(),
            feature_names=("x", "y"),
        )


def test_require_equal_names_the_difference() -> None:
    decisions = {**SCHEMA.decisions, "value": ArraySpec("float64")}
    other = TrajectorySchema(observations=SCHEMA.observations, decisions=decisions, vocabulary=SCHEMA.vocabulary)
    with pytest.raises(SchemaError, match="decision `value` differs"):
        SCHEMA.require_equal(other)
    renamed = TrajectorySchema(
        observations=SCHEMA.observations, decisions=SCHEMA.decisions, vocabulary=("x", *SCHEMA.vocabulary[1:])
    )
    with pytest.raises(SchemaError, match="vocabularies differ: 3 actions"):
        SCHEMA.require_equal(renamed)
    SCHEMA.require_equal(
        TrajectorySchema(
            observations=SCHEMA.observations, decisions=SCHEMA.decisions, vocabulary=tuple(SCHEMA.vocabulary)
        )
    )


def test_a_row_has_a_bounded_size() -> None:
    assert ArraySpec("int8", (1 << 30,)).row_bytes == MAX_ROW_BYTES
    assert ArraySpec("int8", (1,) * MAX_ROW_DIMENSIONS).row_bytes == 1
    for dtype, shape in (
        ("int8", ((1 << 30) + 1,)),
        ("int64", (1 << 40, 1 << 40)),
        ("int8", (1,) * 8),
        ("bool", (9**400,)),
    ):
        with pytest.raises(SchemaError, match="a row has at most 7 axes and 1073741824 bytes"):
            ArraySpec(dtype, shape)


def parse(document: object) -> TrajectorySchema:
    assert isinstance(document, dict)
    return parse_schema(Fields(document, "f", error=ManifestError))


@given(any_schemas())
def test_parse_inverts_document(schema: TrajectorySchema) -> None:
    read = parse(json.loads(canonical_json(schema_document(schema))))
    assert read == schema
    assert list(read.vocabulary) == list(schema.vocabulary)


def test_by_hand() -> None:
    schema = TrajectorySchema(
        observations={"seen": ArraySpec("float32", (2, 3))}, decisions={"action": ArraySpec("int64")}, vocabulary=("a",)
    )
    assert schema_document(schema) == {
        "observations": {"seen": {"dtype": "float32", "shape": [2, 3]}},
        "decisions": {"action": {"dtype": "int64", "shape": []}},
        "vocabulary": ["a"],
    }


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"vocabulary": [1]}, ManifestError, "`vocabulary` must be a list of strings"),
        ({"observations": []}, ManifestError, "`observations` must be an object"),
        ({"decisions": {"x": {"dtype": "int64"}}}, ManifestError, "f:decisions:x: parse: `shape` must be a list"),
        ({"decisions": {"x": {"dtype": "object", "shape": []}}}, SchemaError, "`dtype` must be one of"),
        ({"decisions": {"x": {"dtype": "int8", "shape": [0]}}}, SchemaError, "positive ints"),
        ({"decisions": {"x.y": {"dtype": "int8", "shape": []}}}, SchemaError, "a column name must match"),
    ],
)
def test_other_forms(changes: dict[str, object], error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        parse({**schema_document(SCHEMA), **changes})
