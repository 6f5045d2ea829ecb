"""Clocks and progress, with a time that a test sets."""

from dataclasses import replace
from typing import Any

import pytest
from corridor import SPEC

from townlet_training.config import ONE_GROUP, TrainingConfig
from townlet_training.run import monitor
from townlet_training.run.monitor import Interrupted, Play, Progress, RunClock, RunMonitor, WorkLeft
from townlet_training.run.state import Played, TrainingState


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    own = Time()
    monkeypatch.setattr(monitor, "time", own)
    return own


def test_parts_add_up_and_survive_errors(time: Time) -> None:
    clock = RunClock()
    for seconds in (2.0, 3.0):
        with clock.measure("clone"):
            time.now += seconds

    def fail_after_a_second() -> None:
        with clock.measure("final"):
            time.now += 1.0
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_a_second()
    assert clock.parts == {"clone": 5.0, "final": 1.0}
    assert clock.elapsed == 6.0


def state_of(**changes: Any) -> TrainingState:
    config = TrainingConfig(seed=1, total_env_steps=300_000)
    return TrainingState(config=config, specs={ONE_GROUP: SPEC}, notes={}, transitions={ONE_GROUP: 0}, **changes)


def test_a_clock_counts_on(time: Time) -> None:
    clock = RunClock()
    played = {"learned": Played(episodes=4, seconds=2.0)}
    clock.resume(state_of(stage="ppo", elapsed=30.0, timings={"clone": 10.0, "ppo": 5.0}, played=played))
    with clock.measure("ppo"), clock.measure_play(Play("learned", 4)):
        time.now += 4.0
    assert clock.elapsed == 34.0
    assert clock.parts == {"clone": 10.0, "ppo": 9.0}
    assert clock.played == {"learned": Played(episodes=8, seconds=6.0)}
    noted = state_of(stage="ppo")
    clock.note(noted)
    assert (noted.elapsed, noted.timings, noted.played) == (34.0, clock.parts, clock.played)


def test_the_time_left_by_hand(time: Time) -> None:
    clock = RunClock()
    for part, seconds in (("clone", 50.0), ("warmup", 2.0), ("anneal", 3.0), ("ppo", 5.0), ("evaluation", 70.0)):
        with clock.measure(part):
            time.now += seconds
    for player, episodes, seconds in (("learned", 10, 5.0), ("random", 20, 1.0)):
        with clock.measure_play(Play(player, episodes)):
            time.now += seconds
    plays = [Play("learned", 100), Play("random", 100), Play("idle", 30)]
    # 5 updates took 10 s, so 3 take 6; an episode takes the policy 0.5 s, chance 0.05 s, and idling as long as the mean
    # of all 30 episodes, which took 6 s.
    left = WorkLeft(updates=3, plays=plays)
    assert clock.seconds_of(left, num_updates=5) == pytest.approx(6.0 + 50.0 + 5.0 + 6.0)
    assert clock.seconds_of(replace(left, updates=0), num_updates=5) == pytest.approx(61.0)


@pytest.mark.parametrize(
    ("updates", "plays", "left"),
    [(1, (), None), (0, (Play("learned", 1),), None), (0, (), 0.0)],
)
def test_before_anything_was_measured_nothing_is_claimed(
    time: Time, updates: int, plays: tuple[Play, ...], left: float | None
) -> None:
    assert RunClock().seconds_of(WorkLeft(updates=updates, plays=plays), num_updates=0) == left


def test_a_report_is_of_the_state_and_a_run_stops_when_it_is_asked_to(time: Time) -> None:
    reports: list[Progress] = []
    asked = [False, True]
    left = [WorkLeft(updates=4, plays=()), WorkLeft(updates=0, plays=())]
    watched = RunMonitor(on_progress=reports.append, stop=lambda: asked.pop(0), left=lambda: left.pop(0))
    state = state_of(stage="anneal", env_steps=500, num_updates=2)
    with watched.clock.measure("anneal"):
        time.now += 5.0
    watched.report(state)
    watched.scoring = True
    watched.report(state)
    first = Progress(
        stage="anneal",
        env_steps=500,
        total_env_steps=300_000,
        env_steps_per_s=100.0,
        seconds_left=10.0,
        last_return=None,
        ratio=0.0,
        evaluations=(),
        failure=None,
    )
    assert reports == [first, replace(first, stage="judge", seconds_left=0.0)]
    watched.stop_if_asked()
    with pytest.raises(Interrupted):
        watched.stop_if_asked()
