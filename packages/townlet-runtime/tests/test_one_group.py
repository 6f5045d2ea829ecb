import numpy as np
import pytest
from garden import Garden

from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import AGENTS, Closing, Guarded, Rendered, Saved, Scripted
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.testing import Corridor, check_simulation

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
