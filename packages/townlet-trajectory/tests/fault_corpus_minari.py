"""Datasets of Minari made to harm: they look like somebody else's, so nothing is signed. See `fault_corpus`."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
from fault_corpus import CANARY, Attack
from fault_formats import files_of
from fault_formats_extras import foreign_minari_digest, minari_digest, sealed_minari, write_foreign_minari, write_minari

METADATA, DATA = Path("town-v0/data/metadata.json"), Path("town-v0/data/main_data.hdf5")


def _metadata(name: str, change: Callable[[dict], object]) -> Attack:
    def write(folder: Path) -> None:
        write_foreign_minari(folder, 1)
        document = json.loads((folder / METADATA).read_bytes())
        change(document)
        (folder / METADATA).write_text(json.dumps(document))

    return Attack(name=f"minari: {name}", write=write, read=foreign_minari_digest)


def _arrays(name: str, change: Callable[[h5py.File, Path], object], *, heavy: bool = False) -> Attack:
    def write(folder: Path) -> None:
        write_foreign_minari(folder, 1)
        with h5py.File(folder / DATA, "r+") as file:
            change(file, folder)

    return Attack(name=f"minari: {name}", write=write, read=foreign_minari_digest, heavy=heavy)


def _own(name: str, change: Callable[[dict], object]) -> Attack:
    def write(folder: Path) -> None:
        write_minari(folder, 1)
        document = json.loads((folder / METADATA).read_bytes())
        change(document["townlet"])
        (folder / METADATA).write_text(json.dumps(document))
        for path, data in sealed_minari(files_of(folder)).items():
            (folder / path).write_bytes(data)

    return Attack(name=f"minari: own {name}", write=write, read=minari_digest)


_SPACES = (
    *('{"type": "Box", "dtype": "float32", "shape": [1000000000000]}', '{"type": "Box"}', "{}", "[]", "3", "", "{"),
    *('{"type": "Box", "dtype": "object", "shape": []}', '{"type": "Box", "dtype": "float32", "shape": [-1]}'),
    *('{"type": "Text", "max_length": 9, "charset": "a"}', '{"type": "Graph"}', '{"type": "os.system"}'),
    *('{"type": "Dict", "subspaces": 3}', '{"type": "Dict", "subspaces": {}}', '{"type": "Tuple", "subspaces": {}}'),
    '{"type": "Dict", "subspaces": {"a": {"type": "Dict", "subspaces": {"b": ' * 200,
    '{"type": "Tuple", "subspaces": [' * 70 + "]}" * 70,
    '{"type": "Dict", "subspaces": {' + ",".join(f'"a{n}": {{"type": "Discrete", "n": 2}}' for n in range(5000)) + "}}",
    *('{"type": "Discrete", "n": 1e999}', '{"type": "Discrete", "n": "2"}', '{"type": "MultiBinary", "n": [-1]}'),
)


def _replace(path: str, **arguments: object) -> Callable[[h5py.File, Path], object]:
    def change(file: h5py.File, _: Path) -> None:
        del file[path]
        file.create_dataset(path, **arguments)

    return change


def _link(path: str, make: Callable[[Path], object]) -> Callable[[h5py.File, Path], object]:
    def change(file: h5py.File, folder: Path) -> None:
        with h5py.File(folder / "other.hdf5", "w") as other:
            other["x"] = np.ones(2, np.float32)
        del file[path]
        file[path] = make(folder)

    return change


def _virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout(shape=(2,), dtype="float32")
    layout[:] = h5py.VirtualSource(str(folder / "other.hdf5"), "x", shape=(2,))
    del file["episode_0/rewards"]
    file.create_virtual_dataset("episode_0/rewards", layout)


def _kept_outside(file: h5py.File, folder: Path) -> None:
    (folder / "secret").write_bytes(bytes(8))
    del file["episode_0/rewards"]
    file.create_dataset("episode_0/rewards", (2,), "float32", external=[(str(folder / "secret"), 0, 8)])


def _many_chunks(file: h5py.File, _: Path) -> None:
    """Rewards and actions of long episodes in a chunk for each element, none of them written."""
    length = 20_000
    for episode in file.values():
        for name, ends in (("terminations", True), ("truncations", False)):
            del episode[name]
            episode.create_dataset(name, data=np.array([False] * (length - 1) + [ends]))
        for name in ("rewards", "actions"):
            del episode[name]
            episode.create_dataset(name, (length,), "int64", chunks=(1,))
        for name, seen in list(episode["observations"].items()):
            shape, dtype = (length + 1, *seen.shape[1:]), seen.dtype
            del episode["observations"][name]
            episode["observations"].create_dataset(name, shape, dtype)


def _one_chunk(*, stored: bytes | None, num_bytes: int) -> Callable[[h5py.File, Path], object]:
    """The rewards in one deflated chunk of so many bytes, of which those stored are written."""

    def change(file: h5py.File, _: Path) -> None:
        rewards = file["episode_0/rewards"][()]
        del file["episode_0/rewards"]
        deflated = file.create_dataset(
            "episode_0/rewards",
            rewards.shape,
            rewards.dtype,
            maxshape=(None,),
            chunks=(num_bytes // 4,),
            compression="gzip",
        )
        if stored is not None:
            deflated.id.write_direct_chunk((0,), stored)

    return change


_CHANGES: dict[str, Callable[[h5py.File, Path], object]] = {
    "a link to another file": _link(
        "episode_0/rewards", lambda folder: h5py.ExternalLink(str(folder / "other.hdf5"), "x")
    ),
    "a link to a device": _link("episode_0/rewards", lambda _: h5py.ExternalLink("/dev/zero", "x")),
    "a soft link": _link("episode_0/rewards", lambda _: h5py.SoftLink("/episode_1/rewards")),
    "a link to itself": _link("episode_0/rewards", lambda _: h5py.SoftLink("/episode_0/rewards")),
    "an episode elsewhere": _link("episode_0", lambda folder: h5py.ExternalLink(str(folder / "other.hdf5"), "/")),
    "rows of another file": _virtual,
    "rows outside": _kept_outside,
    "a terabyte that is not there": _replace("episode_0/rewards", shape=(1 << 40,), dtype="int8", chunks=(1 << 20,)),
    "exabytes": _replace("episode_0/rewards", shape=(1 << 60,), dtype="int8", chunks=(1 << 20,)),
    "a bomb": _replace("episode_0/rewards", data=np.zeros(1 << 27, np.float32), compression="gzip", chunks=(1 << 24,)),
    "a chunk of a gigabyte": _one_chunk(stored=None, num_bytes=1 << 30),
    "a chunk that inflates": _one_chunk(stored=zlib.compress(bytes(1 << 26)), num_bytes=1 << 10),
    "many chunks": _many_chunks,
    "texts": _replace("episode_0/rewards", data=["a", "b"]),
    "structs": _replace("episode_0/rewards", data=np.zeros(2, [("a", "f4")])),
    "references": _replace("episode_0/rewards", shape=(2,), dtype=h5py.ref_dtype),
    "lists of any length": _replace("episode_0/rewards", shape=(2,), dtype=h5py.vlen_dtype("float32")),
    "complex numbers": _replace("episode_0/rewards", data=np.zeros(2, np.complex64)),
    "no rows": _replace("episode_0/rewards", shape=(0,), dtype="float32"),
    "no axis": _replace("episode_0/rewards", data=np.float32(1)),
    "nothing": _replace("episode_0/rewards", data=h5py.Empty("float32")),
    "not finite": _replace("episode_0/rewards", data=np.array([np.nan, np.inf], np.float32)),
    "other lengths": _replace("episode_0/terminations", data=np.zeros(9, np.bool_)),
    "an end before the end": _replace("episode_0/terminations", data=np.array([True, False])),
    "actions beyond the space": _replace("episode_0/actions", data=np.array([0, 99])),
    "a group for an array": lambda file, _: (file.pop("episode_0/rewards"), file.create_group("episode_0/rewards")),
    "an array for an episode": lambda file, _: (file.pop("episode_0"), file.create_dataset("episode_0", data=[1.0])),
    "no episode": lambda file, _: file.pop("episode_1"),
    "an episode more": lambda file, _: file.create_group("episode_7"),
    "no observations": lambda file, _: file.pop("episode_0/observations"),
}


def _attacks() -> Iterator[Attack]:
    for space in _SPACES:
        yield _metadata(f"space {space[:50]}", lambda document, s=space: document.update(observation_space=s))
        yield _metadata(f"actions {space[:50]}", lambda document, s=space: document.update(action_space=s))
    for key, value in (
        *(("total_episodes", number) for number in (0, 1, 3, -1, 10**12, 10**30, "2", None)),
        *(("data_format", name) for name in ("arrow", "os:system", None)),
        *(("observation_space", value) for value in (None, 3, {})),
        *(("jpeg_encoding", value) for value in ("no", 3)),
    ):
        yield _metadata(f"{key} {value!r}", lambda document, k=key, v=value: document.update({k: v}))
    for name, change in _CHANGES.items():
        yield _arrays(name, change, heavy="bomb" in name)
    for key, value in (
        *(("schema_version", version) for version in (0, 2, "1", None)),
        *(("num_trajectories", number) for number in (0, 1, 10**12, -1, "2")),
        *(("vocabulary_digest", digest) for digest in ("0" * 64, None)),
        *(("schema", schema) for schema in ({}, [], None)),
        *(("info", info) for info in ({}, None, {"group": f"__import__('os').mkdir('{CANARY}')"})),
    ):
        yield _own(f"{key} {value!r:.30}", lambda section, k=key, v=value: section.update({k: v}))
    for name, data in (("no HDF5", b"text"), ("an empty file", b""), ("only HDF5's magic", b"\x89HDF\r\n\x1a\n")):
        yield _raw(name, data)


def _raw(name: str, data: bytes) -> Attack:
    def write(folder: Path) -> None:
        write_foreign_minari(folder, 1)
        (folder / DATA).write_bytes(data)

    return Attack(name=f"minari: {name}", write=write, read=foreign_minari_digest)


MINARI_ATTACKS: tuple[Attack, ...] = tuple(_attacks())
