"""`townlet dataset describe` and `outliers`: what is in recorded data, and what in it is worth a look."""

from __future__ import annotations

from pathlib import Path

from townlet_runtime.cli.console import SUCCESS, Console
from townlet_runtime.runs.recorded import warnings_to
from townlet_trajectory.audit.describe import describe_dataset, short, text_of
from townlet_trajectory.audit.outliers import LIMIT, NamedOutlier, OutlierReport, Reason, find_outliers
from townlet_trajectory.storage.urls import Place


def describe_named(dataset: Place, data_root: Path, console: Console) -> int:
    """Show what is in a dataset; return the exit code.

    Args:
        dataset: a path or URL of any format.
        data_root: where samples that are not below a manifest are looked for.
        console: to print with.
    """
    with warnings_to(console.warning):
        description = describe_dataset(dataset, data_root=data_root)
    console.result(description.document(), text_of(description).splitlines())
    return SUCCESS


def show_outliers(dataset: Place, top: int, data_root: Path, console: Console) -> int:
    """Show the trajectories that differ most; return the exit code.

    Args:
        dataset: a path or URL of any format.
        top: how many are shown.
        data_root: where samples that are not below a manifest are looked for.
        console: to print with.
    """
    with warnings_to(console.warning):
        report = find_outliers(dataset, top=top, data_root=data_root)
    console.result(report.document(), outlier_lines(report))
    return SUCCESS


def outlier_lines(report: OutlierReport) -> list[str]:
    """Return the report for people: a line for each trajectory, and below it one for each reason."""
    count, figures = f"{report.num_trajectories:,} trajectories", f"{len(report.figures)} figures"
    if not report.outliers:
        return [f"{report.name}: {count}, equal in {figures}"]
    lines = [
        f"{report.name}: {count}, compared in {figures}",
        f"beyond {LIMIT} deviations (scaled median absolute ones) in one of them: {report.num_beyond:,}",
    ]
    for number, one in enumerate(report.outliers, start=1):
        lines.append(f"{number:>4}  {_name(one)}")
        lines += [f"      {_reason(reason)}" for reason in one.outlier.reasons]
    return lines


def _name(one: NamedOutlier) -> str:
    steps = "1 step" if one.length == 1 else f"{one.length:,} steps"
    return f"{one.agent_id} (world {one.world}, episode {one.episode}, from tick {one.first_tick}, {steps})"


def _reason(reason: Reason) -> str:
    side = "above" if reason.deviations > 0.0 else "below"
    return (
        f"{reason.figure} {short(reason.value)}: {short(abs(reason.deviations))} deviations {side} the median, "
        f"{short(reason.median)}"
    )
