"""What lies in the directory of a dataset of shards beside what its manifests list."""

from __future__ import annotations

import re
from collections.abc import Iterable

from townlet_trajectory.audit.report import FindingList
from townlet_trajectory.dataset.info import DatasetManifest
from townlet_trajectory.formats.shards.parts import CLAIM_NAME, PARTS
from townlet_trajectory.formats.shards.reader import PartsReader, ShardReader
from townlet_trajectory.storage.folders import Folder
from townlet_trajectory.storage.locks import is_unfinished
from townlet_trajectory.storage.manifest import MANIFEST_NAME

_SHARD_FILE = re.compile(r"(?:steps|trajectories)-(\d{6,9})\.arrow")
_UNLISTED = "the manifest does not list it"


def compare_files(folder: Folder, source: ShardReader | PartsReader, found: FindingList) -> None:
    """Name what is there and not listed. What is listed and not there is found when it is read.

    Args:
        folder: of the dataset.
        source: as it was opened there.
        found: takes the findings.

    Raises:
        ArtifactError: if a folder cannot be listed.
    """
    names = folder.tree()
    if isinstance(source, ShardReader):
        _compare(names, source.manifest, "", found)
        return
    for part in source.unfinished:
        found.warn("unfinished-part", f"{PARTS}/{part}", "has no manifest: it is being written, or was broken off")
    inside: dict[str, list[str]] = {}
    for name in names:
        top, _, rest = name.partition("/")
        part, _, rest = rest.partition("/")
        if top != PARTS or not rest or part not in {*source.parts, *source.unfinished}:
            found.fail("unlisted-file", name, _UNLISTED)
        inside.setdefault(part, []).append(rest)
    for part, reader in source.parts.items():
        _compare(inside.get(part, ()), reader.manifest, f"{PARTS}/{part}/", found)


def _compare(names: Iterable[str], manifest: DatasetManifest, prefix: str, found: FindingList) -> None:
    """The folder of one writer."""
    known = {MANIFEST_NAME, CLAIM_NAME, *(name for shard in manifest.shards for name in shard.files)}
    last = max((shard.number for shard in manifest.shards), default=-1)
    for name in sorted(set(names) - known):
        shard = _SHARD_FILE.fullmatch(name)
        if is_unfinished(name) or (shard and int(shard[1]) > last):
            found.warn("unfinished-file", prefix + name, "not listed: a writer was killed, and the next one removes it")
        else:
            found.fail("unlisted-file", prefix + name, _UNLISTED)
