"""The log and the checkpoints of one run, and how the one is brought back in step with the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from townlet_training.config import PolicySpec, TrainingConfig
from townlet_training.errors import ResumeError, TrainingError
from townlet_training.run.checkpoint import Checkpoint, CheckpointStore, read_checkpoint
from townlet_training.run.conclusion import PROMOTION_NAME
from townlet_training.run.log_file import LogMark, cut_log, mark_log
from townlet_training.run.metrics import MetricsRow, MetricsWriter
from townlet_training.run.resume import require_same_run
from townlet_trajectory.storage.files import write_bytes_atomic

LOG_NAME, CHECKPOINTS_NAME = "metrics.jsonl", "checkpoints"


class Archive:
    """The files of a run. A checkpoint says how long the log was, so that the log can be cut back to it.

    Attributes:
        checkpoints: the run's.
    """

    def __init__(self, run_dir: Path, *, keep_last: int) -> None:
        """`keep_last` as of `CheckpointStore`."""
        self._run_dir = run_dir
        self._log = run_dir / LOG_NAME
        self.checkpoints = CheckpointStore(run_dir / CHECKPOINTS_NAME, keep_last=keep_last)

    def require_unused(self) -> None:
        """Raise `TrainingError` if the run directory holds (part of) a run."""
        for name in (LOG_NAME, CHECKPOINTS_NAME, PROMOTION_NAME):
            if (self._run_dir / name).exists():
                raise TrainingError(f"{self._run_dir} holds a run already (`{name}`): use a new directory")

    def begin_log(self) -> None:
        """Begin the log, empty, whatever it held."""
        write_bytes_atomic(self._log, b"")

    def newest(
        self, *, config: TrainingConfig, specs: Mapping[str, PolicySpec], notes: Mapping[str, str]
    ) -> tuple[Path, Checkpoint] | None:
        """The newest checkpoint of the run that these describe; None where it was broken off before there was one.

        Raises:
            ResumeError: if the directory holds another run, or a log without a checkpoint.
            CheckpointError: if the checkpoint is damaged.
        """
        path = self.checkpoints.newest()
        if path is None:
            if self._log.exists() and self._log.stat().st_size:
                raise ResumeError(f"{self._run_dir} holds a log without a checkpoint: it cannot be taken up")
            return None
        checkpoint = read_checkpoint(path)
        require_same_run(checkpoint, config=config, specs=specs, notes=notes, run_dir=self._run_dir)
        return path, checkpoint

    def go_back_to(self, checkpoint: Checkpoint) -> None:
        """Make log and checkpoints what they were when `checkpoint`, the newest, was written.

        Raises:
            ResumeError: if the log is damaged.
            CheckpointError: if a checkpoint is damaged that may still be needed.
        """
        protected = checkpoint.run.course.protected
        for env_steps in protected:
            self.checkpoints.load(env_steps)
        cut_log(self._log, checkpoint.run.log)
        self.checkpoints.prune(protected=protected)

    def write(self, rows: Sequence[MetricsRow]) -> None:
        """Append lines to the log."""
        writer = MetricsWriter(self._log)
        for row in rows:
            writer.write(row)

    def mark(self) -> LogMark:
        """The present end of the log."""
        return mark_log(self._log)
