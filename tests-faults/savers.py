"""Writers that save again and again until they are killed, each time saying how often they have."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fault_formats import INFO, LAYOUT
from fault_operations_extras import batch_of
from strategies import SCHEMA

from townlet_trajectory.formats.captures.directory import read_captures, write_captures
from townlet_trajectory.formats.shards.reader import ShardReader
from townlet_trajectory.formats.shards.writer import ShardWriter
from townlet_trajectory.storage import files
from townlet_trajectory.storage.json import parse_object


@dataclass(frozen=True, kw_only=True)
class Saver:
    """One way of saving something that counts up."""

    name: str
    save: Callable[[Path], Iterator[int]]
    """Without end; yields how often it has saved."""
    read: Callable[[Path], int]
    """How often it had, by what is found."""


def _save_file(folder: Path) -> Iterator[int]:
    with files.DirectoryLock(folder):
        for number in itertools.count(1):
            files.write_json_atomic(folder / "f.json", {"number": number, "filler": [number] * (number % 7 * 300)})
            yield number


def _read_file(folder: Path) -> int:
    document = parse_object((folder / "f.json").read_bytes(), folder / "f.json")
    number = document["number"]
    assert isinstance(number, int) and document["filler"] == [number] * (number % 7 * 300)
    return number


def _save_log(folder: Path) -> Iterator[int]:
    with files.DirectoryLock(folder):
        for number in itertools.count(1):
            files.append_json_line(folder / "log.jsonl", {"number": number, "filler": "x" * (number % 5 * 999)})
            yield number


def _read_log(folder: Path) -> int:
    numbers = [line["number"] for line in files.read_json_lines(folder / "log.jsonl") if isinstance(line, dict)]
    assert numbers == list(range(1, len(numbers) + 1))
    return len(numbers)


def _save_capture(folder: Path) -> Iterator[int]:
    """Captures of rising numbers, each under a prefix of its own."""
    for number in itertools.count(1):
        batch = batch_of(number)
        write_captures(
            folder, batch, final_values=np.zeros(1, np.float32), layout=LAYOUT, info=INFO, prefix=f"c{number}"
        )
        yield number


def _read_captures(folder: Path) -> int:
    manifests = sorted(folder.glob("*_manifest.json"))
    assert all(len(read_captures(manifest).samples) == 1 for manifest in manifests)
    assert {path.name for path in manifests} == {f"c{number}_manifest.json" for number in range(1, len(manifests) + 1)}
    return len(manifests)


def _save_shards(folder: Path) -> Iterator[int]:
    """A shard for each number."""
    with ShardWriter(folder / "d", SCHEMA, rows_per_shard=2, compression="none") as writer:
        for number in itertools.count(1):
            writer.write(batch_of(number))
            yield number


def _read_shards(folder: Path) -> int:
    reader = ShardReader(folder / "d")
    count = len(reader.manifest.shards)
    assert [int(episode) for block in range(count) for episode in reader.load_block(block).episodes] == [
        *range(1, count + 1)
    ]
    return count


SAVERS: tuple[Saver, ...] = (
    Saver(name="a file", save=_save_file, read=_read_file),
    Saver(name="a log", save=_save_log, read=_read_log),
    Saver(name="shards", save=_save_shards, read=_read_shards),
    Saver(name="captures", save=_save_capture, read=_read_captures),
)
