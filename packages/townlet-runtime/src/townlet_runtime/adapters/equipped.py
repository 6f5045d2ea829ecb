"""Worlds with a script and guardrails that were named for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BatchController, Guardrail, SavedState
from townlet_runtime.adapters.controllers import ControllerFactory, GuardrailFactory, make_controller
from townlet_runtime.simulation.interface import (
    ActionArray,
    Closing,
    GroupedSimulation,
    Observed,
    Picture,
    SimulationSpec,
    Stepped,
)
from townlet_runtime.simulation.recorded import Filling, Room
from townlet_runtime.simulation.script import script_side
from townlet_trajectory.evaluation.results import SCRIPTED


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
        self._controllers: list[BatchController] = []
        """That were made here, and are closed with the world."""

    @property
    def specs(self) -> Mapping[str, SimulationSpec]:
        return self._simulation.specs

    @property
    def behaviors(self) -> tuple[str, ...]:
        own = self._simulation.behaviors
        return own if self._equipment.controller is None or SCRIPTED in own else (SCRIPTED, *own)

    def reset(self, *, seeds: NDArray[np.int64]) -> Mapping[str, Observed]:
        return self._simulation.reset(seeds=seeds)

    def step(self, actions: Mapping[str, ActionArray]) -> Mapping[str, Stepped]:
        return self._simulation.step(actions)

    def scripted(self, name: str) -> Mapping[str, BatchController]:
        factory = self._equipment.controller
        if factory is None or name != SCRIPTED:
            return self._simulation.scripted(name)
        own = script_side(self._simulation)
        made = {group: make_controller(factory, spec, own[group]) for group, spec in self.specs.items()}
        self._controllers += made.values()
        return made

    def guardrails(self) -> Mapping[str, Sequence[Guardrail]]:
        own = self._simulation.guardrails()
        named = self._equipment.guardrails
        return {group: [*own[group], *(make(spec) for make in named)] for group, spec in self.specs.items()}

    def write_into(self, rooms: Mapping[str, Room]) -> None:
        """See `Filling`; nothing where the simulation is none."""
        if isinstance(self._simulation, Filling):
            self._simulation.write_into(rooms)

    def save_state(self) -> SavedState | None:
        return self._simulation.save_state()

    def restore(self, state: SavedState) -> Mapping[str, Observed]:
        return self._simulation.restore(state)

    def render(self) -> Picture | None:
        return self._simulation.render()

    @property
    def simulation_inside(self) -> object:
        return self._simulation

    def close(self) -> None:
        with ExitStack() as closing:
            closing.callback(self._simulation.close)
            for controller in self._controllers:
                if isinstance(controller, Closing):
                    closing.callback(controller.close)


class WithScript(EquippedSimulation):
    """A `GroupedSimulation` whose behavior `scripted` is another one of its own, by the name `script`."""

    def __init__(self, simulation: GroupedSimulation, script: str) -> None:
        super().__init__(simulation, Equipment())
        self._script = script

    def scripted(self, name: str) -> Mapping[str, BatchController]:
        """Return the behavior `script` for `scripted`, and any other by its own name."""
        return self._simulation.scripted(self._script if name == SCRIPTED else name)
