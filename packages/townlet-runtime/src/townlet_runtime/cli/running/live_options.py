"""`townlet live`: its options."""

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
    PolicyPath,
    Ratio,
    RecordTarget,
    Seed,
    Settings,
    TicksPerSecond,
)
from townlet_runtime.cli.start import with_console

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console

HELP = (
    "Watch a world in the browser, and take agents over by hand.\n\nServes a page at an address with a secret in it, "
    "to this machine alone. Ctrl-C ends it."
)
Host = Annotated[str, typer.Option(metavar="ADDRESS", help="To listen at; another one opens the world to the network.")]
Port = Annotated[int, typer.Option(min=0, max=65535, metavar="P", help="To listen at; 0: one that is free.")]
TeachDir = Annotated[
    Path | None,
    typer.Option(
        "--teach",
        metavar="DIR",
        help="Learn from what people show: new or empty folder of lessons and releases. Needs the extra `training`.",
        show_default=False,
    ),
]
OpenPage = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]


@with_console
def live(
    console: Console,
    config: ConfigArgument = None,
    env: Env = None,
    controller: ControllerName = None,
    guardrail: GuardrailNames = None,
    group: GroupNames = None,
    policy: PolicyPath = None,
    ratio: Ratio = None,
    ticks_per_second: TicksPerSecond = None,
    record: RecordTarget = None,
    teach: TeachDir = None,
    host: Host = "127.0.0.1",
    port: Port = 8400,
    open_page: OpenPage = False,
    seed: Seed = None,
    settings: Settings = None,
) -> int:
    """Carry out `townlet live`; see `LiveOptions`."""
    from townlet_runtime.runs.directory import require_empty, require_policy

    if policy is not None:
        require_policy(policy)
    if record is not None and ":" not in record:
        require_empty(Path(record))
    if teach is not None:
        require_empty(teach, option="--teach")
    from townlet_runtime.cli.recording import parse_target
    from townlet_runtime.cli.running.live import LiveOptions, serve_live
    from townlet_runtime.cli.running.setup import RunOptions
    from townlet_runtime.cli.world_options import WorldOptions

    options = RunOptions(
        config=config,
        world=WorldOptions.of(env, controller, guardrail, group),
        policy=policy,
        ratio=ratio,
        ticks=None,
        ticks_per_second=ticks_per_second,
        record=None if record is None else parse_target(record),
        render=False,
        seed=seed,
        settings=tuple(settings or ()),
        keeps=teach is not None,
    )
    return serve_live(options, LiveOptions(host=host, port=port, opens=open_page, teach=teach), console)
