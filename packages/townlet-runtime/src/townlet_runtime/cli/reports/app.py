"""`townlet report`: summaries, checks and pictures of logs and runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from townlet_runtime.cli.commands.compare import AgainstNames, RunDirs, compare_runs
from townlet_runtime.cli.options import (
    MAX_COUNT,
    ControllerName,
    EnvOfRun,
    GuardrailNames,
    Json,
    Quiet,
    Verbose,
    finite_number,
    whole_number,
)
from townlet_runtime.cli.start import start, with_console

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console

report_app = typer.Typer(help="Summaries, checks and pictures of logs and runs.", rich_markup_mode=None)


class Format(StrEnum):
    """Forms of a summary."""

    text = "text"
    markdown = "markdown"
    json = "json"


class TableFormat(StrEnum):
    """Forms of a summary of few numbers."""

    json = "json"
    markdown = "markdown"


_Log = Annotated[Path, typer.Argument(metavar="LOG", help="Training log: one JSON object a line.")]
_Format = Annotated[Format, typer.Option("--format", help="Form of the summary; json is the same as --json.")]


@report_app.command(help="Sum up accuracies of clones: how many, their mean and the least.")
@with_console
def bc(
    console: Console,
    metrics: Annotated[Path, typer.Argument(metavar="METRICS", help="JSON object, or list of them, with `accuracy`.")],
    form: Annotated[TableFormat, typer.Option("--format", help="Form of the summary.")] = TableFormat.json,
) -> int:
    """Carry out `townlet report bc`; see `accuracy_summary`."""
    from townlet_runtime.cli.reports.accuracy import accuracy_markdown, accuracy_summary, read_accuracies
    from townlet_trajectory.storage.json import readable_json

    summary = accuracy_summary(read_accuracies(metrics))
    as_json = readable_json({**summary}).decode().splitlines()
    console.result(summary, as_json if form is TableFormat.json else accuracy_markdown(summary))
    return 0


@report_app.command(help="Sum up the parts of the reward in telemetry.\n\nExit code 1 where a file cannot be read.")
def rewards(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Telemetry: .jsonl with an object a line, or a JSON object or list."),
    ],
    form: _Format = Format.text,
    agents: Annotated[
        list[str] | None,
        typer.Option("--agent", metavar="ID", help="List this agent alone. Repeatable.", show_default=False),
    ] = None,
    top: Annotated[
        int, typer.Option(min=1, clamp=True, metavar="N", help="Agents with the least and the greatest means.")
    ] = 5,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Carry out `townlet report rewards`; see `summarize_rewards`."""

    def command(console: Console) -> int:
        from townlet_runtime.cli.console import GATE_FAILED, one_line
        from townlet_runtime.cli.reports.records import RecordError
        from townlet_runtime.cli.reports.rewards import reward_lines, reward_markdown, summarize_rewards
        from townlet_trajectory.errors import ArtifactError

        try:
            summary = summarize_rewards(paths)
        except (ArtifactError, RecordError) as error:
            console.trace(error)
            console.error(one_line(error))
            return GATE_FAILED
        only = tuple(agents or ())
        lines = (reward_markdown if form is Format.markdown else reward_lines)(summary, only, top=top)
        console.result(summary.record(only), lines)
        return 0

    return start(command, json=json or form is Format.json, verbose=verbose, quiet=quiet)


@report_app.command(help="Sum up a training log, with its drift from a baseline.")
def summary(
    log: _Log,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON object whose numbers the last record is compared with."),
    ] = None,
    form: _Format = Format.text,
    last: Annotated[
        int | None,
        typer.Option(
            parser=whole_number(0, MAX_COUNT), metavar="N", help="The last N records alone; 0: all.", show_default=False
        ),
    ] = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Carry out `townlet report summary`; see `summarize`."""

    def command(console: Console) -> int:
        from townlet_runtime.cli.reports.records import groups_of, read_log
        from townlet_runtime.cli.reports.summary import read_baseline, summarize
        from townlet_runtime.cli.reports.summary_views import markdown_lines, text_lines

        records = read_log(log)[-last if last else 0 :]
        groups = groups_of(records)
        if len(groups) > 1:
            names = ", ".join(map(str, groups))
            console.warning(f"{log}: the lines of several agent groups ({names}) are summed up together")
        found = summarize(records, None if baseline is None else read_baseline(baseline), log)
        lines = markdown_lines(found) if form is Format.markdown else text_lines(found)
        console.result(found.record(), lines)
        return 0

    return start(command, json=json or form is Format.json, verbose=verbose, quiet=quiet)


@report_app.command(
    help="Check training logs, and how far their baselines drifted.\n\n"
    "Exit code 1 at the first log with a bad record, or with a drift over the threshold."
)
@with_console
def validate(
    console: Console,
    logs: Annotated[list[Path], typer.Argument(metavar="LOG...", help="Training logs: one JSON object a line.")],
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON object with baseline_reward_mean or other baseline numbers."),
    ] = None,
    drift_threshold: Annotated[
        float | None,
        typer.Option(parser=finite_number, metavar="X", help="Most that a baseline may differ.", show_default=False),
    ] = None,
    relative: Annotated[bool, typer.Option("--relative", help="Show drift in per cent of the baseline too.")] = False,
) -> int:
    """Carry out `townlet report validate`; see `validate_logs`."""
    from townlet_runtime.cli.reports.validation import validate_logs

    return validate_logs(logs, baseline, drift_threshold, console, relative=relative)


@report_app.command(help="Sum up records of townlet run --telemetry.")
@with_console
def telemetry(
    console: Console,
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Telemetry: one record a line.")],
) -> int:
    """Carry out `townlet report telemetry`; see `telemetry_summary`."""
    from townlet_runtime.cli.reports.health import telemetry_lines, telemetry_summary
    from townlet_runtime.cli.reports.records import read_log

    summed = telemetry_summary(read_log(log), log)
    console.result(summed, telemetry_lines(summed))
    return 0


@report_app.command(help="Draw loss and KL divergence of a training log.")
@with_console
def plot(
    console: Console,
    log: _Log,
    show: Annotated[bool, typer.Option("--show", help="Open a window.")] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Picture to write: .png or .svg.", show_default=False)
    ] = None,
) -> int:
    """Carry out `townlet report plot`; see `plot_log`."""
    from townlet_runtime.cli.reports.plotting import plot_log

    return plot_log(log, output, console, show=show)


@report_app.command(help="Draw the report of finished runs anew: RUN_DIR/report.html.")
@with_console
def render(
    console: Console,
    run_dirs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="Directories of finished runs.")],
    env: EnvOfRun = None,
    controller: ControllerName = None,
    guardrail: GuardrailNames = None,
) -> int:
    """Carry out `townlet report render`; see `render_runs`."""
    from townlet_runtime.runs.directory import require_finished

    for run_dir in run_dirs:
        require_finished(run_dir)
    from townlet_runtime.cli.reports.rendering import render_runs
    from townlet_runtime.cli.world_options import WorldOptions

    return render_runs(run_dirs, WorldOptions.of(env, controller, guardrail), console)


@report_app.command("compare", help="Draw one page that compares runs side by side.\n\nThe same as `townlet compare`.")
@with_console
def compare_page(
    console: Console,
    runs: RunDirs,
    against: AgainstNames = None,
    output: Annotated[Path, typer.Option(metavar="FILE", help="The page; or a picture: .png or .svg.")] = Path(
        "comparison.html"
    ),
) -> int:
    """Carry out `townlet report compare`; see `compare_runs`."""
    return compare_runs(runs, against or (), output, console)
