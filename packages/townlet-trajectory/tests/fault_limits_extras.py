"""Where reading ends for the kinds of file that need the extras. See `fault_limits`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from fault_formats import make_batch
from fault_formats_extras import sealed_shards
from fault_limits import Limit

from townlet_trajectory.data.schema import MAX_ROW_BYTES, MAX_ROW_DIMENSIONS
from townlet_trajectory.dataset.info import MAX_SHARDS, parse_dataset_manifest, shard_file_names
from townlet_trajectory.formats.minari.spaces import MAX_ACTIONS, MAX_LEAVES, leaves_of
from townlet_trajectory.formats.shards.columns import FREE_BYTES, MAX_RATIO, check_sizes
from townlet_trajectory.formats.shards.reader import ShardReader, read_shards
from townlet_trajectory.formats.shards.writer import write_shards
from townlet_trajectory.storage.json import MAX_JSON_DEPTH
from townlet_trajectory.storage.yaml import MAX_YAML_BYTES, parse_yaml


def _yaml(make: Callable[[int], bytes]) -> Callable[[Path, int], object]:
    return lambda _, measure: parse_yaml(make(measure), "f.yaml")


def _manifest(folder: Path, change: Callable[[dict], object]) -> object:
    write_shards(folder, make_batch(1))
    document = json.loads((folder / "manifest.json").read_bytes())
    change(document)
    sealed = sealed_shards({"manifest.json": json.dumps(document).encode()})
    return parse_dataset_manifest(sealed["manifest.json"], "manifest.json")


def _shape(shape: list[int]) -> Callable[[dict], object]:
    return lambda document: document["schema"]["observations"]["map"].update(dtype="int8", shape=shape)


def _shards(folder: Path, count: int) -> object:
    def repeat(document: dict) -> None:
        entry = {"sha256": "0" * 64, "size": 1}
        document["shards"] = [
            {
                "number": number,
                "num_steps": 1,
                "num_trajectories": 1,
                "files": dict.fromkeys(shard_file_names(number), entry),
            }
            for number in range(count)
        ]
        document.update(num_steps=count, num_trajectories=count)

    return _manifest(folder, repeat)


def _arrow(_: Path, num_bytes: int) -> object:
    """A file that declares `num_bytes` more than what `MAX_RATIO` times its size and `FREE_BYTES` allow."""
    size = FREE_BYTES
    for _attempt in range(60):  # the size of the file depends a little on what is in it
        sink = pa.BufferOutputStream()
        rows = pa.record_batch({"x": pa.array(np.zeros(size, np.int8))})
        with pa.ipc.new_file(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_batch(rows)
        data = sink.getvalue().to_pybytes()
        allowed = MAX_RATIO * len(data) + FREE_BYTES
        if size == allowed + num_bytes:
            return check_sizes(data, "f.arrow")
        size = allowed + num_bytes
    raise AssertionError("no file of this size")


def _read_at_once(folder: Path, beyond: int) -> object:
    write_shards(folder, make_batch(1))
    return read_shards(folder, max_bytes=ShardReader(folder).num_bytes - beyond)


def _space(space: dict[str, object]) -> object:
    return leaves_of(json.dumps(space), member="actions", name="action", path="metadata.json")


def _discrete(num_actions: int) -> dict[str, object]:
    return {"type": "Discrete", "dtype": "int64", "start": 0, "n": num_actions}


LIMITS_OF_EXTRAS: tuple[Limit, ...] = (
    Limit(name="bytes of YAML", at=MAX_YAML_BYTES, read=_yaml(lambda n: b"a: " + b"x" * (n - 3))),
    Limit(name="depth of YAML", at=MAX_JSON_DEPTH, read=_yaml(lambda n: b"[" * n + b"]" * n)),
    Limit(name="digits of a number in YAML", at=100, read=_yaml(lambda n: b"a: " + b"9" * n)),
    Limit(name="shards of a dataset", at=MAX_SHARDS, read=_shards, heavy=True),
    Limit(name="axes of a row", at=MAX_ROW_DIMENSIONS, read=lambda folder, n: _manifest(folder, _shape([1] * n))),
    Limit(name="bytes of a row", at=MAX_ROW_BYTES, read=lambda folder, n: _manifest(folder, _shape([n]))),
    Limit(name="bytes that an Arrow file may expand to", at=0, read=_arrow, heavy=True),
    Limit(name="bytes of a dataset that are read at once", at=0, read=_read_at_once),
    Limit(name="actions of a space", at=MAX_ACTIONS, read=lambda _, n: _space(_discrete(n))),
    Limit(
        name="arrays of a space",
        at=MAX_LEAVES,
        read=lambda _, n: _space({"type": "Dict", "subspaces": {f"a{at}": _discrete(2) for at in range(n)}}),
    ),
)
