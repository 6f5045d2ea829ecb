"""Writes the report of a run; the only module of the runtime that reaches for the extra `report`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from townlet_runtime.errors import MissingExtraError
from townlet_runtime.report.data import read_run
from townlet_runtime.town.picture import TownPicture
from townlet_trajectory.storage.files import write_bytes_atomic

FILE_NAME = "report.html"
_EXTRA = ("matplotlib", "jinja2", "markupsafe")


def require_report_extra() -> None:
    """Refuse at once, without importing anything, what `write_report` would refuse at the end.

    Raises:
        MissingExtraError: without matplotlib and jinja2.
    """
    for name in _EXTRA:
        if find_spec(name) is None:
            raise _missing(name)


def write_report(run_dir: Path, *, town_picture: TownPicture | None) -> Path:
    """Write `report.html` of a finished run beside its files and return its path.

    Args:
        town_picture: a still of the run's world; None where the world is no town.

    Raises:
        MissingExtraError: without matplotlib and jinja2.
        ReportError: when a file of the run directory is missing, damaged or contradicts another.
        ArtifactError: when the page cannot be written.
    """
    # Imported here, so that pictures of a town can be made without the extra.
    try:
        from townlet_runtime.report.page import render_page
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise _missing(error.name) from error
    path = run_dir / FILE_NAME
    write_bytes_atomic(path, render_page(read_run(run_dir), town_picture=town_picture).encode())
    return path


def _missing(name: str) -> MissingExtraError:
    return MissingExtraError(f"install `townlet-runtime[report]` to write the report of a run; `{name}` is missing")
