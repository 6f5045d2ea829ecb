"""`townlet live --teach`: where lessons are learned, and by which process."""

from __future__ import annotations

import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from townlet_runtime.config.dump import noted
from townlet_runtime.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from townlet_runtime.cli.running.setup import PreparedWorld
    from townlet_runtime.live.teaching.teacher import School

_PROCESS = "townlet_runtime.cli.teaching.process"
_NEEDED = ("townlet_training", "torch", "matplotlib", "jinja2")


def require_training() -> None:
    """Refuse to teach where the process of a lesson could not train; nothing of it is imported here.

    Raises:
        MissingExtraError: names what is not installed.
    """
    for name in _NEEDED:
        if find_spec(name) is None:
            raise MissingExtraError(f"`--teach` needs `{name}`: install 'townlet-runtime[training]'")


def school_of(world: PreparedWorld, folder: Path, policy: Path | None) -> School:
    """Say where and how the lessons of a watched world are learned.

    Args:
        world: the world.
        folder: of the lessons.
        policy: that acts at first; None: there is none.

    Raises:
        ConfigError: if there are several groups of agents.
    """
    from townlet_runtime.live.teaching.teacher import School

    groups = tuple(world.simulation.specs)
    if len(groups) > 1:
        raise ConfigError(f"expected a world with one group of agents, got {', '.join(groups)}", file="--teach")
    folder.mkdir(parents=True, exist_ok=True)
    return School(
        folder=folder,
        command=(sys.executable, "-P", "-m", _PROCESS),
        order={"config": noted(world.config), "options": asdict(world.worlds.options)},
        group=groups[0],
        policy=None if policy is None else str(policy),
    )
