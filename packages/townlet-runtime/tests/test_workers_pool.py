"""Workers play waves of episodes; what happens to one is said by name, and its wave is played elsewhere."""

import io
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from worker_worlds import (
    BREAKS,
    COMMAND,
    DIES,
    RAISES,
    SLEEPS,
    WORLDS,
    corridors,
    packed,
    played_by,
    policy,
    pool_of,
    wait_until_played,
    workplace,
)

from townlet_runtime.errors import EnvironmentFaultError, WorkerError
from townlet_runtime.workers.defaults import THREAD_VARIABLES
from townlet_runtime.workers.links import ProcessLink
from townlet_runtime.workers.messages import Message, read_message, write_message
from townlet_runtime.workers.pool import MAX_ATTEMPTS, WorkerPool
from townlet_runtime.workers.tasks import Packed, WaveCast, WaveTask
from townlet_runtime.workers.worker import answer_requests

FIRST = 2**31


def scripted(*seeds: int) -> WaveTask:
    return played_by("scripted", *seeds)


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = pool_of(1)
    yield pool
    pool.close()


def test_a_message_and_its_bytes_come_as_they_were_sent() -> None:
    stream = io.BytesIO()
    write_message(stream, {"numbers": [0.1, 2**63 - 1], "nothing": None}, [b"\x00", b"\xff"])
    write_message(stream, {})
    stream.seek(0)
    assert read_message(stream) == ({"numbers": [0.1, 2**63 - 1], "nothing": None}, b"\x00\xff")
    assert read_message(stream) == ({}, b"")
    assert read_message(stream) is None


@pytest.mark.parametrize("cut", [3, 15, 20, -1])
def test_a_message_that_was_cut_is_none(cut: int) -> None:
    stream = io.BytesIO()
    write_message(stream, {"name": "value"}, [b"bytes"])
    assert read_message(io.BytesIO(stream.getvalue()[:cut])) is None


def test_a_wave_scores_as_in_this_process(pool: WorkerPool) -> None:
    seeds, five = np.arange(FIRST, FIRST + 4), Packed.of(packed(policy(5)) or b"")
    cast = WaveCast.of(policy(5), {})
    drawn = WaveTask(cast, policies=five, sample=True, seeds=seeds)
    greedy = WaveTask(cast, policies=five, sample=False, seeds=seeds)
    tasks = [drawn, scripted(*seeds), greedy, played_by("random", *seeds)]
    pool.submit(tasks)
    own = corridors(WORLDS)
    assert tasks[0].result() == own.wave(policy(5), seeds=seeds, sample=True)
    assert tasks[1].result() == own.baseline("scripted", seeds=seeds)
    assert tasks[2].result() == own.evaluate(policy(5), seeds=seeds, sample=False)
    assert tasks[3].result() == own.baseline("random", seeds=seeds)
    assert len({task.result().returns for task in tasks}) == 4


def test_an_error_is_raised_by_its_name_with_the_seeds_and_the_worker_lives_on(pool: WorkerPool) -> None:
    failing, after = scripted(RAISES, RAISES + 7), scripted(FIRST)
    pool.submit([failing, after])
    said = rf"SimulationError: no such corridor \(in a worker process, where scripted played the seeds {RAISES} to"
    with pytest.raises(WorkerError, match=said):
        failing.result()
    assert failing.failed_at == [0] * MAX_ATTEMPTS and pool.replaced == 0
    assert after.result() == corridors(WORLDS).baseline("scripted", seeds=after.seeds)


def test_a_fault_of_the_environment_stays_one(pool: WorkerPool) -> None:
    broken = scripted(BREAKS)
    pool.submit([broken])
    with pytest.raises(EnvironmentFaultError, match=rf"corridors, world 3, tick 7: .* played the seeds {BREAKS}"):
        broken.result()
    error = broken.done.exception()
    assert isinstance(error, EnvironmentFaultError) and (error.environment, error.world, error.tick) == (
        "corridors",
        3,
        7,
    )


def test_what_kills_every_worker_is_named_with_the_code_the_last_words_and_the_seeds(pool: WorkerPool) -> None:
    dying, after = scripted(DIES), scripted(FIRST)
    pool.submit([dying, after])
    said = rf"ended with code 7: no memory left, while scripted played the seeds {DIES} to {DIES}"
    with pytest.raises(WorkerError, match=said):
        dying.result()
    assert pool.replaced == MAX_ATTEMPTS
    assert after.result() == corridors(WORLDS).baseline("scripted", seeds=after.seeds)


@pytest.mark.parametrize(
    ("command", "worlds", "reason"),
    [
        ([*COMMAND[:1], "-c", "raise SystemExit('nothing to play with')"], WORLDS, "code 1: nothing to play"),
        (COMMAND, {**WORLDS, "num_worlds": 0}, "SimulationError: `num_worlds` must be at least 1"),
    ],
)
def test_where_no_worker_can_build_the_worlds_every_wave_is_left_to_this_process(
    command: list[str], worlds: Message, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    pool = WorkerPool(lambda place: ProcessLink(command), 2, worlds, timeout_s=300.0)
    large = Packed.of(b"5" * 2**20)
    task = WaveTask(WaveCast.of(policy(5), {}), policies=large, sample=True, seeds=np.array([FIRST]))
    pool.submit([task])
    while "does alone" not in caplog.text:
        time.sleep(0.01)
    assert pool.take([task]) is task
    pool.submit([task])
    assert pool.take([task]) is task
    pool.close()
    assert re.search(f"this process does alone what it can, for no worker can do anything: .*{reason}", caplog.text)


def test_a_pool_is_closed_at_once_whatever_its_workers_play(pool: WorkerPool) -> None:
    asleep, waiting = scripted(SLEEPS), scripted(FIRST)
    pool.submit([asleep, waiting])
    wait_until_played(asleep, pool)
    began = time.monotonic()
    pool.close()
    assert time.monotonic() - began < 60.0  # not the ten minutes of the wave
    assert not waiting.done.done()


def test_a_worker_that_hangs_is_replaced() -> None:
    pool = pool_of(1, timeout_s=5.0)
    try:
        asleep, after = scripted(SLEEPS), scripted(FIRST)
        pool.submit([asleep, after])
        with pytest.raises(WorkerError, match=rf"did not answer within 5 s, while scripted played the seeds {SLEEPS}"):
            asleep.result()
        assert pool.replaced == MAX_ATTEMPTS
        assert after.result() == corridors(WORLDS).baseline("scripted", seeds=after.seeds)
    finally:
        pool.close()


def test_waves_are_taken_back_from_the_end_and_preferred_ones_come_first(pool: WorkerPool) -> None:
    asleep = scripted(SLEEPS)
    pool.submit([asleep])
    wait_until_played(asleep, pool)
    later, sooner = [scripted(FIRST + place) for place in range(3)], [scripted(FIRST + 10), scripted(FIRST + 11)]
    pool.submit(later)
    pool.submit(sooner)
    pool.prefer(sooner)
    every = [*later, *sooner]
    taken = [pool.take(every) for _ in every]
    assert taken == [later[2], later[1], later[0], sooner[1], sooner[0]]
    assert pool.take(every) is None


def test_a_worker_ends_when_its_requests_end_as_they_do_where_the_first_process_is_killed() -> None:
    assert subprocess.run(COMMAND, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=300).stdout == b""
    answers, requests = io.BytesIO(), io.BytesIO()
    write_message(requests, {"worlds": WORLDS, "sizes": [], "memory": None})
    requests.seek(0)
    answer_requests(requests, answers, workplace)
    answers.seek(0)
    assert read_message(answers) == ({"ready": True, "arrays": [], "in_memory": 0}, b"")
    assert read_message(answers) is None


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_the_threads_of_a_worker_are_said_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    link = ProcessLink([sys.executable, "-c", "input()"])
    try:
        said = Path(f"/proc/{link.pid}/environ").read_bytes().decode().split("\0")
        assert {f"{name}=1" for name in THREAD_VARIABLES} <= set(said)
        assert "OMP_NUM_THREADS=7" not in said
    finally:
        link.close()
