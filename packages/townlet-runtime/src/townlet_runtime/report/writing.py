"""Writes the report of a run and the picture of several; the only way to what imports the extra `report`."""

from __future__ import annotations

from pathlib import Path

from townlet_runtime.errors import REPORT_MODULES, MissingExtraError
from townlet_runtime.report.data import read_data
from townlet_runtime.runs.comparison import RunsComparison
from townlet_runtime.runs.directory import REPORT
from townlet_runtime.runs.finished import FinishedRun
from townlet_runtime.town.picture import TownPicture
from townlet_trajectory.storage.files import write_bytes_atomic


def write_report(run: FinishedRun, *, town_picture: TownPicture | None) -> Path:
    """Write `report.html` of a finished run beside its files and return its path.

    Args:
        run: as `read_run` returns it.
        town_picture: a still of the run's world; None where the world is no town.

    Returns:
        The path of the page.

    Raises:
        MissingExtraError: without matplotlib and jinja2.
        ReportError: when a file of the run directory is missing, damaged or contradicts another.
        ArtifactError: when the page cannot be written.
    """
    try:
        from townlet_runtime.report.page import render_page
    except ModuleNotFoundError as error:
        if error.name not in REPORT_MODULES:
            raise
        raise MissingExtraError.of_report(error.name) from error
    path = run.path / REPORT
    page = render_page(read_data(run), town_picture=town_picture)
    # A lone surrogate in a name is no UTF-8.
    write_bytes_atomic(path, page.encode(errors="backslashreplace"))
    return path


PICTURES = (".html", ".png", ".svg")
"""Ends of the names of files that a comparison is drawn to."""


def write_comparison(found: RunsComparison, path: Path) -> None:
    """Draw a comparison of runs to a file, whose name says the form.

    Args:
        found: the comparison.
        path: of the file, which ends in one of `PICTURES`; replaced if it is there.

    Raises:
        MissingExtraError: without matplotlib and jinja2.
        ArtifactError: when the file cannot be written.
    """
    try:
        from townlet_runtime.report.comparison import comparison_page, comparison_picture
    except ModuleNotFoundError as error:
        if error.name not in REPORT_MODULES:
            raise
        raise MissingExtraError.of_report(error.name) from error
    kind = path.suffix.removeprefix(".")
    picture = comparison_page(found).encode(errors="backslashreplace") if kind == "html" else None
    write_bytes_atomic(path, comparison_picture(found, kind=kind) if picture is None else picture)
