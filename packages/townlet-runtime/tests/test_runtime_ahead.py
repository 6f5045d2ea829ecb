"""What is proposed before a decision is what the decision is made from, and asking changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from beginnings import begun
from boats import Boats
from test_policy_acting import BUSY, columns, in_a_file, runtime_of

from townlet_behavior import BatchController, BridgeConfig
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import AGENTS
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.simulation.script import script_side
from townlet_runtime.testing import Corridor
from townlet_trajectory import Kind


class Counting:
    """A script that proposes another action whenever it is asked. A `BatchController`."""

    def __init__(self, script: BatchController, num_actions: int) -> None:
        self._script, self._num_actions = script, num_actions
        self.asked = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._script, name)

    def propose(self, view: object) -> np.ndarray:
        self.asked += 1
        return (self._script.propose(view) + self.asked) % self._num_actions  # type: ignore[arg-type]  # a view


@pytest.mark.parametrize("looks", [0, 1, 3])
def test_a_runtime_that_is_asked_ahead_decides_and_records_the_same(tmp_path: Path, looks: int) -> None:
    found = []
    for times in (0, looks):
        corridor = Corridor(BUSY, num_worlds=2)
        runtime = runtime_of(corridor, in_a_file(corridor.spec, tmp_path))  # a policy with memory
        runtime.begin(begun(corridor, 7), tick=0)
        for _ in range(40):
            for _ in range(times):
                runtime.ahead()
            runtime.post_step(corridor.step(runtime.decide_batch().action))
        found.append(columns(runtime.collect_trajectory()))
    assert found[0] == found[1]


def test_the_script_is_asked_once_a_tick_and_what_it_said_holds() -> None:
    corridor = Corridor(BUSY, num_worlds=2)
    script = Counting(corridor.scripted("scripted"), len(corridor.spec.vocabulary))
    runtime = BatchRuntime(
        corridor.spec,
        script,  # type: ignore[arg-type]  # by another object
        config=BridgeConfig(),
        policy=None,
        service=None,
        seed=5,
    )
    runtime.begin(begun(corridor, 7), tick=0)
    for tick in range(20):
        first, second = runtime.ahead(), runtime.ahead()
        np.testing.assert_array_equal(first.expert, second.expert)
        decisions = runtime.decide_batch()
        np.testing.assert_array_equal(decisions.expert_action, first.expert)
        keys = corridor.spec.vocabulary.keys
        assert [first.script(row) for row in range(len(first.expert))] == [keys[one] for one in first.expert.tolist()]
        assert first.policy(0) is None and first.likely(0) == []
        assert script.asked == tick + 1
        runtime.post_step(corridor.step(decisions.action))


def test_what_the_policy_says_ahead_is_drawn(tmp_path: Path) -> None:
    corridor = Corridor(BUSY, num_worlds=2)
    runtime = runtime_of(corridor, in_a_file(corridor.spec, tmp_path), ratio=1.0)
    runtime.begin(begun(corridor, 7), tick=0)
    keys, compared = corridor.spec.vocabulary.keys, 0
    for _ in range(20):
        ahead = runtime.ahead()
        decisions = runtime.decide_batch()
        for row in np.flatnonzero(decisions.kind == Kind.DECISION).tolist():
            assert ahead.policy(row) == keys[decisions.drawn_action[row]]
            likely = {one["action"]: one["probability"] for one in ahead.likely(row)}
            assert sum(likely.values()) == pytest.approx(1.0, abs=1e-5)  # there are fewer than five actions
            assert likely[keys[decisions.chosen_action[row]]] == pytest.approx(
                float(np.exp(decisions.policy_log_prob[row])), abs=1e-5
            )
            compared += 1
        runtime.post_step(corridor.step(decisions.action))
    assert compared > 20


def test_a_world_without_a_script_proposes_nothing() -> None:
    boats = OneGroup(Boats())
    script, spec = script_side(boats)[AGENTS], boats.specs[AGENTS]
    runtime = BatchRuntime(spec, script, config=BridgeConfig(), policy=None, service=None, seed=1)
    runtime.begin(begun(boats, 1)[AGENTS], tick=0)
    assert runtime.ahead().script(0) is None


def test_it_is_asked_between_two_ticks_alone() -> None:
    corridor = Corridor(num_worlds=1)
    runtime = runtime_of(corridor, None, ratio=0.0)
    with pytest.raises(SimulationError, match="`ahead` must follow `begin` or `post_step`"):
        runtime.ahead()
    runtime.begin(begun(corridor, 7), tick=0)
    runtime.decide_batch()
    with pytest.raises(SimulationError, match="`ahead` must follow"):
        runtime.ahead()
