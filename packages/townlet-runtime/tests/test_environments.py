import subprocess
import sys
from typing import Any

import pytest

from townlet_runtime.adapters.registry import Environment
from townlet_runtime.errors import ConfigError, EnvironmentFaultError, TownletError

WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "{absent}":
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
from townlet_runtime.adapters.registry import Environment
from townlet_runtime.errors import MissingExtraError
assert not {{"gymnasium", "pettingzoo"}} & set(sys.modules), "imported too early"
try:
    Environment(name="{name}")(1)
except MissingExtraError as error:
    assert "install 'townlet-runtime[{absent}]'" in str(error), error
else:
    raise SystemExit("expected a MissingExtraError")
"""


@pytest.mark.parametrize(
    ("absent", "name"),
    [("gymnasium", "gymnasium:CartPole-v1"), ("gymnasium", "pettingzoo:x"), ("pettingzoo", "pettingzoo:x")],
)
def test_a_missing_extra_is_named(absent: str, name: str) -> None:
    if absent == "pettingzoo":
        pytest.importorskip("gymnasium")
    subprocess.run([sys.executable, "-c", WITHOUT.format(absent=absent, name=name)], check=True)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": "town"}, "`environment.name`: the embedded town is built by `townlet_runtime.town.Town`"),
        ({"name": "gymnasium:"}, "`environment.name`"),
        ({"name": "gym:CartPole-v1"}, "`environment.name`"),
        ({"name": "gymnasium:x", "vectorization": "async"}, "`environment.vectorization`: expected one of"),
        (
            {"name": "gymnasium:x", "max_episode_ticks": 0},
            "`environment.max_episode_ticks`: expected at least 1, got 0",
        ),
    ],
)
def test_a_field_that_cannot_be_meant_is_named(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Environment(**fields)


def test_a_name_that_is_not_registered_is_told_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"no world `twon` is registered .* \(there are: town\); did you mean town"):
        Environment(name="twon")(1)
    with pytest.raises(ConfigError, match="the world 'nowhere:make' cannot be imported: ModuleNotFoundError"):
        Environment(name="nowhere:make")(1)


def test_there_must_be_a_world() -> None:
    with pytest.raises(ConfigError, match="expected at least one world, got 0"):
        Environment(name="gymnasium:CartPole-v1")(0)


def test_worlds_with_seeds_of_their_own_are_stepped_one_by_one() -> None:
    environment = Environment(name="gymnasium:CartPole-v1", settings={"x": 1}, max_episode_ticks=5)
    alone = environment.stepped_alone()
    assert (alone.vectorization, alone.settings, alone.max_episode_ticks) == ("sync", {"x": 1}, 5)


def test_a_fault_says_as_much_as_is_known() -> None:
    assert str(EnvironmentFaultError("e", "why")) == "e: why"
    full = EnvironmentFaultError("e", "why", world=0, agent_id="a", tick=3)
    assert str(full) == "e, world 0, agent 'a', tick 3: why"
    assert (full.environment, full.problem, full.world, full.agent_id, full.tick) == ("e", "why", 0, "a", 3)
    assert isinstance(full, TownletError)
