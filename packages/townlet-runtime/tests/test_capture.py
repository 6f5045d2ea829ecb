from pathlib import Path

import numpy as np
import pytest
from config_content import config_of

from townlet_runtime.cli.capturing.surroundings import local_summaries
from townlet_runtime.cli.commands.capture import (
    capture_info,
    record_world,
    with_seed_agents,
    write_town_captures,
)
from townlet_runtime.cli.worlds import Worlds
from townlet_runtime.config import Config, load_config
from townlet_runtime.errors import ConfigError
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.formats.captures.directory import read_captures

SCENARIOS = Path(__file__).parent / "data" / "scenarios"


def recorded(config: Config, *, ticks: int, seed: int) -> tuple[TrajectoryBatch, SimulationSpec]:
    batches, specs, policies = record_world(Worlds.of(config), ticks=ticks, seed=seed)
    assert policies is None
    return batches["agents"], specs["agents"]


def test_a_town_is_recorded_by_schedule_from_its_first_tick_to_its_last() -> None:
    config = load_config(SCENARIOS / "kitchen_breakfast.yaml").config
    batch, spec = recorded(config, ticks=40, seed=4242)
    assert batch.agent_ids.tolist() == ["alice", "bob"]
    assert (batch.num_steps, batch.truncated.tolist()) == (80, [True, True])
    alice = [spec.vocabulary.keys[action] for action in batch.trajectory(0).columns["action"][:5]]
    assert alice == ["request:fridge:first"] * 2 + ["request:stove:first", "start", "wait"]
    again, _ = recorded(config, ticks=40, seed=4242)
    assert again.columns["action"].tolist() == batch.columns["action"].tolist()
    assert again.rewards.tolist() == batch.rewards.tolist()


def test_more_than_memory_holds_is_refused() -> None:
    config = config_of({"town": {"agents": 100}})
    with pytest.raises(ConfigError, match=r"at most 2,000,000 steps of agents .*, and these are 2,000,100"):
        recorded(config, ticks=20_001, seed=0)


def test_seed_agents_come_where_nobody_is() -> None:
    seeded = with_seed_agents(config_of({})).scenario
    assert [(agent.id, agent.position) for agent in seeded.agents] == [("alice", (0, 0)), ("bob", (1, 0))]
    assert [(item.id, item.type) for item in seeded.objects] == [("stove_1", "stove")]
    placed = {"objects": [{"id": "s", "type": "stove"}, {"id": "b", "type": "bed"}]}
    assert [item.id for item in with_seed_agents(config_of({"scenario": placed})).scenario.objects] == [
        "s",
        "b",
    ]
    config = config_of({"scenario": {"agents": [{"id": "zed"}]}})
    assert with_seed_agents(config) == config


def test_a_capture_says_where_it_comes_from() -> None:
    named = config_of({"config_id": "c", "scenario": {"name": "n", "description": "d"}})
    info = capture_info(named, path=Path("x/kitchen.yaml"), ticks=3, seed=4, policy=None)
    assert (info.config_id, info.scenario_name, info.scenario_description) == ("c", "n", "d")
    assert (info.config_path, info.ticks, info.seed, info.policy_hash) == ("x/kitchen.yaml", 3, 4, None)
    assert (
        capture_info(config_of({}), path=Path("x/kitchen.yaml"), ticks=1, seed=0, policy=None).scenario_name
        == "kitchen"
    )
    silent = capture_info(config_of({}), path=None, ticks=1, seed=0, policy=None)
    assert (silent.config_path, silent.scenario_name) == (None, None)


def test_what_is_around_an_agent_is_counted() -> None:
    maps = np.zeros((2, 4, 5, 5), np.float32)
    maps[:, 0, 2, 2] = 1.0
    # Two agents at distance (1, 2), one further away; three objects, at one of which somebody is.
    maps[0, 1, 4, 1], maps[0, 1, 0, 0] = 0.5, 0.25
    maps[0, 2, [0, 1, 2], [0, 1, 2]] = 0.5, 0.25, 1.0
    maps[0, 3, 1, 1] = 0.75
    crowd, alone = local_summaries(maps)
    assert crowd == pytest.approx(
        {
            "agent_count": 3.0,
            "object_count": 3.0,
            "reserved_tiles": 1.0,
            "radius": 2.0,
            "agent_ratio": 3.0 / 24.0,
            "object_ratio": 3.0 / 25.0,
            "reserved_ratio": 1.0 / 25.0,
            "nearest_agent_distance": 5.0**0.5,
            "nearest_agent_distance_norm": 1.0,
        }
    )
    assert (alone["agent_count"], alone["nearest_agent_distance"], alone["nearest_agent_distance_norm"]) == (0, 2, 1)
    (one_cell,) = local_summaries(np.ones((1, 4, 1, 1), np.float32))
    assert (one_cell["agent_ratio"], one_cell["nearest_agent_distance_norm"]) == (4.0, 0.0)


def test_an_agent_that_is_back_is_a_sample_more_of_the_same_agent(tmp_path: Path) -> None:
    content = {
        "rewards": {"decay_rates": {"hunger": 0.2, "energy": 0.0}},
        "lifecycle": {"respawn_delay_ticks": 2},
        "scenario": {"agents": [{"id": "ann", "needs": {"hunger": 0.5}}, {"id": "bob", "needs": {"hunger": 0.9}}]},
    }
    config = config_of(content)
    batch, spec = recorded(config, ticks=7, seed=1)
    info = capture_info(config, path=None, ticks=7, seed=1, policy=None)
    samples = read_captures(write_town_captures(tmp_path, batch, spec, policy=None, info=info)).samples
    # Hunger of 0.5 lasts three ticks, that of 0.9 five.
    found = [(s.metadata["agent_id"], s.metadata["embedding_slot"], int(s.arrays()["rewards"].size)) for s in samples]
    assert found[:3] == [("ann", 0, 3), ("bob", 1, 5), ("ann", 0, 2)]
    assert [bool(sample.dones[-1]) for sample in samples[:2]] == [True, True]
