"""Files of one run: its log, its checkpoints, and the names of its results."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue, TypeAdapter

from townlet_training.config import TrainingConfig
from townlet_training.errors import ConfigError, ResumeError, TrainingError
from townlet_training.network.spec import PolicySpec
from townlet_training.run.checkpoint import Checkpoint, CheckpointStore, SavedWorlds, read_checkpoint
from townlet_training.run.metrics import MetricsRow, MetricsWriter
from townlet_training.run.state import EarlierTotal, LogMark, TrainingState
from townlet_trajectory.evaluation.promotion import PROMOTION_NAME
from townlet_trajectory.storage.files import MAX_LOG_BYTES, write_bytes_atomic
from townlet_trajectory.storage.paths import read_named

if TYPE_CHECKING:
    from townlet_training.run.agent_groups import GroupLearners

LOG_NAME, CHECKPOINTS_NAME = "metrics.jsonl", "checkpoints"

_CONFIG = TypeAdapter(TrainingConfig)
_SPECS = TypeAdapter(Mapping[str, PolicySpec])


class RunDirectory:
    """Keeps log and checkpoints in step: a checkpoint says how long the log was, so that it can be cut back to that.

    Attributes:
        path: of the directory.
        checkpoints: of the run.
        saved_at: the checkpoint of the present state, if there is one; None once that changes.
    """

    def __init__(self, path: Path, *, keep_last: int) -> None:
        """`keep_last` as of `CheckpointStore`."""
        self.path = path
        self.saved_at: Path | None = None
        self._log = path / LOG_NAME
        self.checkpoints = CheckpointStore(path / CHECKPOINTS_NAME, keep_last=keep_last)

    def require_unused(self) -> None:
        """Raise `TrainingError` if the directory holds (part of) a run."""
        for name in (LOG_NAME, CHECKPOINTS_NAME, PROMOTION_NAME):
            if (self.path / name).exists():
                raise TrainingError(f"{self.path} holds a run already (`{name}`): use a new directory")

    def newest(self, state: TrainingState, earlier: Sequence[EarlierTotal] = ()) -> tuple[Path, Checkpoint] | None:
        """Read the newest checkpoint of the run that was begun with the settings of `state`.

        Args:
            state: of the run.
            earlier: totals of world steps that the run had before; a checkpoint of one of them gets those of `state`.

        Returns:
            Its path and content; None where the run was interrupted before there was one.

        Raises:
            ResumeError: if the directory holds another run, or a log without a checkpoint.
            CheckpointError: if the checkpoint is damaged.
        """
        path = self.checkpoints.newest()
        if path is None:
            if self._log.exists() and self._log.stat().st_size:
                raise ResumeError(f"{self.path} holds a log without a checkpoint: it cannot be resumed")
            return None
        checkpoint = read_checkpoint(path)
        ours, theirs = _settings(state), _settings(checkpoint.state)
        before = [
            ours | {"total_env_steps": one.total_env_steps, "notes": {**state.notes, **one.notes}} for one in earlier
        ]
        if theirs in before:
            checkpoint.state.config, checkpoint.state.notes = state.config, state.notes
            return path, checkpoint
        for name, our, their in _differences(ours, theirs, ""):
            raise ResumeError(
                f"{self.path} holds a run with `{name}` {their!r:.120}, not {our!r:.120}: it goes on with the "
                "settings it began with, or not at all"
            )
        return path, checkpoint

    def go_back_to(self, checkpoint: Checkpoint) -> None:
        """Restore log and checkpoints to those of the moment at which `checkpoint`, the newest, was written.

        Raises:
            ResumeError: if the log is damaged.
            CheckpointError: if a checkpoint is damaged that may still be needed.
        """
        protected = checkpoint.state.history.protected
        for env_steps in protected:
            self.checkpoints.load(env_steps)
        self.cut_log(checkpoint.state.log)
        self.checkpoints.prune(protected=protected)

    def save(self, state: TrainingState, learners: GroupLearners, worlds: SavedWorlds | None, *, interim: bool) -> Path:
        """Write a checkpoint, unless the present state has one.

        Args:
            state: of the run; log and digest of the weights are filled in.
            learners: networks and optimizers.
            worlds: state of the collector.
            interim: whether no checkpoint is due; then any one of the present state will do.

        Returns:
            The checkpoint of the present state.

        Raises:
            ArtifactError: if it cannot be written.
            NonFiniteError: if a number in it is not finite.
        """
        if self.saved_at is not None and (interim or self.saved_at == self.checkpoints.path(state.env_steps)):
            return self.saved_at
        state.log, state.weights_sha256 = self.mark_log(), learners.sha256()
        checkpoint = Checkpoint(state=state, weights=learners.weights(), learner=learners.state(), worlds=worlds)
        if interim:
            self.saved_at = self.checkpoints.save_interim(checkpoint)
        else:
            self.saved_at = self.checkpoints.save(checkpoint, protected=state.history.protected)
        return self.saved_at

    def load(self, env_steps: int, *, specs: Mapping[str, PolicySpec]) -> Checkpoint:
        """Read the checkpoint at `env_steps`.

        Raises:
            CheckpointError: if it is damaged.
            ConfigError: if it was trained in another world, or with another action vocabulary, than `specs` say.
        """
        checkpoint = self.checkpoints.load(env_steps)
        if checkpoint.state.specs != specs:
            raise ConfigError(f"the checkpoint must be of {dict(specs)}, got {dict(checkpoint.state.specs)}")
        return checkpoint

    def begin_log(self) -> None:
        """Write an empty log, in place of one that is there."""
        write_bytes_atomic(self._log, b"")

    def append(self, rows: Sequence[MetricsRow]) -> None:
        """Append lines to the log."""
        writer = MetricsWriter(self._log)
        for row in rows:
            writer.write(row)

    def mark_log(self) -> LogMark:
        """Return the present length of the log.

        Raises:
            ArtifactError: if it cannot be read.
        """
        return _mark(read_named(self._log, max_bytes=MAX_LOG_BYTES))

    def cut_log(self, mark: LogMark) -> None:
        """Remove the lines that were appended to the log since `mark`.

        Raises:
            ResumeError: if it is shorter, or was changed.
            ArtifactError: if it cannot be read or written.
        """
        data = read_named(self._log, max_bytes=MAX_LOG_BYTES)
        if len(data) < mark.size:
            raise ResumeError(
                f"{self._log} has {len(data)} bytes, but the newest checkpoint was taken after {mark.size}"
            )
        kept = data[: mark.size]
        if _mark(kept) != mark:
            raise ResumeError(
                f"{self._log}: its first {mark.size} bytes are not those that the newest checkpoint was taken after"
            )
        if len(kept) < len(data):
            write_bytes_atomic(self._log, kept)


def _mark(data: bytes) -> LogMark:
    return LogMark(size=len(data), sha256=hashlib.sha256(data).hexdigest())


def _settings(state: TrainingState) -> dict[str, JsonValue]:
    """Return the settings that must not change when a run is resumed."""
    settings: dict[str, JsonValue] = _CONFIG.dump_python(state.config, mode="json")
    return settings | {"specs": _SPECS.dump_python(state.specs, mode="json"), "notes": dict(state.notes)}


def _differences(ours: JsonValue, theirs: JsonValue, name: str) -> Iterator[tuple[str, JsonValue, JsonValue]]:
    """Yield the differences of two settings by dotted name; None stands for a missing one."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            yield from _differences(ours.get(key), theirs.get(key), f"{name}.{key}" if name else key)
    elif ours != theirs:
        yield name, ours, theirs
