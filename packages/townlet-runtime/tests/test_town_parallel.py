from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace

import cloudpickle
import numpy as np
import pytest
from beginnings import begun
from gymnasium.utils.env_checker import data_equivalence
from pettingzoo import ParallelEnv
from pettingzoo.test import parallel_api_test, parallel_seed_test
from pettingzoo.utils import parallel_to_aec

from townlet_runtime.errors import MissingExtraError, SimulationError, TownConfigError
from townlet_runtime.town import AgentSpec, LifecycleConfig, Town, TownConfig, parallel_env
from townlet_runtime.town.parallel import TownSettings
from townlet_runtime.town.parallel_town import num_lives

SMALL = TownConfig(num_agents=4, episode_ticks=30, grid_size=(8, 8), local_window=3)
STAYING = LifecycleConfig(departure_rate=0.0)
HASTY = LifecycleConfig(respawn_delay_ticks=4, departure_rate=0.02, away_ticks=3)
DEADLY = replace(SMALL, num_agents=6, needs_decay=(0.05, 0.0, 0.0), lifecycle=HASTY)
LONG = replace(DEADLY, episode_ticks=400)
ALICE = AgentSpec(id="alice", position=(1, 1), needs=(0.01, 1.0, 1.0))
BOB = AgentSpec(id="bob", position=(2, 2), needs=(1.0, 1.0, 1.0))
PAIR = replace(
    SMALL,
    agents=(ALICE, BOB),
    needs_decay=(0.01, 0.0, 0.0),
    lifecycle=LifecycleConfig(respawn_delay_ticks=3, departure_rate=0.0),
)
NEVER_CAME = "not all possible_agents are terminated or truncated"


def waiting(env: ParallelEnv) -> dict[str, int]:
    return dict.fromkeys(env.agents, 0)


def sampled(env: ParallelEnv, seen: Mapping[str, dict]) -> dict[str, int]:
    return {name: env.action_space(name).sample(seen[name]["action_mask"]) for name in env.agents}


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        pytest.param(None, {}, id="default"),
        pytest.param(SMALL, {}, id="small"),
        pytest.param(None, {"num_agents": 50, "episode_ticks": 120}, id="fifty"),
        pytest.param(replace(SMALL, num_agents=1, episode_ticks=1), {}, id="one agent, one tick"),
        pytest.param(DEADLY, {}, id="everybody dies"),
        pytest.param(replace(DEADLY, lifecycle=STAYING), {"returns": True}, id="short, nobody has time to return"),
        pytest.param(replace(DEADLY, num_agents=3, episode_ticks=1100), {"returns": True}, id="dying and returning"),
        pytest.param(
            replace(DEADLY, num_agents=2, episode_ticks=1100, lifecycle=replace(HASTY, away_ticks=0)),
            {"returns": True},
            id="returning at once",
        ),
    ],
)
def test_it_is_a_parallel_env_without_a_warning(config: TownConfig | None, settings: dict[str, int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(parallel_env(config, **settings), num_cycles=1000)
        parallel_seed_test(lambda: parallel_env(config, **settings))


def test_pettingzoo_remarks_on_lives_that_were_not_lived_and_on_nothing_else() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # of what others left open
        parallel_api_test(parallel_env(DEADLY, returns=True), num_cycles=100)
    assert {NEVER_CAME in str(warning.message) for warning in caught} == {True}


@pytest.mark.parametrize("behavior", ["scripted", "nearest"])
@pytest.mark.parametrize("config", [SMALL, LONG, PAIR], ids=["small", "deadly", "pair"])
def test_the_view_is_the_town(config: TownConfig, behavior: str) -> None:
    env, town = parallel_env(config, returns=True), Town(config, num_worlds=1)
    seen, _ = env.reset(seed=12)
    observed, script = begun(town, 12), town.scripted(behavior)
    for tick in range(1, config.episode_ticks + 1):
        ids = [name.partition("#")[0] for name in env.agents]
        assert ids == observed.agent_ids.tolist()
        for row, name in enumerate(env.agents):
            for key, column in observed.observations.items():
                np.testing.assert_array_equal(seen[name]["observation"][key], column[row])
            np.testing.assert_array_equal(seen[name]["action_mask"], observed.action_mask[row])
        acted = list(env.agents)
        actions = script.propose(observed)
        stepped = town.step(actions)
        seen, rewards, terminated, truncated, infos = env.step(dict(zip(acted, actions.tolist(), strict=True)))
        assert [rewards[name] for name in acted] == stepped.rewards.tolist()
        assert [terminated[name] for name in acted] == stepped.terminated.tolist()
        assert [truncated[name] for name in acted] == stepped.truncated.tolist()
        for row, last in zip(stepped.final_rows, stepped.final_observations["features"], strict=True):
            np.testing.assert_array_equal(seen[acted[row]]["observation"]["features"], last)
        assert all(infos[name]["action_mask"] is seen[name]["action_mask"] for name in seen)
        assert seen.keys() == rewards.keys() == terminated.keys() == truncated.keys() == infos.keys()
        observed = stepped.observed
        if not len(observed.slots):
            pytest.fail(f"this test is for towns that are never empty; tick {tick}")
    assert env.agents == []


def test_who_faints_is_gone_and_comes_back_as_somebody_new() -> None:
    env = parallel_env(PAIR, returns=True)
    # 30 ticks, a life takes 1 and then 3 pass: born at 0, 4, 8, ..., 28
    assert env.possible_agents == ["alice", "bob", *(f"{name}#{n}" for n in range(2, 9) for name in ("alice", "bob"))]
    env.reset(seed=0)
    _, rewards, terminated, truncated, _ = env.step(waiting(env))
    assert (terminated, truncated["alice"]) == ({"alice": True, "bob": False}, False)
    assert rewards["alice"] < -0.9
    assert env.agents == ["bob"]
    for _ in range(2):
        seen, *_ = env.step(waiting(env))
        assert list(seen) == ["bob"]
    seen, rewards, terminated, truncated, _ = env.step(waiting(env))
    assert env.agents == ["alice#2", "bob"]
    assert (rewards["alice#2"], terminated["alice#2"], truncated["alice#2"]) == (0.0, False, False)
    assert env.observation_space("alice#2").contains(seen["alice#2"])
    env.reset(seed=0)
    assert env.agents == ["alice", "bob"], "a new episode, first lives"


def test_without_returns_an_agent_lives_once() -> None:
    env = parallel_env(PAIR)
    assert env.possible_agents == ["alice", "bob"]
    env.reset(seed=0)
    env.step(waiting(env))
    for _ in range(29):
        assert env.agents == ["bob"]
        _, _, terminated, truncated, _ = env.step(waiting(env))
    assert (terminated, truncated, env.agents) == ({"bob": False}, {"bob": True}, [])


def test_without_returns_the_view_ends_with_the_last_agent() -> None:
    env = parallel_env(replace(PAIR, agents=(ALICE,)))
    env.reset(seed=0)
    _, _, terminated, truncated, _ = env.step(waiting(env))
    assert (terminated, truncated, env.agents) == ({"alice": True}, {"alice": False}, [])


def test_ticks_without_anybody_pass_by_themselves() -> None:
    config = replace(PAIR, agents=(ALICE,))
    env, town = parallel_env(config, returns=True), Town(config, num_worlds=1)
    env.reset(seed=5)
    seen, *_ = env.step(waiting(env))
    begun(town, 5)
    for agents in (1, 0, 0, 0):
        observed = town.step(np.zeros(agents, np.int64)).observed
    assert (list(seen), env.agents) == (["alice", "alice#2"], ["alice#2"])
    np.testing.assert_array_equal(seen["alice#2"]["observation"]["features"], observed.observations["features"][0])


def test_the_end_of_the_episode_ends_everybody_also_while_nobody_is_there() -> None:
    env = parallel_env(replace(PAIR, agents=(ALICE,), episode_ticks=4), returns=True)
    env.reset(seed=5)
    seen, _, terminated, truncated, _ = env.step(waiting(env))
    assert (list(seen), terminated, truncated, env.agents) == (["alice"], {"alice": True}, {"alice": False}, [])


def test_nothing_is_shown_of_the_episode_that_the_town_begins_by_itself() -> None:
    env = parallel_env(SMALL, episode_ticks=2)
    progress = Town(SMALL, num_worlds=1).spec.feature_names.index("episode_progress")
    env.reset(seed=1)
    env.step(waiting(env))
    seen, _, _, truncated, _ = env.step(waiting(env))
    assert all(truncated.values()) and len(truncated) == 4
    assert [one["observation"]["features"][progress] for one in seen.values()] == [1.0] * 4
    assert [one["action_mask"].nonzero()[0].tolist() for one in seen.values()] == [[0]] * 4, "wait alone"
    assert env.step({}) == ({}, {}, {}, {}, {})


def test_a_seed_makes_the_episode_and_the_episodes_after_it() -> None:
    def episodes(env: ParallelEnv, *seeds: int | None) -> list:
        return [env.reset(seed=seed) for seed in seeds]

    env = parallel_env(SMALL)
    first, second, again, other = episodes(env, 3, None, 3, 4)
    assert data_equivalence(first, again)
    assert not data_equivalence(first, second)
    assert not data_equivalence(first, other)
    assert data_equivalence([first, second], episodes(parallel_env(SMALL), 3, None))
    unseeded = (episodes(parallel_env(SMALL), None) for _ in range(2))
    assert not data_equivalence(*unseeded)


def test_what_is_seen_lies_in_the_spaces_to_the_end() -> None:
    env = parallel_env(LONG, returns=True)
    seen, _ = env.reset(seed=2)
    met = set(seen)
    while env.agents:
        seen, rewards, *_ = env.step(sampled(env, seen))
        met |= set(seen)
        assert all(env.observation_space(name).contains(one) for name, one in seen.items())
        assert all(type(reward) is float for reward in rewards.values())
        assert env.state_space.contains(env.state())
    assert set(env.agents) <= met <= set(env.possible_agents)
    assert any(name.endswith("#3") for name in met), "too mild a town for this test"


def test_each_agent_samples_from_its_own_action_space() -> None:
    env = parallel_env(SMALL)
    a, b, *_ = env.possible_agents
    assert env.action_space(a) == env.action_space(b) and env.action_space(a) is not env.action_space(b)
    assert list(env.metadata["actions"]) == list(Town(SMALL, num_worlds=1).spec.vocabulary.keys)
    assert env.action_space(a).n == len(env.metadata["actions"])


def test_the_global_state_has_a_row_for_each_agent_and_zeros_for_who_is_gone() -> None:
    env = parallel_env(PAIR, returns=True, episode_ticks=2)
    seen, _ = env.reset(seed=0)
    np.testing.assert_array_equal(env.state(), [seen[name]["observation"]["features"] for name in ("alice", "bob")])
    seen, *_ = env.step(waiting(env))
    np.testing.assert_array_equal(env.state()[1], seen["bob"]["observation"]["features"])
    assert not env.state()[0].any()
    seen, *_ = env.step(waiting(env))
    np.testing.assert_array_equal(env.state()[1], seen["bob"]["observation"]["features"]), "its last"


def test_it_is_drawn_as_text_to_the_end() -> None:
    env = parallel_env(SMALL, render_mode="ansi", episode_ticks=3)
    env.reset(seed=0)
    pictures = [env.render()]
    for _ in range(3):
        env.step(waiting(env))
        pictures.append(env.render())
    assert [picture.split()[:2] for picture in pictures] == [["tick", tick] for tick in ("0", "1", "2", "2")]
    env.reset(seed=0)
    assert env.render() == pictures[0]


def test_without_a_render_mode_nothing_is_drawn() -> None:
    env = parallel_env(SMALL)
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None


def test_it_runs_as_a_turn_based_env() -> None:
    parallel = parallel_env(DEADLY, returns=True)
    aec = parallel_to_aec(parallel)
    aec.reset(seed=4)
    met = set()
    for name in aec.agent_iter(10**5):
        seen, _, terminated, truncated, _ = aec.last()
        met.add(name)
        aec.step(None if terminated or truncated else int(seen["action_mask"].nonzero()[0][-1]))
    assert aec.agents == [] and any("#" in name for name in met)


def test_a_copy_goes_its_own_way() -> None:
    env = parallel_env(DEADLY, returns=True)
    env.reset(seed=4)
    env.step(waiting(env))
    # how libraries send environments to processes
    copy = cloudpickle.loads(cloudpickle.dumps(env))
    ahead = [env.step(waiting(env)) for _ in range(10)]
    assert data_equivalence(ahead, [copy.step(waiting(copy)) for _ in range(10)])


@pytest.mark.parametrize("delay", [0, 1, 3, 40])
@pytest.mark.parametrize("ticks", [1, 2, 9, 30])
def test_there_are_as_many_lives_as_the_shortest_ones_fill_an_episode(ticks: int, delay: int) -> None:
    # Everybody leaves at once, always: nobody can live more often.
    lifecycle = LifecycleConfig(respawn_delay_ticks=50, departure_rate=1.0, away_ticks=delay)
    env = parallel_env(replace(SMALL, episode_ticks=ticks, lifecycle=lifecycle), returns=True)
    seen, _ = env.reset(seed=0)
    met = set(seen)
    while env.agents:
        seen, *_ = env.step(waiting(env))
        met |= set(seen)
    assert met == set(env.possible_agents)
    assert len(met) == 4 * num_lives(env.config)


def test_journeys_that_nobody_makes_do_not_count() -> None:
    lifecycle = LifecycleConfig(respawn_delay_ticks=9, departure_rate=0.0, away_ticks=0)
    assert num_lives(replace(SMALL, lifecycle=lifecycle)) == 3  # born at 0, 10, 20


@pytest.mark.parametrize(
    ("actions", "problem"),
    [
        ({"alice": 0}, r"nobody else; it differs in \['bob'\]"),
        ({"alice": 0, "bob": 0, "eve": 0}, r"nobody else; it differs in \['eve'\]"),
        ({"alice": 0, "bob": 99}, r"bob: expected an action from 0 to \d+, got 99"),
        ({"alice": 1.5, "bob": 0}, r"alice: expected an action from 0 to \d+, got 1.5"),
        ({"alice": -1, "bob": 0}, r"alice: expected an action from 0 to \d+, got -1"),
    ],
)
def test_wrong_actions_are_refused_and_the_town_stands_still(actions: dict[str, int], problem: str) -> None:
    env = parallel_env(PAIR, render_mode="ansi")
    env.reset(seed=0)
    with pytest.raises(SimulationError, match=problem):
        env.step(actions)
    assert "tick    0" in env.render()


def test_nothing_is_stepped_before_the_first_reset() -> None:
    with pytest.raises(SimulationError, match="expected `reset` before the first `step`"):
        parallel_env(SMALL).step({})


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"agents": 3}, "`agents`: expected one of num_agents, episode_ticks, "),
        ({"num_agents": "3"}, "`num_agents`: expected a whole number, got '3'"),
        ({"num_agents": True}, "`num_agents`: expected a whole number, got True"),
        ({"num_agents": 0}, "`num_agents`: must be greater than or equal to 1, got 0"),
        ({"render_mode": "human"}, "`render_mode`: expected 'ansi' or none, got 'human'"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict, problem: str) -> None:
    with pytest.raises(TownConfigError, match=problem):
        parallel_env(**settings)


def test_an_id_that_reads_like_a_later_life_is_refused() -> None:
    with pytest.raises(TownConfigError, match="`agents`: expected no id that reads like another agent's later life"):
        parallel_env(replace(PAIR, agents=(ALICE, replace(BOB, id="alice#2"))), returns=True)


@pytest.mark.parametrize("name", sorted(TownSettings.__annotations__))
def test_every_setting_is_a_field_of_the_config(name: str) -> None:
    assert vars(parallel_env(SMALL, **{name: 9}).config)[name] == 9


def test_the_town_needs_neither_pettingzoo_nor_gymnasium() -> None:
    code = "import sys, townlet_runtime.town; print({'pettingzoo', 'gymnasium'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("missing", ["pettingzoo", "gymnasium"])
def test_without_the_extra_it_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "townlet_runtime.town.parallel_town")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=rf"needs `{missing}`: install 'townlet-runtime\[pettingzoo\]'"):
        parallel_env(SMALL)


def test_the_seed_of_an_unseeded_episode_can_be_asked_for() -> None:
    env, other = parallel_env(SMALL), parallel_env(SMALL)
    first, _ = env.reset()
    assert env.np_random_seed is not None
    second, _ = other.reset(seed=env.np_random_seed)
    assert other.np_random_seed == env.np_random_seed
    for name, seen in first.items():
        np.testing.assert_array_equal(seen["observation"]["features"], second[name]["observation"]["features"])
