"""TensorBoard as a sink of metrics; the one module that is there for the extra `tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from townlet_training.errors import ConfigError

FOLDER = "tensorboard"
"""Of a run directory, that the event files are in."""


class TensorBoardSink:
    """Writes event files that `tensorboard --logdir RUN` shows.

    Args:
        run_dir: of the run.
        begun_at: world steps that the run has made; what a broken run wrote of later ones is hidden.

    Raises:
        ConfigError: if the extra `tensorboard` is missing.
    """

    def __init__(self, run_dir: Path, *, begun_at: int) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ModuleNotFoundError as error:
            if error.name != "tensorboard":
                raise
            raise ConfigError(
                "metrics in TensorBoard need `tensorboard`: install 'townlet-training[tensorboard]'"
            ) from error
        purge = begun_at + 1 if begun_at else None
        self._writer = SummaryWriter(str(run_dir / FOLDER), purge_step=purge)

    def write(self, values: Mapping[str, float], *, step: int) -> None:
        """Add a point to the curve of every name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write the rest and close the file."""
        self._writer.close()
