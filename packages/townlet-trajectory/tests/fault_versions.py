"""Files of every version of a format that was ever written, kept in `data/versions`, and what is in all of them.

`python fault_versions.py` writes those of the present version, where they are missing; what is there stays as it is.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from fault_formats import INFO, LAYOUT, files_of, sealed_capture, sealed_manifest
from strategies import SCHEMA, assert_same_batch

from townlet_trajectory import ArtifactError, Trajectory, TrajectoryBatch
from townlet_trajectory.formats.batch_file import load_batch, save_batch
from townlet_trajectory.formats.captures.directory import read_captures, write_captures
from townlet_trajectory.storage.json import canonical_json
from townlet_trajectory.storage.manifest import read_directory, write_directory

VERSIONS = Path(__file__).parent / "data" / "versions"
ADDED_LATER = ("drawn_action", "proposer", "proposal_age", "observation_age", "temperature")
"""Decision columns that came after the fixtures were written."""
FIXTURE_SCHEMA = replace(
    SCHEMA, decisions={name: spec for name, spec in SCHEMA.decisions.items() if name not in ADDED_LATER}
)
FILES = {"a.bin": bytes(range(20)), "b.json": b"{}\n"}


@dataclass(frozen=True, kw_only=True)
class Versioned:
    """A format, one of its versions, and what a file says of the version."""

    name: str
    """Of the folder in `data/versions`: the format and the version."""
    write: Callable[[Path], object]
    """The present version, into an empty folder."""
    read: Callable[[Path], object]
    """What is in the folder, comparable with `content`."""
    stated: Callable[[Path, object], None]
    """Let the file state another version, signed."""
    refused: tuple[object, ...]
    accepted: tuple[object, ...] = ()
    """Versions that are not there yet, and are read nevertheless."""


def content() -> TrajectoryBatch:
    """What every fixture of trajectories holds: two trajectories, by counting."""
    return TrajectoryBatch.from_trajectories(
        [_counted("alice", 3, 0, ended=True), _counted("bob/é", 1, 100, ended=False)]
    )


def _counted(agent_id: str, num_steps: int, start: int, *, ended: bool) -> Trajectory:
    def count(rows: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        size = rows * int(np.prod(shape, dtype=np.int64))
        return (
            (np.arange(start, start + size) % (3 if dtype.startswith(("int", "bool")) else 1000))
            .astype(dtype)
            .reshape(rows, *shape)
        )

    return Trajectory(
        schema=FIXTURE_SCHEMA,
        observations={
            name: count(num_steps + 1, spec.shape, spec.dtype) for name, spec in FIXTURE_SCHEMA.observations.items()
        },
        columns={name: count(num_steps, spec.shape, spec.dtype) for name, spec in FIXTURE_SCHEMA.decisions.items()},
        rewards=np.arange(num_steps, dtype=np.float32) / 4,
        ticks=np.arange(start, start + num_steps),
        terminated=ended,
        truncated=not ended,
        agent_id=agent_id,
        world=2,
        episode=7,
    )


def _write_capture(folder: Path) -> None:
    write_captures(folder, content(), final_values=np.ones(2, np.float32), layout=LAYOUT, info=INFO)


def _state_capture(folder: Path, version: object) -> None:
    _sign(folder, sealed_capture, "*_alice_*.json", lambda document: document["townlet"].update(schema_version=version))


def _state_manifest(folder: Path, version: object) -> None:
    _sign(folder, sealed_manifest, "d/manifest.json", lambda document: document.update(version=version))


def _sign(
    folder: Path,
    seal: Callable[[dict[str, bytes]], dict[str, bytes]],
    pattern: str,
    change: Callable[[dict], object],
) -> None:
    (path,) = folder.glob(pattern)
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))
    for name, data in seal(files_of(folder)).items():
        (folder / name).write_bytes(data)


def _state_batch(folder: Path, version: object) -> None:
    """The digest of a batch covers the arrays too, so the member is exchanged by a writer of its own."""
    with np.load(folder / "b.npz") as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    document = json.loads(arrays.pop("townlet").tobytes())
    document.update(schema_version=version, later={"a": 1})
    document.pop("sha256")
    digest = hashlib.sha256(canonical_json(document))
    for name, array in sorted(arrays.items()):
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    document["sha256"] = digest.hexdigest()
    np.savez(folder / "b.npz", townlet=np.frombuffer(canonical_json(document), np.uint8), **arrays)


def _read_capture(folder: Path) -> TrajectoryBatch:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_captures(folder / "rollout_sample_manifest.json").batch()


OTHER_NUMBERS = (0, 2, 10**30, -1, 1.5, "1", None, [1])

VERSIONED: tuple[Versioned, ...] = (
    Versioned(name="capture-1", write=_write_capture, read=_read_capture, stated=_state_capture, refused=OTHER_NUMBERS),
    Versioned(
        name="manifest-1",
        write=lambda folder: write_directory(folder / "d", FILES),
        read=lambda folder: read_directory(folder / "d"),
        stated=_state_manifest,
        refused=OTHER_NUMBERS,
    ),
    Versioned(
        name="batch-1.0",
        write=lambda folder: save_batch(folder / "b.npz", content()),
        read=lambda folder: load_batch(folder / "b.npz"),
        stated=_state_batch,
        refused=([0, 9], [2, 0], [1], [1, 0, 0], 1, "1.0", None, [10**30, 0]),
        accepted=([1, 1], [1, 99]),
    ),
)
"""What needs numpy alone."""


def check_content(found: object) -> None:
    if isinstance(found, TrajectoryBatch):
        assert_same_batch(found, content())
    else:
        assert found == FILES


def check_versions(one: Versioned, folder: Path) -> int:
    """Read the fixture and what states other versions; the number of files that were looked at."""
    check_content(one.read(VERSIONS / one.name))
    for number, version in enumerate((*one.refused, *one.accepted)):
        place = Path(shutil.copytree(VERSIONS / one.name, folder / str(number)))
        one.stated(place, version)
        if version in one.accepted:
            check_content(one.read(place))
        else:
            with pytest.raises(ArtifactError, match="version"):
                one.read(place)
    return 1 + len(one.refused) + len(one.accepted)


def write_missing(versioned: tuple[Versioned, ...]) -> None:
    """Write the fixtures that are not there yet."""
    for one in versioned:
        if not (VERSIONS / one.name).exists():
            (VERSIONS / one.name).mkdir(parents=True)
            one.write(VERSIONS / one.name)


if __name__ == "__main__":
    from fault_versions_extras import VERSIONED_OF_EXTRAS

    write_missing((*VERSIONED, *VERSIONED_OF_EXTRAS))
