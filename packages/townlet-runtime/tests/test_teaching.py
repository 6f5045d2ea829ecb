"""Held-out episodes of a distillation: whose decisions are looked at, and what they depend on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from strategies import LinearPolicy

from townlet_behavior import BridgeConfig, CommitmentConfig
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.core.teachers import ArrayTeacher
from townlet_runtime.core.teaching import TaughtPlay
from townlet_runtime.simulation.corridor import WAIT
from townlet_runtime.simulation.interface import AGENTS, GroupedSimulation
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.testing import Corridor
from townlet_trajectory import Kind
from townlet_trajectory.evaluation.interfaces import selection_seeds
from townlet_trajectory.evaluation.teaching import Played

SPEC = Corridor().spec
BRIDGE = BridgeConfig(commitment=CommitmentConfig(ticks=SPEC.option_ticks))
STUDENT = LinearPolicy(SPEC, seed=2)


class Counting:
    """Waits, and counts the questions. A `BatchTeacher`."""

    def __init__(self) -> None:
        self.num_asked = 0

    def teach(
        self, observations: Mapping[str, NDArray[np.float32]], action_mask: NDArray[np.bool_] | None, /
    ) -> NDArray[np.int64]:
        assert action_mask is not None and (action_mask.sum(axis=1) > 1).all()
        self.num_asked += len(action_mask)
        return np.full(len(action_mask), WAIT)


def make(num_worlds: int) -> GroupedSimulation:
    return OneGroup(Corridor(num_worlds=num_worlds))


def play(num_taught: int, *, num_worlds: int = 4, sample: bool = True) -> tuple[Played, Counting]:
    mind = Counting()
    teacher = ArrayTeacher(SPEC, mind, label="the teacher")
    played = TaughtPlay(make, teacher, config=BRIDGE, seed=1, num_worlds=num_worlds).play(
        STUDENT, seeds=selection_seeds(6), sample=sample, num_taught=num_taught
    )
    return played, mind


def test_the_students_play_is_whole_first_episodes_and_every_decision_in_them() -> None:
    played, mind = play(0)
    batch = played.batch
    assert mind.num_asked == 0 and played.taught is None
    assert sorted(set(batch.worlds.tolist())) == [0, 1, 2, 3, 4, 5]
    last = np.maximum.reduceat(batch.ticks, batch.offsets[:-1])
    assert all(last[batch.worlds == world].max() == SPEC.episode_ticks - 1 for world in range(6))
    kinds = batch.columns["kind"]
    assert played.rows.tolist() == np.flatnonzero(kinds != Kind.FORCED).tolist() and (kinds == Kind.FORCED).any()


def test_the_student_earns_what_an_evaluation_of_it_finds() -> None:
    batch = play(0, sample=False)[0].batch
    scores = Evaluator(make, config=BRIDGE, seed=1, num_worlds=3).evaluate(
        {AGENTS: STUDENT}, seeds=selection_seeds(6), sample=False
    )
    returns = np.bincount(batch.worlds, np.add.reduceat(batch.rewards.astype(np.float64), batch.offsets[:-1]))
    # A return is per agent at the start, which is those of the first tick.
    starting = np.bincount(batch.worlds[batch.ticks[batch.offsets[:-1]] == 0])
    assert (returns / starting).tolist() == pytest.approx(list(scores.returns))


def test_an_episode_follows_from_its_seed_alone() -> None:
    together, apart = play(5)[0], play(5, num_worlds=1)[0]
    for name in ("action", "kind"):
        ours = sorted(zip(*keys(together), together.batch.columns[name].tolist(), strict=True))
        assert ours == sorted(zip(*keys(apart), apart.batch.columns[name].tolist(), strict=True))


def keys(played: Played) -> tuple[list[int], list[str], list[int]]:
    """World, agent and tick of each row."""
    batch = played.batch
    whose = batch.trajectory_of_row
    return batch.worlds[whose].tolist(), batch.agent_ids[whose].tolist(), batch.ticks.tolist()


def test_the_teacher_plays_one_agent_of_each_world_so_many_decisions_on_end() -> None:
    played, mind = play(4)
    batch, rows = played.batch, played.rows
    assert played.taught is not None
    worlds, agents, _ = (np.array(each, object)[rows] for each in keys(played))
    assert mind.num_asked == len(rows) == len(played.taught.actions) <= 6 * 4
    assert np.bincount(worlds.astype(np.int64)).max() == 4
    for world in set(worlds.tolist()):
        assert len(set(agents[worlds == world].tolist())) == 1
    # What it said was chosen, and no option was in force.
    assert (batch.columns["chosen_action"][rows] == WAIT).all() and (played.taught.actions == WAIT).all()
    assert (batch.columns["held_action"][rows] == -1).all()
    # It takes over within the first half, so nobody else's decisions are its own.
    assert batch.ticks[rows].min() < SPEC.episode_ticks // 2


def test_what_the_teacher_declines_is_left_to_the_student() -> None:
    class Silent(Counting):
        def teach(
            self, observations: Mapping[str, NDArray[np.float32]], action_mask: NDArray[np.bool_] | None, /
        ) -> NDArray[np.int64]:
            return np.full(len(super().teach(observations, action_mask)), -1)

    teacher = ArrayTeacher(SPEC, Silent(), label="the teacher")
    played = TaughtPlay(make, teacher, config=BRIDGE, seed=1, num_worlds=4).play(
        STUDENT, seeds=selection_seeds(6), sample=True, num_taught=4
    )
    alone = play(0)[0]
    assert played.taught is not None and (played.taught.actions == -1).all()
    assert played.batch.columns["action"].tolist() == alone.batch.columns["action"].tolist()
