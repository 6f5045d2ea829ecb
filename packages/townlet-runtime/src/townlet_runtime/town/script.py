"""The town's scripted behaviors: which actions of its vocabulary the rules of townlet-behavior mean."""

from __future__ import annotations

from typing import Literal

from townlet_behavior import ScriptedActions, ScriptedConfig, ScriptedController
from townlet_runtime.town.actions import TABLE

Way = Literal["first", "nearest", "least_busy"]


def town_script(way: Way, config: ScriptedConfig) -> ScriptedController:
    """Needs and work by rule; objects are picked the given `way`: `first` is the script, `nearest` the yardstick."""
    return ScriptedController(
        ScriptedActions(
            wait=TABLE.index("wait"),
            start=TABLE.index("start"),
            go_to_work=TABLE.index("go_to:workplace"),
            eat=TABLE.index(f"request:fridge:{way}"),
            cook=TABLE.index(f"request:stove:{way}"),
            wash=TABLE.index(f"request:shower:{way}"),
            sleep=TABLE.index(f"request:bed:{way}"),
        ),
        config,
    )
