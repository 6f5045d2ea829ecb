"""The commands `townlet replay`, `bench` and `soak`, with their options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from townlet_runtime.cli.options import (
    MAX_COUNT,
    ConfigArgument,
    ControllerName,
    Env,
    GuardrailNames,
    Json,
    Quiet,
    Verbose,
    whole_number,
)
from townlet_runtime.cli.start import start, with_console
from townlet_runtime.cli.threads import limit_threads
from townlet_runtime.cli.training.run_options import Threads

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console

_MOST_UPDATES = 10**6


def _count(help: str, high: int = MAX_COUNT) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(parser=whole_number(1, high), metavar="N", help=help)
    return found


_Sample = Annotated[Path, typer.Argument(metavar="SAMPLE", help="Replay sample (.npz).")]
_Meta = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Description of it.  [default: the .json beside it]", show_default=False),
]
_Telemetry = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Telemetry of the run, to sum up what it tells of the sample's agent.", show_default=False
    ),
]
_Validate = Annotated[bool, typer.Option("--validate", help="Say only that the sample is sound.")]
_Ticks = Annotated[int, _count("Ticks to run.")]
_JobLoop = Annotated[
    bool,
    typer.Option("--enforce-job-loop", help="Of no effect: the town's shifts are always on, and paid by the tick."),
]
_Baseline = Annotated[
    str,
    typer.Option(
        "--baseline-dir", metavar="PATH", help="Capture, other record, or URL of shards, that even cycles learn from."
    ),
]
_OutputDir = Annotated[Path, typer.Option(metavar="DIR", help="Where ppo_soak.jsonl is written, each time anew.")]
_Cycles = Annotated[int, _count("Cycles: 0, 2, 4, ... on the record, 1, 3, 5, ... on rollouts.", _MOST_UPDATES)]
_Epochs = Annotated[int, _count("Updates of a cycle.", _MOST_UPDATES)]
_RolloutTicks = Annotated[int, _count("Ticks of a rollout in each world.", 10**9)]
_ReplayBatch = Annotated[int, _count("Trajectories of the record learned from at once.", 2**31 - 1)]
_RolloutBatch = Annotated[int, _count("Of no effect: a rollout is split as `ppo` of the config says.", 2**31 - 1)]
_Frequency = Annotated[int, _count("Write every Nth line only.")]


@with_console
def replay(
    console: Console,
    sample: _Sample,
    meta: _Meta = None,
    telemetry: _Telemetry = None,
    validate: _Validate = False,
) -> int:
    """Carry out `townlet replay`; see `ReplayOptions`."""
    from townlet_runtime.cli.checking.replay import ReplayOptions, replay_sample

    options = ReplayOptions(sample=sample, meta=meta, telemetry=telemetry, validate=validate)
    return replay_sample(options, console)


@with_console
def bench(
    console: Console,
    config: ConfigArgument = None,
    ticks: _Ticks = 2000,
    env: Env = None,
    controller: ControllerName = None,
    guardrail: GuardrailNames = None,
    enforce_job_loop: _JobLoop = False,
) -> int:
    """Carry out `townlet bench`; see `BenchOptions`."""
    from townlet_runtime.cli.checking.bench import BenchOptions, measure_ticks
    from townlet_runtime.cli.world_options import WorldOptions

    options = BenchOptions(config=config, world=WorldOptions.of(env, controller, guardrail), ticks=ticks)
    return measure_ticks(options, console)


def soak(
    baseline_dir: _Baseline,
    output_dir: _OutputDir,
    config: ConfigArgument = None,
    cycles: _Cycles = 12,
    epochs: _Epochs = 1,
    rollout_ticks: _RolloutTicks = 40,
    replay_batch_size: _ReplayBatch = 1,
    rollout_batch_size: _RolloutBatch = 2,
    log_frequency: _Frequency = 1,
    threads: Threads = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Carry out `townlet soak`; see `SoakOptions`."""
    limit_threads()

    def command(console: Console) -> int:
        from townlet_runtime.runs.directory import require_writable

        require_writable(output_dir)
        from townlet_runtime.cli.checking.soak import SoakOptions
        from townlet_runtime.cli.checking.soak import soak as carry_out
        from townlet_trajectory.storage.urls import named_place

        options = SoakOptions(
            config=config,
            baseline_dir=named_place(baseline_dir),
            output_dir=output_dir,
            cycles=cycles,
            epochs=epochs,
            rollout_ticks=rollout_ticks,
            replay_batch_size=replay_batch_size,
            log_frequency=log_frequency,
            threads=threads,
        )
        return carry_out(options, console)

    return start(command, json=json, verbose=verbose, quiet=quiet)
