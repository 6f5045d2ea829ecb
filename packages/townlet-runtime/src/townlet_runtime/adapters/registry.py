"""Other people's environments by name: `gymnasium:CartPole-v1`, `pettingzoo:mpe2.simple_spread_v3`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from townlet_runtime.adapters.controllers import (
    ControllerFactory,
    ObservationController,
    load_controller,
    registered_controller,
)
from townlet_runtime.errors import ConfigError
from townlet_runtime.simulation.interface import GroupedSimulation, OneGroup

__all__ = [
    "ControllerFactory",
    "Environment",
    "ObservationController",
    "Setting",
    "Vectorization",
    "load_controller",
    "registered_controller",
]

Setting = str | int | float | bool | None
"""A keyword argument of an environment."""

Vectorization = Literal["auto", "sync", "native"]
"""How parallel worlds of a Gymnasium environment are stepped: one by one (`sync`), by the environment's own vector form
(`native`), or natively where there is such a form (`auto`)."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Builds parallel worlds of an environment that was made for Gymnasium or PettingZoo.

    Every episode of a world begins with an explicit seed: the first with the world's own, later ones with seeds hashed
    from that and the episode's number. Worlds that are stepped natively share one seed, hashed from all of theirs.

    Raises:
        ConfigError: if the name is of no known form, or a field is out of range.
    """

    name: str
    """`gymnasium:ID`, an id of Gymnasium's registry without a module part; or `pettingzoo:NAME`, a name registered in
    the entry point group `townlet.simulations`, or a module of PettingZoo or MPE2 that has a `parallel_env`."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Keyword arguments of the environment."""
    vectorization: Vectorization = "auto"
    """Of no effect with PettingZoo."""
    max_episode_ticks: int | None = None
    """Longer episodes are truncated. None: the environment's own bound, 1000 where it names none."""
    controller: ControllerFactory | None = None
    """Makes the behavior `scripted`, once for each group; None: there is no such behavior."""

    def __post_init__(self) -> None:
        family, _, name = self.name.partition(":")
        if family not in ("gymnasium", "pettingzoo") or not name:
            raise ConfigError(
                f"expected `gymnasium:ID` or `pettingzoo:NAME`, got {self.name!r}", key="environment.name"
            )
        if self.vectorization not in get_args(Vectorization):
            raise ConfigError(
                f"expected one of {get_args(Vectorization)}, got {self.vectorization!r}",
                key="environment.vectorization",
            )
        if self.max_episode_ticks is not None and self.max_episode_ticks < 1:
            raise ConfigError(f"expected at least 1, got {self.max_episode_ticks}", key="environment.max_episode_ticks")

    def __call__(self, num_worlds: int) -> GroupedSimulation:
        """Build so many parallel worlds.

        Raises:
            ConfigError: if there is no such environment, it does not take the settings, or nothing can learn in its
                spaces.
            MissingExtraError: if a library that it needs is not installed.
        """
        if num_worlds < 1:
            raise ConfigError(f"expected at least one world, got {num_worlds}")
        family, _, name = self.name.partition(":")
        chosen: dict[str, Any] = {
            "num_worlds": num_worlds,
            "settings": self.settings,
            "max_episode_ticks": self.max_episode_ticks,
            "controller": self.controller,
        }
        # Not before an environment is built: the libraries are optional, and take a while to import.
        if family == "gymnasium":
            from townlet_runtime.adapters.gymnasium_worlds import gymnasium_worlds

            return OneGroup(gymnasium_worlds(name, vectorization=self.vectorization, **chosen))
        from townlet_runtime.adapters.pettingzoo_worlds import pettingzoo_worlds

        return pettingzoo_worlds(name, **chosen)

    def stepped_alone(self) -> Environment:
        """The same environment with a seed of its own for every world, as scores of single episodes need it."""
        return replace(self, vectorization="sync")
