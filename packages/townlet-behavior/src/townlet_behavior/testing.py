"""For tests of your own controllers and guardrails: a view made of nothing but agent ids, and the rules to keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .actions import ActionSpec, Box, MultiDiscrete
from .batch_controllers import BatchController
from .draws import draw_keys
from .errors import BehaviorError, GuardrailError, ShapeError, StateError
from .forms import form_of
from .guardrails import Guardrail, GuardrailChain
from .saving import SavedState
from .views import View, same_rows
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


def check_controller(controller: BatchController, view: View, actions: ActionSpec) -> None:
    """Check that a controller keeps the rules that the bridge builds on, at one view.

    Args:
        controller: to check; it is asked twice.
        view: that it understands.
        actions: of its proposals.

    Raises:
        ShapeError: if its proposals are not int64 [N], or [N, K] of array actions.
        BehaviorError: if a proposal is neither an action nor none, if asking twice gives two answers or changes what is
            saved (a plan must not advance before `settled`), if it writes to the view, or if `restore` accepts the
            state of another controller or changes something when it refuses one.
    """
    before, seen = _copies(controller.save_state()), _arrays_of(view)
    first, second = controller.propose(view).copy(), controller.propose(view)
    form = form_of(actions)
    shape = (*view.slots.shape, *form.shape)
    if first.shape != shape or first.dtype != form.dtype:
        raise ShapeError(f"proposals must be {form.dtype} {shape}, got {first.dtype} {first.shape}")
    if not form.proposed(first).all():
        raise BehaviorError(f"proposals must be {form.nothing} or in {form}, got {first.tolist()}")
    if not _equal(first, second):
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


def check_guardrail(guardrail: Guardrail, view: View, actions: ActionSpec) -> None:
    """Check that a guardrail's verdicts can be carried out, whichever action an agent of a view has chosen.

    Args:
        guardrail: to check; it judges every action of every agent, twice. Of array actions it judges those in which one
            part has any value, or one number an end of its bounds or their middle, and the others do nothing.
        view: that it understands.
        actions: of the agents.

    Raises:
        GuardrailError: if its reasons are not different names, if judging twice gives two answers, if it writes to the
            view or the actions, or if a verdict is of another length, replaces an action by one that the mask forbids,
            by itself or by one that it would veto too, or gives a reason that does not exist.
    """
    reasons = guardrail.reasons
    if not reasons or len(set(reasons)) < len(reasons) or not all(isinstance(one, str) and one for one in reasons):
        raise GuardrailError(f"the reasons of a guardrail must be different names, got {reasons!r}")
    chain = GuardrailChain([guardrail], actions)
    seen = _arrays_of(view)
    for action in _tried(actions):
        every = np.repeat(np.array([action]), len(view.slots), axis=0)
        chosen = every.copy()
        verdicts, again = guardrail.review(view, chosen), guardrail.review(view, chosen.copy())
        _require_same({"actions": every}, {"actions": chosen}, "`review` must not write to")
        if not all(_equal(one, vars(again)[name]) for name, one in vars(verdicts).items()):
            raise GuardrailError(f"a second `review` must give the same, got {verdicts} then {again}")
        executed = chain.review(view, chosen).action
        vetoed = verdicts.vetoed
        if np.any(same_rows(verdicts.replacement[vetoed], every[vetoed])):
            raise GuardrailError(f"a veto must replace the action by another, got {action} for {action}")
        if np.any(guardrail.review(view, executed).vetoed & vetoed):
            raise GuardrailError(f"a replacement must not be vetoed too, got {executed[vetoed].tolist()} for {action}")
    _require_same(seen, _arrays_of(view), "`review` must not write to the view")


def _tried(actions: ActionSpec) -> Iterator[NDArray[Any]]:
    """Yield the actions that a guardrail judges."""
    if isinstance(actions, ActionVocabulary):
        yield from (np.array(index, np.int64) for index in range(len(actions)))
        return
    for k in range(len(actions.wait)):
        values: Iterable[float] = range(actions.sizes[k]) if isinstance(actions, MultiDiscrete) else ()
        if isinstance(actions, Box):
            low, high = actions.bounds
            values = low[k], (low[k] + high[k]) / 2, high[k]
        for value in values:
            action: NDArray[Any] = actions.wait
            action[k] = value
            yield action


def _copies(state: SavedState) -> SavedState:
    return {name: array.copy() for name, array in state.items()}


def _arrays_of(view: View) -> SavedState:
    """Copies of the arrays that every view has."""
    arrays = {"slots": view.slots, "keys": view.keys, "option_done": view.option_done}
    return _copies(arrays if view.action_mask is None else {**arrays, "action_mask": view.action_mask})


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Tell whether two arrays are the same bit for bit, NaN included."""
    return (one.dtype, one.shape) == (other.dtype, other.shape) and one.tobytes() == other.tobytes()


def _require_same(before: SavedState, after: SavedState, rule: str) -> None:
    differing = [
        name
        for name in {**before, **after}
        if name not in before or name not in after or not _equal(before[name], after[name])
    ]
    if differing:
        raise BehaviorError(f"{rule}, got other {differing}")
