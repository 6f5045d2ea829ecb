from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from beginnings import begun
from hypothesis import given
from hypothesis import strategies as st

from townlet_runtime.town import AgentSpec, ObjectSpec, QueueConfig, Town, TownConfig
from townlet_runtime.town.actions import TABLE
from townlet_runtime.town.rules.using import equals_before, first_of_each
from townlet_runtime.town.state import EVENTS, FREE, HOLDS_TURN, IN_LINE, USING, count_at

WASH, WAIT, START = TABLE.index("request:shower:first"), TABLE.index("wait"), TABLE.index("start")
RELEASE = TABLE.index("release")


def shower_town(num_agents: int, *, places: int = 1, cooldown_ticks: int = 3, ghost_step_after: int = 2) -> Town:
    """Everybody stands at the only shower; a shower takes 8 ticks."""
    config = TownConfig(
        objects=(ObjectSpec(id="shower", type="shower", position=(4, 4), places=places),),
        agents=tuple(AgentSpec(id=f"a{i}", position=(4, 4), wallet=5.0) for i in range(num_agents)),
        queue=QueueConfig(cooldown_ticks=cooldown_ticks, ghost_step_after=ghost_step_after),
    )
    town = Town(config, num_worlds=1)
    begun(town, 0)
    return town


def step(town: Town, *actions: int) -> np.ndarray:
    return town.step(np.array(actions)).events[0]


def test_helpers_by_hand() -> None:
    assert equals_before(np.array([7, 3, 7, 7])).tolist() == [0, 0, 1, 2]
    assert first_of_each(np.array([2, 2, 5])).tolist() == [True, False, True]
    assert count_at(np.array([0, 2, -1, 2]), 4).tolist() == [1, 0, 2, 0]


@given(st.lists(st.integers(0, 4)))
def test_equals_before_counts_as_a_loop_does(values: list[int]) -> None:
    assert equals_before(np.array(values, dtype=np.int64)).tolist() == [
        values[:i].count(v) for i, v in enumerate(values)
    ]


def test_a_line_is_served_in_order_of_arrival_and_the_lower_slot_first() -> None:
    town = shower_town(3)
    step(town, WAIT, WASH, WASH)
    assert town.state.phase.tolist() == [FREE, HOLDS_TURN, IN_LINE]
    events = step(town, WASH, WASH, WASH)
    assert town.state.phase.tolist() == [IN_LINE, USING, IN_LINE]
    # Slot 0 finds two agents at one place: one conflict of intensity 1 + 0.25.
    assert events[EVENTS.index("queue_conflict_events")] == 1
    assert events[EVENTS.index("queue_conflict_intensity_sum")] == 1.25
    for _ in range(7):
        step(town, WASH, WASH, WASH)
    assert town.state.phase.tolist() == [IN_LINE, FREE, HOLDS_TURN]


def test_two_places_let_two_in_one_a_tick() -> None:
    town = shower_town(3, places=2)
    step(town, WASH, WASH, WASH)
    assert town.state.phase.tolist() == [HOLDS_TURN, IN_LINE, IN_LINE]
    step(town, WASH, WASH, WASH)
    assert town.state.phase.tolist() == [USING, HOLDS_TURN, IN_LINE]
    step(town, WASH, WASH, WASH)
    assert town.state.phase.tolist() == [USING, USING, IN_LINE]


def test_after_a_use_the_line_refuses_for_the_cooldown() -> None:
    town = shower_town(1, cooldown_ticks=3)
    for _ in range(9):
        step(town, WASH)
    assert (town.state.tick, town.state.phase[0], town.state.cooldown_until[0, 0]) == (9, FREE, 8 + 3)
    for tick, phase in ((9, FREE), (10, FREE), (11, HOLDS_TURN)):
        assert town.state.tick == tick
        step(town, WASH)
        assert town.state.phase[0] == phase, tick


def test_a_turn_not_taken_passes_on_only_where_somebody_waits() -> None:
    alone = shower_town(1)
    for _ in range(8):
        step(alone, WASH if alone.state.tick == 0 else WAIT)
    assert alone.state.phase[0] == HOLDS_TURN
    town = shower_town(2, ghost_step_after=2)
    step(town, WASH, WASH)
    step(town, WAIT, WASH)
    assert town.state.phase.tolist() == [HOLDS_TURN, IN_LINE]
    events = step(town, WAIT, WASH)
    assert events[EVENTS.index("ghost_step_events")] == 1
    assert town.state.phase.tolist() == [FREE, HOLDS_TURN]
    assert town.state.option_done.tolist() == [True, False]


def test_who_cannot_pay_loses_the_turn() -> None:
    town = shower_town(1)
    step(town, WASH)
    town.state.wallet[0] = 0.05
    stepped = town.step(np.array([START]))
    assert town.state.phase[0] == FREE
    assert stepped.observed.option_done.tolist() == [True]
    assert town.state.wallet[0] == 0.05


def test_release_ends_a_use_without_its_effect() -> None:
    town = shower_town(1)
    for action in (WASH, WASH, RELEASE):
        step(town, action)
    assert town.state.phase[0] == FREE
    assert town.state.needs[0, 1] == pytest.approx(0.7 - 3 * town.config.needs_decay[1])
    assert town.state.wallet[0] == pytest.approx(5.0 - town.config.affordances["shower"].cost)


def test_two_cannot_eat_the_last_meal() -> None:
    config = replace(
        TownConfig(fridge_stock=1),
        objects=(ObjectSpec(id="fridge", type="fridge", position=(4, 4), places=2),),
        agents=tuple(AgentSpec(id=f"a{i}", position=(4, 4), wallet=5.0) for i in range(2)),
    )
    town = Town(config, num_worlds=1)
    begun(town, 0)
    eat = TABLE.index("request:fridge:first")
    town.state.phase[:], town.state.object[:] = HOLDS_TURN, 0
    town.state.recount()
    town._observe()
    town.step(np.array([eat, eat]))
    assert town.state.phase.tolist() == [USING, FREE]
    assert town.state.stock[0] == 0
