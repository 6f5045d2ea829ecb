"""The command `townlet capture` and its subcommands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from townlet_runtime.cli.options import Json, Quiet, Verbose

capture_app = typer.Typer(help="Write what a town does as replay samples.", rich_markup_mode=None)

_Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML config file, usually with a scenario.")]
_Ticks = Annotated[int, typer.Option(min=1, metavar="N", help="Ticks to live, where the scenario does not say.")]
_Output = Annotated[Path, typer.Option(metavar="DIR", help="Directory to write to; made where missing.")]
_Prefix = Annotated[str, typer.Option(metavar="NAME", help="Beginning of every file name.")]
_AutoSeed = Annotated[
    bool, typer.Option("--auto-seed-agents", help="Where the scenario places nobody: alice, bob and a stove.")
]
_AgentId = Annotated[
    str | None, typer.Option(metavar="ID", help="Write the samples of this agent alone.", show_default=False)
]
_Compress = Annotated[bool, typer.Option("--compress", help="Of no effect: samples are always compressed.")]


@capture_app.callback()
def _group() -> None:
    # With a callback, one subcommand is still a subcommand.
    pass


@capture_app.command()
def rollout(
    config: _Config,
    output: _Output,
    ticks: _Ticks = 100,
    prefix: _Prefix = "rollout_sample",
    auto_seed_agents: _AutoSeed = False,
    agent_id: _AgentId = None,
    compress: _Compress = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Let a town live, and write a sample of each agent."""
    from townlet_runtime.cli.console import Console
    from townlet_runtime.cli.exits import guarded

    console = Console(json=json, verbose=verbose, quiet=quiet)

    def command() -> int:
        from townlet_runtime.runs.directory import require_writable

        require_writable(output)
        from townlet_runtime.cli.capture import RolloutOptions, capture_rollout

        options = RolloutOptions(
            config=config,
            ticks=ticks,
            output=output,
            prefix=prefix,
            auto_seed_agents=auto_seed_agents,
            agent_id=agent_id,
        )
        return capture_rollout(options, console)

    return guarded(command, console)
