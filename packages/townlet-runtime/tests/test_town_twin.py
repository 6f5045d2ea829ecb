"""The town's arrays against the same rules written with loops, under random legal actions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_town import NaiveAgent, NaiveTown

from townlet_runtime.simulation import Observed, Stepped
from townlet_runtime.town import AffordanceSpec, JobSpec, ObjectSpec, QueueConfig, RewardConfig, Town, TownConfig
from townlet_runtime.town.actions import TABLE
from townlet_runtime.town.place import jobs_of, objects_of
from townlet_runtime.town.state import EVENTS

PHASES = ("free", "line", "turn", "using")
KEYS = TABLE.vocabulary.keys

CROWDED = TownConfig(
    num_agents=7,
    episode_ticks=10_000,
    ticks_per_day=60,
    grid_size=(6, 5),
    local_window=3,
    objects=(
        ObjectSpec(id="f1", type="fridge", position=(0, 0), places=2),
        ObjectSpec(id="f2", type="fridge", position=(2, 1)),
        ObjectSpec(id="s1", type="stove", position=(3, 3)),
        ObjectSpec(id="b1", type="bed", position=(5, 4)),
        ObjectSpec(id="b2", type="bed", position=(5, 0), places=2),
    ),
    jobs=(
        JobSpec(name="early", start_tick=5, end_tick=20, wage_rate=0.3, lateness_penalty=0.1, location=(1, 4)),
        JobSpec(name="late", start_tick=30, end_tick=60, wage_rate=0.2, location=(4, 2)),
    ),
    affordances={
        "fridge": AffordanceSpec(duration=3, effects=(0.3, 0.0, 0.05), cost=0.2, uses_stock=True),
        "stove": AffordanceSpec(duration=2, effects=(0.1, -0.1, -0.05), cost=0.1, uses_stock=True, meals_made=2),
        "shower": AffordanceSpec(duration=2, effects=(0.0, 0.4, 0.0), cost=0.1),
        "bed": AffordanceSpec(duration=4, effects=(0.0, 0.0, 0.5)),
    },
    needs_decay=(0.02, 0.01, 0.015),
    fridge_stock=2,
    stove_stock=2,
    stove_stock_replenish=1,
    delivery_ticks=7,
    queue=QueueConfig(cooldown_ticks=3, ghost_step_after=2),
    rewards=RewardConfig(clip_per_tick=0.03),
    respawn_delay_ticks=4,
)


def twin_of(town: Town) -> NaiveTown:
    objects = objects_of(town.config)
    slots = np.flatnonzero(town.state.alive)
    return NaiveTown(town.config, objects, {int(s): naive_agent(town, int(s)) for s in slots})


def naive_agent(town: Town, slot: int) -> NaiveAgent:
    state, jobs = town.state, jobs_of(town.config)
    job = int(state.job[slot])
    return NaiveAgent(
        x=int(state.x[slot]),
        y=int(state.y[slot]),
        needs=[float(n) for n in state.needs[slot]],
        wallet=float(state.wallet[slot]),
        job=None if job < 0 else jobs[job],
    )


def assert_same(town: Town, twin: NaiveTown) -> None:
    state = town.state
    assert sorted(twin.agents) == np.flatnonzero(state.alive).tolist()
    for slot, agent in twin.agents.items():
        assert (state.x[slot], state.y[slot]) == (agent.x, agent.y), slot
        assert state.needs[slot] == pytest.approx(agent.needs, abs=1e-12), slot
        assert state.wallet[slot] == pytest.approx(agent.wallet, abs=1e-9), slot
        assert state.object[slot] == (-1 if agent.at is None else agent.at), slot
        assert PHASES[state.phase[slot]] == agent.phase, slot
        assert state.remaining[slot] == agent.remaining, slot
        assert state.late[slot] == agent.late, slot
    assert state.stock[:-1].tolist() == [item.stock for item in twin.objects]


def assert_same_outcome(stepped: Stepped, slots: np.ndarray, twin: NaiveTown, rewards: dict[int, float]) -> None:
    assert stepped.rewards == pytest.approx([rewards[s] for s in slots], abs=1e-6)
    happened = dict(zip(EVENTS, stepped.events[0].tolist(), strict=True))
    for name in ("faint_events", "arrival_events"):
        del happened[name]
    assert {k: v for k, v in happened.items() if v} == pytest.approx(twin.events)


def random_legal(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mostly requests, which is what makes lines, and some dawdling, which loses turns."""
    weights = rng.random(mask.shape) * mask
    weights[:, TABLE.requests] *= 3.0
    weights[:, TABLE.index("release")] *= 0.3
    return np.where(rng.random(len(mask)) < 0.2, TABLE.vocabulary.wait, weights.argmax(axis=1))


class Wanderers:
    """Agents that go on with what they do, or think of something else."""

    def __init__(self, town: Town, *, sticky: float, seed: int) -> None:
        self._last = np.zeros(town.spec.capacity, dtype=np.int64)
        self._sticky, self._rng = sticky, np.random.default_rng(seed)

    def actions(self, observed: Observed) -> np.ndarray:
        mask = observed.action_mask
        assert mask is not None
        last = self._last[observed.slots]
        kept = mask[np.arange(len(last)), last] & (self._rng.random(len(last)) < self._sticky)
        chosen = np.where(kept, last, random_legal(mask, self._rng))
        self._last[observed.slots] = chosen
        return chosen


@pytest.mark.property
@settings(max_examples=25)
@given(seed=st.integers(0, 2**31 - 1), sticky=st.floats(0.0, 0.95))
def test_arrays_follow_the_rules_written_as_loops(seed: int, sticky: float) -> None:
    town = Town(CROWDED, num_worlds=1)
    observed = town.reset(seed=seed)
    twin, wanderers = twin_of(town), Wanderers(town, sticky=sticky, seed=seed)
    for _ in range(120):
        slots = observed.slots
        legal = [[twin.legal(twin.agents[int(s)], key) for key in KEYS] for s in slots]
        assert observed.action_mask is not None
        assert observed.action_mask.tolist() == legal
        actions = wanderers.actions(observed)
        stepped = town.step(actions)
        rewards, fainted = twin.step({int(s): KEYS[a] for s, a in zip(slots, actions, strict=True)})
        rewards = {s: r - town.faint_penalty * (s in fainted) for s, r in rewards.items()}
        assert_same_outcome(stepped, slots, twin, rewards)
        assert stepped.terminated.tolist() == [int(s) in fainted for s in slots]
        done = {int(s): bool(d) for s, d in zip(stepped.observed.slots, stepped.observed.option_done, strict=True)}
        for slot in fainted:
            del twin.agents[slot]
        assert {s: done[s] for s in twin.agents} == {s: a.option_done for s, a in twin.agents.items()}
        for slot in stepped.observed.slots.tolist():
            if slot not in twin.agents:
                twin.agents[slot] = naive_agent(town, slot)
        assert_same(town, twin)
        observed = stepped.observed


def test_the_random_walk_meets_every_rule() -> None:
    # Guards the test above: were lines, uses or faints not reached, it would compare nothing.
    town = Town(CROWDED, num_worlds=4)
    observed, wanderers = town.reset(seed=1), Wanderers(town, sticky=0.9, seed=1)
    total = np.zeros(len(EVENTS))
    for _ in range(600):
        stepped = town.step(wanderers.actions(observed))
        total += stepped.events.sum(axis=0)
        observed = stepped.observed
    happened = dict(zip(EVENTS, total, strict=True))
    assert happened.pop("shower_complete_events") == 0.0, "there is no shower in this town"
    assert all(count >= 5 for count in happened.values()), happened


def test_worlds_do_not_touch_each_other() -> None:
    config = replace(CROWDED, num_agents=3)
    many, alone = Town(config, num_worlds=3), [Town(config, num_worlds=1) for _ in range(3)]
    observed, wanderers = many.reset(seed=11), Wanderers(many, sticky=0.8, seed=5)
    for w, town in enumerate(alone):
        town.reset(seed=11 + w)
    for _ in range(300):
        actions = wanderers.actions(observed)
        stepped = many.step(actions)
        for w, town in enumerate(alone):
            rows = observed.worlds == w
            apart = town.step(actions[rows])
            np.testing.assert_array_equal(apart.rewards, stepped.rewards[rows])
            np.testing.assert_array_equal(apart.events[0], stepped.events[w])
            after = stepped.observed.worlds == w
            for name, column in apart.observed.observations.items():
                np.testing.assert_array_equal(column, stepped.observed.observations[name][after])
        observed = stepped.observed
