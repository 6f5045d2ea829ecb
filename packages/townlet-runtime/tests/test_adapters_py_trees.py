"""Trees made of py_trees' own behaviours as a script."""

from collections.abc import Callable
from typing import Any

import numpy as np
import py_trees
import pytest
from beginnings import begun
from py_trees.behaviours import CheckBlackboardVariableValue, SetBlackboardVariable, SuccessEveryN, TickCounter
from py_trees.blackboard import Blackboard
from py_trees.common import ComparisonExpression, Status
from py_trees.composites import Selector, Sequence

from townlet_behavior import BehaviorBridge, Box, BridgeConfig, StateError
from townlet_runtime.adapters.py_trees_controller import TreeController, tree_script
from townlet_runtime.core.loop import BatchLoop
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.errors import ConfigError, SimulationError
from townlet_runtime.simulation.interface import Observed, SimulationSpec
from townlet_runtime.testing import Corridor, CorridorConfig

CONFIG = CorridorConfig(length=6, places=2, slip=0.0, episode_ticks=20, max_absence=1)
VOCABULARY = Corridor(CONFIG).spec.vocabulary
WAIT, LEFT, RIGHT, REST = range(4)


def choose(action: object) -> SetBlackboardVariable:
    return SetBlackboardVariable(f"choose {action}", "action", action, overwrite=True)


def always(action: object) -> Callable[[], Any]:
    return lambda: choose(action)


def controller(make: Callable[[], Any]) -> TreeController:
    return TreeController(make, vocabulary=VOCABULARY)


def seen(num_worlds: int = 1, seed: int = 0) -> Observed:
    return begun(Corridor(CONFIG, num_worlds=num_worlds), seed)


def later(view: Observed) -> Observed:
    """The same agents in a view of another tick."""
    return Observed(**vars(view))


def test_a_tree_chooses_by_what_its_agent_sees() -> None:
    view = seen(3)
    places = view.observations["features"][:, 0]
    middle = float(np.median(places))

    def make() -> Any:
        # an observation of several numbers is an array on the blackboard
        ahead = ComparisonExpression("features", middle, lambda array, value: array[0] > value)
        right = Sequence(
            "right", memory=False, children=[CheckBlackboardVariableValue("ahead?", ahead), choose("right")]
        )
        return Selector("go", memory=False, children=[right, choose(LEFT)])

    assert controller(make).propose(view).tolist() == np.where(places > middle, RIGHT, LEFT).tolist()


def test_names_masks_and_single_numbers_are_on_the_blackboard() -> None:
    view = seen(2)
    told: list[dict[str, Any]] = []

    class Look(py_trees.behaviour.Behaviour):
        def update(self) -> Status:
            told.append(dict(Blackboard.storage))
            return Status.SUCCESS

    view = Observed(**{**vars(view), "observations": {"energy": np.array([[0.25]] * len(view.slots), np.float32)}})
    controller(lambda: Look("look")).propose(view)
    assert [one["/agent_id"] for one in told] == view.agent_ids.tolist()
    assert [one["/energy"] for one in told] == [0.25] * len(told) and isinstance(told[0]["/energy"], float)
    assert view.action_mask is not None
    np.testing.assert_array_equal(told[1]["/action_mask"], view.action_mask[1])


def test_a_tree_that_chooses_nothing_proposes_nothing_even_after_it_has() -> None:
    def make() -> Any:
        return Sequence("at times", memory=False, children=[SuccessEveryN("every second", 2), choose("rest")])

    trees, view = controller(make), seen()
    assert [trees.propose(later(view))[0] for _ in range(4)] == [-1, REST, -1, REST]


def test_trees_with_memory_go_on_where_they_were_each_for_itself() -> None:
    """A counter of two ticks, then one of one: right, right, then left, and again."""

    def make() -> Any:
        def phase(name: str, ticks: int, action: str) -> Any:
            counted = TickCounter(name, duration=ticks, completion_status=Status.SUCCESS)
            both = py_trees.composites.Parallel(
                name,
                policy=py_trees.common.ParallelPolicy.SuccessOnSelected([counted]),
                children=[choose(action), counted],
            )
            return both

        return Sequence("shift", memory=True, children=[phase("out", 2, "right"), phase("back", 1, "left")])

    trees, view = controller(make), seen(2)
    first = np.array([trees.propose(later(view)) for _ in range(3)])
    assert (first == first[:, :1]).all()
    # the first agent is replaced by another, whose tree begins at its root
    trees.forget(view.slots[:1])
    second = np.array([trees.propose(later(view)) for _ in range(9)])
    alone = controller(make)
    expected = np.array([alone.propose(later(view))[0] for _ in range(12)])
    assert second[:, 0].tolist() == expected[:9].tolist()
    assert second[:, 1].tolist() == expected[3:].tolist()
    assert second[:, 0].tolist() != second[:, 1].tolist()


def test_blackboards_are_not_shared_with_other_agents_or_the_rest_of_the_program() -> None:
    Blackboard.set("mine", 7)
    try:

        def make() -> Any:
            return Sequence(
                "claim",
                memory=False,
                children=[
                    py_trees.decorators.Inverter(
                        "free", py_trees.behaviours.CheckBlackboardVariableExists("taken?", "taken")
                    ),
                    SetBlackboardVariable("take", "taken", True, overwrite=True),
                    choose("rest"),
                ],
            )

        trees, view = controller(make), seen(3)
        keys, clients = Blackboard.keys(), dict(Blackboard.clients)
        assert trees.propose(view).tolist() == [REST] * len(view.slots)
        assert trees.propose(later(view)).tolist() == [-1] * len(view.slots)
        assert Blackboard.get("mine") == 7 and Blackboard.keys() == keys and Blackboard.clients == clients
    finally:
        Blackboard.clear()


def test_the_same_view_is_ticked_once() -> None:
    trees, view = (
        controller(lambda: Sequence("x", memory=False, children=[SuccessEveryN("x", 2), choose(LEFT)])),
        seen(),
    )
    assert [trees.propose(one)[0] for one in (view, view, later(view))] == [-1, -1, LEFT]


def test_trees_are_stopped_and_shut_down_where_their_agent_ends() -> None:
    told: list[tuple[str, str]] = []

    class Busy(py_trees.behaviour.Behaviour):
        def setup(self, **_: Any) -> None:
            told.append(("setup", Blackboard.storage["/agent_id"]))

        def update(self) -> Status:
            return Status.RUNNING

        def terminate(self, new_status: Status) -> None:
            told.append((new_status.name, Blackboard.storage["/agent_id"]))

        def shutdown(self) -> None:
            told.append(("shutdown", Blackboard.storage["/agent_id"]))

    trees, view = controller(lambda: Busy("busy")), seen(2)
    ids = view.agent_ids.tolist()
    trees.propose(view)
    assert told == [("setup", one) for one in ids]
    del told[:]
    trees.forget(view.slots[1:2])
    trees.forget(view.slots[1:2])
    assert told == [("INVALID", ids[1]), ("shutdown", ids[1])]


def walker() -> Any:
    """To the right, and rest when too tired to walk: the script of the corridor."""
    tired = ComparisonExpression("features", 1.0, lambda features, value: features[1] >= value)
    rest = Sequence("rest", memory=False, children=[CheckBlackboardVariableValue("tired?", tired), choose("rest")])
    return Selector("walk", memory=False, children=[rest, choose("right")])


def test_it_is_a_script_of_a_simulation() -> None:
    reports = []
    for trees in (True, False):
        corridor = Corridor(CONFIG, num_worlds=3)
        script = tree_script(walker)(corridor.spec) if trees else corridor.scripted("scripted")
        runtime = BatchRuntime(corridor.spec, script, config=BridgeConfig(), policy=None, service=None, seed=1)
        loop = BatchLoop(corridor, runtime)
        loop.reset(seed=4)
        reports.append(loop.run_for(60))
    # agents come and go meanwhile
    assert reports[0].events == reports[1].events and reports[0].events["exits"] == 54


def test_a_saved_state_holds_no_trees_and_restoring_begins_at_the_root() -> None:
    def make() -> Any:
        return Sequence("x", memory=False, children=[SuccessEveryN("x", 3), choose(LEFT)])

    trees, view = controller(make), seen()
    assert [trees.propose(later(view))[0] for _ in range(4)] == [-1, -1, LEFT, -1]
    state = trees.save_state()
    assert state == {}
    trees.restore(state)
    assert [trees.propose(later(view))[0] for _ in range(3)] == [-1, -1, LEFT]
    with pytest.raises(StateError):
        trees.restore({"plan": np.zeros(1)})


def explode() -> Any:
    raise RuntimeError("no more")


class Fails(py_trees.behaviour.Behaviour):
    def update(self) -> Status:
        raise RuntimeError("no more")


SAME = choose(LEFT)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (explode, "failed with RuntimeError: no more"),
        (lambda: Fails("x"), "failed with RuntimeError: no more"),
        (always("fly"), "failed with UnknownActionError: `key` must be one of the 4 actions"),
        (always(4), r"failed with UnknownActionError: `action` must be a key or an index of the vocabulary, got 4"),
        (always(-2), "got -2"),
        (always(1.0), "got 1.0"),
        (always(None), "got None"),
        (lambda: "right", "failed with TypeError: expected the root of a tree, got 'right'"),
    ],
)
def test_what_fails_is_named_with_agent_and_world(make: Callable[[], Any], problem: str) -> None:
    with pytest.raises(SimulationError, match=f"the tree of agent 'visitor_0_1' in world 0 .*{problem}"):
        controller(make).propose(seen(2))


def test_a_tree_for_all_is_refused() -> None:
    with pytest.raises(SimulationError, match="in world 0 failed with TypeError: expected a new tree for every agent"):
        controller(lambda: SAME).propose(seen(2))


def test_a_world_without_a_vocabulary_is_refused() -> None:
    pedals = Box(names=("gas",), low=(0.0,), high=(1.0,))
    shape = {"place": (1,)}
    spec = SimulationSpec(
        name="road", actions=pedals, observation_shapes=shape, num_worlds=1, capacity=1, episode_ticks=9
    )
    with pytest.raises(ConfigError, match="`road`: expected a vocabulary, of which a tree chooses an action, got Box"):
        tree_script(always("rest"))(spec)


def test_the_bridge_decides_by_it() -> None:
    view = seen(2)
    bridge = BehaviorBridge(VOCABULARY, controller(always("rest")), capacity=4, config=BridgeConfig(), seed=1)
    decisions = bridge.decide(view, tick=0)
    assert decisions.expert_action.tolist() == [REST] * len(view.slots)
