"""The options of commands that play episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from townlet_runtime.cli.options import whole_number
from townlet_runtime.cli.training.run_options import MAX_WORKERS

if TYPE_CHECKING:
    from townlet_runtime.cli.world_options import WorldOptions

NUM_RESAMPLES = 10_000
RESAMPLING_SEED = 0
EpisodeWorkers = Annotated[
    int,
    typer.Option(
        "--workers",
        parser=whole_number(0, MAX_WORKERS),
        metavar="N",
        help="Processes that play episodes beside this one. No result depends on their number.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """The options of `townlet evaluate`; None where one was not given."""

    run_dir: Path
    world: WorldOptions
    against: str | None
    episodes: int
    sample: bool
    matrix: Sequence[str] = ()
    """Run directories, policy files and behaviors that meet in every role; empty: a comparison."""
    output: Path | None = None
    """Of the picture of a matrix."""
    workers: int = 0
    """Processes that play beside this one."""
