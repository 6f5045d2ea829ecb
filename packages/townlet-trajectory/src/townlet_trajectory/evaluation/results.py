"""Results of a training run as frozen records: made by the trainer, written, printed and drawn by the runtime."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from townlet_trajectory.evaluation.comparisons import PairedComparison, ScoreSummary
from townlet_trajectory.evaluation.gates import GateResult
from townlet_trajectory.evaluation.interfaces import EpisodeScores
from townlet_trajectory.evaluation.promotion import PromotionDecision

Mode = Literal["anneal", "ppo", "bc", "dagger", "replay", "rollout", "mixed"]
Acting = Literal["greedy", "sampled"]
Stage = Literal["clone", "warmup", "anneal", "ppo"]

LEARNED, CLONE, SCRIPTED, RANDOM = "learned", "clone", "scripted", "random"
"""Names in every result: the policy, the clone it began as, the script it is blended with, and uniform draws."""
ZEROS = ("idle", RANDOM)
"""Behaviors that earn nothing: the first of them that was scored is the zero of the normalized scale."""


def zero_of(names: Container[str]) -> str | None:
    """Return which of `names` the normalized scale calls 0; None where none of `ZEROS` is among them."""
    return next((name for name in ZEROS if name in names), None)


@dataclass(frozen=True, kw_only=True)
class CloneEpoch:
    """One pass of behavior cloning over its labels."""

    epoch: int
    """Counted from 1."""
    loss: float
    """Mean cross-entropy over the training labels while they were learned from, nats."""
    held_out_accuracy: float
    """Share of the held-out labels that are the most likely action after this pass, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class CloneResult:
    """The clone of one agent group."""

    epochs: tuple[CloneEpoch, ...]
    best_epoch: int
    """The epoch whose weights were kept: highest held-out accuracy, among equals least held-out loss."""
    accuracy: float
    """Of the weights that were kept: the mean of `episode_accuracies`, or the share of the held-out labels where there
    are none (then it is the highest of the epochs, and so a little too high)."""
    num_labels: int
    num_held_out: int
    """Labels that chose the epoch."""
    num_forbidden: int
    """Labels, of those learned from and those that chose, that the action mask forbids."""
    episode_accuracies: tuple[float, ...] = ()
    """[E]; share of right labels in each held-out episode that chose nothing."""


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """One evaluation during the run: the policy alone, on the episodes of selection."""

    env_steps: int
    """World steps when it was made."""
    agent_steps: int
    stage: Stage
    ratio: float
    """Of the last update before it."""
    attempt: int
    """How often a failed gate had gone back before."""
    return_mean: float
    return_ci: tuple[float, float]
    """95 % bootstrap interval."""
    normalized: float | None
    """Of `return_mean`, 0 for the zero of the scores (idling, or acting at random) and 1 for the script; None without
    either."""
    baselines: Mapping[str, float]
    """Mean return of each behavior without weights, by name, on the same episodes."""
    gate: GateResult | None
    """None where nothing was gated."""


@dataclass(frozen=True, kw_only=True)
class CloneRecord:
    """The clones of a run, and their first evaluation."""

    results: Mapping[str, CloneResult]
    """By agent group; empty where a policy that the run began with takes the clone's place."""
    gate: GateResult | None
    """Of their accuracies; None where nothing was cloned."""
    evaluation: EvaluationRecord | None
    """None without a world."""

    @property
    def env_steps(self) -> int:
        """World steps of the checkpoint that holds them."""
        return 0 if self.evaluation is None else self.evaluation.env_steps


@dataclass(frozen=True, kw_only=True)
class DaggerRound:
    """One round of DAgger: states that the blend of script and policy met, labelled by the script, and a clone of all
    labels so far."""

    number: int
    """Counted from 1."""
    script_share: float
    """Share of the decisions that the script made, in [0, 1]."""
    num_states: int
    """Agent-ticks of the round."""
    num_labels: int
    """Labels of all rounds so far that were learned from, of all agent groups."""
    agreement_before: float | None
    """Share of the round's labels that the policy would have given before it learned them; None in the first round."""
    accuracy: float
    """Of the clone, on held-out labels of all rounds so far that chose nothing; the lowest of the agent groups."""
    return_mean: float
    """Of the clone alone, on the episodes of selection."""
    gained: float | None
    """`return_mean` less that of the round before; None in the first round."""
    env_steps: int
    """World steps of all rounds so far."""
    states_sha256: Mapping[str, str]
    """Of the content of the file of the round's states, by agent group; see `save_batch`."""


@dataclass(frozen=True, kw_only=True)
class FinalEvaluation:
    """The scores that the run is judged by: episodes that no choice was made on."""

    learned: EpisodeScores
    clone: EpisodeScores | None
    """None without cloning."""
    baselines: Mapping[str, EpisodeScores]
    """By name, on the same seeds."""
    summaries: Mapping[str, ScoreSummary]
    """Of `learned`, `clone` and each of the baselines, by name."""
    paired: Mapping[str, PairedComparison]
    """Learned minus each of the baselines, by name."""
    normalized: Mapping[str, float | None]
    """Mean difference of `paired` as a share of the script's gain over the zero of the scores."""

    @property
    def scores(self) -> Mapping[str, EpisodeScores]:
        """Every policy and behavior that was scored, by name: `learned`, the baselines, and `clone` if there is one."""
        clone = {} if self.clone is None else {CLONE: self.clone}
        return {LEARNED: self.learned, **self.baselines, **clone}


@dataclass(frozen=True, kw_only=True)
class ExportedPolicy:
    """A policy file that was written."""

    path: Path
    weights_sha256: str
    file_sha256: str
    """SHA-256 of the file with these 64 characters in it replaced by zeros."""


@dataclass(frozen=True, kw_only=True)
class RunCounters:
    """How much was done."""

    env_steps: int
    agent_steps: int
    num_updates: int
    """Every update made, also those that a gate took back."""
    num_retries: int
    num_left_out: int
    """How often an agent group was left out of an update, because it had decided nothing."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One training run that has ended."""

    mode: Mode
    acting: Acting
    seed: int
    interrupted: bool
    """It was asked to stop: nothing was exported, compared or promoted, and the newest checkpoint is where it stood."""
    failure: str | None
    """The gate that stopped it, in words."""
    weights_sha256: str
    """Of all networks as the run left them: those of `policies` where there are any."""
    policies: Mapping[str, ExportedPolicy]
    """By agent group; empty where nothing was exported."""
    checkpoint: Path
    """Where these weights are kept."""
    clone: CloneRecord | None
    history: tuple[EvaluationRecord, ...]
    """In the order in which they were made; the clone's is the first where there is one."""
    gates: tuple[GateResult, ...]
    """In the order in which they were judged."""
    final: FinalEvaluation | None
    """None where the run was interrupted, and without a world: a policy that was learned from data alone, and fits no
    world that was named, is judged by the accuracies of `clone`."""
    promotion: PromotionDecision | None
    """None where there is no script to replace, or no world."""
    counters: RunCounters
    elapsed: float
    """Seconds that the run took, in all the processes that it went through."""
    timings: Mapping[str, float]
    """Seconds by part of the run."""
    rounds: tuple[DaggerRound, ...] = ()
    """Of a run of mode `dagger`, in their order."""


Strategy = Literal["uncertain", "disagree", "uniform"]
"""Which states a teacher is asked about: where the student is unsure, where it differs from the script, or any."""


@dataclass(frozen=True, kw_only=True)
class DistilRound:
    """One round of a distillation: states that were met, and questions about some of them."""

    number: int
    """Counted from 1."""
    num_states: int
    """Decisions that were met in the round."""
    num_asked: int
    """Questions; the labels that were spent."""
    num_declined: int
    """Questions without a legal answer."""
    agreement_before: float | None
    """Share of the answers that the student would have given before it learned them; None in the first round."""
    tokens: int
    cost: float
    loss: float
    """Mean cross-entropy over all labels so far, in the last pass over them, nats."""
    env_steps: int
    """World steps of all rounds so far."""
    agent_steps: int
    labels_sha256: str
    """Of the file of the round's labels."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How often a student does what its teacher says, and the teacher what it said before, in held-out episodes."""

    num_states: int
    student: tuple[float, ...]
    """[E]; share of the states of each episode in which the student does what the teacher answered first."""
    repeat: tuple[float, ...]
    """[E]; share in which the teacher's second answer is its first."""
    student_mean: float
    student_ci: tuple[float, float]
    """95 % bootstrap interval of the mean over the episodes."""
    repeat_mean: float
    repeat_ci: tuple[float, float]
    student_balanced: float
    """Mean over the teacher's actions of the share of the states with this first answer in which the student agrees."""
    repeat_balanced: float

    @property
    def share(self) -> float:
        """The student's agreement as a share of the teacher's own."""
        return self.student_mean / self.repeat_mean if self.repeat_mean > 0.0 else 0.0


@dataclass(frozen=True, kw_only=True)
class DistilRecord:
    """A distillation that has ended."""

    rounds: tuple[DistilRound, ...]
    agreement: Agreement
    """Of the states of both kinds of play, an episode counting as one."""
    in_play_of: Mapping[str, Agreement]
    """By who played: `student`, and `teacher`, who plays one agent of each world."""
    num_judged: int
    """Questions of the held-out episodes, the second ones included."""
    judged_tokens: int
    judged_cost: float
    gate: GateResult

    @property
    def num_labels(self) -> int:
        """Questions of all rounds."""
        return sum(each.num_asked for each in self.rounds)

    @property
    def cost_per_1000(self) -> float:
        """Cost of 1,000 decisions of the teacher, over all questions."""
        asked = self.num_labels + self.num_judged
        cost = self.judged_cost + sum(each.cost for each in self.rounds)
        return 1000.0 * cost / asked if asked else 0.0
