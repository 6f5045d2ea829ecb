"""A town of plain Python classes: script, a function that blends in, and a guardrail, one call a tick."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from townlet_behavior import AgentIntent
from townlet_runtime.plain import PolicyRuntime


@dataclass
class Person:
    position: tuple[int, int]
    needs: dict[str, float]
    personality: Any
    personality_profile: str = "balanced"
    job_id: str | None = None


# fmt: off
class Town:
    """Three people around a fridge, where one eats at a time and the others stand in line. Eve is to avoid Bob."""

    def __init__(self) -> None:
        well, mind = {"hunger": 1.0, "hygiene": 1.0, "energy": 1.0}, SimpleNamespace(extroversion=0.5)
        self.agents = {name: Person((x, 0), dict(well), mind) for x, name in enumerate(("ann", "bob", "eve"))}
        self.objects: dict[str, Any] = {"fridge_1": SimpleNamespace(object_type="fridge", stock={"meals": 999})}
        self.line: list[str] = []
        self.running_affordances: dict[str, Any] = {}  # a meal takes a tick
        self.queue_manager = self.affordance_runtime = self
        self.tick = self.meals = self.vetoes = 0

    def active_agent(self, object_id: str) -> str | None: return self.line[0] if self.line else None
    def queue_snapshot(self, object_id: str) -> list[str]: return self.line
    def relationship_tie(self, agent_id: str, other_id: str) -> None: return None
    def rivalry_value(self, agent_id: str, other_id: str) -> float: return float((agent_id, other_id) == ("eve", "bob"))
    def rivalry_should_avoid(self, agent_id: str, other_id: str) -> bool: return (agent_id, other_id) == ("eve", "bob")
    def record_chat_failure(self, agent_id: str, target_id: str) -> None: ...
    def record_relationship_guard_block(self, **_: str | None) -> None: self.vetoes += 1

    def step(self, actions: Mapping[str, Mapping[str, Any]]) -> None:
        eater = self.line[0] if self.line and actions[self.line[0]]["kind"] == "start" else None
        asking = [name for name, action in actions.items() if action["kind"] in ("request", "start")]
        self.line = [name for name in dict.fromkeys([*self.line, *asking]) if name in asking and name != eater]
        for name, person in self.agents.items():
            person.needs["hunger"] = 1.0 if name == eater else max(0.0, person.needs["hunger"] - 0.02)
        self.tick, self.meals = self.tick + 1, self.meals + (eater is not None)


for ratio in (0.0, 0.5, 1.0):
    town = Town()
    runtime = PolicyRuntime({"seed": 1, "policy_runtime": {"option_commit_ticks": 3}}, world=town)
    runtime.set_policy_action_provider(lambda *_: AgentIntent(kind="request", object_id="fridge_1"))
    runtime.enable_anneal_blend(True)
    runtime.set_anneal_ratio(ratio)
    while town.tick < 200:
        town.step(runtime.decide(town, town.tick))
    print(f"ratio {ratio}: {town.meals} meals, Eve was kept from the line {town.vetoes} times")
