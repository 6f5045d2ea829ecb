"""The state of a run: one record, which a checkpoint holds beside tensors and worlds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pydantic import ConfigDict

from townlet_training.config import TrainingConfig
from townlet_training.errors import ConfigError
from townlet_training.learning.update import PPOUpdate
from townlet_training.network.spec import PolicySpec
from townlet_trajectory.evaluation.anneal_results import StageBaseline, StageResult
from townlet_trajectory.evaluation.gates import GateResult
from townlet_trajectory.evaluation.interfaces import Collected, EpisodeScores
from townlet_trajectory.evaluation.results import CloneRecord, DaggerRound, EvaluationRecord, RunCounters, Stage

if TYPE_CHECKING:
    from townlet_training.run.cloning import Clone

SCHEMA_VERSION = 4


@dataclass(frozen=True, kw_only=True)
class LogMark:
    """Length of the log when a checkpoint was taken."""

    size: int
    """Bytes."""
    sha256: str
    """Of these first bytes, hex."""


EMPTY_LOG = LogMark(size=0, sha256=hashlib.sha256(b"").hexdigest())


@dataclass(frozen=True, kw_only=True)
class EarlierTotal:
    """World steps that a run was to have before it was extended."""

    total_env_steps: int
    notes: Mapping[str, str]
    """Of the run then, those that differ from the notes now."""


@dataclass(frozen=True, kw_only=True)
class Played:
    """Episodes that somebody has played in a run, and the time that they took."""

    episodes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RatioState:
    """Where an adaptive ratio stands."""

    ratio: float
    """Of the next updates of the blend."""
    num_comparisons: int = 0
    """That were made, those that a gate took back included: none of their episodes is played again."""
    mean: float | None = None
    """Of the policy's return less the script's, in the newest comparison; None before the first."""
    low: float | None = None
    """Bound of this mean from below, with 90 %."""
    high: float | None = None
    """Likewise from above."""


@dataclass(kw_only=True)
class EvaluatorState:
    """Scores that later gates and evaluations compare with."""

    selection: dict[str, EpisodeScores] = field(default_factory=dict)
    """By behavior, on the episodes of selection: the baselines, and the clone as `clone`. A gate that lacked evidence
    may have added episodes."""
    opponents: str = ""
    """Digest of the earlier selves that they were made against."""


@dataclass(frozen=True, kw_only=True)
class ClonedScript:
    """The steps that one agent group was cloned from, the script's or recorded ones, and the clone; every line of the
    log repeats them."""

    num_trajectories: int
    num_steps: int
    reward_sum: float
    events_per_env_step: Mapping[str, float]
    accuracy: float
    """Of the clone, in the episodes that chose nothing."""
    threshold: float
    passed: bool
    """Whether the gate of the accuracy let the clone pass."""

    @classmethod
    def of(cls, clone: Clone, *, events: Mapping[str, float], threshold: float, passed: bool) -> ClonedScript:
        """Sum up the steps that an agent group was cloned from.

        Args:
            clone: of the group.
            events: of all groups together, per world step; none of recorded steps.
            threshold: of the accuracy.
            passed: whether the gate let the clone pass.

        Returns:
            Sums over the rows.
        """
        return cls(
            num_trajectories=clone.num_trajectories,
            num_steps=clone.num_steps,
            reward_sum=clone.reward_sum,
            events_per_env_step=events,
            accuracy=clone.result.accuracy,
            threshold=threshold,
            passed=passed,
        )


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
        """Those of the clone and of the evaluations, in the order in which they were judged."""
        alone = None if self.clone is None or self.clone.evaluation is not None else self.clone.gate
        return tuple(gate for gate in (alone, *(record.gate for record in self.evaluations)) if gate is not None)

    @property
    def candidate(self) -> int:
        """World steps of the checkpoint that the run would end with: the best, or else the last good one."""
        return self.good if self.best is None else self.best.env_steps

    @property
    def candidate_gates(self) -> tuple[GateResult, ...]:
        """Gates that decide about the candidate: that of the clone, its own, and the one that ended the run."""
        first = None if self.clone is None else self.clone.gate
        own = [record.gate for record in self.evaluations if record.env_steps == self.candidate]
        gates = [gate for gate in (first, *own, self.failure) if gate is not None]
        return tuple({gate.name: gate for gate in gates}.values())

    @property
    def protected(self) -> frozenset[int]:
        """World steps of the checkpoints that may still be needed: the last good one, the best, and the clone's."""
        clone = [] if self.clone is None else [self.clone.env_steps]
        return frozenset([self.good, self.candidate, *clone])


@dataclass(kw_only=True)
class ScheduleState:
    """Where a scheduled run stands."""

    stage: int = 0
    """Stages that have ended."""
    num_updates: int = 0
    """Updates that were made in the present stage."""
    num_replays: int = 0
    """Passes over the record so far."""
    num_rollouts: int = 0
    num_lines: int = 0
    """Updates of any data, each of which is a line of the log for every agent group."""
    cycle: int = 0
    """Of the worlds that the run is in."""
    has_scale: bool = False
    """Whether the unit of the values was fitted."""
    results: tuple[StageResult, ...] = ()
    baselines: Mapping[str, StageBaseline] = field(default_factory=dict)
    """Of the last stage of PPO on each dataset, by its name."""
    rollout_baseline: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Figures of the first rollout, by agent group."""


@dataclass(kw_only=True)
class TrainingState:
    """Everything that the later steps of a run depend on, apart from tensors and worlds: `state.json` of a checkpoint.

    The orchestrator changes it as the run goes on. The last five fields are filled in when it is saved.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    config: TrainingConfig
    specs: Mapping[str, PolicySpec]
    """By agent group."""
    notes: Mapping[str, str]
    """Other facts that must be the same when the run is resumed, such as the name of a controller."""

    stage: Stage
    """Of the last update, or of the preparation."""
    ratio: float = 0.0
    """Of the last collection."""
    adaptive: RatioState | None = None
    """Where the ratio follows from comparisons."""
    update_index: int = 0
    """Updates of the plan that were done."""
    num_updates: int = 0
    """Updates that were made, those that a gate took back included."""
    env_steps: int = 0
    agent_steps: int = 0
    attempt: int = 0
    """How often a failed gate went back."""
    transitions: dict[str, int] = field(default_factory=dict)
    """Rows learned from, by agent group."""
    num_left_out: int = 0
    """How often a group was left out of an update because it had decided nothing."""
    cloned: Mapping[str, ClonedScript] = field(default_factory=dict)
    """By agent group; empty without cloning."""
    history: RunHistory = field(default_factory=RunHistory)
    evaluator: EvaluatorState = field(default_factory=EvaluatorState)
    schedule: ScheduleState = field(default_factory=ScheduleState)
    """Of a scheduled run."""
    rounds: tuple[DaggerRound, ...] = ()
    """Of a run of mode `dagger`, those that were carried out."""

    log: LogMark = EMPTY_LOG
    elapsed: float = 0.0
    """Seconds that the run took so far."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds by part of the run."""
    played: Mapping[str, Played] = field(default_factory=dict)
    """Episodes and seconds by who played them."""
    weights_sha256: str = ""
    """`weights_digest` of the weights in the checkpoint."""

    def __post_init__(self) -> None:
        counts = {
            "update_index": self.update_index,
            "num_updates": self.num_updates,
            "env_steps": self.env_steps,
            "agent_steps": self.agent_steps,
            "attempt": self.attempt,
            "num_left_out": self.num_left_out,
            **{f"transitions.{group}": count for group, count in self.transitions.items()},
        }
        for name, count in counts.items():
            if count < 0:
                raise ConfigError(f"`{name}` is a count and must be at least 0, got {count!r}")
        if not self.specs or self.specs.keys() != self.transitions.keys():
            raise ConfigError(f"`transitions` must be of {sorted(self.specs)}, got {sorted(self.transitions)}")

    @property
    def counters(self) -> RunCounters:
        """Counts over the whole run."""
        return RunCounters(
            env_steps=self.env_steps,
            agent_steps=self.agent_steps,
            num_updates=self.num_updates,
            num_retries=self.attempt,
            num_left_out=self.num_left_out,
        )

    @property
    def blend_ratio(self) -> float | None:
        """Ratio of the blend that comparisons came to; None where it is planned."""
        return None if self.adaptive is None else self.adaptive.ratio

    def go_back_to(self, before: TrainingState) -> None:
        """Begin another attempt at the place in the plan, and with the ratio, of `before`.

        Steps and updates made since, and comparisons, stay counted.
        """
        self.update_index, self.ratio = before.update_index, before.ratio
        if self.adaptive is not None and before.adaptive is not None:
            self.adaptive = replace(self.adaptive, ratio=before.adaptive.ratio)
        self.attempt += 1

    def count_collection(self, collected: Collected, *, num_ticks: int, ratio: float) -> None:
        """Count the steps of a collection.

        Args:
            collected: of all agent groups.
            num_ticks: that were asked of every world.
            ratio: share of decisions that was asked for; a collection that began earlier says what it had.

        Raises:
            ConfigError: if the collector does not have the configured worlds and groups.
        """
        num_envs = self.config.num_envs
        if not 0 < collected.env_steps <= num_envs * num_ticks:
            raise ConfigError(
                f"`num_envs` is {num_envs}, but {num_ticks} ticks of the collector were {collected.env_steps} "
                "world steps"
            )
        if collected.batches.keys() != self.specs.keys():
            raise ConfigError(
                f"a collection must be of the agent groups {sorted(self.specs)}, got {sorted(collected.batches)}"
            )
        self.env_steps += collected.env_steps
        self.agent_steps += collected.agent_steps
        self.ratio = ratio if collected.ratio is None else collected.ratio

    def count_update(self, updates: Mapping[str, PPOUpdate]) -> None:
        """Count an update of the plan; `updates` are those of the groups that learned something."""
        self.update_index += 1
        self.num_updates += 1
        self.num_left_out += len(self.specs) - len(updates)
        for group, update in updates.items():
            self.transitions[group] += update.num_transitions
