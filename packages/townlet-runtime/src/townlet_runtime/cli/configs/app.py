"""`townlet config`: begins, shows and checks config files, and explains them to editors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from townlet_runtime.cli.options import (
    ConfigArgument,
    ControllerName,
    Env,
    GroupNames,
    GuardrailNames,
    PresetName,
    Settings,
)
from townlet_runtime.cli.start import with_console

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console

config_app = typer.Typer(help="Begin, show and check config files.", rich_markup_mode=None)

_File = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="File to write.  [default: standard output]", show_default=False),
]
_World = Annotated[
    str, typer.Option("--env", metavar="NAME", help="World of the config: keys without effect there are left out.")
]
_Force = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]
_Changed = Annotated[bool, typer.Option("--changed", help="Show only what differs from a file that says nothing.")]
_Configs = Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="YAML config files.")]


@config_app.command(
    help="Write a config with every key: its meaning, range and default.\n\n"
    "Every key is commented out, so that it says nothing until you change it."
)
@with_console
def init(
    console: Console,
    file: _File = None,
    env: _World = "town",
    preset: PresetName = None,
    force: _Force = False,
) -> int:
    """Carry out `townlet config init`; see `annotated_config`."""
    from townlet_runtime.cli.configs.writing import write_config

    write_config(file, world=env, preset=preset, force=force, console=console)
    return 0


@config_app.command(help="Show every value that a config comes to, and where it comes from.")
@with_console
def show(
    console: Console,
    config: ConfigArgument = None,
    env: Env = None,
    controller: ControllerName = None,
    guardrail: GuardrailNames = None,
    group: GroupNames = None,
    preset: PresetName = None,
    settings: Settings = None,
    changed: _Changed = False,
) -> int:
    """Carry out `townlet config show`; see `values_of`."""
    from townlet_runtime.cli.configs.showing import show_config
    from townlet_runtime.cli.world_options import WorldOptions
    from townlet_runtime.cli.worlds import option
    from townlet_runtime.config import parse_override

    overrides = [
        *map(parse_override, settings or ()),
        *WorldOptions.of(env, controller, guardrail, group).overrides(),
        *option("preset", preset, "--preset"),
    ]
    show_config(config, overrides, changed=changed, console=console)
    return 0


@config_app.command(
    help="Print the JSON Schema of config files, for editors.\n\n"
    "An editor with a YAML language server completes and checks keys with it."
)
@with_console
def schema(
    console: Console,
    file: _File = None,
    force: _Force = False,
) -> int:
    """Carry out `townlet config schema`; see `file_schema`."""
    from townlet_runtime.cli.configs.writing import write_schema

    write_schema(file, force=force, console=console)
    return 0


@config_app.command(
    help="Name everything that is wrong with config files, with its line.\n\n"
    "Keys that nothing acts on are warnings. Exit code 2 when anything is wrong."
)
@with_console
def check(
    console: Console,
    configs: _Configs,
) -> int:
    """Carry out `townlet config check`; see `config_problems`."""
    from townlet_runtime.cli.configs.checking import check_configs

    return check_configs(configs, console)
