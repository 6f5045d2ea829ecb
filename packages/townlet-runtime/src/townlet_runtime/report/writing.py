"""Writes the report of a run; the only module of the runtime that reaches for the extra `report`."""

from __future__ import annotations

from pathlib import Path

from townlet_runtime.errors import MissingExtraError
from townlet_runtime.report.data import read_run
from townlet_runtime.report.picture import TownPicture
from townlet_trajectory.files import write_bytes_atomic

FILE_NAME = "report.html"
_EXTRA = {"matplotlib", "jinja2", "markupsafe"}


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
        raise MissingExtraError("install `townlet-runtime[report]` to write the report of a run") from error
    path = run_dir / FILE_NAME
    write_bytes_atomic(path, render_page(read_run(run_dir), town_picture=town_picture).encode())
    return path
