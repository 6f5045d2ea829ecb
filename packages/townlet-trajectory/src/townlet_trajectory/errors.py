"""Every error that townlet-trajectory raises on purpose, and what raises them: calls of the system, missing extras."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType


class TrajectoryError(Exception):
    """Base of every error that townlet-trajectory raises on purpose."""


class ShapeError(TrajectoryError):
    """An array has another shape or length than its specification or its neighbours say."""


class SchemaError(TrajectoryError):
    """A column is missing, unknown, of another dtype, or two schemas that must be equal differ."""


class OrderError(TrajectoryError):
    """A recorder was called out of order."""


class ContinuityError(TrajectoryError):
    """An agent vanished, changed its identity or skipped a tick without having been ended."""


class BufferFullError(TrajectoryError):
    """A tick does not fit into `max_rows`."""


class NonFiniteError(TrajectoryError):
    """A column holds NaN or infinity.

    Attributes:
        column: name of the column.
        tick: tick of the row.
        row: row within the tick (recording) or within the array (validation).
    """

    def __init__(self, column: str, tick: int, row: int, value: float) -> None:
        super().__init__(column, tick, row, value)
        self.column = column
        self.tick = tick
        self.row = row
        self.value = value

    def __str__(self) -> str:
        return f"`{self.column}` must be finite, got {self.value} at tick {self.tick}, row {self.row}"


class RegistrationError(TrajectoryError):
    """Code that an installed package registered as an entry point cannot be used.

    Attributes:
        group: the entry point group.
        name: the entry point.
    """

    def __init__(self, group: str, name: str, problem: str) -> None:
        super().__init__(group, name, problem)
        self.group = group
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        return f"`{self.name}` of the entry point group `{self.group}`: {self.problem}"


CONTENT_ERRORS = (ShapeError, SchemaError, ContinuityError, NonFiniteError)
"""Raised where arrays do not make up a trajectory."""


class ArtifactError(TrajectoryError):
    """A file could not be written, or cannot be trusted.

    Attributes:
        path: the file or directory.
        stage: what was being done: `open`, `read`, `write`, `parse`, `verify`, ...
        reason: why it failed.
    """

    def __init__(self, path: str | Path, stage: str, reason: str) -> None:
        super().__init__(str(path), stage, reason)
        self.path = Path(path)
        self.stage = stage
        self.reason = reason

    @property
    def place(self) -> str:
        """The file or directory as text; of a URL, which `path` would shorten, all that may be shown."""
        named = str(self.args[0])
        return named if "://" in named else str(self.path)

    def __str__(self) -> str:
        return f"{self.place}: {self.stage}: {self.reason}"


def reason_of(error: OSError) -> str:
    """Return the system's message without the path, which an `ArtifactError` names itself."""
    return error.strerror or str(error)


@contextmanager
def system_errors(path: str | Path, stage: str) -> Iterator[None]:
    """Turn an `OSError` of the block into an `ArtifactError` of `path` and `stage`."""
    try:
        yield
    except OSError as error:
        raise ArtifactError(path, stage, reason_of(error)) from error


class ManifestError(ArtifactError):
    """A manifest contradicts itself or the files it lists."""


class CaptureError(ManifestError):
    """A classic capture lacks something, or its parts contradict each other."""


class MissingExtraError(TrajectoryError):
    """A module of an optional extra is not installed."""


class DatasetError(TrajectoryError):
    """A dataset cannot be made or continued as asked: an option, a selection, a position."""


class MemoryBudgetError(DatasetError):
    """A dataset cannot be read within its memory budget.

    Attributes:
        budget_bytes: what was allowed.
        needed_bytes: what the dataset needs at least.
    """

    def __init__(self, budget_bytes: int, needed_bytes: int, reason: str) -> None:
        super().__init__(budget_bytes, needed_bytes, reason)
        self.budget_bytes = budget_bytes
        self.needed_bytes = needed_bytes
        self.reason = reason

    def __str__(self) -> str:
        return f"`memory_budget_bytes` must be at least {self.needed_bytes}, got {self.budget_bytes}: {self.reason}"


class EvaluationError(TrajectoryError, ValueError):
    """Scores are no scores, two of them cannot be compared, or an interval cannot be computed."""


class PromotionError(EvaluationError):
    """A promotion is not possible in the state of the registry, or its settings are out of range."""


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, which is installed with the extra `extra` of this package. Raises `MissingExtraError` if it, or
    a module that it needs, is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"`{error.name}` is not installed: `pip install 'townlet-trajectory[{extra}]'`"
        ) from error
