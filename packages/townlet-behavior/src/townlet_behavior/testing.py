"""For tests of your own controllers and guardrails: a view made of nothing but agent ids, and the rules to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .controllers import BatchController
from .draws import draw_keys
from .errors import BehaviorError, ShapeError
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
    """Check that a controller keeps the rules that the bridge builds on.

    Args:
        controller: to check; it is asked twice.
        view: that it understands.
        vocabulary: of its proposals.

    Raises:
        ShapeError: if its proposals are not int64 [N].
        BehaviorError: if a proposal is neither an action nor -1, or if asking twice gives two answers: a plan must not
            advance before `settled`.
    """
    first, second = controller.propose(view).copy(), controller.propose(view)
    if first.shape != view.slots.shape or first.dtype != np.int64:
        raise ShapeError(f"proposals must be int64 {view.slots.shape}, got {first.dtype} {first.shape}")
    if np.any((first < -1) | (first >= len(vocabulary))):
        raise BehaviorError(f"proposals must be -1 or in [0, {len(vocabulary)}), got {first.tolist()}")
    if not np.array_equal(first, second):
        raise BehaviorError(
            f"a second `propose` before `settled` must give the same, got {first.tolist()} then {second.tolist()}"
        )
