from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from strategies import BOX, EAT, PARTS, VOCABULARY, WAIT, Script, mask_of

from townlet_behavior import (
    ArrayActions,
    BehaviorError,
    GuardrailError,
    SavedState,
    ShapeError,
    StatelessController,
    StatelessGuardrail,
    Verdicts,
    View,
    draw_keys,
)
from townlet_behavior.testing import check_controller, check_guardrail, plain_view
from townlet_behavior.views import check_view


def test_a_plain_view_is_a_view() -> None:
    view = plain_view(["ann", "bob"], action_mask=mask_of((WAIT,), (WAIT, EAT)))
    check_view(view, capacity=2, mask_columns=5)
    assert view.slots.tolist() == [0, 1]
    assert view.keys.tolist() == [draw_keys(0, "ann"), draw_keys(0, "bob")]
    check_view(plain_view([]), capacity=1, mask_columns=5)


def test_a_good_controller_passes() -> None:
    check_controller(Script(EAT, -1), plain_view(["ann", "bob"]), VOCABULARY)


def test_proposals_of_the_wrong_form_are_found() -> None:
    with pytest.raises(ShapeError, match=r"int64 \(2,\), got int64 \(1,\)"):
        check_controller(Script(EAT), plain_view(["ann", "bob"]), VOCABULARY)


@pytest.mark.parametrize("action", [-2, 5])
def test_unknown_proposals_are_found(action: int) -> None:
    with pytest.raises(BehaviorError, match=rf"-1 or in \[0, 5\), got \[{action}\]"):
        check_controller(Script(action), plain_view(["ann"]), VOCABULARY)


def test_a_plan_that_advances_too_early_is_found() -> None:
    class Impatient(StatelessController):
        calls = 0

        def propose(self, view: View) -> NDArray[np.int64]:
            self.calls += 1
            return np.full(len(view.slots), self.calls, np.int64)

    with pytest.raises(BehaviorError, match=r"must give the same, got \[1\] then \[2\]"):
        check_controller(Impatient(), plain_view(["ann"]), VOCABULARY)


class Counting(StatelessController):
    """Saves how often it was asked."""

    count = np.zeros(1, np.int64)

    def propose(self, view: View) -> NDArray[np.int64]:
        self.count = self.count + 1
        return np.zeros(len(view.slots), np.int64)

    def save_state(self) -> SavedState:
        return {"count": self.count}


def test_a_proposal_that_changes_what_is_saved_is_found() -> None:
    with pytest.raises(BehaviorError, match=r"`propose` must not change what is saved, got other \['count'\]"):
        check_controller(Counting(), plain_view(["ann"]), VOCABULARY)


def test_a_controller_that_writes_to_the_view_is_found() -> None:
    class Scribbling(StatelessController):
        def propose(self, view: View) -> NDArray[np.int64]:
            view.option_done[:] = True
            return np.zeros(len(view.slots), np.int64)

    with pytest.raises(BehaviorError, match=r"must not write to the view, got other \['option_done'\]"):
        check_controller(Scribbling(), plain_view(["ann"]), VOCABULARY)


def test_a_controller_that_restores_anything_is_found() -> None:
    class Gullible(Script):
        def restore(self, state: SavedState) -> None: ...

    with pytest.raises(BehaviorError, match="`restore` must refuse the state of another controller"):
        check_controller(Gullible(EAT), plain_view(["ann"]), VOCABULARY)


class Warden(StatelessGuardrail):
    """Vetoes one action, and puts another in its place."""

    def __init__(self, action: int, replacement: int, *reasons: str, reason: int = 0) -> None:
        self.reasons = reasons or ("forbidden",)
        self._action, self._replacement, self._reason = action, replacement, reason

    def review(self, view: View, actions: NDArray[np.int64]) -> Verdicts:
        return Verdicts(
            vetoed=actions == self._action,
            replacement=np.full(len(actions), self._replacement),
            reason=np.full(len(actions), self._reason, np.int8),
        )


MASKED = plain_view(["ann", "bob"], action_mask=mask_of((WAIT,), (WAIT, EAT)))


def test_a_good_guardrail_passes() -> None:
    check_guardrail(Warden(EAT, WAIT), MASKED, VOCABULARY)


@pytest.mark.parametrize(
    ("guardrail", "problem"),
    [
        (Warden(EAT, WAIT, "same", "same"), r"must be different names, got \('same', 'same'\)"),
        (Warden(EAT, WAIT, ""), "must be different names"),
        (Warden(EAT, WAIT, "action_mask"), "names of veto reasons must be unique"),
        (Warden(WAIT, EAT), "must replace by legal actions, got 2, which the mask forbids"),
        (Warden(EAT, 5), r"must replace by actions in \[0, 5\)"),
        (Warden(EAT, WAIT, reason=1), r"must give reasons in \[0, 1\), got \[1\]"),
        (Warden(WAIT, WAIT), "must replace the action by another, got 0 for 0"),
    ],
)
def test_a_verdict_that_cannot_be_carried_out_is_found(guardrail: Warden, problem: str) -> None:
    with pytest.raises(GuardrailError, match=problem):
        check_guardrail(guardrail, MASKED, VOCABULARY)


def test_a_guardrail_that_contradicts_itself_is_found() -> None:
    class Moody(Warden):
        calls = 0

        def review(self, view: View, actions: NDArray[np.int64]) -> Verdicts:
            self.calls += 1
            self._replacement = 2 + self.calls % 2
            return super().review(view, actions)

    class Circular(Warden):
        def review(self, view: View, actions: NDArray[np.int64]) -> Verdicts:
            reason = np.zeros(len(actions), np.int8)
            return Verdicts(vetoed=actions > 0, replacement=np.where(actions == 1, 2, 1), reason=reason)

    class Scribbling(Warden):
        def review(self, view: View, actions: NDArray[np.int64]) -> Verdicts:
            actions[:] = WAIT
            return super().review(view, actions)

    unmasked = plain_view(["ann"])
    with pytest.raises(GuardrailError, match="a second `review` must give the same"):
        check_guardrail(Moody(EAT, WAIT), unmasked, VOCABULARY)
    with pytest.raises(GuardrailError, match=r"a replacement must not be vetoed too, got \[2\] for 1"):
        check_guardrail(Circular(EAT, WAIT), unmasked, VOCABULARY)
    with pytest.raises(BehaviorError, match="`review` must not write to"):
        check_guardrail(Scribbling(EAT, WAIT), unmasked, VOCABULARY)


def test_controllers_of_array_actions_are_checked() -> None:
    view = plain_view(["ann", "bob"])
    check_controller(Script((EAT, 1, 0), (-1, -1, -1)), view, PARTS)
    check_controller(Script((0.5, 1.0), (np.nan, np.nan), dtype=np.float32), view, BOX)
    with pytest.raises(
        BehaviorError, match=r"-1 or in \[0, 5\) × \[0, 2\) × \[0, 3\), got \[\[0, 2, 0\], \[0, 0, 0\]\]"
    ):
        check_controller(Script((0, 2, 0), (0, 0, 0)), view, PARTS)
    with pytest.raises(ShapeError, match=r"float32 \(2, 2\), got float64 \(2, 2\)"):
        check_controller(Script((0.0, 1.0), (0.0, 1.0), dtype=np.float64), view, BOX)


class Limit(StatelessGuardrail):
    """Keeps one column at or below a limit."""

    reasons = ("limit",)

    def __init__(self, column: int, limit: float, replacement: float) -> None:
        self._column, self._limit, self._replacement = column, limit, replacement

    def review(self, view: View, actions: NDArray[Any]) -> Verdicts:
        replacement = actions.copy()
        replacement[:, self._column] = self._replacement
        vetoed = actions[:, self._column] > self._limit
        return Verdicts(vetoed=vetoed, replacement=replacement, reason=np.zeros(len(actions), np.int8))


@pytest.mark.parametrize(
    ("actions", "column", "limit", "replacement", "problem"),
    [
        (PARTS, 2, 1, 3, r"must replace by actions in \[0, 5\) × \[0, 2\) × \[0, 3\)"),
        (PARTS, 2, 1, 2, r"must replace the action by another, got \[0 0 2\] for \[0 0 2\]"),
        (BOX, 1, 1.5, 2.5, r"must replace by actions in \[-1.0, 1.0\] × \[0.5, 2.0\]"),
        (BOX, 1, 1.5, 1.75, r"a replacement must not be vetoed too, got \[\[0.0, 1.75\]\]"),
    ],
)
def test_guardrails_of_array_actions_are_checked_at_the_ends_of_every_part(
    actions: ArrayActions, column: int, limit: float, replacement: float, problem: str
) -> None:
    check_guardrail(Limit(column, limit, limit), plain_view(["ann"]), actions)
    with pytest.raises(GuardrailError, match=problem):
        check_guardrail(Limit(column, limit, replacement), plain_view(["ann"]), actions)
