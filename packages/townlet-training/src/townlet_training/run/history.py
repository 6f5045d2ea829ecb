"""Evaluations, gates and checkpoints of a run so far."""

from __future__ import annotations

from dataclasses import dataclass

from townlet_trajectory.evaluation.gates import GateResult
from townlet_trajectory.evaluation.results import CloneRecord, EvaluationRecord


@dataclass(kw_only=True)
class RunHistory:
    """Evaluations, gates and checkpoints of a run so far."""

    prepared: bool = False
    """Whether there is a clone (in mode `ppo`, frozen statistics) and its evaluation: until then a run that is
    interrupted begins again."""
    good: int = 0
    """World steps of the checkpoint that a failed gate goes back to."""
    best: EvaluationRecord | None = None
    """Of the evaluations after which the policy was in charge alone, the one with the highest mean return."""
    clone: CloneRecord | None = None
    evaluations: tuple[EvaluationRecord, ...] = ()
    """In the order in which they were made."""
    failure: GateResult | None = None
    """The gate that ended the run."""

    @property
    def gates(self) -> tuple[GateResult, ...]:
        """Those of the evaluations, in the order in which they were judged."""
        return tuple(record.gate for record in self.evaluations if record.gate is not None)

    @property
    def candidate(self) -> int:
        """World steps of the checkpoint that the run would end with: the best, or else the last good one."""
        return self.good if self.best is None else self.best.env_steps

    @property
    def candidate_gates(self) -> tuple[GateResult, ...]:
        """Gates that decide about the candidate: the first of the run, its own, and the one that ended the run."""
        own = [record.gate for record in self.evaluations if record.env_steps == self.candidate]
        gates = [gate for gate in (*self.gates[:1], *own, self.failure) if gate is not None]
        return tuple({gate.name: gate for gate in gates}.values())

    @property
    def protected(self) -> frozenset[int]:
        """World steps of the checkpoints that may still be needed: the last good one, the best, and the clone's."""
        clone = [] if self.clone is None else [self.clone.evaluation.env_steps]
        return frozenset([self.good, self.candidate, *clone])
