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
from townlet_runtime.cli.training.run_options import DEFAULT_PORT

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

Replay = Annotated[
    Path | None,
    typer.Option(
        metavar="RECORD",
        help="Show a record of what has happened, of any format, in place of a world that lives.",
        show_default=False,
    ),
]


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
    port: Port = DEFAULT_PORT,
    open_page: OpenPage = False,
    replay: Replay = None,
    seed: Seed = None,
    settings: Settings = None,
) -> int:
    """Carry out `townlet live`; see `LiveOptions`."""
    from townlet_runtime.cli.running.page import LiveOptions
    from townlet_runtime.cli.world_options import WorldOptions

    page = LiveOptions(host=host, port=port, opens=open_page)
    world, said = WorldOptions.of(env, controller, guardrail, group), tuple(settings or ())
    if replay is not None:
        from townlet_runtime.cli.running.replay import ReplayOptions, require_unchanged, serve_replay

        require_unchanged(world, {"--policy": policy, "--ratio": ratio, "--record": record, "--teach": teach})
        plan = ReplayOptions(record=replay, config=config, world=world, pace=ticks_per_second, seed=seed, settings=said)
        return serve_replay(plan, page, console)
    from townlet_runtime.runs.directory import require_empty, require_policy

    if policy is not None:
        require_policy(policy)
    if record is not None and ":" not in record:
        require_empty(Path(record))
    if teach is not None:
        require_empty(teach, option="--teach")
    from townlet_runtime.cli.recording import parse_target
    from townlet_runtime.cli.running.live import serve_live
    from townlet_runtime.cli.running.pictures import PIXELS
    from townlet_runtime.cli.running.setup import RunOptions

    options = RunOptions(
        config=config,
        world=world,
        policy=policy,
        ratio=ratio,
        ticks=None,
        ticks_per_second=ticks_per_second,
        record=None if record is None else parse_target(record),
        render=False,
        picture=PIXELS,
        seed=seed,
        settings=said,
        keeps=teach is not None,
    )
    return serve_live(options, page, teach, console)
