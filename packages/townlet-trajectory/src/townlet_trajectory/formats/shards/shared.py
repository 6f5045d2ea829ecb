"""A part of a dataset that many processes write for one owner, who alone says what belongs to it.

Whoever has rows writes them as one shard, whose number the owner's plan gives, and hands the entry of the shard to the
owner: a few numbers and digests, and not the rows. The owner claims the part, and writes its manifest anew whenever it
likes. Work that is done again writes the same files again. The claim has a token, so that an owner that comes again
finds its own part, and a writer that sees another disk notices at once.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.schema import TrajectorySchema, common_schema
from townlet_trajectory.dataset.info import DatasetInfo, DatasetManifest, ShardEntry, shard_file_names
from townlet_trajectory.errors import ArtifactError, OrderError, require
from townlet_trajectory.formats.shards.columns import check_texts
from townlet_trajectory.formats.shards.layout import check_shard_schema, encode_shard
from townlet_trajectory.formats.shards.parts import PARTS, check_part_name, claim, is_claimed
from townlet_trajectory.formats.shards.reader import read_dataset_manifest
from townlet_trajectory.formats.shards.targets import require_alone, shard_number, write_manifest
from townlet_trajectory.storage.files import DirectoryLock
from townlet_trajectory.storage.folders import Folder, folder_of
from townlet_trajectory.storage.manifest import MANIFEST_NAME, FileEntry
from townlet_trajectory.storage.urls import Url

ELSEWHERE = "where several machines write, name a URL or a directory that they share"
"""What to do where files are not seen."""


class PartWriter:
    """Writes shards of a part for its owner, from any process and any machine that sees the place.

    A shard that is written again replaces its files, each of them whole: equal rows are equal bytes.

    Examples:
        >>> import numpy as np
        >>> from townlet_trajectory import ArraySpec, PartOwner, PartWriter, Trajectory, TrajectoryBatch
        >>> from townlet_trajectory import TrajectorySchema, read_shards
        >>> columns = {"observations": {"x": ArraySpec("float32")}, "decisions": {"action": ArraySpec("int64")}}
        >>> alice = Trajectory(
        ...     schema=TrajectorySchema(**columns, vocabulary=("wait", "eat")),
        ...     observations={"x": np.float32([0, 1, 2, 3])}, columns={"action": np.array([0, 1, 1])},
        ...     rewards=np.float32([0.0, 1.0, 0.5]), ticks=np.array([1, 2, 3]),
        ...     terminated=True, truncated=False, agent_id="alice", world=0, episode=0,
        ... )
        >>> owner = PartOwner("shared", "unit-0000", token="of-this-run")
        >>> owner.claim()
        >>> hand = PartWriter("shared", "unit-0000", token="of-this-run")
        >>> owner.add(hand.write(0, TrajectoryBatch.from_trajectories([alice])), alice.schema)
        >>> owner.list_shards()
        >>> read_shards("shared").rewards.tolist()
        [0.0, 1.0, 0.5]
    """

    def __init__(self, directory: str | Path | Url, writer: str, *, token: str, compression: str = "lz4") -> None:
        """Nothing is opened yet.

        Args:
            directory: of the dataset; or a URL that fsspec opens.
            writer: name of the part, as of `ShardWriter`.
            token: with which the owner has claimed it.
            compression: as of `ShardWriter`.

        Raises:
            SchemaError: if `writer` is no name of a part.
            MissingExtraError: without pyarrow; of a URL without fsspec.
        """
        require("pyarrow", "arrow")
        check_part_name(writer)
        self._folder, self._writer = _folder_of_part(directory, writer), writer
        self._token, self._compression = token, compression
        self._seen = False

    def write(self, number: int, batch: TrajectoryBatch) -> ShardEntry | None:
        """Write a shard, whose rows are all of `batch`.

        Args:
            number: of the shard, in [0, 10^9).
            batch: of one group of agents.

        Returns:
            What the owner is to list; None where there is no row, and so no shard.

        Raises:
            ArtifactError: if the owner's claim is not seen here, or a file cannot be written.
            SchemaError: if the rows have no form as a shard, or are too many for one.
        """
        check_shard_schema(batch.schema, max(1, batch.num_steps))
        check_texts(batch.agent_ids)
        self._require_seen()
        if not len(batch):
            return None
        contents = encode_shard(batch, compression=self._compression)
        steps, trajectories = map(FileEntry.of, contents)
        entry = ShardEntry(
            number=number,
            steps=steps,
            trajectories=trajectories,
            num_steps=batch.num_steps,
            num_trajectories=len(batch),
        )
        for name, data in zip(entry.files, contents, strict=True):
            self._folder.write(name, data)
        return entry

    def _require_seen(self) -> None:
        if not self._seen and not is_claimed(self._folder, self._writer, self._token):
            message = f"the claim of `{self._writer}` is not seen from here: {ELSEWHERE}"
            raise ArtifactError(str(self._folder.place), "write", message)
        self._seen = True


class PartOwner:
    """Owns a part that several `PartWriter`s write, and says in its manifest what belongs to it.

    The part is there from the first `list_shards` on, and then always reads to the shards that were listed last. A
    folder of this machine is locked from `claim` to `close`: labelling what is recorded is refused until then.
    """

    def __init__(
        self,
        directory: str | Path | Url,
        writer: str,
        *,
        token: str,
        info: DatasetInfo | None = None,
        compression: str = "lz4",
    ) -> None:
        """Nothing is opened yet.

        Args:
            directory: of the dataset; or a URL that fsspec opens.
            writer: name of the part, as of `ShardWriter`.
            token: tells this owner from others; with the same one it may come again.
            info: where the data comes from; None is an empty one.
            compression: that the writers use.

        Raises:
            SchemaError: if `writer` is no name of a part.
            MissingExtraError: without pyarrow; of a URL without fsspec.
        """
        require("pyarrow", "arrow")
        check_part_name(writer)
        self._root, self._folder, self._writer = folder_of(directory), _folder_of_part(directory, writer), writer
        self._token, self._info, self._compression = token, info or DatasetInfo(), compression
        self._schema: TrajectorySchema | None = None
        self._shards: list[ShardEntry] = []
        self._num_listed = 0
        self._lock = ExitStack()

    def claim(self) -> None:
        """Take the part, or find that it was taken with the same token. Raises `ArtifactError` if another has it or
        labels it, or the place holds a dataset of a single writer."""
        require_alone(self._root, self._writer)
        claim(self._folder, self._writer, self._token)
        self._lock.close()
        if isinstance(self._folder.place, Path):
            self._lock.enter_context(DirectoryLock(self._folder.place))

    def go_back_to(self, number: int) -> None:
        """Keep the shards with lower numbers that are listed, and remove all other files. Nobody may write meanwhile.

        Args:
            number: of the first shard that is written, or written again.

        Raises:
            ArtifactError: if there is no manifest although `number` is not 0, or it is damaged.
        """
        self._schema, self._shards = None, []
        if self._folder.holds(MANIFEST_NAME):
            there = read_dataset_manifest(self._folder.place)
            self._schema, self._shards = there.schema, [shard for shard in there.shards if shard.number < number]
            if len(self._shards) < len(there.shards):
                # First: what is listed is there at every instant.
                write_manifest(self._folder, replace(there, shards=tuple(self._shards)))
        elif number:
            message = f"expected the shards before number {number}, found no {MANIFEST_NAME}"
            raise ArtifactError(str(self._folder.place), "open", message)
        self._num_listed = len(self._shards)
        self._remove_others()

    def add(self, entry: ShardEntry | None, schema: TrajectorySchema) -> None:
        """Take the entry of a shard, to be listed.

        Args:
            entry: as `PartWriter.write` returned it; None: nothing was written.
            schema: of its rows.

        Raises:
            OrderError: if its number is not higher than those before.
            SchemaError: if the schema differs from that of the shards before.
        """
        self._schema = schema if self._schema is None else common_schema([self._schema, schema])
        if entry is None:
            return
        if self._shards and entry.number <= self._shards[-1].number:
            raise OrderError(f"expected a shard after number {self._shards[-1].number}, got {entry.number}")
        self._shards.append(entry)

    def list_shards(self) -> None:
        """Write the manifest of all shards so far, unless it says them already.

        Raises:
            ArtifactError: if a file of a shard is missing here or has another size, or the manifest cannot be written.
            SchemaError: if there are more shards than a manifest can list.
        """
        if self._schema is None or (self._num_listed == len(self._shards) and self._folder.holds(MANIFEST_NAME)):
            return
        manifest = DatasetManifest(
            schema=self._schema, info=self._info, compression=self._compression, shards=tuple(self._shards)
        )
        self._require_there(self._shards[self._num_listed :])
        write_manifest(self._folder, manifest)
        self._num_listed = len(self._shards)

    def finish(self) -> None:
        """List all shards, remove what does not belong to them, and let the part go. Nobody may write meanwhile. Raises
        as `list_shards`."""
        self.list_shards()
        self._remove_others()
        self.close()

    def close(self) -> None:
        """Let the part go as it was listed last; nothing happens the second time."""
        self._lock.close()

    def _require_there(self, shards: list[ShardEntry]) -> None:
        files = {name: entry.size for shard in shards for name, entry in shard.files.items()}
        sizes = self._folder.sizes(files.keys())
        for name, size in files.items():
            if sizes.get(name) != size:
                found = f"a file of {sizes[name]} bytes" if name in sizes else "no such file"
                message = f"expected the {size} bytes that its writer wrote, found {found}: {ELSEWHERE}"
                raise ArtifactError(self._folder.path(name), "verify", message)

    def _remove_others(self) -> None:
        self._folder.remove_unfinished()
        listed = {name for shard in self._shards[: self._num_listed] for name in shard_file_names(shard.number)}
        for name in self._folder.names():
            if shard_number(name) is not None and name not in listed:
                self._folder.remove(name)


def _folder_of_part(directory: str | Path | Url, writer: str) -> Folder:
    return folder_of(directory).inside(PARTS).inside(writer)
