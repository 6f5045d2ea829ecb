"""Controllers that propose for one agent at a time, which is how most people write their first.

The bridge works with `BatchController`s; `PerAgent` makes one of a `Controller`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .actions import ActionSpec
from .decisions import DecisionBatch
from .errors import ConfigError, ControllerError, UnknownActionError
from .forms import Actions, IndexForm, OneAction, form_of
from .saving import SavedState, check_names
from .views import View, tick_of

_INDEX = IndexForm(1)

Seen = TypeVar("Seen")
"""What a per-agent controller looks at: a world, or what one agent sees of it."""
Intent = TypeVar("Intent")
"""The world's own intents."""
_Seen = TypeVar("_Seen", contravariant=True)
_Made = TypeVar("_Made", covariant=True)
_Done = TypeVar("_Done", contravariant=True)


class Controller(Protocol[_Seen, _Made]):
    """Proposes the next intent of one agent; views and intents are of the world's own types."""

    def decide(self, view: _Seen, agent_id: str, /) -> _Made: ...


@runtime_checkable
class Informed(Protocol[_Seen, _Done]):
    """A controller that wants to know what its agents really did."""

    def settled(self, view: _Seen, agent_id: str, intent: _Done, /) -> None:
        """Learn the executed intent of one agent, after blend, guardrails and possession.

        Args:
            view: as given to `decide`.
            agent_id: of the agent.
            intent: that it carried out.
        """


@runtime_checkable
class Cancellable(Protocol):
    """A controller with plans that can be given up."""

    def cancel_pending(self, agent_id: str, /) -> None:
        """Give up the plan of an agent: a guardrail stopped it, or the agent has left."""


@runtime_checkable
class Avoiding(Protocol[_Seen]):
    """A controller with an opinion of its own about whom to avoid; guardrails ask it instead of the world."""

    def should_avoid(self, view: _Seen, agent_id: str, other_id: str, /) -> bool:
        """Tell whether one agent is to avoid another.

        Args:
            view: of the world.
            agent_id: of the agent that would chat or line up.
            other_id: of the one that it would meet.
        """


@runtime_checkable
class SavedController(Protocol):
    """A controller whose plans can be saved as arrays."""

    def save_state(self) -> SavedState: ...

    def restore(self, state: SavedState, /) -> None: ...


class Encoder(Protocol[_Done, _Seen]):
    """A world's own translation of intents into action indices."""

    def encode(self, intent: _Done, view: _Seen, agent_id: str, /) -> Any:
        """Return the action index of an intent, an `int`; or its K indices or numbers, see `ArrayActions`.

        Args:
            intent: of the agent.
            view: that the controller looked at.
            agent_id: in that world.

        Raises:
            UnknownActionError: if the vocabulary has no such action. Other exceptions are made one.
        """


def encode_intent(codec: Encoder[Intent, Seen], intent: Intent, view: Seen, agent_id: str) -> int:
    """Return the action index of an intent, by a user's own codec.

    Args:
        codec: of the world.
        intent: of the agent.
        view: that the intent was made from.
        agent_id: in that world.

    Raises:
        UnknownActionError: if the codec does not know the intent; names it and the agent.
    """
    return _encoded(codec, intent, view, agent_id, operator.index)


def _encoded(
    codec: Encoder[Intent, Seen], intent: Intent, view: Seen, agent_id: str, read: Callable[[Any], _Made]
) -> _Made:
    try:
        return read(codec.encode(intent, view, agent_id))
    except Exception as error:
        raise UnknownActionError(f"agent {agent_id!r}: no action for {intent!r}: {error}") from error


class Codec(Encoder[_Done, Seen], Protocol[Seen, _Done]):
    """A world's own translation between rows and agents, intents and action indices."""

    def locate(self, view: Any, row: int, /) -> tuple[Seen, str]:
        """Return what a controller looks at, and the agent id, of a row of the bridge's view."""


@runtime_checkable
class Decoder(Protocol[_Seen, _Made]):
    """The way back of a codec, for controllers that are `Informed`."""

    def decode(self, action: Any, view: _Seen, agent_id: str, /) -> _Made:
        """Return the intent of an action, with its arguments filled in from the world; see `Codec.encode`.

        Args:
            action: an index, an `int`; or a tuple of K indices or numbers, see `ArrayActions`.
            view: that the controller looked at.
            agent_id: in that world.
        """


class PerAgent(Generic[Seen, Intent]):
    """Lifts a per-agent `Controller` into a batch, with the world's codec. Its cost is that of the calls it makes.

    A controller that is `Informed` is told what its agents did, in the world's intents; one that is `Cancellable` is
    told whose plans are void; the plans of a `SavedController` are saved and restored. Others keep no plans.

    Examples:
        >>> from townlet_behavior import FirstOf, PerAgent
        >>> from townlet_behavior.testing import plain_view
        >>> class Fields:  # a world in which intents are texts
        ...     words, names = ("rest", "dig"), ("ann", "bob")
        ...     def locate(self, view, row):
        ...         return {"rain": row == 1}, self.names[row]
        ...     def encode(self, intent, view, agent_id):
        ...         return self.words.index(intent)
        >>> script = FirstOf([lambda view, agent_id: "rest" if view["rain"] else None, lambda view, agent_id: "dig"])
        >>> PerAgent(script, Fields()).propose(plain_view(["ann", "bob"])).tolist()
        [1, 0]

    Args:
        controller: proposes for one agent at a time.
        codec: of the world; must be a `Decoder` too where the controller is `Informed`.
        actions: of the agents; None: they have an index.

    Raises:
        ConfigError: if an `Informed` controller comes with a codec that cannot decode.
    """

    def __init__(
        self, controller: Controller[Seen, Intent], codec: Codec[Seen, Intent], actions: ActionSpec | None = None
    ) -> None:
        self._controller = controller
        self._form = _INDEX if actions is None else form_of(actions)
        self._codec = codec
        self._informed: Informed[Seen, Intent] | None = controller if isinstance(controller, Informed) else None
        self._cancellable = controller if isinstance(controller, Cancellable) else None
        self._saved = controller if isinstance(controller, SavedController) else None
        self._decoder: Decoder[Seen, Intent] | None = codec if isinstance(codec, Decoder) else None
        if self._informed is not None and self._decoder is None:
            raise ConfigError(
                f"{type(codec).__name__} must have `decode`, because {type(controller).__name__} has `settled`"
            )
        self._ids: dict[int, str] = {}
        """By slot, of the agents that may have plans."""

    def propose(self, view: View) -> Actions:
        """N rows; one call of the controller per agent, in the order of slots.

        Raises:
            ControllerError: if the controller raises; names the agent, and the tick where the world has one.
            UnknownActionError: if the codec does not know an intent; names both.
        """
        size, form = len(view.slots), self._form
        return np.array([self._propose_one(view, row) for row in range(size)], form.dtype).reshape(size, *form.shape)

    def settled(self, view: View, decisions: DecisionBatch) -> None:
        """Tell the controller the executed intent of every agent, and which plans a veto ended.

        Raises:
            ControllerError: if the controller raises.
        """
        if self._cancellable is not None:
            self._note_plans(self._cancellable, view, decisions)
        if self._informed is None or self._decoder is None:
            return
        executed = decisions.action.tolist()
        for row, action in enumerate(executed if not self._form.shape else map(tuple, executed)):
            seen, agent_id = self._codec.locate(view, row)
            intent = self._decoder.decode(action, seen, agent_id)
            try:
                self._informed.settled(seen, agent_id, intent)
            except Exception as error:  # a user's own code
                raise ControllerError.by("`settled`", error, agent_id=agent_id, tick=tick_of(seen)) from error

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Drop the plans of agents that have left."""
        for slot in slots.tolist():
            agent_id = self._ids.pop(slot, None)
            if agent_id is not None and self._cancellable is not None:
                self._cancellable.cancel_pending(agent_id)

    def save_state(self) -> SavedState:
        """Return the controller's own arrays; none where it cannot be saved."""
        return {} if self._saved is None else self._saved.save_state()

    def restore(self, state: SavedState) -> None:
        """Replace the controller's plans by the saved ones.

        Raises:
            StateError: if the state is of another controller.
        """
        if self._saved is None:
            check_names(state, (), of=type(self._controller).__name__)
        else:
            self._saved.restore(state)

    def _propose_one(self, view: View, row: int) -> OneAction:
        seen, agent_id = self._codec.locate(view, row)
        try:
            intent = self._controller.decide(seen, agent_id)
        except ControllerError:
            raise
        except Exception as error:  # a user's own code
            raise ControllerError.by("the script", error, agent_id=agent_id, tick=tick_of(seen)) from error
        return _encoded(self._codec, intent, seen, agent_id, self._form.read)

    def _note_plans(self, cancellable: Cancellable, view: View, decisions: DecisionBatch) -> None:
        for row, (slot, vetoed) in enumerate(zip(view.slots.tolist(), decisions.vetoed.tolist(), strict=True)):
            if slot not in self._ids:
                self._ids[slot] = self._codec.locate(view, row)[1]
            if vetoed:
                cancellable.cancel_pending(self._ids[slot])


Rule = Callable[[Seen, str], Intent | None]
"""A part of a script: the intent of an agent, or None where the rule does not apply."""


class FirstOf(Generic[Seen, Intent]):
    """A `Controller` made of small rules, of which the first that applies decides; the last must always apply.

    Examples:
        >>> def flee(view: dict[str, float], agent_id: str) -> str | None:
        ...     return "run" if view["danger"] > 0.5 else None
        >>> def graze(view: dict[str, float], agent_id: str) -> str:
        ...     return "eat"
        >>> FirstOf([flee, graze]).decide({"danger": 0.2}, "doe")
        'eat'

    Args:
        rules: in the order in which they are asked.

    Raises:
        ConfigError: without a rule.
    """

    def __init__(self, rules: Sequence[Rule[Seen, Intent]]) -> None:
        if not rules:
            raise ConfigError("`rules` must hold at least one rule, got none")
        self._rules = tuple(rules)

    def decide(self, view: Seen, agent_id: str, /) -> Intent:
        """Return the intent of the first rule that applies.

        Raises:
            ControllerError: if none does.
        """
        for rule in self._rules:
            intent = rule(view, agent_id)
            if intent is not None:
                return intent
        raise ControllerError(
            f"none of {len(self._rules)} rules applies, and the last one must", agent_id=agent_id, tick=tick_of(view)
        )
