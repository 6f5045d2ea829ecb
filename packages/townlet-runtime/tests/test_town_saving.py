from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from beginnings import begun
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_town_twin import CROWDED, Wanderers

from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.saved_state import check_saved_state
from townlet_runtime.town import Town, TownConfig, TownObserved

SHORT = replace(CROWDED, episode_ticks=90, num_agents=6)


def assert_same_view(one: TownObserved, other: TownObserved) -> None:
    for name in ("slots", "keys", "agent_ids", "worlds", "episodes", "action_mask", "option_done"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name, column in one.observations.items():
        np.testing.assert_array_equal(column, other.observations[name])


@settings(max_examples=10)
@example(seed=0, ticks=55, worlds=1)  # the town that is restored into has shown cooldowns, the saved one has none
@given(seed=st.integers(0, 2**31 - 1), ticks=st.integers(0, 200), worlds=st.integers(1, 3))
def test_a_restored_town_goes_on_bit_for_bit(seed: int, ticks: int, worlds: int) -> None:
    town = Town(SHORT, num_worlds=worlds)
    observed, wanderers = begun(town, seed), Wanderers(town, sticky=0.8, seed=seed)
    for _ in range(ticks):
        observed = town.step(wanderers.actions(observed)).observed
    saved = town.save_state()
    check_saved_state(saved)
    kept = {name: array.copy() for name, array in saved.items()}
    # The other town has lived, too: nothing of that may shine through.
    twin = Town(SHORT, num_worlds=worlds)
    other = begun(twin, seed + 1)
    for _ in range(ticks % 7):
        other = twin.step(Wanderers(twin, sticky=0.5, seed=1).actions(other)).observed
    other = twin.restore(saved)
    assert_same_view(observed, other)
    for _ in range(100):
        actions = wanderers.actions(observed)
        one, two = town.step(actions), twin.step(actions)
        for name in ("rewards", "terminated", "truncated", "final_rows", "final_option_done", "events"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        for name, column in one.final_observations.items():
            np.testing.assert_array_equal(column, two.final_observations[name])
        observed = one.observed
        assert_same_view(observed, two.observed)
    for name, array in saved.items():
        np.testing.assert_array_equal(array, kept[name], err_msg="what was saved is a copy")


def test_only_a_town_like_this_one_is_restored() -> None:
    town = Town(SHORT, num_worlds=1)
    with pytest.raises(SimulationError, match="expected `reset` before `save_state`"):
        town.save_state()
    begun(town, 0)
    saved = dict(town.save_state())
    with pytest.raises(SimulationError, match=r"expected the saved state of a town of \['agent_01', 'agent_02'\], got"):
        Town(replace(SHORT, num_agents=2), num_worlds=1).restore(saved)
    with pytest.raises(
        SimulationError, match=r"expected `other` of the saved state to be int64 \[6 13\], got int64 \[6, 6\]"
    ):
        Town(
            replace(SHORT, social=TownConfig().social, rivalry=TownConfig().rivalry, num_agents=6), num_worlds=1
        ).restore(saved)
    before = town.save_state()
    del saved["state/needs"]
    saved["state/wallet"] = saved["state/wallet"] + 1.0
    with pytest.raises(SimulationError, match="expected `needs` in the saved state"):
        town.restore(saved)
    for name, array in town.save_state().items():
        np.testing.assert_array_equal(array, before[name])
