"""Counts of a run, and the script it was cloned from."""

from dataclasses import replace

import pytest
from corridor import CorridorCollector
from pairs import SLEEPWALKER, SPECS, WALKER, PairCollector
from test_checkpoint import EVALUATION, GATE, STATE
from test_metrics import UPDATE

from townlet_training.config import TrainingConfig
from townlet_training.errors import ConfigError
from townlet_training.run.cloning import Clone
from townlet_training.run.state import ClonedScript, TrainingState
from townlet_trajectory.evaluation.interfaces import Collected
from townlet_trajectory.evaluation.results import CloneResult, RunCounters

HISTORY = STATE.history
CLONE = CloneResult(epochs=(), best_epoch=1, accuracy=0.5, num_labels=9, num_held_out=1, num_forbidden=0)


def fresh() -> TrainingState:
    config = TrainingConfig(seed=2, num_envs=4)
    return TrainingState(config=config, specs=SPECS, notes={}, stage="clone", transitions=dict.fromkeys(SPECS, 0))


def collection(num_worlds: int = 4) -> Collected:
    return PairCollector(num_worlds, seed=2).collect(None, num_ticks=8, ratio=0.0)


def test_steps_are_counted_over_all_groups() -> None:
    state = fresh()
    for ratio in (0.0, 0.5):
        state.count_collection(collection(), num_ticks=8, ratio=ratio)
    # 8 ticks of 4 worlds, each with a walker and a sleepwalker.
    assert (state.env_steps, state.agent_steps, state.ratio) == (64, 128, 0.5)


def test_updates_are_counted_by_group() -> None:
    state = fresh()
    state.count_update({WALKER: replace(UPDATE, num_transitions=20), SLEEPWALKER: replace(UPDATE, num_transitions=9)})
    state.count_update({WALKER: replace(UPDATE, num_transitions=30)})
    assert (state.update_index, state.num_updates) == (2, 2)
    assert state.transitions == {WALKER: 50, SLEEPWALKER: 9}
    expected = RunCounters(env_steps=0, agent_steps=0, num_updates=2, num_retries=0, num_left_out=1)
    assert state.counters == expected


def test_a_collector_of_another_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="`num_envs` is 4, but 8 ticks of the collector were 40 world steps"):
        fresh().count_collection(collection(5), num_ticks=8, ratio=0.0)


def test_world_steps_may_be_fewer_but_not_none() -> None:
    state = fresh()
    state.count_collection(replace(collection(), env_steps=5), num_ticks=8, ratio=0.0)
    assert state.env_steps == 5
    with pytest.raises(ConfigError, match="8 ticks of the collector were 0 world steps"):
        state.count_collection(replace(collection(), env_steps=0), num_ticks=8, ratio=0.0)


def test_a_collector_of_other_groups_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be of the agent groups \['sleepwalker-1', 'walker'\], got \[\]"):
        fresh().count_collection(replace(collection(), batches={}, agent_steps=0), num_ticks=8, ratio=0.0)


def test_the_steps_that_were_cloned_are_summed_up() -> None:
    collected = CorridorCollector(2, seed=1).collect(None, num_ticks=10, ratio=0.0)
    events = collected.events_per_env_step
    clone = Clone(result=CLONE, num_trajectories=2, num_steps=20, reward_sum=2.5)
    script = ClonedScript.of(clone, events=events, threshold=0.9, passed=True)
    assert (script.num_trajectories, script.num_steps) == (2, 20)
    assert script.reward_sum == 2.5
    # 2 conflicts in 20 world steps.
    assert script.events_per_env_step["queue_conflict_events"] == 0.1
    assert (script.accuracy, script.threshold, script.passed) == (0.5, 0.9, True)


def test_the_gates_are_those_of_the_evaluations() -> None:
    without = replace(EVALUATION, gate=None)
    assert replace(HISTORY, evaluations=(EVALUATION, without, EVALUATION)).gates == (GATE, GATE)


def test_a_history_protects_the_checkpoints_it_may_go_back_to() -> None:
    assert HISTORY.protected == {96, 64, 32}
    assert HISTORY.candidate == 64
    without_best = replace(HISTORY, best=None, clone=None)
    assert (without_best.protected, without_best.candidate) == ({96}, 96)


def test_the_gates_of_the_candidate_are_the_first_its_own_and_the_one_that_ended_the_run() -> None:
    gates = {name: replace(GATE, name=name) for name in ("cloned", "own", "other", "alone")}
    evaluations = tuple(
        replace(EVALUATION, env_steps=env_steps, gate=gates[name])
        for env_steps, name in ((32, "cloned"), (64, "own"), (96, "other"))
    )
    history = replace(HISTORY, evaluations=evaluations, failure=gates["alone"])
    assert [gate.name for gate in history.candidate_gates] == ["cloned", "own", "alone"]
    # Each is named once.
    assert [gate.name for gate in replace(history, failure=gates["own"]).candidate_gates] == ["cloned", "own"]
