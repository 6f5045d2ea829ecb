"""Controllers that propose for all agents at once, which the bridge works with."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .actions import ActionSpec
from .decisions import DecisionBatch
from .errors import ShapeError, UnknownActionError
from .forms import ActionForm, Actions, IndexForm, form_of
from .saving import SavedState, check_names
from .views import View


class BatchController(Protocol):
    """Proposes for all agents at once.

    The view is the one the bridge was given. It is typed `Any` so that a controller can name the richer protocol that
    it reads (`ScriptedView`, a world's own); the bridge itself needs no more than a `View`.
    """

    def propose(self, view: Any) -> Actions:
        """An action index per row, int64 [N]; -1 where it proposes nothing, which the bridge carries out as waiting.

        Where actions have several parts, int64 [N, K], a row of -1 for nothing; where they are numbers, float32 [N, K],
        a row of NaN for nothing.

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
    """Proposes to wait for every agent at every tick.

    Examples:
        >>> from townlet_behavior import Box
        >>> from townlet_behavior.testing import plain_view
        >>> IdleController(wait=3).propose(plain_view(["ann", "bob"])).tolist()
        [3, 3]
        >>> pedals = Box(names=("steer", "throttle"), low=(-1.0, 0.0), high=(1.0, 1.0))
        >>> IdleController(wait=pedals.wait).propose(plain_view(["ann", "bob"])).tolist()
        [[0.0, 0.0], [0.0, 0.0]]

    Args:
        wait: the action that does nothing: an index, or an array [K].
    """

    def __init__(self, *, wait: int | NDArray[np.int64] | NDArray[np.float32]) -> None:
        self._wait: Actions = wait if isinstance(wait, np.ndarray) else np.array(wait, np.int64)

    def propose(self, view: View) -> Actions:
        """Return `wait`, N times."""
        return np.full((len(view.slots), *self._wait.shape), self._wait, self._wait.dtype)


class NoProposals(StatelessController):
    """Makes no proposals, for worlds that have no script.

    Without a policy the agents wait, and nothing is recorded that a clone could learn.

    Args:
        actions: of the agents; None: they have an index.
    """

    def __init__(self, actions: ActionSpec | None = None) -> None:
        self._form = IndexForm(1) if actions is None else form_of(actions)

    def propose(self, view: View) -> Actions:
        """Return N rows without an action."""
        return self._form.empty(len(view.slots))


def propose_checked(controller: BatchController, view: View, form: ActionForm) -> Actions:
    """Ask a controller, and check its answer: it is a user's own code.

    Args:
        controller: the script.
        view: of the bridge, N rows.
        form: of the actions.

    Returns:
        A copy of the proposals, N rows.

    Raises:
        ShapeError: if they are not N rows of the form.
        UnknownActionError: if one neither exists nor is none.
    """
    actions = controller.propose(view)
    if actions.shape != (*view.slots.shape, *form.shape) or actions.dtype != form.dtype:
        raise ShapeError(
            f"proposals of the script must be {form.dtype} {(*view.slots.shape, *form.shape)},"
            f" got {actions.dtype} {actions.shape}"
        )
    proposed = form.proposed(actions)
    if np.count_nonzero(proposed) != len(actions):
        row = proposed.argmin()
        raise UnknownActionError(
            f"the script must propose actions in {form} or {form.nothing}, got {actions[row]}",
            slot=int(view.slots[row]),
        )
    return actions.copy()
