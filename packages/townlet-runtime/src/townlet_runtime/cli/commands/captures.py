"""`townlet capture`: writes what a world does, as replay samples or in another form."""

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
from townlet_runtime.cli.start import start

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console

capture_app = typer.Typer(help="Write what a world does as replay samples.", rich_markup_mode=None)

_Ticks = Annotated[
    int,
    typer.Option(
        parser=whole_number(1, MAX_COUNT), metavar="N", help="Ticks to live, where the scenario does not say."
    ),
]
_Output = Annotated[
    str,
    typer.Option(
        metavar="DIR",
        help="Directory to write to; made where missing. FORMAT:DIR or SINK:TARGET: another form, as `run --record`.",
    ),
]
_Prefix = Annotated[str, typer.Option(metavar="NAME", help="Beginning of every file name.")]
_AutoSeed = Annotated[
    bool, typer.Option("--auto-seed-agents", help="If no agent is placed: add alice, bob and a stove.")
]
_AgentId = Annotated[
    str | None, typer.Option(metavar="ID", help="Write the samples of this agent alone.", show_default=False)
]
_Compress = Annotated[bool, typer.Option("--compress", help="Of no effect: samples are always compressed.")]


@capture_app.callback()
def _group() -> None:
    # With a callback, one subcommand is still a subcommand.
    pass


@capture_app.command(help="Let a world live by its script, and write a sample of each agent.")
def rollout(
    output: _Output,
    config: ConfigArgument = None,
    env: Env = None,
    controller: ControllerName = None,
    guardrail: GuardrailNames = None,
    ticks: _Ticks = 100,
    prefix: _Prefix = "rollout_sample",
    auto_seed_agents: _AutoSeed = False,
    agent_id: _AgentId = None,
    compress: _Compress = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Carry out `townlet capture rollout`; see `RolloutOptions`."""

    def command(console: Console) -> int:
        from townlet_runtime.runs.directory import require_writable

        if ":" not in output:
            require_writable(Path(output))
        from townlet_runtime.cli.commands.capture import RolloutOptions, capture_rollout
        from townlet_runtime.cli.recording import parse_target
        from townlet_runtime.cli.world_options import WorldOptions

        options = RolloutOptions(
            config=config,
            world=WorldOptions.of(env, controller, guardrail),
            ticks=ticks,
            output=parse_target(output),
            prefix=prefix,
            auto_seed_agents=auto_seed_agents,
            agent_id=agent_id,
        )
        return capture_rollout(options, console)

    return start(command, json=json, verbose=verbose, quiet=quiet)
