from typing import Any

import numpy as np
import pytest
from array_actors import ArrayActor, RememberingActor
from boats import TICKS, Boats, Helmsman, NoFullSpeed
from boats import Kind as Kinds
from garden import Garden
from numpy.typing import NDArray
from strategies import LinearPolicy

from townlet_behavior import (
    DecisionBatch,
    SavedState,
    StateError,
    StatelessGuardrail,
    Verdicts,
)
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.policy import UniformPolicy
from townlet_runtime.simulation.interface import Observations, Observed
from townlet_runtime.testing import Corridor, CorridorConfig, check_controller, check_guardrail, check_policy

WAIT, LEFT, RIGHT, REST = range(4)
DISTRIBUTIONS = {"numbers": "clipped", "parts": ""}


def corridor() -> Corridor:
    return Corridor(CorridorConfig(length=4, places=2, episode_ticks=15), num_worlds=2)


class Pacing:
    """Walks two steps to the right and waits once: a plan by slot, which advances where it was carried out."""

    def __init__(self, capacity: int = 4) -> None:
        self._steps = np.zeros(capacity, np.int64)

    def propose(self, view: Observed) -> NDArray[np.int64]:
        return np.where(self._steps[view.slots] % 3 < 2, RIGHT, WAIT)

    def settled(self, view: Observed, decisions: DecisionBatch) -> None:
        self._steps[view.slots] += decisions.action == self.propose(view)

    def forget(self, slots: NDArray[np.int64]) -> None:
        self._steps[slots] = 0

    def save_state(self) -> SavedState:
        return {"steps": self._steps.copy()}

    def restore(self, state: SavedState) -> None:
        if set(state) != {"steps"}:
            raise StateError(f"expected steps, got {sorted(state)}")
        self._steps = state["steps"].copy()


def test_a_plan_that_keeps_the_rules_passes() -> None:
    check_controller(Pacing, corridor(), seed=1, ticks=40)


def test_every_script_of_the_corridor_passes() -> None:
    world = corridor()
    for name in world.behaviors:
        check_controller(lambda name=name: world.scripted(name), world, seed=1, ticks=40)


class Early(Pacing):
    def propose(self, view: Observed) -> NDArray[np.int64]:
        proposed = super().propose(view)
        self._steps[view.slots] += 1
        return proposed


class Mute(Pacing):
    def save_state(self) -> SavedState:
        return {"steps": np.zeros(4, np.int64)}


class Live(Pacing):
    def save_state(self) -> SavedState:
        return {"steps": self._steps}


class Haunted(Pacing):
    def forget(self, slots: NDArray[np.int64]) -> None: ...


class Lucky(Pacing):
    generator = np.random.default_rng(0)

    def __init__(self) -> None:
        super().__init__()
        self._luck = self.generator.integers(1, 4, 4)

    def propose(self, view: Observed) -> NDArray[np.int64]:
        return self._luck[view.slots]


class Scribbling(Pacing):
    def propose(self, view: Observed) -> NDArray[np.int64]:
        view.observations["map"][:] = 0.5
        return super().propose(view)


class Pickled(Pacing):
    def save_state(self) -> SavedState:
        return {"steps": np.array([self], object)}


@pytest.mark.parametrize(
    ("controller", "problem"),
    [
        (Early, r"tick 0: (a second `propose` before|`propose` must not change what is saved)"),
        (Mute, r"tick \d+: expected the same proposals after the same past"),
        (Live, r"expected a saved state that later ticks leave alone, got other \['steps'\]"),
        (Haunted, r"expected proposals .* once every agent is forgotten"),
        (Lucky, "tick 0: expected the same proposals after the same past"),
        (Scribbling, r"tick 0: expected observations that `propose` leaves alone, got other \['map'\]"),
        (Pickled, "expected numbers, bools or texts in a saved state, got object for `steps`"),
    ],
)
def test_a_broken_promise_of_a_controller_is_named(controller: Any, problem: str) -> None:
    with pytest.raises(SimulationError, match=problem):
        check_controller(controller, corridor(), seed=1, ticks=40)


def test_one_controller_for_all_is_refused() -> None:
    one = Pacing()
    with pytest.raises(SimulationError, match="`make` to build a new controller at every call"):
        check_controller(lambda: one, corridor(), seed=1, ticks=10)


class NoEntry(StatelessGuardrail):
    """Vetoes one action for every agent."""

    def __init__(self, action: int = LEFT, replacement: int = WAIT, reasons: tuple[str, ...] = ("no_entry",)) -> None:
        self.reasons, self._action, self._replacement = reasons, action, replacement

    def review(self, view: Observed, actions: NDArray[np.int64]) -> Verdicts:
        size = len(actions)
        return Verdicts(
            vetoed=actions == self._action,
            replacement=np.full(size, self._replacement),
            reason=np.zeros(size, np.int8),
        )


def test_a_guardrail_that_keeps_the_rules_passes() -> None:
    check_guardrail(NoEntry, corridor(), seed=1, ticks=40)
    check_guardrail(lambda: NoEntry(1, 0), Garden(), seed=1, ticks=12)


class Weary(NoEntry):
    """Vetoes less and less, which nothing saves."""

    calls = 0

    def settled(self, view: Observed, decisions: DecisionBatch) -> None:
        self.calls += 1
        self._action = LEFT if self.calls < 3 else RIGHT


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: NoEntry(WAIT, REST), "tick .*must replace by legal actions, got 3, which the mask forbids"),
        (lambda: NoEntry(LEFT, 9), r"tick \d: .*must replace by actions in \[0, 4\)"),
        (lambda: NoEntry(reasons=("action_mask",)), "names of veto reasons must be unique"),
        (Weary, r"tick \d+: expected verdicts that follow from view and actions"),
    ],
)
def test_a_broken_promise_of_a_guardrail_is_named(make: Any, problem: str) -> None:
    with pytest.raises(SimulationError, match=problem):
        check_guardrail(make, corridor(), seed=1, ticks=40)


def uniform(world: Corridor) -> UniformPolicy:
    return UniformPolicy(vocabulary=world.spec.vocabulary.keys, observation_shapes=world.spec.observation_shapes)


def test_policies_that_keep_the_rules_pass() -> None:
    world = corridor()
    check_policy(uniform(world), world, seed=1, ticks=20)
    check_policy(LinearPolicy(world.spec, seed=3), world, seed=1, ticks=20)


class Bent:
    """A uniform policy whose answer is bent."""

    def __init__(self, world: Corridor, bend: Any) -> None:
        self._policy, self._bend, self._calls = uniform(world), bend, 0

    def act(self, observations: Observations, action_mask: NDArray[np.bool_] | None) -> Any:
        self._calls += 1
        return self._bend(*self._policy.act(observations, action_mask), self._calls)


@pytest.mark.parametrize(
    ("bend", "problem"),
    [
        (lambda log_probs, values, _: (np.exp(log_probs), values), "probabilities that add up to 1 in every row"),
        (lambda log_probs, values, _: (log_probs + np.float32(1.5), values), "probabilities that add up to 1"),
        (lambda log_probs, values, _: (log_probs.astype(float), values), r"log-probabilities float32 \[\d, 4\], got f"),
        (lambda log_probs, values, _: (log_probs, values[:, None]), r"values float32 \[\d\], got float32 \[\d, 1\]"),
        (lambda log_probs, values, _: (log_probs, values * np.float32(np.nan)), "finite values"),
        (lambda log_probs, values, calls: (log_probs, values + np.float32(calls)), "the same when asked twice"),
        (lambda log_probs, values, _: (log_probs, values + np.float32(len(values))), "the same for an agent alone"),
        (lambda log_probs, values, _: (np.maximum(log_probs, -90), values), "finfo.min where the mask forbids"),
    ],
)
def test_a_broken_promise_of_a_policy_is_named(bend: Any, problem: str) -> None:
    world = corridor()
    with pytest.raises(SimulationError, match=rf"tick \d+: expected .*{problem}"):
        check_policy(Bent(world, bend), world, seed=1, ticks=20)


class Shore(NoFullSpeed):
    """The same rule under a name of its own, beside that of the boats."""

    reasons = ("no full speed",)


@pytest.mark.parametrize("kind", ["numbers", "parts"])
def test_rules_and_policies_of_array_actions_pass(kind: Kinds) -> None:
    boats = Boats(kind, masked=kind == "parts")
    check_controller(lambda: Helmsman(kind), boats, seed=1, ticks=30)
    check_guardrail(lambda: Shore(kind), boats, seed=1, ticks=30)
    actor = ArrayActor(boats.spec, seed=1, distribution="clipped" if kind == "numbers" else "")
    for policy in (UniformPolicy.of(boats.spec), actor):
        check_policy(policy, boats, seed=1, ticks=30)


class BentArray(ArrayActor):
    """Answers as `ArrayActor` does, but for its outputs, which are bent."""

    def __init__(self, boats: Boats, bend: Any) -> None:
        super().__init__(boats.spec, seed=1, distribution="clipped" if boats.kind == "numbers" else "")
        self._bend = bend

    def params(self, features: NDArray[np.float32], action_mask: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        bent: NDArray[np.float32] = self._bend(super().params(features, action_mask))
        return bent


@pytest.mark.parametrize(
    ("kind", "bend", "problem"),
    [
        ("numbers", lambda params: params[:, :2], r"means and logarithms of deviations float32 \[\d, 4\]"),
        ("numbers", lambda params: params * np.float32(np.nan), "finite means and logarithms of deviations"),
        ("parts", lambda params: params - np.float32([0, 0, 0, 1, 1]), "probabilities that add up to 1 in every row"),
        ("parts", lambda params: params[:, :3], r"log-probabilities float32 \[\d, 5\]"),
    ],
)
def test_a_broken_promise_of_array_outputs_is_named(kind: Kinds, bend: Any, problem: str) -> None:
    boats = Boats(kind)
    with pytest.raises(SimulationError, match=problem):
        check_policy(BentArray(boats, bend), boats, seed=1, ticks=30)


class WideProposals(Helmsman):
    """Proposes beyond the bounds."""

    def propose(self, view: Observed) -> NDArray[Any]:
        return super().propose(view) * 3


def test_proposals_beyond_the_bounds_are_named() -> None:
    with pytest.raises(SimulationError, match="tick 0: "):
        check_controller(lambda: WideProposals("numbers"), Boats("numbers"), seed=1, ticks=30)


@pytest.mark.parametrize("kind", ["numbers", "parts"])
def test_a_policy_with_memory_that_keeps_the_rules_passes(kind: Kinds) -> None:
    boats = Boats(kind)
    check_policy(
        RememberingActor(ArrayActor(boats.spec, seed=1, distribution=DISTRIBUTIONS[kind])), boats, seed=1, ticks=30
    )


class Confused(RememberingActor):
    """Remembers something else than it should."""

    def __init__(self, boats: Boats, bend: Any) -> None:
        super().__init__(ArrayActor(boats.spec, seed=1))
        self._bend, self._calls = bend, 0

    def act(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None, state: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        self._calls += 1
        *said, after = super().act(observations, action_mask, state)
        return said[0], said[1], self._bend(after, self._calls)


@pytest.mark.parametrize(
    ("bend", "problem"),
    [
        (lambda after, _: after[:, :1], r"next memory float32 \[\d, 2\], got float32 \[\d, 1\]"),
        (lambda after, _: after.astype(float), r"next memory float32 \[\d, 2\], got float64"),
        (lambda after, _: after / np.float32(0.0), "finite next memory"),
        (lambda after, calls: after + np.float32(calls), "the same when asked twice"),
        (lambda after, _: after + np.float32(len(after)), "the same for an agent alone"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_broken_promise_of_a_memory_is_named(bend: Any, problem: str) -> None:
    boats = Boats("parts")
    with pytest.raises(SimulationError, match=rf"tick \d+: expected .*{problem}"):
        check_policy(Confused(boats, bend), boats, seed=1, ticks=30)


def test_a_memory_begins_with_zeros_where_an_agent_does() -> None:
    """An actor that has seen n ticks of an agent says so; another that comes into its place begins at none."""
    boats, counted = Boats("parts", num_worlds=1), Counting(ArrayActor(Boats("parts").spec, seed=1))
    check_policy(counted, boats, seed=1, ticks=30)
    assert 0.0 in counted.seen
    assert max(counted.seen) == TICKS - 1


class Counting(RememberingActor):
    """Counts the ticks of an agent."""

    def __init__(self, inner: ArrayActor) -> None:
        super().__init__(inner)
        self._counted, self.seen = inner, list[float]()

    def act(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None, state: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        self.seen += state[:, 0].tolist()
        return (*self._counted.act(observations, action_mask), state + np.float32(1.0))
