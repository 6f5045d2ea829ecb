"""`PolicyRuntime(config)`: decides for the agents of a plain Python world, one dictionary a tick."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, overload

from townlet_behavior import (
    ActionVocabulary,
    AgentIntent,
    Controller,
    Guardrail,
    PossessionError,
    Proposals,
    SavedState,
    WorldView,
    join_groups,
    split_groups,
)
from townlet_runtime.core.stretches import Reading
from townlet_runtime.core.telemetry import log
from townlet_runtime.errors import ConfigError, SimulationError
from townlet_runtime.plain.codec import Intent, IntentCodec, World
from townlet_runtime.plain.engine import DEFAULT_OPTIONS, PlainEngine, PlainOptions
from townlet_runtime.plain.frames import Frame, RecordCalls
from townlet_runtime.plain.learned import LearnedCalls
from townlet_runtime.plain.possession import PossessionCalls
from townlet_runtime.plain.recording import PlainRecorder
from townlet_runtime.plain.saving import restore_observations, save_observations
from townlet_runtime.plain.settings import ConfigLike, read_settings, scripted_behavior, seed_of
from townlet_runtime.plain.telemetry import TelemetryCalls
from townlet_runtime.plain.view import PlainObserved
from townlet_trajectory.evaluation.interfaces import Actor

Town = TypeVar("Town", bound=WorldView)
"""A world with all members of a `WorldView`."""


class PolicyRuntime(
    PossessionCalls[World, Intent], LearnedCalls[World, Intent], RecordCalls[World, Intent], TelemetryCalls
):
    """Decides for the agents of a plain Python world: script, learned side, possession, guardrails, and a record.

    A tick is `decide(world, tick)`, the world's own step, `post_step(rewards, terminated)` and, where there are
    observations, `flush_transitions(observations)`. Without a `codec` the world is a `townlet_behavior.WorldView`, the
    intents are `AgentIntent`s, and the script is the scripted behavior of the config.

    Examples:
        >>> from townlet_behavior import ActionVocabulary
        >>> from townlet_runtime.plain import KeyCodec, PolicyRuntime
        >>> class Meadow:
        ...     def __init__(self):
        ...         self.agents = {"ann": 0, "bob": 0}
        >>> class Graze:
        ...     def decide(self, world, agent_id):
        ...         return "eat" if world.agents[agent_id] < 2 else "rest"
        >>> words = KeyCodec(ActionVocabulary(keys=("rest", "eat"), kinds=("wait", "eat")))
        >>> runtime = PolicyRuntime({}, codec=words, behavior=Graze())
        >>> runtime.decide(Meadow(), 0)
        {'ann': {'kind': 'eat', 'action': 'eat'}, 'bob': {'kind': 'eat', 'action': 'eat'}}

    Args:
        config: a `Config`, the content of a config file, or its path. It says the seed, commitment lengths, and the
            thresholds and jobs of the scripted behavior.
        codec: of a world of your own; None: it is a `WorldView`.
        behavior: the script; must be given with a `codec`.
        vocabulary: of a `WorldView`; None: that of the objects of the first world, which must not get new ones then.
        policy: the learned side: acts on the observations that are given; see `set_policy_action_provider` too.
        world: checked, and its agents can be possessed, before the first decision; None: at the first decision.
        guardrails: after the relationship guardrail; they have the last word.
        option_done: tells whether the option that an agent began with an intent is over, for reasons of your own.
        options: bounds.

    Raises:
        ConfigError: if the config is wrong, or a codec comes without a behavior.
        SimulationError: if the world lacks a member; names it.
    """

    @overload
    def __init__(
        self: PolicyRuntime[WorldView, AgentIntent],
        config: ConfigLike,
        *,
        vocabulary: ActionVocabulary | None = None,
        policy: Actor | None = None,
        guardrails: Sequence[Guardrail] = (),
        options: PlainOptions = ...,
    ) -> None: ...

    @overload
    def __init__(
        self: PolicyRuntime[Town, AgentIntent],
        config: ConfigLike,
        *,
        behavior: Controller[Town, AgentIntent] | None = None,
        vocabulary: ActionVocabulary | None = None,
        policy: Actor | None = None,
        world: Town | None = None,
        guardrails: Sequence[Guardrail] = (),
        option_done: Callable[[Town, str, AgentIntent], bool] | None = None,
        options: PlainOptions = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        config: ConfigLike,
        *,
        codec: IntentCodec[World, Intent],
        behavior: Controller[World, Intent],
        policy: Actor | None = None,
        world: World | None = None,
        guardrails: Sequence[Guardrail] = (),
        option_done: Callable[[World, str, Intent], bool] | None = None,
        options: PlainOptions = ...,
    ) -> None: ...

    def __init__(
        self,
        config: ConfigLike,
        *,
        codec: Any = None,
        behavior: Any = None,
        vocabulary: ActionVocabulary | None = None,
        policy: Actor | None = None,
        world: Any = None,
        guardrails: Sequence[Guardrail] = (),
        option_done: Callable[[Any, str, Any], bool] | None = None,
        options: PlainOptions = DEFAULT_OPTIONS,
    ) -> None:
        PossessionCalls.__init__(self)
        TelemetryCalls.__init__(self)
        if codec is not None and behavior is None:
            raise ConfigError("expected a `behavior` for the intents of your own `codec`, got none")
        self._config = read_settings(config)
        self._codec: IntentCodec[World, Intent] | None = codec
        self._vocabulary = vocabulary
        own: Any = scripted_behavior(self._config) if behavior is None else behavior
        self._behavior: Controller[World, Intent] = own
        self._guardrails = tuple(guardrails)
        self._option_done = option_done
        self._options = options
        self._coin_seed = seed_of(self._config)
        on_error = options.on_policy_error or self._config.policy.on_policy_error
        LearnedCalls.__init__(self, seed=self._coin_seed, greedy=options.greedy, on_error=on_error)
        self._clear()
        self.set_policy(policy)
        if world is not None:
            self._engine_for(world)

    def _clear(self) -> None:
        """Forget everything but the settings."""
        self._end_stretch()
        self._leave()
        self._clear_record(self._options.max_rows)
        self._count_anew()

    def _engine_for(self, world: World) -> PlainEngine[World, Intent]:
        if self._engine is None:
            self._engine = PlainEngine(
                self._config,
                world,
                codec=self._codec,
                vocabulary=self._vocabulary,
                controller=self._behavior,
                guardrails=self._guardrails,
                option_done=self._option_done,
                options=self._options,
            )
            self._vocabulary = self._engine.vocabulary
            self._engine.runtime.register_possession_end_callback(self._possession_ended)
            self._engine.runtime.seed_anneal_rng(self._coin_seed)
        return self._engine

    # Deciding

    def decide(self, world: World, tick: int) -> dict[str, dict[str, Any]]:
        """Decide for every agent of a world.

        Args:
            world: as it is now.
            tick: later than that of the last decision.

        Returns:
            An action by agent id, in the order of `world.agents`: `kind` and what belongs to it; `blocked` is true
            where a guardrail put it in place of another.

        Raises:
            SimulationError: if the tick is not later, or the world, an agent or an object lacks a member.
            ControllerError: if the script raises; names agent and tick.
            PolicyError: if the learned side raises or its output is unusable, unless the script stands in.
            UnknownActionError: if the codec does not know an intent; names it and the agent.
        """
        with self._lock:
            begun = time.perf_counter()
            if self._telemetry is not None:
                self._tell()
            engine = self._engine_for(world)
            if tick <= engine.tick:
                raise SimulationError(f"`tick` must be later than {engine.tick}, got {tick}")
            populated: Any = world
            self._close(set(populated.agents))
            engine.enter(world)
            engine.runtime.set_anneal_ratio(self._learned.share)
            seen = self._observations.current
            decided = engine.decide(tick, self._propose, seen=seen, has_provider=self._learned.has_provider)
            self._decided = decided
            if seen and self._recorder is None:
                self._recorder = PlainRecorder(engine.names, self._observations.shapes, max_rows=self._options.max_rows)
            if self._recorder is not None:
                columns = decided.decisions.columns()
                self._recorder.record(tick, decided.view.ids, decided.view.slots, columns, seen)
            # They have been decided from: without new ones the next step is not recorded.
            self._observations.current = {}
            if self._telemetry is not None or log.isEnabledFor(logging.INFO):
                self._tick_decided(decided, time.perf_counter() - begun)
            return {agent_id: dict(decided.actions[agent_id]) for agent_id in populated.agents}

    def post_step(self, rewards: Mapping[str, float], terminated: Mapping[str, bool]) -> None:
        """Take what the last decisions came to. Rewards of several calls add up.

        Args:
            rewards: by agent; agents that are missing got none.
            terminated: by agent; true at a true end, after which nothing of the agent is remembered.

        Raises:
            SimulationError: before a decision, or if a reward is not finite or of an agent that was not decided for.
        """
        with self._lock:
            decided = self._last_tick("post_step")
            for agent_id, reward in rewards.items():
                if not math.isfinite(reward):
                    raise SimulationError(
                        f"agent {agent_id!r}, tick {decided.view.tick}: a reward must be finite, got {reward!r}"
                    )
                if agent_id not in decided.actions and reward:
                    raise SimulationError(
                        f"agent {agent_id!r}, tick {decided.view.tick}: a reward for an agent that made no decision"
                    )
            for agent_id, reward in rewards.items():
                decided.rewards.setdefault(agent_id, []).append(float(reward))
            died = {agent_id for agent_id, is_over in terminated.items() if is_over} & decided.actions.keys()
            if self._engine is not None:
                self._engine.forget(died - decided.terminated)
            decided.terminated |= died

    def observe(self, observations: Mapping[str, Mapping[str, Any]]) -> None:
        """Give the observations that the next decision is made from, where `flush_transitions` has not: at first.

        Args:
            observations: by agent: arrays by name, perhaps with `metadata`. The first one says names and shapes.

        Raises:
            SimulationError: names the agent and the array that is missing, of another shape, or not finite.
        """
        with self._lock:
            self._observations.take(observations, tick=None)

    def flush_transitions(self, observations: Mapping[str, Mapping[str, Any]]) -> list[Frame]:
        """Give the observations made after the last tick, and return a frame for every agent that was decided for.

        The next decision is made from them.

        Raises:
            SimulationError: before a decision, twice after the same one, or as in `observe`.
        """
        with self._lock:
            decided = self._last_tick("flush_transitions")
            if decided.is_flushed:
                raise SimulationError(f"the transitions of tick {decided.view.tick} are flushed already")
            self._observations.take(observations, tick=decided.view.tick)
            decided.is_flushed = True
            return self._keep_frames(decided)

    def _propose(self, view: PlainObserved[World, Intent]) -> Proposals | None:
        engine = self._engine_for(view.world)
        engine.show(self._observations)
        return self._learned.propose(view, self._observations, engine.spec, engine.runtime.temperatures)

    def _reading(self) -> Reading | None:
        if self._engine is None:
            return None
        runtime, (waiting, dropped) = self._engine.runtime, self._uncollected()
        return Reading(
            counts=runtime.counts(),
            policy=self.active_policy_hash(),
            ratio=runtime.current_anneal_ratio(),
            queue_rows=waiting,
            dropped_rows=dropped,
        )

    # Settings and state

    def seed_anneal_rng(self, seed: int) -> None:
        """Draw the coins between script and learned side from another seed than the config's, in [0, 2^64)."""
        if not 0 <= seed < 2**64:
            raise ConfigError(f"the seed must be in [0, 2^64), got {seed!r}")
        self._coin_seed = seed
        if self._engine is not None:
            self._engine.runtime.seed_anneal_rng(seed)

    @property
    def behavior(self) -> Controller[World, Intent]:
        """The script; another one holds from the next decision on."""
        return self._behavior

    @behavior.setter
    def behavior(self, behavior: Controller[World, Intent]) -> None:
        with self._lock:
            self._behavior = behavior
            if self._engine is not None:
                self._engine.set_controller(behavior)

    def _alive(self, agent_id: str) -> PlainEngine[World, Intent]:
        if self._engine is None or self._has_died(agent_id):
            raise PossessionError(f"expected an agent that is present, got {agent_id!r}")
        return self._engine

    def save_state(self) -> SavedState:
        """Save all state of later decisions, except the world, settings, and the record: collect it before.

        Raises:
            SimulationError: before the first world, or if the codec cannot read actions.
        """
        with self._lock:
            if self._engine is None:
                raise SimulationError("`save_state` must follow `decide`")
            return join_groups(
                {"engine": self._engine.save_state(), "observations": save_observations(self._observations)}
            )

    def restore(self, state: SavedState, world: World) -> None:
        """Go on as the runtime that was saved, with a world as it was then: from here on both decide alike.

        A controller goes on as well if it is a `townlet_behavior.SavedController`, or keeps no plans.

        Raises:
            SimulationError, StateError: if the state is of another runtime; this one is then as after `reset_state`.
        """
        engine, observations = split_groups(state, ("engine", "observations")).values()
        with self._lock:
            self._clear()
            try:
                self._engine_for(world).restore(engine)
                restore_observations(self._observations, observations)
                self._count_anew()
            except Exception:
                self._clear()
                raise

    def reset_state(self) -> None:
        """Forget every agent, the record, commitments, option history and possession; settings stay.

        The next decision may be of another world, and of any tick.
        """
        with self._lock:
            self._clear()
