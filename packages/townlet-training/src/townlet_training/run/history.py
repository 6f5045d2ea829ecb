"""What a run remembers apart from weights and worlds: everything that its later steps depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ConfigDict, TypeAdapter

from townlet_training.config import TrainingConfig
from townlet_training.run.evaluator import JudgeMemory
from townlet_training.run.log_file import LogMark
from townlet_training.run.metrics import AnnealContext, ScriptedBaseline
from townlet_trajectory.evaluation.gates import GateResult
from townlet_trajectory.evaluation.results import CloneRecord, EvaluationRecord
from townlet_trajectory.evaluation.scores import EpisodeScores


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a run has gone so far, as far as it was judged."""

    prepared: bool = False
    """Whether there is a clone (in mode `ppo`, frozen statistics) and its evaluation: until then a run that is broken
    off begins again."""
    good: int = 0
    """World steps of the checkpoint that a failed gate goes back to."""
    best: EvaluationRecord | None = None
    """Of the evaluations after which the policy was in charge alone, the one with the highest mean return."""
    clone: CloneRecord | None = None
    clone_scores: EpisodeScores | None = None
    """Of the clone, on the episodes of selection."""
    history: tuple[EvaluationRecord, ...] = ()
    failure: GateResult | None = None
    """The gate that ended the run."""
    judge: JudgeMemory = field(default_factory=JudgeMemory)

    @property
    def gates(self) -> tuple[GateResult, ...]:
        """Those of the evaluations, in the order in which they were judged."""
        return tuple(record.gate for record in self.history if record.gate is not None)

    @property
    def candidate(self) -> int:
        """World steps of the checkpoint that the run would end with: the best, or else the last good one."""
        return self.good if self.best is None else self.best.env_steps

    @property
    def protected(self) -> frozenset[int]:
        """World steps of the checkpoints that may still be needed: the last good one, the best, and the clone's."""
        clone = [] if self.clone is None else [self.clone.evaluation.env_steps]
        return frozenset([self.good, self.candidate, *clone])


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The content of `run.json` in a checkpoint."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    config: TrainingConfig
    notes: Mapping[str, str]
    """What else must be the same when the run is taken up again, such as the name of a controller."""
    course: Course
    baselines: Mapping[str, ScriptedBaseline]
    """By agent group; empty without cloning, like `anneal`."""
    anneal: Mapping[str, AnnealContext]
    num_left_out: int
    log: LogMark
    elapsed: float
    """Seconds that the run took so far."""
    timings: Mapping[str, float]
    """Seconds by part of the run."""


RUN_RECORD = TypeAdapter(RunRecord)
