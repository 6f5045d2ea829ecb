"""A thousand ticks of other people's worlds in which script, policy and a person decide side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from townlet_behavior import BridgeConfig, Kind, Source
from townlet_runtime import Environment, Evaluator, ObservationController, OneGroup, SimulationSpec, schema_of
from townlet_runtime.core.loop import GroupedLoop, runtimes_of
from townlet_runtime.simulation.interface import GroupedSimulation, Observations
from townlet_runtime.simulation.script import script_side
from townlet_trajectory import TrajectoryBatch, TrajectoryService

TICKS = 1000
PARALLEL = {
    "equal spaces": "pettingzoo:mpe2.simple_spread_v3",
    "unequal spaces": "pettingzoo:mpe2.simple_speaker_listener_v4",
    "predators and prey": "pettingzoo:mpe2.simple_tag_v3",
    "sisl": "pettingzoo:pettingzoo.sisl.pursuit_v5",
    "in turn": "pettingzoo:pettingzoo.classic.tictactoe_v3",
    "in turn, longer": "pettingzoo:pettingzoo.classic.connect_four_v3",
}


@dataclass
class Linear:
    """A softmax of the observations by fixed random weights, which a mask restricts."""

    spec: SimulationSpec

    def __post_init__(self) -> None:
        size = sum(int(np.prod(shape)) for shape in self.spec.observation_shapes.values())
        self.weights = np.random.default_rng(3).normal(0.0, 0.1, (size, len(self.spec.vocabulary))).astype(np.float32)

    def act(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        flat = [array.reshape(len(array), -1) for array in observations.values()]
        logits = np.tanh(np.concatenate(flat, axis=1) @ self.weights).astype(np.float64)
        lowest = float(np.finfo(np.float32).min)
        if action_mask is not None:
            logits = np.where(action_mask, logits, lowest)
        log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        return np.maximum(log_probs, lowest).astype(np.float32), np.zeros(len(logits), np.float32)


def lowest_legal(spec: SimulationSpec) -> ObservationController:
    """A script that always proposes the last action; the mask replaces it where it is not legal."""
    return ObservationController(lambda seen, agent_id: len(spec.vocabulary) - 1)


def mix(worlds: GroupedSimulation, *, ticks: int = TICKS) -> Mapping[str, TrajectoryBatch]:
    """Let policy and script decide half of the time each, and a person for an agent of every group now and then."""
    services = {
        group: TrajectoryService(
            schema_of(spec, masked=masked_of(worlds)[group]), max_rows=ticks * spec.capacity, on_full="raise"
        )
        for group, spec in worlds.specs.items()
    }
    runtimes = runtimes_of(
        worlds,
        script_side(worlds),
        config=BridgeConfig(ratio=0.5),
        policies={group: Linear(spec) for group, spec in worlds.specs.items()},
        services=services,
        seed=5,
    )
    loop = GroupedLoop(worlds, runtimes)
    loop.reset(seed=2)
    generator = np.random.default_rng(0)
    for tick in range(ticks):
        for group, runtime in runtimes.items():
            observed = runtime.observed
            assert observed is not None
            if not len(observed.slots):
                continue
            row = int(generator.integers(len(observed.slots)))
            agent, world = str(observed.agent_ids[row]), int(observed.worlds[row])
            if tick % 10 == 0:
                runtime.acquire_possession(agent, world=world, lease_ticks=5)
            if runtime.is_possessed(agent, world=world):
                legal = np.ones(len(worlds.specs[group].vocabulary), np.bool_)
                if observed.action_mask is not None:
                    legal = observed.action_mask[row]
                action = worlds.specs[group].vocabulary.keys[int(generator.choice(legal.nonzero()[0]))]
                runtime.feed_action(agent, action, world=world)
        loop.step()
    worlds.close()
    return {group: service.collect() for group, service in services.items()}


def masked_of(worlds: GroupedSimulation) -> Mapping[str, bool]:
    """Whether the actions of each group are masked."""
    num_worlds = next(iter(worlds.specs.values())).num_worlds
    observed = worlds.reset(seeds=np.arange(num_worlds))
    return {group: one.action_mask is not None for group, one in observed.items()}


def require_mixed(batches: Mapping[str, TrajectoryBatch]) -> None:
    """Everybody decided; probabilities are known where a draw was free, and nowhere else; masks were kept."""
    for batch in batches.values():
        columns = batch.columns
        assert set(columns["source"].tolist()) == set(Source)
        possessed = columns["source"] == Source.EXTERNAL
        assert 0.0 < possessed.mean() < 0.5
        decided = columns["kind"] == Kind.DECISION
        learned = (columns["source"] == Source.LEARNED)[decided].mean()
        assert 0.4 < learned < 0.6
        assert not decided[possessed].any() and not columns["behavior_log_prob"][~decided].any()
        if "action_mask" in batch.observations:
            legal = batch.observations["action_mask"]
            assert legal[np.arange(len(legal)), columns["action"]].all()
            alone = legal.sum(axis=1) == 1
            assert (columns["kind"][alone & ~possessed] == Kind.FORCED).all()
        assert all(np.isfinite(array).all() for array in batch.observations.values())


@pytest.mark.parametrize("name", PARALLEL.values(), ids=PARALLEL)
def test_in_worlds_of_pettingzoo(name: str) -> None:
    pytest.importorskip("pettingzoo")
    pytest.importorskip(name.removeprefix("pettingzoo:"), exc_type=ImportError)
    batches = mix(Environment(name=name, controller=lowest_legal)(2))
    require_mixed(batches)
    rows = sum(batch.num_steps for batch in batches.values())
    assert rows > TICKS * len(batches)


def test_in_a_butterfly_world_of_images() -> None:
    name = "pettingzoo.butterfly.cooperative_pong_v6"
    pytest.importorskip(name, exc_type=ImportError)
    worlds = Environment(name=f"pettingzoo:{name}", controller=lowest_legal)(1)
    (spec,) = worlds.specs.values()
    ((observation, shape),) = spec.observation_shapes.items()
    assert spec.observation_kinds == {observation: "image"}
    assert shape[0] == 3 and min(shape[1:]) > 100
    # an image of a tick takes megabytes: no thousand of them is kept
    require_mixed(mix(worlds, ticks=120))


def wealth(num_worlds: int) -> OneGroup:
    from mesa.examples import BoltzmannWealth

    from townlet_runtime import MesaWorlds

    def make(seed: int) -> Any:
        try:
            return BoltzmannWealth(n=10, width=5, height=5, seed=seed)
        except TypeError:  # a later Mesa
            from mesa.examples.basic.boltzmann_wealth_model.model import BoltzmannScenario

            return BoltzmannWealth(scenario=BoltzmannScenario(n=10, width=5, height=5, rng=seed))

    return OneGroup(
        MesaWorlds(
            make,
            actions={
                "stay": lambda agent: None,
                "move": lambda agent: agent.move(),
                "give": lambda agent: agent.give_money(),
            },
            observe=lambda agent: {
                "seen": [agent.wealth, len(agent.cell.agents)],
                "action_mask": [True, True, agent.wealth > 0],
            },
            reward=lambda agent: agent.wealth,
            num_worlds=num_worlds,
            episode_ticks=100,
            controller=lowest_legal,
        )
    )


def test_in_a_model_of_mesa() -> None:
    pytest.importorskip("mesa")
    batches = mix(wealth(2))
    require_mixed(batches)
    (batch,) = batches.values()
    assert batch.num_steps == TICKS * 20
    # money is given, and never made: ten each in both worlds at every tick
    assert batch.rewards.sum() == TICKS * 20


def test_with_trees_of_py_trees_in_an_environment_of_gymnasium() -> None:
    """A tree with memory pushes the cart twice to the side it leans to, then looks again."""
    py_trees = pytest.importorskip("py_trees")
    pytest.importorskip("gymnasium")
    from townlet_runtime import tree_script

    def push(side: str, leans: Callable[[Any, float], bool], action: int) -> Any:
        seen = py_trees.common.ComparisonExpression("observation", 0.0, leans)
        choose = [
            py_trees.behaviours.SetBlackboardVariable(f"push {side}", "action", action, overwrite=True)
            for _ in range(2)
        ]
        once = py_trees.behaviours.TickCounter(f"{side} once", 0, py_trees.common.Status.SUCCESS)
        look = py_trees.behaviours.CheckBlackboardVariableValue(f"leans {side}?", seen)
        return py_trees.composites.Sequence(side, memory=True, children=[look, choose[0], once, choose[1]])

    def make() -> Any:
        left = push("left", lambda array, value: array[2] < value, 0)
        right = push("right", lambda array, value: array[2] >= value, 1)
        return py_trees.composites.Selector("balance", memory=False, children=[left, right])

    worlds = Environment(name="gymnasium:CartPole-v1", controller=tree_script(make))
    require_mixed(mix(worlds(4)))
    # alone it balances longer than chance does
    evaluator = Evaluator(worlds.stepped_alone(), config=BridgeConfig(), seed=1, num_worlds=5)
    scores = {name: evaluator.baseline(name, seeds=np.arange(10)).mean for name in ("scripted", "random")}
    assert scores["scripted"] > 1.5 * scores["random"], scores
