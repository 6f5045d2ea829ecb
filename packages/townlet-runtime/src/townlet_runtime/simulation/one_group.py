"""A `Simulation` of the user as the `GroupedSimulation` that the library works with: completed, cast and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BatchController, Guardrail, SavedState, join_groups, split_groups
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.intake import Intake
from townlet_runtime.simulation.interface import (
    AGENTS,
    Closing,
    Exact,
    GroupedSimulation,
    Guarded,
    Observed,
    Picture,
    Rendered,
    Saved,
    Scripted,
    Simulation,
    SimulationSpec,
    Stepped,
)
from townlet_runtime.simulation.recorded import Filling, Room

Answer = TypeVar("Answer")
_PARTS = ("intake", "simulation")
"""Of a saved state."""


@runtime_checkable
class _OfOneGroup(Simulation, Protocol):
    """A simulation of one group, as a user's own function may make it."""


@runtime_checkable
class _OfSeveral(GroupedSimulation, Protocol):
    """A simulation of several groups, as a user's own function may make it."""


def in_groups(made: object) -> GroupedSimulation:
    """Return what a user's own function has made as what the library works with: completed, cast and checked.

    Args:
        made: a `Simulation`, or a whole `GroupedSimulation`.

    Raises:
        SimulationError: if it is neither.
    """
    if isinstance(made, _OfSeveral):
        return CheckedGroups(made)
    if isinstance(made, _OfOneGroup):
        return OneGroup(made)
    raise SimulationError(
        f"expected a `Simulation` (spec, reset, step) or a whole `GroupedSimulation`, got {made!r:.200}"
    )


class OneGroup:
    """A simulation of one group as a `GroupedSimulation`; the group is called `agents`.

    It supplies what the simulation leaves out: no behaviors, no guardrails, nothing to save or close, and the fields of
    `Observed` and `Stepped` that have a default. Lists and other dtypes are cast where nothing is lost. The answers of
    an `Exact` simulation are handed on unseen.

    Examples:
        A counter that pays 1 for each step on; its reward is a list.

        >>> import numpy as np
        >>> from townlet_behavior import ActionVocabulary
        >>> from townlet_runtime import Observed, OneGroup, SimulationSpec, Stepped
        >>> class Counter:
        ...     spec = SimulationSpec(
        ...         name="counter", vocabulary=ActionVocabulary(keys=("stay", "on"), kinds=("wait", "move")),
        ...         observation_shapes={"count": (1,)}, num_worlds=1, capacity=1, episode_ticks=10,
        ...     )
        ...     def reset(self, *, seeds):
        ...         self.count = 0
        ...         return self.observed()
        ...     def step(self, actions):
        ...         self.count += int(actions[0])
        ...         return Stepped(rewards=[int(actions[0])], observed=self.observed())
        ...     def observed(self):
        ...         return Observed(slots=[0], agent_ids=["ann"], observations={"count": [[self.count]]})
        >>> worlds = OneGroup(Counter())
        >>> worlds.behaviors, worlds.reset(seeds=np.array([7]))["agents"].worlds
        ((), array([0]))
        >>> worlds.step({"agents": np.array([1])})["agents"].rewards
        array([1.], dtype=float32)
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._intake = None if isinstance(simulation, Exact) and simulation.exact else Intake(simulation.spec)
        self.specs: Mapping[str, SimulationSpec] = {AGENTS: simulation.spec}

    @property
    def behaviors(self) -> tuple[str, ...]:
        return tuple(self._simulation.behaviors) if isinstance(self._simulation, Scripted) else ()

    def reset(self, *, seeds: NDArray[np.int64]) -> Mapping[str, Observed]:
        observed = self._simulation.reset(seeds=seeds)
        return {AGENTS: observed if self._intake is None else self._intake.begin(observed, seeds=seeds)}

    def step(self, actions: Mapping[str, NDArray[np.int64]]) -> Mapping[str, Stepped]:
        stepped = self._simulation.step(actions[AGENTS])
        return {AGENTS: stepped if self._intake is None else self._intake.step(stepped)}

    def scripted(self, name: str) -> Mapping[str, BatchController]:
        if not isinstance(self._simulation, Scripted):
            raise SimulationError(f"`{self.specs[AGENTS].name}` has no behaviors, got {name!r}")
        return {AGENTS: self._simulation.scripted(name)}

    def guardrails(self) -> Mapping[str, Sequence[Guardrail]]:
        return {AGENTS: self._simulation.guardrails() if isinstance(self._simulation, Guarded) else ()}

    def write_into(self, rooms: Mapping[str, Room]) -> None:
        """See `Filling`; nothing where the simulation is none."""
        if isinstance(self._simulation, Filling):
            self._simulation.write_into(rooms)

    def save_state(self) -> SavedState | None:
        state = self._simulation.save_state() if isinstance(self._simulation, Saved) else None
        if state is None or self._intake is None:
            return state
        return join_groups(dict(zip(_PARTS, (self._intake.save_state(), state), strict=True)))

    def restore(self, state: SavedState) -> Mapping[str, Observed]:
        if not isinstance(self._simulation, Saved):
            raise SimulationError(f"`{self.specs[AGENTS].name}` has no `save_state`, so it cannot be restored")
        if self._intake is None:
            return {AGENTS: self._simulation.restore(state)}
        intake, own = split_groups(state, _PARTS).values()
        return {AGENTS: self._intake.restore(intake, self._simulation.restore(own))}

    def render(self) -> Picture | None:
        """Draw the worlds as they are now; None where the simulation does not render."""
        return self._simulation.render() if isinstance(self._simulation, Rendered) else None

    @property
    def simulation_inside(self) -> object:
        return self._simulation

    def close(self) -> None:
        if isinstance(self._simulation, Closing):
            self._simulation.close()


class CheckedGroups:
    """A `GroupedSimulation` of the user whose answers are completed, cast and checked group by group, as in `OneGroup`.

    Args:
        simulation: whole, but for the fields of `Observed` and `Stepped` that have a default.
    """

    def __init__(self, simulation: GroupedSimulation) -> None:
        self._simulation = simulation
        self.specs: Mapping[str, SimulationSpec] = dict(simulation.specs)
        self._intakes = {group: Intake(spec) for group, spec in self.specs.items()}

    @property
    def behaviors(self) -> tuple[str, ...]:
        return tuple(self._simulation.behaviors)

    def reset(self, *, seeds: NDArray[np.int64]) -> Mapping[str, Observed]:
        observed = self._of_each(self._simulation.reset(seeds=seeds), "`reset`")
        return {group: intake.begin(observed[group], seeds=seeds) for group, intake in self._intakes.items()}

    def step(self, actions: Mapping[str, NDArray[np.int64]]) -> Mapping[str, Stepped]:
        stepped = self._of_each(self._simulation.step(actions), "`step`")
        return {group: intake.step(stepped[group]) for group, intake in self._intakes.items()}

    def scripted(self, name: str) -> Mapping[str, BatchController]:
        return self._of_each(self._simulation.scripted(name), "`scripted`")

    def guardrails(self) -> Mapping[str, Sequence[Guardrail]]:
        return self._of_each(self._simulation.guardrails(), "`guardrails`")

    def save_state(self) -> SavedState | None:
        state = self._simulation.save_state()
        if state is None:
            return None
        intakes = {str(index): intake.save_state() for index, intake in enumerate(self._intakes.values())}
        return join_groups(dict(zip(_PARTS, (join_groups(intakes), state), strict=True)))

    def restore(self, state: SavedState) -> Mapping[str, Observed]:
        intakes, own = split_groups(state, _PARTS).values()
        observed = self._of_each(self._simulation.restore(own), "`restore`")
        saved = split_groups(intakes, map(str, range(len(self._intakes)))).values()
        return {
            group: intake.restore(part, observed[group])
            for part, (group, intake) in zip(saved, self._intakes.items(), strict=True)
        }

    def render(self) -> Picture | None:
        return self._simulation.render()

    @property
    def simulation_inside(self) -> object:
        return self._simulation

    def close(self) -> None:
        self._simulation.close()

    def _of_each(self, answer: Mapping[str, Answer], call: str) -> Mapping[str, Answer]:
        if answer.keys() != self.specs.keys():
            raise SimulationError(f"{call}: expected an answer for each of {sorted(self.specs)}, got {sorted(answer)}")
        return answer
