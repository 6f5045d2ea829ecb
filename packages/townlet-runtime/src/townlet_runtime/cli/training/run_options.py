"""Options of `townlet train` that say where a run computes, and what its metrics are written to beside the log."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from townlet_runtime.cli.completion import metrics_sinks


class DeviceName(StrEnum):
    """Where learners compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


Device = Annotated[
    DeviceName | None,
    typer.Option(
        help="Where the learners compute; auto: the first of cuda, mps and cpu that is there. Worlds stay on the CPU."
        "  [default: config, else cpu]",
        show_default=False,
    ),
]
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
