"""The interface of a simulation: arrays over all agents of all parallel worlds, one call a tick.

Agents that see and do the same kind of things form a group. A world of one group is a `Simulation`; one whose agents
have unequal spaces is a `GroupedSimulation`, and `OneGroup` shows the first as the second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary, BatchController, Guardrail, PossessionError, SavedState
from townlet_runtime.errors import SimulationError
from townlet_trajectory import ACTION_MASK, ArraySpec, TrajectorySchema, default_decision_columns

AGENTS = "agents"
"""Name of the group where there is only one."""

Observations = Mapping[str, NDArray[np.float32]]
"""Named observation arrays; the first axis of each is the agent."""


@dataclass(frozen=True, kw_only=True)
class CommitmentColumns:
    """Where in an observation the option in force is shown: one-hot of the held action, then the ticks left."""

    observation: str
    """Name of a rank-1 observation, e.g. `features`."""
    start: int
    """Its first column: `start : start + A` one-hot of the held action, `start + A` ticks left / `max_ticks`."""
    max_ticks: int
    """Ticks left are divided by this."""

    def show(
        self,
        observations: Observations,
        held_action: NDArray[np.int64],
        ticks_left: NDArray[np.int32],
        *,
        num_actions: int,
    ) -> None:
        """Write the option in force into its observation columns, in place.

        Without them a forced step would look like a free one, and its value could not be learned.

        Args:
            observations: each [N, ...]; the one named `observation` is changed.
            held_action: [N]; -1 where nothing is held: all columns become 0.
            ticks_left: [N], 0 where nothing is held.
            num_actions: A.
        """
        shown = observations[self.observation][:, self.start : self.start + num_actions + 1]
        shown[...] = 0.0
        rows = (held_action >= 0).nonzero()[0]
        if rows.size:
            shown[rows, held_action[rows]] = 1.0
            np.multiply(ticks_left, 1.0 / self.max_ticks, out=shown[:, num_actions], casting="same_kind")


@dataclass(frozen=True, kw_only=True)
class SimulationSpec:
    """Static description of a simulation.

    Examples:
        >>> from townlet_behavior import ActionVocabulary
        >>> from townlet_runtime import SimulationSpec
        >>> spec = SimulationSpec(
        ...     name="road",
        ...     vocabulary=ActionVocabulary(keys=("wait", "walk"), kinds=("wait", "move")),
        ...     observation_shapes={"place": (1,)},
        ...     num_worlds=4,
        ...     capacity=8,  # two agents a world
        ...     episode_ticks=100,
        ...     event_names=("arrivals",),
        ...     option_ticks={"wait": 0, "move": 1},
        ... )
        >>> len(spec.vocabulary)
        2
    """

    name: str
    vocabulary: ActionVocabulary
    observation_shapes: Mapping[str, tuple[int, ...]]
    """Per agent, without the leading axis; all float32."""
    feature_names: tuple[str, ...] = ()
    """Names of the columns of the observation `features`; empty where there is none."""
    num_worlds: int
    """Parallel copies (W)."""
    capacity: int
    """Slots of all worlds together; every slot number is below it, and slot // (capacity / W) is its world."""
    episode_ticks: int
    """Ticks after which a world truncates its episode and starts anew."""
    event_names: tuple[str, ...] = ()
    commitment_columns: CommitmentColumns | None = None
    """None: the observation cannot show the held option."""
    option_ticks: Mapping[str, int]
    """The world's own commitment lengths by option kind."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Observed:
    """The agents present before a decision, one row each, by ascending slot. A `townlet_behavior.View`."""

    slots: NDArray[np.int64]
    """[N], strictly ascending."""
    keys: NDArray[np.uint64]
    """[N]; `townlet_behavior.draw_keys` of the seed of the agent's world and the agent id."""
    agent_ids: NDArray[np.object_]
    """[N] str."""
    worlds: NDArray[np.int64]
    """[N]; index of the world of each agent."""
    episodes: NDArray[np.int64]
    """[N]; the world's episode number, unique over all worlds of the simulation."""
    observations: Observations
    """Each [N, ...]; commitment columns are zero, the runtime fills them in."""
    action_mask: NDArray[np.bool_] | None
    """[N, A]; true where an action is legal."""
    option_done: NDArray[np.bool_]
    """[N]; true where the option that the agent was in has ended in the last tick."""


def require_seeds(seeds: NDArray[np.int64], num_worlds: int) -> NDArray[np.int64]:
    """Return a copy of `seeds`, if there is one for each world, none negative.

    Raises:
        SimulationError: if they are of another type, shape or sign.
    """
    if not isinstance(seeds, np.ndarray) or seeds.dtype != np.int64 or seeds.shape != (num_worlds,):
        raise SimulationError(f"expected `seeds` int64 [{num_worlds}], one for each world, got {seeds!r}")
    if np.count_nonzero(seeds < 0):
        raise SimulationError(f"expected `seeds` that are not negative, got {seeds}")
    return seeds.copy()


@dataclass(frozen=True, kw_only=True, eq=False)
class Stepped:
    """The outcome of one tick. Rows are those of the `Observed` that was acted on, unless stated otherwise."""

    rewards: NDArray[np.float32]
    """[N]."""
    terminated: NDArray[np.bool_]
    """[N]; a true end of the agent, worth 0 from there."""
    truncated: NDArray[np.bool_]
    """[N]; cut for a reason that is not the agent's own."""
    final_rows: NDArray[np.int64]
    """[E]; rows that ended, ascending."""
    final_option_done: NDArray[np.bool_]
    """[E]."""
    final_observations: Observations
    """Each [E, ...]; what the last action of those rows led to."""
    events: NDArray[np.int64] | NDArray[np.float64]
    """[W, len(event_names)]; what happened in each world in this tick."""
    observed: Observed
    """What the next decision is made from."""


class Simulation(Protocol):
    """A world, or many copies of it, that steps as arrays."""

    @property
    def spec(self) -> SimulationSpec: ...

    @property
    def behaviors(self) -> tuple[str, ...]:
        """Names that `scripted` knows, e.g. `("scripted", "nearest", "idle")`; none where the world has no script."""
        ...

    def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
        """Begin every world anew.

        Args:
            seeds: [W], one for each world, not negative. Later episodes of a world follow from its seed and the
                episode's number, by hashing: worlds of different seeds never play the same episode.
        """
        ...

    def step(self, actions: NDArray[np.int64]) -> Stepped:
        """Carry out one action per row of the last `Observed` ([N] vocabulary indices)."""
        ...

    def scripted(self, name: str) -> BatchController:
        """A behavior by name, one of `behaviors`; it proposes from this simulation's `Observed`."""
        ...

    def guardrails(self) -> Sequence[Guardrail]:
        """The world's own rules on executed actions, applied after the action mask; made anew for each runtime."""
        ...

    def save_state(self) -> SavedState | None:
        """Copy all state that the future depends on; None where this world cannot be saved."""
        ...

    def restore(self, state: SavedState) -> Observed:
        """Go on as the simulation that `state` was saved from; returns the view for the next decision.

        Raises:
            SimulationError: if `state` is not of a simulation like this one.
        """
        ...

    def close(self) -> None:
        """Release windows, processes and other resources of the worlds; called once, by the owner."""
        ...


class GroupedSimulation(Protocol):
    """A world, or many copies of it, with several groups of agents. Everything is by group, in the order of `specs`.

    A group may have no agent at a tick while others live. The events of all groups add up.
    """

    @property
    def specs(self) -> Mapping[str, SimulationSpec]:
        """By group, with the same `num_worlds`, `episode_ticks` and `event_names`; ids of agents are unique in a world
        over all groups, episode numbers are those of the worlds.
        """
        ...

    @property
    def behaviors(self) -> tuple[str, ...]:
        """Names that `scripted` knows."""
        ...

    def reset(self, *, seeds: NDArray[np.int64]) -> Mapping[str, Observed]:
        """See `Simulation.reset`."""
        ...

    def step(self, actions: Mapping[str, NDArray[np.int64]]) -> Mapping[str, Stepped]:
        """See `Simulation.step`; all groups act in the same tick."""
        ...

    def scripted(self, name: str) -> Mapping[str, BatchController]:
        """See `Simulation.scripted`."""
        ...

    def guardrails(self) -> Mapping[str, Sequence[Guardrail]]:
        """See `Simulation.guardrails`."""
        ...

    def save_state(self) -> SavedState | None:
        """See `Simulation.save_state`."""
        ...

    def restore(self, state: SavedState) -> Mapping[str, Observed]:
        """See `Simulation.restore`."""
        ...

    def close(self) -> None:
        """See `Simulation.close`."""
        ...


def first_spec(simulation: GroupedSimulation) -> SimulationSpec:
    """Return the spec of any group, for the fields that all groups share: worlds, episode length, events."""
    return next(iter(simulation.specs.values()))


class OneGroup:
    """A simulation of one group as a `GroupedSimulation`; the group is called `agents`."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.specs: Mapping[str, SimulationSpec] = {AGENTS: simulation.spec}

    @property
    def behaviors(self) -> tuple[str, ...]:
        return self._simulation.behaviors

    def reset(self, *, seeds: NDArray[np.int64]) -> Mapping[str, Observed]:
        return {AGENTS: self._simulation.reset(seeds=seeds)}

    def step(self, actions: Mapping[str, NDArray[np.int64]]) -> Mapping[str, Stepped]:
        return {AGENTS: self._simulation.step(actions[AGENTS])}

    def scripted(self, name: str) -> Mapping[str, BatchController]:
        return {AGENTS: self._simulation.scripted(name)}

    def guardrails(self) -> Mapping[str, Sequence[Guardrail]]:
        return {AGENTS: self._simulation.guardrails()}

    def save_state(self) -> SavedState | None:
        return self._simulation.save_state()

    def restore(self, state: SavedState) -> Mapping[str, Observed]:
        return {AGENTS: self._simulation.restore(state)}

    def close(self) -> None:
        self._simulation.close()


def schema_of(spec: SimulationSpec, *, masked: bool) -> TrajectorySchema:
    """Return the schema of a recorder: the observations, the mask if `masked`, and every decision column."""
    observations = {name: ArraySpec(dtype="float32", shape=shape) for name, shape in spec.observation_shapes.items()}
    if masked:
        observations[ACTION_MASK] = ArraySpec(dtype="bool", shape=(len(spec.vocabulary),))
    return TrajectorySchema(
        observations=observations, decisions=default_decision_columns(), vocabulary=spec.vocabulary.keys
    )


def recorded_observations(observed: Observed) -> Mapping[str, NDArray[np.float32] | NDArray[np.bool_]]:
    """Return the observations [N, ...] and the mask, as `schema_of` declares them."""
    if observed.action_mask is None:
        return observed.observations
    return {**observed.observations, ACTION_MASK: observed.action_mask}


def slot_of(agent_id: str, world: int, observed: Observed | None) -> int:
    """Find the slot of an agent that is present.

    Args:
        agent_id: unique in its world.
        world: index of the world.
        observed: the view of this tick; None: no agent is present.

    Raises:
        PossessionError: if world `world` has no such agent now.
    """
    if observed is not None:
        here = (observed.agent_ids == agent_id) & (observed.worlds == world)
        if here.any():
            return int(observed.slots[here.argmax()])
    raise PossessionError(f"expected an agent that is present in world {world}, got {agent_id!r}")


def ids_of(slots: NDArray[np.int64], world: int, observed: Observed) -> list[str]:
    """List the ids of present agents.

    Args:
        slots: [M]; agents in other slots are left out.
        world: index of the world.
        observed: the view of this tick.
    """
    here = np.isin(observed.slots, slots) & (observed.worlds == world)
    return [str(agent_id) for agent_id in observed.agent_ids[here]]
