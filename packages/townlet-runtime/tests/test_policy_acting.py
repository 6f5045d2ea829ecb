"""The learned side of a runtime: what a recurrent policy remembers follows each agent, and nobody else."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from beginnings import begun
from numpy.typing import NDArray
from onnx_files import ElmanNetwork, card, policy_file
from strategies import LinearPolicy, bridge_config

from townlet_behavior import BridgeConfig, SavedState
from townlet_runtime.core.loop import BatchLoop
from townlet_runtime.core.rollouts import Collector, Evaluator
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.acting import STATE, ActingPolicy
from townlet_runtime.policy.onnx import OnnxPolicy, RecurrentOnnxPolicy
from townlet_runtime.simulation.interface import AGENTS, Observed, SimulationSpec
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.simulation.recorded import schema_of
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_trajectory import TrajectoryBatch, TrajectoryService

RIGHT = 2
BUSY = CorridorConfig(length=4, places=3, episode_ticks=9, max_absence=3, shows_commitments=True)
"""Agents arrive and leave all the time, and episodes end."""


def elman(spec: SimulationSpec, *, seed: int = 0, state_size: int = 3) -> ElmanNetwork:
    (width,) = spec.observation_shapes["features"]
    return ElmanNetwork(width, len(spec.vocabulary), state_size=state_size, seed=seed)


def in_a_file(spec: SimulationSpec, folder: Path) -> RecurrentOnnxPolicy:
    label = card(spec.vocabulary.keys, spec.observation_shapes, world=spec.name, state_size=3)
    path = folder / "policy.onnx"
    path.write_bytes(elman(spec).file(label, spec.observation_shapes))
    return RecurrentOnnxPolicy.load(path)


def runtime_of(corridor: Corridor, policy: object, *, ratio: float = 0.5) -> BatchRuntime:
    service = TrajectoryService(schema_of(corridor.spec, masked=corridor.config.masked), max_rows=100_000)
    return BatchRuntime(
        corridor.spec,
        corridor.scripted("scripted"),
        config=bridge_config(corridor, ratio=ratio),
        policy=policy,
        service=service,
        seed=5,
    )


def test_the_memory_of_each_agent_is_that_of_a_numpy_twin_agent_by_agent(tmp_path: Path) -> None:
    corridor = Corridor(BUSY, num_worlds=3)
    twin = elman(corridor.spec)
    runtime = runtime_of(corridor, in_a_file(corridor.spec, tmp_path))
    observed = begun(corridor, 7)
    runtime.begin(observed, tick=0)
    remembered: dict[tuple[int, str], NDArray[np.float32]] = {}
    newcomers = 0
    for tick in range(60):
        decisions = runtime.decide_batch()
        expected = []
        for row, agent in enumerate(zip(observed.worlds.tolist(), observed.agent_ids.tolist(), strict=True)):
            newcomers += agent not in remembered
            seen = {"features": observed.observations["features"][row : row + 1]}
            _, value, after = twin.act(seen, None, remembered.get(agent, np.zeros((1, 3), np.float32)))
            remembered[agent] = after
            expected.append(value[0])
        np.testing.assert_allclose(decisions.value, expected, rtol=1e-4, atol=1e-5, err_msg=f"tick {tick}")
        stepped = corridor.step(decisions.action)
        for row in stepped.final_rows.tolist():
            del remembered[int(observed.worlds[row]), observed.agent_ids[row]]
        runtime.post_step(stepped)
        observed = stepped.observed
    assert newcomers > 20  # agents did come and go


def columns(batch: TrajectoryBatch) -> dict[str, list[object]]:
    return {name: np.asarray(column).tolist() for name, column in batch.columns.items()}


def go_on(corridor: Corridor, runtime: BatchRuntime) -> None:
    """Forty ticks."""
    for _ in range(40):
        runtime.post_step(corridor.step(runtime.decide_batch().action))


def test_a_runtime_that_was_saved_and_restored_goes_on_bit_for_bit(tmp_path: Path) -> None:
    corridor = Corridor(BUSY, num_worlds=2)
    policy = in_a_file(corridor.spec, tmp_path)
    loop = BatchLoop(corridor, runtime_of(corridor, policy))
    loop.reset(seed=3)
    loop.run_for(17)
    worlds, state = corridor.save_state(), loop.runtime.save_state()
    loop.runtime.collect_trajectory()
    loop.run_for(40)
    unbroken = columns(loop.runtime.collect_trajectory())

    again = Corridor(BUSY, num_worlds=2)
    runtime = runtime_of(again, policy)
    runtime.restore(state, again.restore(worlds))
    go_on(again, runtime)
    assert columns(runtime.collect_trajectory()) == unbroken

    # and the memory matters: without it the same worlds are valued otherwise
    forgetful = Corridor(BUSY, num_worlds=2)
    runtime = runtime_of(forgetful, policy)
    blank = {name: np.zeros_like(array) if name.endswith(STATE) else array for name, array in state.items()}
    runtime.restore(blank, forgetful.restore(worlds))
    go_on(forgetful, runtime)
    assert columns(runtime.collect_trajectory())["value"] != unbroken["value"]


def collector() -> Collector:
    corridor = Corridor(BUSY, num_worlds=2)
    return Collector(OneGroup(corridor), config=bridge_config(corridor), seed=1, max_rows=10_000)


def test_a_collector_keeps_the_memory_between_collections_and_through_a_save(tmp_path: Path) -> None:
    policy = {AGENTS: in_a_file(Corridor(BUSY).spec, tmp_path)}
    whole, parts = collector(), collector()
    expected = whole.collect(policy, num_ticks=30, ratio=0.7).batches[AGENTS]
    first = parts.collect(policy, num_ticks=13, ratio=0.7).batches[AGENTS]
    state = parts.save_state()
    assert state is not None
    second = parts.collect(policy, num_ticks=17, ratio=0.7).batches[AGENTS]
    values = sorted(np.concatenate([first.columns["value"], second.columns["value"]]).tolist())
    assert values == sorted(np.asarray(expected.columns["value"]).tolist())

    restored = collector()
    restored.restore(state)
    assert columns(restored.collect(policy, num_ticks=17, ratio=0.7).batches[AGENTS]) == columns(second)


def test_the_score_of_an_episode_does_not_depend_on_its_place(tmp_path: Path) -> None:
    actors = {AGENTS: in_a_file(Corridor(BUSY).spec, tmp_path)}

    def make(num_worlds: int) -> OneGroup:
        return OneGroup(Corridor(BUSY, num_worlds=num_worlds))

    evaluator = Evaluator(make, config=BridgeConfig(), seed=1, num_worlds=2)
    together = evaluator.evaluate(actors, seeds=np.array([4, 5, 6]), sample=True)
    alone = [evaluator.evaluate(actors, seeds=np.array([seed]), sample=True).returns[0] for seed in (4, 5, 6)]
    np.testing.assert_array_equal(together.returns, alone)


def test_everybody_is_forgotten_when_worlds_begin_anew(tmp_path: Path) -> None:
    corridor = Corridor(BUSY, num_worlds=2)
    loop = BatchLoop(corridor, runtime_of(corridor, in_a_file(corridor.spec, tmp_path)))
    loop.reset(seed=3)
    loop.run_for(20)
    assert loop.runtime.save_state()[f"policy/{STATE}"].any()
    loop.reset(seed=3)
    assert not loop.runtime.save_state()[f"policy/{STATE}"].any()


def later(corridor: Corridor) -> Observed:
    """What agents see when they have walked for some ticks."""
    observed = begun(corridor, 0)
    for _ in range(4):
        observed = corridor.step(np.full(len(observed.slots), RIGHT)).observed
    return observed


def side(policy: object = None, *, asks_values: bool = True) -> tuple[ActingPolicy, Corridor]:
    corridor = Corridor(BUSY, num_worlds=2)
    learned = ActingPolicy(corridor.spec, asks_values=asks_values)
    learned.set_policy(policy, keep_state=False)
    return learned, corridor


def state_of(learned: ActingPolicy) -> NDArray[np.float32]:
    state: SavedState = learned.save_state()
    return state[STATE]


def test_another_policy_begins_without_memory_and_newer_weights_go_on_with_it() -> None:
    learned, corridor = side(elman(Corridor(BUSY).spec))
    learned.propose(later(corridor), seed=1, tick=0, greedy=False)
    remembered = state_of(learned)
    assert remembered.any()
    learned.set_policy(elman(corridor.spec, seed=1), keep_state=True)
    np.testing.assert_array_equal(state_of(learned), remembered)
    learned.set_policy(None, keep_state=True)
    learned.set_policy(elman(corridor.spec, seed=1), keep_state=True)
    np.testing.assert_array_equal(state_of(learned), remembered)
    learned.set_policy(elman(corridor.spec, state_size=5), keep_state=True)
    assert state_of(learned).shape == (corridor.spec.capacity, 5) and not state_of(learned).any()
    learned.propose(later(corridor), seed=1, tick=1, greedy=False)
    learned.set_policy(elman(corridor.spec, state_size=5), keep_state=False)
    assert not state_of(learned).any()
    learned.set_policy(LinearPolicy(corridor.spec, seed=1), keep_state=False)
    assert state_of(learned).shape == (corridor.spec.capacity, 0)


def test_the_memory_of_another_policy_is_not_restored() -> None:
    learned, corridor = side(elman(Corridor(BUSY).spec))
    saved = learned.save_state()
    for other in (elman(corridor.spec, state_size=5), LinearPolicy(corridor.spec, seed=1)):
        with pytest.raises(SimulationError, match="expected a saved state of [05] numbers of recurrent state .* got 3"):
            side(other)[0].restore(saved)


class Spoiled(ElmanNetwork):
    """Remembers, of the second agent, what is no number; or for too many agents."""

    def __init__(self, num_features: int, num_actions: int, *, extra_rows: int = 0) -> None:
        super().__init__(num_features, num_actions)
        self.extra_rows = extra_rows

    def act(
        self, observations: Mapping[str, NDArray[np.float32]], action_mask: object, state: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        log_probs, values, after = super().act(observations, None, state)
        after[1, 2] = np.nan
        return log_probs, values, np.concatenate([after, after[: self.extra_rows]])


def test_a_memory_that_is_no_number_is_refused_by_world_agent_and_tick() -> None:
    learned, corridor = side(Spoiled(11, 4))
    observed = begun(corridor, 0)
    width = observed.observations["features"].shape[1]
    learned.set_policy(Spoiled(width, 4), keep_state=False)
    name = observed.agent_ids[1]
    with pytest.raises(SimulationError, match=f"world {observed.worlds[1]}, agent '{name}', tick 6: .* be finite"):
        learned.propose(observed, seed=1, tick=6, greedy=False)
    learned.set_policy(Spoiled(width, 4, extra_rows=1), keep_state=False)
    with pytest.raises(SimulationError, match=r"expected the next recurrent state float32 \(\d+, 3\), got float32"):
        learned.propose(observed, seed=1, tick=6, greedy=False)


@pytest.mark.parametrize("asks_values", [True, False])
def test_values_are_computed_where_they_are_asked_for_alone(asks_values: bool, tmp_path: Path) -> None:
    spec = Corridor(BUSY).spec
    (width,) = spec.observation_shapes["features"]
    label = card(spec.vocabulary.keys, spec.observation_shapes, world=spec.name)
    weights = np.random.default_rng(1).normal(size=(width, 4)).astype(np.float32)
    path = tmp_path / "policy.onnx"
    path.write_bytes(policy_file(weights, np.ones(width, np.float32), label, shapes=spec.observation_shapes))
    learned, corridor = side(OnnxPolicy.load(path), asks_values=asks_values)
    proposals = learned.propose(later(corridor), seed=1, tick=0, greedy=True)
    assert proposals is not None and (proposals.values is not None) is asks_values


def test_a_runtime_that_records_nothing_asks_for_no_values_unless_told_to(tmp_path: Path) -> None:
    corridor = Corridor(BUSY)
    policy = in_a_file(corridor.spec, tmp_path)
    for asks, known in ((None, False), (False, False), (True, True)):
        runtime = BatchRuntime(
            corridor.spec,
            corridor.scripted("idle"),
            config=BridgeConfig(ratio=1.0),
            policy=policy,
            service=None,
            seed=1,
            asks_values=asks,
        )
        runtime.begin(later(corridor), tick=0)
        decisions = runtime.decide_batch()
        assert decisions.value.any() == known
        snapshot = next(iter(runtime.latest_policy_snapshot().values()))
        assert (snapshot["value_pred"] is not None) is known


def test_a_policy_that_is_exchanged_between_ticks_leaves_commitments_as_they_are() -> None:
    corridor = Corridor(replace(BUSY, rest_ticks=8), num_worlds=4)
    runtime = BatchRuntime(
        corridor.spec,
        corridor.scripted("idle"),
        config=bridge_config(corridor, ratio=1.0),
        policy=LinearPolicy(corridor.spec, seed=1),
        service=None,
        seed=2,
    )
    loop = BatchLoop(corridor, runtime)
    loop.reset(seed=0)
    exchanged = 0
    for seed in range(2, 60):
        assert runtime.observed is not None
        before = runtime.save_state()
        runtime.set_policy(LinearPolicy(corridor.spec, seed=seed))
        after = runtime.save_state()
        assert before.keys() == after.keys()
        for name in before:
            np.testing.assert_array_equal(before[name], after[name], err_msg=name)
        decisions = runtime.decide_batch()
        held = decisions.ticks_left > 0
        exchanged += int(np.count_nonzero(held))
        np.testing.assert_array_equal(decisions.chosen_action[held], decisions.held_action[held])
        runtime.post_step(corridor.step(decisions.action))
    assert exchanged > 5  # options were in force while policies were exchanged
