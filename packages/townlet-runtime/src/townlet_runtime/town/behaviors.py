"""The town's scripted behaviors: the rules of townlet-behavior in its vocabulary, and schedules.

Scenario agents may have a schedule, which they follow over and over in place of the script. It is a list of intents;
the position in it is part of the town's state. The intent at that position is proposed through ordinary actions, tick
by tick, until the world has done it:

- `wait`, `blocked`, `chat`, and every intent that is marked `blocked`, take one tick; nothing is done but, where the
  agent can, chatting.
- `release` takes one tick and gives up the object (no other than the named one).
- `move` walks one cell a tick, first along x, until the agent stands there.
- `request` walks to the object and stands in its line until the agent holds its turn; it takes no turn.
- `start` does the same and takes the turn; it is done in the tick in which the use begins. A plain object that a later
  `release` gives up, with only `wait` in between, is held until then.

While the agent uses something, it waits: only `wait` and `release` go on. An object whose stock is empty, or that the
agent cannot pay, is walked to and waited for. Every intent takes a tick at least.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import (
    BatchController,
    DecisionBatch,
    IdleController,
    SavedState,
    ScriptedActions,
    ScriptedConfig,
    ScriptedController,
)
from townlet_runtime.errors import SimulationError, TownConfigError
from townlet_runtime.town.actions import DIRECTIONS, SELECTORS, TABLE
from townlet_runtime.town.arrays import Ints
from townlet_runtime.town.config import AgentSpec, ScheduledIntent, TownConfig
from townlet_runtime.town.place import Place
from townlet_runtime.town.state import FREE, HOLDS_TURN, USING, TownState

if TYPE_CHECKING:
    from townlet_runtime.town.observations import TownObserved

BEHAVIORS = ("scripted", "nearest", "idle")
"""By rule with the first object of a type; by rule with the nearest one; not at all."""


def behavior_named(
    name: str, config: ScriptedConfig, *, schedules: Schedules | None
) -> BatchController | ScheduledController:
    """Return one of `BEHAVIORS`; agents with a schedule follow it in all of them.

    Args:
        name: of the behavior.
        config: when the rules act.
        schedules: of the scenario; None: there is none.

    Raises:
        SimulationError: if there is no such behavior.
    """
    if name not in BEHAVIORS:
        raise SimulationError(f"expected a behavior of the town ({', '.join(BEHAVIORS)}), got {name!r}")
    behavior: BatchController = IdleController(wait=TABLE.vocabulary.wait)
    if name != "idle":
        behavior = town_script("first" if name == "scripted" else "nearest", config)
    return behavior if schedules is None else ScheduledController(behavior, schedules)


def town_script(way: Literal["first", "nearest", "least_busy"], config: ScriptedConfig) -> ScriptedController:
    """Needs, work and company by rule; objects are picked the given `way`: `first` is the script, `nearest` the
    yardstick."""
    return ScriptedController(
        ScriptedActions(
            wait=TABLE.index("wait"),
            start=TABLE.index("start"),
            go_to_work=TABLE.index("go_to:workplace"),
            eat=TABLE.index(f"request:fridge:{way}"),
            cook=TABLE.index(f"request:stove:{way}"),
            wash=TABLE.index(f"request:shower:{way}"),
            sleep=TABLE.index(f"request:bed:{way}"),
            chat=TABLE.index("chat"),
        ),
        config,
    )


_WAIT, _RELEASE, _PASS, _CHAT, _MOVE, _REQUEST, _START = (np.array(kind) for kind in range(7))
"""What an intent asks for; `_PASS` is to wait, but not while something is used. From `_REQUEST` on it is an object."""
_KINDS = {
    "wait": _WAIT,
    "release": _RELEASE,
    "blocked": _PASS,
    "chat": _CHAT,
    "move": _MOVE,
    "request": _REQUEST,
    "start": _START,
}
_SELECTORS = np.arange(len(SELECTORS))
_EAST, _WEST, _SOUTH, _NORTH = (TABLE.index(f"move:{name}") for name in DIRECTIONS)
_A_RELEASE, _A_START, _A_CHAT = TABLE.index("release"), TABLE.index("start"), TABLE.index("chat")


class Standing(NamedTuple):
    """How the scheduled agents stand to objects before a tick, [M] each."""

    phase: Ints
    object: Ints


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedules:
    """The schedules of all worlds: M agents; their intents one after the other, E in all."""

    slots: Ints
    """[M], ascending."""
    first: Ints
    """[M]; index of each agent's first intent."""
    length: Ints
    """[M]."""
    kind: Ints
    """[E]."""
    goal: Ints
    """[E]; the object in its world, -1 for none."""
    x: Ints
    y: Ints
    """[E]; cell of a `move`, or of the object."""
    first_object: Ints
    """[M]; index over all worlds of the first object of the agent's world."""

    def standing(self, state: TownState) -> Standing:
        """What `advance` has to know of the state before the tick."""
        return Standing(state.phase[self.slots], state.object[self.slots])

    def advance(self, state: TownState, before: Standing) -> None:
        """Let every agent whose intent was done in this tick go on to its next, and make all of them decide anew.

        A commitment would carry out an intent beyond its end (a `move` beyond its cell), so none is kept.
        """
        slots = self.slots
        entry = self.first + state.schedule_at[slots]
        kind, phase = self.kind[entry], state.phase[slots]
        goal = self._goals(entry)
        at_goal = state.object[slots] == goal
        was_free = before.phase != USING
        there = (state.x[slots] == self.x[entry]) & (state.y[slots] == self.y[entry])
        # A use of one tick is over when its first tick is: then only `since` shows that it has begun.
        over = (before.phase == HOLDS_TURN) & (before.object == goal) & (phase == FREE)
        begun = (state.since[slots] == state.tick) & (over | ((phase == USING) & at_goal))
        done = kind <= _RELEASE
        done |= was_free & ((kind == _PASS) | (kind == _CHAT) | ((kind == _MOVE) & there))
        done |= was_free & (kind == _REQUEST) & (begun | ((phase >= HOLDS_TURN) & at_goal))
        done |= (kind == _START) & begun
        state.schedule_at[slots] = (state.schedule_at[slots] + done) % self.length
        state.option_done[slots] = True

    def proposals(self, view: TownObserved) -> tuple[Ints, Ints]:
        """Return the slots [P] of the scheduled agents that are present, and what each does [P]."""
        state = view.state
        own = state.alive[self.slots].nonzero()[0]
        slots, entry = self.slots[own], (self.first + state.schedule_at[self.slots])[own]
        kind, goal, phase = self.kind[entry], self._goals(entry, own), state.phase[slots]
        idle = phase != USING
        at_goal = state.object[slots] == goal
        turn = at_goal & (phase == HOLDS_TURN)
        asks = idle & (kind >= _REQUEST) & ~turn
        request = _requests(view, slots, self.goal[entry])
        actions = np.where(asks & (request >= 0), request, TABLE.vocabulary.wait)
        walks = (idle & (kind == _MOVE)) | (asks & (request < 0))
        steps = _steps(self.x[entry] - state.x[slots], self.y[entry] - state.y[slots])
        np.copyto(actions, steps, where=walks)
        np.copyto(actions, _A_START, where=turn & (kind == _START))
        np.copyto(actions, _A_CHAT, where=(kind == _CHAT) & view.action_mask[_rows(view, slots), _A_CHAT])
        holds = (state.object[slots] >= 0) & (at_goal | (goal < 0))
        np.copyto(actions, _A_RELEASE, where=holds & (kind == _RELEASE))
        return slots, actions

    def _goals(self, entry: Ints, own: Ints | slice = slice(None)) -> Ints:
        """The objects over all worlds that the intents `entry` are about; -1 for none."""
        local = self.goal[entry]
        return np.where(local < 0, -1, local + self.first_object[own])


def _requests(view: TownObserved, slots: Ints, goal: Ints) -> Ints:
    """[P]; the request that means the very object `goal` of an agent's world, -1 where none does."""
    columns = view.place.local_type[goal][:, None] * len(SELECTORS) + _SELECTORS
    means = view.targets.local[slots[:, None], columns] == goal[:, None]
    chosen = columns[np.arange(len(slots)), means.argmax(axis=1)]
    return np.where(means.any(axis=1), view.place.actions.request_of[chosen], -1)


def _rows(view: TownObserved, slots: Ints) -> Ints:
    """The rows of a view that belong to `slots`."""
    return slots if view.rows is None else np.searchsorted(view.rows, slots)


def _steps(dx: Ints, dy: Ints) -> Ints:
    """The step that brings one nearer, first along x; waiting where one is there."""
    along_x = np.where(dx > 0, _EAST, _WEST)
    along_y = np.where(dy > 0, _SOUTH, np.where(dy < 0, _NORTH, TABLE.vocabulary.wait))
    return np.where(dx != 0, along_x, along_y)


class ScheduledController:
    """Lets scheduled agents follow their schedules; all others do what another controller proposes."""

    def __init__(self, inner: BatchController, schedules: Schedules) -> None:
        self._inner = inner
        self._schedules = schedules

    def propose(self, view: TownObserved) -> NDArray[np.int64]:
        """[N]."""
        proposals = self._inner.propose(view).copy()
        slots, actions = self._schedules.proposals(view)
        proposals[_rows(view, slots)] = actions
        return proposals

    def settled(self, view: TownObserved, decisions: DecisionBatch) -> None:
        """Tell the other controller; schedules go on with the state."""
        self._inner.settled(view, decisions)

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Tell the other controller."""
        self._inner.forget(slots)

    def save_state(self) -> SavedState:
        """The other controller's plans; where schedules stand is the town's state."""
        return self._inner.save_state()

    def restore(self, state: SavedState) -> None:
        """Give the other controller its plans back."""
        self._inner.restore(state)


def build_schedules(config: TownConfig, place: Place) -> Schedules | None:
    """The schedules of the scenario's agents; None where nobody has one.

    Raises:
        TownConfigError: if an intent lacks what its kind needs, or names an object or agent that is not there; names
            the agent and the intent.
    """
    scheduled = [(slot, agent) for slot, agent in enumerate(config.agents) if agent.schedule]
    if not scheduled:
        return None
    entries = [_entry(config, place, agent, index) for _, agent in scheduled for index in range(len(agent.schedule))]
    kind, goal, x, y = (np.array(column, dtype=np.int64) for column in zip(*entries, strict=True))
    length = np.array([len(agent.schedule) for _, agent in scheduled])
    worlds = np.repeat(np.arange(place.num_worlds), len(scheduled))
    return Schedules(
        slots=worlds * config.population + np.tile([slot for slot, _ in scheduled], place.num_worlds),
        first=np.tile(np.cumsum(length) - length, place.num_worlds),
        length=np.tile(length, place.num_worlds),
        kind=kind,
        goal=goal,
        x=x,
        y=y,
        first_object=worlds * place.num_objects,
    )


def _entry(config: TownConfig, place: Place, agent: AgentSpec, index: int) -> tuple[int, int, int, int]:
    """Kind, object and cell of an intent."""
    intent = agent.schedule[index]
    key = f"agents[{agent.id}].schedule[{index}]"
    goal, (x, y) = _object_of(intent, place, key)
    if intent.target_agent is not None and intent.target_agent not in {other.id for other in config.agents}:
        raise TownConfigError(f"expected an agent of the scenario, got {intent.target_agent!r}", key=f"{key}.target")
    if intent.kind == "move":
        width, height = config.grid_size
        if intent.position is None:
            raise TownConfigError("expected a `position` to move to", key=key)
        x, y = intent.position
        if not (0 <= x < width and 0 <= y < height):
            raise TownConfigError(
                f"expected a cell of the {width} x {height} grid, got {intent.position}", key=f"{key}.position"
            )
    kind = _PASS if intent.blocked else _KINDS[intent.kind]
    return int(kind), goal, x, y


def _object_of(intent: ScheduledIntent, place: Place, key: str) -> tuple[int, tuple[int, int]]:
    """Index in its world and cell of the object that an intent is about; (-1, a cell that means nothing) for none."""
    if intent.object_id is None:
        if intent.kind in ("request", "start"):
            raise TownConfigError(f"expected an `object` to {intent.kind}", key=key)
        return -1, (0, 0)
    known = [item.id for item in place.objects]
    if intent.object_id not in known:
        raise TownConfigError(f"expected one of {', '.join(known)}, got {intent.object_id!r}", key=f"{key}.object")
    index = known.index(intent.object_id)
    return index, place.objects[index].position
