"""The errors that townlet-training raises on purpose."""

from __future__ import annotations

from townlet_trajectory import ArtifactError


class TrainingError(Exception):
    """Base of every error that townlet-training raises on purpose."""


class ConfigError(TrainingError, ValueError):
    """A setting is out of range, or two settings contradict each other."""


class ShapeError(TrainingError, ValueError):
    """An array has another shape, dtype or range of indices than the function or network expects."""


class ActionMaskError(TrainingError):
    """An action mask leaves an agent no legal action."""


class EmptyBatchError(TrainingError):
    """A batch holds no row that the learner could learn from."""


class StaleBatchError(TrainingError):
    """A batch was not collected by the policy that is to learn from it."""


class NonFiniteError(TrainingError):
    """A number that is not finite came up; nothing was learned from it."""

    def __init__(self, stage: str, detail: str, *, where: str = "") -> None:
        """Build the message.

        Args:
            stage: where in the computation it came up, such as ``gradient``.
            detail: the number, and the inputs that led to it.
            where: the update and the agent group, where they are known.
        """
        super().__init__(f"{where}: {stage}: {detail}" if where else f"{stage}: {detail}")
        self.stage = stage
        self.detail = detail

    def within(self, where: str) -> NonFiniteError:
        """The same error, said to have come up in `where`, such as ``update 12 of stage ppo, agent group `cat` ``."""
        return NonFiniteError(self.stage, self.detail, where=where)


class RankError(TrainingError):
    """A process that learns together with this one has ended, failed, or does not answer."""


class ResumeError(TrainingError):
    """A run cannot be resumed: its log is damaged, its worlds cannot be saved, or it is another run."""


class ExportError(TrainingError):
    """A policy could not be exported, or the exported file does not compute what the network computes."""


class CheckpointError(TrainingError, ArtifactError):
    """A checkpoint could not be written, found or trusted; carries path, stage and reason."""
