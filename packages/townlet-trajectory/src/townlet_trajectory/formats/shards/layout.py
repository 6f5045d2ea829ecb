"""The two tables of a shard: which column of a batch is in which, under which name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.ragged import offsets_of
from townlet_trajectory.data.schema import ArraySpec, TrajectorySchema
from townlet_trajectory.data.trajectory import TRAJECTORY_FIELDS, Array
from townlet_trajectory.dataset.source import TrajectoryTable
from townlet_trajectory.errors import ContinuityError, ManifestError, NonFiniteError, SchemaError
from townlet_trajectory.formats.shards.columns import (
    MAX_DECODED_BYTES,
    arrow_array,
    arrow_repeated,
    arrow_texts,
    decode_columns,
    encode_columns,
)

STEP_COLUMNS = ("trajectory", "tick", "agent_id", "world", "episode", "reward")
"""The columns of every table of steps; beside them `observations.NAME`, and decision columns by their own name."""

SHARD_BYTES = 16 << 20
"""Of the rows of a shard, decoded, unless another number of rows is asked for."""

_STEP_SPECS = {"trajectory": ArraySpec("int64"), "tick": ArraySpec("int64"), "reward": ArraySpec("float32")}
_STEP_BYTES = 8 + 8 + 4 + 8 + 8 + 4
_TRAJECTORY_SPECS = {
    **dict.fromkeys(("world", "episode", "first_tick", "length"), ArraySpec("int64")),
    **dict.fromkeys(("terminated", "truncated"), ArraySpec("bool")),
}
_LABEL = {"episode_label": ArraySpec("int8")}
"""In a table of trajectories only where one of them has a label, so that others are what they always were."""


def step_bytes(schema: TrajectorySchema) -> int:
    """Bytes of one row of the table of steps, decoded."""
    return _STEP_BYTES + sum(spec.row_bytes for spec in (*schema.observations.values(), *schema.decisions.values()))


def check_shard_schema(schema: TrajectorySchema, rows_per_shard: int | None) -> int:
    """The rows of a shard: `rows_per_shard`, or as many as take `SHARD_BYTES`, at least one. Raises `SchemaError` if a
    decision column has the name of one that every table has, or such a shard is too large to be read again."""
    if taken := sorted(schema.decisions.keys() & set(STEP_COLUMNS)):
        raise SchemaError(f"a shard has columns of its own named {taken}: rename these decision columns")
    row_bytes = step_bytes(schema)
    rows = max(1, SHARD_BYTES // row_bytes) if rows_per_shard is None else rows_per_shard
    # Half of what is read, because padding and agent ids come on top.
    if not 1 <= rows <= MAX_DECODED_BYTES // 2 // row_bytes:
        raise SchemaError(
            f"a shard has at least one row, and at most {MAX_DECODED_BYTES // 2} bytes, got {rows} of {row_bytes} bytes"
        )
    return rows


def encode_shard(batch: TrajectoryBatch, *, compression: str) -> tuple[bytes, bytes]:
    """The files of one shard, steps and trajectories; `SchemaError` if an agent id is not Unicode text."""
    lengths = batch.lengths
    steps = {
        "trajectory": arrow_array(batch.trajectory_of_row),
        "tick": arrow_array(batch.ticks),
        "agent_id": arrow_repeated(batch.agent_ids, lengths),
        "world": arrow_array(np.repeat(batch.worlds, lengths)),
        "episode": arrow_array(np.repeat(batch.episodes, lengths)),
        "reward": arrow_array(batch.rewards),
        **{f"observations.{name}": arrow_array(batch.observations[name]) for name in batch.schema.observations},
        **{name: arrow_array(batch.columns[name]) for name in batch.schema.decisions},
    }
    trajectories = {
        "agent_id": arrow_texts(batch.agent_ids),
        "world": arrow_array(batch.worlds),
        "episode": arrow_array(batch.episodes),
        "first_tick": arrow_array(batch.ticks[batch.offsets[:-1]]),
        "length": arrow_array(lengths),
        "terminated": arrow_array(batch.terminated),
        "truncated": arrow_array(batch.truncated),
        **({name: arrow_array(batch.episode_labels) for name in _LABEL} if batch.episode_labels.any() else {}),
        **{f"final.{name}": arrow_array(batch.final_observations[name]) for name in batch.schema.observations},
    }
    return encode_columns(steps, compression=compression), encode_columns(trajectories, compression=compression)


def decode_shard(
    steps: tuple[str | Path, bytes],
    trajectories: tuple[str | Path, bytes],
    schema: TrajectorySchema,
    *,
    num_steps: int,
    num_trajectories: int,
) -> TrajectoryBatch:
    """The inverse of `encode_shard`.

    Args:
        steps: path and content of the table of steps.
        trajectories: of the table of trajectories.
        schema: of the dataset.
        num_steps, num_trajectories: how many rows the tables must have.

    Raises:
        ArtifactError: if a file is damaged, or they contradict each other or the schema.
    """
    path, data = trajectories
    finals = {f"final.{name}": spec for name, spec in schema.observations.items()}
    table, final_observations = _decode_trajectories(data, path, finals, num_trajectories, num_steps)
    path, data = steps
    observations = {f"observations.{name}": spec for name, spec in schema.observations.items()}
    columns = decode_columns(data, path, {**_STEP_SPECS, **observations, **schema.decisions}, num_rows=num_steps)
    if not np.array_equal(columns["trajectory"], np.repeat(np.arange(num_trajectories), table.lengths)):
        raise ManifestError(path, "parse", "`trajectory` contradicts the lengths of the trajectories")
    offsets = offsets_of(table.lengths)
    if not np.array_equal(columns["tick"][offsets[:-1]], table.first_ticks):
        raise ManifestError(path, "parse", "`tick` contradicts `first_tick` of the trajectories")
    try:
        return TrajectoryBatch(
            schema=schema,
            offsets=offsets,
            observations=_without_prefix(columns, observations),
            final_observations=_without_prefix(final_observations, finals),
            columns={name: columns[name] for name in schema.decisions},
            rewards=columns["reward"],
            ticks=columns["tick"],
            **{name: vars(table)[name] for name in TRAJECTORY_FIELDS},
        )
    except (ContinuityError, NonFiniteError) as error:
        raise ManifestError(path, "parse", str(error)) from error


def decode_table(data: bytes, path: str | Path, *, num_steps: int, num_trajectories: int) -> TrajectoryTable:
    """Decode a table of trajectories without the final observations.

    Args:
        data: content of the file.
        path: where it came from.
        num_steps, num_trajectories: how many the shard must hold.

    Raises:
        ArtifactError: if it is damaged, or its lengths are not those of `num_steps` steps.
    """
    return _decode_trajectories(data, path, {}, num_trajectories, num_steps)[0]


def _decode_trajectories(
    data: bytes, path: str | Path, finals: Mapping[str, ArraySpec], num_trajectories: int, num_steps: int
) -> tuple[TrajectoryTable, dict[str, Array]]:
    columns = decode_columns(
        data,
        path,
        {**_TRAJECTORY_SPECS, **finals},
        texts=("agent_id",),
        optional=_LABEL,
        num_rows=num_trajectories,
    )
    lengths = columns["length"]
    # In float64, which does not wrap; exact as far as counts of steps go.
    if lengths.min(initial=1) < 1 or lengths.sum(dtype=np.float64) != num_steps:
        raise ManifestError(path, "parse", f"`length` must be positive and {num_steps} together")
    try:
        table = TrajectoryTable(
            agent_ids=columns["agent_id"],
            worlds=columns["world"],
            episodes=columns["episode"],
            first_ticks=columns["first_tick"],
            lengths=lengths,
            terminated=columns["terminated"],
            truncated=columns["truncated"],
            episode_labels=columns.get("episode_label", np.zeros(num_trajectories, np.int8)),
        )
    except SchemaError as error:
        raise ManifestError(path, "parse", str(error)) from error
    return table, {name: columns[name] for name in finals}


def _without_prefix(columns: Mapping[str, Array], names: Mapping[str, ArraySpec]) -> dict[str, Array]:
    return {name.partition(".")[2]: columns[name] for name in names}
