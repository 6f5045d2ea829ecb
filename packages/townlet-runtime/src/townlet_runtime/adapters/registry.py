"""Worlds by name: `gymnasium:CartPole-v1`, `pettingzoo:mpe2.simple_spread_v3`, `orchard`, `my_module:orchard`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Literal, TypedDict, get_args

from townlet_runtime.adapters.controllers import ControllerFactory, GuardrailFactory
from townlet_runtime.adapters.equipped import Equipment
from townlet_runtime.adapters.named_code import (
    SIMULATIONS,
    Factory,
    is_reference,
    named_factory,
    registered_factory,
    takes_parameter,
)
from townlet_runtime.adapters.own_worlds import no_state, own_environments, own_worlds
from townlet_runtime.adapters.spaces.settings import SpaceSettings
from townlet_runtime.errors import ConfigError, MissingExtraError
from townlet_runtime.simulation.interface import GroupedSimulation
from townlet_runtime.simulation.one_group import OneGroup
from townlet_trajectory.storage.entry_points import registered_names

FAMILIES = ("gymnasium", "pettingzoo")
"""Libraries whose environments are named after them, as `gymnasium:ID`."""

Setting = str | int | float | bool | None
"""A keyword argument of an environment."""

Vectorization = Literal["auto", "sync", "native"]
"""How parallel worlds of a Gymnasium environment are stepped: one by one (`sync`), by the environment's own vector form
(`native`), or natively where there is such a form (`auto`)."""


class _Read(TypedDict):
    """Arguments of the functions that build worlds of an environment."""

    num_worlds: int
    settings: Mapping[str, Setting]
    spaces: SpaceSettings


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Builds parallel worlds by name: of Gymnasium or PettingZoo, of an installed package, or of a module.

    Every episode of a world begins with an explicit seed: the first with the world's own, later ones with seeds hashed
    from that and the episode's number. Worlds that are stepped natively share one seed, hashed from all of theirs.

    Examples:
        >>> from townlet_runtime import Environment
        >>> worlds = Environment(name="townlet_runtime.testing:Corridor")(num_worlds=2)
        >>> worlds.specs["agents"].num_worlds
        2

    Raises:
        ConfigError: if the name is of no known form, or a field is out of range or without effect.
    """

    name: str
    """`gymnasium:ID`, an id of Gymnasium's registry; `pettingzoo:NAME`, a module of PettingZoo or MPE2; a name that an
    installed package registered in the entry point group `townlet.simulations`; or code, which only a person may name,
    never a file: `module:name`, a function of a module, which builds a `Simulation`, or one environment of Gymnasium or
    PettingZoo; or `gymnasium:module:ID`, an id that a module registers."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Keyword arguments of the environment."""
    vectorization: Vectorization = "auto"
    """Of no effect without Gymnasium."""
    max_episode_ticks: int | None = None
    """Longer episodes are truncated. None: the environment's own bound, 1000 where it names none. A `Simulation` has a
    length of its own, and takes no bound."""
    spaces: SpaceSettings = field(default_factory=SpaceSettings)
    """How its spaces are read. Of no effect on a `Simulation`, whose arrays are as it says."""
    global_state: bool = False
    """Whether critics see PettingZoo's `state()`, beside what their agents see."""
    controller: ControllerFactory | None = None
    """Makes the behavior `scripted`, once for each group; None: the world's own, if it has one."""
    guardrails: tuple[GuardrailFactory, ...] = ()
    """Make rules on executed actions, once for each group, applied after the world's own."""

    def __post_init__(self) -> None:
        family, _, name = self.name.partition(":")
        if (family in FAMILIES and not name) or (name and family not in FAMILIES and not is_reference(self.name)):
            raise ConfigError(
                "expected `gymnasium:ID`, `pettingzoo:NAME`, a registered name, or `module:name` on the command line, "
                f"got {self.name!r}",
                key="environment.name",
            )
        if self.name == "town":
            raise ConfigError("the embedded town is built by `townlet_runtime.town.Town`", key="environment.name")
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
        return Equipment(controller=self.controller, guardrails=self.guardrails).of(self._built(num_worlds))

    def _built(self, num_worlds: int) -> GroupedSimulation:
        family, _, name = self.name.partition(":")
        read: _Read = {"num_worlds": num_worlds, "settings": self.settings, "spaces": self.spaces}
        # Not before an environment is built: the libraries are optional, and take a while to import.
        if family == "gymnasium":
            if self.global_state:
                raise no_state(self.name)
            from townlet_runtime.adapters.gymnasium_worlds import gymnasium_worlds

            bound = self.max_episode_ticks
            return OneGroup(gymnasium_worlds(name, vectorization=self.vectorization, max_episode_ticks=bound, **read))
        if family == "pettingzoo":
            from townlet_runtime.adapters.pettingzoo_worlds import pettingzoo_worlds

            return pettingzoo_worlds(
                name, max_episode_ticks=self.max_episode_ticks, global_state=self.global_state, **read
            )
        return self._own(self._factory(), read)

    def _own(self, factory: Factory, read: _Read) -> GroupedSimulation:
        """Worlds that a function of a package or a module builds: all together, or one by one."""
        if not takes_parameter(factory, "num_worlds"):
            try:
                return own_environments(
                    self.name, factory, max_episode_ticks=self.max_episode_ticks, global_state=self.global_state, **read
                )
            except MissingExtraError as error:
                raise MissingExtraError(
                    f"`{self.name}` does not take `num_worlds`, so it is no `Simulation` and taken for an environment "
                    f"of Gymnasium or PettingZoo: {error}"
                ) from error
        if self.max_episode_ticks is not None:
            raise ConfigError(
                f"`{self.name}` has a length of its own (`SimulationSpec.episode_ticks`); make it one of its settings",
                key="environment.max_episode_ticks",
            )
        if self.global_state:
            raise no_state(self.name)
        return own_worlds(self.name, factory, num_worlds=read["num_worlds"], settings=self.settings)

    def _factory(self) -> Factory:
        factory = registered_factory(SIMULATIONS, self.name)
        if factory is None and is_reference(self.name):
            return named_factory(self.name, label=f"the world {self.name!r}")
        if factory is None:
            known = ["town", *(name for name in registered_names(SIMULATIONS) if name != "town")]
            near = get_close_matches(self.name, known, n=1)
            raise ConfigError(
                f"no world `{self.name}` is registered in `{SIMULATIONS}` (there are: {', '.join(known)})"
                + (f"; did you mean {near[0]}?" if near else "")
                + "; one of a module is named on the command line alone, with --env MODULE:NAME",
                key="environment.name",
            )
        return factory

    def stepped_alone(self) -> Environment:
        """The same environment with a seed of its own for every world, as scores of single episodes need it."""
        return replace(self, vectorization="sync")
