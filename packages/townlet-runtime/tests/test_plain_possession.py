"""Possession in plain worlds: tickets, queues of intents with their arguments, leases, and who is told."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from plain_world import PlainWorld, world_of
from possession_stress import impatient_threads

from townlet_behavior import AgentIntent, PossessionError, Ticket
from townlet_runtime.plain import PolicyRuntime

TO_THE_EDGE = AgentIntent(kind="move", position=(9, 9))


class Walks:
    """A script that walks to the edge."""

    def decide(self, world: PlainWorld, agent_id: str) -> AgentIntent:
        return TO_THE_EDGE


def runtime_of(world: PlainWorld) -> PolicyRuntime[Any, Any]:
    return PolicyRuntime({"policy_runtime": {"option_commit_ticks": 0}}, behavior=Walks(), world=world)


def place(number: int) -> AgentIntent:
    return AgentIntent(kind="move", position=(number, number))


def decided(runtime: PolicyRuntime[Any, Any], world: PlainWorld, agent_id: str = "ann") -> Any:
    """Where an agent goes in the next tick, or what else it does."""
    action = runtime.decide(world, world.tick)[agent_id]
    world.tick += 1
    return action.get("position", action["kind"])


def test_queued_intents_keep_their_arguments_and_their_order() -> None:
    world = world_of("ann", "bob")
    runtime = runtime_of(world)
    for name in ("ann", "bob"):
        runtime.acquire_possession(name)
    tickets = [runtime.feed_action("ann", place(number), queue=True) for number in (1, 2)]
    tickets.append(runtime.feed_action("ann", {"kind": "move", "position": (3, 3)}, queue=True))
    other = runtime.feed_action("bob", place(7))
    assert runtime.waiting_inputs() == [*tickets, other]
    assert [decided(runtime, world) for _ in range(4)] == [(1, 1), (2, 2), (3, 3), "wait"]
    assert [ticket.end for ticket in (*tickets, other)] == [("executed", tick) for tick in (0, 1, 2, 0)]
    assert runtime.take_ended_inputs() == [tickets[0], other, *tickets[1:]]
    assert (runtime.input_counts()["accepted"], runtime.input_counts()["executed"]) == (4, 4)


def test_what_comes_too_late_says_why() -> None:
    world = world_of("ann", "bob")
    runtime = runtime_of(world)
    runtime.acquire_possession("ann", lease_ticks=1)
    runtime.acquire_possession("bob")
    superseded, executed = runtime.feed_action("ann", place(1)), runtime.feed_action("ann", place(2))
    lapsed, ended = runtime.feed_action("ann", place(3), queue=True), runtime.feed_action("bob", place(4))
    ended_later = runtime.feed_action("bob", place(5), queue=True)
    assert decided(runtime, world) == (2, 2)
    runtime.post_step({}, {"bob": True})
    assert [one.end for one in (superseded, executed, lapsed, ended, ended_later)] == [
        ("superseded", None),
        ("executed", 0),
        ("lapsed", None),
        ("executed", 0),
        ("ended", None),
    ]
    runtime.acquire_possession("ann")
    released = runtime.feed_action("ann", place(6))
    runtime.release_possession("ann")
    assert released.end == ("released", None)
    with pytest.raises(PossessionError, match="got 'bob'"):
        runtime.feed_action("bob", place(6))


def test_leases_are_renewed() -> None:
    world = world_of("ann")
    runtime = runtime_of(world)
    runtime.acquire_possession("ann", owner="console", lease_ticks=1)
    runtime.renew_possession("ann", 2, owner="console")
    with pytest.raises(PossessionError, match="possessed by 'console', got owner None"):
        runtime.renew_possession("ann", 2)
    with pytest.raises(PossessionError, match="got 'eve'"):
        runtime.renew_possession("eve", 2)
    assert [decided(runtime, world) for _ in range(3)] == ["wait", "wait", (9, 9)]


def test_possessors_are_told_once_of_deaths_departures_lapses_and_resets() -> None:
    world = world_of("ann", "bob", "eve", "joe", "kim")
    runtime = runtime_of(world)
    told: list[tuple[str, str | None, str]] = []
    runtime.register_possession_end_callback(lambda *end: told.append(end))
    for name in world.agents:
        runtime.acquire_possession(name, owner=name.upper(), lease_ticks=1 if name == "eve" else None)
    runtime.release_possession("kim", owner="KIM")
    decided(runtime, world)
    assert told == [("eve", "EVE", "lapsed")]
    runtime.post_step({}, {"ann": True})
    assert told[1:] == [("ann", "ANN", "ended")]
    del world.agents["ann"], world.agents["bob"]
    decided(runtime, world, "eve")
    assert told[2:] == [("bob", "BOB", "ended")]
    waiting = runtime.feed_action("joe", place(1), owner="JOE")
    runtime.reset_state()
    assert told[3:] == [("joe", "JOE", "ended")]
    assert waiting.end == ("ended", None)
    assert (runtime.waiting_inputs(), runtime.take_ended_inputs(), runtime.input_counts()) == ([], [], {})


def test_callbacks_wait_for_other_threads_that_use_the_runtime() -> None:
    world = world_of("ann")
    runtime = runtime_of(world)
    told: list[tuple[Any, ...]] = []

    def elsewhere(call: Any, *arguments: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(call, *arguments).result(timeout=60)

    runtime.register_ctx_reset_callback(lambda agent: told.append((agent, elsewhere(runtime.possessed_agents))))
    runtime.register_ctx_reset_callback(
        lambda agent: told.append((agent, elsewhere(runtime.feed_action, agent, place(1)).end))
    )
    runtime.register_possession_end_callback(
        lambda *end: told.append((*end, elsewhere(runtime.acquire_possession, "ann")))
    )
    runtime.acquire_possession("ann", lease_ticks=1)
    assert told == [("ann", ["ann"]), ("ann", None)]
    told.clear()
    assert decided(runtime, world) == (1, 1)
    assert told == [("ann", ["ann"]), ("ann", None), ("ann", None, "lapsed", True)]
    assert decided(runtime, world) == (1, 1)


def test_queued_intents_are_restored_with_their_arguments() -> None:
    world = world_of("ann", "bob")
    runtime, restored = runtime_of(world), runtime_of(world)
    runtime.acquire_possession("ann", owner="console")
    runtime.acquire_possession("bob", lease_ticks=2)
    decided(runtime, world)
    for number in (1, 2):
        runtime.feed_action("ann", place(number), owner="console", queue=True)
        runtime.feed_action("bob", place(10 * number), queue=True)
    restored.restore(runtime.save_state(), world)
    assert [ticket.number for ticket in restored.waiting_inputs()] == [0, 2, 1, 3]
    assert [decided(restored, world, name) for name in ("ann", "ann")] == [(1, 1), (2, 2)]
    ends = {ticket.number: ticket.end for ticket in restored.take_ended_inputs()}
    assert ends == {0: ("executed", 1), 1: ("executed", 1), 2: ("executed", 2), 3: ("lapsed", None)}


def test_before_the_first_world_there_is_nothing_to_count() -> None:
    runtime: PolicyRuntime[Any, Any] = PolicyRuntime({})
    assert (runtime.waiting_inputs(), runtime.take_ended_inputs(), runtime.input_counts()) == ([], [], {})


def test_what_threads_feed_while_the_world_goes_on_is_carried_out_once_with_its_arguments() -> None:
    world = world_of("ann", "bob")
    runtime = runtime_of(world)
    stop, gone = Event(), list[dict[str, Any]]()

    def person(name: str, first: int) -> dict[int, tuple[str, Ticket]]:
        tickets: dict[int, tuple[str, Ticket]] = {}
        while not stop.is_set():
            number = first + len(tickets)
            agent = ("ann", "bob")[number % 2]
            runtime.acquire_possession(agent, owner=name, lease_ticks=1 + number % 3)
            try:
                ticket = runtime.feed_action(agent, place(number), owner=name, queue=number % 3 > 0)
            except PossessionError:
                time.sleep(0)
            else:
                tickets[number] = agent, ticket
        return tickets

    with impatient_threads(), ThreadPoolExecutor(2) as pool:
        people = [pool.submit(person, name, first) for name, first in (("one", 10), ("two", 10**6))]
        try:
            while len(gone) < 150 or runtime.input_counts()["executed"] < 40:
                gone.append(runtime.decide(world, len(gone)))
        finally:
            stop.set()
        fed = {number: one for future in people for number, one in future.result(timeout=60).items()}
    carried_out = {
        action["position"][0]: (agent, ("executed", tick))
        for tick, actions in enumerate(gone)
        for agent, action in actions.items()
        if action.get("position", (9, 9)) != (9, 9)
    }
    assert len(carried_out) >= 40
    runtime.reset_state()
    ends = {number: (agent, ticket.end) for number, (agent, ticket) in fed.items()}
    assert {number: end for number, end in ends.items() if end[1] and end[1].tick is not None} == carried_out
    assert None not in {end for _, end in ends.values()}
