from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any

import numpy as np
import pytest
from beginnings import begun
from hypothesis import given, settings
from hypothesis import strategies as st

from townlet_behavior import RivalryGuardrail, ScriptedConfig
from townlet_runtime.errors import SimulationError
from townlet_runtime.testing import check_simulation
from townlet_runtime.town import AgentSpec, JobSpec, LifecycleConfig, ObjectSpec, SocialConfig, Town, TownConfig
from townlet_runtime.town.actions import TABLE
from townlet_runtime.town.observations import FEATURES, HELD_START
from townlet_runtime.town.render import render_lines, town_picture

LIVELY = LifecycleConfig(respawn_delay_ticks=5, departure_rate=0.02, away_ticks=4)
SMALL = TownConfig(num_agents=4, episode_ticks=30, grid_size=(8, 8), local_window=3)


def feature(town_observed, name: str) -> np.ndarray:
    return town_observed.observations["features"][:, FEATURES.index(name)]


def test_the_town_keeps_the_promises_of_a_simulation() -> None:
    town = Town(replace(SMALL, needs_decay=(0.06, 0.0, 0.0), lifecycle=LIVELY), num_worlds=3)
    check_simulation(town, seed=5, ticks=100)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**31), agents=st.integers(1, 12), worlds=st.integers(1, 3))
def test_every_scripted_proposal_is_a_legal_action(seed: int, agents: int, worlds: int) -> None:
    town = Town(replace(TownConfig(), num_agents=agents), num_worlds=worlds)
    observed = begun(town, seed)
    scripts = [town.scripted(name) for name in town.behaviors]
    for tick in range(150):
        rows = np.arange(len(observed.slots))
        for script in scripts:
            assert observed.action_mask is not None
            assert observed.action_mask[rows, script.propose(observed)].all()
        observed = town.step(scripts[tick % 2].propose(observed)).observed


def test_an_episode_is_cut_for_everybody_and_a_new_one_begins() -> None:
    town = Town(SMALL, num_worlds=2)
    observed = begun(town, 3)
    first = observed
    for _ in range(30):
        stepped = town.step(np.zeros(8, dtype=np.int64))
        observed = stepped.observed
    assert stepped.truncated.all() and not stepped.terminated.any()
    assert stepped.final_rows.tolist() == list(range(8))
    assert stepped.final_observations["features"][0, FEATURES.index("episode_progress")] == 1.0
    assert feature(observed, "episode_progress").tolist() == [0.0] * 8
    assert (first.episodes.tolist(), observed.episodes.tolist()) == ([0] * 4 + [1] * 4, [2] * 4 + [3] * 4)
    assert not np.array_equal(first.observations["features"], observed.observations["features"])


def test_work_pays_only_at_the_workplace_during_the_shift() -> None:
    job = JobSpec(name="cook", start_tick=2, end_tick=5, wage_rate=0.5, location=(1, 1))
    agents = (
        AgentSpec(id="there", position=(1, 1), wallet=0.0, job="cook"),
        AgentSpec(id="away", position=(7, 7), wallet=0.0, job="cook"),
        AgentSpec(id="jobless", position=(1, 1), wallet=0.0),
    )
    town = Town(replace(SMALL, jobs=(job,), agents=agents), num_worlds=1)
    begun(town, 0)
    late = [
        town.step(np.zeros(3, dtype=np.int64)).events[0][town.spec.event_names.index("late_ticks")] for _ in range(7)
    ]
    assert town.state.wallet.tolist() == [1.5, 0.0, 0.0]
    assert late == [0, 0, 1, 1, 1, 0, 0]
    assert town.state.late.tolist() == [0, 3, 0]


def test_the_script_sets_off_for_work_before_the_shift() -> None:
    job = JobSpec(name="cook", start_tick=12, end_tick=20, location=(6, 1))
    agents = (AgentSpec(id="alice", position=(1, 1), job="cook"),)
    town = Town(replace(SMALL, jobs=(job,), agents=agents), num_worlds=1, script=ScriptedConfig(job_arrival_buffer=10))
    observed, script = begun(town, 0), town.scripted("scripted")
    keys = []
    for _ in range(9):
        action = script.propose(observed)
        keys.append(TABLE.vocabulary.keys[action[0]])
        assert feature(observed, "shift_pre")[0] == (town.state.tick >= 2)
        observed = town.step(action).observed
    assert keys == ["wait", "wait", *["go_to:workplace"] * 5, "wait", "wait"]
    assert feature(observed, "at_workplace")[0] == 1.0


def test_choices_by_hand() -> None:
    objects = (
        ObjectSpec(id="far", type="shower", position=(7, 7)),
        ObjectSpec(id="near", type="shower", position=(2, 0)),
        ObjectSpec(id="middle", type="shower", position=(4, 0)),
    )
    agents = (AgentSpec(id="a", position=(0, 0)), AgentSpec(id="b", position=(2, 0)))
    town = Town(replace(SMALL, objects=objects, agents=agents), num_worlds=1)
    observed = begun(town, 0)
    shower = slice(6, 9)
    assert observed.targets.local[0, shower].tolist() == [0, 1, 1]
    observed = town.step(np.array([0, TABLE.index("request:shower:nearest")])).observed
    # b stands at the near one: for a it is still the nearest, the middle one is now less busy; b means its own.
    assert observed.targets.local[:, shower].tolist() == [[0, 1, 2], [1, 1, 1]]
    assert feature(observed, "busy_shower_nearest").tolist() == [0.25, 0.25]
    assert feature(observed, "distance_shower_least_busy").tolist() == pytest.approx([4 / 16, 0.0])
    assert feature(observed, "usable_fridge_first").tolist() == [0.0, 0.0]
    assert feature(observed, "distance_fridge_first").tolist() == [1.0, 1.0]


def test_the_map_shows_what_is_around() -> None:
    objects = (ObjectSpec(id="bed", type="bed", position=(1, 0)),)
    agents = (
        AgentSpec(id="a", position=(0, 0)),
        AgentSpec(id="b", position=(1, 0)),
        AgentSpec(id="c", position=(0, 0)),
    )
    town = Town(replace(SMALL, objects=objects, agents=agents), num_worlds=1)
    begun(town, 0)
    seen = town.step(np.array([0, TABLE.index("request:bed:first"), 0])).observed.observations["map"]
    assert seen.shape == (3, 4, 3, 3)
    self_, others, things, reserved = seen[0]
    assert self_.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert others.tolist() == [[0, 0, 0], [0, 0.25, 0.25], [0, 0, 0]]
    assert things.tolist() == [[0, 0, 0], [0, 0, 1.0], [0, 0, 0]]
    assert reserved.tolist() == [[0, 0, 0], [0, 0, 0.25], [0, 0, 0]]


def test_a_cook_fills_the_emptiest_fridge_and_stoves_are_supplied() -> None:
    objects = (
        ObjectSpec(id="f1", type="fridge", position=(0, 0)),
        ObjectSpec(id="f2", type="fridge", position=(7, 0)),
        ObjectSpec(id="s", type="stove", position=(1, 1)),
    )
    agents = (AgentSpec(id="a", position=(1, 1), wallet=5.0),)
    town = Town(replace(SMALL, objects=objects, agents=agents, delivery_ticks=10), num_worlds=1)
    begun(town, 0)
    town.state.stock[:3] = [5, 3, 1]
    town.state.tick = 1
    cook = TABLE.index("request:stove:first")
    town._observe()
    stocks = []
    for _ in range(14):
        town.step(np.array([cook]))
        stocks.append(town.state.stock[:3].tolist())
    assert stocks[1] == [5, 3, 0]
    assert stocks[9] == [5, 3, 2], "two ingredients at tick 10"
    assert stocks[12] == [5, 7, 2], "twelve ticks of cooking make four meals"


def test_held_columns_are_left_to_the_runtime() -> None:
    town = Town(SMALL, num_worlds=1)
    columns = town.spec.commitment_columns
    assert columns is not None
    assert (columns.observation, columns.start, columns.max_ticks) == ("features", HELD_START, 15)
    assert FEATURES[HELD_START:] == (*(f"held_{key}" for key in TABLE.vocabulary.keys), "held_ticks_left")


def test_misuse_is_one_clear_error() -> None:
    town = Town(SMALL, num_worlds=1)
    with pytest.raises(SimulationError, match="expected `reset` before the first `step`"):
        town.step(np.zeros(4, dtype=np.int64))
    begun(town, 0)
    with pytest.raises(SimulationError, match=r"expected actions of shape \(4,\), got \(3,\)"):
        town.step(np.zeros(3, dtype=np.int64))
    with pytest.raises(SimulationError, match=r"expected `seeds` that are not negative, got \[-1\]"):
        begun(town, -1)
    with pytest.raises(SimulationError, match=r"\(scripted, nearest, idle\), got 'clever'"):
        town.scripted("clever")


def test_without_relationships_nobody_chats_and_rivals_are_avoided_all_the_same() -> None:
    aloof = Town(replace(SMALL, social=SocialConfig(relationships=False)), num_worlds=1)
    (guardrail,) = aloof.guardrails()
    assert isinstance(guardrail, RivalryGuardrail)
    observed = begun(aloof, 0)
    for _ in range(30):
        assert not observed.action_mask[:, TABLE.index("chat")].any()
        observed = aloof.step(aloof.scripted("scripted").propose(observed)).observed


def test_same_seed_same_town_and_another_seed_another() -> None:
    one, two = Town(SMALL, num_worlds=2), Town(SMALL, num_worlds=2)
    a, b = begun(one, 7), begun(two, 7)
    np.testing.assert_array_equal(a.observations["features"], b.observations["features"])
    assert not np.array_equal(begun(two, 9).observations["features"], a.observations["features"])


def test_a_grid_of_39_columns_is_drawn_on_80() -> None:
    town = Town(replace(TownConfig(), num_agents=200, grid_size=(39, 39)), num_worlds=1)
    begun(town, 7)
    assert max(map(len, render_lines(town))) <= 80


def test_rendering_shows_everybody() -> None:
    town = Town(SMALL, num_worlds=2)
    begun(town, 7)
    lines = render_lines(town, world=1)
    assert len(lines) == 10
    assert max(map(len, lines)) <= 80
    grid = "".join(lines[1:-1])
    assert sum(int(c) for c in grid if c.isdigit()) == 4
    picture = town_picture(town, world=1, title="a town")
    assert (picture.width, picture.height, len(picture.agents)) == (8, 8, 4)
    assert {agent.id for agent in picture.agents} == {"agent_01", "agent_02", "agent_03", "agent_04"}
    assert sum(item.type == "workplace" for item in picture.objects) == 3


def busiest_tick(num_agents: int, *, ticks: int) -> int:
    """Lines of Python that run in the tick with most of them, in which loops show."""
    config = TownConfig(num_agents=num_agents, social=SocialConfig(social_rewards="C3"), lifecycle=LIVELY)
    town = Town(config, num_worlds=1)
    observed, script, most, ran = begun(town, 1), town.scripted("scripted"), 0, 0

    def trace(frame: FrameType, *_: object) -> Callable[..., Any] | None:
        nonlocal ran
        ran += 1
        return trace

    before = sys.gettrace()
    for _ in range(ticks):
        ran = 0
        sys.settrace(trace)
        try:
            observed = town.step(script.propose(observed)).observed
        finally:
            sys.settrace(before)
        most = max(most, ran)
    return most


def test_the_python_work_of_a_tick_does_not_grow_with_the_agents() -> None:
    # Where hundreds live, every rule is met in some tick; from there on ten times as many agents change nothing.
    assert busiest_tick(4000, ticks=120) <= 1.25 * busiest_tick(400, ticks=120)
