"""The array runtime over a plain world: who lives in it, what stands behind its actions, and which options are held."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import (
    ActionVocabulary,
    Controller,
    Guardrail,
    PossessionError,
    Proposals,
    RivalryGuardrail,
    SavedState,
    StateError,
    Ticket,
    join_groups,
    split_groups,
)
from townlet_behavior.config import OnPolicyError
from townlet_behavior.controllers import encode_intent
from townlet_behavior.saving import check_names
from townlet_runtime.config import Config
from townlet_runtime.core.explained import with_seen
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.errors import ConfigError
from townlet_runtime.plain.codec import AgentIntentCodec, Intent, IntentCodec, OptionCodec, World, plain_vocabulary
from townlet_runtime.plain.frames import DecidedTick, options_of
from townlet_runtime.plain.members import Inspector, require_members
from townlet_runtime.plain.recording import AgentObservations, Arrays, id_array
from townlet_runtime.plain.roster import Roster
from townlet_runtime.plain.saving import by_slot, restore_intents, save_intents
from townlet_runtime.plain.settings import plain_bridge_config, seed_of, shifts_of
from townlet_runtime.plain.view import PlainObserved, ScriptSide, TickIntents, avoidance
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_trajectory.audit.explanation import StepExplanation, StepNames

_NO_END = 2**62
"""`episode_ticks` of a world whose end is its own affair."""


@dataclass(frozen=True, kw_only=True)
class PlainOptions:
    """Bounds and choices of a `PolicyRuntime` that no config file has.

    Raises:
        ConfigError: if a bound is below 1.
    """

    capacity: int = 1024
    """Agents that may live at once."""
    max_rows: int = 100_000
    """Bound of the steps kept between collections, as frames and for training; the oldest are dropped."""
    greedy: bool = False
    """Let the policy take the most probable action instead of drawing one; such steps are never trained on."""
    on_policy_error: OnPolicyError | None = None
    """What an exception or unusable output of the learned side does; None: as the config says."""

    def __post_init__(self) -> None:
        if self.capacity < 1 or self.max_rows < 1:
            raise ConfigError(f"`capacity` and `max_rows` must be at least 1, got {self.capacity} and {self.max_rows}")


DEFAULT_OPTIONS = PlainOptions()


class PlainEngine(Generic[World, Intent]):
    """Decides for the agents of one plain world, over the array runtime.

    Args:
        config: seed, commitment lengths, jobs.
        world: the first that is decided for; checked.
        codec: of a world of one's own; None: the world is a `WorldView`.
        vocabulary: of a `WorldView`; None: that of its objects.
        controller: the script.
        guardrails: after the relationship guardrail of a `WorldView`.
        option_done: tells whether the option that an agent began with an intent is over.
        options: bounds.

    Raises:
        SimulationError: if the world lacks a member.
    """

    def __init__(
        self,
        config: Config,
        world: World,
        *,
        codec: IntentCodec[World, Intent] | None,
        vocabulary: ActionVocabulary | None,
        controller: Controller[World, Intent],
        guardrails: Sequence[Guardrail],
        option_done: Callable[[World, str, Intent], bool] | None,
        options: PlainOptions,
    ) -> None:
        seed = seed_of(config)
        self._inspector = Inspector() if codec is None else None
        self.inspect(world)
        plain: Any = world
        if codec is None:
            words = plain_vocabulary(plain.objects) if vocabulary is None else vocabulary
            own: Any = AgentIntentCodec(words, shifts_of(config))
            codec = own
            guardrails = (RivalryGuardrail(wait=words.wait), *guardrails)
        self.codec: IntentCodec[World, Intent] = codec
        self.world = world
        self.vocabulary = self.codec.vocabulary
        self._option_done = option_done
        self._controller = controller
        self._script = ScriptSide(controller, self.codec)
        bridge = plain_bridge_config(config, self.vocabulary, on_policy_error=options.on_policy_error)
        self._lengths = bridge.commitment.lengths(self.vocabulary)
        self._roster = Roster(capacity=options.capacity, seed=seed)
        self._held: dict[int, Intent] = {}
        """By slot, the intents that began the options in force."""
        self._fed: WeakKeyDictionary[Ticket, Intent] = WeakKeyDictionary()
        """The intents behind the inputs that wait."""
        self._last: dict[str, Intent] = {}
        """By agent, its last executed intent."""
        self._seen: Mapping[str, Arrays] = {}
        """By agent, what its last decision was made from."""
        self.tick = -1
        """Of the last decision."""
        self.spec = SimulationSpec(
            name="plain world",
            vocabulary=self.vocabulary,
            observation_shapes={},
            num_worlds=1,
            capacity=options.capacity,
            episode_ticks=_NO_END,
        )
        self.runtime = BatchRuntime(
            self.spec, self._script, config=bridge, policy=None, service=None, seed=seed, guardrails=guardrails
        )
        self._feature_names: tuple[str, ...] = ()
        self._roster.enter(plain.agents)
        self.runtime.begin(self._look(world, 0), tick=0)

    def show(self, observations: AgentObservations) -> None:
        """State the shapes of an agent's observations in the spec, and the names of its features."""
        if observations.shapes != self.spec.observation_shapes:
            self.spec = replace(self.spec, observation_shapes=dict(observations.shapes))
        self._feature_names = observations.feature_names

    @property
    def names(self) -> StepNames:
        """What the codes of its decisions mean, and the columns of `features`."""
        return replace(self.runtime.names, feature_names=self._feature_names)

    def inspect(self, world: World) -> None:
        """Check what has not been seen of a world before.

        Raises:
            SimulationError: names what lacks which member.
        """
        if self._inspector is None:
            require_members(world, ("agents",), label="the world")
        else:
            self._inspector.check(world)

    def enter(self, world: World) -> None:
        """Bring the roster up to date: agents that have left are forgotten, new ones are known."""
        self.inspect(world)
        self.world = world
        plain: Any = world
        living: Mapping[str, Any] = plain.agents
        gone = [agent_id for agent_id in self._roster.slots if agent_id not in living]
        self.forget(gone)
        self._roster.leave(gone)
        self._roster.enter(living)

    def forget(self, agent_ids: Iterable[str]) -> None:
        """End commitments, possession, plans and option history of agents."""
        slots = sorted(self._roster.slots[agent_id] for agent_id in agent_ids if agent_id in self._roster.slots)
        for slot in slots:
            self._held.pop(slot, None)
        if slots:
            self.runtime.forget(np.array(slots, np.int64))

    def set_controller(self, controller: Controller[World, Intent]) -> None:
        """Let another script propose from the next decision on."""
        self._controller = controller
        self._script.lift(controller)

    def decide(
        self,
        tick: int,
        learned: Callable[[PlainObserved[World, Intent]], Proposals | None],
        *,
        seen: Mapping[str, Arrays],
        has_provider: bool,
    ) -> DecidedTick[World, Intent]:
        """Decide for everybody who lives.

        Args:
            tick: of the decision.
            learned: gives the proposals of the learned side.
            seen: by agent, the observations that the decision is made from; kept for the record.
            has_provider: whether the learned side is one without probabilities.
        """
        view = self._look(self.world, tick)
        self.runtime.begin(view, tick=tick)
        self._script.ask(view)
        proposals = learned(view)
        decisions = self.runtime.decide_batch(proposals)
        executed = [view.intent_of(row, action) for row, action in enumerate(decisions.action.tolist())]
        actions = {}
        for agent_id, intent, vetoed in zip(view.ids, executed, decisions.vetoed.tolist(), strict=True):
            action = self.codec.to_action(intent)
            actions[agent_id] = {**action, "blocked": True} if vetoed else action
        decided = DecidedTick(
            view=view,
            decisions=decisions,
            executed=executed,
            actions=actions,
            logits=None if proposals is None else proposals.log_probs,
            has_provider=has_provider and proposals is not None,
            seen=seen,
            options=options_of(view, decisions, self._lengths),
        )
        self._hold(decided)
        self._seen = seen
        return decided

    def latest_decisions(self) -> dict[str, StepExplanation]:
        """Explain the last decision of every agent, by agent id; empty before the first."""
        return {
            agent_id: with_seen(explained, self._seen.get(agent_id, {}), self.names)
            for agent_id, explained in self.runtime.latest_decisions().items()
        }

    def feed(self, agent_id: str, intent: Intent, *, owner: str | None, queue: bool) -> Ticket:
        """Feed an intent to a possessed agent.

        Args:
            agent_id: of an agent that is present.
            intent: to be carried out.
            owner: as given when it was taken over.
            queue: wait behind the inputs that wait already; else they are superseded.

        Raises:
            PossessionError, UnknownActionError: see `BatchRuntime.feed_action`.
        """
        if agent_id not in self._roster.slots:
            raise PossessionError(f"expected an agent that is present, got {agent_id!r}")
        index = encode_intent(self.codec, intent, self.world, agent_id)
        ticket = self.runtime.feed_action(agent_id, self.vocabulary.keys[index], owner=owner, queue=queue)
        self._fed[ticket] = intent
        return ticket

    def save_state(self) -> SavedState:
        """Save all state of later decisions, except the world and settings.

        Raises:
            SimulationError: if the codec cannot read actions.
        """
        self.enter(self.world)
        # Options that the last executed intents have brought to their end are ended here, before they are saved.
        self.runtime.begin(self._look(self.world, self.tick + 1), tick=self.tick + 1)
        own = {
            "tick": np.array(self.tick, np.int64),
            "ids": np.array(list(self._roster.slots), np.str_),
            "slots": np.array(list(self._roster.slots.values()), np.int64),
            "held_slots": np.array(list(self._held), np.int64),
            "held": save_intents(self.codec, list(self._held.values())),
            "fed": save_intents(self.codec, [self._fed[ticket] for ticket in self.runtime.waiting_inputs()]),
        }
        return join_groups({"plain": own, "runtime": self.runtime.save_state()})

    def restore(self, state: SavedState) -> None:
        """Go on as the engine that was saved, with the world that this one was made for.

        Raises:
            SimulationError, StateError: if the state is of another one.
        """
        own, runtime = split_groups(state, ("plain", "runtime")).values()
        names = ("tick", "ids", "slots", "held_slots", "held", "fed")
        check_names(own, names, of="a plain world")
        slots = by_slot(own["slots"], own["ids"].tolist())
        self._roster.restore({agent_id: slot for slot, agent_id in slots.items()})
        self._held = {**by_slot(own["held_slots"], restore_intents(self.codec, own["held"]))}
        self.tick = int(own["tick"])
        self.runtime.restore(runtime, self._look(self.world, self.tick + 1))
        waiting, fed = self.runtime.waiting_inputs(), restore_intents(self.codec, own["fed"])
        if len(waiting) != len(fed):
            raise StateError(f"saved `fed` must have the intents of {len(waiting)} inputs, got {len(fed)}")
        self._fed.update(zip(waiting, fed, strict=True))

    def _look(self, world: World, tick: int) -> PlainObserved[World, Intent]:
        ids, slots, keys = self._roster.rows()
        zeros = np.zeros(len(ids), np.int64)
        return PlainObserved(
            slots=slots,
            keys=keys,
            agent_ids=id_array(ids),
            worlds=zeros,
            episodes=zeros,
            observations={},
            option_done=self._done(ids, slots),
            world=world,
            tick=tick,
            ids=ids,
            codec=self.codec,
            avoids=avoidance(world, self._controller),
            intents=TickIntents(held=self._held, fed=self._first_fed()),
        )

    def _first_fed(self) -> dict[int, tuple[int, Intent]]:
        """By slot, index and intent of the first input that waits."""
        waiting = self.runtime.waiting_inputs()
        return {ticket.slot: (ticket.action, self._fed[ticket]) for ticket in reversed(waiting)}

    def _done(self, ids: Sequence[str], slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[N]; whether the option of each agent is over, by the codec or the user's own condition."""
        done = np.zeros(len(ids), np.bool_)
        for row, (agent_id, slot) in enumerate(zip(ids, slots.tolist(), strict=True)):
            if slot not in self._held:
                continue
            begun, last = self._held[slot], self._last.get(agent_id)
            if isinstance(self.codec, OptionCodec) and last is not None:
                done[row] = self.codec.is_done(begun, last, self.world, agent_id)
            if self._option_done is not None:
                done[row] |= self._option_done(self.world, agent_id, begun)
        return done

    def _hold(self, decided: DecidedTick[World, Intent]) -> None:
        """Remember the intents of options that may go on; the bridge knows which of them do."""
        view, decisions = decided.view, decided.decisions
        held = {}
        for row, slot in enumerate(view.slots.tolist()):
            if decisions.held_action[row] >= 0:
                held[slot] = self._held[slot]
            elif self._lengths[decisions.chosen_action[row]] > 1:
                held[slot] = view.intents.chosen[row]
        self._held, self.tick = held, view.tick
        self._last = dict(zip(view.ids, decided.executed, strict=True))
