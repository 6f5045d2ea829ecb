"""What a training run came to, as lines for people and as what `--json` prints; all of it from its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from townlet_runtime.cli.console import Json, duration, table
from townlet_runtime.runs.records import EvaluationFile
from townlet_runtime.runs.summary import RunSummaryFile


def outcome_record(record: RunSummaryFile, run_dir: Path) -> Mapping[str, Json]:
    """Return what `--json` prints: `summary.json`, and where the run is."""
    return {"run_dir": str(run_dir), **asdict(record)}


def outcome_lines(record: RunSummaryFile, evaluation: EvaluationFile, *, reason: str | None, report: Path) -> list[str]:
    """Return what people are told at the end.

    Args:
        reason: why the run was promoted, held or failed; None: it took no such decision.
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
    return [*lines, "", _decision(record, reason), f"report: {report}"]


def _decision(record: RunSummaryFile, reason: str | None) -> str:
    if record.promotion is not None:
        return f"{record.promotion}: {reason}"
    if reason is not None:
        return f"stopped: {reason}"
    return f"no promotion: {record.env} has no script that the policy could replace"


def _means(record: RunSummaryFile) -> tuple[tuple[str, float | None], ...]:
    return (
        ("learned", record.eval_return_mean),
        ("scripted", record.scripted_return_mean),
        ("nearest", record.nearest_return_mean),
        ("idle", record.idle_return_mean),
        ("random", record.random_return_mean),
        ("clone", record.clone_return_mean),
    )
