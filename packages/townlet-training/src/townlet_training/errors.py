"""The errors that townlet-training raises on purpose."""

from __future__ import annotations

from townlet_trajectory import ArtifactError


class TrainingError(Exception):
    """Base of every error that townlet-training raises on purpose."""


class ConfigError(TrainingError, ValueError):
    """A setting is out of range, or two settings contradict each other."""


class ShapeError(TrainingError, ValueError):
    """An array has another shape or dtype than the function or network expects."""


class ActionMaskError(TrainingError):
    """An action mask leaves an agent no legal action."""


class EmptyBatchError(TrainingError):
    """A batch holds no row that the learner could learn from."""


class StaleBatchError(TrainingError):
    """A batch was not collected by the policy that is to learn from it."""


class NonFiniteError(TrainingError):
    """A NaN or an infinity turned up; nothing was learned from it."""

    def __init__(self, stage: str, detail: str) -> None:
        """Name the `stage` at which it turned up, e.g. ``gradient``, and what it was."""
        super().__init__(f"{stage}: {detail}")
        self.stage = stage


class ResumeError(TrainingError):
    """A run cannot be taken up again: nothing of it is there, its log is damaged, or it was another run."""


class ExportError(TrainingError):
    """A policy could not be exported, or the exported file does not compute what the network computes."""


class CheckpointError(TrainingError, ArtifactError):
    """A checkpoint could not be written, found or trusted; carries path, stage and reason."""
