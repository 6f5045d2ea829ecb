from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from crossing import Crossing
from garden import Garden
from numpy.typing import NDArray

from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import AGENTS, Closing, Guarded, Rendered, Saved, Scripted, Stepped
from townlet_runtime.simulation.one_group import CheckedGroups, OneGroup
from townlet_runtime.testing import Corridor, check_grouped_simulation, check_simulation

SEEDS = np.array([3, 4])


def test_a_simulation_of_three_members_keeps_its_promises() -> None:
    check_simulation(Garden(), seed=1, ticks=12)


def test_a_simulation_of_three_members_has_nothing_else() -> None:
    garden, worlds = Garden(), OneGroup(Garden())
    assert not any(isinstance(garden, one) for one in (Scripted, Guarded, Saved, Closing, Rendered))
    worlds.reset(seeds=SEEDS)
    assert (worlds.behaviors, worlds.guardrails(), worlds.save_state(), worlds.render()) == (
        (),
        {AGENTS: ()},
        None,
        None,
    )
    worlds.close()
    with pytest.raises(SimulationError, match="`garden` has no behaviors, got 'scripted'"):
        worlds.scripted("scripted")
    with pytest.raises(SimulationError, match="`garden` has no `save_state`, so it cannot be restored"):
        worlds.restore({})


def test_members_that_a_simulation_has_are_used() -> None:
    closed = []

    class Drawn(Corridor):
        def render(self) -> str:
            return "a corridor"

        def close(self) -> None:
            closed.append(self)

    corridor = Drawn(num_worlds=2)
    worlds = OneGroup(corridor)
    observed = worlds.reset(seeds=SEEDS)[AGENTS]
    assert worlds.behaviors == ("scripted", "nearest", "idle") and worlds.render() == "a corridor"
    assert len(worlds.scripted("idle")[AGENTS].propose(observed)) == len(observed.slots)
    worlds.close()
    assert closed == [corridor]


def test_a_restored_simulation_is_checked_as_the_saved_one() -> None:
    one, other = OneGroup(Corridor(num_worlds=2)), OneGroup(Corridor(num_worlds=2))
    observed = one.reset(seeds=SEEDS)[AGENTS]
    observed = one.step({AGENTS: np.zeros(len(observed.slots), np.int64)})[AGENTS].observed
    state = one.save_state()
    assert state is not None
    # the seeds are part of the state: keys of the agents that were there, and of newcomers, are compared with them
    restored = other.restore(state)[AGENTS]
    np.testing.assert_array_equal(restored.keys, observed.keys)
    wrong = {**state, "intake/seeds": SEEDS + 1}
    with pytest.raises(SimulationError, match="world 0, agent 'visitor_0_1', tick 1: expected the key"):
        other.restore(wrong)


def test_exact_answers_are_handed_on_unseen_but_the_kit_looks_at_them() -> None:
    class Sure(Garden):
        exact = True

    worlds = OneGroup(Sure())
    observed = worlds.reset(seeds=SEEDS)[AGENTS]
    assert isinstance(worlds.step({AGENTS: np.zeros(len(observed.slots), np.int64)})[AGENTS].rewards, list)
    # A garden answers with lists, so it is not exact.
    with pytest.raises(SimulationError, match="arrays of group `agents` that are complete and of the stated dtypes"):
        check_simulation(Sure(), seed=1, ticks=3)


def test_the_state_of_an_exact_simulation_is_its_own() -> None:
    class Sure(Corridor):
        exact = True

    one, other = OneGroup(Sure(num_worlds=2)), OneGroup(Sure(num_worlds=2))
    observed = one.reset(seeds=SEEDS)[AGENTS]
    state = one.save_state()
    assert state is not None and not any(name.startswith("intake/") for name in state)
    np.testing.assert_array_equal(other.restore(state)[AGENTS].slots, observed.slots)
    check_simulation(Sure(num_worlds=2), seed=1, ticks=12)


class Loose(Crossing):
    """A crossing that answers in other dtypes and leaves keys out."""

    def step(self, actions: Mapping[str, NDArray[np.int64]]) -> Mapping[str, Stepped]:
        bent = {}
        for group, stepped in super().step(actions).items():
            observed = replace(stepped.observed, keys=np.empty(0, np.uint64))
            bent[group] = replace(stepped, rewards=stepped.rewards.astype(np.float64), observed=observed)
        return bent


def test_groups_of_ones_own_are_completed_cast_and_checked() -> None:
    loose, exact = CheckedGroups(Loose(2)), Crossing(2)
    check_grouped_simulation(loose, seed=1, ticks=30)
    with pytest.raises(SimulationError, match="arrays of group `long` that are complete"):
        check_grouped_simulation(Loose(2), seed=1, ticks=5)
    seen, expected = loose.reset(seeds=SEEDS), exact.reset(seeds=SEEDS)
    actions = {group: np.zeros(len(one.slots), np.int64) for group, one in seen.items()}
    stepped, answered = loose.step(actions), exact.step(actions)
    for group, one in stepped.items():
        assert one.rewards.dtype == np.float32
        np.testing.assert_array_equal(one.observed.keys, answered[group].observed.keys)
        np.testing.assert_array_equal(seen[group].keys, expected[group].keys)
    assert (loose.behaviors, loose.render()) == (("scripted", "idle"), None)
    loose.close()


def test_a_group_that_is_not_answered_for_is_named() -> None:
    class Silent(Crossing):
        def step(self, actions: Mapping[str, NDArray[np.int64]]) -> Mapping[str, Stepped]:
            return {"long": super().step(actions)["long"]}

        def guardrails(self) -> Mapping[str, tuple[()]]:
            return {}

    worlds = CheckedGroups(Silent(2))
    seen = worlds.reset(seeds=SEEDS)
    with pytest.raises(SimulationError, match=r"`step`: expected an answer for each of \['long', 'short'\], got"):
        worlds.step({group: np.zeros(len(one.slots), np.int64) for group, one in seen.items()})
    with pytest.raises(SimulationError, match="`guardrails`: expected an answer for each of"):
        worlds.guardrails()
