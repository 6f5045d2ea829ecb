"""What a dataset of Minari holds, as its `metadata.json` says: ours with everything, others by their spaces alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from townlet_trajectory.data.schema import SCHEMA_VERSION, ArraySpec, Kind, Source, TrajectorySchema
from townlet_trajectory.data.schema_document import parse_schema
from townlet_trajectory.dataset.info import DatasetInfo, parse_info
from townlet_trajectory.errors import CaptureError, SchemaError
from townlet_trajectory.formats.minari.spaces import ACTION, Leaf, leaves_of, own_leaves, with_mask
from townlet_trajectory.storage.json import Fields, JsonValue, canonical_json
from townlet_trajectory.storage.manifest import FileEntry

SECTION = "townlet"
"""Key of our own section of `metadata.json`."""

_FOREIGN_COLUMNS: Mapping[str, np.generic] = {
    "kind": np.int8(Kind.FOREIGN),
    "source": np.int8(Source.EXTERNAL),
    "demonstrated": np.bool_(True),
    "expert_action": np.int64(-1),
}
"""What is true of every step that somebody else recorded: no probability is known, and the action was demonstrated."""


@dataclass(frozen=True, kw_only=True)
class MinariContents:
    """The columns of a dataset, and where its episodes have them."""

    schema: TrajectorySchema
    num_episodes: int
    observations: Mapping[str, Leaf]
    decisions: Mapping[str, Leaf]
    """Those that the file holds."""
    constants: Mapping[str, np.generic] = field(default_factory=dict)
    """The other decision columns, the same in every row."""
    info: DatasetInfo = field(default_factory=DatasetInfo)
    file: FileEntry | None = None
    """What the file of arrays must be, where the dataset is ours."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one decoded step: its columns, reward and tick."""
        specs = (*self.schema.observations.values(), *self.schema.decisions.values())
        return sum(spec.row_bytes for spec in specs) + ArraySpec("float32").row_bytes + ArraySpec("int64").row_bytes


def minari_contents(metadata: Mapping[str, JsonValue], path: Path) -> MinariContents:
    """Read `metadata.json`, parsed already, that came from `path`.

    Raises:
        ArtifactError: if it is damaged, of a format or version that is not read, or says what no schema can say.
    """
    fields = Fields(metadata, path)
    if (data_format := fields.text("data_format")) != "hdf5":
        raise CaptureError(path, "parse", f"`data_format` must be hdf5, got {data_format!r}")
    try:
        return _own(fields, path) if SECTION in metadata else _foreign(metadata, path)
    except SchemaError as error:
        raise CaptureError(path, "parse", str(error)) from error


def section_digest(section: Mapping[str, JsonValue]) -> str:
    """SHA-256 (hex) of our section without its own `sha256`."""
    return hashlib.sha256(
        canonical_json({name: value for name, value in section.items() if name != "sha256"})
    ).hexdigest()


def _own(fields: Fields, path: Path) -> MinariContents:
    section, values = fields.inside(SECTION), fields.object(SECTION)
    if (version := section.integer("schema_version")) != SCHEMA_VERSION:
        raise CaptureError(path, "parse", f"schema_version {version} is not {SCHEMA_VERSION}")
    if section.text("sha256") != (digest := section_digest(values)):
        raise CaptureError(path, "verify", f"`{SECTION}`: expected SHA-256 {values['sha256']!r}, got {digest}")
    schema, file = parse_schema(section.inside("schema")), section.inside("file")
    if section.text("vocabulary_digest") != schema.vocabulary_digest:
        raise CaptureError(path, "verify", f"`vocabulary_digest` must be {schema.vocabulary_digest}")
    observations, decisions = own_leaves(schema)
    return MinariContents(
        schema=schema,
        num_episodes=section.integer("num_trajectories"),
        observations=observations,
        decisions=decisions,
        info=parse_info(section.inside("info")),
        file=FileEntry(sha256=file.text("sha256"), size=file.integer("size")),
    )


def _foreign(metadata: Mapping[str, JsonValue], path: Path) -> MinariContents:
    fields = Fields(metadata, path)
    if ours := [name for name, value in metadata.items() if isinstance(value, dict) and "vocabulary_digest" in value]:
        raise CaptureError(path, "verify", f"{ours[0]!r:.80} is our section under another name than {SECTION!r}")
    observations = leaves_of(fields.text("observation_space"), member="observations", name="observation", path=path)
    actions = leaves_of(fields.text("action_space"), member="actions", name=ACTION, path=path)
    only = actions.get(ACTION)
    num_actions = only.num_values if only is not None and only.num_values is not None else 0
    # Indices count from 0 for an action, and mean what they meant elsewhere.
    actions = {name: leaf if name == ACTION else _as_it_is(leaf) for name, leaf in actions.items()}
    observations = with_mask({name: _as_it_is(leaf) for name, leaf in observations.items()}, num_actions)
    encoded = fields.flag("jpeg_encoding") if "jpeg_encoding" in metadata else True
    if images := [leaf.name for leaf in (*observations.values(), *actions.values()) if leaf.is_image and encoded]:
        raise CaptureError(path, "parse", f"{images} are kept as JPEG; only arrays as they were seen are read")
    constants = {
        name: value
        for name, value in _FOREIGN_COLUMNS.items()
        if name not in actions and (num_actions or name != "expert_action")
    }
    return MinariContents(
        schema=TrajectorySchema(
            observations={name: leaf.spec for name, leaf in observations.items()},
            decisions={
                **{name: leaf.spec for name, leaf in actions.items()},
                **{name: ArraySpec(value.dtype.name) for name, value in constants.items()},
            },
            vocabulary=tuple(f"action_{index}" for index in range(num_actions)),
        ),
        num_episodes=fields.integer("total_episodes"),
        observations=observations,
        decisions=actions,
        constants=constants,
    )


def _as_it_is(leaf: Leaf) -> Leaf:
    return replace(leaf, start=0, num_values=None)
