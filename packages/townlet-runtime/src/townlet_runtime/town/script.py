"""The town's scripted behaviors: which actions of its vocabulary the rules of townlet-behavior mean."""

from __future__ import annotations

from typing import Literal

from townlet_behavior import BatchController, IdleController, ScriptedActions, ScriptedConfig, ScriptedController
from townlet_runtime.errors import SimulationError
from townlet_runtime.town.actions import TABLE
from townlet_runtime.town.schedule import ScheduledController, Schedules

Way = Literal["first", "nearest", "least_busy"]

BEHAVIORS = ("scripted", "nearest", "idle")
"""By rule with the first object of a type; by rule with the nearest one; not at all."""


def behavior_named(
    name: str, config: ScriptedConfig, *, schedules: Schedules | None
) -> BatchController | ScheduledController:
    """Return one of `BEHAVIORS`; whoever has a schedule follows it in all of them.

    Raises:
        SimulationError: if there is no such behavior.
    """
    if name == "idle":
        behavior: BatchController = IdleController(wait=TABLE.vocabulary.wait)
    elif name == "scripted":
        behavior = town_script("first", config)
    elif name == "nearest":
        behavior = town_script("nearest", config)
    else:
        raise SimulationError(f"expected a behavior of the town ({', '.join(BEHAVIORS)}), got {name!r}")
    return behavior if schedules is None else ScheduledController(behavior, schedules)


def town_script(way: Way, config: ScriptedConfig) -> ScriptedController:
    """Needs, work and company by rule; objects are picked the given `way`: `first` is the script, `nearest` the
    yardstick."""
    return ScriptedController(
        ScriptedActions(
            wait=TABLE.index("wait"),
            start=TABLE.index("start"),
            go_to_work=TABLE.index("go_to:workplace"),
            eat=TABLE.index(f"request:fridge:{way}"),
            cook=TABLE.index(f"request:stove:{way}"),
            wash=TABLE.index(f"request:shower:{way}"),
            sleep=TABLE.index(f"request:bed:{way}"),
            chat=TABLE.index("chat"),
        ),
        config,
    )
