"""`townlet train --resume`: what it refuses, and what it shows of a run that has finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.cli.console import Console
from townlet_runtime.cli.exits import SUCCESS, CommandError
from townlet_runtime.cli.outcome import outcome_lines, outcome_record
from townlet_runtime.config import Override, config_differences, load_config, parse_override
from townlet_runtime.report import write_report
from townlet_runtime.runs.directory import CONFIG, EVALUATION, PROMOTION, REPORT, SUMMARY
from townlet_runtime.runs.records import EvaluationFile, PromotionFile
from townlet_runtime.runs.summary import RunSummaryFile


def require_no_contradiction(
    path: Path, *, config: Path | None, run_dir: Path | None, settings: Sequence[str], overrides: Sequence[Override]
) -> None:
    """Refuse whatever on the command line says something else than the run in `path` was begun with.

    Raises:
        CommandError: names the option.
    """
    if config is not None:
        raise CommandError(f"{config}: --resume goes on with the config of {path}; leave CONFIG out")
    if run_dir is not None and run_dir.absolute() != path.absolute():
        raise CommandError(f"--run-dir {run_dir}: --resume goes on in {path}; leave --run-dir out")
    begun_with = load_config(path / CONFIG).config
    for override in [*map(parse_override, settings), *overrides]:
        if config_differences(load_config(path / CONFIG, [override]).config, begun_with):
            raise CommandError(f"{override.label}: {path / CONFIG} says otherwise; a run goes on as it was begun")


@dataclass(frozen=True, kw_only=True)
class FinishedFiles:
    """What a run that has finished says of itself."""

    path: Path
    summary: RunSummaryFile
    evaluation: EvaluationFile
    promotion: PromotionFile | None


def finished_run(path: Path) -> FinishedFiles | None:
    """Read what the run in `path` came to; None where it has not finished.

    Raises:
        ReportError: if a file of it is damaged.
    """
    if not (path / SUMMARY).exists():
        return None
    promotion = path / PROMOTION
    return FinishedFiles(
        path=path,
        summary=RunSummaryFile.read(path / SUMMARY),
        evaluation=EvaluationFile.read(path / EVALUATION),
        promotion=PromotionFile.read(promotion) if promotion.exists() else None,
    )


def show_finished(run: FinishedFiles, console: Console) -> int:
    """Say that there is nothing to go on with, show what the run came to, and return the exit code.

    A report that is missing, because the run was killed while it was drawn, is drawn now.
    """
    report = run.path / REPORT
    if not report.exists():
        # Acts with the policy; nothing else here needs what that imports.
        from townlet_runtime.cli.still import picture_of

        config = load_config(run.path / CONFIG).config
        write_report(run.path, town_picture=picture_of(run.path, config, seed=run.summary.seed))
    console.note(f"{run.path}: this run has finished; there is nothing to go on with")
    reason = None if run.promotion is None else run.promotion.reason
    console.result(
        outcome_record(run.summary, run.path), outcome_lines(run.summary, run.evaluation, reason=reason, report=report)
    )
    return SUCCESS
