"""Mesa's own example models as a simulation; none is written here but where a model must break."""

import gc
import random
import weakref
from collections.abc import Callable
from typing import Any

import mesa
import numpy as np
import pytest
from beginnings import begun
from mesa.examples.advanced.wolf_sheep.agents import Sheep
from mesa_models import BoltzmannWealth, Schelling, WolfSheep, advance, example

from townlet_behavior import BridgeConfig, Kind
from townlet_runtime import OneGroup
from townlet_runtime.adapters.controllers import ObservationController
from townlet_runtime.adapters.mesa_worlds import MesaWorlds
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.errors import EnvironmentFaultError, SimulationError
from townlet_runtime.policy.policy import UniformPolicy
from townlet_runtime.simulation.interface import AGENTS, Observed
from townlet_runtime.testing import check_simulation

STAY, MOVE, OWN = range(3)


def wealth(num_worlds: int = 1, *, made: list[Any] | None = None, **settings: Any) -> MesaWorlds:
    """Mesa's model of wealth, whose agents stay, move, or do as they do by themselves."""

    def make(seed: int) -> Any:
        model = example(BoltzmannWealth, seed, n=6, width=4, height=4)
        if made is not None:
            made.append(model)
        return model

    usual: dict[str, Any] = {
        "actions": {
            "stay": lambda agent: None,
            "move": lambda agent: agent.move(),
            "own": lambda agent: OWN_STEP(agent),
        },
        "observe": lambda agent: [agent.wealth, len(agent.cell.agents)],
        "reward": lambda agent: agent.wealth,
    }
    return MesaWorlds(make, num_worlds=num_worlds, **{**usual, "episode_ticks": 30, **settings})


OWN_STEP = mesa.examples.basic.boltzmann_wealth_model.agents.MoneyAgent.step


def sheep(num_worlds: int = 1, **settings: Any) -> MesaWorlds:
    """The sheep of Mesa's wolves and sheep: they stay, or go where they go by themselves, and feed."""

    def live(agent: Any, *, moves: bool) -> None:
        if moves:
            agent.move()
        agent.energy -= 1
        agent.feed()
        if agent.energy < 0:
            agent.remove()
        elif agent.random.random() < agent.p_reproduce:
            agent.spawn_offspring()

    return MesaWorlds(
        lambda seed: example(
            WolfSheep, seed, width=8, height=8, initial_sheep=12, initial_wolves=4, sheep_reproduce=0.1
        ),
        actions={"stay": lambda agent: live(agent, moves=False), "go": lambda agent: live(agent, moves=True)},
        observe=lambda agent: {"energy": [agent.energy], "around": len(agent.cell.agents)},
        reward=lambda agent: 1.0,
        agent_type=Sheep,
        max_agents=200,
        num_worlds=num_worlds,
        advance=advance,
        **{"episode_ticks": 40, **settings},
    )


def all_do(observed: Observed, action: int) -> np.ndarray:
    return np.full(len(observed.slots), action, np.int64)


def test_the_model_runs_as_it_would_by_itself() -> None:
    """Agents that carry out their own rule live through the very same history."""
    plain = example(BoltzmannWealth, 11, n=6, width=4, height=4)
    worlds = wealth()
    observed = begun(worlds, 11)
    for _ in range(20):
        by_id = sorted(plain.agents, key=lambda agent: agent.unique_id)
        assert observed.observations["observation"].tolist() == [[a.wealth, len(a.cell.agents)] for a in by_id]
        plain.step()
        observed = worlds.step(all_do(observed, OWN)).observed


def test_agents_do_what_was_decided_for_them() -> None:
    made: list[Any] = []
    worlds = wealth(made=made)
    observed = begun(worlds, 3)
    model = made[-1]
    assert worlds.spec.vocabulary.keys == ("stay", "move", "own") and worlds.spec.name == "mesa:BoltzmannWealth"
    assert observed.agent_ids.tolist() == [f"MoneyAgent_{number}" for number in range(1, 7)]
    places = {agent.unique_id: agent.cell for agent in model.agents}
    actions = np.array([STAY, MOVE, STAY, STAY, STAY, MOVE])
    stepped = worlds.step(actions)
    moved = [agent.unique_id for agent in model.agents if agent.cell is not places[agent.unique_id]]
    assert moved and set(moved) <= {2, 6}
    assert stepped.rewards.tolist() == [1.0] * 6 and model.steps == 1
    # its data collector ran too
    assert len(model.datacollector.get_model_vars_dataframe()) == 2


def test_an_episode_is_cut_and_the_next_model_made() -> None:
    made: list[Any] = []
    worlds = wealth(2, made=made, episode_ticks=3)
    observed = begun(worlds, 5)
    for tick in range(3):
        stepped = worlds.step(all_do(observed, MOVE))
        assert stepped.truncated.all() == (tick == 2) and not stepped.terminated.any()
        observed = stepped.observed
    assert stepped.final_rows.tolist() == list(range(12))
    # the first of all was looked at, two were begun, two more now
    assert len(made) == 5 and observed.episodes.tolist() == [2] * 6 + [3] * 6


@pytest.mark.parametrize("make", [wealth, sheep], ids=["wealth", "sheep"])
def test_they_keep_the_promises_of_a_simulation(make: Callable[..., MesaWorlds]) -> None:
    check_simulation(make(2), seed=4, ticks=60)


def test_schelling_keeps_the_promises_and_ends_when_all_are_happy() -> None:
    def moves(agent: Any) -> None:
        if not agent.happy:
            agent.cell = agent.model.grid.select_random_empty_cell()

    worlds = MesaWorlds(
        lambda seed: example(Schelling, seed, width=8, height=8, density=0.6, homophily=0.3),
        actions={"move": moves, "stay": lambda agent: None},
        observe=lambda agent: {"happy": float(agent.happy), "action_mask": [not agent.happy, True]},
        reward=lambda agent: float(agent.happy),
        num_worlds=2,
        episode_ticks=60,
        max_agents=64,
    )
    check_simulation(worlds, seed=2, ticks=80)
    observed, ended = begun(worlds, 6), 0
    for _ in range(50):
        assert observed.action_mask is not None
        assert (observed.action_mask[:, 0] == (observed.observations["happy"] == 0.0)).all()
        stepped = worlds.step((~observed.action_mask[:, 0]).astype(np.int64))
        if stepped.terminated.any():
            over = set(observed.worlds[stepped.final_rows].tolist())
            assert stepped.terminated.tolist() == [world in over for world in observed.worlds.tolist()]
            assert (stepped.final_observations["happy"] == 1.0).all() and (
                stepped.rewards[stepped.final_rows] == 1
            ).all()
            ended += 1
        observed = stepped.observed
    assert ended > 0


def test_who_cannot_choose_decides_nothing() -> None:
    worlds = MesaWorlds(
        lambda seed: example(Schelling, seed, width=8, height=8, density=0.6),
        actions={"stay": lambda agent: None, "move": lambda agent: agent.step},
        observe=lambda agent: {"happy": float(agent.happy), "action_mask": [0, 0] if agent.happy else [1, 1]},
        reward=lambda agent: float(agent.happy),
        max_agents=64,
    )
    spec = worlds.spec
    policy = UniformPolicy(vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes)
    collector = Collector(OneGroup(worlds), config=BridgeConfig(), seed=1, max_rows=9999)
    batch = collector.collect({AGENTS: policy}, num_ticks=3, ratio=1.0).batches[AGENTS]
    happy = batch.observations["happy"] == 1.0
    assert 0 < happy.sum() < len(happy)
    assert (batch.columns["kind"] == np.where(happy, Kind.FORCED, Kind.DECISION)).all()


def test_sheep_are_born_and_eaten() -> None:
    worlds = sheep(episode_ticks=200)
    observed = begun(worlds, 9)
    assert len(observed.slots) == 12 and set(observed.observations) == {"energy", "around"}
    born = eaten = 0
    for _ in range(40):
        before = set(observed.agent_ids.tolist())
        stepped = worlds.step(all_do(observed, 1))
        after = set(stepped.observed.agent_ids.tolist())
        gone = set(observed.agent_ids[stepped.terminated].tolist())
        if stepped.truncated.any() or not after:
            break
        assert gone == before - after
        # what one that is gone saw last is its final observation
        rows = stepped.terminated.nonzero()[0]
        np.testing.assert_array_equal(stepped.final_observations["energy"], observed.observations["energy"][rows])
        born, eaten = born + len(after - before), eaten + len(gone)
        observed = stepped.observed
    assert born > 5 and eaten > 5


def test_where_nobody_is_left_the_next_model_begins() -> None:
    worlds = MesaWorlds(
        lambda seed: example(WolfSheep, seed, width=8, height=8, initial_sheep=3, initial_wolves=1),
        actions={"stay": lambda agent: None, "leave": lambda agent: agent.remove()},
        observe=lambda agent: agent.energy,
        reward=lambda agent: 1.0,
        agent_type=Sheep,
        num_worlds=2,
    )
    observed = begun(worlds, 0)
    stepped = worlds.step((observed.worlds == 0).astype(np.int64))
    assert stepped.terminated[:3].all() and stepped.rewards.tolist() == [1.0] * 6
    now = stepped.observed
    assert now.episodes[now.worlds == 0].tolist() == [2] * 3 and set(now.episodes[now.worlds == 1].tolist()) <= {1}


def test_a_script_and_scores() -> None:
    def rich(seen: Any, agent_id: str) -> int:
        return OWN if seen["observation"][0] > 1 else STAY

    def make(num_worlds: int) -> OneGroup:
        return OneGroup(wealth(num_worlds, controller=lambda spec: ObservationController(rich)))

    evaluator = Evaluator(make, config=BridgeConfig(), seed=0, num_worlds=3)
    scores = evaluator.baseline("scripted", seeds=np.arange(5))
    # nobody has more than 1 at first, so nobody ever gives: 30 ticks of wealth 1
    assert scores.returns == (30.0,) * 5


def test_models_that_are_over_are_forgotten() -> None:
    made: list[weakref.ref[Any]] = []

    def make(seed: int) -> Any:
        model = example(BoltzmannWealth, seed, n=3, width=3, height=3)
        made.append(weakref.ref(model))
        return model

    worlds = MesaWorlds(
        make,
        actions={"stay": lambda agent: None, "move": lambda agent: agent.move()},
        observe=lambda agent: agent.wealth,
        reward=lambda agent: 0.0,
        episode_ticks=2,
    )
    observed = begun(worlds, 0)
    for _ in range(40):
        observed = worlds.step(all_do(observed, 1)).observed
    gc.collect()
    assert len(made) == 22 and sum(one() is not None for one in made) == 1
    worlds.close()
    gc.collect()
    assert not any(one() for one in made)


def fails(agent: Any) -> Any:
    raise RuntimeError("no more")


WRONG: dict[str, dict[str, Any]] = {
    "world 1, agent 'MoneyAgent_2', tick 0: `action` failed with RuntimeError: no more": {
        "actions": {"stay": lambda agent: None, "move": lambda agent: fails(agent) if agent.unique_id == 2 else None}
    },
    "world 0, agent 'MoneyAgent_1', tick 0: `reward` failed with RuntimeError: no more": {"reward": fails},
    "world 0, agent 'MoneyAgent_1', tick 0: expected a finite reward, got nan": {"reward": lambda agent: np.nan},
    "world 0, agent 'MoneyAgent_1', tick 0: expected a finite reward, got 1e\\+39": {"reward": lambda agent: 1e39},
    r"world 0, agent 'MoneyAgent_3', tick 1: expected finite `observation` of shape \(1,\), got \[1.0, 1.0\]": {
        "observe": lambda agent: [1.0] * (1 + (agent.model.steps == 1 and agent.unique_id == 3))
    },
    r"world 0, agent 'MoneyAgent_1', tick 1: expected finite `observation` of shape \(1,\), got \[inf\]": {
        "observe": lambda agent: [1e300 if agent.model.steps == 1 else 0.0]
    },
    r"world 0, .*tick 1: expected observations \['a'\], got \['b'\]": {
        "observe": lambda agent: {"b" if agent.model.steps else "a": 1.0}
    },
    r"world 0, agent 'MoneyAgent_1', tick 1: expected an action mask of 2 zeros and ones, got \[2.0, 1.0\]": {
        "actions": {"stay": lambda agent: None, "move": lambda agent: None},
        "observe": lambda agent: {"a": 0.0, "action_mask": [2 if agent.model.steps else 1, 1]},
    },
    "world 0, tick 0: `step` failed with RuntimeError: no more": {"advance": fails},
}


@pytest.mark.parametrize("problem", WRONG)
def test_what_fails_is_named_with_world_agent_and_tick(problem: str) -> None:
    worlds = wealth(2, **WRONG[problem])
    observed = begun(worlds, 0)
    moves = np.where(observed.worlds == 1, 1, 0)
    with pytest.raises(EnvironmentFaultError, match=f"^mesa:BoltzmannWealth, {problem}"):
        worlds.step(moves)


def test_more_agents_than_there_is_room_for_are_named() -> None:
    worlds = MesaWorlds(
        lambda seed: example(WolfSheep, seed, width=8, height=8, initial_sheep=5, initial_wolves=1),
        actions={"stay": lambda agent: None, "bear": lambda agent: agent.spawn_offspring()},
        observe=lambda agent: agent.energy,
        reward=lambda agent: 0.0,
        agent_type=Sheep,
        max_agents=7,
    )
    observed = begun(worlds, 0)
    with pytest.raises(
        EnvironmentFaultError, match=r"world 0, tick 0: expected at most 7 agents \(`max_agents`\), got (?:8|9|10)"
    ):
        worlds.step(all_do(observed, 1))


def test_what_cannot_be_a_world_is_refused() -> None:
    with pytest.raises(SimulationError, match="expected an action and a world"):
        wealth(actions={})
    with pytest.raises(SimulationError, match="expected an action and a world"):
        wealth(0)
    with pytest.raises(SimulationError, match="`mesa:BoltzmannWealth` begins without agents of type Sheep"):
        wealth(agent_type=Sheep)
    with pytest.raises(EnvironmentFaultError, match="`make` failed with RuntimeError: no more"):
        MesaWorlds(fails, actions={"a": fails}, observe=fails, reward=fails)
    with pytest.raises(EnvironmentFaultError, match="`observe` failed with RuntimeError: no more"):
        wealth(observe=fails)
    with pytest.raises(EnvironmentFaultError, match="expected an action mask of 3 zeros and ones"):
        wealth(observe=lambda agent: {"a": 1.0, "action_mask": [1, 1]})
    worlds = wealth()
    for call in (lambda: worlds.step(np.zeros(6, np.int64)), worlds.save_state):
        with pytest.raises(SimulationError, match="expected `reset` before"):
            call()
    begun(worlds, 0)
    with pytest.raises(SimulationError, match=r"expected actions of shape \(6,\), got \(5,\)"):
        worlds.step(np.zeros(5, np.int64))


def test_a_model_with_chance_of_its_own_cannot_be_restored() -> None:
    chance = random.Random(0)
    worlds = wealth(observe=lambda agent: chance.random())
    begun(worlds, 0)
    state = worlds.save_state()
    with pytest.raises(EnvironmentFaultError, match="not deterministic and cannot be resumed exactly"):
        worlds.restore(state)
