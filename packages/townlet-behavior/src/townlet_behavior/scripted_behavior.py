"""The scripted behavior for one agent of a plain world at a time, as a list of small rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from .controllers import FirstOf
from .errors import ConfigError
from .intent import AgentIntent
from .personality import BALANCED, CHAT_PREFERENCE, PROFILES, arrival_buffers, need_thresholds
from .saving import SavedState, check_array, check_names
from .scripted import ENERGY, HUNGER, HYGIENE, NEEDS, ScriptedConfig, pressing_needs, time_to_leave, wants_to_chat
from .social import chat_quality, chat_score
from .views import AgentView, WorldView

AFFORDANCES: Mapping[str, str] = MappingProxyType(
    {"fridge": "eat_meal", "stove": "cook_meal", "shower": "use_shower", "bed": "rest_sleep"}
)
"""What is done with an object, by its type."""
_WAYS: tuple[tuple[int, str, tuple[str, ...]], ...] = (
    (HUNGER, "fridge", ("meals",)),
    (HUNGER, "stove", ("ingredients", "raw_ingredients")),
    (HYGIENE, "shower", ()),
    (ENERGY, "bed", ()),
)
"""Need, type of the object, and names of the stock of which it must have some, in the order of the needs."""
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1))
Number = NDArray[np.float64]
"""An array without axes, as formulas over arrays take it."""
_PROFILE = {profile.name: index for index, profile in enumerate(PROFILES)}


@dataclass(frozen=True, kw_only=True)
class Shift:
    """When and where a job begins."""

    start_tick: int
    """Of the day."""
    location: tuple[int, int]
    """Grid cell (x, y)."""


def other_agents_at(world: WorldView, object_id: str, agent_id: str) -> Iterator[str]:
    """Yield the other agents that wait for an object, hold its turn or use it; one may come twice.

    Args:
        world: that the object is in.
        object_id: of the object.
        agent_id: of the agent that is left out.
    """
    running = world.affordance_runtime.running_affordances.get(object_id)
    active = world.queue_manager.active_agent(object_id)
    for other_id in (active, None if running is None else running.agent_id):
        if other_id is not None and other_id != agent_id:
            yield other_id
    for other_id in world.queue_manager.queue_snapshot(object_id):
        if other_id != agent_id:
            yield other_id


def chat_intent(world: WorldView, agent_id: str, preference: float) -> AgentIntent | None:
    """Return the chat with the best partner on the same cell; None where all have a score of at most 0.

    Args:
        world: that the agent lives in.
        agent_id: of the speaker.
        preference: of the speaker for chats, 1 where profiles do not act.
    """
    extroversion = _number(world.agents[agent_id].personality.extroversion)
    best, best_score = None, 0.0
    for other_id in _others_here(world, agent_id):
        if not world.rivalry_should_avoid(agent_id, other_id):
            score = float(chat_score(*_feelings(world, agent_id, other_id), extroversion))
            if score > best_score:
                best, best_score = other_id, score
    if best is None:
        return None
    quality = chat_quality(*_feelings(world, agent_id, best), extroversion, _number(preference))
    return AgentIntent(kind="chat", target_agent=best, quality=float(quality))


class ScriptedBehavior:
    """Decides by the rules of `ScriptedController` for one agent at a time, in intents of a plain world.

    1. Using an object: wait. 2. Holding the turn at one: start. 3. The shift begins soon: move to the job's location.
    4. The first pressing need with a usable object, the first of its type, without a rival in its line: request.
    5. Chat with the best partner on the same cell. 6. Step away from a rival. 7. Wait.

    It keeps no plans but the time of each agent's last chat.

    Args:
        config: thresholds and buffers.
        jobs: by `job_id`; agents of other jobs go nowhere.
        chat_cooldown_ticks: from one chat of an agent to its next, at least 0.
        relationships: whether there are chats at all.
        grid_size: (width, height) of the cells that can be stepped to; None: all.
        ticks_per_day: shifts begin at the same tick of every day; None: once.

    Raises:
        ConfigError: if a number is out of its range.
    """

    def __init__(
        self,
        config: ScriptedConfig,
        *,
        jobs: Mapping[str, Shift] = MappingProxyType({}),
        chat_cooldown_ticks: int = 30,
        relationships: bool = True,
        grid_size: tuple[int, int] | None = None,
        ticks_per_day: int | None = None,
    ) -> None:
        if chat_cooldown_ticks < 0:
            raise ConfigError(f"`chat_cooldown_ticks` must be at least 0, got {chat_cooldown_ticks}")
        if ticks_per_day is not None and ticks_per_day < 1:
            raise ConfigError(f"`ticks_per_day` must be at least 1, got {ticks_per_day}")
        self._config = config
        self._jobs = jobs
        self._cooldown = chat_cooldown_ticks
        self._relationships = relationships
        self._grid_size = grid_size
        self._ticks_per_day = ticks_per_day
        self._thresholds = need_thresholds((config.hunger_threshold, config.hygiene_threshold, config.energy_threshold))
        self._arrival_buffers = arrival_buffers(config.job_arrival_buffer)
        self._chatted: dict[str, int] = {}
        """Tick of the last chat, of agents whose next one may have to wait for that."""
        rules = (self._finish, self._go_to_work, self._see_to_needs, self._chat, self._step_away, self._wait)
        self._rules = FirstOf[WorldView, AgentIntent](rules)

    def decide(self, world: WorldView, agent_id: str, /) -> AgentIntent:
        """Return the intent of the first rule that applies."""
        return self._rules.decide(world, agent_id)

    def settled(self, world: WorldView, agent_id: str, intent: AgentIntent, /) -> None:
        """Note the ticks of executed chats, of any source; see `Informed.settled`."""
        if intent.kind == "chat":
            # What is long ago is forgotten here, so that nothing grows with the agents that ever lived.
            longest = self._cooldown / CHAT_PREFERENCE.min()
            self._chatted = {other: tick for other, tick in self._chatted.items() if world.tick - tick < longest}
            self._chatted[agent_id] = world.tick

    def save_state(self) -> SavedState:
        """Return the ticks of the last chats, by agent."""
        agents, ticks = list(self._chatted), list(self._chatted.values())
        return {"agents": np.array(agents, np.str_), "ticks": np.array(ticks, np.int64)}

    def restore(self, state: SavedState, /) -> None:
        """Replace the ticks of the last chats.

        Raises:
            StateError: if the state is of another controller; then nothing has changed.
        """
        check_names(state, ("agents", "ticks"), of="the scripted behavior")
        like = np.zeros(len(np.atleast_1d(state["agents"])), np.int64)
        check_array(state, "ticks", like=like, low=-(2**62), high=2**62)
        self._chatted = dict(zip(state["agents"].tolist(), state["ticks"].tolist(), strict=True))

    def _finish(self, world: WorldView, agent_id: str) -> AgentIntent | None:
        if any(use.agent_id == agent_id for use in world.affordance_runtime.running_affordances.values()):
            return AgentIntent(kind="wait")
        for object_id, item in world.objects.items():
            if world.queue_manager.active_agent(object_id) == agent_id:
                affordance_id = AFFORDANCES.get(item.object_type)
                return AgentIntent(kind="start", object_id=object_id, affordance_id=affordance_id)
        return None

    def _go_to_work(self, world: WorldView, agent_id: str) -> AgentIntent | None:
        agent = world.agents[agent_id]
        job = None if agent.job_id is None else self._jobs.get(agent.job_id)
        if job is None:
            return None
        tick = world.tick if self._ticks_per_day is None else world.tick % self._ticks_per_day
        characters = self._config.personality_profiles
        leaves = time_to_leave(
            np.array(tick),
            np.array(job.start_tick),
            np.array(tuple(agent.position) == job.location),
            arrival_buffer=self._arrival_buffers[_profile_of(agent) if characters else BALANCED],
        )
        return AgentIntent(kind="move", position=job.location) if leaves else None

    def _pressing(self, agent: AgentView) -> NDArray[np.bool_]:
        profile = _profile_of(agent) if self._config.reward_multipliers else BALANCED
        needs = np.array([agent.needs[need] for need in NEEDS], np.float32)
        return pressing_needs(needs, self._thresholds[profile])

    def _see_to_needs(self, world: WorldView, agent_id: str) -> AgentIntent | None:
        pressing = self._pressing(world.agents[agent_id])
        for need, object_type, stocks in _WAYS:
            object_id = _first_usable(world, object_type, stocks) if pressing[need] else None
            if object_id is not None and not self._rival_at(world, object_id, agent_id):
                return AgentIntent(kind="request", object_id=object_id, affordance_id=AFFORDANCES[object_type])
        return None

    def _chat(self, world: WorldView, agent_id: str) -> AgentIntent | None:
        agent = world.agents[agent_id]
        extroversion = _number(agent.personality.extroversion)
        preference = float(CHAT_PREFERENCE[_profile_of(agent) if self._config.personality_profiles else BALANCED])
        ready = world.tick - self._chatted.get(agent_id, -(2**62)) >= self._cooldown / preference
        wants = wants_to_chat(extroversion, self._pressing(agent)[None], preference=preference)
        if not (self._relationships and ready and wants):
            return None
        return chat_intent(world, agent_id, preference)

    def _step_away(self, world: WorldView, agent_id: str) -> AgentIntent | None:
        if not any(world.rivalry_should_avoid(agent_id, other_id) for other_id in _others_here(world, agent_id)):
            return None
        x, y = world.agents[agent_id].position
        taken = {tuple(other.position) for other in world.agents.values()}
        for dx, dy in _SIDES:
            cell = (x + dx, y + dy)
            if cell not in taken and self._is_on_grid(cell):
                return AgentIntent(kind="move", position=cell)
        return None

    @staticmethod
    def _wait(world: WorldView, agent_id: str) -> AgentIntent:
        return AgentIntent(kind="wait")

    @staticmethod
    def _rival_at(world: WorldView, object_id: str, agent_id: str) -> bool:
        others = other_agents_at(world, object_id, agent_id)
        return any(world.rivalry_should_avoid(agent_id, other_id) for other_id in others)

    def _is_on_grid(self, cell: tuple[int, int]) -> bool:
        if self._grid_size is None:
            return True
        return 0 <= cell[0] < self._grid_size[0] and 0 <= cell[1] < self._grid_size[1]


def _profile_of(agent: AgentView) -> int:
    return _PROFILE.get(agent.personality_profile, BALANCED)


def _first_usable(world: WorldView, object_type: str, stocks: tuple[str, ...]) -> str | None:
    """The first object of a type that is not out of stock; None where there is none."""
    for object_id, item in world.objects.items():
        if item.object_type == object_type and (not stocks or any(item.stock.get(name, 0) > 0 for name in stocks)):
            return object_id
    return None


def _others_here(world: WorldView, agent_id: str) -> Iterator[str]:
    """Other agents on the same cell, in the world's order."""
    here = tuple(world.agents[agent_id].position)
    return (other for other, agent in world.agents.items() if other != agent_id and tuple(agent.position) == here)


def _feelings(world: WorldView, agent_id: str, other_id: str) -> tuple[Number, Number, Number]:
    """Trust, familiarity and rivalry of an agent towards another; strangers feel nothing."""
    tie = world.relationship_tie(agent_id, other_id)
    trust, familiarity = (0.0, 0.0) if tie is None else (tie.trust, tie.familiarity)
    return _number(trust), _number(familiarity), _number(world.rivalry_value(agent_id, other_id))


def _number(value: float) -> Number:
    return np.array(value, np.float64)
