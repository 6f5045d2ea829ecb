"""Clocks and progress, with a time that a test sets."""

import pytest

from townlet_training.run import clock as progress
from townlet_training.run.clock import Progress, RunClock


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    own = Time()
    monkeypatch.setattr(progress, "time", own)
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
