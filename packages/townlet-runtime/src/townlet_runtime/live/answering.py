"""What a hub needs of whoever answers people at a page, and the answers that a world and a record have in common."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from townlet_runtime.live.messages import Message
from townlet_runtime.live.player import Player
from townlet_runtime.sockets.fields import MessageError

T = TypeVar("T")

LEASE_S = 5.0
"""Seconds after which an agent is free again whose person has gone."""


class Person(Protocol):
    """One connection, as whoever answers knows it."""

    name: str
    """Of the person; several connections may have it."""
    inspects: str | None
    """Id of the agent that is looked at."""


Answer = Callable[[Person, Message], Awaitable[dict[str, Any]]]


class Answering(ABC):
    """Does what people ask of what a hub shows. Its methods are coroutines of the server's event loop.

    Args:
        stage: what is shown.
        others: what is done of each kind of message beyond pace and looking.
        refusal: what is said of a message that nothing is done for.
    """

    def __init__(self, stage: Player, others: Mapping[str, Answer], *, refusal: str) -> None:
        self._stage, self._refusal = stage, refusal
        self._does: Mapping[str, Answer] = {
            "play": self._play,
            "pause": self._pause,
            "step": self._step,
            "speed": self._speed,
            "strip": self._strip,
            "moment": self._moment,
            **others,
        }

    async def do(self, person: Person, message: Message) -> dict[str, Any]:
        """Do one message; returns the fields of the reply.

        Raises:
            TownletError, BehaviorError: if it cannot be done; the text is for the person.
        """
        does = self._does.get(message.kind)
        if does is None:
            raise MessageError(self._refusal)
        return await does(person, message)

    @property
    @abstractmethod
    def can(self) -> dict[str, bool]:
        """What is possible."""

    @property
    def lease_s(self) -> float:
        """Seconds after which an agent is free again whose person has gone."""
        return LEASE_S

    @property
    @abstractmethod
    def lease_ticks(self) -> int:
        """The same in ticks."""

    @property
    def recording(self) -> dict[str, Any] | None:
        """Where what happens is recorded, and how much of it people decided; None where it is not recorded."""
        return None

    @property
    def teach(self) -> dict[str, Any] | None:
        """How a lesson stands; None where nobody learns."""
        return None

    @abstractmethod
    async def agent(self, agent_id: str, person: Person, tick: int | None = None) -> dict[str, Any]:
        """The inspector's message about an agent.

        Raises:
            SimulationError: if nothing is known of it at that tick.
        """

    @abstractmethod
    async def renew_all(self, names: Collection[str]) -> None:
        """Renew the leases of all agents that the people of these names possess."""

    @abstractmethod
    async def release_all(self, name: str) -> None:
        """Free every agent of a person."""

    async def _asked(self, work: Callable[[], T]) -> T:
        """Have `work` done by the thread of what is shown."""
        future: Future[T] = self._stage.call(work)
        return await asyncio.wrap_future(future)

    async def _play(self, person: Person, message: Message) -> dict[str, Any]:
        self._stage.play()
        return {}

    async def _pause(self, person: Person, message: Message) -> dict[str, Any]:
        self._stage.pause()
        return {}

    async def _step(self, person: Person, message: Message) -> dict[str, Any]:
        self._stage.step(message["ticks"])
        return {}

    async def _speed(self, person: Person, message: Message) -> dict[str, Any]:
        self._stage.set_speed(message["ticks_per_s"])
        return {}

    async def _strip(self, person: Person, message: Message) -> dict[str, Any]:
        return await self._asked(lambda: self._stage.history.strip_of(message["agent"]))

    async def _moment(self, person: Person, message: Message) -> dict[str, Any]:
        return {"moment": await self.agent(message["agent"], person, message["tick"])}
