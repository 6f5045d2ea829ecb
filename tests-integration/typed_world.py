"""A world with a class and intents of its own, as a strict type checker must accept it; `test_typed_world` runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from townlet_behavior import ActionVocabulary, FirstOf, PerAgent, View
from townlet_runtime import Simulation
from townlet_runtime.plain import PlainWorlds, PolicyRuntime


@dataclass(frozen=True)
class Order:
    """An intent of this world."""

    verb: str
    suspect: str | None = None


@dataclass
class Officer:
    tired: float


class Beat:
    def __init__(self, seed: int) -> None:
        self.agents = {"ann": Officer(tired=0.1), "bob": Officer(tired=0.9)}
        self.clock = seed

    def advance(self, actions: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        self.clock += 1
        return {name: float(action["kind"] == "arrest") for name, action in actions.items()}


class OrderCodec:
    vocabulary = ActionVocabulary(keys=("rest", "arrest"), kinds=("wait", "arrest"))

    def encode(self, intent: Order, world: Beat, agent_id: str) -> int:
        return self.vocabulary.index(intent.verb)

    def decode(self, action: int, world: Beat, agent_id: str) -> Order:
        return Order(self.vocabulary.keys[action], suspect=None if action == 0 else "joe")

    def to_action(self, intent: Order) -> dict[str, Any]:
        return {"kind": intent.verb, "suspect": intent.suspect}


class RowCodec(OrderCodec):
    def __init__(self, world: Beat) -> None:
        self.world = world

    def locate(self, view: View, row: int) -> tuple[Beat, str]:
        return self.world, sorted(self.world.agents)[row]


def rest_when_tired(beat: Beat, name: str) -> Order | None:
    return Order("rest") if beat.agents[name].tired > 0.5 else None


def arrest(beat: Beat, name: str) -> Order:
    return Order("arrest", suspect="joe")


def learned(beat: Beat, name: str, scripted: Order) -> Order | None:
    return None if scripted.verb == "rest" else Order("arrest", suspect="max")


script = FirstOf([rest_when_tired, arrest])
beat = Beat(0)
lifted: PerAgent[Beat, Order] = PerAgent(script, RowCodec(beat))
runtime = PolicyRuntime({"seed": 1}, codec=OrderCodec(), behavior=script, world=beat)
runtime.set_policy_action_provider(learned)
actions: dict[str, dict[str, Any]] = runtime.decide(beat, 0)
runtime.acquire_possession("bob")
runtime.feed_action("bob", Order("arrest", suspect="eve"))
worlds = PlainWorlds(
    name="beat",
    make=Beat,
    codec=OrderCodec(),
    behavior=script,
    observe=lambda beat, name: {"tired": [beat.agents[name].tired]},
    step=Beat.advance,
    capacity=2,
    episode_ticks=20,
)
make: Callable[[int], Simulation] = worlds  # what `townlet_runtime.training.train` takes

assert actions["ann"] == {"kind": "arrest", "suspect": "joe"}
assert runtime.decide(beat, 1)["bob"] == {"kind": "arrest", "suspect": "eve"}
