"""A collection as a message: counts and schemas as JSON, rows as arrays."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from townlet_runtime.workers.blocks import Arrays
from townlet_runtime.workers.messages import Message
from townlet_trajectory import TrajectorySchema
from townlet_trajectory.data.schema import parse_schema, schema_document
from townlet_trajectory.dataset.source import arrays_of
from townlet_trajectory.evaluation.interfaces import Collected
from townlet_trajectory.formats.batch_file import batch_of_arrays
from townlet_trajectory.storage.json import Fields


def collection_message(collected: Collected) -> Message:
    """Return everything of a collection but the rows."""
    counts = {field.name: getattr(collected, field.name) for field in fields(collected) if field.name != "batches"}
    schemas = [[group, schema_document(batch.schema)] for group, batch in collected.batches.items()]
    return {"schemas": schemas, "counts": counts}


def collection_arrays(collected: Collected) -> dict[str, Any]:
    """Return the rows: `INDEX/NAME` for every array of the group of that index."""
    return {
        f"{index}/{name}": array
        for index, batch in enumerate(collected.batches.values())
        for name, array in arrays_of(batch).items()
    }


class CollectionReader:
    """Undoes `collection_message` and `collection_arrays`; a schema that was read before is not read again."""

    def __init__(self) -> None:
        self._schemas: dict[str, TrajectorySchema] = {}

    def read(self, message: Message, arrays: Arrays) -> Collected:
        """Return the collection, whose rows are those of `arrays`."""
        batches = {}
        for index, (group, document) in enumerate(message["schemas"]):
            schema = self._schema(document)
            own = {name.removeprefix(f"{index}/"): array for name, array in arrays.items()}
            batches[group] = batch_of_arrays(schema, own)
        return Collected(batches=batches, **message["counts"])

    def _schema(self, document: Message) -> TrajectorySchema:
        key = repr(document)
        if key not in self._schemas:
            self._schemas[key] = parse_schema(Fields(document, "a worker's answer"))
        return self._schemas[key]
