"""Intents of plain worlds as actions of a vocabulary, and back."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from townlet_behavior import ActionVocabulary, AgentIntent, Shift, UnknownActionError, WorldView
from townlet_behavior.scripted_behavior import AFFORDANCES, chat_intent

World = TypeVar("World")
"""The world's own class."""
Intent = TypeVar("Intent")
"""The world's own intents."""
_World = TypeVar("_World", contravariant=True)
_Read = TypeVar("_Read", covariant=True)


class IntentCodec(Protocol[_World, Intent]):
    """A plain world's own translation between intents and actions of a declared vocabulary."""

    @property
    def vocabulary(self) -> ActionVocabulary:
        """The actions that recorded data and policies refer to."""
        ...

    def encode(self, intent: Intent, world: _World, agent_id: str, /) -> int:
        """Return the action index of an intent.

        Args:
            intent: of the agent.
            world: that it lives in.
            agent_id: in that world.

        Raises:
            UnknownActionError: if the vocabulary has no such action. Other exceptions are made one.
        """
        ...

    def decode(self, action: int, world: _World, agent_id: str, /) -> Intent:
        """Return the intent of an action index, with its arguments filled in from the world; see `encode`."""
        ...

    def to_action(self, intent: Intent, /) -> dict[str, Any]:
        """Return the mapping that a world is given, and that frames hold; it has at least `kind`."""
        ...


@runtime_checkable
class ActionReader(Protocol[_Read]):
    """A codec that reads the mappings that it writes."""

    def from_action(self, action: Mapping[str, Any], /) -> _Read: ...


@runtime_checkable
class OptionCodec(Protocol[_World, Intent]):
    """A codec that knows which intents are steps of one option, such as asking for an object and then using it.

    Without it an option is one action, held as it is until its ticks are over.
    """

    def option_of(self, intent: Intent, world: _World, agent_id: str, /) -> Hashable:
        """Name the option that an intent belongs to; equal names are the same option. See `IntentCodec.encode`."""
        ...

    def continued(self, intent: Intent, world: _World, agent_id: str, /) -> Intent:
        """Return the next step of the option that began with `intent`; see `IntentCodec.encode`."""
        ...

    def is_done(self, intent: Intent, last: Intent, world: _World, agent_id: str, /) -> bool:
        """Tell whether an option has come to its end.

        Args:
            intent: with which it began.
            last: the agent's last executed intent.
            world: after that.
            agent_id: in that world.
        """
        ...


class KeyCodec:
    """The codec of worlds whose intents are the keys of the vocabulary themselves.

    Examples:
        >>> from townlet_behavior import ActionVocabulary
        >>> codec = KeyCodec(ActionVocabulary(keys=("rest", "dig"), kinds=("wait", "work")))
        >>> codec.encode("dig", None, "ann"), codec.to_action("dig")
        (1, {'kind': 'work', 'action': 'dig'})
    """

    def __init__(self, vocabulary: ActionVocabulary) -> None:
        self.vocabulary = vocabulary

    def encode(self, intent: str, world: object, agent_id: str, /) -> int:
        """Return the index of a key; see `IntentCodec.encode`."""
        return self.vocabulary.index(intent)

    def decode(self, action: int, world: object, agent_id: str, /) -> str:
        """Return the key of an index; see `IntentCodec.decode`."""
        return self.vocabulary.keys[action]

    def to_action(self, intent: str, /) -> dict[str, Any]:
        """Return `kind` and `action`."""
        return {"kind": self.vocabulary.kinds[self.vocabulary.index(intent)], "action": intent}

    def from_action(self, action: Mapping[str, Any], /) -> str:
        """Return the key in `action`."""
        if not isinstance(action.get("action"), str):
            raise UnknownActionError(f"an action must have the key `action`, got {dict(action)}")
        return str(action["action"])


_WITH_OBJECT = ("request", "start", "release")
_PLAIN = ("wait", "move", "chat", "blocked")


def plain_vocabulary(object_ids: Iterable[str]) -> ActionVocabulary:
    """Return the vocabulary of a plain world with these objects.

    It has `wait`, `move`, `chat`, `blocked`, and `request:ID`, `start:ID`, `release:ID` of the ids in their order.
    Where to move and whom to chat with are arguments of an intent, not actions of their own.
    """
    ids = sorted(object_ids)
    with_object = [(f"{kind}:{object_id}", kind) for kind in _WITH_OBJECT for object_id in ids]
    return ActionVocabulary(
        keys=(*_PLAIN, *(key for key, _ in with_object)), kinds=(*_PLAIN, *(kind for _, kind in with_object))
    )


class AgentIntentCodec:
    """The codec of a `WorldView`, whose intents are `AgentIntent`s.

    Where an action is decoded, arguments come from the world: an agent moves to its job, chats with its best partner on
    the cell, and does with an object what is done with its type. Without a job it stays, without a partner it waits.
    Asking for an object, starting with it and waiting while using it are steps of one option.

    Args:
        vocabulary: as `plain_vocabulary` makes it; one saved with a policy or data keeps its meaning.
        jobs: by `job_id`.
    """

    def __init__(self, vocabulary: ActionVocabulary, jobs: Mapping[str, Shift]) -> None:
        self.vocabulary = vocabulary
        self._jobs = jobs

    def encode(self, intent: AgentIntent, world: WorldView, agent_id: str, /) -> int:
        """Return the action index; a `release` without an object is of the one the agent is at. See `IntentCodec`."""
        if intent.kind not in _WITH_OBJECT:
            return self.vocabulary.index(intent.kind)
        object_id = intent.object_id
        if object_id is None and intent.kind == "release":
            object_id = _object_of(world, agent_id)
        return self.vocabulary.index(f"{intent.kind}:{object_id}")

    def decode(self, action: int, world: WorldView, agent_id: str, /) -> AgentIntent:
        """Return the intent of an action index, with arguments from the world; see `IntentCodec.decode`."""
        kind, _, object_id = self.vocabulary.keys[action].partition(":")
        if kind == "move":
            agent = world.agents[agent_id]
            job = None if agent.job_id is None else self._jobs.get(agent.job_id)
            return AgentIntent(kind="move", position=agent.position if job is None else job.location)
        if kind == "chat":
            chat = chat_intent(world, agent_id, 1.0)
            return AgentIntent(kind="wait") if chat is None else chat
        if not object_id:
            return AgentIntent.from_action({"kind": kind})
        item = world.objects.get(object_id)
        affordance_id = None if item is None else AFFORDANCES.get(item.object_type)
        return AgentIntent.from_action({"kind": kind, "object": object_id, "affordance": affordance_id})

    def to_action(self, intent: AgentIntent, /) -> dict[str, Any]:
        """Return the mapping of `AgentIntent.to_action`."""
        return {**intent.to_action()}

    def from_action(self, action: Mapping[str, Any], /) -> AgentIntent:
        """Return the intent of such a mapping."""
        return AgentIntent.from_action(action)

    def option_of(self, intent: AgentIntent, world: WorldView, agent_id: str, /) -> Hashable:
        """Name the object asked for or used, else kind and arguments without quality; see `OptionCodec.option_of`."""
        if intent.kind in ("request", "start"):
            return "use", intent.object_id
        if intent.kind == "wait":
            object_id = _used_by(world, agent_id)
            return ("wait", None) if object_id is None else ("use", object_id)
        return intent.kind, intent.object_id, intent.position, intent.target_agent

    def continued(self, intent: AgentIntent, world: WorldView, agent_id: str, /) -> AgentIntent:
        """Return `wait` in a use, `start` with the turn, else `request`; see `OptionCodec.continued`."""
        if intent.kind not in ("request", "start") or intent.object_id is None:
            return intent
        if _used_by(world, agent_id) == intent.object_id:
            return AgentIntent(kind="wait")
        has_turn = world.queue_manager.active_agent(intent.object_id) == agent_id
        return AgentIntent(
            kind="start" if has_turn else "request", object_id=intent.object_id, affordance_id=intent.affordance_id
        )

    def is_done(self, intent: AgentIntent, last: AgentIntent, world: WorldView, agent_id: str, /) -> bool:
        """Tell whether the agent is there, the use over, or object or partner gone; see `OptionCodec.is_done`."""
        if intent.kind == "move":
            return intent.position is not None and tuple(world.agents[agent_id].position) == tuple(intent.position)
        if intent.kind == "chat":
            return intent.target_agent not in world.agents
        if intent.kind not in ("request", "start") or intent.object_id is None:
            return False
        if intent.object_id not in world.objects:
            return True
        is_there = _used_by(world, agent_id) == intent.object_id
        is_there |= world.queue_manager.active_agent(intent.object_id) == agent_id
        return not is_there and last.kind in ("wait", "start")


def _used_by(world: WorldView, agent_id: str) -> str | None:
    """The object that an agent uses; None where it uses none."""
    running = world.affordance_runtime.running_affordances
    return next((object_id for object_id, use in running.items() if use.agent_id == agent_id), None)


def _object_of(world: WorldView, agent_id: str) -> str | None:
    """The object that an agent uses, holds the turn at, or waits for; None for none."""
    used = _used_by(world, agent_id)
    if used is not None:
        return used
    queues = world.queue_manager
    for object_id in world.objects:
        if queues.active_agent(object_id) == agent_id or agent_id in queues.queue_snapshot(object_id):
            return object_id
    return None
