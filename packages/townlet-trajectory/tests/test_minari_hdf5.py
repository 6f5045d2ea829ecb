"""Minari's HDF5 files: what they declare is bounded before HDF5 allocates it."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from townlet_trajectory import ArtifactError
from townlet_trajectory.formats.minari.hdf5 import EpisodeReader
from townlet_trajectory.storage.npz import FREE_BYTES

NUMBERS = np.arange(1000, dtype=np.int64)


def reader_of(write: Callable[[h5py.Group], object]) -> EpisodeReader:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        write(file.create_group("episode_0"))
    return EpisodeReader(stream, Path("f.hdf5"))


def read(write: Callable[[h5py.Group], object], length: int = len(NUMBERS)) -> np.ndarray:
    return reader_of(write).read(0, ("x",), (length,))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (7,)},
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": (300,)},
        {"fletcher32": True, "chunks": (1000,)},
        {"maxshape": (None,), "chunks": (FREE_BYTES // 8,), "compression": "gzip"},
    ],
)
def test_arrays_are_read_however_they_are_kept(options: dict[str, object]) -> None:
    assert np.array_equal(read(lambda episode: episode.create_dataset("x", data=NUMBERS, **options)), NUMBERS)


def test_what_does_not_shrink_is_kept_as_it_is_in_a_deflated_array() -> None:
    noise = np.random.default_rng(0).integers(1 << 62, size=1000)

    def write(episode: h5py.Group) -> None:
        episode.create_dataset("x", (1000,), np.int64, chunks=(1000,), compression="gzip").id.write_direct_chunk(
            (0,), noise.tobytes(), filter_mask=1
        )

    assert np.array_equal(read(write), noise)


def test_a_chunk_may_not_be_larger_than_allowed() -> None:
    def write(episode: h5py.Group) -> None:
        episode.create_dataset(
            "x", (1000,), np.int64, maxshape=(None,), chunks=(FREE_BYTES // 8 + 1,), compression="gzip"
        )

    with pytest.raises(ArtifactError, match=f"1 chunks of {FREE_BYTES + 8} bytes take more than {FREE_BYTES} bytes"):
        read(write)


def test_one_chunk_may_be_as_large_as_its_array() -> None:
    ones = np.ones(FREE_BYTES + 8, np.int8)
    whole = read(lambda episode: episode.create_dataset("x", data=ones, chunks=ones.shape), len(ones))
    assert np.array_equal(whole, ones)


@pytest.mark.parametrize("count", [4096, 4097])
def test_chunks_may_not_be_more_than_allowed(count: int) -> None:
    def write(episode: h5py.Group) -> None:
        episode.create_dataset("x", (count,), np.int8, chunks=(1,))

    if count * 4096 <= FREE_BYTES:
        assert np.array_equal(read(write, count), np.zeros(count))
    else:
        with pytest.raises(ArtifactError, match="4097 chunks of 1 bytes"):
            read(write, count)


@pytest.mark.parametrize("excess", [0, 1])
def test_a_chunk_may_not_inflate_to_more_than_it_is(excess: int) -> None:
    stored = zlib.compress(NUMBERS.tobytes() + bytes(excess))

    def write(episode: h5py.Group) -> None:
        deflated = episode.create_dataset("x", (1000,), np.int64, chunks=(1000,), compression="gzip")
        deflated.id.write_direct_chunk((0,), stored)

    if not excess:
        assert np.array_equal(read(write), NUMBERS)
    else:
        with pytest.raises(ArtifactError, match="inflates to more than its 8000 bytes"):
            read(write)


def _twice_deflated(episode: h5py.Group) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((1000,))
    properties.set_deflate(1)
    properties.set_deflate(1)
    h5py.h5d.create(episode.id, b"x", h5py.h5t.NATIVE_INT64, h5py.h5s.create_simple((1000,)), properties)


@pytest.mark.parametrize(
    "write",
    [_twice_deflated, lambda episode: episode.create_dataset("x", data=NUMBERS, compression="lzf")],
    ids=["deflated twice", "a filter that cannot be measured"],
)
def test_filters_that_are_not_read(write: Callable[[h5py.Group], object]) -> None:
    with pytest.raises(ArtifactError, match=r"in another order than \(2, 1, 3\): \[(1, 1|32000)\]"):
        read(write)
