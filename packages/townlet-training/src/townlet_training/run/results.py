"""What a run hands back: frozen records, from which files, tables and pictures are made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from townlet_training.config import Acting, Mode
from townlet_training.evaluation import EpisodeScores, PairedComparison, ScoreSummary
from townlet_training.gates import GateResult
from townlet_training.learning.bc import BCResult
from townlet_training.network.onnx_export import ExportedPolicy
from townlet_training.promotion import PromotionDecision
from townlet_training.run.schedule import Stage


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
    """Of `return_mean`, 0 for idling (or for acting at random, where the world has no idling) and 1 for the script;
    None without either."""
    scripted_mean: float | None
    nearest_mean: float | None
    idle_mean: float | None
    random_mean: float | None
    """None also where idling is the zero of the scores."""
    gate: GateResult | None
    """None where nothing was gated."""


@dataclass(frozen=True, kw_only=True)
class CloneRecord:
    """What cloning came to."""

    results: Mapping[str, BCResult]
    """By agent group."""
    evaluation: EvaluationRecord


@dataclass(frozen=True, kw_only=True, eq=False)
class FinalEvaluation:
    """The scores that the run is judged by: episodes that nothing was chosen on."""

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
    """Mean difference of `paired` as a share of what the script has beyond idling (or acting at random)."""


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


@dataclass(frozen=True, kw_only=True, eq=False)
class RunSummary:
    """All that is known about a run that has ended."""

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
    promotion: PromotionDecision | None
    counters: RunCounters
    elapsed: float
    """Seconds that the run took, in all the processes that it went through."""
    timings: Mapping[str, float]
    """Seconds by part of the run."""
