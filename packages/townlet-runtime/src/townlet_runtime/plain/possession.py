"""Agents by their ids: possession by a person or a program, from any thread, and readings of the last decision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic

from townlet_behavior import CallbackLock, EndReason, Tally, Ticket, UnknownActionError
from townlet_runtime.core.telemetry import AgentSnapshot
from townlet_runtime.plain.codec import ActionReader, Intent, World
from townlet_trajectory.audit.explanation import StepExplanation

if TYPE_CHECKING:
    from townlet_runtime.plain.engine import PlainEngine


class PossessionCalls(ABC, Generic[World, Intent]):
    """The part of a `PolicyRuntime` that takes agents over and tells of them; a call waits until a decision is made."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[str], None]] = []
        self._end_callbacks: list[Callable[[str, str | None, EndReason], None]] = []
        self._lock = CallbackLock()
        self._engine: PlainEngine[World, Intent] | None = None

    @abstractmethod
    def _alive(self, agent_id: str) -> PlainEngine[World, Intent]:
        """Return the engine that decides for an agent; `PossessionError` if it has died, or there is none."""

    def acquire_possession(self, agent_id: str, *, owner: str | None = None, lease_ticks: int | None = None) -> bool:
        """Take an agent over: it waits, or does what it is fed; its commitment ends, and callbacks are told.

        Args:
            agent_id: of an agent that is present.
            owner: only who gives the same name may feed and release it.
            lease_ticks: decisions after which possession ends by itself; None: never.

        Returns:
            False if it is already possessed.

        Raises:
            PossessionError: if there is no such agent.
        """
        with self._lock:
            runtime = self._alive(agent_id).runtime
            acquired = runtime.acquire_possession(agent_id, owner=owner, lease_ticks=lease_ticks)
        for callback in self._callbacks if acquired else ():
            callback(agent_id)
        return acquired

    def feed_action(
        self,
        agent_id: str,
        action: Intent | Mapping[str, Any],
        *,
        owner: str | None = None,
        queue: bool = False,
    ) -> Ticket:
        """Let a possessed agent carry out an action, once: at its next decision, or after the inputs that wait.

        Args:
            agent_id: of an agent that is present.
            action: an intent, or a mapping as `decide` returns it.
            owner: as given to `acquire_possession`.
            queue: wait behind the inputs that wait already, at most 64; else they are superseded.

        Returns:
            The ticket of the input, which says how and when it ended, and can be waited for.

        Raises:
            PossessionError: if there is no such agent, it is not possessed by this owner, or too many inputs wait.
            UnknownActionError: if the codec does not know the action.
        """
        with self._lock:
            engine = self._alive(agent_id)
            reader: Any = engine.codec
            if not isinstance(action, Mapping):
                return engine.feed(agent_id, action, owner=owner, queue=queue)
            if isinstance(reader, ActionReader):
                return engine.feed(agent_id, reader.from_action(action), owner=owner, queue=queue)
            raise UnknownActionError(f"{type(reader).__name__} must have `from_action` to be fed a mapping")

    def renew_possession(self, agent_id: str, lease_ticks: int | None, *, owner: str | None = None) -> None:
        """Extend a lease: possession ends `lease_ticks` decisions from the next one on, unless it would end later.

        Args:
            agent_id: of an agent that is present.
            lease_ticks: at least 1; None: it does not end by itself any more.
            owner: as given to `acquire_possession`.

        Raises:
            PossessionError: if there is no such agent, or it is not possessed by this owner.
        """
        with self._lock:
            self._alive(agent_id).runtime.renew_possession(agent_id, lease_ticks, owner=owner)

    def release_possession(self, agent_id: str, *, owner: str | None = None) -> bool:
        """Give an agent back; False if it was not possessed. Errors as of `feed_action`."""
        with self._lock:
            return self._alive(agent_id).runtime.release_possession(agent_id, owner=owner)

    def is_possessed(self, agent_id: str) -> bool:
        """Whether the next decision of an agent is its possessor's. `PossessionError` if there is no such agent."""
        with self._lock:
            return self._alive(agent_id).runtime.is_possessed(agent_id)

    def set_difficulty(
        self,
        agent_id: str,
        *,
        ratio: float | None = None,
        temperature: float | None = None,
        delay_ticks: int | None = None,
    ) -> None:
        """Make one agent easier or harder than the others; see `BatchRuntime.set_difficulty`."""
        with self._lock:
            self._alive(agent_id).runtime.set_difficulty(
                agent_id, ratio=ratio, temperature=temperature, delay_ticks=delay_ticks
            )

    def possessed_agents(self) -> list[str]:
        """Return the ids of all possessed agents, sorted."""
        return [] if self._engine is None else self._engine.runtime.possessed_agents()

    def register_ctx_reset_callback(self, callback: Callable[[str], None]) -> None:
        """Tell `callback` the id of every agent that is taken over, once."""
        self._callbacks.append(callback)

    def register_possession_end_callback(self, callback: Callable[[str, str | None, EndReason], None]) -> None:
        """Tell `callback` of every possession that ends without a release.

        It takes the agent's id, the owner, and the reason: the agent has `ended`, or the lease has `lapsed`. It is
        called once for each, by the thread that ends it (usually the loop's), and is free to call anything here.
        """
        self._end_callbacks.append(callback)

    def waiting_inputs(self) -> list[Ticket]:
        """Return the inputs that wait, those of an agent in the order in which they will be carried out."""
        return [] if self._engine is None else self._engine.runtime.waiting_inputs()

    def take_ended_inputs(self) -> list[Ticket]:
        """Return the inputs that ended since the last call; see `townlet_behavior.Possession.take_ended`."""
        return [] if self._engine is None else self._engine.runtime.take_ended_inputs()

    def input_counts(self) -> dict[str, int]:
        """Count the inputs that were `accepted`, those of them that are `waiting`, and the ended ones by reason.

        Since the start or `reset_state`; empty before the first world.
        """
        return {} if self._engine is None else self._engine.runtime.input_counts()

    def consume_option_switch_counts(self) -> dict[str, int]:
        """Return changes from one non-wait kind directly to another since the last call, by agent with any."""
        return {} if self._engine is None else self._engine.runtime.consume_option_switch_counts()

    def latest_policy_snapshot(self) -> dict[str, AgentSnapshot]:
        """Return the last decision of every agent, and the policy's most probable actions; empty before the first."""
        return {} if self._engine is None else self._engine.runtime.latest_policy_snapshot()

    def latest_decisions(self) -> dict[str, StepExplanation]:
        """Explain the last decision of every agent, by agent id; empty before the first."""
        return {} if self._engine is None else self._engine.latest_decisions()

    def counts(self) -> Tally | None:
        """Return counts of decisions by source since the start or `reset_state`; None before the first world."""
        return None if self._engine is None else self._engine.runtime.counts()

    def _leave(self) -> None:
        """Forget the world. Its agents are gone: possessors are told, and inputs that wait have ended."""
        if self._engine is not None:
            self._engine.runtime.end_possessions()
        self._engine = None

    def _possession_ended(self, agent_id: str, owner: str | None, reason: EndReason) -> None:
        for callback in self._end_callbacks:
            self._lock.call_when_free(callback, agent_id, owner, reason)
