"""What a training run came to, as the files of its directory and as lines for people."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from townlet_runtime._training import EpisodeScores, FinalEvaluation, RunSummary, ScoreSummary
from townlet_runtime.cli.console import Json, duration, table
from townlet_runtime.run_files import (
    CloneEpoch,
    CloneResult,
    EvaluationFile,
    FinalScores,
    HistoryPoint,
    Paired,
    Score,
)
from townlet_runtime.rundir import file_sha256
from townlet_runtime.summary import RunSummaryFile

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
    return EvaluationFile(
        schema_version=1,
        acting=summary.acting,
        horizon=horizon,
        baselines={name: _score(final.summaries[name]) for name in final.baselines},
        clone=_clone(summary),
        history=tuple(
            HistoryPoint(
                env_steps=record.env_steps,
                agent_steps=record.agent_steps,
                stage=record.stage,
                ratio=record.ratio,
                return_mean=record.return_mean,
                return_ci=record.return_ci,
                normalized=record.normalized,
                scripted_mean=record.scripted_mean,
                nearest_mean=record.nearest_mean,
                idle_mean=record.idle_mean,
            )
            for record in summary.history
        ),
        final=_final(final),
    )


def _score(found: ScoreSummary) -> Score:
    return Score(mean=found.mean, iqm=found.iqm, ci=found.ci)


def _clone(summary: RunSummary) -> CloneResult | None:
    if summary.clone is None:
        return None
    result = summary.clone.result
    return CloneResult(
        epochs=tuple(
            CloneEpoch(epoch=each.epoch, loss=each.loss, held_out_accuracy=each.held_out_accuracy)
            for each in result.epochs
        ),
        accuracy=result.accuracy,
        return_mean=summary.clone.evaluation.return_mean,
    )


def _final(final: FinalEvaluation) -> FinalScores:
    judged = {"learned": final.learned, **final.baselines}
    return FinalScores(
        seeds=tuple(final.learned.seeds.tolist()),
        learned=tuple(final.learned.returns.tolist()),
        scripted=_returns(final.baselines.get("scripted")),
        nearest=_returns(final.baselines.get("nearest")),
        idle=_returns(final.baselines.get("idle")),
        random=_returns(final.baselines.get("random")),
        clone=_returns(final.clone),
        events={
            event: {name: float(scores.events[event].mean()) for name, scores in judged.items()}
            for event in final.learned.events
        },
        paired={
            name: Paired(mean=paired.mean, ci=paired.ci, normalized=final.normalized[name])
            for name, paired in final.paired.items()
        },
    )


def _returns(scores: EpisodeScores | None) -> tuple[float, ...] | None:
    return None if scores is None else tuple(scores.returns.tolist())


def summary_file(
    summary: RunSummary, final: FinalEvaluation, *, preset: str | None, threads: int, wall_time_s: float
) -> RunSummaryFile:
    """Return `summary.json`.

    Args:
        final: of `summary`.
        wall_time_s: of the whole run.
    """
    learned, scripted = final.summaries["learned"], final.paired.get("scripted")
    counters = summary.counters
    return RunSummaryFile(
        mode=summary.mode,
        env="town",
        preset=preset,
        seed=summary.seed,
        threads=threads,
        env_steps=counters.env_steps,
        agent_steps=counters.agent_steps,
        wall_time_s=wall_time_s,
        env_steps_per_s=counters.env_steps / wall_time_s if wall_time_s > 0.0 else None,
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
        policy_sha256=None if summary.policy is None else file_sha256(summary.policy.path),
        weights_sha256=summary.weights_sha256,
        versions=_versions(),
    )


def _mean(final: FinalEvaluation, name: str) -> float | None:
    return final.summaries[name].mean if name in final.summaries else None


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def outcome_record(record: RunSummaryFile, run_dir: Path) -> Mapping[str, Json]:
    """Return what `--json` prints: `summary.json`, and where the run is."""
    return {"run_dir": str(run_dir), **asdict(record)}


def outcome_lines(record: RunSummaryFile, evaluation: EvaluationFile, *, reason: str, report: Path) -> list[str]:
    """Return what people are told at the end.

    Args:
        reason: why the run was promoted, held or failed.
    """
    rows = [(name, f"{mean:.3f}") for name, mean in _means(record) if mean is not None]
    lines = [
        f"{record.mode}: {record.env_steps:,} env steps in {duration(record.wall_time_s)}",
        "",
        *table((f"mean return of {record.eval_episodes} episodes", ""), rows),
        "",
    ]
    for name, paired in evaluation.final.paired.items():
        low, high = paired.ci
        share = "" if paired.normalized is None else f", {paired.normalized:+.3f} normalized"
        lines.append(f"learned - {name}: {paired.mean:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}{share}")
    return [*lines, "", f"{record.promotion}: {reason}", f"report: {report}"]


def _means(record: RunSummaryFile) -> tuple[tuple[str, float | None], ...]:
    return (
        ("learned", record.eval_return_mean),
        ("scripted", record.scripted_return_mean),
        ("nearest", record.nearest_return_mean),
        ("idle", record.idle_return_mean),
        ("random", record.random_return_mean),
        ("clone", record.clone_return_mean),
    )
