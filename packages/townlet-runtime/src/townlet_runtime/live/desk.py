"""What people at a page may do with the world: every message is one method of `Desk`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import PossessionError
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.drawing.reasons import reasons_of
from townlet_runtime.errors import SimulationError
from townlet_runtime.live.answering import Answer, Answering, Person
from townlet_runtime.live.history import WORLD
from townlet_runtime.live.messages import Message
from townlet_runtime.live.stage import Stage
from townlet_runtime.live.teaching.teacher import Teacher
from townlet_runtime.live.wire import finite
from townlet_runtime.simulation.interface import Observed
from townlet_runtime.sockets.fields import MessageError
from townlet_trajectory import EpisodeLabel

T = TypeVar("T")
log = logging.getLogger(__name__)

LEAST_LEASE_TICKS = 150
"""A lease is at least so long, however slow the world is."""


class Desk(Answering):
    """Does what people ask of a world that lives.

    Args:
        stage: the world.
        has_policy: whether there is one that decisions could be given to.
        teacher: has lessons learned; None: nobody learns here.
        recorded_at: where what happens is recorded; None: it is not.
    """

    _stage: Stage

    def __init__(
        self, stage: Stage, *, has_policy: bool, teacher: Teacher | None = None, recorded_at: str | None = None
    ) -> None:
        others: Mapping[str, Answer] = {
            "ratio": self._ratio,
            "reset": self._reset,
            "inspect": self._inspect,
            "acquire": self._acquire,
            "feed": self._feed,
            "renew": self._renew,
            "release": self._release,
            "label": self._label,
            "mark": self._mark,
            "again": self._again,
            "teach": self._teach,
            "teach_stop": self._teach_stop,
            "swap": self._swap,
        }
        super().__init__(stage, others, refusal="a world that lives has no ticks to go to; those of a record have")
        self._has_policy, self._has_warned = has_policy, False
        self._teacher, self._recorded_at = teacher, recorded_at

    @property
    def can(self) -> dict[str, bool]:
        """What is possible in this world."""
        runtimes = self._stage.runtimes.values()
        return {
            "ratio": self._has_policy or self._learned,
            "possess": True,
            "step": True,
            "reset": True,
            "seek": False,
            "again": self._stage.can_save,
            "label": any(runtime.service is not None for runtime in runtimes),
            "teach": self._teacher is not None,
            "swap": self._teacher is not None,
        }

    @property
    def _learned(self) -> bool:
        """Whether a policy acts that was learned here."""
        return any(runtime.active_policy_hash() is not None for runtime in self._stage.runtimes.values())

    @property
    def recording(self) -> dict[str, Any] | None:
        """Where what happens is recorded, and how much of it people decided; None where it is not recorded."""
        if self._recorded_at is None:
            return None
        shown = self._stage.shown
        return {"path": self._recorded_at, "episodes": shown.episodes, "demonstrated_steps": shown.steps}

    @property
    def teach(self) -> dict[str, Any] | None:
        """How a lesson stands; None where nobody learns."""
        return None if self._teacher is None else self._teacher.state()

    async def renew_all(self, names: Collection[str]) -> None:
        """Renew the leases of all agents that the people of these names possess."""
        for runtime, agent, name in await asyncio.to_thread(self._held_by, names):
            # It may have left, or been released, meanwhile.
            with suppress(PossessionError):
                await asyncio.to_thread(runtime.renew_possession, agent, self.lease_ticks, world=WORLD, owner=name)

    async def release_all(self, name: str) -> None:
        """Free every agent of a person."""
        for runtime, agent, _ in await asyncio.to_thread(self._held_by, [name]):
            with suppress(PossessionError):
                await asyncio.to_thread(runtime.release_possession, agent, world=WORLD, owner=name)

    def _held_by(self, names: Collection[str]) -> list[tuple[BatchRuntime, str, str]]:
        """The runtimes and ids of possessed agents, and their owners; may wait for the world to end its tick."""
        return [
            (runtime, agent, name)
            for runtime in self._stage.runtimes.values()
            for agent, name in runtime.possessors(world=WORLD).items()
            if name is not None and name in names
        ]

    @property
    def lease_ticks(self) -> int:
        return max(LEAST_LEASE_TICKS, round(self.lease_s * self._stage.measured_speed()))

    async def agent(self, agent_id: str, person: Person, tick: int | None = None) -> dict[str, Any]:
        """The inspector's message about an agent.

        Raises:
            SimulationError: if nothing is known of it at that tick.
        """
        return await self._asked(lambda: self._explained(agent_id, person, tick))

    def _explained(self, agent_id: str, person: Person, tick: int | None) -> dict[str, Any]:
        stage = self._stage
        found = stage.history.moment(agent_id, tick)
        if found is None:
            when = "now" if tick is None else f"of tick {tick}"
            raise SimulationError(f"nothing is known of {agent_id!r} {when}")
        group, whole = found
        runtime = stage.runtimes[group]
        owner = runtime.possessors(world=WORLD).get(agent_id)
        # Of the decision that comes: what a person can do now.
        legal = legal_for(whole.decided.observed if tick is not None else runtime.observed, agent_id)
        explained = whole.explained(runtime)
        return finite(
            {
                "type": "agent",
                "id": agent_id,
                "tick": whole.decided.tick,
                "explanation": explained.document(),
                "legal": None if legal is None else legal.tolist(),
                "why_illegal": {} if legal is None or tick is not None else self._reasons(agent_id, runtime, legal),
                "possessed_by": None if owner is None else "you" if owner == person.name else "another",
                "lease_left": None,
                "reward": explained.reward,
                "terms": dict(whole.terms),
            }
        )

    def _reasons(self, agent_id: str, runtime: BatchRuntime, legal: NDArray[np.bool_]) -> dict[str, str]:
        """Why an agent cannot do some things now, by action; nothing where the world fails to say it, which is told."""
        choices = runtime.names.choices
        try:
            return reasons_of(self._stage.simulation, agent_id, world=WORLD, choices=choices, legal=legal)
        except SimulationError as error:
            if not self._has_warned:
                log.warning("%s", error)
            self._has_warned = True
            return {}

    def _runtime_of(self, agent: str) -> BatchRuntime:
        runtimes = self._stage.runtimes
        if len(runtimes) > 1:
            for runtime in runtimes.values():
                observed = runtime.observed
                if observed is not None and (observed.agent_ids == agent).any():
                    return runtime
        return next(iter(runtimes.values()))

    async def _ratio(self, person: Person, message: Message) -> dict[str, Any]:
        if not self.can["ratio"]:
            raise MessageError("there is no policy here that could have a share of the decisions")
        await self._asked(lambda: self._stage.set_ratio(message["value"]))
        return {"ratio": self._stage.ratio}

    async def _reset(self, person: Person, message: Message) -> dict[str, Any]:
        await self._asked(lambda: self._stage.reset(message["seed"]))
        return {}

    async def _inspect(self, person: Person, message: Message) -> dict[str, Any]:
        agent, before = message["agent"], person.inspects

        def look() -> None:
            if before is not None:
                self._stage.history.look_at(before, -1)
            if agent is not None:
                self._stage.history.look_at(agent, 1)

        await self._asked(look)
        person.inspects = agent
        return {}

    async def _acquire(self, person: Person, message: Message) -> dict[str, Any]:
        agent = message["agent"]
        acquire = self._runtime_of(agent).acquire_possession
        lease = self.lease_ticks
        if not await asyncio.to_thread(acquire, agent, world=WORLD, owner=person.name, lease_ticks=lease):
            raise MessageError(f"somebody else has {agent!r}")
        return {"lease_ticks": lease}

    async def _feed(self, person: Person, message: Message) -> dict[str, Any]:
        agent = message["agent"]
        feed = self._runtime_of(agent).feed_action
        ticket = await asyncio.to_thread(feed, agent, message["action"], world=WORLD, owner=person.name)
        return {"ticket": ticket.number}

    async def _renew(self, person: Person, message: Message) -> dict[str, Any]:
        agent = message["agent"]
        renew = self._runtime_of(agent).renew_possession
        await asyncio.to_thread(renew, agent, self.lease_ticks, world=WORLD, owner=person.name)
        return {}

    async def _release(self, person: Person, message: Message) -> dict[str, Any]:
        agent = message["agent"]
        release = self._runtime_of(agent).release_possession
        return {"released": await asyncio.to_thread(release, agent, world=WORLD, owner=person.name)}

    async def _label(self, person: Person, message: Message) -> dict[str, Any]:
        if not self.can["label"]:
            raise MessageError("nothing is recorded here that could be labelled; see --record")
        agent, label = message["agent"], EpisodeLabel[message["value"].upper()]
        runtimes = self._stage.runtimes.values() if agent is None else [self._runtime_of(agent)]

        def tell() -> None:
            for runtime in runtimes:
                runtime.label_episode(label, agent, world=WORLD)

        await self._asked(tell)
        return {}

    async def _mark(self, person: Person, message: Message) -> dict[str, Any]:
        return {"tick": await self._asked(self._stage.mark)}

    async def _again(self, person: Person, message: Message) -> dict[str, Any]:
        return {"tick": await self._asked(self._stage.again)}

    async def _teach(self, person: Person, message: Message) -> dict[str, Any]:
        await asyncio.to_thread(self._school().begin, message["method"])
        return {}

    async def _teach_stop(self, person: Person, message: Message) -> dict[str, Any]:
        await asyncio.to_thread(self._school().stop)
        return {}

    async def _swap(self, person: Person, message: Message) -> dict[str, Any]:
        decide = self._school().decide
        await asyncio.to_thread(decide, message["digest"], approve=message["approve"], by=person.name)
        return {}

    def _school(self) -> Teacher:
        if self._teacher is None:
            raise MessageError("nobody learns here; see --teach")
        return self._teacher


def legal_for(observed: Observed | None, agent_id: str) -> NDArray[np.bool_] | None:
    """Return the choices [A] that are legal for an agent; None where all are, or it is not there."""
    if observed is None or observed.action_mask is None:
        return None
    rows = np.flatnonzero(observed.agent_ids == agent_id)
    return observed.action_mask[rows[0]] if rows.size else None
