"""Worlds with a script and guardrails that were named for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BatchController, Guardrail, SavedState
from townlet_runtime.adapters.controllers import ControllerFactory, GuardrailFactory
from townlet_runtime.core.loop import SCRIPTED
from townlet_runtime.simulation.interface import GroupedSimulation, Observed, Picture, SimulationSpec, Stepped


@dataclass(frozen=True, kw_only=True)
class Equipment:
    """A script and guardrails for any world."""

    controller: ControllerFactory | None = None
    """Makes the behavior `scripted`, once for each group; None: the world's own, if it has one."""
    guardrails: tuple[GuardrailFactory, ...] = ()
    """Applied after the world's own, in this order."""

    def of(self, simulation: GroupedSimulation) -> GroupedSimulation:
        """Return `simulation` with this script and these guardrails."""
        if self.controller is None and not self.guardrails:
            return simulation
        return EquippedSimulation(simulation, self)


class EquippedSimulation:
    """A `GroupedSimulation` whose behavior `scripted` and whose last guardrails are those of an `Equipment`."""

    def __init__(self, simulation: GroupedSimulation, equipment: Equipment) -> None:
        self._simulation = simulation
        self._equipment = equipment

    @property
    def specs(self) -> Mapping[str, SimulationSpec]:
        return self._simulation.specs

    @property
    def behaviors(self) -> tuple[str, ...]:
        own = self._simulation.behaviors
        return own if self._equipment.controller is None or SCRIPTED in own else (SCRIPTED, *own)

    def reset(self, *, seeds: NDArray[np.int64]) -> Mapping[str, Observed]:
        return self._simulation.reset(seeds=seeds)

    def step(self, actions: Mapping[str, NDArray[np.int64]]) -> Mapping[str, Stepped]:
        return self._simulation.step(actions)

    def scripted(self, name: str) -> Mapping[str, BatchController]:
        controller = self._equipment.controller
        if controller is None or name != SCRIPTED:
            return self._simulation.scripted(name)
        return {group: controller(spec) for group, spec in self.specs.items()}

    def guardrails(self) -> Mapping[str, Sequence[Guardrail]]:
        own = self._simulation.guardrails()
        named = self._equipment.guardrails
        return {group: [*own[group], *(make(spec) for make in named)] for group, spec in self.specs.items()}

    def save_state(self) -> SavedState | None:
        return self._simulation.save_state()

    def restore(self, state: SavedState) -> Mapping[str, Observed]:
        return self._simulation.restore(state)

    def render(self) -> Picture | None:
        return self._simulation.render()

    def close(self) -> None:
        self._simulation.close()
