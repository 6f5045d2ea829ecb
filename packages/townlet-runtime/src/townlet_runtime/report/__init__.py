"""The report of a run: one self-contained page made from the files of its directory (extra `report`)."""

from townlet_runtime.errors import require_report_extra
from townlet_runtime.report.writing import write_report
from townlet_runtime.runs.strict_json import ReportError
from townlet_runtime.town.picture import PictureAgent, PictureObject, TownPicture

__all__ = [
    "PictureAgent",
    "PictureObject",
    "ReportError",
    "TownPicture",
    "require_report_extra",
    "write_report",
]
