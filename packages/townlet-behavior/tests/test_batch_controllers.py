import pytest
from strategies import VOCABULARY, WAIT, bridge_of, view_of

from townlet_behavior import IdleController, NoProposals, StateError
from townlet_behavior.testing import check_controller


def test_idle_proposes_to_wait_for_everybody() -> None:
    controller = IdleController(wait=3)
    assert controller.propose(view_of(1, 2, 9)).tolist() == [3, 3, 3]
    check_controller(controller, view_of(1, 2), VOCABULARY)


def test_no_proposals_for_anybody() -> None:
    controller = NoProposals()
    assert controller.propose(view_of(1, 2, 9)).tolist() == [-1, -1, -1]
    assert controller.propose(view_of()).shape == (0,)
    check_controller(controller, view_of(1, 2), VOCABULARY)


def test_without_proposals_everybody_waits_and_there_is_no_label() -> None:
    decisions = bridge_of(NoProposals()).decide(view_of(1, 2), tick=0)
    assert decisions.action.tolist() == [WAIT, WAIT]
    assert decisions.expert_action.tolist() == [-1, -1]


def test_a_controller_without_plans_saves_nothing_and_takes_nothing() -> None:
    controller = IdleController(wait=WAIT)
    assert controller.save_state() == {}
    controller.restore({})
    with pytest.raises(
        StateError, match=r"the saved state of IdleController must have the arrays \[\], got \['plan'\]"
    ):
        controller.restore({"plan": view_of(1).slots})
