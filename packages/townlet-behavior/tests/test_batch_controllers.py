import numpy as np
import pytest
from strategies import BOX, PARTS, VOCABULARY, WAIT, Script, bridge_of, view_of

from townlet_behavior import (
    ActionSpec,
    ArrayActions,
    BehaviorBridge,
    BridgeConfig,
    IdleController,
    NoProposals,
    ShapeError,
    StateError,
    UnknownActionError,
)
from townlet_behavior.batch_controllers import propose_checked
from townlet_behavior.forms import form_of
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


@pytest.mark.parametrize("actions", [PARTS, BOX], ids=["parts", "numbers"])
def test_idle_and_no_proposals_of_array_actions(actions: ArrayActions) -> None:
    idle, none = IdleController(wait=actions.wait), NoProposals(actions)
    assert idle.propose(view_of(1, 2)).tolist() == [actions.wait.tolist()] * 2
    assert none.propose(view_of()).shape == (0, len(actions.wait))
    for controller in idle, none:
        check_controller(controller, view_of(1, 2), actions)
        bridge = BehaviorBridge(actions, controller, capacity=3, config=BridgeConfig(), seed=0)
        decisions = bridge.decide(view_of(1, 2), tick=0)
        assert decisions.action.dtype == actions.dtype
        assert decisions.action.tolist() == [actions.wait.tolist()] * 2
        assert decisions.proposer.tolist() == ([0, 0] if controller is idle else [-1, -1])
    nothing = [-1, -1, -1] if actions is PARTS else [0.0, 0.0]
    assert decisions.expert_action.tolist() == [nothing, nothing]


@pytest.mark.parametrize(
    ("actions", "proposed", "message"),
    [
        (PARTS, np.array([[0, 0, 0], [4, 2, 0]]), r"slot 2: .*in \[0, 5\) × \[0, 2\) × \[0, 3\) or -1, got \[4 2 0\]"),
        (PARTS, np.array([[0, 0, 0], [-1, 0, -1]]), r"slot 2: .* got \[-1  0 -1\]"),
        (BOX, np.array([[0.0, 1.0], [0.0, 2.5]], np.float32), r"slot 2: .*\[0.5, 2.0\] or nan, got \[0.  2.5\]"),
        (BOX, np.array([[0.0, 1.0], [np.nan, 1.0]], np.float32), r"slot 2: .* got \[nan  1.\]"),
    ],
)
def test_proposals_of_a_script_that_do_not_exist_are_refused(
    actions: ArrayActions, proposed: np.ndarray, message: str
) -> None:
    script = Script()
    script.actions = proposed
    with pytest.raises(UnknownActionError, match=message):
        propose_checked(script, view_of(1, 2), form_of(actions))


@pytest.mark.parametrize(
    ("actions", "proposed", "message"),
    [
        (PARTS, np.zeros((2, 2), np.int64), r"must be int64 \(2, 3\), got int64 \(2, 2\)"),
        (PARTS, np.zeros((2, 3)), r"must be int64 \(2, 3\), got float64 \(2, 3\)"),
        (BOX, np.zeros((2, 2)), r"must be float32 \(2, 2\), got float64 \(2, 2\)"),
        (VOCABULARY, np.zeros((2, 1), np.int64), r"must be int64 \(2,\), got int64 \(2, 1\)"),
    ],
)
def test_proposals_of_a_script_of_another_form_are_refused(
    actions: ActionSpec, proposed: np.ndarray, message: str
) -> None:
    script = Script()
    script.actions = proposed
    with pytest.raises(ShapeError, match=message):
        propose_checked(script, view_of(1, 2), form_of(actions))
