"""`townlet explain`: which recorded steps of an agent are worth a look, and one of them explained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from townlet_runtime.cli.options import MAX_COUNT, DataRoot, whole_number
from townlet_runtime.cli.start import with_console

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console

_Record = Annotated[
    str,
    typer.Argument(
        metavar="RECORD",
        help="Manifest, folder or sample of a capture, shards (or their URL), Minari, or npz.",
    ),
]
_Agent = Annotated[str, typer.Option(metavar="ID", help="Agent of the record.")]


def _number(help: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        parser=whole_number(0, MAX_COUNT), metavar="N", help=help, show_default=False
    )
    return option


_World = Annotated[int | None, _number("World that the agent lives in, where an agent of the name is in several.")]
_Episode = Annotated[int | None, _number("Episode of the world.  [default: all]")]
_Tick = Annotated[int | None, _number("Explain this tick.")]
_Around = Annotated[int | None, _number("Beside it, list so many ticks before and after.")]
_Policy = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Policy, or run directory, to ask what it would do at the tick; compared with what is recorded.",
        show_default=False,
    ),
]


@with_console
def explain(
    console: Console,
    record: _Record,
    agent: _Agent,
    world: _World = None,
    episode: _Episode = None,
    tick: _Tick = None,
    around: _Around = None,
    policy: _Policy = None,
    data_root: DataRoot = None,
) -> int:
    """Carry out `townlet explain`; see `ExplainOptions`."""
    from townlet_runtime.cli.views.explanation import ExplainOptions, explain_record
    from townlet_trajectory.storage.urls import named_place

    options = ExplainOptions(
        record=named_place(record),
        agent_id=agent,
        world=world,
        episode=episode,
        tick=tick,
        around=around,
        policy=policy,
        data_root=data_root or Path(),
    )
    return explain_record(options, console)
