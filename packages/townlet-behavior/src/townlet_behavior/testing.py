"""For tests of your own controllers and guardrails: a view made of nothing but agent ids, and the rules to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .controllers import BatchController
from .draws import draw_keys
from .errors import BehaviorError, GuardrailError, ShapeError, StateError
from .guardrails import Guardrail, GuardrailChain
from .saving import SavedState
from .views import View
from .vocabulary import ActionVocabulary


@dataclass(frozen=True, kw_only=True, eq=False)
class PlainView:
    """A `View` and nothing more; subclass it to add what your controller reads."""

    slots: NDArray[np.int64]
    """[N]."""
    keys: NDArray[np.uint64]
    """[N]."""
    action_mask: NDArray[np.bool_] | None
    """[N, A]."""
    option_done: NDArray[np.bool_]
    """[N]."""


def plain_view(agent_ids: Sequence[str], *, action_mask: NDArray[np.bool_] | None = None) -> PlainView:
    """Return a view of these agents in slots 0, 1, ..., with keys of world 0 and no option done."""
    return PlainView(
        slots=np.arange(len(agent_ids)),
        keys=np.array([draw_keys(0, agent_id) for agent_id in agent_ids], np.uint64),
        action_mask=action_mask,
        option_done=np.zeros(len(agent_ids), np.bool_),
    )


def check_controller(controller: BatchController, view: View, vocabulary: ActionVocabulary) -> None:
    """Check that a controller keeps the rules that the bridge builds on, at one view.

    Args:
        controller: to check; it is asked twice.
        view: that it understands.
        vocabulary: of its proposals.

    Raises:
        ShapeError: if its proposals are not int64 [N].
        BehaviorError: if a proposal is neither an action nor -1, if asking twice gives two answers or changes what is
            saved (a plan must not advance before `settled`), if it writes to the view, or if `restore` accepts the
            state of another controller or changes something when it refuses one.
    """
    before, seen = _copies(controller.save_state()), _arrays_of(view)
    first, second = controller.propose(view).copy(), controller.propose(view)
    if first.shape != view.slots.shape or first.dtype != np.int64:
        raise ShapeError(f"proposals must be int64 {view.slots.shape}, got {first.dtype} {first.shape}")
    if np.any((first < -1) | (first >= len(vocabulary))):
        raise BehaviorError(f"proposals must be -1 or in [0, {len(vocabulary)}), got {first.tolist()}")
    if not np.array_equal(first, second):
        raise BehaviorError(
            f"a second `propose` before `settled` must give the same, got {first.tolist()} then {second.tolist()}"
        )
    _require_same(before, controller.save_state(), "`propose` must not change what is saved")
    _require_same(seen, _arrays_of(view), "`propose` must not write to the view")
    try:
        controller.restore({"of another controller": np.zeros(1)})
    except StateError:
        _require_same(before, controller.save_state(), "a `restore` that refuses must not change what is saved")
    else:
        raise BehaviorError("`restore` must refuse the state of another controller with a `StateError`, got no error")


def check_guardrail(guardrail: Guardrail, view: View, vocabulary: ActionVocabulary) -> None:
    """Check that a guardrail's verdicts can be carried out, whichever action an agent of a view has chosen.

    Args:
        guardrail: to check; it judges every action of every agent, twice.
        view: that it understands.
        vocabulary: of the actions.

    Raises:
        GuardrailError: if its reasons are not different names, if judging twice gives two answers, if it writes to the
            view or the actions, or if a verdict is of another length, replaces an action by one that the mask forbids,
            by itself or by one that it would veto too, or gives a reason that does not exist.
    """
    reasons = guardrail.reasons
    if not reasons or len(set(reasons)) < len(reasons) or not all(isinstance(one, str) and one for one in reasons):
        raise GuardrailError(f"the reasons of a guardrail must be different names, got {reasons!r}")
    chain = GuardrailChain([guardrail], wait=vocabulary.wait, num_actions=len(vocabulary))
    seen = _arrays_of(view)
    for action in range(len(vocabulary)):
        chosen = np.full(len(view.slots), action)
        verdicts, again = guardrail.review(view, chosen), guardrail.review(view, chosen.copy())
        _require_same({"actions": np.full(len(view.slots), action)}, {"actions": chosen}, "`review` must not write to")
        if not all(np.array_equal(one, vars(again)[name]) for name, one in vars(verdicts).items()):
            raise GuardrailError(f"a second `review` must give the same, got {verdicts} then {again}")
        executed = chain.review(view, chosen).action
        vetoed = verdicts.vetoed
        if np.any(verdicts.replacement[vetoed] == action):
            raise GuardrailError(f"a veto must replace the action by another, got {action} for {action}")
        if np.any(guardrail.review(view, executed).vetoed & vetoed):
            raise GuardrailError(f"a replacement must not be vetoed too, got {executed[vetoed].tolist()} for {action}")
    _require_same(seen, _arrays_of(view), "`review` must not write to the view")


def _copies(state: SavedState) -> SavedState:
    return {name: array.copy() for name, array in state.items()}


def _arrays_of(view: View) -> SavedState:
    """Copies of the arrays that every view has."""
    arrays = {"slots": view.slots, "keys": view.keys, "option_done": view.option_done}
    return _copies(arrays if view.action_mask is None else {**arrays, "action_mask": view.action_mask})


def _require_same(before: SavedState, after: SavedState, rule: str) -> None:
    differing = [name for name in {**before, **after} if not np.array_equal(before.get(name, ()), after.get(name, ()))]
    if differing:
        raise BehaviorError(f"{rule}, got other {differing}")
