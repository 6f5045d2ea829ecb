"""Where a writer of shards writes: a directory that it holds, or a folder that it claimed once and for all."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol

from townlet_trajectory.dataset.info import DATASET_VERSION, DatasetManifest, shard_file_names
from townlet_trajectory.errors import ArtifactError, ManifestError, system_errors
from townlet_trajectory.formats.shards.parts import CLAIM_NAME, PARTS, check_part_name, claim, complete
from townlet_trajectory.formats.shards.reader import read_dataset_manifest
from townlet_trajectory.storage.files import DirectoryLock, make_directory
from townlet_trajectory.storage.folders import Folder, LocalFolder, folder_of
from townlet_trajectory.storage.json import MAX_JSON_BYTES
from townlet_trajectory.storage.locks import remove_if_there
from townlet_trajectory.storage.manifest import MANIFEST_NAME
from townlet_trajectory.storage.urls import Place, Url

Reopened = Callable[[DatasetManifest], DatasetManifest]
"""What goes on with a dataset that is there: its manifest to the one that is written from then on."""

_SHARD_FILE = re.compile(r"(steps|trajectories)-\d{6,9}\.arrow")


class Target(Protocol):
    """What a writer of shards needs of the place where they go."""

    @property
    def folder(self) -> Folder: ...

    @property
    def keeps_unfinished(self) -> bool:
        """Whether what was written before a failure is a dataset."""
        ...

    def begin(self, begun: DatasetManifest, reopened: Reopened | None) -> DatasetManifest:
        """Take the place for one writer, with a manifest to begin with; return that which holds. None: what is there
        already is not gone on with."""
        ...

    def list_shards(self, manifest: DatasetManifest) -> None:
        """Say what is written so far."""
        ...

    def finish(self, manifest: DatasetManifest) -> None:
        """Say what is written when all is, and let the place go."""
        ...

    def break_off(self, manifest: DatasetManifest) -> None:
        """Let the place go because of a failure, after which `manifest` is not finished."""
        ...


class HeldDirectory:
    """A directory of this machine, locked while it is written: its manifest lists every shard as soon as it is there.

    Files that a crash left unlisted are removed when the dataset is gone on with.
    """

    keeps_unfinished = True

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.folder: Folder = LocalFolder(directory)
        self._lock = ExitStack()

    def begin(self, begun: DatasetManifest, reopened: Reopened | None) -> DatasetManifest:
        make_directory(self._directory)
        with ExitStack() as stack:
            # First, for the lock removes what an unfinished writer left below, and parts have writers of their own.
            _require_no_parts(self.folder)
            stack.enter_context(DirectoryLock(self._directory))
            if os.path.lexists(self._directory / MANIFEST_NAME):
                if reopened is None:
                    message = "holds a dataset already; `append` goes on with it"
                    raise ArtifactError(self._directory, "write", message)
                begun = reopened(writable_manifest(self._directory))
            self._remove_unlisted(begun)
            self.list_shards(begun)
            self._lock = stack.pop_all()
        return begun

    def list_shards(self, manifest: DatasetManifest) -> None:
        write_manifest(self.folder, manifest)

    def finish(self, manifest: DatasetManifest) -> None:
        self._lock.close()

    def break_off(self, manifest: DatasetManifest) -> None:
        self._lock.close()

    def _remove_unlisted(self, manifest: DatasetManifest) -> None:
        listed = {name for shard in manifest.shards for name in shard.files}
        with system_errors(self._directory, "read"):
            names = [name for name in os.listdir(self._directory) if _SHARD_FILE.fullmatch(name)]
        unlisted = [name for name in names if name not in listed]
        if unlisted and not os.path.lexists(self._directory / MANIFEST_NAME):
            raise ArtifactError(self._directory, "write", f"holds shards without a manifest: {sorted(unlisted)[:4]}")
        for name in unlisted:
            remove_if_there(self._directory / name)


class ClaimedFolder:
    """A part of a dataset, or a whole one behind a URL: claimed by its first writer, there when its manifest is.

    The manifest is written last and once. A failure leaves nothing, as far as files can still be removed, and then the
    name is free again; a crash leaves a folder without a manifest, which is not read.
    """

    keeps_unfinished = False

    def __init__(self, place: Place, writer: str | None) -> None:
        """`writer` is the name of a part; None: the whole dataset is of one writer."""
        if writer is not None:
            check_part_name(writer)
        self._root = folder_of(place)
        self._writer = writer
        self.folder: Folder = self._root if writer is None else self._root.inside(PARTS).inside(writer)
        self._may_be_complete = False

    def begin(self, begun: DatasetManifest, reopened: Reopened | None) -> DatasetManifest:
        if reopened is not None:
            raise ArtifactError(str(self.folder.place), "write", "`append` is for a directory with a single writer")
        require_alone(self._root, self._writer)
        claim(self.folder, self._writer or str(self.folder.place))
        try:
            # Once more: of two kinds of writers that come together, one sees the other.
            require_alone(self._root, self._writer)
        except ArtifactError:
            with suppress(ArtifactError):
                self.folder.remove(CLAIM_NAME)
            raise
        return begun

    def list_shards(self, manifest: DatasetManifest) -> None:
        """Nothing is said before all is written."""

    def finish(self, manifest: DatasetManifest) -> None:
        self._may_be_complete = True
        complete(self.folder, encoded_manifest(self.folder, manifest))

    def break_off(self, manifest: DatasetManifest) -> None:
        if self._may_be_complete:
            return  # an answer may have been lost: what was listed has to stay
        names = [name for shard in manifest.shards for name in shard_file_names(shard.number)]
        with suppress(ArtifactError):
            for name in (*names, CLAIM_NAME):
                self.folder.remove(name)


def target_of(place: Place, writer: str | None) -> Target:
    """Return where shards are written: `place`, or with the name of a writer a part of the dataset that is there."""
    if writer is None and not isinstance(place, Url):
        return HeldDirectory(place)
    return ClaimedFolder(place, writer)


def writable_manifest(directory: Path) -> DatasetManifest:
    """Read a manifest to write a later one; `ManifestError` if a later minor version wrote it."""
    there = read_dataset_manifest(directory)
    if there.schema_version[1] > DATASET_VERSION[1]:
        message = f"version {there.schema_version} is read, but only {DATASET_VERSION} gone on with"
        raise ManifestError(directory, "write", message)
    return there


def write_manifest(folder: Folder, manifest: DatasetManifest) -> None:
    """Replace the manifest of a folder; `ManifestError` if it would be too long to be read again."""
    folder.write(MANIFEST_NAME, encoded_manifest(folder, manifest))


def encoded_manifest(folder: Folder, manifest: DatasetManifest) -> bytes:
    """The file that holds a manifest; `ManifestError` if it is too long to be read again."""
    data = manifest.encode()
    if len(data) > MAX_JSON_BYTES:
        message = f"at most {MAX_JSON_BYTES} bytes are read, got {len(data)}"
        raise ManifestError(folder.path(MANIFEST_NAME), "encode", message)
    return data


def remove_shards(folder: Folder, numbers: Iterable[int]) -> None:
    """Remove the files of shards that are not listed, as far as that goes."""
    for number in numbers:
        for name in shard_file_names(number):
            with suppress(ArtifactError):
                folder.remove(name)


def require_alone(root: Folder, writer: str | None) -> None:
    """Refuse a place that is written in the other way.

    Args:
        root: of the dataset.
        writer: name of the part that is to be written; None: the whole dataset is of one writer.

    Raises:
        ArtifactError: names what is there.
    """
    if writer is None:
        if root.holds(MANIFEST_NAME):
            raise ArtifactError(str(root.place), "write", "holds a dataset already")
        _require_no_parts(root)
    elif taken := [name for name in (MANIFEST_NAME, CLAIM_NAME) if root.holds(name)]:
        message = f"holds a dataset of a single writer ({taken[0]}), to which no part is added"
        raise ArtifactError(str(root.place), "write", message)


def require_nothing_there(root: Folder) -> None:
    """Raise `ArtifactError` if a place holds a dataset, or a part of one, or has been claimed; it names what it is."""
    require_alone(root, "")
    if names := root.inside(PARTS).names():
        raise ArtifactError(str(root.place), "write", f"holds a dataset already, with parts ({', '.join(names[:4])})")


def shard_number(name: str) -> int | None:
    """The number of the shard that a file of such a name belongs to; None where it is none's."""
    return int(name[:-6].rpartition("-")[2]) if _SHARD_FILE.fullmatch(name) else None


def _require_no_parts(root: Folder) -> None:
    if names := root.inside(PARTS).names():
        message = f"holds a dataset in parts ({', '.join(names[:4])}): write another part of it, `writer=NAME`"
        raise ArtifactError(str(root.place), "write", message)
