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
    whole_number,
)
from townlet_runtime.cli.start import with_console

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


_Configs = Annotated[
    list[Path], typer.Argument(metavar="CONFIG", help="YAML config files, each captured to ROOT/NAME.")
]
_Root = Annotated[Path, typer.Option(metavar="ROOT", help="Folder of the captures; made where missing.")]
_AgentFilter = Annotated[
    str | None, typer.Option(metavar="ID", help="Write the samples of this agent alone.", show_default=False)
]
_Retries = Annotated[
    int,
    typer.Option(
        parser=whole_number(1, 100),
        metavar="N",
        help="Attempts at each config, with a pause between them. Tried again is what the system did not write (a full"
        " disk, a folder in use) and an environment that failed; what is wrong in a config is not.",
    ),
]
_Scenario = Annotated[
    str, typer.Option(metavar="NAME", help="Behavior that decides for every agent: idle, scripted or nearest.")
]
_ScriptedTicks = Annotated[int, typer.Option(parser=whole_number(1, MAX_COUNT), metavar="N", help="Ticks to live.")]
_Folder = Annotated[Path, typer.Option(metavar="DIR", help="Directory to write to; made where missing.")]
_Tags = Annotated[
    str,
    typer.Option(metavar="A,B", help="Words to choose samples by.  [default: the behavior's name]", show_default=False),
]


@capture_app.command(help="Let a world live by its script, and write a sample of each agent.")
@with_console
def rollout(
    console: Console,
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
) -> int:
    """Carry out `townlet capture rollout`; see `RolloutOptions`."""
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


@capture_app.command(
    help="Capture several configs.\n\nOne that cannot be captured keeps no other from it; exit code 2 then."
)
@with_console
def suite(
    console: Console,
    configs: _Configs,
    ticks: _Ticks = 100,
    output_root: _Root = Path("captures"),
    env: Env = None,
    controller: ControllerName = None,
    guardrail: GuardrailNames = None,
    auto_seed_agents: _AutoSeed = False,
    agent_filter: _AgentFilter = None,
    compress: _Compress = False,
    retries: _Retries = 1,
) -> int:
    """Carry out `townlet capture suite`; see `SuiteOptions`."""
    from townlet_runtime.runs.directory import require_writable

    require_writable(output_root)
    from townlet_runtime.cli.capturing.suite import SuiteOptions, capture_suite
    from townlet_runtime.cli.world_options import WorldOptions

    options = SuiteOptions(
        configs=configs,
        world=WorldOptions.of(env, controller, guardrail),
        ticks=ticks,
        output_root=output_root,
        auto_seed_agents=auto_seed_agents,
        agent_filter=agent_filter,
        retries=retries,
    )
    return capture_suite(options, console)


@capture_app.command(
    help="Let all agents of a town live by one behavior, and write a sample of each.\n\n"
    "If no agent is placed, alice, bob and a stove are added. There is no manifest: `townlet dataset curate` makes one."
)
@with_console
def scripted(
    console: Console,
    output: _Folder,
    config: ConfigArgument = None,
    scenario: _Scenario = "idle",
    ticks: _ScriptedTicks = 50,
    tags: _Tags = "",
) -> int:
    """Carry out `townlet capture scripted`; see `ScriptedOptions`."""
    from townlet_runtime.cli.capturing.scripted import ScriptedOptions, capture_scripted

    options = ScriptedOptions(
        config=config,
        scenario=scenario,
        ticks=ticks,
        output=output,
        tags=tuple(tag for part in tags.split(",") if (tag := part.strip())),
    )
    return capture_scripted(options, console)
