"""One row per step as Parquet, for DuckDB, pandas, Polars and Spark; written in bounded memory, not read back.

The observation after the last step of a trajectory has no row, so that this is a table to ask questions of, and no
dataset to learn from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.actions import MultiDiscrete, actions_document, outside
from townlet_trajectory.data.batch import BatchSink, TrajectoryBatch
from townlet_trajectory.data.schema import Array, ArraySpec, EpisodeLabel, Source, TrajectorySchema
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.dataset.memory import step_bytes
from townlet_trajectory.errors import ArtifactError, SchemaError, require
from townlet_trajectory.formats.captures.directory import named_features
from townlet_trajectory.formats.shards.columns import arrow_array, arrow_repeated, arrow_texts, check_texts
from townlet_trajectory.storage.files import filled_directory

PARQUET_FILE = "steps.parquet"
"""The one file of the directory."""

STEP_COLUMNS = (
    *("group", "world", "episode", "agent_id", "trajectory", "tick"),
    *("action_key", "decided_by", "reward", "terminated", "truncated", "episode_label"),
)
"""The columns of every table, in this order (`episode_label` is null where there is none); behind them decision columns
by their own name (`action` is the id of the action, or a list of its parts or numbers), then observations:
`NAME_ELEMENT` where the elements have names, else `NAME`, a list of fixed size."""

METADATA_KEY = b"townlet"
"""Of the file's metadata: JSON with `info`, `vocabulary`, `proposers`, `shapes` of the lists, whose elements are in C
order, and `actions` where they have several parts or are numbers."""

ROW_GROUP_BYTES = 16 << 20
"""Of the rows of a row group, decoded, about."""

_Life = tuple[int, int, str]


@contextmanager
def parquet_sink(
    target: str | Path, schema: TrajectorySchema, *, info: DatasetInfo | None = None
) -> Iterator[BatchSink]:
    """Open a directory for writing, which appears with its `PARQUET_FILE` when the block ends without an exception.

    A batch is written as it comes. Pieces of one trajectory have one number where each is written after the one before.

    Args:
        target: must not exist; its folder must.
        schema: of the batches.
        info: their origin. What it says of names of features makes columns of them.

    Raises:
        SchemaError: if a column has the name of one that every table has, or of another one but for its case.
        ArtifactError: if it exists, or cannot be written.
        MissingExtraError: if the extra `arrow` is not installed.
    """
    require("pyarrow", "arrow")
    parquet = require("pyarrow.parquet", "arrow")
    layout = _Layout(schema, DatasetInfo() if info is None else info)
    with filled_directory(target) as folder:
        columns = layout.schema()
        with parquet.ParquetWriter(str(folder / PARQUET_FILE), columns, compression="zstd") as writer:
            yield _ParquetSink(writer, layout, columns, Path(target))


class _ParquetSink:
    """Writes batches to an open file."""

    def __init__(self, writer: Any, layout: _Layout, columns: Any, target: Path) -> None:
        self._writer = writer
        self._layout = layout
        self._columns = columns
        self._target = target
        self._next_number = 0
        self._open: dict[_Life, tuple[int, int]] = {}
        """Of each trajectory that goes on: the tick of its next step, and its number."""

    def write(self, batch: TrajectoryBatch) -> None:
        self._layout.trajectories.require_equal(batch.schema)
        if not len(batch):
            return
        pyarrow = require("pyarrow", "arrow")
        try:
            columns = self._layout.columns(batch, self._numbers(batch))
            rows = pyarrow.Table.from_arrays(columns, schema=self._columns)
            self._writer.write_table(rows, row_group_size=self._layout.rows_per_group)
        except pyarrow.ArrowException as error:
            raise ArtifactError(self._target, "encode", str(error)) from error

    def _numbers(self, batch: TrajectoryBatch) -> NDArray[np.int64]:
        """[B]; the number of each trajectory; a piece has that of the piece it goes on from."""
        firsts = batch.ticks[batch.offsets[:-1]].tolist()
        stops = (batch.ticks[batch.row_of_last] + 1).tolist()
        going = (~(batch.terminated | batch.truncated)).tolist()
        lives = zip(batch.worlds.tolist(), batch.episodes.tolist(), batch.agent_ids.tolist(), strict=True)
        numbers = np.empty(len(batch), np.int64)
        for place, life in enumerate(lives):
            tick, number = self._open.pop(life, (None, 0))
            if tick != firsts[place]:
                number, self._next_number = self._next_number, self._next_number + 1
            if going[place]:
                self._open[life] = (stops[place], number)
            numbers[place] = number
        return numbers


class _Layout:
    """Names and types of the columns of a schema."""

    def __init__(self, trajectories: TrajectorySchema, info: DatasetInfo) -> None:
        self.trajectories = trajectories
        self._info = info
        self._elements = _element_names(trajectories, info)
        parts = trajectories.actions.parts if isinstance(trajectories.actions, MultiDiscrete) else {}
        keys = (key for part, keys in parts.items() for key in (part, *keys))
        check_texts(np.array([info.group, *trajectories.vocabulary, *keys], np.object_))
        self.rows_per_group = max(1, ROW_GROUP_BYTES // step_bytes(trajectories))
        names = _lower([*STEP_COLUMNS, *self._specs()])
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SchemaError(f"a table of steps cannot have two columns named {twice}: rename yours")

    def _specs(self) -> dict[str, ArraySpec]:
        return {**self.trajectories.decisions, **self.trajectories.observations}

    def schema(self) -> Any:
        """The pyarrow.Schema of the file."""
        pyarrow = require("pyarrow", "arrow")
        empty = self.columns(TrajectoryBatch.empty(self.trajectories), np.zeros(0, np.int64))
        fields = [pyarrow.field(name, column.type) for name, column in zip(self._names(), empty, strict=True)]
        shapes = {name: [*spec.shape] for name, spec in self._specs().items() if self._is_list(name, spec)}
        names = {name: [*vars(self.trajectories)[name]] for name in ("vocabulary", "proposers")}
        said = {"info": self._info.document(), **names, "shapes": shapes}
        if self.trajectories.actions is not None:
            said["actions"] = actions_document(self.trajectories.actions)
        return pyarrow.schema(fields, metadata={METADATA_KEY: json.dumps(said, allow_nan=False).encode()})

    def columns(self, batch: TrajectoryBatch, numbers: NDArray[np.int64]) -> list[Any]:
        """The columns of the rows of a batch, whose trajectories have these `numbers` [B]."""
        lengths, size = batch.lengths, batch.num_steps
        ends = {name: np.zeros(size, np.bool_) for name in ("terminated", "truncated")}
        for name, column in ends.items():
            column[batch.row_of_last] = vars(batch)[name]
        labels = np.repeat(batch.episode_labels.astype(np.int64), lengths)
        labels[labels == EpisodeLabel.NONE] = -1
        said = dict(
            group=_texts_of((self._info.group,), np.zeros(size, np.int64)),
            world=arrow_array(np.repeat(batch.worlds, lengths)),
            episode=arrow_array(np.repeat(batch.episodes, lengths)),
            agent_id=arrow_repeated(batch.agent_ids, lengths).cast("string"),
            trajectory=arrow_array(np.repeat(numbers, lengths)),
            tick=arrow_array(batch.ticks),
            action_key=_action_keys(batch),
            decided_by=_texts_of([code.name.lower() for code in Source], _codes(batch, "source")),
            reward=arrow_array(batch.rewards),
            terminated=arrow_array(ends["terminated"]),
            truncated=arrow_array(ends["truncated"]),
            episode_label=_texts_of([label.name.lower() for label in EpisodeLabel], labels),
        )
        columns = [said[name] for name in STEP_COLUMNS]
        columns += [arrow_array(_flat(batch.columns[name])) for name in batch.schema.decisions]
        for name in batch.schema.observations:
            array = batch.observations[name]
            if name in self._elements:
                columns += [arrow_array(array[:, place]) for place in range(array.shape[1])]
            else:
                columns.append(arrow_array(_flat(array)))
        return columns

    def _names(self) -> list[str]:
        names = [*STEP_COLUMNS, *self.trajectories.decisions]
        for name in self.trajectories.observations:
            names += self._elements.get(name, (name,))
        return names

    def _is_list(self, name: str, spec: ArraySpec) -> bool:
        return bool(spec.shape) and name not in self._elements


def _element_names(schema: TrajectorySchema, info: DatasetInfo) -> dict[str, tuple[str, ...]]:
    """Names of the columns of each observation whose elements have names that no other column has."""
    features, spec = schema.feature_names or named_features(info), schema.observations.get("features")
    if spec is None or spec.shape != (len(features),):
        return {}
    names = tuple(f"features_{feature}" for feature in features)
    together = _lower([*names, *STEP_COLUMNS, *schema.decisions, *schema.observations])
    return {"features": names} if len(set(together)) == len(together) else {}


def _codes(batch: TrajectoryBatch, name: str) -> NDArray[np.int64]:
    """[R]; the column of codes of that name, -1 where there is none."""
    spec = batch.schema.decisions.get(name)
    if spec is None or spec.shape or "int" not in spec.dtype:
        return np.full(batch.num_steps, -1)
    return batch.columns[name].astype(np.int64)


def _action_keys(batch: TrajectoryBatch) -> Any:
    """The key of each action [R]; of several parts `PART=KEY, PART=KEY`; null where there is none, as of numbers."""
    actions, executed = batch.schema.actions, batch.columns.get("action")
    if not isinstance(actions, MultiDiscrete) or executed is None:
        return _texts_of(batch.schema.vocabulary, _codes(batch, "action"))
    found, codes = np.unique(executed, axis=0, return_inverse=True)
    keys = [
        ", ".join(f"{part}={keys[code]}" for (part, keys), code in zip(actions.parts.items(), row, strict=True))
        for row in np.clip(found, 0, np.array(actions.sizes) - 1).tolist()
    ]
    return _texts_of(keys, np.where(outside(actions, executed), -1, codes.reshape(-1)))


def _texts_of(texts: Sequence[str], codes: NDArray[np.int64]) -> Any:
    """The text of each code [R], null where it has none."""
    pyarrow = require("pyarrow", "arrow")
    known = (codes >= 0) & (codes < len(texts))
    # The last of the texts, which stands for all codes without one, is null.
    named = pyarrow.concat_arrays([arrow_texts(np.array(texts, np.object_)), pyarrow.nulls(1, pyarrow.string())])
    return named.take(arrow_array(np.where(known, codes, len(texts))))


def _flat(array: Array) -> Array:
    """[R] as it is, and [R, ...] as [R, N]."""
    return array if array.ndim == 1 else array.reshape(len(array), math.prod(array.shape[1:]))


def _lower(names: Iterable[str]) -> list[str]:
    """As DuckDB and Spark compare the names of columns."""
    return [name.lower() for name in names]
