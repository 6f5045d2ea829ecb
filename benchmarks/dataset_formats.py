"""The file formats that `bench_dataset` compares with; a library is imported when its format is first used."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[np.generic]]
"""Arrays [rows, ...] by name."""
Loaded = Callable[[], Columns]
"""Shows what was read, all of it in memory by then, as columns in the order written."""

NUM_AGENTS, NUM_TICKS, NUM_ACTIONS = 64, 256, 12
SHAPES = {
    "map": ("float32", (4, 11, 11)),
    "features": ("float32", (64,)),
    "action_mask": ("bool", (NUM_ACTIONS,)),
    "action": ("int64", ()),
    "behavior_log_prob": ("float32", ()),
    "value": ("float32", ()),
    "reward": ("float32", ()),
    "done": ("bool", ()),
}


@dataclass(frozen=True, kw_only=True)
class Format:
    """How one library keeps the columns in a folder, and gets them back."""

    write: Callable[[Path, Columns], object]
    read: Callable[[Path], Loaded]
    """Everything, into memory of this process; to show it is not timed."""
    minibatch: Callable[[Path, NDArray[np.int64]], Columns]
    """Open the folder anew, and only the given rows."""


def taken(columns: Columns, rows: NDArray[np.int64]) -> Columns:
    return {name: array[rows] for name, array in columns.items()}


def loaded(columns: Columns) -> Loaded:
    return lambda: columns


def whole_files(write: Callable[[Path, Columns], object], read: Callable[[Path], Columns]) -> Format:
    """A format of which nothing less than everything is read."""
    return Format(
        write=write,
        read=lambda folder: loaded(read(folder)),
        minibatch=lambda folder, rows: taken(read(folder), rows),
    )


def raw_files() -> Format:
    def write(folder: Path, columns: Columns) -> None:
        for name, array in columns.items():
            array.tofile(folder / name)

    def read(folder: Path) -> Columns:
        return {name: np.fromfile(folder / name, dtype).reshape(-1, *shape) for name, (dtype, shape) in SHAPES.items()}

    return whole_files(write, read)


def npy_mapped() -> Format:
    def write(folder: Path, columns: Columns) -> None:
        for name, array in columns.items():
            np.save(folder / f"{name}.npy", array)

    def mapped(folder: Path) -> Columns:
        return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in SHAPES}

    return Format(
        write=write,
        read=lambda folder: loaded({name: np.array(array) for name, array in mapped(folder).items()}),
        minibatch=lambda folder, rows: taken(mapped(folder), rows),
    )


def npz_compressed() -> Format:
    def read(folder: Path) -> Columns:
        with np.load(folder / "columns.npz") as archive:
            return {name: archive[name] for name in SHAPES}

    return whole_files(lambda folder, columns: np.savez_compressed(folder / "columns.npz", **columns), read)


def arrow_ipc(compression: str | None) -> Callable[[], Format]:
    """One file, one record batch; tensors as fixed-shape ones, bools as bytes so that none is converted."""

    def make() -> Format:
        import pyarrow as pa

        pa.set_cpu_count(1)
        pa.set_io_thread_count(1)

        def write(folder: Path, columns: Columns) -> None:
            arrays = {}
            for name, array in columns.items():
                stored = array.view(np.uint8) if array.dtype == np.bool_ else array
                arrays[name] = (
                    pa.FixedShapeTensorArray.from_numpy_ndarray(stored) if stored.ndim > 1 else pa.array(stored)
                )
            table = pa.table(arrays)
            options = pa.ipc.IpcWriteOptions(compression=compression)
            with pa.ipc.new_file(str(folder / "columns.arrow"), table.schema, options=options) as file:
                file.write_table(table)

        def read(folder: Path) -> Columns:
            with pa.OSFile(str(folder / "columns.arrow")) as file:
                table = pa.ipc.open_file(file).read_all()
            columns = {}
            for name, (dtype, shape) in SHAPES.items():
                column = table[name].chunk(0)
                array = column.to_numpy_ndarray() if shape else column.to_numpy()
                columns[name] = array.view(np.bool_) if dtype == "bool" else array
            return columns

        return whole_files(write, read)

    return make


def zarr_chunks() -> Format:
    """A group of arrays in its default compression, 1,024 rows to a chunk."""
    import zarr

    zarr.config.set({"threading.max_workers": 1, "async.concurrency": 1})

    def write(folder: Path, columns: Columns) -> None:
        group = zarr.open_group(folder / "columns.zarr", mode="w")
        for name, array in columns.items():
            group.create_array(name, data=array, chunks=(1024, *array.shape[1:]))

    def read(folder: Path) -> Loaded:
        group = zarr.open_group(folder / "columns.zarr", mode="r")
        return loaded({name: group[name][:] for name in SHAPES})

    def minibatch(folder: Path, rows: NDArray[np.int64]) -> Columns:
        group = zarr.open_group(folder / "columns.zarr", mode="r")
        return {name: group[name].oindex[rows] for name in SHAPES}

    return Format(write=write, read=read, minibatch=minibatch)


MINARI_ID = "bench/columns-v0"
SEEN, TOLD = ("map", "features", "action_mask"), ("behavior_log_prob", "value")


def write_minari(folder: Path, columns: Columns, data_format: str) -> None:
    import minari
    from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
    from minari.data_collector import EpisodeBuffer

    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    buffers = []
    for start in range(0, len(columns["reward"]), NUM_TICKS):
        part = taken(columns, np.arange(start, start + NUM_TICKS))
        observations = {name: np.concatenate((part[name], part[name][-1:])) for name in SEEN}
        buffers.append(
            EpisodeBuffer(
                observations={**observations, "action_mask": observations["action_mask"].astype(np.int8)},
                actions=part["action"],
                rewards=part["reward"],
                terminations=part["done"],
                truncations=np.zeros(NUM_TICKS, np.bool_),
                # They have a row for the reset, too, and its Arrow files hold none that are one-dimensional.
                infos={name: np.append(part[name], part[name][-1:])[:, None] for name in TOLD},
            )
        )
    boxes = {name: Box(-np.inf, np.inf, SHAPES[name][1], np.float32) for name in SEEN[:2]}
    with warnings.catch_warnings():  # about an author, a link and an environment that are not given
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            MINARI_ID,
            buffers,
            observation_space=Dict({**boxes, "action_mask": MultiBinary(NUM_ACTIONS)}),
            action_space=Discrete(NUM_ACTIONS),
            data_format=data_format,
        )


def read_minari(folder: Path, episodes: list[int] | None) -> list[Columns]:
    import minari

    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    return [
        {
            **episode.observations,
            "action": episode.actions,
            **{name: episode.infos[name][:, 0] for name in TOLD},
            "reward": episode.rewards,
            "done": episode.terminations,
        }
        for episode in minari.load_dataset(MINARI_ID).iterate_episodes(episodes)
    ]


def minari_episodes(data_format: str) -> Callable[[], Format]:
    """One episode per agent; log-probability and value in its infos. Only whole episodes can be read."""

    def read(folder: Path) -> Loaded:
        parts = read_minari(folder, None)
        return lambda: {
            name: np.concatenate([part[name][:NUM_TICKS] for part in parts]).astype(dtype)
            for name, (dtype, _) in SHAPES.items()
        }

    def minibatch(folder: Path, rows: NDArray[np.int64]) -> Columns:
        agents = np.unique(rows // NUM_TICKS)
        parts = [
            taken(episode, rows[rows // NUM_TICKS == agent] % NUM_TICKS)
            for agent, episode in zip(agents, read_minari(folder, agents.tolist()), strict=True)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in SHAPES}

    def make() -> Format:
        for module in ("minari", "h5py" if data_format == "hdf5" else "pyarrow"):
            importlib.import_module(module)
        return Format(
            write=lambda folder, columns: write_minari(folder, columns, data_format), read=read, minibatch=minibatch
        )

    return make


FORMATS: dict[str, Callable[[], Format]] = {
    "raw files": raw_files,
    "npy, mapped": npy_mapped,
    "npz, compressed": npz_compressed,
    "arrow ipc, none": arrow_ipc(None),
    "arrow ipc, lz4": arrow_ipc("lz4"),
    "zarr": zarr_chunks,
    "minari, hdf5": minari_episodes("hdf5"),
    "minari, arrow": minari_episodes("arrow"),
}
