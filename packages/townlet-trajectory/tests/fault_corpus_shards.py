"""Shard directories made to harm: signed, and still to be refused. See `fault_corpus`."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from fault_corpus import Attack, Gadget
from fault_formats import files_of, make_batch
from fault_formats_extras import sealed_shards, shards_digest

from townlet_trajectory.formats.shards.writer import write_shards
from townlet_trajectory.storage.json import canonical_json

STEPS, TRAJECTORIES = "steps-000000.arrow", "trajectories-000000.arrow"


def arrow_file(table: pa.Table, *, compression: str | None = None, max_rows: int | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=max_rows)
    return sink.getvalue().to_pybytes()


def _write(folder: Path, name: str, change: Callable[[pa.Table], bytes]) -> None:
    """A dataset of which one file is made anew from its table, and signed."""
    write_shards(folder, make_batch(1), compression="none")
    path = folder / name
    path.write_bytes(change(pa.ipc.open_file(path).read_all()))
    _sign(folder)


def _sign(folder: Path) -> None:
    for path, data in sealed_shards(files_of(folder)).items():
        (folder / path).write_bytes(data)


def _replaced(column: str, values: Callable[[pa.Table], object]) -> Callable[[pa.Table], bytes]:
    def change(table: pa.Table) -> bytes:
        return arrow_file(table.set_column(table.column_names.index(column), column, [values(table)]))

    return change


def _pickle_type(table: pa.Table) -> bytes:
    """The extension type that old versions of pyarrow unpickled (CVE-2023-47248)."""
    metadata = {
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": pickle.dumps(Gadget()),
    }
    place = table.column_names.index("reward")
    column = pa.field("reward", table.schema.field("reward").type, metadata=metadata)
    return arrow_file(table.cast(table.schema.set(place, column)))


def _bomb(table: pa.Table) -> bytes:
    """A column beside those that are expected, of 3 GB in 100 kB."""
    piece = pa.array(np.zeros(len(table) * (1 << 20), np.int64))
    lists = pa.FixedSizeListArray.from_arrays(piece, 1 << 20)
    return arrow_file(table.append_column("bomb", lists), compression="zstd")


_FILES: dict[str, tuple[str, Callable[[pa.Table], bytes]]] = {
    "no column": (STEPS, lambda table: arrow_file(table.drop_columns("reward"))),
    "a column twice": (STEPS, lambda table: arrow_file(table.append_column("reward", table.column("reward")))),
    "no rows": (STEPS, lambda table: arrow_file(table.slice(0, 0))),
    "a row less": (STEPS, lambda table: arrow_file(table.slice(1))),
    "twice the rows": (STEPS, lambda table: arrow_file(pa.concat_tables([table, table]).combine_chunks())),
    "a batch for each row": (STEPS, lambda table: arrow_file(table, max_rows=1)),
    "a stream": (STEPS, lambda table: _stream(table)),
    "feather of version 1": (STEPS, lambda table: b"FEA1" + arrow_file(table)[4:]),
    "text": (STEPS, lambda table: json.dumps(table.column_names).encode()),
    "a pickle": (STEPS, lambda table: pickle.dumps(Gadget())),
    "a pickle as a type": (STEPS, _pickle_type),
    "another type": (STEPS, _replaced("reward", lambda table: table.column("reward").cast(pa.float64()))),
    "texts": (STEPS, _replaced("tick", lambda table: pa.array(["1"] * len(table)))),
    "lists": (STEPS, _replaced("tick", lambda table: pa.array([[1]] * len(table)))),
    "structs": (STEPS, _replaced("tick", lambda table: pa.array([{"a": 1}] * len(table)))),
    "missing values": (STEPS, _replaced("tick", lambda table: pa.array([None] * len(table), pa.int64()))),
    "a missing row": (STEPS, _replaced("reward", lambda table: pa.array([None, 1, 1], pa.float32()))),
    "not finite": (STEPS, _replaced("reward", lambda table: pa.array([np.nan] * len(table), pa.float32()))),
    "ticks that jump": (STEPS, _replaced("tick", lambda table: pa.array([5, 7, 0], pa.int64()))),
    "ticks that wrap": (STEPS, _replaced("tick", lambda table: pa.array([2**63 - 1, -(2**63), 0], pa.int64()))),
    "rows of another trajectory": (STEPS, _replaced("trajectory", lambda table: pa.array([0, 1, 1], pa.int64()))),
    "a bomb": (STEPS, _bomb),
    "lengths below zero": (TRAJECTORIES, _replaced("length", lambda table: pa.array([4, -1], pa.int64()))),
    "lengths that wrap": (
        TRAJECTORIES,
        _replaced("length", lambda table: pa.array([2**63 - 1, 2**63 - 1], pa.int64())),
    ),
    "huge lengths": (TRAJECTORIES, _replaced("length", lambda table: pa.array([10**18, 10**18], pa.int64()))),
    "no agents": (TRAJECTORIES, _replaced("agent_id", lambda table: pa.array([None, "a"]))),
    "agents by numbers": (TRAJECTORIES, _replaced("agent_id", lambda table: pa.array([1, 2]))),
    "agents in bytes": (TRAJECTORIES, _replaced("agent_id", lambda table: pa.array([b"a", b"\xff"]))),
    "agents that are no text": (TRAJECTORIES, _replaced("agent_id", lambda table: _bad_text())),
    "another first tick": (TRAJECTORIES, _replaced("first_tick", lambda table: pa.array([6, 0], pa.int64()))),
}


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _bad_text() -> pa.Array:
    binary = pa.array([b"a", b"\xff"])
    return pa.Array.from_buffers(pa.string(), 2, binary.buffers())


def _file_attacks() -> Iterator[Attack]:
    for name, (file, change) in _FILES.items():
        yield Attack(
            name=f"shards: {name}",
            write=lambda folder, file=file, change=change: _write(folder, file, change),
            read=shards_digest,
            may_be_read=change is _pickle_type,  # as the plain numbers that it also is
        )


def _manifest(name: str, change: Callable[[dict], object]) -> Attack:
    def write(folder: Path) -> None:
        write_shards(folder, make_batch(1))
        document = json.loads((folder / "manifest.json").read_bytes())
        change(document)
        body = {key: value for key, value in document.items() if key != "sha256"}
        digest = hashlib.sha256(canonical_json(body)).hexdigest()
        (folder / "manifest.json").write_text(json.dumps({**body, "sha256": digest}))

    return Attack(name=f"shards: manifest {name}", write=write, read=shards_digest)


def _manifest_attacks() -> Iterator[Attack]:
    for version in ([2, 0], [0, 9], [1], [1, -1], [1, 0, 0], "1.0", 1, None, [10**30, 0]):
        yield _manifest(f"version {version!r}", lambda document, v=version: document.update(schema_version=v))
    for key, value in (
        *(("format", name) for name in ("townlet-manifest", None, 3)),
        *(("compression", name) for name in ("gzip", None, "os:system")),
        *(("num_steps", number) for number in (0, 4, -1, 10**30, "3", None)),
        *(("vocabulary_digest", digest) for digest in ("0" * 64, None)),
        *(("seeds", seeds) for seeds in ({"a": "1"}, {"a": 1 << 80}, [], None, {"a": True})),
        *(("policies", digests) for digests in ({"a": "x"}, {"a": None}, [])),
        *(("tags", tags) for tags in ("abc", [1], None)),
        *(("group", name) for name in ("", None, 3)),
        *(("notes", notes) for notes in ([], None)),
        *(("shards", shards) for shards in ({}, [3], None, [{}], [[]])),
    ):
        yield _manifest(f"{key} {value!r:.30}", lambda document, k=key, v=value: document.update({k: v}))
    for key, value in (
        *(("number", number) for number in (-1, 1, 10**9, 10**30, "0", None, True)),
        *(("num_steps", number) for number in (0, 2, 10**12, 10**30, -3)),
        *(("num_trajectories", number) for number in (0, 1, 10**12, -1)),
        *(("files", files) for files in ({}, [], None, {"../../etc/passwd": {"sha256": "0" * 64, "size": 1}})),
    ):
        yield _manifest(
            f"shard {key} {value!r:.30}", lambda document, k=key, v=value: document["shards"][0].update({k: v})
        )
    for size in (-1, 10**18, 1 << 64, "3", None, 2.0):
        yield _manifest(f"size {size!r}", lambda document, v=size: _entry(document).update(size=v))
    for shape in ([10**18], [1 << 70, 1 << 70], [0], [-1], ["3"], [2**31, 2**31], [1] * 10_000):
        yield _manifest(f"shape {shape!r:.30}", lambda document, v=shape: _spec(document).update(shape=v))
    for dtype in ("object", "float16", "O", "complex64", None, "float64"):
        yield _manifest(f"dtype {dtype!r}", lambda document, v=dtype: _spec(document).update(dtype=v))
    yield _manifest("9,000 shards", lambda document: document["shards"].extend(document["shards"] * 9_000))
    yield _manifest("a shard twice", lambda document: document["shards"].extend(document["shards"]))
    yield _manifest("a schema of 5,000 columns", _many_columns)


def _entry(document: dict) -> dict:
    return document["shards"][0]["files"][STEPS]


def _spec(document: dict) -> dict:
    return document["schema"]["observations"]["map"]


def _many_columns(document: dict) -> None:
    document["schema"]["decisions"].update({f"c{number}": {"dtype": "int8", "shape": []} for number in range(5_000)})


SHARD_ATTACKS: tuple[Attack, ...] = (*_file_attacks(), *_manifest_attacks())
