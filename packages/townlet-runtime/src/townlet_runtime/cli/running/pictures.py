"""Worlds of other libraries that draw themselves without being told to, for people who watch or play."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from townlet_runtime.cli.console import Console, one_line
from townlet_runtime.cli.world_options import WorldOptions
from townlet_runtime.cli.worlds import Worlds
from townlet_runtime.config import Config
from townlet_runtime.drawing.layers import layers_of
from townlet_runtime.errors import TownletError
from townlet_runtime.simulation.interface import GroupedSimulation
from townlet_trajectory.evaluation.interfaces import training_seeds

PIXELS, TEXT = "rgb_array", "ansi"
"""Render modes, as Gymnasium and PettingZoo name them."""
_MODE = "render_mode"
"""The setting of an environment."""


@runtime_checkable
class _Renders(Protocol):
    """Worlds of an environment."""

    @property
    def render_modes(self) -> tuple[str, ...]:
        """That it lists."""


def with_pictures(
    simulation: GroupedSimulation, worlds: Worlds, config: Config, chosen: WorldOptions, mode: str, console: Console
) -> tuple[GroupedSimulation, Worlds]:
    """Let a world draw itself, where its environment lists the mode and no setting says how it renders.

    Args:
        simulation: the world as the config says; closed where another one is returned.
        worlds: that made it.
        config: of them.
        chosen: the options that they were made by.
        mode: `PIXELS` or `TEXT`.
        console: says where an environment lists the mode and cannot draw.

    Returns:
        A world that has drawn itself once, and what made it; else both as they were given.
    """
    section = config.environment
    modes = {mode for one in layers_of(simulation) if isinstance(one, _Renders) for mode in one.render_modes}
    if _MODE in section.settings or mode not in modes:
        return simulation, worlds
    settings: Mapping[str, str | int | float | bool | None] = {**section.settings, _MODE: mode}
    asked = config.model_copy(update={"environment": section.model_copy(update={"settings": settings})})
    try:
        drawing = Worlds.of(asked, chosen)
        drawn = drawing.make(1)
        try:
            drawn.reset(seeds=training_seeds(0, 1))
            drawn.render()
        except BaseException:
            drawn.close()
            raise
    except TownletError as error:
        console.warning(f"`{worlds.environment}` cannot draw itself, so its agents are shown alone: {one_line(error)}")
        return simulation, worlds
    simulation.close()
    return drawn, drawing
