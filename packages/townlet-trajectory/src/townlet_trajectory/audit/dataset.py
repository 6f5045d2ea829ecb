"""Is a dataset what its manifest says, and what is it worth to a learner? Read block by block, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from townlet_trajectory.audit.content import (
    MAX_NAMES,
    ColumnAudit,
    ContentAudit,
    ContentRows,
    Label,
    listed,
    report_lengths,
)
from townlet_trajectory.audit.files import compare_files
from townlet_trajectory.audit.report import AuditReport, DatasetAudit, FindingList
from townlet_trajectory.data.actions import MultiDiscrete
from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.schema import Kind
from townlet_trajectory.data.table import overlapping, sums_of_wholes, whole_of_piece
from townlet_trajectory.dataset.source import TrajectorySource, TrajectoryTable, joined_tables, table_of
from townlet_trajectory.errors import ArtifactError, NonFiniteError, TrajectoryError
from townlet_trajectory.formats.open import open_dataset
from townlet_trajectory.formats.shards.reader import PartsReader, ShardReader
from townlet_trajectory.storage.folders import folder_of
from townlet_trajectory.storage.manifest import MANIFEST_NAME
from townlet_trajectory.storage.urls import Place, Url, named_place

DEFAULT_LABEL = "action"


def audit_dataset(
    dataset: TrajectorySource | str | Path | Url,
    *,
    label: str = DEFAULT_LABEL,
    element_names: Mapping[str, Sequence[str]] | None = None,
    data_root: str | Path = ".",
) -> AuditReport:
    """Audit a source, or a path of any format that `open_dataset` opens; one block is in memory at a time.

    Args:
        dataset: what to read.
        label: the decision column that a learner is to predict; leaks are looked for where it is a scalar of integers
            and the schema has a vocabulary, or where it is of several parts, of each.
        element_names: of an observation, the names of its elements in C order, for messages. Those that a dataset was
            given by a capture are known without it.
        data_root: where samples that are not below a capture's manifest are looked for: the working folder, unless said
            otherwise.

    Raises:
        MissingExtraError: if a path needs an extra that is not installed.
    """
    found, names = FindingList(), element_names or {}
    if isinstance(dataset, str | Path | Url):
        given = named_place(dataset)
        path = str(given)
        manifest = str(given / MANIFEST_NAME if isinstance(given, Url) or given.is_dir() else given)
        count = _audit_path(given, found, label, names, data_root)
    else:
        path, manifest = "", ""
        _audit_source(dataset, found, label, names)
        count = len(dataset.table)
    result = DatasetAudit(
        name=Path(path).name or "dataset",
        manifest=manifest,
        checksums=manifest,
        captures=path,
        sample_count=count,
        findings=found.all(),
    )
    return AuditReport(path=path, datasets=(result,))


def _audit_path(
    path: Place, found: FindingList, label: str, names: Mapping[str, Sequence[str]], data_root: str | Path
) -> int:
    """Compare a manifest of shards with the files, then look into them; return how many trajectories are listed."""
    try:
        with open_dataset(path, data_root=data_root) as opened:
            if isinstance(opened.source, ShardReader | PartsReader):
                compare_files(folder_of(path), opened.source, found)
            # Where a dataset was a capture once.
            features = opened.feature_names
            known = {"features": features} if features else {}
            _audit_source(opened.source, found, label, {**known, **names})
            return int(opened.source.block_offsets[-1])
    except ArtifactError as error:
        found.fail("manifest", error.place, error.reason)
        return 0


def _audit_source(source: TrajectorySource, found: FindingList, label: str, names: Mapping[str, Sequence[str]]) -> None:
    content, columns = ContentAudit(element_names=names), ColumnAudit(source.schema)
    if not _labels(TrajectoryBatch.empty(source.schema), label):
        found.info("no-label", label, "no scalar column of integers with a vocabulary: no leak was looked for")
    tables: list[TrajectoryTable] = []
    for block in range(len(source.block_offsets) - 1):
        try:
            batch = source.load_block(block)
        except TrajectoryError as error:
            code = "non-finite" if isinstance(error.__cause__ or error, NonFiniteError) else "block"
            entry, reason = (
                (error.path.name, error.reason) if isinstance(error, ArtifactError) else (f"block {block}", str(error))
            )
            found.fail(code, entry, reason)
            continue
        content.add(_rows(batch, label))
        columns.add(batch)
        tables.append(table_of(batch))
    if not tables:
        found.warn("empty", "dataset", "no trajectory could be read")
        return
    table = joined_tables(tables)
    content.report(found, lambda number: _name(table, number))
    columns.report(found)
    twice = overlapping(table).tolist()
    if twice:
        claimed = listed([_name(table, place) for place in twice[:MAX_NAMES]], len(twice))
        message = f"{len(twice)} claim ticks that another one of the same agent and episode has: {claimed}"
        found.warn("overlap", "trajectories", message)
    report_lengths(found, sums_of_wholes(whole_of_piece(table), table.lengths))


def _rows(batch: TrajectoryBatch, label: str) -> ContentRows:
    has_kind = "kind" in batch.columns
    labels = _labels(batch, label)
    is_known = bool(labels) or (batch.schema.actions is not None and label in batch.columns)
    return ContentRows(
        observations=batch.observations,
        rewards=batch.rewards,
        actions=batch.columns[label] if is_known else np.zeros(0, np.int64),
        labels=labels,
        forced=batch.columns["kind"] == Kind.FORCED if has_kind else np.zeros(batch.num_steps, np.bool_),
        offsets=batch.offsets,
    )


def _labels(batch: TrajectoryBatch, label: str) -> dict[str, Label]:
    """The column `label` of indices, or its parts; none where it holds numbers, or nothing says what they mean."""
    schema, spec = batch.schema, batch.schema.decisions.get(label)
    if spec is None or "int" not in spec.dtype:
        return {}
    codes = batch.columns[label].astype(np.int64, copy=False)
    if spec.shape == () and schema.vocabulary:
        return {label: Label(codes, schema.vocabulary)}
    if isinstance(schema.actions, MultiDiscrete) and spec.shape == (len(schema.actions.names),):
        parts = enumerate(schema.actions.parts.items())
        return {f"{label}.{part}": Label(np.ascontiguousarray(codes[:, at]), keys) for at, (part, keys) in parts}
    return {}


def _name(table: TrajectoryTable, place: int) -> str:
    return (
        f"{table.agent_ids[place]} (world {table.worlds[place]}, episode {table.episodes[place]}, "
        f"tick {table.first_ticks[place]})"
    )
