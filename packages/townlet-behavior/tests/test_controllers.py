from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from strategies import EAT, VOCABULARY, WAIT, bridge_of, view_of

from townlet_behavior import (
    AgentIntent,
    IdleController,
    NoProposals,
    PerAgent,
    StateError,
    UnknownActionError,
    WorldView,
)
from townlet_behavior.testing import check_controller


@dataclass
class Hungry:
    """A per-agent controller that eats when hungry."""

    asked: list[str] = field(default_factory=list)

    def decide(self, world: "Town", agent_id: str) -> AgentIntent:
        self.asked.append(agent_id)
        if world.hunger[agent_id] < 0.5:
            return AgentIntent(kind="start", object_id="fridge", affordance_id="eat")
        return AgentIntent(kind="wait")


@dataclass
class Town:
    hunger: Mapping[str, float]


class TownCodec:
    """Slots 2 and 5 of one town; only `wait` and `start` have an action."""

    def __init__(self, town: Town) -> None:
        self._town = town

    def locate(self, slot: int) -> tuple[Town, str]:
        return self._town, {2: "ann", 5: "bob"}[slot]

    def encode(self, intent: AgentIntent, world: WorldView, agent_id: str) -> int:
        if intent.kind not in {"wait", "start"}:
            raise UnknownActionError(f"{agent_id}: no action for {intent}")
        return WAIT if intent.kind == "wait" else EAT

    def decode(self, action: int, world: WorldView, agent_id: str) -> AgentIntent:
        return AgentIntent(kind="wait" if action == WAIT else "start")


def test_idle_proposes_to_wait_for_everybody() -> None:
    controller = IdleController(wait=3)
    assert controller.propose(view_of(1, 2, 9)).tolist() == [3, 3, 3]
    check_controller(controller, view_of(1, 2), VOCABULARY)


def test_no_proposals_for_anybody() -> None:
    controller = NoProposals()
    assert controller.propose(view_of(1, 2, 9)).tolist() == [-1, -1, -1]
    assert controller.propose(view_of()).shape == (0,)
    check_controller(controller, view_of(1, 2), VOCABULARY)


def test_without_proposals_everybody_waits_and_there_is_no_label() -> None:
    decisions = bridge_of(NoProposals()).decide(view_of(1, 2), tick=0)
    assert decisions.action.tolist() == [WAIT, WAIT]
    assert decisions.expert_action.tolist() == [-1, -1]


def test_a_controller_without_plans_saves_nothing_and_takes_nothing() -> None:
    controller = IdleController(wait=WAIT)
    assert controller.save_state() == {}
    controller.restore({})
    with pytest.raises(
        StateError, match=r"the saved state of IdleController must have the arrays \[\], got \['plan'\]"
    ):
        controller.restore({"plan": view_of(1).slots})


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


def test_an_intent_outside_the_vocabulary_stops_the_tick() -> None:
    class Chatty:
        def decide(self, world: WorldView, agent_id: str) -> AgentIntent:
            return AgentIntent(kind="chat")

    with pytest.raises(UnknownActionError, match="ann: no action for"):
        bridge_of(PerAgent(Chatty(), TownCodec(Town({})))).decide(view_of(2), tick=0)
