"""Clocks and progress, with a time that a test sets."""

from dataclasses import replace

import pytest
from corridor import SPEC

from townlet_training.config import ONE_GROUP, TrainingConfig
from townlet_training.run import monitor
from townlet_training.run.monitor import Interrupted, Progress, RunClock, RunMonitor
from townlet_training.run.state import TrainingState


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


def test_a_clock_counts_on(time: Time) -> None:
    clock = RunClock()
    clock.resume(30.0, {"clone": 10.0, "ppo": 5.0})
    with clock.measure("ppo"):
        time.now += 4.0
    assert clock.elapsed == 34.0
    assert clock.parts == {"clone": 10.0, "ppo": 9.0}


def test_progress_by_hand(time: Time) -> None:
    clock = RunClock()
    time.now += 4.0
    assert clock.progress(stage="ppo", env_steps=200, total_env_steps=1000, last_return=2.5) == Progress(
        stage="ppo", env_steps=200, total_env_steps=1000, env_steps_per_s=50.0, seconds_left=16.0, last_return=2.5
    )


def test_progress_has_no_negative_time_left_and_no_division_by_zero(time: Time) -> None:
    clock = RunClock()
    assert clock.progress(stage="clone", env_steps=0, total_env_steps=10, last_return=None).env_steps_per_s == 0.0
    time.now += 1.0
    assert clock.progress(stage="ppo", env_steps=20, total_env_steps=10, last_return=None).seconds_left == 0.0


def test_a_report_is_of_the_state_and_a_run_stops_when_it_is_asked_to(time: Time) -> None:
    reports: list[Progress] = []
    asked = [False, True]
    watched = RunMonitor(on_progress=reports.append, stop=lambda: asked.pop(0))
    config = TrainingConfig(seed=1, total_env_steps=300_000)
    state = TrainingState(
        config=config, specs={ONE_GROUP: SPEC}, notes={}, stage="anneal", env_steps=500, transitions={ONE_GROUP: 0}
    )
    time.now += 5.0
    watched.report(state)
    watched.scoring = True
    watched.report(state)
    first = Progress(
        stage="anneal",
        env_steps=500,
        total_env_steps=300_000,
        env_steps_per_s=100.0,
        seconds_left=2995.0,
        last_return=None,
    )
    assert reports == [first, replace(first, stage="judge")]
    watched.stop_if_asked()
    with pytest.raises(Interrupted):
        watched.stop_if_asked()
