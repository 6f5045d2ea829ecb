"""`townlet serve`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from townlet_runtime.cli.options import MAX_SEED, whole_number
from townlet_runtime.cli.running.live_options import Port
from townlet_runtime.cli.signatures import number
from townlet_runtime.cli.start import with_console

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console

HELP = (
    "Let a policy act over a socket, for an engine that owns its loop.\n\nServes this machine alone, at an address "
    "with a secret in it. Ctrl-C ends it."
)
MAX_AGENTS = 2**16
MAX_IDLE_S = 7 * 86_400.0
Policy = Annotated[
    Path | None,
    typer.Argument(
        metavar="POLICY",
        help="A .onnx file, a run directory, or a promotion registry (its champion; DIR:NAME: another release).",
        show_default=False,
    ),
]
Host = Annotated[
    str, typer.Option(metavar="ADDRESS", help="To listen at; another one opens the policy to the network.")
]
Greedy = Annotated[bool, typer.Option("--greedy", help="Take the most probable action; else actions are drawn.")]
ServeSeed = Annotated[int, typer.Option(parser=whole_number(0, MAX_SEED), metavar="N", help="Of the draws.")]
MaxAgents = Annotated[int, typer.Option(min=1, max=MAX_AGENTS, metavar="N", help="Of one question.")]
IdleTimeout = Annotated[
    float,
    typer.Option(
        parser=number(0.1, MAX_IDLE_S), metavar="S", help="Seconds of silence after which a connection is closed."
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Holds the secret to ask for, 32 to 128 of A-Z a-z 0-9 - _; else it is a new one.",
        show_default=False,
    ),
]
Origins = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-origin",
        metavar="ORIGIN",
        help="Of a page that may ask, as http://localhost:8000. Repeatable.",
        show_default=False,
    ),
]
Schema = Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the messages, and end.")]


@with_console
def serve(
    console: Console,
    policy: Policy = None,
    host: Host = "127.0.0.1",
    port: Port = 0,
    greedy: Greedy = False,
    seed: ServeSeed = 0,
    max_agents: MaxAgents = 1024,
    idle_timeout: IdleTimeout = 600.0,
    token_file: TokenFile = None,
    allow_origin: Origins = None,
    schema: Schema = False,
) -> int:
    """Carry out `townlet serve`; see `ServeOptions`."""
    if schema:
        from townlet_runtime.cli.running.serve import print_schema

        return print_schema()
    if policy is None:
        raise typer.BadParameter("expected POLICY, or --schema")
    from townlet_runtime.runs.directory import require_policy

    require_policy(policy)
    from townlet_runtime.cli.running.serve import ServeOptions, serve_policy

    options = ServeOptions(
        policy=policy,
        host=host,
        port=port,
        greedy=greedy,
        seed=seed,
        max_agents=max_agents,
        idle_s=idle_timeout,
        token_file=token_file,
        origins=tuple(allow_origin or ()),
    )
    return serve_policy(options, console)
