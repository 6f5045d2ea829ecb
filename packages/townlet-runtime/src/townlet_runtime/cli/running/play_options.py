"""`townlet play`: its options."""

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
    whole_number,
)
from townlet_runtime.cli.start import with_console

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console

HELP = (
    "Play one agent by keys in the terminal.\n\nThe others go on by script and policy, a tick for each key. "
    "The keys are shown, and may come from a pipe."
)
MAX_TICKS = 10**9
AgentId = Annotated[
    str | None, typer.Option("--agent", metavar="ID", help="To play.  [default: the first]", show_default=False)
]
MostTicks = Annotated[
    int | None, typer.Option(parser=whole_number(1, MAX_TICKS), metavar="N", help="Most ticks.", show_default=False)
]


@with_console
def play(
    console: Console,
    config: ConfigArgument = None,
    env: Env = None,
    controller: ControllerName = None,
    guardrail: GuardrailNames = None,
    group: GroupNames = None,
    policy: PolicyPath = None,
    ratio: Ratio = None,
    agent: AgentId = None,
    ticks: MostTicks = None,
    record: RecordTarget = None,
    seed: Seed = None,
    settings: Settings = None,
) -> int:
    """Carry out `townlet play`; see `play_world`."""
    from townlet_runtime.runs.directory import require_empty, require_policy

    if policy is not None:
        require_policy(policy)
    if record is not None and ":" not in record:
        require_empty(Path(record))
    from townlet_runtime.cli.recording import parse_target
    from townlet_runtime.cli.running.pictures import TEXT
    from townlet_runtime.cli.running.play import play_world
    from townlet_runtime.cli.running.setup import RunOptions
    from townlet_runtime.cli.world_options import WorldOptions

    options = RunOptions(
        config=config,
        world=WorldOptions.of(env, controller, guardrail, group),
        policy=policy,
        ratio=ratio,
        ticks=ticks,
        ticks_per_second=None,
        record=None if record is None else parse_target(record),
        render=False,
        picture=TEXT,
        seed=seed,
        settings=tuple(settings or ()),
    )
    return play_world(options, agent, console)
