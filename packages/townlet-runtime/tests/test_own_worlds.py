import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crossing import Crossing

from townlet_runtime.adapters.own_worlds import own_worlds
from townlet_runtime.adapters.registry import Environment
from townlet_runtime.errors import ConfigError, EnvironmentFaultError
from townlet_runtime.simulation.interface import GroupedSimulation, Observed, Stepped
from townlet_runtime.testing import Corridor, check_grouped_simulation

SEEDS = np.array([3, 4])


def corridors(num_worlds: int) -> Corridor:
    return Corridor(num_worlds=num_worlds)


class Needing:
    """A simulation of the three members that it needs."""

    def __init__(self, num_worlds: int, fails_at: int = -1) -> None:
        self._inner = Corridor(num_worlds=num_worlds)
        self.spec = self._inner.spec
        self._left = fails_at

    def reset(self, *, seeds: np.ndarray) -> Observed:
        return self._inner.reset(seeds=seeds)

    def step(self, actions: np.ndarray) -> Stepped:
        if self._left == 0:
            raise KeyError("broken")
        self._left -= 1
        return self._inner.step(actions)


def built(factory: Callable[..., Any], **settings: Any) -> GroupedSimulation:
    return own_worlds("mine", factory, num_worlds=2, settings=settings)


@pytest.mark.parametrize("factory", [corridors, Crossing, Needing])
def test_worlds_of_ones_own_keep_the_promises_of_a_grouped_simulation(factory: Callable[..., Any]) -> None:
    check_grouped_simulation(built(factory), seed=1, ticks=30)


def test_a_simulation_needs_no_more_than_three_members() -> None:
    worlds = built(Needing)
    assert worlds.behaviors == () and worlds.guardrails() == {"agents": ()}
    assert worlds.save_state() is None
    worlds.close()


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        (lambda num_worlds: "no world", r"expected a `Simulation` \(spec, reset, step\) or a whole .*, got 'no world'"),
        (lambda num_worlds: Corridor(num_worlds=num_worlds + 1), "must have the 2 worlds of `num_worlds`, got 3"),
        (lambda worlds: Corridor(num_worlds=worlds), "must take `num_worlds`, the number of worlds side by side, and"),
        (lambda num_worlds: 1 // 0, "raised ZeroDivisionError"),
    ],
)
def test_a_function_that_builds_no_worlds_is_told_what_to_build(factory: Callable[..., Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^the world `mine`:? {problem}"):
        built(factory)


def test_a_setting_that_it_does_not_take_is_named() -> None:
    with pytest.raises(ConfigError, match="`environment.settings` as keyword arguments: got an unexpected .* 'size'"):
        built(corridors, size=3)


def test_an_exception_names_the_world_the_call_and_the_tick() -> None:
    worlds = built(Needing, fails_at=2)
    observed = worlds.reset(seeds=SEEDS)
    for _ in range(2):
        observed = {
            group: one.observed
            for group, one in worlds.step({group: one.slots * 0 for group, one in observed.items()}).items()
        }
    with pytest.raises(EnvironmentFaultError, match="^mine, tick 2: `step`: KeyError: 'broken'$") as caught:
        worlds.step({group: one.slots * 0 for group, one in observed.items()})
    assert isinstance(caught.value.__cause__, KeyError)


def test_the_first_view_of_several_groups_is_checked() -> None:
    class Alike(Crossing):
        def reset(self, *, seeds: np.ndarray) -> dict[str, Observed]:
            seen = dict(super().reset(seeds=seeds))
            same = np.full(len(seen["long"].slots), "bob", np.object_)
            return {**seen, "long": replace(seen["long"], agent_ids=same)}

    with pytest.raises(EnvironmentFaultError, match="^mine, tick 0: `reset`: .*bob"):
        own_worlds("mine", Alike, num_worlds=1, settings={"places": 3}).reset(seeds=SEEDS[:1])


def test_a_function_may_make_environments_of_gymnasium_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gymnasium")
    (tmp_path / "poles.py").write_text(BLIND)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    worlds = Environment(name="poles:blind", settings={"places": 2})(3)
    (spec,) = worlds.specs.values()
    assert (spec.name, spec.num_worlds, spec.episode_ticks) == ("poles:blind", 3, 500)
    assert (spec.observation_shapes, len(spec.vocabulary)) == ({"observation": (2,)}, 2)
    check_grouped_simulation(worlds, seed=1, ticks=60)
    bound = Environment(name="poles:blind", max_episode_ticks=7)(1)
    assert bound.specs["agents"].episode_ticks == 7
    with pytest.raises(ConfigError, match="`poles:blind` cannot be built: TypeError: .*'holes'"):
        Environment(name="poles:blind", settings={"holes": 2})(1)
    with pytest.raises(ConfigError, match="`environment.global_state`: `poles:blind` is no environment of PettingZoo"):
        Environment(name="poles:blind", global_state=True)(1)


BLIND = """
import gymnasium
from gymnasium.wrappers import TransformObservation


def blind(places=2):
    env = gymnasium.make("CartPole-v1")
    seen = gymnasium.spaces.Box(-5.0, 5.0, (places,))
    return TransformObservation(env, lambda observation: observation[[0, 2]], seen)
"""


@pytest.mark.parametrize("name", ["townlet_runtime.testing:Corridor", "gymnasium:CartPole-v1"])
def test_only_environments_of_pettingzoo_have_a_global_state(name: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"`{name}` is no environment of PettingZoo, .* `Simulation` says `critic_sha"
    ):
        Environment(name=name, global_state=True)(1)
