"""Options of `townlet train` that say where a run computes, by how many, and where it can be seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from townlet_runtime.cli.completion import metrics_sinks
from townlet_runtime.cli.options import whole_number
from townlet_runtime.cli.signatures import Command, number, option, with_options
from townlet_runtime.cli.threads import AUTO_THREADS, MAX_PROCESSES, MAX_THREADS
from townlet_runtime.workers.defaults import WORKER_TIMEOUT_S

if TYPE_CHECKING:
    from townlet_runtime.config import Override
    from townlet_trajectory.storage.json import JsonValue


DEFAULT_PORT = 8400
"""Of pages."""
MAX_WORKERS = 256


class DeviceName(StrEnum):
    """Where learners compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


def number_of_threads(text: str) -> int:
    """Parse `auto`, which is `AUTO_THREADS`, or a whole number."""
    return AUTO_THREADS if text == "auto" else whole_number(1, MAX_THREADS)(text)


Threads = Annotated[
    int | None,
    typer.Option(
        parser=number_of_threads,
        metavar="N|auto",
        help="CPU threads of the learners. auto: measured once, then kept; it alone may make two runs of one seed "
        "differ.  [default: 1; 2 for large networks]",
        show_default=False,
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        parser=whole_number(1, MAX_PROCESSES),
        metavar="N",
        help="2: a second process plays episodes of evaluations. No result depends on it.  [default: 2, if the CPUs "
        "carry it]",
        show_default=False,
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        parser=whole_number(0, MAX_WORKERS),
        metavar="N",
        help="Processes that collect, unit by unit, and play episodes; see training.unit_worlds. No result depends on "
        "their number. 0: this process collects.",
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="local|ADDRESS",
        help="Put the workers on a cluster of Ray: auto, host:port, or local for one of this machine.",
        show_default=False,
    ),
]
WorkerTimeout = Annotated[
    float,
    typer.Option(
        parser=number(1.0, 1e6),
        metavar="SECONDS",
        help="A worker that takes longer for a unit counts as hung, and is replaced.",
    ),
]
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
Record = Annotated[
    str | None,
    typer.Option(
        "--record",
        metavar="DIR",
        help="Write every row that is collected as shards, too; DIR may be a URL. Workers write their own.",
        show_default=False,
    ),
]
Live = Annotated[
    bool,
    typer.Option("--live", help="Serve a page on the run while it trains: its curves, and a world by its policy."),
]
LivePort = Annotated[
    int | None,
    typer.Option(
        parser=whole_number(0, 65535),
        metavar="P",
        help=f"Port of --live; 0: one that is free.  [default: {DEFAULT_PORT}]",
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of this module; None and empty where one was not given."""

    processes: int | None = None
    """That play episodes: this one, or this one and another; None: as many as there is work for."""
    workers: int = 0
    """That collect; 0: the process of the run does."""
    ray: str | None = None
    """Address of the cluster that the workers are on; None: they are processes of this machine."""
    worker_timeout: float = WORKER_TIMEOUT_S
    device: DeviceName | None = None
    metrics: tuple[str, ...] = ()
    record: str | None = None
    """Where what is collected is written, as it was typed; None: nowhere."""
    live: bool = False
    live_port: int | None = None

    @property
    def page_port(self) -> int | None:
        """Port of the page on the run; None: there is no page."""
        return (DEFAULT_PORT if self.live_port is None else self.live_port) if self.live else None

    def overrides(self) -> list[Override]:
        """Return the overrides of the config that these options mean."""
        from townlet_runtime.config import Override  # not for `--help`

        said: dict[str, tuple[str, JsonValue]] = {
            "device": ("--device", None if self.device is None else self.device.value),
            "metrics": ("--metrics", [*self.metrics] or None),
        }
        return [
            Override(path=("training", key), value=value, label=f"{label} {value}")
            for key, (label, value) in said.items()
            if value is not None
        ]


def with_run_options(name: str) -> Callable[[Command], Callable[..., int]]:
    """Give a command the options of `RunOptions`; it gets them as one argument called `name`."""
    added = [
        option("processes", Processes, None),
        option("workers", Workers, 0),
        option("ray", Ray, None),
        option("worker_timeout", WorkerTimeout, WORKER_TIMEOUT_S),
        option("device", Device, None),
        option("metrics", MetricsNames, None),
        option("record", Record, None),
        option("live", Live, False),
        option("live_port", LivePort, None),
    ]

    def of(values: Mapping[str, Any]) -> RunOptions:
        return RunOptions(**{**values, "metrics": tuple(values["metrics"] or ())})

    return with_options(name, added, of)
