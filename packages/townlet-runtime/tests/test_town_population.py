from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest
from beginnings import begun

from townlet_behavior import draw_keys
from townlet_behavior.personality import PROFILES
from townlet_runtime.town import AgentSpec, LifecycleConfig, PersonalityConfig, Town, TownConfig
from townlet_runtime.town.state import EVENTS
from townlet_trajectory.evaluation.interfaces import training_seeds

SMALL = TownConfig(num_agents=4, episode_ticks=500, grid_size=(8, 8), lifecycle=LifecycleConfig(departure_rate=0.0))
HUNGRY_ALICE = (AgentSpec(id="alice", position=(1, 1), needs=(0.01, 1.0, 1.0)), AgentSpec(id="bob", position=(2, 2)))


def wait(count: int) -> np.ndarray:
    return np.zeros(count, dtype=np.int64)


def test_worlds_of_two_runs_never_play_the_same_episode() -> None:
    beginnings = set()
    for run in (0, 1):
        town = Town(replace(SMALL, episode_ticks=2), num_worlds=4)
        observed = town.reset(seeds=training_seeds(run, 4))
        for _ in range(3):
            features = observed.observations["features"]
            beginnings |= {features[observed.worlds == world].tobytes() for world in range(4)}
            for _ in range(2):
                observed = town.step(wait(16)).observed
    assert len(beginnings) == 2 * 4 * 3


def test_a_seed_of_more_than_32_bits_is_no_smaller_seed_and_an_episode() -> None:
    # As words of 32 bits, (7 + 5 · 2^32, episode 0) reads 7, 5, 0 and (7, episode 5) reads 7, 5.
    town = Town(replace(SMALL, episode_ticks=1), num_worlds=2)
    observed = town.reset(seeds=np.array([7, 7 + 5 * 2**32]))
    first = observed.observations["features"][observed.worlds == 1]
    for _ in range(5):
        observed = town.step(wait(8)).observed
    assert (observed.observations["features"][observed.worlds == 0] != first).any()


def test_who_faints_is_back_after_the_delay_under_the_same_id() -> None:
    lifecycle = LifecycleConfig(respawn_delay_ticks=3, departure_rate=0.0)
    town = Town(replace(SMALL, agents=HUNGRY_ALICE, needs_decay=(0.01, 0.0, 0.0), lifecycle=lifecycle), num_worlds=1)
    observed = begun(town, 0)
    stepped = town.step(wait(2))
    assert stepped.terminated.tolist() == [True, False]
    assert stepped.rewards[0] < -0.9
    assert stepped.final_rows.tolist() == [0]
    assert stepped.observed.agent_ids.tolist() == ["bob"]
    for _ in range(2):
        assert town.step(wait(1)).observed.slots.tolist() == [1]
    back = town.step(wait(1))
    assert back.events[0, EVENTS.index("arrival_events")] == 1
    assert back.observed.agent_ids.tolist() == ["alice", "bob"]
    assert back.observed.keys.tolist() == [draw_keys(0, "alice"), draw_keys(0, "bob")]
    assert back.observed.needs[0].min() >= 0.5, "rested"
    assert observed.agent_ids.tolist() == ["alice", "bob"], "what was observed stays as it was"


def test_without_a_delay_who_faints_is_back_at_once() -> None:
    lifecycle = LifecycleConfig(respawn_delay_ticks=0, departure_rate=0.0)
    town = Town(replace(SMALL, lifecycle=lifecycle, needs_decay=(0.5, 0.0, 0.0)), num_worlds=1)
    begun(town, 0)
    stepped = town.step(wait(4))
    while not stepped.terminated.any():
        stepped = town.step(wait(4))
    assert stepped.observed.slots.tolist() == [0, 1, 2, 3]
    assert stepped.observed.needs.min() > 0.0


def test_travellers_are_cut_off_and_come_back_as_themselves() -> None:
    town = Town(replace(SMALL, lifecycle=LifecycleConfig(departure_rate=0.05, away_ticks=6)), num_worlds=1)
    observed = begun(town, 4)
    character, job = town.state.extroversion.tolist(), town.state.job.tolist()
    gone: dict[str, int] = {}
    journeys = 0
    for _ in range(60):
        tick, before = town.state.tick + 1, observed.agent_ids
        stepped = town.step(wait(len(before)))
        left = before[stepped.truncated].tolist()
        assert not stepped.terminated.any()
        assert stepped.events[0, EVENTS.index("departure_events")] == len(left)
        assert len(stepped.final_observations["features"]) == len(left)
        back = set(stepped.observed.agent_ids) - set(before)
        assert back == {name for name, at in gone.items() if at + 6 == tick}
        gone.update(dict.fromkeys(left, tick))
        assert not set(left) & set(stepped.observed.agent_ids)
        journeys += len(left)
        observed = stepped.observed
    assert journeys >= 6
    assert (town.state.extroversion.tolist(), town.state.job.tolist()) == (character, job)


def test_journeys_are_as_frequent_as_the_rate_says() -> None:
    town = Town(replace(SMALL, lifecycle=LifecycleConfig(departure_rate=0.01, away_ticks=0)), num_worlds=50)
    begun(town, 0)
    events = sum(town.step(wait(200)).events.sum(axis=0) for _ in range(100))
    # 200 agents, 100 ticks: 200 journeys on average, with a standard deviation of 14.
    assert 150 < events[EVENTS.index("departure_events")] < 250
    assert events[EVENTS.index("arrival_events")] == events[EVENTS.index("departure_events")]


def test_everybody_can_be_away() -> None:
    town = Town(replace(SMALL, lifecycle=LifecycleConfig(departure_rate=1.0, away_ticks=3)), num_worlds=1)
    begun(town, 0)
    assert town.step(wait(4)).observed.slots.tolist() == []
    for expected in ([], [], [0, 1, 2, 3]):
        stepped = town.step(wait(0))
        assert stepped.rewards.shape == (0,)
        assert stepped.observed.slots.tolist() == expected


def test_an_episode_ends_though_nobody_is_there() -> None:
    lifecycle = LifecycleConfig(departure_rate=1.0, away_ticks=9)
    town = Town(replace(SMALL, episode_ticks=3, lifecycle=lifecycle), num_worlds=2)
    begun(town, 0)
    assert town.step(wait(8)).observed.slots.tolist() == []
    town.step(wait(0))
    stepped = town.step(wait(0))
    assert stepped.final_rows.tolist() == []
    assert stepped.observed.slots.tolist() == list(range(8))
    assert stepped.observed.episodes.tolist() == [2] * 4 + [3] * 4


def test_an_agent_that_leaves_makes_room_in_the_line() -> None:
    town = Town(SMALL, num_worlds=1)
    observed = begun(town, 0)
    town.state.object[0], town.state.phase[0] = 3, 1
    town.state.leaves_at[0] = 1
    town.population.dismiss(town.state, np.array([], dtype=np.int64), until=0)
    stepped = town.step(wait(4))
    assert stepped.truncated.tolist() == [True, False, False, False]
    assert town.state.load.tolist() == [0] * 11
    assert observed.slots.tolist() == [0, 1, 2, 3]


def test_characters_are_drawn_named_or_overridden() -> None:
    names = [profile.name for profile in PROFILES]
    drawn = Town(
        replace(SMALL, num_agents=200, personality=PersonalityConfig(distribution={"stoic": 3.0, "socialite": 1.0})),
        num_worlds=1,
    )
    begun(drawn, 0)
    counts = np.bincount(drawn.state.profile, minlength=len(names))
    assert counts[names.index("balanced")] == counts[names.index("industrious")] == 0
    assert 120 < counts[names.index("stoic")] < 180
    agents = (
        AgentSpec(id="alice", position=(0, 0)),
        AgentSpec(id="bob", position=(0, 0)),
        AgentSpec(id="carol", position=(0, 0), personality_profile="stoic"),
    )
    personality = PersonalityConfig(distribution={}, overrides={"bob": "industrious", "carol": "socialite"})
    named = Town(replace(SMALL, agents=agents, personality=personality), num_worlds=2)
    begun(named, 0)
    assert [names[index] for index in named.state.profile] == ["balanced", "industrious", "stoic"] * 2
    assert named.state.extroversion.min() >= 0.0
    assert named.state.extroversion.max() < 1.0
    assert len(set(named.state.extroversion)) == 6


@pytest.mark.parametrize("worlds", [1, 2])
def test_what_agents_come_with_depends_on_nothing_that_they_did(worlds: int) -> None:
    config = replace(SMALL, lifecycle=LifecycleConfig(departure_rate=0.02, away_ticks=2))
    idle, busy = Town(config, num_worlds=worlds), Town(config, num_worlds=worlds)
    one, other = begun(idle, 3), begun(busy, 3)
    for _ in range(80):
        one = idle.step(wait(len(one.slots))).observed
        other = busy.step(busy.scripted("nearest").propose(other)).observed
        assert one.slots.tolist() == other.slots.tolist()
    assert idle.population.arrived.tolist() == busy.population.arrived.tolist()
    assert idle.state.leaves_at.tolist() == busy.state.leaves_at.tolist()
    assert idle.population.arrived.min() > 4


def test_nothing_grows_with_the_number_of_agents_that_came_and_went() -> None:
    lifecycle = LifecycleConfig(respawn_delay_ticks=1, departure_rate=0.1, away_ticks=1)
    town = Town(replace(SMALL, lifecycle=lifecycle, episode_ticks=100_000), num_worlds=1)
    observed, script = begun(town, 0), town.scripted("scripted")
    sizes = []
    for tick in range(1201):
        if tick % 600 == 0:
            gc.collect()
            arrays = sum(value.nbytes for value in vars(town.state).values() if isinstance(value, np.ndarray))
            sizes.append((arrays, len(gc.get_objects())))
        observed = town.step(script.propose(observed)).observed
    assert town.population.arrived[0] > 300
    (arrays, objects), (arrays_later, objects_later) = sizes[1:]
    assert arrays_later == arrays
    assert objects_later <= objects + 50
