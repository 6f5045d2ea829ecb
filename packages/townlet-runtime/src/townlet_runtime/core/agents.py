"""Ids of agents where rows and slots meet people: found, listed, named in errors, and possessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import (
    ActionSpec,
    ActionVocabulary,
    BehaviorError,
    EndReason,
    MultiDiscrete,
    Possession,
    PossessionError,
    Ticket,
    UnknownActionError,
)
from townlet_behavior.forms import OneAction
from townlet_runtime.simulation.interface import Observed


def slot_of(agent_id: str, world: int, observed: Observed | None) -> int:
    """Find the slot of an agent that is present.

    Args:
        agent_id: unique in its world.
        world: index of the world.
        observed: the view of this tick; None: no agent is present.

    Raises:
        PossessionError: if world `world` has no such agent now.
    """
    if observed is not None:
        here = (observed.agent_ids == agent_id) & (observed.worlds == world)
        if here.any():
            return int(observed.slots[here.argmax()])
    raise PossessionError(f"expected an agent that is present in world {world}, got {agent_id!r}")


def id_of(slot: int, world: int, observed: Observed | None) -> str | None:
    """Find the id of the agent in a slot.

    Args:
        slot: of the agent.
        world: index of the world that it must live in.
        observed: the view of this tick; None: no agent is present.

    Returns:
        None where world `world` has no agent in that slot.
    """
    if observed is None:
        return None
    here = (observed.slots == slot) & (observed.worlds == world)
    return str(observed.agent_ids[here.argmax()]) if here.any() else None


def ids_of(slots: NDArray[np.int64], world: int, observed: Observed) -> list[str]:
    """List the ids of present agents.

    Args:
        slots: [M]; agents in other slots are left out.
        world: index of the world.
        observed: the view of this tick.
    """
    here = np.isin(observed.slots, slots) & (observed.worlds == world)
    return [str(agent_id) for agent_id in observed.agent_ids[here]]


def name_agent(error: BehaviorError, observed: Observed) -> None:
    """Name the agent of an error of the bridge, which knows slots alone, by its id and world."""
    if error.slot is not None:
        here = (observed.slots == error.slot).nonzero()[0]
        if here.size:
            error.name_agent(str(observed.agent_ids[here[0]]), world=int(observed.worlds[here[0]]))


class PossessionById:
    """The part of a `BatchRuntime` that takes agents over, by their ids and worlds.

    Args:
        possession: of the bridge.
        actions: that are fed.
    """

    def __init__(self, possession: Possession, actions: ActionSpec) -> None:
        self._possession = possession
        self._actions = actions
        self._tick = 0
        """That is decided next."""
        self._observed: Observed | None = None
        """The view for the next decision."""
        self._ctx_reset_callbacks: list[Callable[[str], None]] = []

    def acquire_possession(
        self, agent_id: str, *, world: int = 0, owner: str | None = None, lease_ticks: int | None = None
    ) -> bool:
        """Possess an agent from its next decision on: it waits, or carries out the action fed by `feed_action`.

        Possession may be used from any thread; `townlet_behavior.Possession` says what that promises.

        Args:
            agent_id: of an agent that is present.
            world: which of the parallel worlds it lives in.
            owner: only who gives the same name may feed and release it.
            lease_ticks: decisions after which it ends by itself; None: never.

        Returns:
            False if it is already possessed.

        Raises:
            PossessionError: if there is no such agent, or the lease is shorter than one tick.
        """
        with self._possessed(agent_id, world) as slot:
            acquired = self._possession.acquire(slot, tick=self._tick, owner=owner, lease_ticks=lease_ticks)
        if acquired:
            for reset in self._ctx_reset_callbacks:
                reset(agent_id)
        return acquired

    def register_ctx_reset_callback(self, callback: Callable[[str], None]) -> None:
        """Tell `callback` the id of every agent that is taken over, once."""
        self._ctx_reset_callbacks.append(callback)

    def register_possession_end_callback(
        self, callback: Callable[[str, str | None, EndReason], None], *, world: int = 0
    ) -> None:
        """Tell `callback` of every possession that ends without a release.

        Args:
            callback: takes the agent's id, the owner, and the reason: the agent has `ended`, or the lease has `lapsed`.
                Called once for each, by the thread that ends it (usually the loop's), and free to call anything here.
            world: which of the parallel worlds it is told of.
        """
        self._possession.tell_ends(callback, name=lambda slot: id_of(slot, world, self._observed))

    def feed_action(
        self,
        agent_id: str,
        action: str | Sequence[str] | Sequence[float],
        *,
        world: int = 0,
        owner: str | None = None,
        queue: bool = False,
    ) -> Ticket:
        """Let a possessed agent carry out an action, once: at its next decision, or after the inputs that wait.

        Args:
            agent_id: of an agent that is present.
            action: a key of the vocabulary; of several parts a key of each, of numbers each number.
            world: which of the parallel worlds it lives in.
            owner: as given to `acquire_possession`.
            queue: wait behind the inputs that wait already, at most 64; else they are superseded.

        Returns:
            The ticket of the input, which says how and when it ended, and can be waited for.

        Raises:
            PossessionError: if there is no such agent, it is not possessed by this owner, or too many inputs wait.
            UnknownActionError: if there is no such action.
        """
        fed = _fed(self._actions, action)
        with self._possessed(agent_id, world) as slot:
            return self._possession.feed(slot, fed, owner=owner, queue=queue)

    def renew_possession(
        self, agent_id: str, lease_ticks: int | None, *, world: int = 0, owner: str | None = None
    ) -> None:
        """Extend a lease: possession ends `lease_ticks` decisions from the next one on, unless it would end later.

        Args:
            agent_id: of an agent that is present.
            lease_ticks: at least 1; None: it does not end by itself any more.
            world: which of the parallel worlds it lives in.
            owner: as given to `acquire_possession`.

        Raises:
            PossessionError: if there is no such agent, or it is not possessed by this owner.
        """
        with self._possessed(agent_id, world) as slot:
            self._possession.renew(slot, lease_ticks, owner)

    def release_possession(self, agent_id: str, *, world: int = 0, owner: str | None = None) -> bool:
        """Give an agent back; False if it was not possessed.

        Args:
            agent_id: of an agent that is present.
            world: which of the parallel worlds it lives in.
            owner: as given to `acquire_possession`.

        Raises:
            PossessionError: if there is no such agent, or another owner possesses it.
        """
        with self._possessed(agent_id, world) as slot:
            return self._possession.release(slot, owner=owner)

    def end_possessions(self) -> None:
        """End every possession, as if the agents had left: they can be taken over again when they are seen again."""
        with self._possession.lock:
            self._possession.forget(self._possession.slots())

    @contextmanager
    def _possessed(self, agent_id: str, world: int) -> Iterator[int]:
        """Hold the slot of an agent while it is possessed; errors name the agent."""
        with self._possession.lock:
            slot = slot_of(agent_id, world, self._observed)
            try:
                yield slot
            except PossessionError as error:
                error.name_agent(agent_id, world=world)
                raise

    def waiting_inputs(self) -> list[Ticket]:
        """The inputs that wait, of all worlds, those of an agent in the order in which they will be carried out."""
        return self._possession.waiting()

    def take_ended_inputs(self) -> list[Ticket]:
        """The inputs of all worlds that ended since the last call; see `townlet_behavior.Possession.take_ended`."""
        return self._possession.take_ended()

    def input_counts(self) -> dict[str, int]:
        """Count the inputs that were `accepted`, those of them that are `waiting`, and the ended ones by reason."""
        return self._possession.counts()

    def is_possessed(self, agent_id: str, *, world: int = 0) -> bool:
        """Whether the next decision of an agent is its possessor's. `PossessionError` if there is no such agent."""
        with self._possession.lock:
            return self._possession.is_possessed(slot_of(agent_id, world, self._observed))

    def possessed_agents(self, *, world: int = 0) -> list[str]:
        """The ids of all possessed agents of a world, sorted."""
        with self._possession.lock:
            if self._observed is None:
                return []
            return sorted(ids_of(self._possession.slots(), world, self._observed))

    def possessors(self, *, world: int = 0) -> dict[str, str | None]:
        """The owner of every possessed agent of a world, by the agent's id."""
        with self._possession.lock:
            named = {id_of(slot, world, self._observed): owner for slot, owner in self._possession.owners().items()}
            return {agent_id: owner for agent_id, owner in named.items() if agent_id is not None}


def _fed(actions: ActionSpec, action: str | Sequence[str] | Sequence[float]) -> OneAction:
    """Return an action as possession takes it: its index, or its K indices or numbers."""
    if isinstance(actions, ActionVocabulary):
        if not isinstance(action, str):
            raise UnknownActionError(f"expected a key of the vocabulary, got {action!r}")
        return actions.index(action)
    if isinstance(action, str) or len(action) != len(actions.names):
        raise UnknownActionError(f"expected an entry for each of {', '.join(actions.names)}, got {action!r}")
    entries: list[str | float] = list(action)
    if isinstance(actions, MultiDiscrete):
        return tuple(
            _index_of(name, keys, key) for (name, keys), key in zip(actions.parts.items(), entries, strict=True)
        )
    return tuple(_number_of(name, number) for name, number in zip(actions.names, entries, strict=True))


def _index_of(part: str, keys: tuple[str, ...], key: str | float) -> int:
    if key not in keys:
        raise UnknownActionError(f"expected a key of part `{part}` ({', '.join(keys)}), got {key!r}")
    return keys.index(str(key))


def _number_of(name: str, number: str | float) -> float:
    if isinstance(number, str):
        raise UnknownActionError(f"expected a number of `{name}`, got {number!r}")
    return float(number)
