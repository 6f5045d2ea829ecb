from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from strategies import BOX, EAT, NUM_ACTIONS, PARTS, VOCABULARY, WAIT, Forbid, bridge_of, ints, view_of

from townlet_behavior import (
    ActionSpec,
    AgentIntent,
    BehaviorBridge,
    BridgeConfig,
    ConfigError,
    ControllerError,
    FirstOf,
    PerAgent,
    Rule,
    StateError,
    UnknownActionError,
    View,
)
from townlet_behavior.testing import check_controller


@dataclass
class Hungry:
    """A per-agent controller that eats when hungry."""

    asked: list[str] = field(default_factory=list)

    def decide(self, town: "Town", agent_id: str) -> AgentIntent:
        self.asked.append(agent_id)
        if town.hunger[agent_id] < 0.5:
            return AgentIntent(kind="start", object_id="fridge", affordance_id="eat")
        return AgentIntent(kind="wait")


@dataclass
class Town:
    hunger: Mapping[str, float]
    tick: int = 7


class TownCodec:
    """Slots 2 and 5 of one town; only `wait` and `start` have an action."""

    def __init__(self, town: Town) -> None:
        self._town = town

    def locate(self, view: View, row: int) -> tuple[Town, str]:
        return self._town, {2: "ann", 5: "bob"}[int(view.slots[row])]

    def encode(self, intent: AgentIntent, town: Town, agent_id: str) -> int:
        return {"wait": WAIT, "start": EAT}[intent.kind]

    def decode(self, action: int, town: Town, agent_id: str) -> AgentIntent:
        return AgentIntent(kind="wait" if action == WAIT else "start")


def test_a_lifted_controller_is_asked_for_each_agent_by_its_name() -> None:
    hungry = Hungry()
    lifted = PerAgent(hungry, TownCodec(Town({"ann": 0.9, "bob": 0.1})))
    assert lifted.propose(view_of(2, 5)).tolist() == [WAIT, EAT]
    assert hungry.asked == ["ann", "bob"]


def test_a_lifted_controller_works_in_a_bridge() -> None:
    lifted = PerAgent(Hungry(), TownCodec(Town({"ann": 0.1, "bob": 0.1})))
    bridge = bridge_of(lifted)
    assert bridge.decide(view_of(2, 5), tick=0).action.tolist() == [EAT, EAT]
    bridge.forget(view_of(2).slots)
    assert bridge.decide(view_of(5), tick=1).action.tolist() == [EAT]


def test_an_empty_view_has_no_proposals() -> None:
    lifted = PerAgent(Hungry(), TownCodec(Town({})))
    assert lifted.propose(view_of()).shape == (0,)
    check_controller(lifted, view_of(), VOCABULARY)


class Chatty:
    def decide(self, town: Town, agent_id: str) -> AgentIntent:
        return AgentIntent(kind="chat")


def test_an_intent_outside_the_vocabulary_stops_the_tick_by_its_name_and_the_agent() -> None:
    bridge = bridge_of(PerAgent(Chatty(), TownCodec(Town({}))))
    with pytest.raises(UnknownActionError, match=r"agent 'ann': no action for AgentIntent\(kind='chat'.*: 'chat'"):
        bridge.decide(view_of(2), tick=0)


@dataclass(frozen=True)
class Order:
    """The intents of another world."""

    verb: str


class Officers:
    """A codec that maps what it does not know to an action of its own, or to no index at all."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def locate(self, view: View, row: int) -> tuple[None, str]:
        return None, "ann"

    def encode(self, intent: Order, view: None, agent_id: str) -> int:
        return self._answer


class Arresting:
    def decide(self, view: None, agent_id: str) -> Order:
        return Order("arrest")


@pytest.mark.parametrize("answer", [NUM_ACTIONS, -2])
def test_an_index_outside_the_vocabulary_stops_the_tick(answer: int) -> None:
    with pytest.raises(UnknownActionError, match=rf"must propose actions in \[0, {NUM_ACTIONS}\) or -1, got {answer}"):
        bridge_of(PerAgent(Arresting(), Officers(answer))).decide(view_of(2), tick=0)


@pytest.mark.parametrize("answer", ["chat", None, 1.0])
def test_a_codec_must_answer_an_index(answer: object) -> None:
    with pytest.raises(UnknownActionError, match=r"agent 'ann': no action for Order\(verb='arrest'\)"):
        PerAgent(Arresting(), Officers(answer)).propose(view_of(2))


def test_an_exception_of_a_controller_names_agent_and_tick_and_keeps_its_cause() -> None:
    lifted = PerAgent(Hungry(), TownCodec(Town({"ann": 0.1})))
    with pytest.raises(ControllerError, match="tick 7, agent 'bob': the script raised KeyError: 'bob'") as raised:
        lifted.propose(view_of(2, 5))
    assert isinstance(raised.value.__cause__, KeyError)
    assert (raised.value.agent_id, raised.value.tick) == ("bob", 7)


def test_a_world_without_ticks_has_none_in_the_message() -> None:
    class Failing:
        def decide(self, view: None, agent_id: str) -> Order:
            raise ValueError("no orders today")

    with pytest.raises(ControllerError, match="^agent 'ann': the script raised ValueError: no orders today$"):
        PerAgent(Failing(), Officers(0)).propose(view_of(2))


class Planner(Hungry):
    """Hungry, and told everything that a controller can be told."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[str, str]] = []
        self.cancelled: list[str] = []

    def settled(self, town: Town, agent_id: str, intent: AgentIntent) -> None:
        self.done.append((agent_id, intent.kind))

    def cancel_pending(self, agent_id: str) -> None:
        self.cancelled.append(agent_id)

    def save_state(self) -> dict[str, np.ndarray]:
        return {"meals": ints(len(self.done))}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self.meals = int(state["meals"][0])


def test_an_informed_controller_learns_what_was_executed_not_what_it_wanted() -> None:
    planner = Planner()
    bridge = bridge_of(PerAgent(planner, TownCodec(Town({"ann": 0.1, "bob": 0.1}))))
    bridge.held(view_of(2, 5), tick=0)
    bridge.possession.acquire(2, tick=0)
    bridge.decide(view_of(2, 5), tick=0)
    assert planner.done == [("ann", "wait"), ("bob", "start")]


def test_plans_end_with_a_veto_and_with_the_agent() -> None:
    planner = Planner()
    bridge = bridge_of(PerAgent(planner, TownCodec(Town({"ann": 0.1, "bob": 0.9}))), Forbid(EAT))
    bridge.decide(view_of(2, 5), tick=0)
    assert planner.cancelled == ["ann"]
    bridge.forget(ints(5))
    bridge.forget(ints(5))  # who is gone is not gone again
    assert planner.cancelled == ["ann", "bob"]


def test_an_exception_of_settled_names_the_agent() -> None:
    class Confused(Planner):
        def settled(self, town: Town, agent_id: str, intent: AgentIntent) -> None:
            raise RuntimeError("what now?")

    bridge = bridge_of(PerAgent(Confused(), TownCodec(Town({"ann": 0.1}))))
    with pytest.raises(ControllerError, match="tick 7, agent 'ann': `settled` raised RuntimeError: what now?"):
        bridge.decide(view_of(2), tick=0)


def test_a_controller_that_is_told_needs_a_codec_that_decodes() -> None:
    with pytest.raises(ConfigError, match="Officers must have `decode`, because Planner has `settled`"):
        PerAgent(Planner(), Officers(0))


def test_plans_that_can_be_saved_are() -> None:
    planner, other = Planner(), Planner()
    planner.done = [("ann", "start")] * 3
    state = PerAgent(planner, TownCodec(Town({}))).save_state()
    PerAgent(other, TownCodec(Town({}))).restore(state)
    assert other.meals == 3
    with pytest.raises(StateError, match="the saved state of Hungry must have the arrays"):
        PerAgent(Hungry(), TownCodec(Town({}))).restore(state)


def test_the_first_rule_that_applies_decides() -> None:
    asked: list[str] = []

    def rule(name: str, answer: str | None) -> Rule[None, str]:
        def ask(view: None, agent_id: str) -> str | None:
            asked.append(name)
            return answer

        return ask

    script = FirstOf([rule("flee", None), rule("eat", "graze"), rule("wait", "rest")])
    assert script.decide(None, "doe") == "graze"
    assert asked == ["flee", "eat"]


def test_some_rule_must_apply() -> None:
    script: FirstOf[None, str] = FirstOf([lambda view, agent_id: None] * 2)
    with pytest.raises(ControllerError, match="agent 'doe': none of 2 rules applies, and the last one must"):
        script.decide(None, "doe")
    with pytest.raises(ControllerError, match="^agent 'ann': none of 2 rules"):  # not wrapped once more
        PerAgent(script, Officers(0)).propose(view_of(2))
    with pytest.raises(ConfigError, match="`rules` must hold at least one rule"):
        FirstOf([])


class Pilots:
    """A codec of numbers: which slots there are, and what was decoded."""

    def __init__(self) -> None:
        self.decoded: list[tuple[object, str]] = []

    def locate(self, view: View, row: int) -> tuple[None, str]:
        return None, {2: "ann", 5: "bob"}[int(view.slots[row])]

    def encode(self, intent: object, view: None, agent_id: str) -> object:
        return intent

    def decode(self, action: object, view: None, agent_id: str) -> object:
        self.decoded.append((action, agent_id))
        return action


class Steering:
    def __init__(self, **intents: object) -> None:
        self.intents = intents
        self.done: list[object] = []

    def decide(self, view: None, agent_id: str) -> object:
        return self.intents[agent_id]

    def settled(self, view: None, agent_id: str, intent: object) -> None:
        self.done.append(intent)


def test_a_lifted_controller_proposes_numbers_and_hears_of_numbers() -> None:
    steering, pilots = Steering(ann=(0.5, 1.0), bob=[float("nan")] * 2), Pilots()
    lifted = PerAgent(steering, pilots, BOX)
    proposed = lifted.propose(view_of(2, 5))
    assert (proposed.dtype, proposed[0].tolist()) == (np.float32, [0.5, 1.0])
    assert np.isnan(proposed[1]).all()
    assert lifted.propose(view_of()).shape == (0, 2)
    BehaviorBridge(BOX, lifted, capacity=8, config=BridgeConfig(), seed=1).decide(view_of(2, 5), tick=0)
    assert steering.done == [(0.5, 1.0), (0.0, 0.5)]
    assert pilots.decoded == [((0.5, 1.0), "ann"), ((0.0, 0.5), "bob")]


def test_a_lifted_controller_proposes_an_index_of_each_part() -> None:
    lifted = PerAgent(Steering(ann=(EAT, 1, 0), bob=(-1, -1, -1)), Pilots(), PARTS)
    assert lifted.propose(view_of(2, 5)).tolist() == [[EAT, 1, 0], [-1, -1, -1]]
    assert lifted.propose(view_of(2, 5)).dtype == np.int64


@pytest.mark.parametrize(
    ("actions", "intent", "message"),
    [
        (BOX, (0.5,), "agent 'ann': no action for \\(0.5,\\): expected 2 numbers, got 1"),
        (BOX, "left", "agent 'ann': no action for 'left'"),
        (BOX, 0.5, "agent 'ann': no action for 0.5"),
        (PARTS, (0, 1), "agent 'ann': no action for \\(0, 1\\): expected 3 indices, got 2"),
        (PARTS, (0.5, 1, 1), "agent 'ann': no action for"),
    ],
)
def test_a_codec_must_answer_all_numbers(actions: ActionSpec, intent: object, message: str) -> None:
    with pytest.raises(UnknownActionError, match=message):
        PerAgent(Steering(ann=intent), Pilots(), actions).propose(view_of(2))
