from pathlib import Path

import pytest

from townlet_runtime import Telemetry, TelemetryRecord, UniformPolicy
from townlet_runtime.config import config_from
from townlet_runtime.errors import ConfigError
from townlet_runtime.plain import SimulationLoop

SMALL = {"town": {"num_agents": 3}, "seed": 7}


def test_it_steps_the_town_of_a_config() -> None:
    loop = SimulationLoop(SMALL)
    loop.step()
    report = loop.run_for(9)
    assert (loop.tick, report.agent_ticks) == (10, 27)
    assert loop.world.spec.capacity == 3
    assert loop.policy.collect_trajectory().num_steps == 30


def test_it_tells_telemetry_of_every_tick() -> None:
    told: list[tuple[int, int]] = []

    class Kept:
        def write(self, record: TelemetryRecord) -> None:
            told.append((record.tick, record.agents))

        def close(self) -> None:
            told.append((0, 0))

    with Telemetry([Kept()], every=4) as telemetry:
        SimulationLoop(SMALL, telemetry=telemetry).run_for(10)
    assert told == [(4, 3), (8, 3), (10, 3), (0, 0)]


def test_a_file_a_mapping_and_a_config_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "town.yaml"
    path.write_text("seed: 7\ntown: {num_agents: 3}\n")
    loops = [SimulationLoop(path), SimulationLoop(str(path)), SimulationLoop(SMALL)]
    loops.append(SimulationLoop(config_from(SMALL, source="here").config))
    rewards = [loop.run_for(40).mean_reward for loop in loops]
    assert len(set(rewards)) == 1


def test_reset_begins_the_same_town_again_or_another() -> None:
    loop = SimulationLoop(SMALL)
    first = loop.run_for(40).mean_reward
    loop.reset()
    assert loop.run_for(40).mean_reward == first
    loop.reset(seed=8)
    assert loop.run_for(40).mean_reward != first
    assert loop.tick > 120


def test_a_policy_takes_its_share() -> None:
    spec = SimulationLoop(SMALL).world.spec
    policy = UniformPolicy(vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes)
    report = SimulationLoop(SMALL, policy=policy, ratio=1.0).run_for(20)
    assert report.decisions_by_source["scripted"] == 0


def test_another_environment_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected the town, got 'gymnasium:CartPole-v1'"):
        SimulationLoop({"environment": {"name": "gymnasium:CartPole-v1"}})
