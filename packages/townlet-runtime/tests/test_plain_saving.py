"""A runtime of a plain world goes on from what was saved as it would have gone on."""

from __future__ import annotations

import io
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_world import Bond, Mind, Person, PlainWorld, Use, seen, world_of

from townlet_behavior import ActionVocabulary, AgentIntent, SavedState, StateError
from townlet_runtime.errors import SimulationError
from townlet_runtime.plain import KeyCodec, PlainOptions, PolicyRuntime


def through_a_file(state: SavedState) -> SavedState:
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def provider(world: PlainWorld, agent_id: str, scripted: AgentIntent) -> AgentIntent | None:
    if (world.tick + len(agent_id)) % 3 == 0:
        return None
    return AgentIntent(kind="move", position=(world.tick % 5, 1))


def runtime_of() -> PolicyRuntime[Any, Any]:
    settings = {"policy_runtime": {"option_commit_ticks": 4}, "seed": 3, "social": {"relationships": True}}
    runtime: PolicyRuntime[Any, Any] = PolicyRuntime(
        {**settings, "features": {"stages": {"relationships": "A"}}}, options=PlainOptions(capacity=8)
    )
    runtime.set_policy_action_provider(provider)
    runtime.enable_anneal_blend()
    runtime.set_anneal_ratio(0.5)
    return runtime


def live(runtime: PolicyRuntime[Any, Any], world: PlainWorld) -> dict[str, dict[str, Any]]:
    """A tick in which agents walk, eat, die and are born as the tick and their actions say."""
    actions = runtime.decide(world, world.tick)
    world.running_affordances.clear()
    for name, action in actions.items():
        person = world.agents[name]
        person.needs["hunger"] -= 0.03
        if action["kind"] == "move":
            person.position = action["position"]
        if action["kind"] == "request" and "fridge" not in world.turns:
            world.turns["fridge"] = name
        if action["kind"] == "start":
            world.turns.pop("fridge")
            world.running_affordances["fridge"] = Use(name)
            person.needs["hunger"] = 1.0
    died = world.tick % 11 == 10
    first = next(iter(world.agents))
    runtime.post_step(dict.fromkeys(actions, 1.0), {first: died})
    if died:
        del world.agents[first]
        world.agents[f"born at {world.tick}"] = Person(position=(world.tick % 5, 1))
        world.turns.clear()
    runtime.flush_transitions(seen(*world.agents))
    world.tick += 1
    return actions


@settings(max_examples=25, deadline=None)
@given(before=st.integers(1, 15), possessed=st.booleans())
def test_it_goes_on_as_if_nothing_had_happened(before: int, possessed: bool) -> None:
    world, runtime = world_of("ann", "bob", "eve"), runtime_of()
    world.bonds = {("ann", "bob"): Bond(0.5, 0.5)}
    for name in ("ann", "bob"):
        world.agents[name].position, world.agents[name].personality = (2, 2), Mind(0.9)
    for person in world.agents.values():
        person.needs["hunger"] = 0.5
    for _ in range(before):
        live(runtime, world)
    if possessed:
        runtime.acquire_possession("eve" if "eve" in world.agents else next(iter(world.agents)), lease_ticks=3)
        runtime.feed_action(runtime.possessed_agents()[0], {"kind": "move", "position": (7, 7)})
    state, copy = through_a_file(runtime.save_state()), deepcopy(world)
    restored = runtime_of()
    restored.restore(state, copy)
    for _ in range(15):
        assert live(restored, copy) == live(runtime, world)
    assert restored.trajectory[-1]["action"] == runtime.trajectory[-1]["action"]
    assert restored.collect().num_steps == 15 * 3


def test_the_end_of_a_use_is_seen_after_a_restore() -> None:
    class Rests:
        def decide(self, world: PlainWorld, agent_id: str) -> AgentIntent:
            kinds = ("request", "start")
            if world.tick < len(kinds):
                return AgentIntent.from_action({"kind": kinds[world.tick], "object": "bed"})
            return AgentIntent(kind="wait")

    world, runtime = world_of("ann"), PolicyRuntime({}, behavior=Rests())
    assert runtime.decide(world, 0)["ann"]["kind"] == "request"
    world.turns["bed"], world.tick = "ann", 1
    assert runtime.decide(world, 1)["ann"]["kind"] == "start"
    world.turns, world.tick = {}, 2  # it was a use of one tick
    restored = PolicyRuntime({}, behavior=Rests())
    restored.restore(runtime.save_state(), world)
    assert restored.decide(world, 2)["ann"]["kind"] == "wait" == runtime.decide(world, 2)["ann"]["kind"]


def test_saving_in_the_midst_of_a_tick_loses_nothing() -> None:
    world, runtime = world_of("ann", "bob"), runtime_of()
    runtime.observe(seen("ann", "bob"))
    runtime.decide(world, 0)
    del world.agents["bob"]
    runtime.save_state()
    runtime.post_step({"ann": 1.0, "bob": 2.0}, {"bob": True})
    runtime.flush_transitions(seen("ann"))
    batch = runtime.collect()
    assert (batch.rewards.tolist(), batch.terminated.tolist()) == ([1.0, 2.0], [False, True])


def test_nothing_is_saved_before_there_is_something_to_save() -> None:
    with pytest.raises(SimulationError, match="`save_state` must follow `decide`"):
        runtime_of().save_state()


def test_a_state_of_something_else_is_refused_and_leaves_nobody() -> None:
    world, runtime = world_of("ann"), runtime_of()
    live(runtime, world)
    state = dict(runtime.save_state())
    for name, value, problem in (
        ("engine/plain/ids", np.array(["ann", "bob"]), r"saved slots must be \[2\], got \(1,\)"),
        ("engine/plain/held", np.array(["{"]), "saved intents must be JSON"),
    ):
        with pytest.raises(StateError, match=problem):
            runtime.restore({**state, name: value}, world)
        assert runtime.possessed_agents() == []
        assert runtime.latest_policy_snapshot() == {}
    del state["engine/plain/held"]
    with pytest.raises(StateError, match="the saved state of a plain world must have the arrays"):
        runtime.restore(state, world)
    with pytest.raises(StateError, match="GROUP/NAME"):
        runtime.restore({"tick": np.array(1)}, world)


def test_intents_that_cannot_be_read_cannot_be_saved() -> None:
    class Mute:
        vocabulary = ActionVocabulary(keys=("rest",), kinds=("wait",))

        def encode(self, intent: str, world: object, agent_id: str) -> int:
            return 0

        def decode(self, action: int, world: object, agent_id: str) -> str:
            return "rest"

        def to_action(self, intent: str) -> dict[str, Any]:
            return {"kind": "wait"}

    class Rests:
        def decide(self, world: object, agent_id: str) -> str:
            return "rest"

    runtime = PolicyRuntime({}, codec=Mute(), behavior=Rests())
    runtime.decide(world_of("ann"), 0)
    with pytest.raises(SimulationError, match="Mute must have `from_action`"):
        runtime.save_state()
    reading = PolicyRuntime({}, codec=KeyCodec(Mute.vocabulary), behavior=Rests())
    reading.decide(world_of("ann"), 0)
    reading.restore(reading.save_state(), world_of("ann"))
    with pytest.raises(SimulationError, match="`tick` must be later than 0, got 0"):
        reading.decide(world_of("ann"), 0)
