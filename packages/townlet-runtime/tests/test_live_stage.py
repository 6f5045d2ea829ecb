"""A world that is watched: its pace, what is asked of it, and what is shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import pytest

from townlet_behavior import BridgeConfig
from townlet_runtime import OneGroup
from townlet_runtime.core.loop import GroupedLoop, runtimes_of
from townlet_runtime.errors import SimulationError
from townlet_runtime.live.player import Player
from townlet_runtime.live.stage import Stage
from townlet_runtime.simulation.interface import AGENTS
from townlet_runtime.simulation.recorded import schema_of
from townlet_runtime.simulation.script import script_side
from townlet_runtime.testing import Corridor
from townlet_runtime.town import Town, TownConfig
from townlet_trajectory import TrajectoryService

P = TypeVar("P", bound=Player)
SEED = 3


def stage_of(
    world: object,
    *,
    speed: float | None = None,
    paused: bool = True,
    records: bool = False,
    max_rows: int | None = None,
) -> Stage:
    simulation = OneGroup(world)  # type: ignore[arg-type]  # a simulation of either kind
    services = {AGENTS: TrajectoryService(schema_of(simulation.specs[AGENTS], masked=True), max_rows=10_000)}
    runtimes = runtimes_of(
        simulation,
        script_side(simulation),
        config=BridgeConfig(),
        policies=None,
        services=services if records else None,
        seed=SEED,
    )
    return Stage(simulation, runtimes, seed=SEED, speed=speed, paused=paused, max_rows=max_rows)


def town() -> Town:
    return Town(TownConfig(num_agents=5), num_worlds=1)


@contextmanager
def running(stage: P) -> Iterator[P]:
    ends = threading.Event()
    thread = threading.Thread(target=stage.run, args=(ends.is_set,))
    thread.start()
    try:
        yield stage
    finally:
        ends.set()
        thread.join(10.0)
        assert not thread.is_alive()


def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20.0
    while not holds():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.005)


def test_steps_are_those_of_a_loop_that_nobody_watches() -> None:
    with running(stage_of(town())) as stage:
        stage.step(40)
        until(lambda: stage.history.tick == 39)
        shown = stage.call(lambda: stage.runtimes["agents"].observed).result(10.0)
    simulation = OneGroup(town())
    runtimes = runtimes_of(
        simulation, script_side(simulation), config=BridgeConfig(), policies=None, services=None, seed=SEED
    )
    loop = GroupedLoop(simulation, runtimes)
    loop.reset(SEED)
    loop.run_for(40)
    alone = runtimes["agents"].observed
    assert shown is not None
    assert alone is not None
    for name, array in alone.observations.items():
        np.testing.assert_array_equal(shown.observations[name], array)


def test_a_paused_world_stands_still_and_answers() -> None:
    with running(stage_of(Corridor(num_worlds=1))) as stage:
        assert stage.call(lambda: stage.history.tick).result(10.0) == 0
        stage.want()
        until(lambda: stage.snapshot is not None)
        assert stage.snapshot is not None
        assert stage.snapshot.paused
        assert stage.history.tick == 0


def test_a_pace_is_kept() -> None:
    with running(stage_of(Corridor(num_worlds=1), speed=50.0, paused=False)) as stage:
        begun = time.monotonic()
        until(lambda: stage.history.tick >= 25)
        assert time.monotonic() - begun >= 0.45
        stage.set_speed(None)
        until(lambda: stage.history.tick >= 500)
    with pytest.raises(SimulationError, match=r"0\.1 to 1000.* got 0\.01"):
        stage.set_speed(0.01)


def test_an_error_of_a_question_is_the_asker_s_alone() -> None:
    def fails() -> None:
        raise SimulationError("so there")

    with running(stage_of(Corridor(num_worlds=1))) as stage:
        with pytest.raises(SimulationError, match="so there"):
            stage.call(fails).result(10.0)
        assert stage.call(lambda: 1).result(10.0) == 1


def test_what_nobody_did_at_the_end_is_cancelled() -> None:
    stage = stage_of(Corridor(num_worlds=1))
    left = stage.call(lambda: 1)
    stage.run(lambda: True)
    assert left.cancelled()


def test_again_goes_back_to_the_state_that_was_kept() -> None:
    with running(stage_of(town())) as stage:
        with pytest.raises(SimulationError, match="no state was kept"):
            stage.call(stage.again).result(10.0)
        stage.step(10)
        until(lambda: stage.history.tick == 9)
        stage.call(stage.mark).result(10.0)

        def rewards() -> list[float]:
            stage.step(15)
            until(lambda: stage.history.tick == 24)
            agent = str(stage.runtimes["agents"].observed.agent_ids[0])  # type: ignore[union-attr]
            return stage.call(lambda: stage.history.strip_of(agent)["reward"][-15:]).result(10.0)

        first = rewards()
        stage.call(stage.again).result(10.0)
        assert rewards() == first


def test_what_was_recorded_outlives_a_new_beginning() -> None:
    stage = stage_of(town(), records=True)
    with running(stage):
        stage.step(10)
        until(lambda: stage.history.tick == 9)
        stage.call(lambda: stage.reset(4)).result(10.0)
        stage.step(3)
        until(lambda: len(stage.history.points()) == 3)
    recorded = stage.recorded()[AGENTS]
    assert recorded.num_steps == 5 * (10 + 3)
    assert np.unique(recorded.ticks).size == 10 + 3
    assert stage.recorded()[AGENTS].num_steps == 5 * (10 + 3)


def test_a_full_recording_ends_the_world_and_is_kept() -> None:
    stage = stage_of(town(), records=True, paused=False, max_rows=33)
    with pytest.raises(SimulationError, match="full: it has room for 33 steps of agents"):
        stage.run(lambda: False)
    assert stage.recorded()[AGENTS].num_steps == 5 * 6


def test_nobody_holds_an_agent_after_going_back() -> None:
    with running(stage_of(town())) as stage:
        runtime = stage.runtimes[AGENTS]
        agent = str(runtime.observed.agent_ids[0])  # type: ignore[union-attr]
        assert runtime.acquire_possession(agent, owner="p1")
        stage.step(2)
        until(lambda: stage.history.tick == 1)
        stage.call(stage.mark).result(10.0)
        stage.call(stage.again).result(10.0)
        assert not runtime.is_possessed(agent)
        assert runtime.acquire_possession(agent, owner="p2")


def test_a_town_draws_itself_and_others_are_a_grid() -> None:
    with running(stage_of(town())) as stage:
        stage.want()
        until(lambda: stage.snapshot is not None)
        shown = stage.snapshot
        assert shown is not None
        assert shown.scene.bars == ("hunger", "hygiene", "energy")
        assert shown.drawing.positions.shape == (5, 2)
        assert {mark.label for mark in shown.scene.marks} >= {"fridge", "bed", "workplace"}
    with running(stage_of(Corridor(num_worlds=1))) as stage:
        stage.want()
        until(lambda: stage.snapshot is not None)
        assert stage.snapshot is not None
        assert stage.snapshot.scene.marks == ()
