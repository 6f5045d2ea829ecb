"""A schema as JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping

from townlet_trajectory.data.schema import ArraySpec, TrajectorySchema
from townlet_trajectory.storage.json import Fields, JsonValue


def schema_document(schema: TrajectorySchema) -> dict[str, JsonValue]:
    """`observations` and `decisions`, each an object of `dtype` and `shape` by name, and `vocabulary`."""
    return {
        "observations": _specs_document(schema.observations),
        "decisions": _specs_document(schema.decisions),
        "vocabulary": list(schema.vocabulary),
    }


def parse_schema(fields: Fields) -> TrajectorySchema:
    """The inverse of `schema_document`; other fields of the object are not looked at.

    Raises:
        ManifestError: the error of `fields`, if a value is missing or of another type.
        SchemaError: if the values are not a schema.
    """
    return TrajectorySchema(
        observations=_parse_specs(fields, "observations"),
        decisions=_parse_specs(fields, "decisions"),
        vocabulary=fields.texts("vocabulary"),
    )


def _specs_document(specs: Mapping[str, ArraySpec]) -> dict[str, JsonValue]:
    return {name: {"dtype": spec.dtype, "shape": [*spec.shape]} for name, spec in specs.items()}


def _parse_specs(fields: Fields, kind: str) -> dict[str, ArraySpec]:
    inside = fields.inside(kind)
    specs = {name: inside.inside(name) for name in fields.object(kind)}
    return {name: ArraySpec(spec.text("dtype"), spec.integers("shape")) for name, spec in specs.items()}
