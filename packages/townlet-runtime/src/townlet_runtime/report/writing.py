"""Writes the report of a run and the pictures of runs and logs; the only way to what imports the extra `report`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from townlet_runtime.errors import REPORT_MODULES, MissingExtraError
from townlet_runtime.report.data import read_data
from townlet_runtime.report.log_curves import LogCurve
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
    path = run.path / REPORT
    write_bytes_atomic(path, report_page(run, town_picture=town_picture))
    return path


def report_page(run: FinishedRun, *, town_picture: TownPicture | None) -> bytes:
    """Return the content of the page; arguments and errors as `write_report`, but that nothing is written."""
    with _extra():
        from townlet_runtime.report.page import render_page
    # A lone surrogate in a name is no UTF-8.
    return render_page(read_data(run), town_picture=town_picture).encode(errors="backslashreplace")


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
    with _extra():
        from townlet_runtime.report.comparison import comparison_page, comparison_picture
    kind = path.suffix.removeprefix(".")
    picture = comparison_page(found).encode(errors="backslashreplace") if kind == "html" else None
    write_bytes_atomic(path, comparison_picture(found, kind=kind) if picture is None else picture)


LOG_PICTURES = (".png", ".svg")
"""Ends of the names of files that a training log is drawn to."""


def write_log_plot(curves: Sequence[LogCurve], path: Path) -> None:
    """Draw a training log to a file, whose name says the form.

    Args:
        curves: of each kind of lines.
        path: of the file, which ends in one of `LOG_PICTURES`; replaced if it is there.

    Raises:
        MissingExtraError: without matplotlib.
        ArtifactError: when the file cannot be written.
    """
    with _extra():
        from townlet_runtime.report.log_plot import log_picture
    write_bytes_atomic(path, log_picture(curves, kind=path.suffix.removeprefix(".")))


def show_log_plot(curves: Sequence[LogCurve]) -> None:
    """Show a training log in a window, until it is closed.

    Raises:
        MissingExtraError: without matplotlib.
        NoWindowError: where there is no window to open.
    """
    with _extra():
        from townlet_runtime.report.log_plot import show_log
    show_log(curves)


@contextmanager
def _extra() -> Iterator[None]:
    """Name the extra where an import within the block needs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in REPORT_MODULES:
            raise
        raise MissingExtraError.of_report(error.name) from error
