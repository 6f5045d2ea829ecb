"""Versions of the formats that need the extras. See `fault_versions`."""

from __future__ import annotations

import json
from pathlib import Path

from fault_formats import files_of
from fault_formats_extras import sealed_minari, sealed_shards
from fault_versions import OTHER_NUMBERS, Versioned, content

from townlet_trajectory.formats.minari.reader import from_minari
from townlet_trajectory.formats.minari.writer import to_minari
from townlet_trajectory.formats.shards.reader import read_shards
from townlet_trajectory.formats.shards.writer import write_shards


def _state_shards(folder: Path, version: object) -> None:
    path = folder / "manifest.json"
    document = json.loads(path.read_bytes())
    document.update(schema_version=version, later={"a": 1})
    path.write_bytes(
        sealed_shards({**files_of(folder), "manifest.json": json.dumps(document).encode()})["manifest.json"]
    )


def _state_minari(folder: Path, version: object) -> None:
    path = folder / "town-v0" / "data" / "metadata.json"
    document = json.loads(path.read_bytes())
    document["townlet"]["schema_version"] = version
    path.write_text(json.dumps(document))
    for name, data in sealed_minari(files_of(folder)).items():
        (folder / name).write_bytes(data)


VERSIONED_OF_EXTRAS: tuple[Versioned, ...] = (
    *(
        Versioned(
            name=f"shards-{compression}-1.0",
            write=lambda folder, compression=compression: write_shards(
                folder, content(), compression=compression, rows_per_shard=3
            ),
            read=read_shards,
            stated=_state_shards,
            refused=([0, 9], [2, 0], [1], [1, 0, 0], 1, "1.0", None, [10**30, 0]),
            accepted=([1, 1], [1, 99]),
        )
        for compression in ("lz4", "zstd", "none")
    ),
    Versioned(
        name="minari-1",
        write=lambda folder: to_minari(content(), "town-v0", root=folder),
        read=lambda folder: from_minari(folder / "town-v0"),
        stated=_state_minari,
        refused=OTHER_NUMBERS,
    ),
)
