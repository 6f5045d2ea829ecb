import numpy as np
import pytest
from numpy.typing import NDArray

from townlet_behavior import (
    BatchController,
    BridgeConfig,
    Guardrail,
    IdleController,
    StatelessGuardrail,
    Verdicts,
    View,
)
from townlet_runtime.adapters.equipped import Equipment, EquippedSimulation, WithScript
from townlet_runtime.core.loop import GroupedLoop, runtimes_of
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import AGENTS, SimulationSpec
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.simulation.script import script_side
from townlet_runtime.testing import Corridor, check_grouped_simulation

WAIT, RIGHT = 0, 2
BRIDGE = BridgeConfig()


def rightward(spec: SimulationSpec) -> BatchController:
    return IdleController(wait=spec.vocabulary.index("right"))


class Halt(StatelessGuardrail):
    """Nobody may walk to the right."""

    reasons = ("halt",)

    def review(self, view: View, actions: NDArray[np.int64]) -> Verdicts:
        vetoed = actions == RIGHT
        return Verdicts(vetoed=vetoed, replacement=actions * 0, reason=np.zeros(len(actions), np.int8))


def halt(spec: SimulationSpec) -> Guardrail:
    return Halt()


def test_nothing_named_is_the_world_itself() -> None:
    corridor = OneGroup(Corridor())
    assert Equipment().of(corridor) is corridor


def test_the_named_controller_is_the_script_and_the_world_keeps_its_other_behaviors() -> None:
    worlds = Equipment(controller=rightward).of(OneGroup(Corridor()))
    assert worlds.behaviors == ("scripted", "nearest", "idle")
    seen = worlds.reset(seeds=np.array([1]))["agents"]
    assert set(worlds.scripted("scripted")["agents"].propose(seen).tolist()) == {RIGHT}
    assert set(worlds.scripted("idle")["agents"].propose(seen).tolist()) == {WAIT}
    with pytest.raises(SimulationError, match="got 'unknown'"):
        worlds.scripted("unknown")


def test_named_guardrails_have_the_last_word_over_the_script() -> None:
    worlds = Equipment(controller=rightward, guardrails=(halt,)).of(OneGroup(Corridor()))
    runtimes = runtimes_of(worlds, script_side(worlds), config=BRIDGE, policies=None, services=None, seed=1)
    loop = GroupedLoop(worlds, runtimes)
    loop.reset(2)
    report = loop.run_for(10)
    assert report.vetoes == report.agent_ticks > 0
    assert runtimes["agents"].counts().vetoes["halt"] == report.vetoes


def test_an_equipped_world_keeps_the_promises_of_a_grouped_simulation() -> None:
    worlds = Equipment(controller=rightward, guardrails=(halt,)).of(OneGroup(Corridor(num_worlds=2)))
    assert isinstance(worlds, EquippedSimulation) and worlds.render() is None
    check_grouped_simulation(worlds, seed=1, ticks=30)


class Held(IdleController):
    """Falls back on a script, and holds something."""

    def __init__(self, script: BatchController) -> None:
        super().__init__(wait=0)
        self._script = script
        self.times_closed = 0

    def propose(self, view: View) -> NDArray[np.int64]:
        return self._script.propose(view)

    def close(self) -> None:
        self.times_closed += 1


def test_a_controller_beside_the_worlds_own_script_is_closed_with_the_world() -> None:
    made: list[Held] = []

    def beside(spec: SimulationSpec, script: BatchController) -> BatchController:
        made.append(Held(script))
        return made[-1]

    worlds = Equipment(controller=beside).of(OneGroup(Corridor()))
    seen = worlds.reset(seeds=np.array([1]))["agents"]
    own = Corridor().scripted("scripted").propose(seen)
    assert worlds.scripted("scripted")["agents"].propose(seen).tolist() == own.tolist()
    worlds.close()
    assert [one.times_closed for one in made] == [1]


def test_another_behavior_can_stand_for_the_script() -> None:
    corridor = OneGroup(Corridor(num_worlds=1))
    view = corridor.reset(seeds=np.array([1]))[AGENTS]
    shown = WithScript(corridor, "idle")
    assert (shown.scripted("scripted")[AGENTS].propose(view) == WAIT).all()
    assert (shown.scripted("nearest")[AGENTS].propose(view) == RIGHT).all()
    assert shown.specs == corridor.specs and shown.behaviors == corridor.behaviors
