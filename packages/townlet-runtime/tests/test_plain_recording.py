"""Whatever agents do, and whenever somebody looks, the record of a plain world holds what happened."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from plain_world import Person, PlainWorld, seen, world_of

from townlet_behavior import AgentIntent, PossessionError
from townlet_runtime.errors import SimulationError
from townlet_runtime.plain import PlainOptions, PolicyRuntime
from townlet_trajectory import EpisodeLabel, OrderError, TrajectoryBatch, joined, load_batch, save_batch

NAMES = ("ann", "bob", "eve", "joe", "max")
names = st.sampled_from(NAMES)


class Wanders:
    """Goes somewhere else every third tick."""

    def decide(self, world: PlainWorld, agent_id: str) -> AgentIntent:
        if world.tick % 3:
            return AgentIntent(kind="wait")
        return AgentIntent(kind="move", position=(world.tick % 7, len(agent_id)))


class Lives(RuleBasedStateMachine):
    """A plain world whose agents come, go, die and return, are possessed, observed or not; and a book of it all."""

    def __init__(self) -> None:
        super().__init__()
        self.world = world_of("ann", "bob")
        self.runtime: PolicyRuntime[Any, Any] = PolicyRuntime(
            {"policy_runtime": {"option_commit_ticks": 4}, "seed": 3},
            behavior=Wanders(),
            options=PlainOptions(capacity=5),
        )
        self.runtime.set_policy_action_provider(lambda world, agent_id, scripted: AgentIntent(kind="wait"))
        self.runtime.enable_anneal_blend()
        self.runtime.set_anneal_ratio(0.5)
        self.seen: set[str] = set()
        """Observed before the next decision."""
        self.rows: Counter[tuple[str, int]] = Counter()
        """Agents and ticks that must be recorded and are not collected yet."""
        self.rewards: dict[tuple[str, int], float] = {}
        self.recorded: Counter[tuple[str, int]] = Counter()
        self.has_recorded = False
        self.known: set[str] = set()
        """Decided for in the last tick, and not dead."""
        self.possessed: dict[str, int] = {}
        """Ticks left, by agent."""

    @rule(name=names)
    def arrive(self, name: str) -> None:
        self.world.agents.setdefault(name, Person())

    @rule(name=names)
    def leave(self, name: str) -> None:
        self.world.agents.pop(name, None)

    @rule(name=names)
    def possess(self, name: str) -> None:
        if name not in self.known:
            with pytest.raises(PossessionError):
                self.runtime.acquire_possession(name)
            return
        acquired = self.runtime.acquire_possession(name, lease_ticks=2)
        assert acquired != (name in self.possessed)
        if acquired:
            self.possessed[name] = 2
        self.runtime.feed_action(name, {"kind": "move", "position": (1, 1)})

    @rule(observed=st.sets(names))
    def observe(self, observed: set[str]) -> None:
        self.runtime.observe(seen(*sorted(observed), value=self.world.tick))
        self.seen = observed

    @rule(died=st.sets(names), observed=st.none() | st.sets(names), reward=st.integers(-3, 3))
    def tick(self, died: set[str], observed: set[str] | None, reward: int) -> None:
        present, tick = list(self.world.agents), self.world.tick
        assert list(self.runtime.decide(self.world, tick)) == present
        self.known = set(present) - died
        left = {name: ticks - 1 for name, ticks in self.possessed.items() if name in self.known}
        self.possessed = {name: ticks for name, ticks in left.items() if ticks}
        self.has_recorded |= bool(self.seen)
        for name in self.seen & set(present):
            self.rows[name, tick] += 1
            self.rewards[name, tick] = 2.0 * reward
        for _ in range(2):
            self.runtime.post_step(dict.fromkeys(present, float(reward)), dict.fromkeys(died, True))
        self.seen = set()
        if observed is not None:
            frames = self.runtime.flush_transitions(seen(*sorted(observed), value=tick + 1))
            assert [(frame["agent_id"], frame["rewards"]) for frame in frames] == [
                (frame["agent_id"], [2.0 * reward]) for frame in frames
            ]
            assert sorted(frame["agent_id"] for frame in frames) == sorted(present)
            self.seen = observed
        self.world.tick += 1

    @precondition(lambda self: self.has_recorded)
    @rule()
    def collect(self) -> None:
        batch = self.runtime.collect()
        rows = [
            (trajectory.agent_id, tick, reward)
            for trajectory in map(batch.trajectory, range(len(batch)))
            for tick, reward in zip(trajectory.ticks.tolist(), trajectory.rewards.tolist(), strict=True)
        ]
        assert Counter((name, tick) for name, tick, _ in rows) == self.rows
        assert {(name, tick): reward for name, tick, reward in rows} == {row: self.rewards[row] for row in self.rows}
        self.recorded += self.rows
        self.rows.clear()
        # What is seen before the decision of tick t has the value t.
        for trajectory in map(batch.trajectory, range(len(batch))):
            assert np.array_equal(trajectory.observations["features"][:-1, 0], trajectory.ticks)

    @invariant()
    def nobody_is_recorded_twice(self) -> None:
        assert not self.recorded or max(self.recorded.values()) == 1

    @invariant()
    def only_who_lives_is_possessed(self) -> None:
        assert self.runtime.possessed_agents() == sorted(self.possessed)


Lives.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestLives = Lives.TestCase


def test_what_is_collected_can_be_saved_and_read(tmp_path: Path) -> None:
    runtime: PolicyRuntime[Any, Any] = PolicyRuntime({}, behavior=Wanders())
    world = world_of("ann", "bob")
    runtime.observe(seen("ann", "bob"))
    for world.tick in range(5):
        runtime.decide(world, world.tick)
        runtime.post_step({"ann": 1.0}, {})
        runtime.flush_transitions(seen("ann", "bob", value=world.tick))
    batch = runtime.collect()
    save_batch(tmp_path / "lives.npz", batch)
    again = load_batch(tmp_path / "lives.npz")
    again.schema.require_equal(batch.schema)
    assert np.array_equal(again.columns["drawn_action"], batch.columns["drawn_action"])


def said_of(batch: TrajectoryBatch) -> list[tuple[str, int, str]]:
    return [(one.agent_id, len(one), one.episode_label.name) for one in batch]


def test_what_a_person_says_of_an_agent_is_recorded() -> None:
    world = world_of("ann", "bob")
    runtime: PolicyRuntime[Any, Any] = PolicyRuntime({}, behavior=Wanders())
    with pytest.raises(SimulationError, match="nothing is recorded"):
        runtime.label_episode(EpisodeLabel.SUCCESS, "ann")
    runtime.observe(seen("ann", "bob"))

    def step(tick: int, *, dead: str = "") -> None:
        world.tick = tick
        runtime.decide(world, tick)
        runtime.post_step({}, {dead: True} if dead else {})

    def look(*names: str) -> None:
        runtime.flush_transitions(seen(*names))

    step(0)
    runtime.label_episode(EpisodeLabel.FAILURE, "ann")  # nothing is closed yet, and her first decision is made
    look("ann", "bob")
    step(1, dead="bob")
    runtime.discard_last_episode("bob")  # who has just died
    del world.agents["bob"]
    look("ann")
    step(2)
    look("ann")
    first = runtime.collect()
    assert said_of(first) == [("ann", 3, "FAILURE"), ("bob", 2, "DISCARD")]
    with pytest.raises(OrderError, match="no trajectory of agent 'ann' that can still be labelled"):
        runtime.label_episode(EpisodeLabel.SUCCESS, "ann")  # until she decides again, there is none that is kept
    with pytest.raises(OrderError, match="no ended trajectory of agent 'bob'"):
        runtime.discard_last_episode("bob")
    assert len(runtime.collect()) == 0
    step(3)
    look("ann")
    second = runtime.collect()
    assert said_of(second) == [("ann", 1, "FAILURE")]  # she goes on, and so does what was said of her
    assert said_of(joined(TrajectoryBatch.concatenate([first, second])))[0] == ("ann", 4, "FAILURE")
    step(4)
    runtime.label_episode(EpisodeLabel.SUCCESS)
    look("ann")
    assert said_of(runtime.collect()) == [("ann", 1, "SUCCESS")]
