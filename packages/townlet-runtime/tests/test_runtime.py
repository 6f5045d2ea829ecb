import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from beginnings import begun
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import LinearPolicy, bridge_config, corridor_configs, ratios, seeds
from twin import Twin

from townlet_behavior import (
    BridgeConfig,
    CommitmentConfig,
    ConfigError,
    Kind,
    PolicyError,
    PossessionError,
    Proposals,
    Purpose,
    Source,
    UnknownActionError,
    draw_keys,
    uniforms,
)
from townlet_runtime.core.loop import BatchLoop
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.policy import UniformPolicy
from townlet_runtime.simulation.interface import Observations
from townlet_runtime.simulation.recorded import schema_of
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_trajectory import EpisodeLabel, OrderError, TrajectoryBatch, TrajectoryService, joined
from townlet_trajectory.audit.agent_steps import AgentSteps

WAIT, LEFT, RIGHT, REST = range(4)
ALONE = CorridorConfig(places=1, length=6, slip=0.0, episode_ticks=50, max_absence=1, rest_ticks=3)


def recording_runtime(
    corridor: Corridor, config: BridgeConfig, policy: LinearPolicy | None, *, seed: int = 11, greedy: bool = False
) -> BatchRuntime:
    service = TrajectoryService(schema_of(corridor.spec, masked=corridor.config.masked), max_rows=100_000)
    script = corridor.scripted("scripted")
    return BatchRuntime(corridor.spec, script, config=config, policy=policy, service=service, seed=seed, greedy=greedy)


def started(corridor: Corridor, config: BridgeConfig, policy: LinearPolicy | None = None) -> BatchLoop:
    loop = BatchLoop(corridor, recording_runtime(corridor, config, policy))
    loop.reset(seed=0)
    return loop


def test_the_coins_of_the_first_tick_follow_from_the_seed() -> None:
    coins = set()
    for seed in (0, 1, 12345):
        corridor = Corridor(CorridorConfig(places=4), num_worlds=8)
        policy = LinearPolicy(corridor.spec, seed=1)
        runtime = recording_runtime(corridor, bridge_config(corridor, ratio=0.5), policy, seed=seed)
        observed = begun(corridor, 0)
        runtime.begin(observed, tick=0)
        learned = runtime.decide_batch().source == Source.LEARNED
        assert np.array_equal(learned, uniforms(seed, Purpose.BLEND, observed.keys, 0) < 0.5)
        coins.add(tuple(learned.tolist()))
    assert len(coins) == 3


def test_neither_coins_nor_actions_repeat_after_any_power_of_2_of_ticks() -> None:
    # Each row of draws is another's by chance with a probability below 2^-30.
    corridor = Corridor(CorridorConfig(places=4), num_worlds=16)
    policy = UniformPolicy(
        vocabulary=corridor.spec.vocabulary.keys, observation_shapes=corridor.spec.observation_shapes
    )
    ticks = (0, *(2**k for k in range(53)))
    coins, actions = set(), set()
    for ratio, seen, column in ((0.5, coins, "source"), (1.0, actions, "action")):
        runtime = BatchRuntime(
            corridor.spec,
            corridor.scripted("idle"),
            config=BridgeConfig(ratio=ratio),
            policy=policy,
            service=None,
            seed=3,
        )
        observed = begun(corridor, 0)
        for tick in ticks:
            runtime.begin(observed, tick=tick)
            seen.add(tuple(runtime.decide_batch().columns()[column].tolist()))
    assert len(coins) == len(actions) == len(ticks)


def agrees(batch: TrajectoryBatch, twin: Twin, *, world_seed: int, ticks: int) -> None:
    lives = twin.run(world_seed=world_seed, ticks=ticks)
    assert len(batch) == len(lives)
    for index in range(len(batch)):
        trajectory = batch.trajectory(index)
        life = lives[(trajectory.world, trajectory.agent_id, trajectory.episode)]
        assert trajectory.ticks.tolist() == life.ticks
        assert (trajectory.terminated, trajectory.truncated) == (life.terminated, life.truncated)
        np.testing.assert_array_equal(trajectory.observations["features"], life.features)
        np.testing.assert_allclose(trajectory.rewards, life.rewards, rtol=1e-6)
        for name in life.rows[0]:
            expected = np.array([row[name] for row in life.rows])
            column = trajectory.columns[name].astype(np.float64)
            np.testing.assert_allclose(column, expected, rtol=2e-5, atol=2e-6, err_msg=name)
        assert not trajectory.columns["vetoed"].any() and not trajectory.columns["possessed"].any()


@given(corridor_configs, seeds, ratios, st.integers(1, 3), st.booleans())
@settings(max_examples=40)
def test_a_twin_that_goes_agent_by_agent_decides_and_records_the_same(
    world: CorridorConfig, seed: int, ratio: float, num_worlds: int, greedy: bool
) -> None:
    corridor = Corridor(world, num_worlds=num_worlds)
    config = bridge_config(corridor, ratio=ratio)
    policy = LinearPolicy(corridor.spec, seed=seed)
    loop = BatchLoop(corridor, recording_runtime(corridor, config, policy, seed=seed + 1, greedy=greedy))
    loop.reset(seed=seed)
    loop.run_for(30)
    twin = Twin(Corridor(world, num_worlds=num_worlds), policy, config, seed=seed + 1, greedy=greedy)
    agrees(loop.runtime.collect_trajectory(), twin, world_seed=seed, ticks=30)


def test_the_script_alone_agrees_with_its_twin() -> None:
    corridor = Corridor(num_worlds=2)
    config = bridge_config(corridor)
    loop = started(corridor, config)
    loop.run_for(90)
    twin = Twin(Corridor(num_worlds=2), None, config, seed=11, greedy=False)
    agrees(loop.runtime.collect_trajectory(), twin, world_seed=0, ticks=90)


def test_a_final_observation_holds_the_held_action_and_the_ticks_left() -> None:
    # one cell a tick: 4 steps make 1.0 of fatigue, then a rest of 3 ticks begins at tick 4; the episode ends at tick 5
    corridor = Corridor(replace(ALONE, length=9, episode_ticks=5))
    loop = started(corridor, bridge_config(corridor))
    loop.run_for(5)
    trajectory = loop.runtime.collect_trajectory().trajectory(0)
    assert trajectory.truncated and trajectory.columns["action"].tolist() == [RIGHT] * 4 + [REST]
    # columns: position, fatigue, tick, one-hot of 4, ticks left / 3; two of three ticks are left
    assert trajectory.observations["features"][-1, 3:].tolist() == pytest.approx([0, 0, 0, 1, 2 / 3])
    assert not trajectory.observations["features"][:-1, 3:].any()


def test_an_observation_before_a_forced_step_holds_the_option() -> None:
    corridor = Corridor(replace(ALONE, length=9))
    loop = started(corridor, bridge_config(corridor))
    loop.run_for(7)
    trajectory = loop.runtime.collect_trajectory().trajectory(0)
    # resting from 1.0 by 0.5 a tick is done after two ticks: one forced step, then free again
    assert trajectory.columns["action"].tolist() == [RIGHT] * 4 + [REST, REST, RIGHT]
    assert trajectory.columns["kind"].tolist() == [Kind.FOREIGN] * 5 + [Kind.FORCED, Kind.FOREIGN]
    assert trajectory.columns["ticks_left"].tolist() == [0] * 5 + [2, 0]
    assert trajectory.observations["features"][5, 3:].tolist() == pytest.approx([0, 0, 0, 1, 2 / 3])


def test_a_world_that_cannot_show_commitments_is_left_alone() -> None:
    corridor = Corridor(replace(ALONE, shows_commitments=False, length=9, episode_ticks=5))
    loop = started(corridor, bridge_config(corridor))
    loop.run_for(6)
    assert loop.runtime.collect_trajectory().observations["features"].shape == (6, 3)


def test_a_commitment_does_not_outlive_its_agent() -> None:
    # an exit two cells away, and a commitment to `right` that would last; the newcomer takes the same place
    corridor = Corridor(replace(ALONE, length=3))
    config = BridgeConfig(commitment=CommitmentConfig(ticks={"wait": 0, "move": 10, "start": 10}))
    loop = started(corridor, config)
    loop.run_for(3)
    batch = loop.runtime.collect_trajectory()
    assert batch.agent_ids.tolist() == ["visitor_0_1", "visitor_0_2"]
    assert batch.columns["kind"].tolist() == [Kind.FOREIGN, Kind.FORCED, Kind.FOREIGN]


def test_possession_does_not_outlive_its_agent() -> None:
    corridor = Corridor(replace(ALONE, length=3))
    loop = started(corridor, bridge_config(corridor))
    loop.runtime.acquire_possession("visitor_0_1")
    for _ in range(2):
        loop.runtime.feed_action("visitor_0_1", "right")
        loop.step()
    loop.step()
    assert loop.runtime.latest_policy_snapshot().keys() == {"visitor_0_2"}
    assert loop.runtime.possessed_agents() == []
    batch = loop.runtime.collect_trajectory()
    assert batch.columns["possessed"].tolist() == [True, True, False]
    with pytest.raises(PossessionError, match="got 'visitor_0_1'"):
        loop.runtime.is_possessed("visitor_0_1")


def test_a_possessed_agent_does_what_it_is_fed_or_waits() -> None:
    corridor = Corridor(ALONE)
    policy = LinearPolicy(corridor.spec, seed=1)
    loop = started(corridor, bridge_config(corridor, ratio=1.0), policy)
    runtime = loop.runtime
    reset: list[str] = []
    runtime.register_ctx_reset_callback(reset.append)
    assert runtime.acquire_possession("visitor_0_1", owner="ada")
    assert not runtime.acquire_possession("visitor_0_1", owner="bob")
    assert reset == ["visitor_0_1"]
    assert runtime.is_possessed("visitor_0_1") and runtime.possessed_agents() == ["visitor_0_1"]
    runtime.feed_action("visitor_0_1", "right", owner="ada")
    loop.run_for(2)
    with pytest.raises(PossessionError, match="world 0, agent 'visitor_0_1': possessed by 'ada', got owner 'bob'"):
        runtime.release_possession("visitor_0_1", owner="bob")
    assert runtime.release_possession("visitor_0_1", owner="ada")
    assert not runtime.release_possession("visitor_0_1", owner="ada")
    assert runtime.possessed_agents() == []
    loop.run_for(1)
    columns = runtime.collect_trajectory().columns
    assert columns["action"][:2].tolist() == [RIGHT, WAIT]
    assert columns["demonstrated"].tolist() == [True, False, False]
    assert columns["source"].tolist() == [Source.EXTERNAL, Source.EXTERNAL, Source.LEARNED]
    assert columns["kind"].tolist() == [Kind.FOREIGN, Kind.FOREIGN, Kind.DECISION]


def test_an_agent_of_a_later_world_is_named_where_its_policy_raves() -> None:
    corridor = Corridor(ALONE, num_worlds=3)
    with pytest.raises(PolicyError, match="tick 0, world 2, agent 'visitor_0_1': row 2: "):
        started(corridor, bridge_config(corridor, ratio=1.0), Raving(corridor.spec, seed=1)).step()


def test_possession_is_refused_where_it_cannot_be() -> None:
    corridor = Corridor(ALONE, num_worlds=2)
    runtime = recording_runtime(corridor, bridge_config(corridor), None)
    assert runtime.possessed_agents() == []
    with pytest.raises(PossessionError):
        runtime.acquire_possession("visitor_0_1")
    runtime.begin(begun(corridor, 0), tick=0)
    with pytest.raises(PossessionError, match="world 2, got 'visitor_0_1'"):
        runtime.acquire_possession("visitor_0_1", world=2)
    with pytest.raises(PossessionError, match="world 0, agent 'visitor_0_1': must be possessed to be fed"):
        runtime.feed_action("visitor_0_1", "right")
    with pytest.raises(UnknownActionError):
        runtime.feed_action("visitor_0_1", "fly")
    assert runtime.acquire_possession("visitor_0_1", world=1)
    assert not runtime.is_possessed("visitor_0_1", world=0)
    assert runtime.possessed_agents(world=1) == ["visitor_0_1"]


def test_acquiring_ends_the_commitment() -> None:
    corridor = Corridor(replace(ALONE, length=9))
    loop = started(corridor, bridge_config(corridor))
    loop.run_for(5)  # a rest of 3 ticks has begun
    loop.runtime.acquire_possession("visitor_0_1", lease_ticks=1)
    loop.run_for(2)
    columns = loop.runtime.collect_trajectory().columns
    assert columns["held_action"].tolist() == [-1] * 7
    assert columns["action"][-2:].tolist() == [WAIT, RIGHT]


def test_the_ratio_is_clamped_and_must_be_a_number() -> None:
    corridor = Corridor(ALONE)
    runtime = recording_runtime(corridor, bridge_config(corridor, ratio=0.25), None)
    assert runtime.current_anneal_ratio() == 0.25
    runtime.set_anneal_ratio(1.5)
    assert runtime.current_anneal_ratio() == 1.0
    runtime.set_anneal_ratio(None)
    assert runtime.current_anneal_ratio() == 0.0
    with pytest.raises(ConfigError):
        runtime.set_anneal_ratio(float("nan"))


def test_the_hash_is_that_of_the_policy_until_somebody_names_it() -> None:
    corridor = Corridor(ALONE)
    policy = LinearPolicy(corridor.spec, seed=1)
    runtime = recording_runtime(corridor, bridge_config(corridor), policy)
    assert runtime.active_policy_hash() == "ab" * 32
    runtime.set_policy_hash("mine")
    assert runtime.active_policy_hash() == "mine"
    runtime.set_policy(None)
    assert runtime.active_policy_hash() is None


def test_a_record_says_which_policy_proposed() -> None:
    corridor = Corridor(replace(ALONE, places=2))
    schema = schema_of(corridor.spec, masked=True, numbers_policies=True)
    runtime = BatchRuntime(
        corridor.spec,
        corridor.scripted("scripted"),
        config=bridge_config(corridor, ratio=1.0),
        policy=None,
        service=TrajectoryService(schema, max_rows=100),
        seed=1,
    )
    loop, policy = BatchLoop(corridor, runtime), LinearPolicy(corridor.spec, seed=1)
    loop.reset(seed=1)
    for acting, ticks in ((None, 2), (policy, 3), (None, 1), (policy, 2)):
        runtime.set_policy(acting)
        loop.run_for(ticks)
    batch = runtime.collect_trajectory()
    assert runtime.policy_hashes == (None, policy.digest)
    numbers = {int(tick): int(number) for tick, number in zip(batch.ticks, batch.columns["policy_number"], strict=True)}
    assert [numbers[tick] for tick in sorted(numbers)] == [0, 0, 1, 1, 1, 0, 1, 1]


def test_a_policy_that_does_not_fit_is_refused() -> None:
    corridor = Corridor(ALONE)
    other = LinearPolicy(Corridor(CorridorConfig(length=9)).spec, seed=1)
    with pytest.raises(SimulationError, match="`map` is"):
        recording_runtime(corridor, bridge_config(corridor), other)


def test_the_snapshot_shows_what_the_policy_thought() -> None:
    corridor = Corridor(replace(ALONE, places=2, max_absence=1))
    policy = LinearPolicy(corridor.spec, seed=3)
    loop = started(corridor, bridge_config(corridor, ratio=1.0), policy)
    assert loop.runtime.latest_policy_snapshot() == {}
    loop.run_for(4)
    batch = loop.runtime.collect_trajectory()
    shot = loop.runtime.latest_policy_snapshot()
    assert sorted(shot) == sorted(batch.agent_ids.tolist())
    last = batch.trajectory(batch.agent_ids.tolist().index("visitor_0_1"))
    one = shot["visitor_0_1"]
    assert one["tick"] == 3 == last.ticks[-1]
    assert one["selected_action"] == corridor.spec.vocabulary.keys[last.columns["action"][-1]]
    assert one["log_prob"] == pytest.approx(float(last.columns["policy_log_prob"][-1]))
    assert one["value_pred"] == pytest.approx(float(last.columns["value"][-1]))


def test_the_last_decisions_are_explained() -> None:
    corridor = Corridor(replace(ALONE, places=2, max_absence=1))
    policy = LinearPolicy(corridor.spec, seed=3)
    loop = started(corridor, bridge_config(corridor, ratio=0.5), policy)
    assert loop.runtime.latest_decisions() == {}
    for tick in range(12):
        loop.step()
        explained = loop.runtime.latest_decisions()
        whole = joined(loop.runtime.collect_trajectory(clear=False))
        steps = {one.agent_id: one for one in whole if one.ticks[-1] == tick}
        assert explained.keys() == steps.keys()
        for agent_id, said in explained.items():
            one = steps[agent_id]
            recorded = AgentSteps(names=loop.runtime.names, trajectories=(one,)).explain(one, len(one) - 1)
            # What is not known while it runs: what came of it, and what else the agent is going to see.
            later = {"reward": None, "reward_terms": {}, "end": None, "numbers": said.numbers}
            assert replace(said, answer=None) == replace(recorded, **later)
            assert {seen.name: seen.value for seen in said.numbers} == {
                seen.name: seen.value for seen in recorded.numbers
            }
            assert said.answer is not None
            assert said.answer.agrees is (True if said.kind == "decision" else None)
    assert loop.runtime.latest_decisions(world=7) == {}
    loop.runtime.reset_state()
    assert loop.runtime.latest_decisions() == {}


def test_option_switches_are_told_once() -> None:
    corridor = Corridor(replace(ALONE, length=9))
    loop = started(corridor, bridge_config(corridor))
    assert recording_runtime(corridor, bridge_config(corridor), None).consume_option_switch_counts() == {}
    loop.run_for(7)  # four steps, two rests, a step
    assert loop.runtime.consume_option_switch_counts() == {"visitor_0_1": 2}
    assert loop.runtime.consume_option_switch_counts() == {}


def test_option_switches_do_not_outlive_their_agent() -> None:
    # it ends with a step, and its successor begins with a rest
    corridor = Corridor(replace(ALONE, length=2, masked=False))
    loop = started(corridor, bridge_config(corridor))
    loop.step()
    loop.runtime.acquire_possession("visitor_0_2")
    loop.runtime.feed_action("visitor_0_2", "rest")
    loop.step()
    assert loop.runtime.consume_option_switch_counts() == {}


def test_calls_out_of_order_are_refused() -> None:
    corridor = Corridor(ALONE)
    runtime = recording_runtime(corridor, bridge_config(corridor), None)
    with pytest.raises(SimulationError, match="tick 0: `decide_batch` must follow"):
        runtime.decide_batch()
    runtime.begin(begun(corridor, 0), tick=0)
    stepped = corridor.step(np.array([RIGHT]))
    with pytest.raises(SimulationError, match="tick 0: `post_step` must follow"):
        runtime.post_step(stepped)
    runtime.decide_batch()
    with pytest.raises(SimulationError, match="tick 0: `decide_batch` must follow"):
        runtime.decide_batch()
    runtime.post_step(stepped)
    assert runtime.tick == 1


def test_without_a_recorder_there_is_nothing_to_collect() -> None:
    corridor = Corridor(ALONE)
    runtime = BatchRuntime(
        corridor.spec, corridor.scripted("idle"), config=BridgeConfig(), policy=None, service=None, seed=0
    )
    assert runtime.service is None
    with pytest.raises(SimulationError, match="one without a `service`"):
        runtime.collect_trajectory()


def test_a_reset_forgets_everything_but_the_ratio() -> None:
    corridor = Corridor(ALONE)
    loop = started(corridor, bridge_config(corridor, ratio=0.5), LinearPolicy(corridor.spec, seed=1))
    loop.runtime.acquire_possession("visitor_0_1")
    loop.run_for(3)
    loop.runtime.reset_state()
    assert loop.runtime.possessed_agents() == [] and loop.runtime.latest_policy_snapshot() == {}
    assert loop.runtime.current_anneal_ratio() == 0.5
    assert sum(loop.runtime.counts().ticks.values()) == 0
    with pytest.raises(SimulationError):
        loop.step()
    loop.reset(seed=1)
    assert not loop.runtime.is_possessed("visitor_0_1")
    assert loop.runtime.service is not None and loop.runtime.service.num_rows == 0


@given(seeds, ratios, st.integers(0, 12), st.booleans())
@settings(max_examples=25)
def test_a_runtime_goes_on_from_what_was_saved(seed: int, ratio: float, ticks: int, possessed: bool) -> None:
    world = CorridorConfig(length=5, places=2, episode_ticks=30, rest_ticks=4)
    loops = []
    for _ in range(2):
        corridor = Corridor(world, num_worlds=2)
        policy = LinearPolicy(corridor.spec, seed=seed)
        runtime = recording_runtime(corridor, bridge_config(corridor, ratio=ratio), policy)
        loops.append(BatchLoop(corridor, runtime))
    unbroken, resumed = loops
    unbroken.reset(seed=seed)
    agent = unbroken.runtime.observed.agent_ids[0]
    if possessed:
        assert unbroken.runtime.acquire_possession(agent, owner="me", lease_ticks=ticks + 3)
        unbroken.runtime.feed_action(agent, "right", owner="me")
    for _ in range(ticks):
        unbroken.step()
    state = unbroken.save_state()
    unbroken.runtime.collect_trajectory()
    resumed.restore(state)
    assert resumed.tick == unbroken.tick == ticks
    assert resumed.runtime.current_anneal_ratio() == unbroken.runtime.current_anneal_ratio()
    for _ in range(25):
        assert unbroken.runtime.possessed_agents() == resumed.runtime.possessed_agents()
        unbroken.step(), resumed.step()
        assert unbroken.runtime.latest_policy_snapshot() == resumed.runtime.latest_policy_snapshot()
        counts = (unbroken.runtime.consume_option_switch_counts(), resumed.runtime.consume_option_switch_counts())
        assert counts[0] == counts[1]
    one, other = unbroken.runtime.collect_trajectory(), resumed.runtime.collect_trajectory()
    for name, column in one.columns.items():
        np.testing.assert_array_equal(column, other.columns[name], err_msg=name)
    np.testing.assert_array_equal(one.observations["features"], other.observations["features"])
    np.testing.assert_array_equal(one.ticks, other.ticks)


def test_a_runtime_is_saved_between_ticks_and_restored_from_its_own_kind() -> None:
    loop = started(Corridor(ALONE), bridge_config(Corridor(ALONE)))
    state = loop.runtime.save_state()
    loop.runtime.decide_batch()
    with pytest.raises(SimulationError, match="tick 0: `save_state` must follow `begin` or `post_step`"):
        loop.runtime.save_state()
    larger = Corridor(replace(ALONE, places=2))
    runtime = recording_runtime(larger, bridge_config(larger), None)
    with pytest.raises(SimulationError, match="expected `last` of the saved state"):
        runtime.restore(state, begun(larger, 0))
    with pytest.raises(SimulationError, match="expected `tick` in the saved state"):
        runtime.restore({}, begun(larger, 0))


def test_a_policy_is_not_asked_about_nobody() -> None:
    class Particular(LinearPolicy):
        def act(
            self, observations: Observations, action_mask: NDArray[np.bool_] | None
        ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            assert len(observations["features"])
            return super().act(observations, action_mask)

    corridor = Corridor(CorridorConfig(length=2, places=1, slip=0.0, max_absence=9, episode_ticks=30))
    loop = started(corridor, bridge_config(corridor, ratio=1.0), Particular(corridor.spec, seed=1))
    report = loop.run_for(30)
    assert 0 < report.agent_ticks < 30
    assert loop.runtime.collect_trajectory().num_steps == report.agent_ticks


class Raving(LinearPolicy):
    """Says NaN about one agent."""

    def act(self, observations: Observations, action_mask: object) -> tuple[np.ndarray, np.ndarray]:
        log_probs = np.full((len(observations["features"]), 4), np.log(0.25), np.float32)
        log_probs[-1] = np.nan
        return log_probs, np.zeros(len(log_probs), np.float32)


def test_a_policy_that_raves_stops_the_tick_or_the_script_stands_in() -> None:
    corridor = Corridor(ALONE)
    config = bridge_config(corridor, ratio=1.0)
    with pytest.raises(PolicyError, match="tick 0, world 0, agent 'visitor_0_1': row 0: "):
        started(corridor, config, Raving(corridor.spec, seed=1)).step()
    loop = started(corridor, replace(config, on_policy_error="script"), Raving(corridor.spec, seed=1))
    loop.run_for(2)
    assert loop.runtime.collect_trajectory().columns["source"].tolist() == [Source.SCRIPTED] * 2
    assert loop.runtime.counts().policy_errors == 2


class Nameless:
    """An actor that says nothing of what it was made for."""

    def __init__(self, policy: LinearPolicy) -> None:
        self.act = policy.act


def test_an_actor_that_says_nothing_of_itself_is_taken_to_fit() -> None:
    corridor = Corridor(num_worlds=2)
    policy = LinearPolicy(corridor.spec, seed=1)
    actions = []
    for actor in (policy, Nameless(policy)):
        runtime = recording_runtime(corridor, bridge_config(corridor, ratio=1.0), actor)
        runtime.begin(begun(corridor, 0), tick=0)
        actions.append(runtime.decide_batch().action.tolist())
        assert runtime.active_policy_hash() == (policy.digest if actor is policy else None)
    assert actions[0] == actions[1]
    other = LinearPolicy(Corridor(CorridorConfig(length=9)).spec, seed=1)
    with pytest.raises(SimulationError, match="does not fit"):
        runtime.set_policy(other)
    runtime.set_policy(policy)
    with pytest.raises(SimulationError, match="does not fit"):
        runtime.set_policy(other)
    assert runtime.active_policy_hash() == policy.digest, "a policy that is refused replaces none"


def test_an_agent_without_a_name_is_refused_with_world_and_tick() -> None:
    corridor = Corridor(CorridorConfig(length=4, episode_ticks=15), num_worlds=2)
    runtime = BatchRuntime(
        corridor.spec, corridor.scripted("scripted"), config=BridgeConfig(), policy=None, service=None, seed=0
    )
    observed = corridor.reset(seeds=np.array([0, 1]))
    runtime.begin(observed, tick=0)
    ids = observed.agent_ids.copy()
    ids[-1] = ""
    with pytest.raises(SimulationError, match="world 1, tick 7: the id of an agent must not be empty"):
        runtime.begin(replace(observed, agent_ids=ids), tick=7)


def test_two_agents_of_one_name_are_refused_without_a_recorder() -> None:
    corridor = Corridor(CorridorConfig(places=9, max_absence=1), num_worlds=2)
    runtime = BatchRuntime(
        corridor.spec, corridor.scripted("idle"), config=BridgeConfig(), policy=None, service=None, seed=0
    )
    observed = corridor.reset(seeds=np.array([5, 5]))  # worlds of one seed have agents of one key, which are others
    runtime.begin(observed, tick=0)
    ids = observed.agent_ids.copy()
    ids[np.flatnonzero(observed.worlds == 1)[1:3]] = "twin"
    keys = np.array([draw_keys(5, one) for one in ids], np.uint64)
    with pytest.raises(SimulationError, match=r"world 1, tick 3: 2 agents are named 'twin'"):
        runtime.begin(replace(observed, agent_ids=ids, keys=keys), tick=3)


def test_ticks_never_go_back() -> None:
    corridor = Corridor(ALONE)
    runtime = BatchRuntime(
        corridor.spec, corridor.scripted("idle"), config=BridgeConfig(), policy=None, service=None, seed=0
    )
    observed = begun(corridor, 0)
    runtime.begin(observed, tick=5)
    with pytest.raises(SimulationError, match="tick 4: expected a tick from 5 on"):
        runtime.begin(observed, tick=4)
    runtime.begin(observed, tick=5)  # not decided yet
    runtime.decide_batch()
    with pytest.raises(SimulationError, match="tick 5: expected a tick from 6 on"):
        runtime.begin(observed, tick=5)
    runtime.reset_state()
    with pytest.raises(SimulationError, match="tick 5: expected a tick from 6 on"):
        runtime.begin(observed, tick=5)


@pytest.mark.parametrize("bend", [np.exp, lambda log_probs: log_probs + np.float32(2)])
def test_probabilities_and_logits_of_any_actor_are_refused(bend: Callable[[NDArray], NDArray]) -> None:
    corridor = Corridor(ALONE)
    uniform = UniformPolicy(
        vocabulary=corridor.spec.vocabulary.keys, observation_shapes=corridor.spec.observation_shapes
    )

    class Bent:
        def act(self, observations: Observations, mask: NDArray[np.bool_] | None) -> tuple[NDArray, NDArray]:
            log_probs, values = uniform.act(observations, mask)
            return bend(log_probs), values

    script, config = corridor.scripted("idle"), BridgeConfig(ratio=1.0)
    runtime = BatchRuntime(corridor.spec, script, config=config, policy=Bent(), service=None, seed=0)
    runtime.begin(begun(corridor, 0), tick=0)
    with pytest.raises(PolicyError, match="normalise `log_probs`"):
        runtime.decide_batch()


def test_proposals_from_elsewhere_are_blended_in_place_of_the_policys() -> None:
    corridor = Corridor(ALONE)
    runtime = recording_runtime(corridor, BridgeConfig(ratio=1.0), None)
    runtime.begin(begun(corridor, 0), tick=0)
    proposals = Proposals(actions=np.array([WAIT]), log_probs=None, values=np.array([2.0], np.float32))
    decisions = runtime.decide_batch(proposals)
    assert (decisions.action.tolist(), decisions.source.tolist()) == ([WAIT], [Source.LEARNED])
    assert (decisions.kind.tolist(), decisions.value.tolist()) == ([Kind.FOREIGN], [2.0])


def test_agents_that_left_between_ticks_are_forgotten() -> None:
    corridor = Corridor(ALONE)
    runtime = recording_runtime(corridor, bridge_config(corridor), None)
    observed = begun(corridor, 0)
    runtime.begin(observed, tick=0)
    runtime.acquire_possession(str(observed.agent_ids[0]))
    runtime.forget(observed.slots)
    assert runtime.possessed_agents() == []


def test_the_coins_can_be_drawn_from_another_seed() -> None:
    def coins(seed: int, *, later: int | None = None) -> list[int]:
        corridor = Corridor(CorridorConfig(places=4), num_worlds=8)
        policy = LinearPolicy(corridor.spec, seed=1)
        runtime = recording_runtime(corridor, bridge_config(corridor, ratio=0.5), policy, seed=seed)
        if later is not None:
            runtime.seed_anneal_rng(later)
        runtime.begin(begun(corridor, 0), tick=0)
        return runtime.decide_batch().source.tolist()

    assert coins(1, later=2) == coins(2) != coins(1)
    with pytest.raises(ConfigError, match="`seed` must be in"):
        coins(1, later=-1)


def test_the_difficulty_of_one_agent_leaves_the_others_alone() -> None:
    """A late, random or scripted agent changes no bit of the record of agents in other worlds."""
    config = CorridorConfig(places=1, slip=0.0)

    def record(change: Callable[[BatchRuntime, str], None] | None) -> tuple[TrajectoryBatch, str]:
        corridor = Corridor(config, num_worlds=4)
        loop = started(corridor, bridge_config(corridor, ratio=0.5), LinearPolicy(corridor.spec, seed=3))
        observed = loop.runtime.observed
        assert observed is not None
        agent_id = str(observed.agent_ids[observed.worlds == 1][0])
        if change is not None:
            change(loop.runtime, agent_id)
        loop.run_for(8)
        return loop.runtime.collect_trajectory(), agent_id

    plain, agent_id = record(None)
    for change in (
        lambda runtime, agent: runtime.set_difficulty(agent, world=1, ratio=0.0),
        lambda runtime, agent: runtime.set_difficulty(agent, world=1, temperature=3.0),
        lambda runtime, agent: runtime.set_difficulty(agent, world=1, delay_ticks=2),
    ):
        changed, _ = record(change)
        others = (plain.agent_ids != agent_id) | (plain.worlds != 1)
        theirs = (changed.agent_ids != agent_id) | (changed.worlds != 1)
        before, after = plain.filter_trajectories(others), changed.filter_trajectories(theirs)
        for name, column in before.columns.items():
            assert column.tobytes() == after.columns[name].tobytes(), name
        mine, now = plain.filter_trajectories(~others), changed.filter_trajectories(~theirs)
        assert any(mine.columns[name].tobytes() != now.columns[name].tobytes() for name in mine.columns)


def test_the_difficulty_of_nobody_is_refused() -> None:
    loop = started(Corridor(ALONE), BridgeConfig())
    with pytest.raises(PossessionError, match="expected an agent that is present in world 0, got 'nobody'"):
        loop.runtime.set_difficulty("nobody", ratio=0.5)


def test_a_recorder_of_other_proposers_is_refused() -> None:
    corridor = Corridor(ALONE)
    service = TrajectoryService(schema_of(corridor.spec, masked=False, proposers=("mind",)), max_rows=10)
    with pytest.raises(SimulationError, match=r"a recorder of the proposers \('script',\), got \('mind',\)"):
        BatchRuntime(
            corridor.spec, corridor.scripted("scripted"), config=BridgeConfig(), policy=None, service=service, seed=1
        )


def said_of(batch: TrajectoryBatch) -> set[tuple[int, int, str]]:
    """World, episode and label of each trajectory."""
    return {(one.world, one.episode, one.episode_label.name) for one in batch}


def test_what_a_person_says_of_an_episode_is_recorded() -> None:
    corridor = Corridor(replace(ALONE, episode_ticks=3), num_worlds=2)
    loop = started(corridor, BridgeConfig())
    runtime = loop.runtime
    with pytest.raises(OrderError, match="world 0 has no trajectory that can still be labelled"):
        runtime.label_episode(EpisodeLabel.SUCCESS)
    loop.run_for(3)
    runtime.label_episode(EpisodeLabel.SUCCESS, world=1)  # its episode has just ended: the next has no decision
    loop.run_for(2)
    observed = runtime.observed
    assert observed is not None
    [ann] = observed.agent_ids[observed.worlds == 0]
    runtime.label_episode(EpisodeLabel.FAILURE, ann)
    runtime.discard_last_episode(world=0)  # two ticks of the next are over already
    first = {(0, 0, "DISCARD"), (0, 2, "FAILURE"), (1, 1, "SUCCESS"), (1, 3, "NONE")}
    assert said_of(runtime.collect_trajectory()) == first
    loop.run_for(2)
    assert said_of(runtime.collect_trajectory()) == {(0, 2, "FAILURE"), (0, 4, "NONE"), (1, 3, "NONE"), (1, 5, "NONE")}
    with pytest.raises(OrderError, match="no ended trajectory"):
        runtime.discard_last_episode(ann)
    silent = BatchRuntime(
        corridor.spec, corridor.scripted("idle"), config=BridgeConfig(), policy=None, service=None, seed=1
    )
    for call in (silent.discard_last_episode, lambda: silent.label_episode(EpisodeLabel.SUCCESS)):
        with pytest.raises(SimulationError, match="expected a runtime that records"):
            call()


def test_episodes_are_labelled_from_another_thread_while_the_loop_runs() -> None:
    corridor = Corridor(replace(ALONE, places=3, episode_ticks=7), num_worlds=3)
    loop = started(corridor, BridgeConfig())
    over = threading.Event()

    def label() -> int:
        given = 0
        while not over.is_set():
            with suppress(OrderError):  # everything was just collected, and the next episode has no decision
                loop.runtime.label_episode(EpisodeLabel.SUCCESS, world=given % 3)
                loop.runtime.label_episode(EpisodeLabel.DISCARD, world=given % 3)
                given += 1
        return given

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    batches = []
    with ThreadPoolExecutor(1) as others:
        person = others.submit(label)
        try:
            while len(batches) < 40:
                loop.run_for(25)
                batches.append(loop.runtime.collect_trajectory())
        finally:
            over.set()
            sys.setswitchinterval(interval)
    assert person.result() > 0
    labels = np.concatenate([batch.episode_labels for batch in batches])
    assert EpisodeLabel.DISCARD in labels
    assert EpisodeLabel.FAILURE not in labels
