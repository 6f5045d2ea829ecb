"""The folder that a dataset is in, on this machine or behind a URL: the few operations that both can do.

All are whole: a file is read entirely or not at all, and appears entirely or not at all. Nothing is renamed and nothing
is appended, because object stores can do neither.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from townlet_trajectory.errors import ArtifactError, system_errors
from townlet_trajectory.storage.files import make_directory, write_bytes_atomic, write_bytes_new
from townlet_trajectory.storage.locks import is_unfinished, remove_if_there, remove_unfinished
from townlet_trajectory.storage.paths import read_below
from townlet_trajectory.storage.remote import RemoteFolder
from townlet_trajectory.storage.urls import Place, Url, named_place


class Folder(Protocol):
    """Files by their name. Every method raises `ArtifactError`, which names the file, for what cannot be done."""

    @property
    def place(self) -> Place: ...

    def path(self, name: str) -> str | Path:
        """The file `name`, for errors."""
        ...

    def inside(self, name: str) -> Folder:
        """The folder `name` in this one."""
        ...

    def names(self) -> tuple[str, ...]:
        """Files and folders here, sorted; empty where the folder is missing. Unfinished files are left out."""
        ...

    def tree(self) -> tuple[str, ...]:
        """All files here and below, by their relative POSIX paths, sorted; unfinished ones too."""
        ...

    def holds(self, name: str) -> bool:
        """Whether the file `name` is here."""
        ...

    def sizes(self, names: Collection[str]) -> dict[str, int]:
        """Bytes of those of the files `names` that are here, by name."""
        ...

    def read(self, name: str, *, max_bytes: int, origin: str | Path) -> bytes:
        """Read a file whole.

        Args:
            name: relative POSIX path.
            max_bytes: a longer file is refused before it is in memory.
            origin: what spells the name, for the error.
        """
        ...

    def read_each(self, sizes: Mapping[str, int], *, origin: str | Path) -> Iterator[tuple[str, bytes]]:
        """Each of several files, of at most these sizes, with all its bytes; some at once where the place allows it."""
        ...

    def make(self) -> None:
        """Make the folder, where it is missing and folders are made."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Replace or create the file `name`."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Create the file `name`; False, and nothing is changed, if it is here. Of several callers one gets True."""
        ...

    def remove(self, name: str) -> None:
        """Remove the file `name`, if it is here."""
        ...

    def remove_unfinished(self) -> None:
        """Remove what killed writers left unfinished, if there is such a thing. Whoever calls it has locked the folder,
        and nobody else may write meanwhile."""
        ...


class LocalFolder:
    """A directory of this machine."""

    def __init__(self, directory: Path) -> None:
        self.place: Place = directory
        self._directory = directory

    def path(self, name: str) -> Path:
        return self._directory / name

    def inside(self, name: str) -> LocalFolder:
        return LocalFolder(self._directory / name)

    def names(self) -> tuple[str, ...]:
        if not self._directory.is_dir():
            return ()
        with system_errors(self._directory, "read"):
            return tuple(sorted(name for name in os.listdir(self._directory) if not is_unfinished(name)))

    def tree(self) -> tuple[str, ...]:
        root = self._directory
        found = (Path(folder, name) for folder, _, names in os.walk(root) for name in names)
        return tuple(sorted(path.relative_to(root).as_posix() for path in found))

    def holds(self, name: str) -> bool:
        return os.path.lexists(self._directory / name)

    def sizes(self, names: Collection[str]) -> dict[str, int]:
        found = {}
        for name in names:
            path = self._directory / name
            with system_errors(path, "read"), suppress(FileNotFoundError):
                status = path.stat()
                if stat.S_ISREG(status.st_mode):
                    found[name] = status.st_size
        return found

    def read(self, name: str, *, max_bytes: int, origin: str | Path) -> bytes:
        """Read a file whole; see `Folder.read`."""
        return read_below(self._directory, name, max_bytes=max_bytes, origin=origin)

    def read_each(self, sizes: Mapping[str, int], *, origin: str | Path) -> Iterator[tuple[str, bytes]]:
        return ((name, self.read(name, max_bytes=size, origin=origin)) for name, size in sizes.items())

    def make(self) -> None:
        make_directory(self._directory)

    def write(self, name: str, data: bytes) -> None:
        write_bytes_atomic(self._directory / name, data)

    def create(self, name: str, data: bytes) -> bool:
        return write_bytes_new(self._directory / name, data)

    def remove(self, name: str) -> None:
        remove_if_there(self._directory / name)

    def remove_unfinished(self) -> None:
        remove_unfinished(self._directory)


def folder_of(place: str | Path | Url) -> Folder:
    """Return the folder at a path or URL; nothing is opened yet. Raises `ArtifactError` as `named_place`."""
    found = named_place(place)
    return RemoteFolder(found) if isinstance(found, Url) else LocalFolder(found)


def local_path(place: str | Path | Url, why: str) -> Path:
    """Return a place as a path of this machine.

    Args:
        place: as it was named.
        why: what needs a path, for the error.

    Raises:
        ArtifactError: if it is a URL.
    """
    found = named_place(place)
    if isinstance(found, Url):
        raise ArtifactError(str(found), "open", f"{why}, and this is a URL")
    return found
