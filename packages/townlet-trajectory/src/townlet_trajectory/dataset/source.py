"""Where trajectories come from: the one interface of memory, captures and shards, and the source in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.ragged import offsets_of
from townlet_trajectory.data.schema import Array, TrajectorySchema, common_schema
from townlet_trajectory.data.table import TrajectoryTable as TrajectoryTable
from townlet_trajectory.data.trajectory import LABELS, ROW_SPECS, TRAJECTORY_FIELDS, TRAJECTORY_SPECS
from townlet_trajectory.errors import DatasetError, SchemaError, ShapeError


class TrajectorySource(Protocol):
    """Trajectories in K blocks; a block is what is read at once."""

    @property
    def schema(self) -> TrajectorySchema: ...

    @property
    def table(self) -> TrajectoryTable:
        """All trajectories, block after block."""

    @property
    def block_offsets(self) -> NDArray[np.int64]:
        """[K + 1]; trajectories `block_offsets[k] : block_offsets[k + 1]` are block k, at least one each."""

    @property
    def encoded_bytes(self) -> NDArray[np.int64]:
        """[K]; the bytes that are read to decode each block, 0 where they are in memory anyway."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex); equal for equal content in equal blocks. A manifest's digest where there is one."""

    def load_block(self, block: int) -> TrajectoryBatch:
        """The trajectories of a block, verified. Raises `ArtifactError` if a file is missing, damaged, or contradicts
        what its directory says of it."""

    def decision_column(self, block: int, name: str) -> Array:
        """One decision column of the rows of a block, [rows, ...]; tensors are not decoded where the format allows.
        Raises `ArtifactError` as `load_block`; `SchemaError` if there is no such decision column."""


class BatchSource:
    """A batch in memory. Blocks are views of it.

    Args:
        batch: the trajectories.
        rows_per_block: a block begins with the first trajectory that begins at or after each multiple of it, so that
            trajectories stay whole. None: the batch is one block.
        tags: of all its trajectories.

    Raises:
        ShapeError: if `rows_per_block` is less than 1.
    """

    def __init__(
        self, batch: TrajectoryBatch, *, rows_per_block: int | None = None, tags: frozenset[str] = frozenset()
    ) -> None:
        if rows_per_block is not None and rows_per_block < 1:
            raise ShapeError(f"`rows_per_block` must be at least 1, got {rows_per_block!r}")
        self._batch = batch
        self.schema = batch.schema
        self.table = table_of(batch, tags=tags)
        stripe = batch.offsets[:-1] // (rows_per_block or max(1, batch.num_steps))
        starts = np.flatnonzero(np.diff(stripe, prepend=-1))
        self.block_offsets: NDArray[np.int64] = np.append(starts, len(batch)).astype(np.int64)
        self.encoded_bytes = np.zeros(len(starts), np.int64)

    @cached_property
    def fingerprint(self) -> str:
        arrays = {**arrays_of(self._batch), "blocks": self.block_offsets}
        # Who proposed is part of the content where it is known, and what array actions mean.
        meaning = () if self.schema.actions is None else (self.schema.actions.digest,)
        head = "\0".join((self.schema.vocabulary_digest, *meaning, *self.schema.proposers))
        return arrays_digest(head.encode(errors="surrogatepass"), arrays)

    def load_block(self, block: int) -> TrajectoryBatch:
        first, stop = block_bounds(self, block)
        return self._batch if stop - first == len(self._batch) else self._batch[first:stop]

    def decision_column(self, block: int, name: str) -> Array:
        first, stop = block_bounds(self, block)
        require_decision(self.schema, name)
        return self._batch.columns[name][self._batch.offsets[first] : self._batch.offsets[stop]]


class ChainedSource:
    """The trajectories of sources with equal schemas, one source after the other.

    Raises:
        DatasetError: if there is no source.
        SchemaError: if schemas differ.
    """

    def __init__(self, sources: Sequence[TrajectorySource]) -> None:
        require_equal_schemas(sources)
        self.schema = common_schema([source.schema for source in sources])
        self._sources = tuple(sources)
        self._first_blocks = np.cumsum([0, *(len(source.block_offsets) - 1 for source in sources)])
        self.table = joined_tables([source.table for source in sources])
        self.block_offsets = offsets_of(np.concatenate([np.diff(source.block_offsets) for source in sources]))
        self.encoded_bytes = np.concatenate([source.encoded_bytes for source in sources])

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(" ".join(source.fingerprint for source in self._sources).encode()).hexdigest()

    def load_block(self, block: int) -> TrajectoryBatch:
        source, inside = self._place(block)
        return source.load_block(inside)

    def decision_column(self, block: int, name: str) -> Array:
        source, inside = self._place(block)
        return source.decision_column(inside, name)

    def _place(self, block: int) -> tuple[TrajectorySource, int]:
        block_bounds(self, block)
        number = int(np.searchsorted(self._first_blocks, block, side="right")) - 1
        return self._sources[number], block - int(self._first_blocks[number])


def table_of(batch: TrajectoryBatch, *, tags: frozenset[str] = frozenset()) -> TrajectoryTable:
    """Make the table of the trajectories of `batch`, each tagged with `tags`."""
    return TrajectoryTable(
        first_ticks=batch.ticks[batch.offsets[:-1]],
        lengths=batch.lengths,
        **{name: vars(batch)[name] for name in TRAJECTORY_FIELDS},
        tags=(tags,) * len(batch) if tags else (),
    )


def joined_tables(tables: Sequence[TrajectoryTable]) -> TrajectoryTable:
    """Put at least one table one after the other."""
    names = [field.name for field in fields(TrajectoryTable) if field.name != "tags"]
    tags = [table.tags or (frozenset[str](),) * len(table) for table in tables]
    return TrajectoryTable(
        **{name: np.concatenate([vars(table)[name] for table in tables]) for name in names},
        tags=tuple(chain.from_iterable(tags)) if any(table.tags for table in tables) else (),
    )


def require_equal_schemas(sources: Sequence[TrajectorySource]) -> None:
    """Raise `DatasetError` unless there is a source, and `SchemaError` unless all have the schema of the first."""
    if not sources:
        raise DatasetError("at least one source is needed, to know the schema")
    for source in sources:
        sources[0].schema.require_equal(source.schema)


def schema_and_rest(
    batches: TrajectoryBatch | Iterable[TrajectoryBatch],
) -> tuple[TrajectorySchema, Iterator[TrajectoryBatch]]:
    """Return the schema of the first of at least one batch, and all of them; raise `SchemaError` if there is none."""
    rest = iter((batches,) if isinstance(batches, TrajectoryBatch) else batches)
    if (first := next(rest, None)) is None:
        raise SchemaError("at least one batch is needed, to know the schema")
    return first.schema, chain((first,), rest)


def require_decision(schema: TrajectorySchema, name: str) -> None:
    """Raise `SchemaError` unless `name` is a decision column of `schema`."""
    if name not in schema.decisions:
        raise SchemaError(f"`{name}` is no decision column, there are {sorted(schema.decisions)}")


def block_bounds(source: TrajectorySource, block: int) -> tuple[int, int]:
    """Return the first trajectory of a block and the one behind its last; `IndexError` if there is no such block."""
    offsets = source.block_offsets
    if not 0 <= block < len(offsets) - 1:
        raise IndexError(f"block {block} of {len(offsets) - 1}")
    return int(offsets[block]), int(offsets[block + 1])


def blocks_of(source: TrajectorySource) -> Iterator[tuple[int, int, int]]:
    """Yield each block with its first trajectory and the one behind its last."""
    return ((block, *block_bounds(source, block)) for block in range(len(source.block_offsets) - 1))


def arrays_of(batch: TrajectoryBatch) -> dict[str, Array]:
    """All content of a batch as arrays by name; agent ids are UTF-8, one after the other, with their ends, and labels
    are there where one is not `NONE`."""
    agent_ids = [agent_id.encode(errors="surrogatepass") for agent_id in batch.agent_ids.tolist()]
    return {
        "lengths": batch.lengths,
        "agent_ids": np.frombuffer(b"".join(agent_ids), np.uint8),
        "agent_id_ends": np.cumsum([len(agent_id) for agent_id in agent_ids], dtype=np.int64),
        **{name: vars(batch)[name] for name in (*TRAJECTORY_SPECS, *ROW_SPECS) if name != LABELS},
        **({LABELS: batch.episode_labels} if batch.episode_labels.any() else {}),
        **{f"observations.{name}": array for name, array in batch.observations.items()},
        **{f"final.{name}": array for name, array in batch.final_observations.items()},
        **{f"decisions.{name}": array for name, array in batch.columns.items()},
    }


def arrays_digest(head: bytes, arrays: Mapping[str, Array]) -> str:
    """SHA-256 (hex) of `head`, and of every array with its name, dtype and shape, whatever their order."""
    digest = hashlib.sha256(head)
    for name, array in sorted(arrays.items()):
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
