"""Controllers propose actions: for one agent at a time, or for all agents at once.

The bridge works with `BatchController`s. `PerAgent` lifts a `Controller`, which is how most people write their first.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .decisions import DecisionBatch
from .errors import ShapeError, UnknownActionError
from .intent import AgentIntent
from .saving import SavedState, check_names
from .views import View, WorldView

_INT64 = np.dtype(np.int64)


class Controller(Protocol):
    """Proposes the next intent of one agent."""

    def decide(self, world: WorldView, agent_id: str) -> AgentIntent: ...


class BatchController(Protocol):
    """Proposes for all agents at once.

    The view is the one the bridge was given. It is typed `Any` so that a controller can name the richer protocol that
    it reads (`ScriptedView`, a world's own); the bridge itself needs no more than a `View`.
    """

    def propose(self, view: Any) -> NDArray[np.int64]:
        """An action index per row, [N]; -1 where it proposes nothing, which the bridge carries out as waiting.

        Must not change any plan: whether a proposal is carried out is only known in `settled`.
        """

    def settled(self, view: Any, decisions: DecisionBatch) -> None:
        """Learn the executed actions, after guardrails and possession; plans advance here alone."""

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Drop the plans of agents that have left; their slots may be given to others."""

    def save_state(self) -> SavedState:
        """Return all plans as arrays; a controller restored from them goes on as this one would."""

    def restore(self, state: SavedState) -> None:
        """Replace all plans by the saved ones.

        Raises:
            StateError: if the state is not one of this controller; then nothing has changed.
        """


class Codec(Protocol):
    """A world's own translation between slots and names, action indices and intents."""

    def locate(self, slot: int) -> tuple[WorldView, str]:
        """The world and the agent id behind a slot."""

    def encode(self, intent: AgentIntent, world: WorldView, agent_id: str) -> int:
        """Return the action index of an intent.

        Args:
            intent: of the agent.
            world: that it lives in.
            agent_id: in that world.

        Raises:
            UnknownActionError: if the vocabulary has no such action.
        """

    def decode(self, action: int, world: WorldView, agent_id: str) -> AgentIntent:
        """Return the intent of an action index, with its arguments filled in from the world; see `encode`."""


class StatelessController:
    """Implements the part of a `BatchController` that deals with plans, for controllers without any."""

    def settled(self, view: View, decisions: DecisionBatch) -> None:
        """Do nothing: the next proposal depends on the next view alone."""

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Do nothing: no plans are kept."""

    def save_state(self) -> SavedState:
        """Return no arrays."""
        return {}

    def restore(self, state: SavedState) -> None:
        """Check that the state is empty.

        Raises:
            StateError: if the plans of another controller are given.
        """
        check_names(state, (), of=type(self).__name__)


class IdleController(StatelessController):
    """Proposes to wait for every agent at every tick."""

    def __init__(self, *, wait: int) -> None:
        self._wait = wait

    def propose(self, view: View) -> NDArray[np.int64]:
        """[N], all `wait`."""
        return np.full(len(view.slots), self._wait, np.int64)


class NoProposals(StatelessController):
    """Makes no proposals, for worlds that have no script.

    Without a policy the agents wait, and nothing is recorded that a clone could learn.
    """

    def propose(self, view: View) -> NDArray[np.int64]:
        """[N], all -1."""
        return np.full(len(view.slots), -1, np.int64)


def propose_checked(controller: BatchController, view: View, *, num_actions: int) -> NDArray[np.int64]:
    """Ask a controller, and check its answer: it is a user's own code.

    Args:
        controller: the script.
        view: of the bridge, N rows.
        num_actions: A, size of the vocabulary.

    Returns:
        A copy of the proposals, [N] in [-1, A).

    Raises:
        ShapeError: if they are not int64 [N].
        UnknownActionError: if one is outside [-1, A).
    """
    actions = controller.propose(view)
    if actions.shape != view.slots.shape or actions.dtype != _INT64:
        raise ShapeError(
            f"proposals of the script must be int64 {view.slots.shape}, got {actions.dtype} {actions.shape}"
        )
    # One comparison for both ends of [-1, A): as unsigned, anything below -1 is larger than any vocabulary.
    known = (actions + 1).view(np.uint64) <= num_actions
    if np.count_nonzero(known) != len(actions):
        row = known.argmin()
        raise UnknownActionError(
            f"the script must propose actions in [0, {num_actions}) or -1, got {actions[row]}",
            slot=int(view.slots[row]),
        )
    return actions.copy()


class PerAgent(StatelessController):
    """Lifts a per-agent `Controller` into a batch, with the world's codec. Its cost is that of the calls it makes.

    What the `Controller` remembers is its own: it is not told what was executed, and not saved.
    """

    def __init__(self, controller: Controller, codec: Codec) -> None:
        self._controller = controller
        self._codec = codec

    def propose(self, view: View) -> NDArray[np.int64]:
        """[N]; one call of the controller per agent, in the order of slots."""
        return np.array([self._propose_one(slot) for slot in view.slots.tolist()], np.int64)

    def _propose_one(self, slot: int) -> int:
        world, agent_id = self._codec.locate(slot)
        return self._codec.encode(self._controller.decide(world, agent_id), world, agent_id)
