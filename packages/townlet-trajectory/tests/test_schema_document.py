"""Schemas as JSON."""

import json

import pytest
from hypothesis import given
from strategies import SCHEMA, any_schemas

from townlet_trajectory import ArraySpec, ManifestError, SchemaError, TrajectorySchema
from townlet_trajectory.data.schema_document import parse_schema, schema_document
from townlet_trajectory.storage.json import Fields, canonical_json


def parse(document: object) -> TrajectorySchema:
    assert isinstance(document, dict)
    return parse_schema(Fields(document, "f", error=ManifestError))


@pytest.mark.property
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
