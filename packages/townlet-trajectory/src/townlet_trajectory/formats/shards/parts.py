"""A dataset in parts: several writers, who know nothing of each other, write into one directory at the same time.

Each part is a folder `parts/NAME` and holds what the directory of a single writer does. Its writer claims the name by
creating `begun.json`, which one alone can do. Shards follow, and the manifest last: from then on the part is there. A
folder without a manifest is being written or was broken off, and is not read. The order is that of the names.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from typing import TypeVar

from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.errors import ArtifactError, ManifestError, SchemaError
from townlet_trajectory.storage.folders import Folder, folder_of
from townlet_trajectory.storage.json import canonical_json
from townlet_trajectory.storage.manifest import MANIFEST_NAME
from townlet_trajectory.storage.urls import Place

PARTS = "parts"
"""The folder of all parts."""
CLAIM_NAME = "begun.json"
"""Created by the writer that a name belongs to."""
MAX_PARTS = 4096
MAX_PART_NAME = 100

_PART = re.compile(rf"[A-Za-z0-9](?:[A-Za-z0-9._-]{{0,{MAX_PART_NAME - 2}}}[A-Za-z0-9])?")
_MAX_CLAIM_BYTES = 1 << 12

_Value = TypeVar("_Value")


def check_part_name(name: str) -> None:
    """Raise `SchemaError` unless `name` can be that of a part: letters, digits, `.`, `_` and `-` of ASCII, of which a
    letter or digit is first and last."""
    if not _PART.fullmatch(name):
        expected = f"1 to {MAX_PART_NAME} ASCII letters, digits, `.`, `_`, `-`, a letter or digit first and last"
        raise SchemaError(f"`writer` must be the name of a part ({expected}), got {name!r:.80}")


def found_parts(place: Place) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find the parts of a dataset by their names, sorted.

    Args:
        place: of the dataset.

    Returns:
        Those that are complete, and those without a manifest.

    Raises:
        ArtifactError: if they cannot be listed.
        ManifestError: if there are more than `MAX_PARTS`.
    """
    folder = folder_of(place).inside(PARTS)
    names = [name for name in folder.names() if _PART.fullmatch(name)]
    if len(names) > MAX_PARTS:
        raise ManifestError(str(place), "open", f"a dataset has at most {MAX_PARTS} parts, got {len(names)}")
    complete = {name for name in names if folder.inside(name).holds(MANIFEST_NAME)}
    return tuple(name for name in names if name in complete), tuple(name for name in names if name not in complete)


def new_token() -> str:
    """Return a text that tells a claim from every other."""
    return secrets.token_hex(16)


def claim(folder: Folder, name: str, token: str | None = None) -> None:
    """Take a folder for one writer, whom nobody else follows.

    Args:
        folder: made where it is missing.
        name: of the writer, for people who look.
        token: of a writer that may come again, and then finds its own claim; None: of one that does not.

    Raises:
        ArtifactError: if another has taken it, at whatever time, or it cannot be written.
    """
    folder.make()
    # Text of its own, so that a request that was repeated after a lost answer finds its own claim.
    content = _claimed_by(name, new_token() if token is None else token)
    if not folder.create(CLAIM_NAME, content) and _claim_in(folder) != content:
        taken = "it is complete" if folder.holds(MANIFEST_NAME) else "it is being written, or was broken off"
        message = f"`{name}` is taken, {taken}: name another, or remove this folder"
        raise ArtifactError(str(folder.place), "write", message)


def is_claimed(folder: Folder, name: str, token: str) -> bool:
    """Tell whether that writer has claimed a folder.

    Args:
        folder: perhaps missing.
        name: of the writer.
        token: of its claim.

    Raises:
        ArtifactError: if it cannot be read.
    """
    return folder.holds(CLAIM_NAME) and _claim_in(folder) == _claimed_by(name, token)


def _claimed_by(name: str, token: str) -> bytes:
    return canonical_json({"writer": name, "token": token})


def _claim_in(folder: Folder) -> bytes:
    return folder.read(CLAIM_NAME, max_bytes=_MAX_CLAIM_BYTES, origin=folder.path(CLAIM_NAME))


def complete(folder: Folder, manifest: bytes) -> None:
    """Write the manifest of a claimed folder, after all of its shards. Raises `ArtifactError` if it cannot be written,
    or another manifest is there."""
    if not folder.create(MANIFEST_NAME, manifest):
        path = folder.path(MANIFEST_NAME)
        if folder.read(MANIFEST_NAME, max_bytes=len(manifest), origin=path) != manifest:
            raise ArtifactError(path, "write", "another manifest is there")


def digest_of_parts(digests: Mapping[str, str]) -> str:
    """SHA-256 (hex) of a dataset, of the SHA-256 of its parts by name."""
    return hashlib.sha256(canonical_json({"parts": dict(sorted(digests.items()))})).hexdigest()


def joined_info(infos: Mapping[str, DatasetInfo]) -> DatasetInfo:
    """Say where a dataset comes from, given what each of at least one part says by name.

    Tags and notes are those that all parts share. A seed or policy that is not the same in all of them is that of
    `PART/NAME`. Raises `SchemaError` if the groups differ.
    """
    first, *others = infos.values()
    groups = sorted({info.group for info in infos.values()})
    if len(groups) > 1:
        raise SchemaError(f"the parts of a dataset are of one group of agents, got {groups}")
    return DatasetInfo(
        group=first.group,
        tags=tuple(tag for tag in first.tags if all(tag in other.tags for other in others)),
        seeds=_by_part({name: info.seeds for name, info in infos.items()}),
        policies=_by_part({name: info.policies for name, info in infos.items()}),
        notes={
            name: note
            for name, note in first.notes.items()
            if all(name in other.notes and _same(other.notes[name], note) for other in others)
        },
    )


def _by_part(values: Mapping[str, Mapping[str, _Value]]) -> dict[str, _Value]:
    first = next(iter(values.values()))
    shared = {name: value for name, value in first.items() if all(each.get(name) == value for each in values.values())}
    own = {
        f"{part}/{name}": value for part, each in values.items() for name, value in each.items() if name not in shared
    }
    return {**shared, **own}


def _same(first: object, second: object) -> bool:
    """Whether two values of JSON are the same; 1 and true are not."""
    return json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
