"""Options of `townlet train` that say where a run computes, and what its metrics are written to beside the log."""

from __future__ import annotations

from typing import Annotated

import typer

from townlet_runtime.cli.completion import metrics_sinks

MetricsNames = Annotated[
    list[str] | None,
    typer.Option(
        "--metrics",
        metavar="NAME",
        autocompletion=metrics_sinks,
        help="Write metrics there too: tensorboard, or another registered sink. Repeatable.  [default: config]",
        show_default=False,
    ),
]
