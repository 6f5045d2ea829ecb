import sys
from pathlib import Path

import numpy as np
import pytest
from beginnings import begun
from installed import install

from townlet_behavior import Box, MultiDiscrete
from townlet_runtime.adapters.controllers import (
    ObservationController,
    load_controller,
    load_guardrail,
    make_controller,
    registered_controller,
    registered_guardrail,
)
from townlet_runtime.errors import ConfigError, MissingExtraError, SimulationError
from townlet_runtime.simulation.interface import Closing
from townlet_runtime.testing import Corridor, CorridorConfig

MODULE = """
import numpy as np
from townlet_behavior import FirstOf, IdleController, PerAgent, StatelessGuardrail, Verdicts

RIGHT = 2

def make(spec):
    return IdleController(wait=len(spec.vocabulary) - RIGHT)

def wrong(spec):
    return "a controller"

class Rows:
    def locate(self, view, row):
        return view.observations["features"][row], view.agent_ids[row]

    def encode(self, intent, view, agent_id):
        return ("wait", "left", "right", "rest").index(intent)

def rules(spec):
    tired = lambda features, agent_id: "rest" if features[1] >= 1.0 else None
    return PerAgent(FirstOf([tired, lambda features, agent_id: "right"]), Rows())

def nothing():
    return "too little"

class Halt(StatelessGuardrail):
    reasons = ("halted",)

    def review(self, view, actions):
        everybody = np.ones(len(actions), np.int8)
        return Verdicts(vetoed=everybody.view(np.bool_), replacement=actions * 0, reason=everybody - everybody)

def halt(spec):
    return Halt()

class Beside(IdleController):
    closed = False

    def __init__(self, script):
        super().__init__(wait=0)
        self.script = script

    def propose(self, view):
        return self.script.propose(view)

    def close(self):
        type(self).closed = True

def beside(spec, script):
    return Beside(script)

class Broken(IdleController):
    def propose(self, view):
        raise KeyError("lost")

def broken(spec):
    return Broken(wait=0)

class BrokenHalt(Halt):
    def review(self, view, actions):
        raise KeyError("lost")

def broken_halt(spec):
    return BrokenHalt()

def failing(spec):
    raise KeyError("nothing there")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a module of the user's own."""
    (tmp_path / "my_scripts.py").write_text(MODULE)
    (tmp_path / "broken_script.py").write_text("raise RuntimeError('unfinished')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_scripts", raising=False)
    return tmp_path


def test_a_function_is_asked_for_each_agent_in_turn() -> None:
    corridor = Corridor(CorridorConfig(places=2, max_absence=1), num_worlds=2)
    seen = begun(corridor, 0)
    while len(seen.slots) < 4:
        seen = corridor.step(np.zeros(len(seen.slots), np.int64)).observed
    asked: list[tuple[str, tuple[int, ...]]] = []

    def decide(observations: dict[str, np.ndarray], agent_id: str) -> int:
        asked.append((agent_id, observations["map"].shape))
        return -1 if agent_id.startswith("visitor_0") else int(observations["features"][2] * 40)

    proposals = ObservationController(decide).propose(seen)
    assert proposals.tolist() == [-1, round(seen.observations["features"][1, 2] * 40)] * 2
    assert proposals.dtype == np.int64
    assert asked == [(agent_id, (1, 1, 6)) for agent_id in seen.agent_ids]


@pytest.mark.parametrize("action", [1.0, "1", None, np.zeros(2)])
def test_an_answer_that_is_no_index_is_named(action: object) -> None:
    seen = begun(Corridor(), 0)
    with pytest.raises(SimulationError, match="the script must propose an action index, got .* for 'visitor_0_1'"):
        ObservationController(lambda observations, agent_id: action).propose(seen)  # type: ignore[arg-type,return-value]


def test_integers_of_numpy_are_indices() -> None:
    seen = begun(Corridor(), 0)
    proposals = ObservationController(lambda observations, agent_id: np.int32(2)).propose(seen)
    assert proposals.tolist() == [2]


@pytest.mark.usefixtures("folder")
def test_a_module_of_the_working_folder_is_found() -> None:
    corridor = Corridor()
    controller = load_controller("my_scripts:make")(corridor.spec)
    assert controller.propose(begun(corridor, 0)).tolist() == [2]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("my_scripts", "expected the controller 'my_scripts' as `module:name`"),
        ("my_scripts:", "expected the controller '.*' as `module:name`"),
        (":make", "expected the controller '.*' as `module:name`"),
        ("my_scripts:make()", "expected the controller '.*' as `module:name`"),
        ("my-scripts:make", "expected the controller '.*' as `module:name`"),
        ("no_such_module:make", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("my_scripts:absent", "cannot be imported: AttributeError"),
        ("broken_script:make", "cannot be imported: RuntimeError: unfinished"),
        ("my_scripts:RIGHT", "the controller 'my_scripts:RIGHT' must be a function, got 2"),
    ],
)
def test_a_reference_that_leads_nowhere_is_named(reference: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_controller(reference)


@pytest.mark.usefixtures("folder")
def test_what_a_factory_makes_is_looked_at() -> None:
    spec = Corridor().spec
    with pytest.raises(ConfigError, match="'my_scripts:wrong' must make a `BatchController` .*, got 'a controller'"):
        load_controller("my_scripts:wrong")(spec)
    with pytest.raises(ConfigError, match=r"'my_scripts:wrong' must make a `Guardrail` \(reasons, .*, got 'a con"):
        load_guardrail("my_scripts:wrong")(spec)
    with pytest.raises(ConfigError, match="'my_scripts:nothing' must take one argument, the `SimulationSpec`"):
        load_controller("my_scripts:nothing")(spec)
    with pytest.raises(ConfigError, match="the controller 'my_scripts:failing' raised KeyError: 'nothing there'"):
        load_controller("my_scripts:failing")(spec)


@pytest.mark.usefixtures("folder")
def test_rules_for_one_agent_at_a_time_are_a_controller_too() -> None:
    corridor = Corridor(num_worlds=2)
    seen = begun(corridor, 0)
    script = load_controller("my_scripts:rules")(corridor.spec)
    assert script.propose(seen).tolist() == [3 if tired else 2 for tired in seen.observations["features"][:, 1] >= 1.0]
    while not (seen.observations["features"][:, 1] >= 1.0).any():
        seen = corridor.step(script.propose(seen)).observed
    assert 3 in script.propose(seen).tolist()


@pytest.mark.usefixtures("folder")
def test_exceptions_of_a_controller_or_a_guardrail_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path.cwd())
    install(Path.cwd(), {"townlet.guardrails": {"halt": "my_scripts:halt"}})
    corridor = Corridor()
    seen, actions = begun(corridor, 0), np.array([2])
    controller = load_controller("my_scripts:broken")(corridor.spec)
    guardrail = load_guardrail("my_scripts:broken_halt")(corridor.spec)
    with pytest.raises(SimulationError, match="^the controller 'my_scripts:broken' raised KeyError: 'lost'$"):
        controller.propose(seen)
    with pytest.raises(SimulationError, match="^the guardrail 'my_scripts:broken_halt' raised KeyError: 'lost'$"):
        guardrail.review(seen, actions)
    registered = registered_guardrail("halt")
    assert registered is not None and registered_guardrail("hlat") is None
    assert registered(corridor.spec).review(seen, actions).vetoed.tolist() == [True]
    assert registered(corridor.spec).reasons == ("halted",)


@pytest.mark.usefixtures("folder")
def test_a_registered_controller_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path.cwd())
    named = {"gymnasium:Mine-v0": "my_scripts:make", "bad": "no_such_module:make"}
    install(Path.cwd(), {"townlet.controllers": named})
    corridor = Corridor()
    factory = registered_controller("gymnasium:Mine-v0")
    assert factory is not None and factory(corridor.spec).propose(begun(corridor, 0)).tolist() == [2]
    assert registered_controller("gymnasium:Yours-v0") is None
    with pytest.raises(MissingExtraError, match="`bad` of .* `townlet.controllers` needs .*: No module .* 'no_such"):
        registered_controller("bad")


@pytest.mark.usefixtures("folder")
def test_a_factory_with_a_script_is_given_the_one_of_the_world() -> None:
    corridor = Corridor()
    factory, seen = load_controller("my_scripts:beside"), begun(corridor, 0)
    own = corridor.scripted("idle")
    assert make_controller(factory, corridor.spec, own).propose(seen).tolist() == own.propose(seen).tolist() == [0]
    assert factory(corridor.spec).propose(seen).tolist() == [-1]  # a world without a script
    without = make_controller(load_controller("my_scripts:make"), corridor.spec, own)
    assert without.propose(seen).tolist() == [2]


@pytest.mark.usefixtures("folder")
def test_a_controller_that_holds_threads_is_closed_by_its_name() -> None:
    controller = load_controller("my_scripts:beside")(Corridor().spec)
    assert isinstance(controller, Closing)
    controller.close()
    assert sys.modules["my_scripts"].Beside.closed
    still = load_controller("my_scripts:make")(Corridor().spec)
    assert isinstance(still, Closing)
    still.close()  # has nothing to close


PEDALS = Box(names=("steer", "gas"), low=(-1.0, 0.0), high=(1.0, 1.0))
MOVES = MultiDiscrete(parts={"move": ("stay", "go"), "hand": ("open", "closed")})


def test_a_function_of_one_agent_may_answer_with_an_array() -> None:
    seen = begun(Corridor(CorridorConfig(places=2, max_absence=1), num_worlds=2), 3)
    answers = {"visitor_0_1": [0.5, 1], "visitor_1_1": None}
    pedals = ObservationController(lambda observations, agent_id: answers[agent_id], actions=PEDALS)
    proposed = pedals.propose(seen)
    assert proposed.dtype == np.float32
    for row, agent_id in enumerate(seen.agent_ids.tolist()):
        np.testing.assert_array_equal(proposed[row], [np.nan] * 2 if answers[agent_id] is None else [0.5, 1.0])
    moves = ObservationController(lambda observations, agent_id: np.array([1, 0]), actions=MOVES).propose(seen)
    assert moves.dtype == np.int64 and moves.tolist() == [[1, 0]] * len(seen.slots)
    assert ObservationController(lambda o, a: None, actions=MOVES).propose(seen).tolist() == [[-1, -1]] * len(
        seen.slots
    )


@pytest.mark.parametrize(
    ("actions", "answer", "expected"),
    [
        (PEDALS, 0.5, "2 numbers or None, got 0.5"),
        (PEDALS, [0.5], r"2 numbers or None, got \[0.5\]"),
        (PEDALS, ["a", "b"], r"2 numbers or None, got \['a', 'b'\]"),
        (MOVES, [0.0, 1.0], r"2 indices or None, got \[0.0, 1.0\]"),
        (MOVES, 1, "2 indices or None, got 1"),
        (None, [1], r"an action index, got \[1\]"),
    ],
)
def test_an_answer_that_is_no_action_is_named(
    actions: Box | MultiDiscrete | None, answer: object, expected: str
) -> None:
    seen = begun(Corridor(CorridorConfig(places=1)), 3)
    controller = ObservationController(lambda observations, agent_id: answer, actions=actions)
    with pytest.raises(SimulationError, match=f"the script must propose {expected} for 'visitor_0_1'"):
        controller.propose(seen)
