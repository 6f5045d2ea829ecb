"""The commands and their options.

The modules of a command are imported when it runs, so that `--help` is quick; and a path that can be refused by a look
at it is refused before the rest is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from townlet_runtime.cli.checking.commands import bench, replay, soak
from townlet_runtime.cli.commands.captures import capture_app
from townlet_runtime.cli.commands.compare import compare
from townlet_runtime.cli.commands.explain import explain
from townlet_runtime.cli.commands.policy import policy_app
from townlet_runtime.cli.commands.promote import promote_app
from townlet_runtime.cli.completion import is_completing, leave_markup
from townlet_runtime.cli.configs.app import config_app
from townlet_runtime.cli.datasets.app import dataset_app
from townlet_runtime.cli.episodes.options import EpisodeWorkers, EvaluateOptions
from townlet_runtime.cli.help import DescribedGroup, RootGroup
from townlet_runtime.cli.options import (
    Against,
    ConfigArgument,
    ControllerName,
    DataPaths,
    DataRoot,
    Env,
    EnvOfRun,
    Episodes,
    EvalEvery,
    FinishedRunDir,
    GroupNames,
    GuardrailNames,
    InitFrom,
    Jobs,
    Json,
    Matrix,
    MatrixOutput,
    Mode,
    NumEnvs,
    OpponentNames,
    PartOfDataset,
    PolicyPath,
    PresetName,
    Quiet,
    Ratio,
    RecordTarget,
    Render,
    Resume,
    RunDir,
    Sample,
    Seed,
    Seeds,
    Settings,
    StreamTelemetry,
    TelemetryEvery,
    TelemetryPath,
    TelemetryTarget,
    Ticks,
    TicksPerSecond,
    TotalSteps,
    Verbose,
)
from townlet_runtime.cli.reports.app import report_app
from townlet_runtime.cli.reports.watch import watch
from townlet_runtime.cli.running.live_options import HELP as LIVE_HELP
from townlet_runtime.cli.running.live_options import live
from townlet_runtime.cli.running.play_options import HELP as PLAY_HELP
from townlet_runtime.cli.running.play_options import play
from townlet_runtime.cli.running.serve_options import HELP as SERVE_HELP
from townlet_runtime.cli.running.serve_options import serve
from townlet_runtime.cli.start import refuse_directory, start, with_console
from townlet_runtime.cli.threads import asked_threads, limit_threads
from townlet_runtime.cli.training.distilling import HELP as DISTILL_HELP
from townlet_runtime.cli.training.distilling import distill
from townlet_runtime.cli.training.run_options import RunOptions, Threads, with_run_options
from townlet_runtime.cli.training.schedule_options import PanelledCommand, ScheduleOptions, with_schedule_options
from townlet_runtime.cli.typed import OF_ALL_RUNS, typed_options

app = typer.Typer(
    name="townlet",
    cls=RootGroup,
    help="Agents that begin as scripts and end up with a better, learned policy.",
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)

app.add_typer(capture_app, name="capture", cls=DescribedGroup)
app.add_typer(config_app, name="config", cls=DescribedGroup)
app.add_typer(dataset_app, name="dataset", cls=DescribedGroup)
app.add_typer(policy_app, name="policy", cls=DescribedGroup)
app.add_typer(promote_app, name="promote", cls=DescribedGroup)
app.add_typer(report_app, name="report", cls=DescribedGroup)

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console

# Typer does not export the base of its usage errors; it is click's, or Typer's own copy of it, by version.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"townlet {version('townlet-runtime')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command(
    cls=PanelledCommand,
    help="Train a policy and write a run directory with a report.\n\n"
    "Exit code 1 when a gate failed or the policy is worse than the script; of several runs, the highest.",
)
@with_schedule_options("schedule")
@with_run_options("run_options")
def train(
    context: typer.Context,
    schedule: ScheduleOptions,
    run_options: RunOptions,
    config: ConfigArgument = None,
    env: Env = None,
    controller: ControllerName = None,
    guardrail: GuardrailNames = None,
    group: GroupNames = None,
    opponent: OpponentNames = None,
    mode: Mode = None,
    total_steps: TotalSteps = None,
    num_envs: NumEnvs = None,
    seed: Seed = None,
    seeds: Seeds = None,
    jobs: Jobs = None,
    run_dir: RunDir = None,
    resume: Resume = None,
    init_from: InitFrom = None,
    eval_every: EvalEvery = None,
    threads: Threads = None,
    preset: PresetName = None,
    data: DataPaths = None,
    data_root: DataRoot = None,
    settings: Settings = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Carry out `townlet train`; see `TrainOptions`."""
    limit_threads()

    def command(console: Console) -> int:
        refuse_directory(run_dir, None if seeds is not None else resume)
        from townlet_runtime.cli.commands.train_many import train_one_or_many
        from townlet_runtime.cli.training.plan import DataOptions, TrainOptions, WorldOptions
        from townlet_trajectory.storage.urls import named_place

        options = TrainOptions(
            config=config,
            world=WorldOptions.of(env, controller, guardrail, group),
            mode=None if mode is None else mode.value,
            total_steps=total_steps,
            num_envs=num_envs,
            seed=seed,
            run_dir=run_dir,
            resume=resume,
            init_from=init_from,
            eval_every=eval_every,
            threads=asked_threads(threads, resume),
            preset=preset,
            data=DataOptions(paths=tuple(map(named_place, data or ())), root=data_root),
            settings=tuple(settings or ()),
            opponents=tuple(opponent or ()),
            run=run_options,
            schedule=schedule,
        )
        return train_one_or_many(options, seeds, jobs, typed_options(context, OF_ALL_RUNS), console)

    return start(command, json=json, verbose=verbose, quiet=quiet)


app.command(cls=PanelledCommand, help=DISTILL_HELP)(distill)


@app.command(
    cls=PanelledCommand,
    help="Run a world: by the script, a policy, or both.\n\nWhere there is neither, actions are drawn at random. Exit "
    "code 1 when a tick failed.",
)
@with_console
def run(
    console: Console,
    config: ConfigArgument = None,
    env: Env = None,
    controller: ControllerName = None,
    guardrail: GuardrailNames = None,
    group: GroupNames = None,
    policy: PolicyPath = None,
    ratio: Ratio = None,
    ticks: Ticks = None,
    ticks_per_second: TicksPerSecond = None,
    record: RecordTarget = None,
    writer: PartOfDataset = None,
    telemetry_path: TelemetryPath = None,
    stream_telemetry: StreamTelemetry = False,
    telemetry: TelemetryTarget = None,
    telemetry_every: TelemetryEvery = None,
    render: Render = False,
    seed: Seed = None,
    settings: Settings = None,
) -> int:
    """Carry out `townlet run`; see `RunOptions`."""
    from townlet_runtime.runs.directory import require_empty, require_policy

    if policy is not None:
        require_policy(policy)
    if record is not None and writer is None and ":" not in record:
        require_empty(Path(record))
    from townlet_runtime.cli.recording import target_named
    from townlet_runtime.cli.running.run import run_world
    from townlet_runtime.cli.running.setup import RunOptions
    from townlet_runtime.cli.world_options import WorldOptions

    options = RunOptions(
        config=config,
        world=WorldOptions.of(env, controller, guardrail, group),
        policy=policy,
        ratio=ratio,
        ticks=ticks,
        ticks_per_second=ticks_per_second,
        record=target_named(record, writer=writer),
        render=render,
        seed=seed,
        settings=tuple(settings or ()),
        telemetry_path=telemetry_path,
        stream_telemetry=stream_telemetry,
        telemetry=telemetry,
        telemetry_every=telemetry_every,
    )
    return run_world(options, console)


app.command(cls=PanelledCommand, help=LIVE_HELP)(live)
app.command(cls=PanelledCommand, help=SERVE_HELP)(serve)
app.command(cls=PanelledCommand, help=PLAY_HELP)(play)


@app.command(cls=PanelledCommand, help="Compare a policy with another behavior, pairwise.")
@with_console
def evaluate(
    console: Console,
    run_dir: FinishedRunDir,
    against: Against = None,
    matrix: Matrix = None,
    output: MatrixOutput = None,
    env: EnvOfRun = None,
    controller: ControllerName = None,
    guardrail: GuardrailNames = None,
    group: GroupNames = None,
    episodes: Episodes = 100,
    sample: Sample = False,
    workers: EpisodeWorkers = 0,
) -> int:
    """Carry out `townlet evaluate`; see `EvaluateOptions`."""
    from townlet_runtime.runs.directory import require_finished

    require_finished(run_dir)
    from townlet_runtime.cli.commands.evaluate import evaluate_run
    from townlet_runtime.cli.commands.matrix import evaluate_matrix
    from townlet_runtime.cli.world_options import WorldOptions

    options = EvaluateOptions(
        run_dir=run_dir,
        world=WorldOptions.of(env, controller, guardrail, group),
        against=against,
        episodes=episodes,
        sample=sample,
        matrix=tuple(matrix or ()),
        output=output,
        workers=workers,
    )
    return evaluate_matrix(options, console) if matrix else evaluate_run(options, console)


app.command(
    help="Say of a recorded tick what an agent saw, who decided and why.\n\n"
    "Without --tick: all ticks of the agent, and which of them are worth a look."
)(explain)
app.command(
    help="Compare ways of training over their seeds.\n\n"
    "Runs whose settings differ in the seed alone are one group; intervals are over seeds."
)(compare)
app.command(help="Show what one replay sample holds, and whether it is sound.")(replay)
app.command(help="Measure how long a tick of a world takes, by its script.")(bench)
app.command(help="Train by turns on a record and on rollouts, and log every update.")(soak)

app.command(
    cls=PanelledCommand,
    help="Watch a log, and end with exit code 1 at the first broken limit.\n\n"
    "Limits of events apply to rollouts alone, those of an anneal to its records.",
)(watch)


@cache
def _command() -> Callable[..., object]:
    """Build every command and its options; where one process calls several, as tests do, it is done once."""
    return typer.main.get_command(app)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 1 (a gate failed), 2 (error, wrong usage), 128 + n (signal n)."""
    if is_completing():
        leave_markup()
    try:
        code = _command()(args=arguments, prog_name="townlet", standalone_mode=False)
    except _UsageError as error:
        from townlet_runtime.cli.console import print_error

        message = " ".join(error.format_message().replace("Value error, ", "").split())
        print_error(f"{message} (see --help)")
        return 2
    except typer.Abort:
        return 130
    except SystemExit as error:
        if is_completing() or not error.code:
            return int(error.code or 0)
        # Typer's own end where the reader of the help is gone; its code would say that a gate failed.
        from townlet_runtime.cli.console import BROKEN_PIPE

        return BROKEN_PIPE
    except OSError as error:
        # Of help and version; the commands themselves are guarded.
        from townlet_runtime.cli.console import drop_output, print_error

        drop_output()
        print_error(f"standard output: {error.strerror}")
        return 2
    return code if isinstance(code, int) else 0
