"""The learned side of a runtime: what a recurrent policy remembers follows each agent, and nobody else."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from array_actors import ArrayActor, RememberingActor
from beginnings import begun
from boats import BOATS, NUMBERS, Boats
from boats import Kind as Kinds
from numpy.typing import NDArray
from onnx_files import ElmanNetwork, card, policy_file
from strategies import LinearPolicy, bridge_config

from townlet_behavior import BridgeConfig, SavedState
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.core.loop import BatchLoop
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.acting import STATE, ActingPolicy
from townlet_runtime.policy.onnx import OnnxPolicy, RecurrentOnnxPolicy
from townlet_runtime.simulation.interface import AGENTS, Observed, SimulationSpec
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.simulation.recorded import schema_of
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_trajectory import Kind, Source, TrajectoryBatch, TrajectoryService

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


def sailed(
    boats: Boats, actor: object, *, ratio: float, state_size: int = 0, ticks: int = 60, possess: bool = False
) -> TrajectoryBatch:
    """The record of some ticks; where agents are possessed, another boat at every tick, half of them fed an action."""
    schema = schema_of(boats.spec, masked=boats.masked, state_size=state_size)
    runtime = BatchRuntime(
        boats.spec,
        boats.scripted("scripted"),
        config=BridgeConfig(ratio=ratio, blend="switch" if boats.kind == "numbers" else "mixture"),
        policy=actor,  # type: ignore[arg-type]
        service=TrajectoryService(schema, max_rows=100_000),
        seed=5,
        guardrails=boats.guardrails(),
    )
    worlds = OneGroup(boats)
    runtime.begin(worlds.reset(seeds=np.arange(boats.spec.num_worlds))[AGENTS], tick=0)
    for tick in range(ticks):
        name = f"boat_{tick % BOATS}"
        observed = runtime.observed
        assert observed is not None
        taken = possess and ((observed.agent_ids == name) & (observed.worlds == 0)).any()
        if taken:
            runtime.acquire_possession(name)
            if tick % 2:
                runtime.feed_action(name, (0.25, -0.125) if boats.kind == "numbers" else ("west", "north"))
        decisions = runtime.decide_batch()
        if taken:
            runtime.release_possession(name)
        runtime.post_step(worlds.step({AGENTS: decisions.action})[AGENTS])
    return runtime.collect_trajectory()


def log_density(params: NDArray[np.float32], actions: NDArray[np.float32], distribution: str) -> NDArray[np.float64]:
    """log π of recorded numbers, by `statistics`."""
    total = np.zeros(len(actions))
    for row, (mean_dev, numbers) in enumerate(zip(params.tolist(), actions.tolist(), strict=True)):
        for k, number in enumerate(numbers):
            normal = NormalDist(mean_dev[k], math.exp(mean_dev[2 + k]))
            half = (NUMBERS.high[k] - NUMBERS.low[k]) / 2
            if distribution == "clipped":
                total[row] += math.log(normal.pdf(number))
            else:
                inside = min(max((number - NUMBERS.low[k]) / half - 1, 1e-6 - 1), 1 - 1e-6)
                total[row] += math.log(normal.pdf(math.atanh(inside)) / (half * (1 - inside**2)))
    return total


@pytest.mark.parametrize("distribution", ["clipped", "squashed"])
@pytest.mark.parametrize("ratio", [0.5, 1.0])
def test_recorded_numbers_have_the_log_probability_that_is_computed_anew(distribution: str, ratio: float) -> None:
    boats = Boats("numbers", num_worlds=4)
    actor = ArrayActor(boats.spec, seed=2, distribution=distribution)
    batch = sailed(boats, actor, ratio=ratio)
    columns = batch.columns
    decided = columns["kind"] == Kind.DECISION
    params = actor.params(np.asarray(batch.observations["features"][: batch.num_steps], np.float32), None)
    drawn = columns["drawn_action"]
    expected = log_density(params[decided], columns["chosen_action"][decided], distribution)
    recorded = columns["policy_log_prob"][decided]
    assert decided.sum() > 100
    np.testing.assert_allclose(recorded, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(recorded, columns["behavior_log_prob"][decided])
    # the world got what is within the bounds, which is no veto
    low, high = NUMBERS.bounds
    kept = ~columns["vetoed"]
    np.testing.assert_array_equal(columns["action"][kept], np.clip(columns["chosen_action"][kept], low, high))
    beyond = ((drawn < low) | (drawn > high)).any(axis=1) & decided
    assert beyond.any() == (distribution == "clipped")
    # at a ratio below 1 the script decided the others, and that is foreign to a learner
    scripted = columns["source"] == Source.SCRIPTED
    assert scripted.any() == (ratio < 1.0)
    assert (columns["kind"][scripted] == Kind.FOREIGN).all()
    # the critic alone sees the state, and its values were recorded
    assert np.ptp(columns["value"]) > 0
    assert batch.observations["state"].shape[1] == 3 * BOATS


def test_recorded_parts_have_the_log_probability_of_the_blend() -> None:
    boats = Boats("parts", num_worlds=4, masked=True)
    actor = ArrayActor(boats.spec, seed=2)
    batch = sailed(boats, actor, ratio=0.5)
    columns, rows = batch.columns, np.arange(batch.num_steps)
    mask = np.asarray(batch.observations["action_mask"][rows], np.bool_)
    params = actor.params(np.asarray(batch.observations["features"][rows], np.float32), mask)
    east, north = columns["chosen_action"].T
    joint = params[rows, east].astype(np.float64) + params[rows, 3 + north]
    decided = columns["kind"] == Kind.DECISION
    assert decided.sum() > 100
    np.testing.assert_allclose(columns["policy_log_prob"][decided], joint[decided], rtol=1e-4, atol=1e-5)
    # one half of the script's joint action, the waiting one where it said nothing, and one half of the policy's
    script = np.where(columns["expert_action"] < 0, 0, columns["expert_action"])
    agrees = (columns["chosen_action"] == script).all(axis=1)
    blended = np.log(0.5 * agrees + 0.5 * np.exp(joint))
    np.testing.assert_allclose(columns["behavior_log_prob"][decided], blended[decided], rtol=1e-4, atol=1e-5)
    assert (agrees & decided).any()
    assert (~agrees & decided).any()
    legal = mask[rows, columns["action"][:, 0]] & mask[rows, 3 + columns["action"][:, 1]]
    assert legal.all()


@pytest.mark.parametrize(("kind", "distribution"), [("numbers", "clipped"), ("parts", "")])
def test_memory_before_a_tick_is_recorded_and_steps_on_whoever_decides(kind: Kinds, distribution: str) -> None:
    boats = Boats(kind, num_worlds=4, masked=kind == "parts")
    inner = ArrayActor(boats.spec, seed=2, distribution=distribution)
    batch = sailed(boats, RememberingActor(inner), ratio=0.5, state_size=2, possess=True)
    columns, rows = batch.columns, np.arange(batch.num_steps)
    # possessed and scripted steps, vetoes and free decisions are among them
    assert columns["possessed"].any()
    assert columns["demonstrated"].any()
    assert columns["vetoed"].any()
    assert set(columns["source"].tolist()) == set(Source)
    features = np.asarray(batch.observations["features"][rows], np.float32)
    # a forward pass over the rows of each trajectory, from zero memory on, gives the recorded states
    for begin, end in itertools.pairwise(batch.offsets.tolist()):
        state = np.zeros(2, np.float32)
        for row in range(begin, end):
            np.testing.assert_allclose(columns["policy_state"][row], state, rtol=1e-5, atol=1e-6)
            state = np.float32(0.5) * state + features[row]
    # and one pass over all rows from the recorded states the recorded log-probabilities and values
    mask = np.asarray(batch.observations["action_mask"][rows], np.bool_) if boats.masked else None
    seen = {name: np.asarray(batch.observations[name][rows], np.float32) for name in ("features", "state")}
    params, values, _ = RememberingActor(inner).act(seen, mask, np.asarray(columns["policy_state"], np.float32))
    decided = columns["kind"] == Kind.DECISION
    chosen = columns["chosen_action"]
    if kind == "numbers":
        expected = log_density(params[decided], chosen[decided], "clipped")
    else:
        expected = (params[rows, chosen[:, 0]].astype(np.float64) + params[rows, 3 + chosen[:, 1]])[decided]
    assert decided.sum() > 100
    np.testing.assert_allclose(columns["policy_log_prob"][decided], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(columns["value"], values, rtol=1e-4, atol=1e-5)
