"""The commands `townlet promote evaluate`, `drill` and `rehearse`, with their options."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from townlet_runtime.cli.options import Json, Quiet, Verbose
from townlet_runtime.cli.start import start, with_console
from townlet_runtime.cli.threads import limit_threads
from townlet_runtime.cli.training.run_options import Threads

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console

EVALUATE = (
    "Decide by the stages of an anneal: anneal_results.json, or a summary.\n\n"
    "Whether a stage passed, and the status, follow from the numbers of the stages; what the file claims is not "
    "believed. Exit code: PROMOTE 0, HOLD 1, FAIL 2; an error 2."
)
DRILL = (
    "Practise a promotion and a rollback on a registry that is thrown away.\n\n"
    "The registry is a real one; the releases and their scores are made up, and nothing is played."
)
REHEARSE = (
    "Train by a schedule on one data set, and decide what it comes to.\n\n"
    "The data set is cloned and replayed. A config without `training.anneal_schedule` gets one of three stages: the "
    "clone, two updates, one update."
)


class _Format(StrEnum):
    human = "human"
    json = "json"


_Input = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Stages: the list of anneal_results.json, or an object with `results` and as wanted `promotion`."
        "  [default: standard input]",
        show_default=False,
    ),
]
_Summary = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The same: what `promote rehearse` writes.", show_default=False)
]
_FormatOption = Annotated[_Format, typer.Option("--format", help="What is printed.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Exit code 0 whatever the decision is.")]
_DrillConfig = Annotated[
    Path, typer.Option(metavar="FILE", help="Config whose `promotion` and `config_id` the registry gets.")
]
_DrillOutput = Annotated[Path, typer.Option(metavar="DIR", help="Where promotion_drill_summary.json is written.")]
_Checkpoint = Annotated[
    Path, typer.Option(metavar="NAME", help="Name of the checkpoint that is promoted; no such file is opened.")
]
_Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Config.  [default: that of the built-in town]", show_default=False),
]
_Manifest = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Data set that is cloned and replayed, or the URL of shards.  [default: training.bc.manifest of the "
        "config; one must be named]",
        show_default=False,
    ),
]
_LogDir = Annotated[Path, typer.Option(metavar="DIR", help="Where anneal_results.json is written, and the run.")]
_SummaryPath = Annotated[Path, typer.Option("--summary", metavar="FILE", help="Where the summary is written.")]
_RunDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="New or empty directory of the run.  [default: LOG_DIR/YYYYMMDD-HHMMSS-anneal-SEED]",
        show_default=False,
    ),
]
_ExitOnFailure = Annotated[bool, typer.Option("--exit-on-failure", help="Exit code 1 unless the status is PASS.")]


@with_console
def evaluate(
    console: Console,
    input: _Input = None,
    summary: _Summary = None,
    format: _FormatOption = _Format.json,
    dry_run: _DryRun = False,
) -> int:
    """Carry out `townlet promote evaluate`; see `EvaluationOptions`."""
    from townlet_runtime.cli.promoting.evaluation import EvaluationOptions, evaluate_stages

    options = EvaluationOptions(input=input, summary=summary, as_json=format is _Format.json, dry_run=dry_run)
    return evaluate_stages(options, console)


@with_console
def drill(
    console: Console,
    config: _DrillConfig,
    output: _DrillOutput = Path("artifacts/m7/drill"),
    checkpoint: _Checkpoint = Path("promotion_drill_checkpoint.pt"),
) -> int:
    """Carry out `townlet promote drill`; see `DrillOptions`."""
    from townlet_runtime.cli.promoting.drill import DrillOptions, run_drill

    return run_drill(DrillOptions(config=config, output=output, checkpoint=checkpoint), console)


def rehearse(
    config: _Config = None,
    manifest: _Manifest = None,
    log_dir: _LogDir = Path("artifacts/m5/acceptance/logs"),
    summary: _SummaryPath = Path("artifacts/m5/acceptance/summary_idle_v1.json"),
    run_dir: _RunDir = None,
    exit_on_failure: _ExitOnFailure = False,
    threads: Threads = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Carry out `townlet promote rehearse`; see `RehearsalOptions`."""
    limit_threads()

    def command(console: Console) -> int:
        from townlet_runtime.cli.promoting.rehearsal import RehearsalOptions
        from townlet_runtime.cli.promoting.rehearsal import rehearse as carry_out
        from townlet_trajectory.storage.urls import named_place

        options = RehearsalOptions(
            config=config,
            manifest=None if manifest is None else named_place(manifest),
            log_dir=log_dir,
            summary=summary,
            run_dir=run_dir,
            exit_on_failure=exit_on_failure,
            threads=threads,
        )
        return carry_out(options, console)

    return start(command, json=json, verbose=verbose, quiet=quiet)
