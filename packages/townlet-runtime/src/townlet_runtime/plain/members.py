"""The members that plain worlds must have, looked for when a world, an agent or an object is first seen."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Protocol

from townlet_runtime.errors import SimulationError


class Populated(Protocol):
    """The members that every world of one-agent-at-a-time code needs."""

    @property
    def agents(self) -> Mapping[str, Any]:
        """The agents that live now, by id."""
        ...


OF_WORLDS = (
    "tick",
    "agents",
    "objects",
    "queue_manager.active_agent",
    "queue_manager.queue_snapshot",
    "affordance_runtime.running_affordances",
    "relationship_tie",
    "rivalry_value",
    "rivalry_should_avoid",
    "record_chat_failure",
    "record_relationship_guard_block",
)
"""Of a `townlet_behavior.WorldView`."""
OF_AGENTS = ("position", "needs", "personality.extroversion", "personality_profile", "job_id")
"""Of each of its agents."""
OF_OBJECTS = ("object_type", "stock")
"""Of each of its objects."""


def require_members(thing: object, members: tuple[str, ...], *, label: str) -> None:
    """Refuse what lacks a member.

    Args:
        thing: a world, or an entry of it.
        members: dotted names.
        label: of the thing, in the message.

    Raises:
        SimulationError: names the thing and the first member that is missing.
    """
    for member in members:
        try:
            attrgetter(member)(thing)
        except AttributeError as error:
            raise SimulationError(f"{label} must have `{member}`: {error}") from error


class Inspector:
    """Checks each world once, and each of its agents and objects when it is first there."""

    def __init__(self) -> None:
        self._world: object = None
        self._agents: set[str] = set()
        self._objects: set[str] = set()

    def check(self, world: Any) -> None:
        """Check what has not been seen before.

        Raises:
            SimulationError: names the world, agent or object and the member that is missing.
        """
        if world is not self._world:
            require_members(world, OF_WORLDS, label="the world")
            self._world, self._agents, self._objects = world, set(), set()
        for agent_id in world.agents.keys() - self._agents:
            require_members(world.agents[agent_id], OF_AGENTS, label=f"agent {agent_id!r}")
        for object_id in world.objects.keys() - self._objects:
            require_members(world.objects[object_id], OF_OBJECTS, label=f"object {object_id!r}")
        self._agents, self._objects = set(world.agents), set(world.objects)
