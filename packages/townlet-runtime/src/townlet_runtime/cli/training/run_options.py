"""Options of `townlet train` that say where a run computes, and what its metrics are written to beside the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from townlet_runtime.cli.completion import metrics_sinks
from townlet_runtime.cli.signatures import Command, option, with_options

if TYPE_CHECKING:
    from townlet_runtime.config import Override
    from townlet_trajectory.storage.json import JsonValue


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


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of this module; None and empty where one was not given."""

    device: DeviceName | None = None
    metrics: tuple[str, ...] = ()

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
    added = [option("device", Device, None), option("metrics", MetricsNames, None)]
    return with_options(
        name, added, lambda values: RunOptions(device=values["device"], metrics=tuple(values["metrics"] or ()))
    )
