"""The interface of a simulation: arrays over all agents of all parallel worlds, one call a tick.

A `Simulation` needs `spec`, `reset` and `step`. `Scripted`, `Guarded`, `Saved`, `Closing` and `Rendered` are optional:
a class that has the methods has the protocol. Agents that see and do the same kind of things form a group; a world
whose agents have unequal spaces is a `GroupedSimulation`, and `OneGroup` shows a `Simulation` as one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import SCRIPT, ActionVocabulary, BatchController, Guardrail, SavedState
from townlet_runtime.errors import SimulationError
from townlet_trajectory import ACTION_MASK, REWARD_TERM, ArraySpec, TrajectorySchema, default_decision_columns
from townlet_trajectory.data.schema import FEATURES

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
        ... )
        >>> len(spec.vocabulary)
        2
    """

    name: str
    vocabulary: ActionVocabulary
    observation_shapes: Mapping[str, tuple[int, ...]]
    """Per agent, without the leading axis; all float32."""
    num_worlds: int
    """Parallel copies (W)."""
    capacity: int
    """Slots of all worlds together; every slot number is below it, and slot // (capacity / W) is its world."""
    episode_ticks: int
    """Ticks after which a world truncates its episode and starts anew."""
    feature_names: tuple[str, ...] = ()
    """Names of the columns of the observation `features`; empty where they have none."""
    event_names: tuple[str, ...] = ()
    """Names of what the world counts in each tick."""
    commitment_columns: CommitmentColumns | None = None
    """None: the observation cannot show the held option."""
    option_ticks: Mapping[str, int] = field(default_factory=dict)
    """The world's own commitment lengths by option kind; kinds that are left out are added with 0."""
    reward_terms: tuple[str, ...] = ()
    """Names of the parts of the reward, which are recorded as columns `reward_TERM` and logged as `reward/TERM`."""

    def __post_init__(self) -> None:
        self._require(self.num_worlds > 0, "at least one world", self.num_worlds)
        shared = self.capacity > 0 and self.capacity % self.num_worlds == 0
        self._require(shared, f"a capacity that {self.num_worlds} worlds share evenly", self.capacity)
        self._require(self.episode_ticks > 0, "a positive `episode_ticks`", self.episode_ticks)
        unknown = sorted(set(self.option_ticks) - set(self.vocabulary.kinds))
        self._require(not unknown, f"`option_ticks` of kinds {sorted(set(self.vocabulary.kinds))}", unknown)
        object.__setattr__(self, "option_ticks", dict.fromkeys(self.vocabulary.kinds, 0) | dict(self.option_ticks))
        for group, given in (("event_names", self.event_names), ("reward_terms", self.reward_terms)):
            self._require(len(set(given)) == len(given), f"`{group}` that differ", given)
        fit = all(re.fullmatch(r"\w{1,57}", term, re.ASCII) for term in self.reward_terms)
        self._require(fit, "`reward_terms` of letters, digits and `_`", self.reward_terms)
        if "features" in self.observation_shapes:
            shape, names = self.observation_shapes["features"], self.feature_names
            fit = not names or shape == (len(names),)
            self._require(fit, f"a name for each feature of {shape}", f"{len(names)} names")
        columns = self.commitment_columns
        if columns is not None:
            (width,) = self.observation_shapes.get(columns.observation, (0,))
            count = len(self.vocabulary) + 1
            shown = f"{count} commitment columns from {columns.start} in `{columns.observation}`"
            self._require(0 <= columns.start <= width - count, shown, f"{width} columns")

    def _require(self, kept: bool, promise: str, got: object) -> None:
        if not kept:
            raise SimulationError(f"`{self.name}`: expected {promise}, got {got}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Observed:
    """The agents present before a decision, one row each, by ascending slot. A `townlet_behavior.View`.

    A simulation may leave out the fields with a default: `OneGroup` derives them.
    """

    slots: NDArray[np.int64]
    """[N], strictly ascending."""
    agent_ids: NDArray[np.object_]
    """[N] str, unique in a world."""
    observations: Observations
    """Each [N, ...]; commitment columns are zero, the runtime fills them in."""
    keys: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    """[N]; `townlet_behavior.draw_keys` of the seed of the agent's world and the agent id."""
    worlds: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """[N]; index of the world of each agent; follows from the slot."""
    episodes: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """[N]; the world's episode number, unique over all worlds of the simulation. Left out: the episode of a world is
    over at the tick at which every agent in it ends."""
    action_mask: NDArray[np.bool_] | None = None
    """[N, A]; true where an action is legal. None: every action is."""
    option_done: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    """[N]; true where the option that the agent was in has ended in the last tick. Left out: nowhere."""


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
    """The outcome of one tick. Rows are those of the `Observed` that was acted on, unless stated otherwise.

    A simulation may leave out the fields with a default: `OneGroup` derives them.
    """

    rewards: NDArray[np.float32]
    """[N]."""
    observed: Observed
    """What the next decision is made from."""
    terminated: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    """[N]; a true end of the agent, worth 0 from there. Left out: nowhere."""
    truncated: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    """[N]; cut for a reason that is not the agent's own. Left out: nowhere."""
    final_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """[E]; rows that ended, ascending."""
    final_option_done: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    """[E]. Left out: nowhere."""
    final_observations: Observations = field(default_factory=dict)
    """Each [E, ...]; what the last action of those rows led to. Only where no row ended may they be left out."""
    events: NDArray[np.int64] | NDArray[np.float64] = field(default_factory=lambda: np.empty(0, np.int64))
    """[W, len(event_names)]; what happened in each world in this tick. Left out: where the spec names no events."""
    reward_terms: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Each [N], by the names of the spec; they need not add up to the rewards."""


class Simulation(Protocol):
    """A world, or many copies of it, that steps as arrays.

    Lists and other dtypes are cast where nothing is lost, and fields with a default may be left out (see `OneGroup`).
    """

    @property
    def spec(self) -> SimulationSpec: ...

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


@runtime_checkable
class Scripted(Protocol):
    """A simulation with behaviors of its own. Without: nothing to blend with or to clone, PPO begins from scratch."""

    @property
    def behaviors(self) -> tuple[str, ...]:
        """Names that `scripted` knows, e.g. `("scripted", "nearest", "idle")`; `scripted` is what is blended with."""
        ...

    def scripted(self, name: str) -> BatchController:
        """A behavior by name, one of `behaviors`; it proposes from this simulation's `Observed`."""
        ...


@runtime_checkable
class Guarded(Protocol):
    """A simulation with rules of its own on executed actions. Without: the action mask alone."""

    def guardrails(self) -> Sequence[Guardrail]:
        """The rules, applied after the action mask; made anew for each runtime."""
        ...


@runtime_checkable
class Saved(Protocol):
    """A simulation whose state can be saved. Without: a run in it cannot be resumed."""

    def save_state(self) -> SavedState | None:
        """Copy all state that the future depends on; None where this world cannot be saved."""
        ...

    def restore(self, state: SavedState) -> Observed:
        """Go on as the simulation that `state` was saved from; returns the view for the next decision.

        Raises:
            SimulationError: if `state` is not of a simulation like this one.
        """
        ...


@runtime_checkable
class Exact(Protocol):
    """A simulation that is known to answer as it is stated. Without: every answer is completed, cast and checked."""

    @property
    def exact(self) -> bool:
        """Whether `check_simulation` has shown that every array is there, of its dtype and right: no tick is checked
        again, which saves some microseconds of each."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A simulation that holds windows, processes or other resources."""

    def close(self) -> None:
        """Release them; called once, by the owner."""
        ...


Picture = NDArray[np.uint8] | str
"""[H, W, 3] pixels, or text."""


@runtime_checkable
class Rendered(Protocol):
    """A simulation that can be looked at."""

    def render(self) -> Picture | None:
        """Draw the worlds as they are now; None where they cannot be drawn."""
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
        """Names that `scripted` knows; none where the world has no script."""
        ...

    def reset(self, *, seeds: NDArray[np.int64]) -> Mapping[str, Observed]:
        """See `Simulation.reset`."""
        ...

    def step(self, actions: Mapping[str, NDArray[np.int64]]) -> Mapping[str, Stepped]:
        """See `Simulation.step`; all groups act in the same tick."""
        ...

    def scripted(self, name: str) -> Mapping[str, BatchController]:
        """See `Scripted.scripted`."""
        ...

    def guardrails(self) -> Mapping[str, Sequence[Guardrail]]:
        """See `Guarded.guardrails`."""
        ...

    def save_state(self) -> SavedState | None:
        """See `Saved.save_state`."""
        ...

    def restore(self, state: SavedState) -> Mapping[str, Observed]:
        """See `Saved.restore`."""
        ...

    def render(self) -> Picture | None:
        """See `Rendered.render`."""
        ...

    def close(self) -> None:
        """See `Closing.close`."""
        ...


def first_spec(simulation: GroupedSimulation) -> SimulationSpec:
    """Return the spec of any group, for the fields that all groups share: worlds, episode length, events."""
    return next(iter(simulation.specs.values()))


def schema_of(
    spec: SimulationSpec,
    *,
    masked: bool,
    proposers: tuple[str, ...] = (SCRIPT,),
    veto_reasons: tuple[str, ...] = (),
) -> TrajectorySchema:
    """Return the schema of a recorder: the observations, the mask if `masked`, every decision column, and a column
    `reward_TERM` for each named part of the reward; features have the names that the world gives them.

    Args:
        spec: of the agents that are recorded.
        masked: whether their legal actions are shown.
        proposers: names of who proposes beside the policy; see `townlet_behavior.proposers_of`.
        veto_reasons: names of the reasons of vetoes; see `townlet_behavior.veto_reasons_of`. Empty: not known.
    """
    observations = {name: ArraySpec(dtype="float32", shape=shape) for name, shape in spec.observation_shapes.items()}
    if masked:
        observations[ACTION_MASK] = ArraySpec(dtype="bool", shape=(len(spec.vocabulary),))
    terms = {REWARD_TERM + term: ArraySpec(dtype="float32") for term in spec.reward_terms}
    decisions = default_decision_columns() | terms
    return TrajectorySchema(
        observations=observations,
        decisions=decisions,
        vocabulary=spec.vocabulary.keys,
        proposers=proposers,
        veto_reasons=veto_reasons,
        feature_names=spec.feature_names if FEATURES in observations else (),
    )


def recorded_observations(observed: Observed) -> Mapping[str, NDArray[np.float32] | NDArray[np.bool_]]:
    """Return the observations [N, ...] and the mask, as `schema_of` declares them."""
    if observed.action_mask is None:
        return observed.observations
    return {**observed.observations, ACTION_MASK: observed.action_mask}
