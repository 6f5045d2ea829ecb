"""Carries out `townlet report render`: draws the report of a finished run anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from townlet_runtime.cli.console import SUCCESS, Console, Json
from townlet_runtime.cli.views.results import picture_of
from townlet_runtime.cli.world_options import WorldOptions, require_code
from townlet_runtime.cli.worlds import Worlds, load_of_run, require_unchanged
from townlet_runtime.errors import require_report_extra
from townlet_runtime.report.writing import report_page
from townlet_runtime.runs.finished import FinishedRun, read_run, replace_report
from townlet_runtime.town.picture import TownPicture


def render_runs(run_dirs: Sequence[Path], options: WorldOptions, console: Console) -> int:
    """Draw the reports of some runs, and return the exit code.

    Args:
        run_dirs: of finished runs.
        options: code that the runs were begun with.
        console: prints where the reports are.

    Raises:
        MissingExtraError: without matplotlib and jinja2.
        CommandError: if the code that a run was begun with is not named, or its config was changed.
        RunDirectoryError, ReportError: names what a run lacks.
    """
    require_report_extra()
    console.mute_ticks()
    reports: list[Json] = []
    for run_dir in run_dirs:
        run = _read(run_dir)
        page = report_page(run, town_picture=_picture(run, options, console))
        path = replace_report(run_dir, page)
        console.line(f"report: {path}")
        reports.append({"run_dir": str(run_dir), "report": str(path)})
    if console.json:
        console.result({"reports": reports}, [])
    return SUCCESS


def _read(run_dir: Path) -> FinishedRun:
    # Before its files are compared with the manifest: a changed config is named by its key.
    require_unchanged(run_dir)
    return read_run(run_dir)


def _picture(run: FinishedRun, options: WorldOptions, console: Console) -> TownPicture | None:
    """The still of a town; None where the world is none, or was made in Python."""
    if run.config is None or run.summary.env is None:
        return None
    config, begun = load_of_run(run.path, options.overrides(), console)
    if not config.environment.is_town:
        return None
    require_code(run.path, begun, options)
    return picture_of(run, config, Worlds.of(config, options).equipment)
