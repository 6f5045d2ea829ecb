"""Folders behind a URL, by fsspec (the extra `remote`); the only module that opens a connection.

Object stores list, read and write whole objects, and know no rename. A new object is created only where there is none
by a conditional request, which of several callers lets one through. Messages of other libraries may hold the URL as it
was typed, so their errors are not chained: what is raised names the place without user, password and query.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from townlet_trajectory.errors import ArtifactError, MissingExtraError, require
from townlet_trajectory.storage.paths import relative_parts
from townlet_trajectory.storage.urls import WEB, Place, Url, hidden_in

READ_AT_ONCE = 16
"""Files that are asked for at the same time, at most, ..."""
BYTES_AT_ONCE = 64 << 20
"""... and what they may hold together, unless one is larger."""

_MAX_REASON = 240
_CHUNK = 1 << 20
_REDIRECTS = range(300, 400)

FileSystem: TypeAlias = Any
"""An fsspec.AbstractFileSystem; fsspec is published without types."""


class RemoteFolder:
    """A folder of any filesystem of fsspec; see `folders.Folder`. Web pages (`http`, `https`) are read alone."""

    def __init__(self, url: Url) -> None:
        self.place: Place = url
        self._url = url

    def path(self, name: str) -> str:
        return str(self._url / name)

    def inside(self, name: str) -> RemoteFolder:
        return RemoteFolder(self._url / name)

    def names(self) -> tuple[str, ...]:
        with self._errors(str(self._url), "list"):
            # A web server has a page of a folder's content at the address that ends so.
            system, root = self._opened(self._url / "" if self._url.scheme in WEB else self._url)
            system.invalidate_cache()
            try:
                found = system.ls(root, detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return ()
        names = {str(each).partition("?")[0].rstrip("/").rpartition("/")[2] for each in found}
        return tuple(sorted(names - {""}))

    def tree(self) -> tuple[str, ...]:
        if self._url.scheme in WEB:  # pages may link in circles
            return self.names()
        with self._errors(str(self._url), "list"):
            system, root = self._opened(self._url)
            system.invalidate_cache()
            stem = root.rstrip("/") + "/"
            found = [str(each) for each in system.find(root)]
        return tuple(sorted(each.removeprefix(stem) for each in found if each.startswith(stem)))

    def holds(self, name: str) -> bool:
        with self._errors(self.path(name), "open"):
            system, path = self._opened(self._url / name)
            system.invalidate_cache()
            try:
                system.info(path)
            except FileNotFoundError:
                return False
        return True

    def sizes(self, names: Collection[str]) -> dict[str, int]:
        with self._errors(str(self._url), "list"):
            system, root = self._opened(self._url)
            system.invalidate_cache()
            try:
                found = system.ls(root, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return {}
        here = {str(each["name"]).rstrip("/").rpartition("/")[2]: each for each in found if each["type"] == "file"}
        return {name: int(here[name]["size"]) for name in names if name in here}

    def read(self, name: str, *, max_bytes: int, origin: str | Path) -> bytes:
        """Read a file whole; see `Folder.read`."""
        relative_parts(name, origin)
        with self._errors(self.path(name), "read"):
            system, path = self._opened(self._url / name)
            if self._url.scheme in WEB:
                return _read_page(system, path, max_bytes, self.path(name))
            # One byte more than is allowed tells a file that is too long, and is all that is fetched of it.
            data: bytes = system.cat_file(path, start=0, end=max_bytes + 1)
        return _bounded(data, max_bytes, self.path(name))

    def read_each(self, sizes: Mapping[str, int], *, origin: str | Path) -> Iterator[tuple[str, bytes]]:
        for name in sizes:
            relative_parts(name, origin)
        for group in _groups(sizes, at_once=1 if self._url.scheme in WEB else READ_AT_ONCE):
            if len(group) == 1:
                yield group[0], self.read(group[0], max_bytes=sizes[group[0]], origin=origin)
                continue
            with self._errors(self.path(group[0]), "read"):
                opened = [self._opened(self._url / name) for name in group]
                ends = [sizes[name] + 1 for name in group]
                paths = [path for _, path in opened]
                read = opened[0][0].cat_ranges(paths, [0] * len(group), ends, on_error="return")
            for name, data in zip(group, read, strict=True):
                with self._errors(self.path(name), "read"):
                    if isinstance(data, BaseException):
                        raise data
                yield name, _bounded(bytes(data), sizes[name], self.path(name))

    def make(self) -> None:
        """Do nothing: stores have no folders but the names of their objects."""

    def write(self, name: str, data: bytes) -> None:
        with self._errors(self.path(name), "write"):
            system, path = self._opened(self._url / name)
            system.pipe_file(path, data)

    def create(self, name: str, data: bytes) -> bool:
        with self._errors(self.path(name), "write"):
            system, path = self._opened(self._url / name)
            try:
                system.info(path)  # for filesystems that do not know the mode below
                return False
            except FileNotFoundError:
                pass
            try:
                system.pipe_file(path, data, mode="create")
            except FileExistsError:
                return False
        return True

    def remove(self, name: str) -> None:
        with self._errors(self.path(name), "clean"):
            system, path = self._opened(self._url / name)
            try:
                system.rm_file(path)
            except FileNotFoundError:
                return

    def remove_unfinished(self) -> None:
        """Do nothing: an object is there as a whole or not at all."""

    def _opened(self, url: Url) -> tuple[FileSystem, str]:
        """The filesystem, which fsspec keeps one of for each process, and the path in it."""
        fsspec = require("fsspec", "remote")
        options = {"allow_redirects": False} if url.scheme in WEB else {}
        system, path = fsspec.core.url_to_fs(url.text, use_listings_cache=False, **options)
        return system, path

    @contextmanager
    def _errors(self, shown: str, stage: str) -> Iterator[None]:
        """Turn what a filesystem raises into an `ArtifactError` without secrets; libraries of stores raise anything."""
        try:
            yield
        except (ArtifactError, MissingExtraError):
            raise
        except ImportError as error:
            message = hidden_in(str(error), self._url).rstrip(".")
            raise MissingExtraError(f"{shown}: what opens `{self._url.scheme}` is not installed: {message}") from None
        except FileNotFoundError:
            raise ArtifactError(shown, stage, "no such file") from None
        except Exception as error:
            message = " ".join(hidden_in(str(error), self._url).split())
            kind = type(error).__name__
            reason = f"{kind}: {message}" if message else kind
            raise ArtifactError(shown, stage, reason[:_MAX_REASON]) from None


def _groups(sizes: Mapping[str, int], *, at_once: int) -> Iterator[list[str]]:
    """Names that are asked for at the same time."""
    group: list[str] = []
    room = BYTES_AT_ONCE
    for name, size in sizes.items():
        if group and (len(group) == at_once or size > room):
            yield group
            group, room = [], BYTES_AT_ONCE
        group.append(name)
        room -= size
    if group:
        yield group


def _bounded(data: bytes, max_bytes: int, shown: str) -> bytes:
    if len(data) > max_bytes:
        raise ArtifactError(shown, "read", f"at most {max_bytes} bytes are read, got more")
    return data


def _read_page(system: FileSystem, path: str, max_bytes: int, shown: str) -> bytes:
    """Read a page as it comes, and no more of it than is allowed: a server need not honour a range."""
    parts: list[bytes] = []
    room = max_bytes
    # With a size, of whatever value, fsspec does not ask for it first; without a block size it streams.
    with system.open(path, "rb", block_size=0, size=1) as stream:
        if stream.r.status in _REDIRECTS:
            raise ArtifactError(shown, "read", "the server names another place, and only what was typed is opened")
        while part := stream.read(_CHUNK):
            room -= len(part)
            if room < 0:
                raise ArtifactError(shown, "read", f"at most {max_bytes} bytes are read, got more")
            parts.append(part)
    return b"".join(parts)
