import numpy as np
import pytest
from numpy.typing import NDArray
from strategies import EAT, VOCABULARY, WAIT, Script, mask_of

from townlet_behavior import BehaviorError, ShapeError, StatelessController, View, draw_keys
from townlet_behavior.testing import check_controller, plain_view
from townlet_behavior.views import check_view


def test_a_plain_view_is_a_view() -> None:
    view = plain_view(["ann", "bob"], action_mask=mask_of((WAIT,), (WAIT, EAT)))
    check_view(view, capacity=2, num_actions=5)
    assert view.slots.tolist() == [0, 1]
    assert view.keys.tolist() == [draw_keys(0, "ann"), draw_keys(0, "bob")]
    check_view(plain_view([]), capacity=1, num_actions=5)


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
