"""Comparisons of runs over their seeds: what `--against` means, the lines for people, and the JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from townlet_runtime.cli.console import CommandError, Console, Json, table
from townlet_runtime.cli.views.tables import terminal_width
from townlet_runtime.runs.comparison import Difference, RunsComparison, common_behaviors, compare_groups, unit_words
from townlet_runtime.runs.groups import find_runs, group_runs

_WIDTH = 80
_NAME_WIDTH = 26
"""Of a group's name in the table; a longer one is cut, and said in full below it."""


def compare_named(runs: Sequence[Path], against: Sequence[str]) -> RunsComparison:
    """Compare runs with each other, and with those or the behavior that `--against` names.

    Args:
        runs: run directories, or folders of them.
        against: directories of runs that differ in their seed alone, or the name of one behavior; empty: the defaults
            of `compare_groups`.

    Raises:
        CommandError: if `against` is neither one group nor a behavior that all runs were scored beside.
        RunDirectoryError: if the runs cannot be compared.
    """
    folders = [Path(each) for each in against if Path(each).is_dir()]
    others = [each for each in against if not Path(each).is_dir()]
    if len(others) > 1 or (folders and others):
        raise CommandError(f"--against {others[-1]}: expected one behavior, or directories of runs alone")
    groups, references = group_runs(find_runs(runs), find_runs(folders))
    if len(references) > 1:
        names = ", ".join(group.name for group in references)
        raise CommandError(f"--against: expected runs that differ in their seed alone, got {len(references)}: {names}")
    behavior = others[0] if others else None
    common = common_behaviors(groups)
    if behavior is not None and behavior not in common:
        there_are = ", ".join(common) or "none"
        raise CommandError(
            f"--against {behavior}: expected a directory of runs, or a behavior that every run was scored beside: "
            + there_are
        )
    return compare_groups(groups, references, behavior=behavior)


def show_comparison(found: RunsComparison, console: Console, *, picture: Path | None = None) -> None:
    """Print a comparison, as lines for people or as JSON, and what makes it weak.

    Args:
        found: the comparison.
        console: prints.
        picture: file that it was drawn to.
    """
    for warning in found.warnings:
        console.warning(warning)
    lines = comparison_lines(found)
    console.result(comparison_record(found), lines if picture is None else [*lines, f"picture: {picture}"])


def comparison_record(found: RunsComparison) -> dict[str, Json]:
    """Return the record that `--json` prints."""
    run = found.groups[0].runs[0]
    seeds = run.evaluation.final.learned.seeds
    return {
        "env": run.summary.env,
        "acting": run.evaluation.acting,
        "episodes": len(seeds),
        "first_seed": seeds[0],
        "groups": [
            {
                "name": group.name,
                "settings": dict(group.settings),
                "runs": [
                    {"run_dir": str(run.path), "seed": run.summary.seed, "score": float(score)}
                    for run, score in zip(group.runs, group.learned.means, strict=True)
                ],
                **asdict(summary),
            }
            for group, summary in zip(found.groups, found.summaries, strict=True)
        ],
        "behaviors": found.behaviors,
        "differences": [
            {"first": each.first, "second": each.second, **asdict(each.found)} for each in found.differences
        ],
        "warnings": found.warnings,
    }


def comparison_lines(found: RunsComparison) -> list[str]:
    """Return the lines for people, none wider than 80 columns; see `comparison_record`."""
    rows = [
        (_cut(group.name), str(each.num_runs), f"{each.mean:.3f}", f"{each.iqm:.3f}", _interval(each.iqm_ci, ""))
        for group, each in zip(found.groups, found.summaries, strict=True)
    ]
    rows += [(name, "", f"{mean:.3f}", "", "") for name, mean in found.behaviors.items()]
    lines = table(("mean return", "runs", "mean", "IQM", "95 % of the IQM"), rows)
    width = min(_WIDTH, terminal_width() or _WIDTH)
    lines += [""] if found.differences else []
    for each in found.differences:
        lines += textwrap.wrap(_difference(each), width, subsequent_indent="  ")
    words = (
        f"{unit_words(found)} IQM: interquartile mean over runs, with its bootstrap interval. The intervals of "
        "differences are Student's, paired by training seed, or Welch's."
    )
    lines += ["", *textwrap.wrap(words, width)]
    for group in found.groups:
        if len(found.groups) > 1 and (len(group.settings) > 1 or _cut(group.name) != group.name):
            said = ", ".join(f"{key}={value}" for key, value in group.settings.items())
            lines += textwrap.wrap(f"{_cut(group.name)}: {said or group.name}", width, subsequent_indent="  ")
    return lines


def _difference(each: Difference) -> str:
    found = each.found
    over = f"{found.num_runs[0]} seeds" if found.paired else f"{found.num_runs[0]} and {found.num_runs[1]} runs"
    interval = f"95 % interval over {over} {_interval(found.ci, '+')}" if found.ci else "a single run has no interval"
    return f"{each.first} - {each.second}: {found.mean:+.3f}, {interval}; better in {100 * found.probability:.0f} %"


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 1]}…"


def _interval(interval: tuple[float, float] | None, sign: str) -> str:
    return "-" if interval is None else f"{interval[0]:{sign}.3f} to {interval[1]:{sign}.3f}"
