"""Reads a dataset of Minari, ours or somebody else's, by blocks of episodes."""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack
from functools import cached_property
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.ragged import offsets_of
from townlet_trajectory.data.schema import ArraySpec, EpisodeLabel
from townlet_trajectory.data.trajectory import TRAJECTORY_FIELDS, Array
from townlet_trajectory.dataset.memory import BLOCK_BYTES, step_bytes
from townlet_trajectory.dataset.source import TrajectoryTable, block_bounds, require_decision
from townlet_trajectory.errors import ArtifactError, CaptureError, TrajectoryError, system_errors
from townlet_trajectory.formats.minari.hdf5 import AGENT_ID, LABEL, EpisodeReader
from townlet_trajectory.formats.minari.spaces import Leaf, MinariContents, minari_contents
from townlet_trajectory.storage.json import MAX_JSON_BYTES, parse_json, parse_object
from townlet_trajectory.storage.npz import FREE_BYTES, MAX_RATIO
from townlet_trajectory.storage.paths import open_below, read_below

METADATA_NAME = "metadata.json"
FILE_NAME = "main_data.hdf5"

MAX_FILE_BYTES = 1 << 40
MAX_BATCH_BYTES = 2 << 30
"""Of decoded columns that are read at once, unless the caller allows more."""

_FOREIGN_AGENT = "agent"
_REWARDS = Leaf(name="rewards", path=("rewards",), spec=ArraySpec("float32"))


class MinariReader:
    """A dataset's directory, open: a `TrajectorySource`, and a context that closes its file.

    Of a dataset that Minari or another program made, observations and actions are taken by its spaces: a `Box` is
    `observation` or `action`, members of a `Dict` have their names; numbers are converted to the space's dtype, rewards
    to float32. Actions of a `Discrete` space become indices from 0 into `action_0`, `action_1`, ...; those of a
    `MultiDiscrete` or `MultiBinary` of one axis parts, indices from 0; those of a `Box` of one axis with finite bounds
    float32 numbers within them. Each step is of kind foreign, demonstrated by an external source. `infos` are not read.

    Args:
        path: the directory that holds `data`; `minari_root()` / its id.
        max_episode_bytes: decoded columns that one episode may have.

    Raises:
        ArtifactError: if it is missing, damaged, was changed after we wrote it, or says more than its size can hold.
        MissingExtraError: if the extra `minari` is not installed.
    """

    def __init__(self, path: str | Path, *, max_episode_bytes: int = MAX_BATCH_BYTES) -> None:
        self.path = Path(path)
        metadata_path = self.path / "data" / METADATA_NAME
        metadata = parse_object(
            read_below(self.path, f"data/{METADATA_NAME}", max_bytes=MAX_JSON_BYTES, origin=self.path), metadata_path
        )
        self._contents: MinariContents = minari_contents(metadata, metadata_path)
        self.schema, self.info = self._contents.schema, self._contents.info
        self._file_path = self.path / "data" / FILE_NAME
        self._stream = open_below(self.path, f"data/{FILE_NAME}", max_bytes=MAX_FILE_BYTES, origin=self.path)
        with system_errors(self._file_path, "read"), ExitStack() as stack:
            stack.callback(self._stream.close)
            self._file_bytes = os.fstat(self._stream.fileno()).st_size
            file = self._contents.file  # of a dataset of ours
            if file is not None and self._file_bytes != file.size:
                raise CaptureError(self._file_path, "verify", f"expected {file.size} bytes, got {self._file_bytes}")
            if file is not None and (digest := _digest_of(self._stream)) != file.sha256:
                raise CaptureError(self._file_path, "verify", f"expected SHA-256 {file.sha256}, got {digest}")
            self._episodes = EpisodeReader(self._stream, self._file_path)
            if (found := self._episodes.num_episodes) != self._contents.num_episodes:
                raise self._wrong(f"expected {self._contents.num_episodes} episodes, got {found}")
            self.table = self._read_table(max_episode_bytes)
            stack.pop_all()
        starts = offsets_of(self.table.lengths) * step_bytes(self.schema)
        stripes = np.flatnonzero(np.diff(starts[:-1] // BLOCK_BYTES, prepend=-1))
        self.block_offsets: NDArray[np.int64] = np.append(stripes, len(self.table)).astype(np.int64)
        self.encoded_bytes = np.diff(starts[self.block_offsets])

    def __enter__(self) -> MinariReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with system_errors(self._file_path, "read"), self._stream:
            self._episodes.close()

    @cached_property
    def fingerprint(self) -> str:
        file = self._contents.file
        with system_errors(self._file_path, "read"):
            return _digest_of(self._stream) if file is None else file.sha256

    def load(self, *, max_bytes: int = MAX_BATCH_BYTES) -> TrajectoryBatch:
        """All trajectories; `ArtifactError` as `load_block`, or if the columns would take more than `max_bytes`."""
        if (total := int(self.encoded_bytes.sum())) > max_bytes:
            raise ArtifactError(self._file_path, "read", f"at most {max_bytes} bytes are read at once, got {total}")
        return self._load(0, len(self.table))

    def load_block(self, block: int) -> TrajectoryBatch:
        return self._load(*block_bounds(self, block))

    def decision_column(self, block: int, name: str) -> Array:
        require_decision(self.schema, name)
        return self._decision(name, *block_bounds(self, block))

    def _wrong(self, reason: str) -> CaptureError:
        return CaptureError(self._file_path, "check", reason)

    def _read_table(self, max_episode_bytes: int) -> TrajectoryTable:
        size = self._contents.num_episodes
        lengths = np.fromiter(map(self._episodes.length, range(size)), np.int64, size)
        row_bytes, file_bytes = step_bytes(self.schema), self._file_bytes
        allowed = MAX_RATIO * file_bytes + FREE_BYTES
        # As Python integers: a sum of lengths that lie could wrap around.
        if (declared := sum(lengths.tolist()) * row_bytes) > allowed:
            raise self._wrong(f"{file_bytes} bytes declare {declared}, more than {allowed}")
        if (longest := int(lengths.max(initial=0))) * row_bytes > max_episode_bytes:
            raise self._wrong(f"an episode of {longest} steps takes more than {max_episode_bytes} bytes")
        terminated, truncated = (
            np.fromiter((self._flag_at_end(episode, name, lengths) for episode in range(size)), np.bool_, size)
            for name in ("terminations", "truncations")
        )
        own = self._contents.file is not None
        identities = [
            self._identity(episode) if own else (_FOREIGN_AGENT, 0, episode, 0, 0, 0) for episode in range(size)
        ]
        agent_ids = np.empty(size, object)
        agent_ids[:] = [agent_id for agent_id, *_ in identities]
        numbers = np.array([row[1:] for row in identities], np.int64).reshape(size, 5)
        worlds, episodes, first_ticks, goes_on, labels = numbers.T
        return TrajectoryTable(
            agent_ids=agent_ids,
            worlds=worlds.copy(),
            episodes=episodes.copy(),
            first_ticks=first_ticks.copy(),
            lengths=lengths,
            terminated=terminated,
            truncated=truncated & (goes_on == 0),
            episode_labels=labels.astype(np.int8),
            tags=(frozenset(self.info.tags),) * size if self.info.tags else (),
        )

    def _flag_at_end(self, episode: int, name: str, lengths: NDArray[np.int64]) -> bool:
        flags = self._episodes.read(episode, (name,), (int(lengths[episode]),))
        if flags[:-1].any():
            raise self._wrong(f"episode_{episode}/{name}: true before the last step")
        return bool(flags[-1])

    def _identity(self, episode: int) -> tuple[str | int, ...]:
        """(agent, world, episode, first tick, whether it goes on, label)."""
        attributes = self._episodes.attributes(episode)
        length = self._episodes.length(episode, AGENT_ID)
        if length > self._file_bytes:
            raise self._wrong(f"an agent id of {length} bytes in a file of {self._file_bytes}")
        agent_id = parse_json(self._episodes.read(episode, (AGENT_ID,), (length,)).tobytes(), self._file_path)
        missing = 1 << 63  # refused as any that int64 cannot hold
        numbers = [attributes.get(name, missing) for name in ("world", "episode", "first_tick", "goes_on")]
        label = attributes.get(LABEL, int(EpisodeLabel.NONE))
        fit = all(-(1 << 63) <= number < 1 << 63 for number in numbers) and 0 <= label < len(EpisodeLabel)
        if not isinstance(agent_id, str) or not fit:
            raise CaptureError(
                self._file_path, "parse", f"episode_{episode} carries {agent_id!r:.80} and {attributes!r:.200}"
            )
        return agent_id, *numbers, label

    def _load(self, first: int, stop: int) -> TrajectoryBatch:
        part = {name: vars(self.table)[name][first:stop] for name in TRAJECTORY_FIELDS}
        lengths = self.table.lengths[first:stop]
        offsets = offsets_of(lengths)
        seen = {name: self._rows(leaf, first, stop, 1) for name, leaf in self._contents.observations.items()}
        starts = self.table.first_ticks[first:stop] - offsets[:-1]
        try:
            return TrajectoryBatch(
                schema=self.schema,
                offsets=offsets,
                observations={name: rows for name, (rows, _) in seen.items()},
                final_observations={name: last for name, (_, last) in seen.items()},
                columns={name: self._decision(name, first, stop) for name in self.schema.decisions},
                rewards=self._rows(_REWARDS, first, stop, 0)[0].astype(np.float32, copy=False),
                ticks=np.arange(offsets[-1]) + np.repeat(starts, lengths),
                **part,
            )
        except ArtifactError:
            raise
        except TrajectoryError as error:
            raise self._wrong(str(error)) from error

    def _decision(self, name: str, first: int, stop: int) -> Array:
        if name in self._contents.decisions:
            return self._rows(self._contents.decisions[name], first, stop, 0)[0]
        value = self._contents.constants[name]
        return np.full((int(self.table.lengths[first:stop].sum()), *value.shape), value)

    def _rows(self, leaf: Leaf, first: int, stop: int, beyond: int) -> tuple[Array, Array]:
        """The rows [R, ...] of the episodes, and their last rows [B, ...]; of each, `beyond` rows follow the steps."""
        lengths = self.table.lengths[first:stop]
        rows: Array = np.empty((int(lengths.sum()), *leaf.spec.shape), leaf.spec.dtype)
        last: Array = np.empty((stop - first, *leaf.spec.shape), leaf.spec.dtype)
        at = 0
        for index, length in enumerate(lengths.tolist()):
            episode = first + index
            raw = self._episodes.read(episode, leaf.path, (length + beyond, *leaf.spec.shape))
            try:
                array = leaf.converted(raw)
            except TrajectoryError as error:
                where = f"episode_{episode}/{'/'.join(leaf.path)}"
                raise self._wrong(f"{where}: {error}") from error
            rows[at : at + length], last[index] = array[:length], array[-1]
            at += length
        return rows, last


def from_minari(path: str | Path, *, max_bytes: int = MAX_BATCH_BYTES) -> TrajectoryBatch:
    """Read a whole dataset's directory as one batch; `MinariReader` says how, and reads it by blocks. Raises
    `ArtifactError` as `MinariReader`, or if the columns would take more than `max_bytes`."""
    with MinariReader(path) as reader:
        return reader.load(max_bytes=max_bytes)


def _digest_of(stream: BufferedReader) -> str:
    """SHA-256 (hex) of a file, whose position is afterwards where it was."""
    position = stream.tell()
    stream.seek(0)
    digest = hashlib.file_digest(stream, "sha256").hexdigest()
    stream.seek(position)
    return digest
