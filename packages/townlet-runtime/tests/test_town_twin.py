"""The town's arrays against the same rules written with loops, under random legal actions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from beginnings import begun
from hypothesis import example, given, settings
from hypothesis import strategies as st
from naive_minds import NaiveMinds
from naive_sight import features, window
from naive_town import SIDES, NaiveAgent, NaiveTown

from townlet_behavior import RivalryGuardrail, ScriptedConfig
from townlet_behavior.personality import avoid_thresholds
from townlet_runtime.simulation.interface import Observations, Stepped
from townlet_runtime.town import (
    AffordanceSpec,
    JobSpec,
    LifecycleConfig,
    ObjectSpec,
    PersonalityConfig,
    QueueConfig,
    RewardConfig,
    RivalryConfig,
    SocialConfig,
    Town,
    TownConfig,
    TownObserved,
)
from townlet_runtime.town.actions import TABLE
from townlet_runtime.town.place import jobs_of, objects_of
from townlet_runtime.town.state import EVENTS

PHASES = ("free", "line", "turn", "using")
KEYS = TABLE.vocabulary.keys
CHAT = TABLE.index("chat")
ARRIVAL_BUFFER = 4

CROWDED = TownConfig(
    num_agents=8,
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
        JobSpec(name="early", start_tick=5, end_tick=25, wage_rate=0.3, lateness_penalty=0.1, location=(1, 2)),
        JobSpec(name="late", start_tick=30, end_tick=60, wage_rate=0.2, location=(4, 2)),
    ),
    affordances={
        "fridge": AffordanceSpec(id="eat", duration=3, effects=(0.3, 0.0, 0.05), cost=0.2, uses_stock=True),
        "stove": AffordanceSpec(
            id="cook", duration=2, effects=(0.1, -0.1, -0.05), cost=0.1, uses_stock=True, meals_made=2
        ),
        "shower": AffordanceSpec(id="wash", duration=2, effects=(0.0, 0.4, 0.0), cost=0.1),
        "bed": AffordanceSpec(id="sleep", duration=4, effects=(0.0, 0.0, 0.5)),
    },
    needs_decay=(0.02, 0.01, 0.015),
    fridge_stock=2,
    stove_stock=2,
    stove_stock_replenish=1,
    delivery_ticks=7,
    queue=QueueConfig(cooldown_ticks=3, ghost_step_after=2),
    rewards=RewardConfig(clip_per_tick=0.03),
    rivalry=RivalryConfig(increment_per_conflict=0.2, decay_per_tick=0.008, avoid_threshold=0.3, max_edges=2),
    social=SocialConfig(social_rewards="C3", chat_cooldown_ticks=4, takeover_ticks=3, max_edges=3),
    personality=PersonalityConfig(
        distribution={"balanced": 1.0, "socialite": 1.0, "stoic": 2.0},
        overrides={"agent_02": "industrious"},
        profiles=True,
    ),
    lifecycle=LifecycleConfig(respawn_delay_ticks=4, departure_rate=0.004, away_ticks=6),
)
STERN = replace(
    CROWDED,
    rivalry=replace(CROWDED.rivalry, min_value=0.1, max_value=0.6, avoid_threshold=0.35),
    social=replace(CROWDED.social, social_rewards="C2", chat_cooldown_ticks=0, max_edges=1),
    personality=PersonalityConfig(),
)
ALOOF = replace(CROWDED, social=SocialConfig(relationships=False), rewards=RewardConfig())
PACKED = replace(
    CROWDED,
    grid_size=(3, 2),
    local_window=1,
    objects=(
        ObjectSpec(id="f1", type="fridge", position=(0, 0), places=2),
        ObjectSpec(id="s1", type="stove", position=(2, 1)),
        ObjectSpec(id="b1", type="bed", position=(2, 0)),
        ObjectSpec(id="b2", type="bed", position=(0, 1), places=2),
    ),
    jobs=tuple(replace(job, location=(1, 1)) for job in CROWDED.jobs),
    rivalry=replace(CROWDED.rivalry, increment_per_conflict=0.05),
)
"""More agents than cells, and no window to speak of."""
PLAIN = replace(
    CROWDED,
    objects=(
        ObjectSpec(id="t1", type="stall", position=(1, 3)),
        *CROWDED.objects,
        ObjectSpec(id="n1", type="bench", position=(3, 1)),
        ObjectSpec(id="n2", type="bench", position=(4, 4), places=2),
    ),
)


def twin_of(town: Town) -> NaiveTown:
    state, rules = town.state, town.config.rivalry
    slots = range(len(state.x))
    thresholds = avoid_thresholds(rules.avoid_threshold).tolist()
    profiles = state.profile.tolist() if town.config.personality.profiles else [0 for _ in slots]
    avoid_from = {slot: thresholds[profiles[slot]] for slot in slots}
    minds = NaiveMinds(town.config.social, rules, list(slots), avoid_from)
    return NaiveTown(town.config, objects_of(town.config), {s: naive_agent(town, s) for s in slots}, minds)


def naive_agent(town: Town, slot: int) -> NaiveAgent:
    state, jobs = town.state, jobs_of(town.config)
    job = int(state.job[slot])
    return NaiveAgent(
        x=int(state.x[slot]),
        y=int(state.y[slot]),
        needs=[float(n) for n in state.needs[slot]],
        wallet=float(state.wallet[slot]),
        job=None if job < 0 else jobs[job],
        extroversion=float(state.extroversion[slot]),
        profile=int(state.profile[slot]),
        leaves_at=int(state.leaves_at[slot]),
    )


def assert_same(town: Town, twin: NaiveTown) -> None:
    state = town.state
    assert sorted(twin.agents) == np.flatnonzero(state.alive).tolist()
    for slot, agent in twin.agents.items():
        assert (state.x[slot], state.y[slot]) == agent.cell, slot
        assert state.needs[slot] == pytest.approx(agent.needs, abs=1e-12), slot
        assert state.wallet[slot] == pytest.approx(agent.wallet, abs=1e-9), slot
        assert state.object[slot] == (-1 if agent.at is None else agent.at), slot
        assert PHASES[state.phase[slot]] == agent.phase, slot
        assert state.remaining[slot] == agent.remaining, slot
        assert state.late[slot] == agent.late, slot
        assert state.chat_ready_at[slot] == agent.chat_ready_at, slot
    assert state.stock[:-1].tolist() == [item.stock for item in twin.objects]
    assert_same_minds(town, twin.minds)


def assert_same_minds(town: Town, minds: NaiveMinds) -> None:
    relations = town.state.relations
    for slot in minds.close:
        edges = np.flatnonzero(relations.other[slot] >= 0)
        others = relations.other[slot, edges].tolist()
        assert set(others) == {*minds.close[slot], *minds.rivals[slot]}, slot
        close = {
            o: relations.trust[slot, e] or relations.familiarity[slot, e] for o, e in zip(others, edges, strict=True)
        }
        assert {o for o, tie in close.items() if tie} == set(minds.close[slot]), slot
        for other, edge in zip(others, edges, strict=True):
            assert relations.trust[slot, edge] == pytest.approx(minds.tie(slot, other)[0], abs=1e-12)
            assert relations.familiarity[slot, edge] == pytest.approx(minds.tie(slot, other)[1], abs=1e-12)
            assert relations.rivalry[slot, edge] == pytest.approx(minds.rivals[slot].get(other, -np.inf), abs=1e-12), (
                slot,
                other,
            )


def assert_same_outcome(stepped: Stepped, slots: np.ndarray, twin: NaiveTown, rewards: dict[int, float]) -> None:
    assert stepped.rewards == pytest.approx([rewards[s] for s in slots], abs=1e-6)
    happened = dict(zip(EVENTS, stepped.events[0].tolist(), strict=True))
    assert {k: v for k, v in happened.items() if v} == pytest.approx(twin.events)


def assert_same_observations(town: Town, observations: Observations, slots: list[int], twin: NaiveTown) -> None:
    shown, ticks = observations["features"], twin.config.episode_ticks
    held = town.spec.commitment_columns.start
    names = town.spec.feature_names[:held]
    for row, slot in enumerate(slots):
        expected = features(twin, slot, arrival_buffer=ARRIVAL_BUFFER, episode_ticks=ticks)
        seen = dict(zip(names, shown[row, :held].tolist(), strict=True))
        assert seen == pytest.approx(expected, abs=2e-6), slot
        np.testing.assert_allclose(observations["map"][row], window(twin, slot), atol=1e-6)
    assert not shown[:, held:].any()


def assert_same_finals(town: Town, stepped: Stepped, slots: np.ndarray, twin: NaiveTown) -> None:
    """`twin` has done the tick, and nobody has left it yet."""
    ended = slots[stepped.final_rows].tolist()
    assert_same_observations(town, stepped.final_observations, ended, twin)
    assert stepped.final_option_done.tolist() == [twin.agents[slot].option_done for slot in ended]


def assert_same_view(town: Town, observed: TownObserved, twin: NaiveTown) -> None:
    legal = [[twin.legal(int(s), key) for key in town.spec.vocabulary.keys] for s in observed.slots]
    assert observed.action_mask.tolist() == legal
    assert_same_observations(town, observed.observations, observed.slots.tolist(), twin)
    present = observed.slots.tolist()
    assert observed.can_chat.tolist() == [can_chat(twin, s) for s in present]
    assert observed.rival_here.tolist() == [twin.rival_here(s) for s in present]
    assert observed.step_away.tolist() == [step_away(twin, s) for s in present]


def can_chat(twin: NaiveTown, slot: int) -> bool:
    return twin.chat_score(slot) > 0.0 and not twin.minds.avoids(slot, twin.partner(slot))


def step_away(twin: NaiveTown, slot: int) -> int:
    agent, taken = twin.agents[slot], {agent.cell for agent in twin.agents.values()}
    for name, (dx, dy) in SIDES.items():
        if twin.legal(slot, f"move:{name}") and (agent.x + dx, agent.y + dy) not in taken:
            return TABLE.index(f"move:{name}")
    return -1


def random_legal(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mostly requests and work, which is what brings agents together, and some dawdling, which loses turns."""
    weights = rng.random(mask.shape) * mask
    weights[:, TABLE.requests] *= 3.0
    weights[:, len(KEYS) :] *= 3.0  # requests of plain objects
    weights[:, TABLE.index("release")] *= 0.3
    weights[:, TABLE.index("go_to:workplace")] *= 3.0
    weights[:, CHAT] *= 4.0
    return np.where(rng.random(len(mask)) < 0.2, TABLE.vocabulary.wait, weights.argmax(axis=1))


class Wanderers:
    """Agents that go on with what they do, or think of something else."""

    def __init__(self, town: Town, *, sticky: float, seed: int) -> None:
        self._last = np.zeros(town.spec.capacity, dtype=np.int64)
        self._sticky, self._rng = sticky, np.random.default_rng(seed)

    def actions(self, observed: TownObserved) -> np.ndarray:
        mask = observed.action_mask
        last = self._last[observed.slots]
        kept = mask[np.arange(len(last)), last] & (self._rng.random(len(last)) < self._sticky)
        chosen = np.where(kept, last, random_legal(mask, self._rng))
        self._last[observed.slots] = np.where(chosen == CHAT, last, chosen)
        return chosen


@dataclass
class Both:
    """A town and its twin."""

    town: Town
    twin: NaiveTown
    guardrail: RivalryGuardrail

    @property
    def keys(self) -> tuple[str, ...]:
        return self.town.spec.vocabulary.keys

    def obey(self, observed: TownObserved, actions: np.ndarray) -> np.ndarray:
        """Let the guardrail have its word, which must be the twin's too."""
        verdicts = self.guardrail.review(observed, actions)
        rows = np.flatnonzero(verdicts.vetoed)
        slots = observed.slots.tolist()
        expected = [self.twin.vetoed(s, self.keys[a]) for s, a in zip(slots, actions, strict=True)]
        reasons = [self.guardrail.reasons[r] for r in verdicts.reason]
        assert [r if v else None for r, v in zip(reasons, verdicts.vetoed, strict=True)] == expected
        if rows.size:
            observed.record_blocks(rows, actions[rows], verdicts.reason[rows])
            self.twin.blocked = {slots[row] for row in rows if actions[row] == CHAT}
        return np.where(verdicts.vetoed, verdicts.replacement, actions)

    def step(self, observed: TownObserved, actions: np.ndarray) -> TownObserved:
        town, twin, slots = self.town, self.twin, observed.slots
        stepped = town.step(actions)
        rewards, fainted, left = twin.step({int(s): self.keys[a] for s, a in zip(slots, actions, strict=True)})
        rewards = {s: r - town.faint_penalty * (s in fainted) for s, r in rewards.items()}
        assert stepped.terminated.tolist() == [int(s) in fainted for s in slots]
        assert stepped.truncated.tolist() == [int(s) in left for s in slots]
        assert_same_finals(town, stepped, slots, twin)
        back = twin.depart(fainted, left)
        assert_same_outcome(stepped, slots, twin, rewards)
        after = stepped.observed
        assert isinstance(after, TownObserved)
        done = {int(s): bool(d) for s, d in zip(after.slots, after.option_done, strict=True)}
        assert {s: done[s] for s in twin.agents} == {s: a.option_done for s, a in twin.agents.items()}
        twin.agents.update({slot: naive_agent(town, slot) for slot in back})
        assert_same(town, twin)
        return after


@settings(max_examples=12)
@example(config=PLAIN, seed=1, sticky=0.9, guarded=True)
@example(config=PACKED, seed=1, sticky=0.9, guarded=False)
@given(
    config=st.sampled_from([CROWDED, PACKED, PLAIN, STERN, ALOOF]),
    seed=st.integers(0, 2**31 - 1),
    sticky=st.floats(0.0, 0.95),
    guarded=st.booleans(),
)
def test_arrays_follow_the_rules_written_as_loops(config: TownConfig, seed: int, sticky: float, guarded: bool) -> None:
    town = Town(config, num_worlds=1, script=ScriptedConfig(job_arrival_buffer=ARRIVAL_BUFFER))
    observed = begun(town, seed)
    both = Both(town, twin_of(town), RivalryGuardrail(wait=TABLE.vocabulary.wait))
    wanderers = Wanderers(town, sticky=sticky, seed=seed)
    for _ in range(110):
        assert_same_view(town, observed, both.twin)
        actions = wanderers.actions(observed)
        observed = both.step(observed, both.obey(observed, actions) if guarded else actions)


def test_the_random_walk_meets_every_rule() -> None:
    # Guards the test above: were lines, uses, chats or faints not reached, it would compare nothing.
    town = Town(CROWDED, num_worlds=4)
    observed, wanderers = begun(town, 1), Wanderers(town, sticky=0.9, seed=1)
    total, avoided = np.zeros(len(EVENTS)), 0
    for _ in range(600):
        stepped = town.step(wanderers.actions(observed))
        total += stepped.events.sum(axis=0)
        observed = stepped.observed
        avoided += np.count_nonzero(observed.rival_here)
    happened = dict(zip(EVENTS, total, strict=True))
    assert happened.pop("shower_complete_events") == 0.0, "there is no shower in this town"
    assert all(count >= 5 for count in happened.values()), happened
    assert avoided >= 50


def test_worlds_do_not_touch_each_other() -> None:
    config = replace(CROWDED, num_agents=3)
    many, alone = Town(config, num_worlds=3), [Town(config, num_worlds=1) for _ in range(3)]
    observed, wanderers = begun(many, 11), Wanderers(many, sticky=0.8, seed=5)
    for w, town in enumerate(alone):
        begun(town, 11 + w)
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
