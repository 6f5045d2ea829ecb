"""The packages in turn: the town lives by its script, is recorded, saved and loaded; a clone is exported, and acts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from townlet_behavior import BridgeConfig, CommitmentConfig
from townlet_runtime.core.loop import BatchLoop
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.policy.onnx import OnnxPolicy
from townlet_runtime.simulation.interface import AGENTS
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.town import Town, TownConfig
from townlet_training import (
    ActorCritic,
    BCConfig,
    BCLearner,
    NetworkConfig,
    PolicySpec,
    PPOConfig,
    PPOLearner,
    export_policy,
)
from townlet_trajectory import Kind, TrajectoryBatch
from townlet_trajectory.formats.captures.directory import CaptureInfo, read_captures, write_captures
from townlet_trajectory.formats.captures.sample import CaptureLayout

TICKS = 150
NUM_WORLDS = 2


@pytest.fixture(scope="module")
def town() -> Town:
    return Town(TownConfig(), num_worlds=NUM_WORLDS)


@pytest.fixture(scope="module")
def bridge_config(town: Town) -> BridgeConfig:
    return BridgeConfig(commitment=CommitmentConfig(ticks=town.spec.option_ticks))


@pytest.fixture(scope="module")
def collector(town: Town, bridge_config: BridgeConfig) -> Collector:
    return Collector(OneGroup(town), config=bridge_config, seed=1, max_rows=TICKS * town.spec.capacity)


@pytest.fixture(scope="module")
def recorded(collector: Collector) -> TrajectoryBatch:
    return collector.collect(None, num_ticks=TICKS, ratio=0.0).batches[AGENTS]


@pytest.fixture(scope="module")
def loaded(recorded: TrajectoryBatch, town: Town, tmp_path_factory: pytest.TempPathFactory) -> TrajectoryBatch:
    layout = CaptureLayout(
        feature_names=town.spec.feature_names,
        map_channels=tuple(f"channel_{i}" for i in range(town.spec.observation_shapes["map"][0])),
        action_texts=tuple(json.dumps({"action": key}) for key in town.spec.vocabulary.keys),
    )
    info = CaptureInfo(
        config_path=None,
        config_id="town",
        scenario_name=None,
        scenario_description=None,
        ticks=TICKS,
        seed=1,
        policy_hash=None,
        capture_timestamp="2026-01-01T00:00:00Z",
    )
    folder = tmp_path_factory.mktemp("captures")
    values = np.zeros(len(recorded), np.float32)
    manifest = write_captures(folder, recorded, final_values=values, layout=layout, info=info)
    return read_captures(manifest).batch()


@pytest.fixture(scope="module")
def clone(loaded: TrajectoryBatch, town: Town) -> ActorCritic:
    generator = torch.Generator().manual_seed(0)
    network = ActorCritic(
        town.spec.observation_shapes,
        len(town.spec.vocabulary),
        NetworkConfig(hidden_sizes=(64,)),
        generator=generator,
    )
    network.fit_normalizer(loaded)
    learner = BCLearner(network, config=BCConfig(num_epochs=4, learning_rate=3e-3), generator=generator)
    result = learner.fit(loaded, loaded)
    assert result.accuracy > 0.6  # of 10 and more actions; most ticks are waiting or walking
    return network


def by_agent(batch: TrajectoryBatch) -> dict[tuple[int, str, int], int]:
    """Which trajectory is whose, and which begins when."""
    keys = zip(batch.worlds.tolist(), batch.agent_ids, batch.ticks[batch.offsets[:-1]].tolist(), strict=True)
    return {(world, str(agent_id), tick): index for index, (world, agent_id, tick) in enumerate(keys)}


def test_what_is_loaded_is_what_was_recorded(recorded: TrajectoryBatch, loaded: TrajectoryBatch) -> None:
    ours, theirs = by_agent(recorded), by_agent(loaded)
    assert ours.keys() == theirs.keys()
    for key, index in ours.items():
        before, after = recorded.trajectory(index), loaded.trajectory(theirs[key])
        assert before.schema == after.schema
        assert (before.terminated, before.truncated) == (after.terminated, after.truncated)
        assert np.array_equal(before.rewards, after.rewards)
        for name, column in before.columns.items():
            assert np.array_equal(column, after.columns[name]), name
        for name, array in before.observations.items():
            assert np.array_equal(array, after.observations[name]), name


def test_a_policy_learns_from_the_blend_it_acted_in(clone: ActorCritic, collector: Collector) -> None:
    batch = collector.collect({AGENTS: clone}, num_ticks=40, ratio=0.5).batches[AGENTS]
    decisions = batch.columns["kind"] == Kind.DECISION
    # log μ = log[β π(a) + (1 - β) 1[a = aˢ]], as the architecture states it
    agrees = batch.columns["chosen_action"] == batch.columns["expert_action"]
    policy = np.exp(batch.columns["policy_log_prob"].astype(np.float64))
    expected = np.log(0.5 * policy + 0.5 * agrees)
    assert decisions.sum() > 100
    assert np.allclose(batch.columns["behavior_log_prob"][decisions], expected[decisions], atol=1e-6)
    learner = PPOLearner(
        clone, config=PPOConfig(num_epochs=1, num_minibatches=1), generator=torch.Generator().manual_seed(1)
    )
    update = learner.update(batch)
    assert np.isfinite(update.policy_loss)


def test_the_exported_clone_acts_as_the_network(
    clone: ActorCritic, loaded: TrajectoryBatch, town: Town, bridge_config: BridgeConfig, tmp_path: Path
) -> None:
    spec = PolicySpec(
        world=town.spec.name, vocabulary=town.spec.vocabulary.keys, observation_shapes=dict(clone.observation_shapes)
    )
    exported = export_policy(clone, tmp_path / "policy.onnx", spec=spec, seed=0)
    policy = OnnxPolicy.load(exported.path)
    rows = slice(0, 64)
    observations = {name: loaded.observations[name][rows] for name in policy.observation_shapes}
    mask = loaded.observations["action_mask"][rows]
    log_probs, values = policy.act(observations, mask)
    expected_log_probs, expected_values = clone.act(observations, mask)
    legal = expected_log_probs[mask]
    assert np.all(np.abs(log_probs[mask] - legal) <= 1e-5 * (1 + np.abs(legal)))
    assert np.all(np.abs(values - expected_values) <= 1e-5 * (1 + np.abs(expected_values)))

    world = Town(TownConfig(), num_worlds=1)
    runtime = BatchRuntime(
        world.spec, world.scripted("scripted"), config=bridge_config, policy=policy, service=None, seed=0, greedy=True
    )
    runtime.set_anneal_ratio(1.0)
    loop = BatchLoop(world, runtime)
    loop.reset(seed=5)
    report = loop.run_for(30)
    assert report.ticks_by_source["learned"] == report.agent_ticks
