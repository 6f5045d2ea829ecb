"""Minari's HDF5 file: episodes as groups of arrays, read with every size checked before it is allocated.

Needs the extra `minari`. HDF5 can hold links to other files, arrays kept in other files, filters that are loaded from
plugins, references and objects: none of them is followed. Source: Minari 0.5, `dataset/_storages/hdf5_storage.py`.
"""

from __future__ import annotations

import io
import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, TypeVar

import numpy as np

from townlet_trajectory.data.schema import DTYPES
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.errors import ArtifactError, require
from townlet_trajectory.storage.npz import FREE_BYTES

h5py: ModuleType = require("h5py", "minari")

_DEFLATE = 1
_FILTERS = (2, _DEFLATE, 3)
"""Shuffle, deflate and Fletcher's checksum, in the only order that is read: what is inflated can then be measured."""
_CHUNK_COST = 4096
"""Bytes that HDF5 takes for each chunk of an array it reads, beside the chunk's own (HDF5 2.0: 3.7 kB)."""
_READ_ERRORS = (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, OverflowError, zlib.error)
"""What h5py and zlib raise for damaged files."""

AGENT_ID = "agent_id"
"""The array of an episode of ours that holds its agent's id as bytes of JSON, and the attribute that shows it."""

LABEL = "episode_label"
"""The attribute of an episode of ours that holds its label, where it has one."""

_Result = TypeVar("_Result")
Attributes = Mapping[str, "str | int | bool"]


class EpisodeReader:
    """The arrays of the episodes of an open file. It is used as a context, which does not close the stream.

    Args:
        stream: the file.
        path: for errors.

    Raises:
        ArtifactError: if it is no HDF5 file.
    """

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._path = path
        with self._errors("open"):
            self._file = h5py.File(stream, "r")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def num_episodes(self) -> int:
        """Groups in the file, whatever their names are; `ArtifactError` if the file is damaged."""
        with self._errors("root"):
            return len(self._file)

    def length(self, episode: int, name: str = "rewards") -> int:
        """The length of an array of an episode; that of its `rewards` are its steps. Raises `ArtifactError` if there is
        no such episode or array, it has not one axis, or the file is damaged."""
        with self._errors(f"episode_{episode}"):
            shape = self._dataset(episode, (name,)).shape
        if shape is None or len(shape) != 1 or shape[0] < 1:
            raise ArtifactError(self._where(episode, (name,)), "check", f"expected [T >= 1], got {shape}")
        return int(shape[0])

    def read(self, episode: int, path: tuple[str, ...], shape: tuple[int, ...]) -> Array:
        """One array of an episode.

        Args:
            episode: its number.
            path: groups and name below the episode.
            shape: what it must have; nothing is read of another one.

        Raises:
            ArtifactError: if it is missing, damaged, of another shape, or not plain numbers in this very file.
        """
        where = self._where(episode, path)
        with self._errors(where):
            dataset = self._dataset(episode, path)
            if dataset.shape != shape:
                raise ArtifactError(where, "check", f"expected {shape}, got {dataset.shape}")
            self._check_chunks(dataset, where)
            array: Array = np.asarray(dataset[()])
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def attributes(self, episode: int) -> dict[str, int]:
        """The integers and flags that an episode carries; others are left out.

        Texts are not read: HDF5 keeps them in a heap, and for one that is damaged it may search for ever. Raises
        `ArtifactError` if there is no such episode, or the file is damaged.
        """
        found: dict[str, int] = {}
        with self._errors(self._where(episode, ())):
            attributes = self._node(episode, ()).attrs
            for name in attributes:
                identifier = attributes.get_id(name)
                if identifier.shape == () and (identifier.dtype.kind in "iu" or identifier.dtype == np.bool_):
                    found[name] = int(attributes[name])
        return found

    def _dataset(self, episode: int, path: tuple[str, ...]) -> Any:
        dataset, where = self._node(episode, path), self._where(episode, path)
        if not isinstance(dataset, h5py.Dataset):
            raise ArtifactError(where, "check", "expected an array")
        if dataset.id.get_create_plist().get_external_count() or dataset.is_virtual:
            raise ArtifactError(where, "check", "kept in other files")
        if dataset.dtype.hasobject or dataset.dtype.name not in DTYPES:
            raise ArtifactError(where, "check", f"dtype must be one of {sorted(DTYPES)}, got {dataset.dtype}")
        return dataset

    def _check_chunks(self, dataset: Any, where: str) -> None:
        """Refuse an array whose chunks take more memory to read than it does itself, or than `FREE_BYTES`.

        HDF5 reads whole chunks and lists all of them. Deflated ones are inflated here once, up to their declared size,
        because HDF5 does not look where they end.
        """
        if dataset.chunks is None:
            return
        chunk_bytes, limit = math.prod(dataset.chunks) * dataset.dtype.itemsize, max(dataset.nbytes, FREE_BYTES)
        count = math.prod(-(-length // chunk) for length, chunk in zip(dataset.shape, dataset.chunks, strict=True))
        if max(chunk_bytes, count * _CHUNK_COST) > limit:
            found = f"{count} chunks of {chunk_bytes} bytes"
            raise ArtifactError(where, "check", f"{found} take more than {limit} bytes to read")
        properties = dataset.id.get_create_plist()
        filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
        if filters != [known for known in _FILTERS if known in filters]:
            message = f"kept by a filter that HDF5 does not bring along, or in another order than {_FILTERS}"
            raise ArtifactError(where, "check", f"{message}: {filters}")
        if _DEFLATE not in filters:
            return
        chunks: list[Any] = []
        dataset.id.chunk_iter(chunks.append)
        for chunk in chunks:
            if chunk.filter_mask & 1 << filters.index(_DEFLATE):
                continue  # kept as it is, because it did not shrink
            if chunk.size > limit:
                raise ArtifactError(where, "check", f"a chunk is said to be kept in {chunk.size} bytes")
            _, stored = dataset.id.read_direct_chunk(chunk.chunk_offset)
            if len(zlib.decompressobj().decompress(stored, chunk_bytes + 1)) > chunk_bytes:
                raise ArtifactError(where, "check", f"a chunk inflates to more than its {chunk_bytes} bytes")

    def _node(self, episode: int, path: tuple[str, ...]) -> Any:
        node = self._file
        for key in (f"episode_{episode}", *path):
            if not isinstance(node, h5py.Group) or key not in node:
                raise ArtifactError(self._where(episode, path), "open", f"there is no {key!r}")
            if not isinstance(node.get(key, getlink=True), h5py.HardLink):
                raise ArtifactError(self._where(episode, path), "open", f"{key!r} is a link")
            node = node[key]
        return node

    def _where(self, episode: int, path: tuple[str, ...]) -> str:
        return f"{self._path}:{'/'.join((f'episode_{episode}', *path))}"

    @contextmanager
    def _errors(self, where: str) -> Iterator[None]:
        try:
            yield
        except _READ_ERRORS as error:
            raise ArtifactError(self._path, "read", f"{where}: {' '.join(str(error).split())}") from error


class EpisodeWriter:
    """Writes episodes one after the other to a new file.

    Raises:
        OSError: from every method, if the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._stream = _PatientFile(path)
        self._file = h5py.File(self._stream, "w")
        self.num_episodes = 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._stream.close()
        self._stream.raise_error()

    def write(self, arrays: Mapping[tuple[str, ...], Array], attributes: Attributes) -> None:
        """Add an episode: its arrays by their path below it, and what it carries."""
        group = self._file.create_group(f"episode_{self.num_episodes}")
        for path, array in arrays.items():
            group.create_dataset("/".join(path), data=array)
        group.attrs.update({"id": self.num_episodes, **attributes})
        self._stream.raise_error()
        self.num_episodes += 1


class _PatientFile:
    """A new file that keeps its first error until it is asked for.

    HDF5 cannot close a file that it cannot write: it keeps it open, and tries again until the process ends.
    """

    def __init__(self, path: Path) -> None:
        self._raw = io.FileIO(path, "x+")
        self._error: OSError | None = None

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._tried(lambda: self._raw.seek(offset, whence), offset)

    def tell(self) -> int:
        return self._tried(self._raw.tell, 0)

    def read(self, size: int = -1) -> bytes:
        return self._tried(lambda: self._raw.read(size), b"")

    def readinto(self, buffer: memoryview) -> int:
        return self._tried(lambda: self._raw.readinto(buffer), 0)

    def write(self, data: memoryview) -> int:
        rest = memoryview(data).cast("B")
        try:
            while rest:
                rest = rest[self._raw.write(rest) :]
        except OSError as error:
            self._error = self._error or error
        return len(data)

    def truncate(self, size: int) -> None:
        self._tried(lambda: self._raw.truncate(size), size)

    def flush(self) -> None:
        """Nothing is buffered here."""

    def close(self) -> None:
        self._tried(self._raw.close, None)

    def _tried(self, call: Callable[[], _Result], otherwise: _Result) -> _Result:
        try:
            return call()
        except OSError as error:
            self._error = self._error or error
            return otherwise
