"""Agents are found, listed and possessed by their ids, and named in errors by them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from beginnings import begun
from boats import Boats
from possession_stress import stress
from strategies import bridge_config

from townlet_behavior import BridgeConfig, PolicyError, PossessionError, UnknownActionError
from townlet_runtime.core.agents import id_of, ids_of, name_agent, slot_of
from townlet_runtime.core.loop import BatchLoop
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.testing import Corridor, CorridorConfig

OBSERVED = begun(Corridor(CorridorConfig(places=1), num_worlds=3), 0)


def test_the_same_name_in_another_world_is_another_agent() -> None:
    assert [slot_of("visitor_0_1", world, OBSERVED) for world in range(3)] == [0, 1, 2]
    assert ids_of(OBSERVED.slots[[0, 2]], 2, OBSERVED) == ["visitor_0_1"]
    assert ids_of(OBSERVED.slots[[0, 2]], 1, OBSERVED) == []
    assert [id_of(1, world, OBSERVED) for world in range(3)] == [None, "visitor_0_1", None]
    assert id_of(1, 1, None) is None


@pytest.mark.parametrize(("agent_id", "world"), [("nobody", 0), ("visitor_0_1", 3)])
def test_who_is_not_there_cannot_be_found(agent_id: str, world: int) -> None:
    with pytest.raises(PossessionError, match=rf"present in world {world}, got '{agent_id}'"):
        slot_of(agent_id, world, OBSERVED)
    with pytest.raises(PossessionError):
        slot_of(agent_id, world, None)


def test_an_error_of_the_bridge_is_given_the_id_of_its_slot() -> None:
    error = PolicyError("it raves", tick=4, slot=2)
    name_agent(error, OBSERVED)
    assert "visitor_0_1" in str(error) and "world 2" in str(error)
    elsewhere = PolicyError("it raves", tick=4, slot=9)
    name_agent(elsewhere, OBSERVED)
    assert "visitor" not in str(elsewhere)


# possession

ANN = "visitor_0_1"
ALONE = CorridorConfig(places=1, length=3, slip=0.0, episode_ticks=50, max_absence=1)
"""Two steps to the exit; a newcomer comes at once."""


def loop_of(*, num_worlds: int = 1, config: CorridorConfig = ALONE) -> BatchLoop:
    corridor = Corridor(config, num_worlds=num_worlds)
    script, blend = corridor.scripted("scripted"), bridge_config(corridor)
    loop = BatchLoop(corridor, BatchRuntime(corridor.spec, script, config=blend, policy=None, service=None, seed=1))
    loop.reset(seed=0)
    return loop


def test_inputs_of_several_ticks_are_executed_vetoed_or_too_late() -> None:
    loop = loop_of()
    runtime = loop.runtime
    runtime.acquire_possession(ANN, owner="ann")
    # At the left end nobody goes left, and after the second step right the agent has walked out.
    keys = ("wait", "left", "right", "right", "wait")
    tickets = [runtime.feed_action(ANN, key, owner="ann", queue=True) for key in keys]
    assert runtime.waiting_inputs() == tickets
    loop.run_for(4)
    assert [ticket.end for ticket in tickets] == [
        ("executed", 0),
        ("vetoed", 1),
        ("executed", 2),
        ("executed", 3),
        ("ended", None),
    ]
    assert runtime.take_ended_inputs() == tickets and runtime.take_ended_inputs() == []
    assert runtime.input_counts() == {
        "accepted": 5,
        "waiting": 0,
        "executed": 3,
        "vetoed": 1,
        "released": 0,
        "lapsed": 0,
        "ended": 1,
        "superseded": 0,
    }
    with pytest.raises(PossessionError, match=f"present in world 0, got '{ANN}'"):
        runtime.feed_action(ANN, "wait", owner="ann")


def test_feeding_again_supersedes_and_a_release_says_so() -> None:
    runtime = loop_of().runtime
    runtime.acquire_possession(ANN)
    first, second = runtime.feed_action(ANN, "wait"), runtime.feed_action(ANN, "right")
    assert runtime.release_possession(ANN)
    assert (first.end, second.end) == (("superseded", None), ("released", None))


def test_a_lease_is_renewed_by_its_owner() -> None:
    loop = loop_of()
    runtime = loop.runtime
    runtime.acquire_possession(ANN, owner="ann", lease_ticks=1)
    with pytest.raises(PossessionError, match=f"world 0, agent '{ANN}': possessed by 'ann', got owner 'bob'"):
        runtime.renew_possession(ANN, 3, owner="bob")
    runtime.renew_possession(ANN, 3, owner="ann")
    held = []
    for _ in range(4):
        held.append(runtime.is_possessed(ANN))
        loop.step()
    assert held == [True, True, True, False]
    with pytest.raises(PossessionError, match=f"world 0, agent '{ANN}': must be possessed to have its lease renewed"):
        runtime.renew_possession(ANN, 3, owner="ann")


def test_possessors_are_told_by_the_id_that_the_slot_had() -> None:
    loop = loop_of(num_worlds=2)
    runtime = loop.runtime
    told: list[tuple[Any, ...]] = []
    for world in range(2):
        runtime.register_possession_end_callback(lambda *end, world=world: told.append((world, *end)), world=world)
    for world, lease in ((0, None), (1, 1)):
        runtime.acquire_possession(ANN, world=world, owner="ann", lease_ticks=lease)
        runtime.feed_action(ANN, "right", world=world, owner="ann")
        runtime.feed_action(ANN, "right", world=world, owner="ann", queue=True)
    loop.step()
    assert told == [(1, ANN, "ann", "lapsed")]
    loop.step()  # the agent of world 0 has walked out, and another is in its slot
    assert told[1:] == [(0, ANN, "ann", "ended")]
    runtime.acquire_possession("visitor_0_2", world=0, owner="bob")
    runtime.release_possession("visitor_0_2", world=0, owner="bob")
    runtime.acquire_possession("visitor_0_2", world=1)
    runtime.reset_state()
    assert told[2:] == [(1, "visitor_0_2", None, "ended")]


def test_callbacks_wait_for_other_threads_that_use_the_runtime() -> None:
    loop = loop_of()
    runtime, told = loop.runtime, []

    def elsewhere(*end: Any) -> None:
        with ThreadPoolExecutor(1) as pool:
            told.append((*end, pool.submit(runtime.acquire_possession, ANN, owner="bob").result(timeout=60)))

    runtime.register_possession_end_callback(elsewhere)
    runtime.acquire_possession(ANN, owner="ann", lease_ticks=1)
    loop.step()
    assert told == [(ANN, "ann", "lapsed", True)]
    loop.step()
    assert runtime.possessed_agents() == [ANN]


def test_inputs_are_saved_and_end_after_a_restore_under_their_numbers() -> None:
    loop, resumed = loop_of(), loop_of()
    loop.runtime.acquire_possession(ANN, owner="ann", lease_ticks=3)
    tickets = [
        loop.runtime.feed_action(ANN, key, owner="ann", queue=True) for key in ("wait", "left", "right", "right")
    ]
    loop.step()
    state = loop.save_state()
    assert state is not None
    stale = resumed.runtime.acquire_possession(ANN) and resumed.runtime.feed_action(ANN, "wait")
    resumed.restore(state)
    assert stale.end == ("ended", None)
    assert [ticket.number for ticket in resumed.runtime.waiting_inputs()] == [1, 2, 3]
    resumed.runtime.take_ended_inputs()
    for one in (loop, resumed):
        one.run_for(2)
    ends = [(ticket.number, ticket.action, ticket.end) for ticket in resumed.runtime.take_ended_inputs()]
    assert ends == [(ticket.number, ticket.action, ticket.end) for ticket in tickets[1:]]
    assert [end for *_, end in ends] == [("vetoed", 1), ("executed", 2), ("lapsed", None)]
    assert resumed.runtime.input_counts() == loop.runtime.input_counts()


def test_many_threads_lose_no_input_and_disturb_nobody_else() -> None:
    report = stress(seed=5, operations=10_000, seconds=0.0)
    assert report.operations >= 10_000
    assert set(report.ends) == {"waiting", "executed", "vetoed", "released", "lapsed", "ended", "superseded"}
    assert min(count for reason, count in report.ends.items() if reason != "waiting") > 0
    assert report.told.keys() == {"ended", "lapsed"} and report.compared_ticks == report.ticks


def boats_loop(boats: Boats) -> BatchLoop:
    runtime = BatchRuntime(boats.spec, boats.scripted("idle"), config=BridgeConfig(), policy=None, service=None, seed=1)
    loop = BatchLoop(boats, runtime)
    loop.reset(seed=0)
    return loop


def test_possessors_feed_numbers_and_keys_of_parts() -> None:
    numbers = boats_loop(Boats("numbers", num_worlds=1)).runtime
    numbers.acquire_possession("boat_1")
    numbers.feed_action("boat_1", (0.25, -0.125))
    assert numbers.decide_batch().action.tolist() == [[0.0, 0.0], [0.25, -0.125], [0.0, 0.0]]
    parts = boats_loop(Boats("parts", num_worlds=1)).runtime
    parts.acquire_possession("boat_1")
    parts.feed_action("boat_1", ("west", "north"))
    decisions = parts.decide_batch()
    assert decisions.action.tolist() == [[0, 0], [1, 1], [0, 0]]
    assert decisions.demonstrated.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("kind", "action", "complaint"),
    [
        ("numbers", (0.25,), "an entry for each of east, north, got"),
        ("numbers", "west", "an entry for each of east, north, got 'west'"),
        ("numbers", (0.25, "north"), "a number of `north`, got 'north'"),
        ("numbers", (0.25, 0.75), r"`action` must be in .*, got"),
        ("numbers", (0.25, np.nan), r"`action` must be in .*, got"),
        ("parts", ("west", "up"), r"a key of part `north` \(rest, north\), got 'up'"),
        ("parts", ("west", 1), r"a key of part `north` \(rest, north\), got 1"),
        ("parts", ("west", "north", "west"), "an entry for each of east, north, got"),
    ],
)
def test_an_input_that_is_no_action_is_refused(kind: Any, action: Any, complaint: str) -> None:
    runtime = boats_loop(Boats(kind)).runtime
    runtime.acquire_possession("boat_1")
    with pytest.raises(UnknownActionError, match=complaint):
        runtime.feed_action("boat_1", action)


def test_numbers_are_no_key() -> None:
    runtime = loop_of().runtime
    runtime.acquire_possession(ANN)
    with pytest.raises(UnknownActionError, match=r"a key of the vocabulary, got \(1, 2\)"):
        runtime.feed_action(ANN, (1, 2))
