"""Agents by their ids: possession by a person or a program, from any thread, and readings of the last decision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from threading import RLock
from typing import TYPE_CHECKING, Any, Generic

from townlet_behavior import Tally, UnknownActionError
from townlet_runtime.core.telemetry import AgentSnapshot
from townlet_runtime.plain.codec import ActionReader, Intent, World

if TYPE_CHECKING:
    from townlet_runtime.plain.engine import PlainEngine


class PossessionCalls(ABC, Generic[World, Intent]):
    """The part of a `PolicyRuntime` that takes agents over and tells of them; a call waits until a decision is made."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[str], None]] = []
        self._lock = RLock()
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
            return self._alive(agent_id).runtime.acquire_possession(agent_id, owner=owner, lease_ticks=lease_ticks)

    def feed_action(self, agent_id: str, action: Intent | Mapping[str, Any], *, owner: str | None = None) -> None:
        """Feed the action of a possessed agent's next decision; it is used once.

        Args:
            agent_id: of an agent that is present.
            action: an intent, or a mapping as `decide` returns it.
            owner: as given to `acquire_possession`.

        Raises:
            PossessionError: if there is no such agent, or it is not possessed by this owner.
            UnknownActionError: if the codec does not know the action.
        """
        with self._lock:
            engine = self._alive(agent_id)
            reader: Any = engine.codec
            if not isinstance(action, Mapping):
                engine.feed(agent_id, action, owner=owner)
            elif isinstance(reader, ActionReader):
                engine.feed(agent_id, reader.from_action(action), owner=owner)
            else:
                raise UnknownActionError(f"{type(reader).__name__} must have `from_action` to be fed a mapping")

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

    def consume_option_switch_counts(self) -> dict[str, int]:
        """Return changes from one non-wait kind directly to another since the last call, by agent with any."""
        return {} if self._engine is None else self._engine.runtime.consume_option_switch_counts()

    def latest_policy_snapshot(self) -> dict[str, AgentSnapshot]:
        """Return the last decision of every agent, and the policy's most probable actions; empty before the first."""
        return {} if self._engine is None else self._engine.runtime.latest_policy_snapshot()

    def counts(self) -> Tally | None:
        """Return counts of decisions by source since the start or `reset_state`; None before the first world."""
        return None if self._engine is None else self._engine.runtime.counts()

    def _reset_context(self, agent_id: str) -> None:
        for callback in self._callbacks:
            callback(agent_id)
