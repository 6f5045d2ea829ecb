import importlib
import subprocess
import sys

import numpy as np
import pytest
from crossing import Crossing
from strategies import LinearPolicy, bridge_config

from townlet_behavior import BridgeConfig
from townlet_runtime.core.collector import SimulationCollector
from townlet_runtime.core.evaluator import SimulationEvaluator
from townlet_runtime.simulation.interface import OneGroup
from townlet_runtime.testing import Corridor, CorridorConfig

CONFIG = CorridorConfig(length=4, episode_ticks=15)

WITHOUT = """
import sys
from importlib.abc import MetaPathFinder
from types import ModuleType

class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "{absent}":
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
if "{absent}" != "torch":
    sys.modules["torch"] = ModuleType("torch")  # not asked for anything before the other one is missed
try:
    import townlet_runtime._training
except ImportError as error:
    raise SystemExit(f"expected a MissingExtraError, got {{error!r}}")
except Exception as error:
    assert type(error).__name__ == "MissingExtraError", error
    assert str(error) == "training needs `{absent}`: install 'townlet-runtime[training]'", error
else:
    raise SystemExit("expected a MissingExtraError")
"""

LIGHT = """
import sys
import {module}
heavy = {{"torch", "townlet_training"}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("absent", ["torch", "townlet_training"])
def test_a_missing_extra_is_named(absent: str) -> None:
    subprocess.run([sys.executable, "-c", WITHOUT.format(absent=absent)], check=True)


@pytest.mark.parametrize("module", ["collector", "evaluate", "loop", "policies", "testing"])
def test_nothing_else_imports_what_trains(module: str) -> None:
    subprocess.run([sys.executable, "-c", LIGHT.format(module=f"townlet_runtime.{module}")], check=True)


def test_the_package_itself_imports_nothing() -> None:
    code = "import sys, townlet_runtime; assert 'numpy' not in sys.modules and 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_was_collected_arrives_as_training_knows_it() -> None:
    pytest.importorskip("townlet_training")
    training = importlib.import_module("townlet_runtime._training")
    corridor = Corridor(CONFIG, num_worlds=2)
    policy = LinearPolicy(corridor.spec, seed=1)

    def worlds() -> SimulationCollector:
        return SimulationCollector(
            OneGroup(Corridor(CONFIG, num_worlds=2)), config=bridge_config(corridor), seed=1, max_rows=1000
        )

    collected = training.TrainingCollector(worlds()).collect({"agents": policy}, num_ticks=12, ratio=0.5)
    plain = worlds().collect({"agents": policy}, num_ticks=12, ratio=0.5)
    rewards = collected.batches["agents"].rewards
    np.testing.assert_array_equal(rewards, plain.batches["agents"].rewards)
    assert collected.events == plain.report.events and collected.events["exits"] > 0
    assert collected.decisions_by_source == plain.report.decisions_by_source
    assert collected.ticks_by_source == plain.report.ticks_by_source
    assert (collected.env_steps, collected.agent_steps) == (plain.env_steps, len(rewards))
    assert 12 < plain.env_steps <= 24
    assert collected.vetoes == 0
    alone = training.TrainingCollector(worlds()).collect(None, num_ticks=3, ratio=0.0)
    assert alone.ticks_by_source["learned"] == 0


def test_a_collector_taken_up_goes_on_as_the_saved_one() -> None:
    pytest.importorskip("townlet_training")
    training = importlib.import_module("townlet_runtime._training")

    def collector():
        simulation = Crossing(2)
        columns = BridgeConfig(ratio=0.0)
        return training.TrainingCollector(SimulationCollector(simulation, config=columns, seed=3, max_rows=1000))

    saved, other = collector(), collector()
    actors = {group: LinearPolicy(spec, seed=1) for group, spec in Crossing(2).specs.items()}
    assert saved.collect(actors, num_ticks=9, ratio=0.5).batches.keys() == {"long", "short"}
    state = saved.save_state()
    assert state is not None
    other.restore(state)
    ours, theirs = (each.collect(actors, num_ticks=9, ratio=0.5) for each in (saved, other))
    for group in ("long", "short"):
        np.testing.assert_array_equal(ours.batches[group].rewards, theirs.batches[group].rewards)
        np.testing.assert_array_equal(ours.batches[group].columns["action"], theirs.batches[group].columns["action"])
    assert ours.events == theirs.events


def test_scores_arrive_as_training_knows_them() -> None:
    pytest.importorskip("townlet_training")
    training = importlib.import_module("townlet_runtime._training")
    corridor = Corridor(CONFIG)
    policy = LinearPolicy(corridor.spec, seed=1)

    def make(num_worlds: int) -> OneGroup:
        return OneGroup(Corridor(CONFIG, num_worlds=num_worlds))

    plain = SimulationEvaluator(make, config=bridge_config(corridor), seed=0)
    judge = training.TrainingEvaluator(plain, {"agents": corridor.spec})
    scores = judge.evaluate({"agents": policy}, num_episodes=3, first_seed=7, sample=True)
    expected = plain.evaluate({"agents": policy}, num_episodes=3, first_seed=7, sample=True)
    np.testing.assert_array_equal(scores.returns, expected.returns)
    np.testing.assert_array_equal(scores.events["exits"], expected.events["exits"])
    assert scores.seeds.tolist() == [7, 8, 9]
    baseline = judge.baseline("scripted", num_episodes=3, first_seed=7)
    np.testing.assert_array_equal(baseline.returns, plain.baseline("scripted", num_episodes=3, first_seed=7).returns)
