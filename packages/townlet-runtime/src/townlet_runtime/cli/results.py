"""What a training run came to, as the files of its directory."""

from __future__ import annotations

import platform
from importlib.metadata import version

import numpy as np

from townlet_runtime.runs.directory import file_sha256
from townlet_runtime.runs.records import (
    CloneEpoch,
    CloneResult,
    EvaluationFile,
    FinalScores,
    HistoryPoint,
    Paired,
    Score,
)
from townlet_runtime.runs.summary import RunSummaryFile
from townlet_runtime.simulation.interface import AGENTS
from townlet_trajectory.evaluation import results
from townlet_trajectory.evaluation.comparisons import ScoreSummary
from townlet_trajectory.evaluation.results import FinalEvaluation, RunSummary
from townlet_trajectory.evaluation.scores import EpisodeScores

PACKAGES = (
    "townlet-runtime",
    "townlet-behavior",
    "townlet-trajectory",
    "townlet-training",
    "numpy",
    "onnxruntime",
    "scipy",
    "torch",
)
"""Whose versions a result may depend on."""


def evaluation_file(summary: RunSummary, final: FinalEvaluation, *, horizon: int) -> EvaluationFile:
    """Return `evaluation.json`.

    Args:
        final: of `summary`, which has one unless the run was interrupted.
        horizon: ticks of an episode.
    """
    clone = summary.clone
    clones = (
        {}
        if clone is None
        else {group: _clone(result, clone.evaluation.return_mean) for group, result in clone.results.items()}
    )
    return EvaluationFile(
        schema_version=1,
        acting=summary.acting,
        horizon=horizon,
        baselines={name: _score(final.summaries[name]) for name in final.baselines},
        clone=clones.get(AGENTS),
        history=tuple(
            HistoryPoint(
                env_steps=record.env_steps,
                agent_steps=record.agent_steps,
                stage=record.stage,
                ratio=record.ratio,
                return_mean=record.return_mean,
                return_ci=record.return_ci,
                normalized=record.normalized,
                scripted_mean=record.baselines.get("scripted"),
                nearest_mean=record.baselines.get("nearest"),
                idle_mean=record.baselines.get("idle"),
                random_mean=record.baselines.get("random"),
            )
            for record in summary.history
        ),
        final=_final(final),
        clones=clones if clones and AGENTS not in clones else None,
    )


def _score(found: ScoreSummary) -> Score:
    return Score(mean=found.mean, iqm=found.iqm, ci=found.ci)


def _clone(result: results.CloneResult, return_mean: float) -> CloneResult:
    return CloneResult(
        epochs=tuple(
            CloneEpoch(epoch=each.epoch, loss=each.loss, held_out_accuracy=each.held_out_accuracy)
            for each in result.epochs
        ),
        accuracy=result.accuracy,
        return_mean=return_mean,
    )


def _final(final: FinalEvaluation) -> FinalScores:
    judged = {"learned": final.learned, **final.baselines}
    return FinalScores(
        seeds=final.learned.seeds,
        learned=final.learned.returns,
        scripted=_returns(final.baselines.get("scripted")),
        nearest=_returns(final.baselines.get("nearest")),
        idle=_returns(final.baselines.get("idle")),
        random=_returns(final.baselines.get("random")),
        clone=_returns(final.clone),
        events={
            event: {name: float(np.mean(scores.events[event])) for name, scores in judged.items()}
            for event in final.learned.events
        },
        paired={
            name: Paired(mean=paired.mean, ci=paired.ci, normalized=final.normalized[name])
            for name, paired in final.paired.items()
        },
    )


def _returns(scores: EpisodeScores | None) -> tuple[float, ...] | None:
    return None if scores is None else scores.returns


def summary_file(
    summary: RunSummary,
    final: FinalEvaluation,
    *,
    environment: str,
    controller: str | None,
    preset: str | None,
    threads: int,
) -> RunSummaryFile:
    """Return `summary.json`.

    Args:
        final: of `summary`.
        environment: name of the worlds.
        controller: what played the script, as it was named.
    """
    learned, scripted = final.summaries["learned"], final.paired.get("scripted")
    counters = summary.counters
    digests = {group: file_sha256(policy.path) for group, policy in summary.policies.items()}
    return RunSummaryFile(
        mode=summary.mode,
        env=environment,
        preset=preset,
        seed=summary.seed,
        threads=threads,
        env_steps=counters.env_steps,
        agent_steps=counters.agent_steps,
        wall_time_s=summary.elapsed,
        env_steps_per_s=counters.env_steps / summary.elapsed if summary.elapsed > 0.0 else None,
        acting=summary.acting,
        eval_episodes=len(final.learned.seeds),
        eval_return_mean=learned.mean,
        eval_return_iqm=learned.iqm,
        eval_return_ci=learned.ci,
        scripted_return_mean=_mean(final, "scripted"),
        nearest_return_mean=_mean(final, "nearest"),
        idle_return_mean=_mean(final, "idle"),
        random_return_mean=_mean(final, "random"),
        clone_return_mean=_mean(final, "clone"),
        improvement_mean=None if scripted is None else scripted.mean,
        improvement_ci=None if scripted is None else scripted.ci,
        improvement_normalized=final.normalized.get("scripted"),
        promotion=None if summary.promotion is None else summary.promotion.decision.value,
        policy_sha256=digests.get(AGENTS),
        weights_sha256=summary.weights_sha256,
        versions=_versions(),
        policies_sha256=digests if digests and AGENTS not in digests else None,
        controller=controller,
    )


def _mean(final: FinalEvaluation, name: str) -> float | None:
    return final.summaries[name].mean if name in final.summaries else None


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
