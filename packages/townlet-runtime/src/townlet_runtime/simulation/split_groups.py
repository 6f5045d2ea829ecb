"""Chosen agents of one group as groups of their own: `SplitGroups`.

The world below is stepped, saved and drawn as before. Its script and its guardrails see all agents of the group that
was split at once, as they do without it, and each new group is answered with its own rows.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import (
    ArgumentsView,
    BatchController,
    DecisionBatch,
    Guardrail,
    Kind,
    ProposerAware,
    SavedState,
    Source,
    Verdicts,
)
from townlet_behavior.forms import ActionForm, form_of
from townlet_behavior.proposers import proposed_by, proposers_of
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.group_members import Members, Membership, Rows
from townlet_runtime.simulation.interface import (
    AGENTS,
    ActionArray,
    GroupedSimulation,
    Observed,
    Picture,
    SimulationSpec,
    Stepped,
)

log = logging.getLogger(__name__)


class SplitGroups:
    """A `GroupedSimulation` that shows chosen agents of one group as groups of their own.

    The groups are asked in their order, and the first that claims an agent has it; the rest keeps the name of the group
    that was split, and is left out where nobody can be in it. A number or a share claims the next places of each world,
    so an agent that comes back to its place comes back to its group; ids and patterns claim agents wherever they are.

    Slots, ids, draws and episodes are those of the world below. So all groups together do the same, bit for bit, as the
    world that was not split, where all of them follow its script. Events are those of the first of the new groups.
    Guardrails see the actions that other groups have settled in the same tick, and take the others to wait; scripts and
    guardrails learn what was settled right before the world steps. A group that is played by another controller than
    the world's is known to them by its executed actions.

    Examples:
        >>> import numpy as np
        >>> from townlet_runtime import OneGroup, SplitGroups
        >>> from townlet_runtime.town import Town, TownConfig
        >>> town = OneGroup(Town(TownConfig(num_agents=4), num_worlds=1))
        >>> worlds = SplitGroups(town, {"first": ["agent_02"], "second": 1})
        >>> seen = worlds.reset(seeds=np.array([5]))
        >>> {group: observed.agent_ids.tolist() for group, observed in seen.items()}
        {'first': ['agent_02'], 'second': ['agent_01'], 'agents': ['agent_03', 'agent_04']}

    Args:
        simulation: any; its answers are complete and checked already.
        groups: which agents, by the name of the new group; at least one.
        of: the group of `simulation` that is split.

    Raises:
        SimulationError: if there is no such group, a new one has the name of another, or numbers and shares claim more
            agents than there are places, or no agent.
    """

    def __init__(self, simulation: GroupedSimulation, groups: Mapping[str, Members], *, of: str = AGENTS) -> None:
        if of not in simulation.specs:
            raise SimulationError(f"expected a group to split ({', '.join(simulation.specs)}), got {of!r}")
        taken = sorted(groups.keys() & simulation.specs.keys())
        if taken or not groups:
            expected = f"names of new groups, other than {', '.join(simulation.specs)}"
            raise SimulationError(f"expected {expected}, got {', '.join(taken) or 'none'}")
        self._simulation = self.simulation_inside = simulation
        self._of = of
        spec = simulation.specs[of]
        self._membership = Membership(groups, spec, rest=of)
        self._tick = _Tick(spec, self._membership.names)
        self.specs: Mapping[str, SimulationSpec] = {
            part: own
            for group, own in simulation.specs.items()
            for part in (self._membership.names if group == of else (group,))
        }

    @property
    def behaviors(self) -> tuple[str, ...]:
        return tuple(self._simulation.behaviors)

    def reset(self, *, seeds: NDArray[np.int64]) -> Mapping[str, Observed]:
        observed = self._begin(self._simulation.reset(seeds=seeds))
        self._membership.warn_of_absent(self._tick.whole.agent_ids)
        return observed

    def step(self, actions: Mapping[str, ActionArray]) -> Mapping[str, Stepped]:
        names = self._membership.names
        for group in names:
            if actions[group].shape != (len(self._tick.rows[group]), *self._tick.form.shape):
                expected = f"{len(self._tick.rows[group])} actions of `{group}`"
                raise SimulationError(f"expected {expected}, got shape {actions[group].shape}")
        self._tick.tell(actions)
        whole = {group: own for group, own in actions.items() if group not in names}
        stepped = self._simulation.step(whole | {self._of: self._tick.joined(actions)})
        rows = self._tick.rows
        observed = self._begin({group: one.observed for group, one in stepped.items()})
        outcome = stepped[self._of]
        parts = {group: _part_of(outcome, rows[group], observed[group]) for group in names}
        for group in names[1:]:
            parts[group] = replace(parts[group], events=np.zeros_like(outcome.events))
        return {group: parts[group] if group in parts else stepped[group] for group in self.specs}

    def scripted(self, name: str) -> Mapping[str, BatchController]:
        scripts = dict(self._simulation.scripted(name))
        whole = _Script(scripts.pop(self._of), self._tick)
        parts = {group: _PartOfScript(whole, group) for group in self._membership.names}
        return {group: parts[group] if group in parts else scripts[group] for group in self.specs}

    def guardrails(self) -> Mapping[str, Sequence[Guardrail]]:
        guardrails = dict(self._simulation.guardrails())
        whole = guardrails.pop(self._of)
        parts = {group: [_PartOfGuardrail(one, self._tick, group) for one in whole] for group in self._membership.names}
        return {group: parts[group] if group in parts else guardrails[group] for group in self.specs}

    def save_state(self) -> SavedState | None:
        return self._simulation.save_state()

    def restore(self, state: SavedState) -> Mapping[str, Observed]:
        return self._begin(self._simulation.restore(state))

    def render(self) -> Picture | None:
        return self._simulation.render()

    def close(self) -> None:
        self._simulation.close()

    def _begin(self, observed: Mapping[str, Observed]) -> dict[str, Observed]:
        whole = observed[self._of]
        if isinstance(whole, ArgumentsView):
            name = self.specs[self._membership.names[0]].name
            raise SimulationError(f"`{name}`: the group `{self._of}` cannot be split: its actions have arguments")
        parts = self._tick.begin(whole, self._membership.rows_of(whole))
        return {group: parts[group] if group in parts else observed[group] for group in self.specs}


def split_named(simulation: GroupedSimulation, groups: Mapping[str, Members]) -> GroupedSimulation:
    """Split the groups of a world as a config names the new ones.

    Args:
        simulation: any.
        groups: which agents, by `NAME`, or by `GROUP/NAME` where there are several groups.

    Returns:
        The split world; `simulation` itself where `groups` is empty.

    Raises:
        SimulationError: if a name does not say which of several groups is split, or as of `SplitGroups`.
    """
    split: dict[str, dict[str, Members]] = {}
    for name, members in groups.items():
        of, _, own = name.rpartition("/")
        if not of and len(simulation.specs) > 1:
            there_are = ", ".join(simulation.specs)
            raise SimulationError(f"expected the group to split ({there_are}), as GROUP/{own}, got {own}")
        split.setdefault(of or next(iter(simulation.specs)), {})[own] = members
    for of, parts in split.items():
        simulation = SplitGroups(simulation, parts, of=of)
    return simulation


@dataclass(eq=False)
class _Tick:
    """The view of this tick, whole and in parts, and what was settled in it so far."""

    spec: SimulationSpec
    names: tuple[str, ...]
    rows: Mapping[str, Rows] = field(default_factory=dict)
    _whole: Observed | None = None
    _parts: dict[str, Observed] = field(default_factory=dict)
    _settled: dict[str, DecisionBatch] = field(default_factory=dict)
    _listeners: dict[int, Guardrail | _Script] = field(default_factory=dict)
    """By identity, in the order in which they are told: guardrails before scripts, as in the bridge."""

    @cached_property
    def form(self) -> ActionForm:
        """Of the actions."""
        return form_of(self.spec.action_spec)

    @property
    def whole(self) -> Observed:
        """The view of all agents of the group that was split.

        Raises:
            SimulationError: before the first `reset`.
        """
        if self._whole is None:
            raise SimulationError(f"`{self.spec.name}`: `reset` must come first")
        return self._whole

    def begin(self, whole: Observed, rows: Mapping[str, Rows]) -> dict[str, Observed]:
        """Take the view of a new tick apart."""
        self._whole, self.rows = whole, rows
        self._settled, self._listeners = {}, {}
        self._parts = {group: _rows_of_view(whole, rows[group]) for group in self.names}
        return dict(self._parts)

    def shown(self) -> Observed:
        """Return the whole view with the options in force that the runtimes have written into its parts."""
        columns, whole = self.spec.commitment_columns, self.whole
        if columns is not None:
            width = slice(columns.start, columns.start + len(self.spec.vocabulary) + 1)
            for group, part in self._parts.items():
                whole.observations[columns.observation][self.rows[group], width] = part.observations[
                    columns.observation
                ][:, width]
        return whole

    def actions(self, group: str, own: ActionArray) -> ActionArray:
        """Return the actions of all agents as far as they are known while `group` decides on its `own`."""
        form, size = self.form, len(self.whole.slots)
        known: ActionArray = np.full((size, *form.shape), form.wait, form.dtype)
        for other, decisions in self._settled.items():
            known[self.rows[other]] = decisions.action
        known[self.rows[group]] = own
        return known

    def joined(self, parts: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Put an array of each group together in the order of the whole view."""
        first = parts[self.names[0]]
        column = np.empty((len(self.whole.slots), *first.shape[1:]), first.dtype)
        for group in self.names:
            column[self.rows[group]] = parts[group]
        return column

    def settle(self, group: str, decisions: DecisionBatch, listener: Guardrail | _Script) -> None:
        """Note the decisions of a group; `listener` is told before the world steps."""
        self._settled[group] = decisions
        self._listeners[id(listener)] = listener

    def tell(self, actions: Mapping[str, ActionArray]) -> None:
        """Tell everybody who listens what all groups have settled; `actions` were executed."""
        if not self._listeners:
            return
        parts = {
            group: (self._settled[group] if group in self._settled else self._executed(actions[group])).columns()
            for group in self.names
        }
        columns = {name: self.joined({group: parts[group][name] for group in parts}) for name in parts[self.names[0]]}
        decisions = DecisionBatch(**columns)
        listeners = sorted(self._listeners.values(), key=lambda listener: isinstance(listener, _Script))
        for listener in listeners:
            listener.settled(self.whole, decisions)

    def _executed(self, actions: ActionArray) -> DecisionBatch:
        """The decisions of agents of whom no more is known than what they did; nothing of it was vetoed."""
        rows = len(actions)
        nothing, none = np.zeros(rows, np.bool_), np.full(rows, -1)
        unknown = np.zeros(rows, np.float32)
        return DecisionBatch(
            action=actions,
            chosen_action=actions,
            kind=np.full(rows, Kind.FOREIGN, np.int8),
            source=np.full(rows, Source.EXTERNAL, np.int8),
            vetoed=nothing,
            veto_reason=np.zeros(rows, np.int8),
            possessed=nothing,
            demonstrated=nothing,
            expert_action=self.form.recorded(self.form.empty(rows)),
            behavior_log_prob=unknown,
            policy_log_prob=unknown,
            value=unknown,
            ratio=unknown,
            held_action=none,
            ticks_left=np.zeros(rows, np.int32),
            drawn_action=actions,
            proposer=np.full(rows, -1, np.int8),
            proposal_age=np.zeros(rows, np.int32),
            observation_age=np.zeros(rows, np.int32),
            temperature=np.ones(rows, np.float32),
        )


class _Script:
    """A script of the whole group, asked once a tick."""

    def __init__(self, controller: BatchController, tick: _Tick) -> None:
        self.controller = controller
        self.tick = tick
        self._asked: Observed | None = None
        self._proposals: ActionArray = np.empty(0, np.int64)
        self._aware = controller if isinstance(controller, ProposerAware) else None

    def propose(self) -> ActionArray:
        if self._asked is not self.tick.whole:
            # Copied: a controller may use its array again.
            self._proposals = self.controller.propose(self.tick.shown()).copy()
            self._asked = self.tick.whole
        return self._proposals

    def proposed_by(self) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
        return proposed_by(self._aware, self.tick.shown(), self.tick.form.silent(self.propose()))

    def settled(self, view: Observed, decisions: DecisionBatch) -> None:
        self.controller.settled(view, decisions)

    def change(self) -> BatchController:
        """Return the controller, to be changed: it is asked anew after that."""
        self._asked = None
        return self.controller


@dataclass(frozen=True, eq=False)
class _PartOfScript:
    """The rows of one group of a script. A `BatchController`."""

    script: _Script
    group: str

    def propose(self, view: Observed) -> ActionArray:
        return self.script.propose()[self.script.tick.rows[self.group]]

    @property
    def proposers(self) -> tuple[str, ...]:
        return proposers_of(self.script.controller)

    def proposed_by(self, view: Observed) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
        proposer, age = self.script.proposed_by()
        rows = self.script.tick.rows[self.group]
        return proposer[rows], age[rows]

    def settled(self, view: Observed, decisions: DecisionBatch) -> None:
        self.script.tick.settle(self.group, decisions, self.script)

    def forget(self, slots: NDArray[np.int64]) -> None:
        self.script.change().forget(slots)

    def save_state(self) -> SavedState:
        return self.script.controller.save_state()

    def restore(self, state: SavedState) -> None:
        self.script.change().restore(state)


class _PartOfGuardrail:
    """The rows of one group of a guardrail. A `Guardrail`."""

    def __init__(self, guardrail: Guardrail, tick: _Tick, group: str) -> None:
        self._guardrail, self._tick, self._group = guardrail, tick, group
        self.reasons = guardrail.reasons

    def review(self, view: Observed, actions: ActionArray) -> Verdicts:
        verdicts = self._guardrail.review(self._tick.shown(), self._tick.actions(self._group, actions))
        rows = self._tick.rows[self._group]
        return Verdicts(
            vetoed=verdicts.vetoed[rows], replacement=verdicts.replacement[rows], reason=verdicts.reason[rows]
        )

    def settled(self, view: Observed, decisions: DecisionBatch) -> None:
        self._tick.settle(self._group, decisions, self._guardrail)


def _rows_of_view(observed: Observed, rows: Rows) -> Observed:
    return Observed(
        slots=observed.slots[rows],
        agent_ids=observed.agent_ids[rows],
        observations={name: array.take(rows, axis=0) for name, array in observed.observations.items()},
        keys=observed.keys[rows],
        worlds=observed.worlds[rows],
        episodes=observed.episodes[rows],
        action_mask=None if observed.action_mask is None else observed.action_mask.take(rows, axis=0),
        option_done=observed.option_done[rows],
    )


def _part_of(stepped: Stepped, rows: Rows, observed: Observed) -> Stepped:
    """The outcome of a tick for the rows of one group, whose next view is `observed`."""
    ended = np.flatnonzero(np.isin(stepped.final_rows, rows))
    return Stepped(
        rewards=stepped.rewards[rows],
        observed=observed,
        terminated=stepped.terminated[rows],
        truncated=stepped.truncated[rows],
        final_rows=np.searchsorted(rows, stepped.final_rows[ended]),
        final_option_done=stepped.final_option_done[ended],
        final_observations={name: array.take(ended, axis=0) for name, array in stepped.final_observations.items()},
        events=stepped.events,
        reward_terms={name: array[rows] for name, array in stepped.reward_terms.items()},
    )
