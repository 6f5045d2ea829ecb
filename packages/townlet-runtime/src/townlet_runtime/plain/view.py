"""One tick of a plain world as the bridge sees it: rows of agents, and the intents that stand behind their actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import (
    ArgumentsView,
    Avoiding,
    Controller,
    DecisionBatch,
    Kind,
    PerAgent,
    SavedState,
    Source,
)
from townlet_behavior.blend import Choices
from townlet_behavior.guardrails import CHAT_RIVAL, RivalryGuardrail
from townlet_behavior.scripted_behavior import other_agents_at
from townlet_runtime.plain.codec import Intent, IntentCodec, OptionCodec, World
from townlet_runtime.simulation.interface import Observed

_LEARNED, _EXTERNAL, _FORCED = int(Source.LEARNED), int(Source.EXTERNAL), int(Kind.FORCED)


@dataclass(kw_only=True, eq=False)
class TickIntents(Generic[Intent]):
    """The intents of all agents at one tick, row by row, filled in as the tick goes on."""

    scripted: list[Intent] = field(default_factory=list)
    """[N]; what the script proposed."""
    learned: Callable[[int], Intent] | None = None
    """Of a row, what the learned side proposed; None: there is none."""
    held: Mapping[int, Intent] = field(default_factory=dict)
    """By slot, the intents that began the options in force."""
    fed: Mapping[int, tuple[int, Intent]] = field(default_factory=dict)
    """By slot, index and intent that were last fed to a possessed agent."""
    drawn: list[Intent] = field(default_factory=list)
    """[N]; what the blend drew, also where an option is held."""
    drawn_actions: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """[N]; the same as indices."""
    chosen: list[Intent] = field(default_factory=list)
    """[N]; after commitments and possession."""
    chosen_actions: list[int] = field(default_factory=list)
    """[N]; the same as indices: of a held option, that of the action that began it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlainObserved(Observed, ArgumentsView, Generic[World, Intent]):
    """The agents of a plain world before a decision. Also a `RivalryView`, for worlds that are `WorldView`s."""

    world: World
    tick: int
    ids: list[str]
    """[N]; as in `agent_ids`."""
    codec: IntentCodec[World, Intent]
    avoids: Callable[[str, str], bool]
    """Whether an agent is to avoid another, by controller or world."""
    intents: TickIntents[Intent]

    def choices_made(self, drawn: Choices, chosen: Choices) -> None:
        """Find the intents behind the choices."""
        mine, options = self.intents, self.codec if isinstance(self.codec, OptionCodec) else None
        mine.drawn_actions, mine.chosen_actions = drawn.action, chosen.action.tolist()
        mine.drawn, mine.chosen = [], []
        columns = (self.slots, drawn.source, drawn.action, chosen.kind, chosen.source, chosen.action)
        for row, (slot, drew, drew_action, kind, source, action) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        ):
            learned = mine.learned(row) if drew == _LEARNED and mine.learned is not None else None
            mine.drawn.append(mine.scripted[row] if learned is None else learned)
            if source == _EXTERNAL:
                fed_action, fed = mine.fed.get(slot, (-1, None))
                mine.chosen.append(fed if fed is not None and fed_action == action else self.decoded(row, action))
            elif kind == _FORCED:
                begun = mine.held[slot]
                step = begun if options is None else options.continued(begun, self.world, self.ids[row])
                mine.chosen.append(step)
            elif action == drew_action:
                mine.chosen.append(mine.drawn[row])
            else:  # drawn some ticks ago, or the only legal action
                mine.chosen.append(self.decoded(row, action))

    def decoded(self, row: int, action: int) -> Intent:
        """Return the intent of an action index, with arguments from the codec."""
        return self.codec.decode(action, self.world, self.ids[row])

    def intent_of(self, row: int, action: int) -> Intent:
        """Return the intent that `action` of a row stands for: the choice itself, or a guardrail's replacement."""
        chosen = self.intents.chosen_actions
        return self.intents.chosen[row] if chosen[row] == action else self.decoded(row, action)

    def lines_up_with_rival(self, actions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[N]; whether each of `actions` [N] asks for, or starts with, an object at which an agent to be avoided is."""
        return np.array([self._meets(row, action) for row, action in enumerate(actions.tolist())], np.bool_)

    def chats_with_rival(self, actions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[N]; whether each of `actions` [N] is a chat with an agent to be avoided."""
        return np.array([self._chats(row, action) for row, action in enumerate(actions.tolist())], np.bool_)

    def record_blocks(self, rows: NDArray[np.int64], actions: NDArray[np.int64], reasons: NDArray[np.int8]) -> None:
        """Tell the world of chats and lines that were kept from an agent.

        Args:
            rows: [R].
            actions: [R]; the choices of those agents.
            reasons: [R]; indices into the reasons of `RivalryGuardrail`.
        """
        world: Any = self.world
        for row, action, reason in zip(rows.tolist(), actions.tolist(), reasons.tolist(), strict=True):
            agent_id, intent = self.ids[row], self._agent_intent(row, action)
            name = RivalryGuardrail.reasons[reason]
            if reason == CHAT_RIVAL:
                world.record_chat_failure(agent_id, intent.target_agent)
                world.record_relationship_guard_block(agent_id=agent_id, reason=name, target_agent=intent.target_agent)
            else:
                world.record_relationship_guard_block(agent_id=agent_id, reason=name, object_id=intent.object_id)

    def _meets(self, row: int, action: int) -> bool:
        intent, agent_id = self._agent_intent(row, action), self.ids[row]
        if intent.kind not in ("request", "start"):
            return False
        world: Any = self.world
        return any(self.avoids(agent_id, other) for other in other_agents_at(world, intent.object_id, agent_id))

    def _chats(self, row: int, action: int) -> bool:
        intent = self._agent_intent(row, action)
        return intent.kind == "chat" and self.avoids(self.ids[row], intent.target_agent)

    def _agent_intent(self, row: int, action: int) -> Any:
        return self.intent_of(row, action)


class ScriptSide(Generic[World, Intent]):
    """A per-agent controller as the bridge's script, asked before the learned side is, which hears of its proposals.

    Args:
        controller: of the world's own types.
        codec: of the world.
    """

    def __init__(self, controller: Controller[World, Intent], codec: IntentCodec[World, Intent]) -> None:
        self._rows = _Rows(codec)
        self._actions: NDArray[np.int64] = np.zeros(0, np.int64)
        self.lift(controller)

    def lift(self, controller: Controller[World, Intent]) -> None:
        """Let another controller propose from the next decision on; plans of the last one are given up."""
        self._lifted = PerAgent(controller, self._rows)

    def ask(self, view: PlainObserved[World, Intent]) -> None:
        """Ask the controller about every agent, once; `PerAgent.propose` says what it raises."""
        view.intents.scripted.clear()
        self._actions = self._lifted.propose(view)

    def propose(self, view: PlainObserved[World, Intent]) -> NDArray[np.int64]:
        """[N]; the answers of `ask`."""
        return self._actions

    def settled(self, view: PlainObserved[World, Intent], decisions: DecisionBatch) -> None:
        """Tell the controller what was executed."""
        self._lifted.settled(view, decisions)

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Tell the controller who has left."""
        self._lifted.forget(slots)

    def save_state(self) -> SavedState:
        """Return the controller's plans."""
        return self._lifted.save_state()

    def restore(self, state: SavedState) -> None:
        """Replace the controller's plans."""
        self._lifted.restore(state)


class _Rows(Generic[World, Intent]):
    """The codec of `ScriptSide`: remembers the intents that it encodes, and decodes to those that are executed."""

    def __init__(self, codec: IntentCodec[World, Intent]) -> None:
        self._codec = codec
        self._located: tuple[PlainObserved[World, Intent], int] | None = None

    def locate(self, view: PlainObserved[World, Intent], row: int, /) -> tuple[World, str]:
        self._located = view, row
        return view.world, view.ids[row]

    def encode(self, intent: Intent, world: World, agent_id: str, /) -> int:
        if self._located is not None:
            self._located[0].intents.scripted.append(intent)
        return self._codec.encode(intent, world, agent_id)

    def decode(self, action: int, world: World, agent_id: str, /) -> Intent:
        if self._located is None:
            return self._codec.decode(action, world, agent_id)
        view, row = self._located
        return view.intent_of(row, action)


def avoidance(world: Any, controller: object) -> Callable[[str, str], bool]:
    """Return whom to avoid in a world: by the controller's own judgement where it has one, else by the world's."""
    if isinstance(controller, Avoiding):
        return lambda agent_id, other_id: bool(controller.should_avoid(world, agent_id, other_id))
    return lambda agent_id, other_id: bool(world.rivalry_should_avoid(agent_id, other_id))
