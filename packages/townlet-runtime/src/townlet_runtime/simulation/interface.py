"""The interface of a simulation: arrays over all agents of all parallel worlds, one call a tick.

A `Simulation` needs `spec`, `reset` and `step`. `Scripted`, `Guarded`, `Saved`, `Closing` and `Rendered` are optional:
a class that has the methods has the protocol. Agents that see and do the same kind of things form a group; a world
whose agents have unequal spaces is a `GroupedSimulation`, and `OneGroup` shows a `Simulation` as one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary, BatchController, Guardrail, SavedState
from townlet_behavior.actions import ActionSpec, ArrayActions, MultiDiscrete
from townlet_runtime.errors import SimulationError

AGENTS = "agents"
"""Name of the group where there is only one."""

Observations = Mapping[str, NDArray[np.float32]]
"""Named observation arrays; the first axis of each is the agent."""

ActionArray: TypeAlias = NDArray[Any]
"""Indices of actions int64 [N]; or indices of parts int64 [N, K], or numbers float32 [N, K], of array actions."""

ObservationKind = Literal["image", "entities"]
"""`image`: (C, H, W), channels first. `entities`: NAME (E, F), one row for each of at most E things, and NAME_mask (E,)
beside it, 1.0 where there is a thing and 0.0 elsewhere."""
_AXES: Mapping[str, int] = {"image": 3, "entities": 2}


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
    vocabulary: ActionVocabulary = field(default_factory=ActionVocabulary.none)
    """None where there are `actions`."""
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
    actions: ArrayActions | None = None
    """Actions of several parts, or of numbers within bounds, in place of a vocabulary. No option is held then."""
    critic_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Observations that a critic alone sees, e.g. the state of the whole world; among `Observed.observations`, by names
    of their own."""
    observation_kinds: Mapping[str, ObservationKind] = field(default_factory=dict)
    """What the axes of an observation mean, by its name; of others nothing is known."""

    def __post_init__(self) -> None:
        listed = len(self.vocabulary) > 0
        self._require(listed != (self.actions is not None), "a `vocabulary` or `actions`", "both" if listed else "none")
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
            self._require(self.actions is None, "no commitment columns with array actions", columns)
        both = sorted(self.observation_shapes.keys() & self.critic_shapes.keys())
        self._require(not both, "names of `critic_shapes` that no observation of the policy has", both)
        for observation, kind in self.observation_kinds.items():
            self._check_kind(observation, kind)

    def _check_kind(self, name: str, kind: str) -> None:
        """Require the axes of an observation of a kind, and the mask beside entities."""
        self._require(kind in _AXES, f"a kind of `{name}` among {', '.join(_AXES)}", kind)
        shapes = self.critic_shapes if name in self.critic_shapes else self.observation_shapes
        shape, mask = shapes.get(name, ()), shapes.get(f"{name}_mask")
        self._require(len(shape) == _AXES[kind], f"`{name}`, {kind}, with {_AXES[kind]} axes", shape)
        fit = kind != "entities" or mask == shape[:1]
        self._require(fit, f"`{name}_mask` of {shape[:1]} beside the entities `{name}`", mask)

    @property
    def action_spec(self) -> ActionSpec:
        """What an agent can do: the vocabulary, or array actions."""
        return self.vocabulary if self.actions is None else self.actions

    @property
    def mask_size(self) -> int:
        """Columns of an action mask: actions, or the values of all parts; 0 for numbers, which are not masked."""
        if self.actions is None:
            return len(self.vocabulary)
        return self.actions.num_outputs if isinstance(self.actions, MultiDiscrete) else 0

    @cached_property
    def seen_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of all that is in `Observed.observations`: of the policy's observations, then of the critic's own."""
        return {**self.observation_shapes, **self.critic_shapes}

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
    """[N, A]; true where an action is legal; of several parts [N, sum A_k], those of all parts side by side, something
    legal in each. None: every action is, and always where actions are numbers."""
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

    def step(self, actions: ActionArray) -> Stepped:
        """Carry out one action per row of the last `Observed`: [N] vocabulary indices, or array actions [N, K]."""
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

    def step(self, actions: Mapping[str, ActionArray]) -> Mapping[str, Stepped]:
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
