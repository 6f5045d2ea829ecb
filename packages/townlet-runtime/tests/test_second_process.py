"""A second process plays waves of episodes, and what happens to it is said by name."""

import io
import re
import subprocess
import time
from collections.abc import Iterator

import numpy as np
import pytest
from second_worlds import BREAKS, COMMAND, DIES, RAISES, SLEEPS, corridors, policy, unpacked, wait_until_played

from townlet_runtime.core.second_process import (
    Message,
    SecondProcess,
    WaveTask,
    answer_waves,
    read_message,
    write_message,
)
from townlet_runtime.errors import EnvironmentFaultError, SecondProcessError

WORLDS: Message = {"seed": 3, "num_worlds": 4}
FIRST = 2**31


def scripted(*seeds: int) -> WaveTask:
    return WaveTask(behavior="scripted", policies=b"", sample=False, seeds=np.array(seeds))


@pytest.fixture
def second() -> Iterator[SecondProcess]:
    process = SecondProcess(COMMAND, WORLDS)
    yield process
    process.close()


def test_a_message_and_its_bytes_come_as_they_were_sent() -> None:
    stream = io.BytesIO()
    write_message(stream, {"numbers": [0.1, 2**63 - 1], "nothing": None}, b"\x00\xff")
    write_message(stream, {})
    stream.seek(0)
    assert read_message(stream) == ({"numbers": [0.1, 2**63 - 1], "nothing": None}, b"\x00\xff")
    assert read_message(stream) == ({}, b"")
    assert read_message(stream) is None


@pytest.mark.parametrize("cut", [3, 15, 20, -1])
def test_a_message_that_was_cut_is_none(cut: int) -> None:
    stream = io.BytesIO()
    write_message(stream, {"name": "value"}, b"bytes")
    assert read_message(io.BytesIO(stream.getvalue()[:cut])) is None


def test_a_wave_scores_as_in_this_process(second: SecondProcess) -> None:
    seeds = np.arange(FIRST, FIRST + 4)
    drawn = WaveTask(behavior=None, policies=b"5", sample=True, seeds=seeds)
    greedy = WaveTask(behavior=None, policies=b"5", sample=False, seeds=seeds)
    tasks = [drawn, scripted(*seeds), greedy, WaveTask(behavior="random", policies=b"", sample=False, seeds=seeds)]
    second.submit(tasks)
    own = corridors(WORLDS)
    assert tasks[0].result() == own.wave(policy(5), seeds=seeds, sample=True)
    assert tasks[1].result() == own.baseline("scripted", seeds=seeds)
    assert tasks[2].result() == own.evaluate(policy(5), seeds=seeds, sample=False)
    assert tasks[3].result() == own.baseline("random", seeds=seeds)
    assert len({task.result().returns for task in tasks}) == 4


def test_an_error_is_raised_by_its_name_with_the_seeds_and_the_process_lives_on(second: SecondProcess) -> None:
    failing, after = scripted(RAISES, RAISES + 7), scripted(FIRST)
    second.submit([failing, after])
    said = rf"SimulationError: no such corridor \(in a second process, where scripted played the seeds {RAISES} to"
    with pytest.raises(SecondProcessError, match=said):
        failing.result()
    assert after.result() == corridors(WORLDS).baseline("scripted", seeds=after.seeds)


def test_a_fault_of_the_environment_stays_one(second: SecondProcess) -> None:
    broken = scripted(BREAKS)
    second.submit([broken])
    with pytest.raises(EnvironmentFaultError, match=rf"corridors, world 3, tick 7: .* played the seeds {BREAKS}"):
        broken.result()
    error = broken.scores.exception()
    assert isinstance(error, EnvironmentFaultError) and (error.environment, error.world, error.tick) == (
        "corridors",
        3,
        7,
    )


def test_a_process_that_dies_is_named_with_its_code_its_last_words_and_the_seeds(second: SecondProcess) -> None:
    dying, after = scripted(DIES), scripted(FIRST)
    second.submit([dying, after])
    said = rf"ended with code 7, while scripted played the seeds {DIES} to {DIES}: no memory left"
    with pytest.raises(SecondProcessError, match=said):
        dying.result()
    with pytest.raises(SecondProcessError, match=rf"ended with code 7, while scripted played the seeds {FIRST}"):
        after.result()


@pytest.mark.parametrize(
    ("command", "worlds", "reason"),
    [
        (
            [*COMMAND[:1], "-c", "raise SystemExit('nothing to play with')"],
            WORLDS,
            "code 1, .*: nothing to play",
        ),
        (COMMAND, {**WORLDS, "num_worlds": 0}, "SimulationError: `num_worlds` must be at least 1"),
    ],
)
def test_where_it_cannot_build_the_worlds_every_wave_is_left_to_this_process(
    command: list[str], worlds: Message, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    process = SecondProcess(command, worlds)
    task = WaveTask(behavior=None, policies=b"5" * 2**20, sample=True, seeds=np.array([FIRST]))
    while not caplog.records:
        time.sleep(0.01)
    process.submit([task])
    assert process.take([task]) is task
    process.close()
    assert re.search(f"all episodes are played in this process, for the second one cannot: .*{reason}", caplog.text)


def test_it_is_closed_at_once_whatever_it_plays(second: SecondProcess) -> None:
    asleep, waiting = scripted(SLEEPS), scripted(FIRST)
    second.submit([asleep, waiting])
    wait_until_played(asleep)
    began = time.monotonic()
    second.close()
    assert time.monotonic() - began < 60.0  # not the ten minutes of the wave
    assert not waiting.scores.done()


def test_waves_are_taken_back_from_the_end_and_preferred_ones_come_first(second: SecondProcess) -> None:
    asleep = scripted(SLEEPS)
    second.submit([asleep])
    wait_until_played(asleep)
    later, sooner = [scripted(FIRST + place) for place in range(3)], [scripted(FIRST + 10), scripted(FIRST + 11)]
    second.submit(later)
    second.submit(sooner)
    second.prefer(sooner)
    every = [*later, *sooner]
    taken = [second.take(every) for _ in every]
    assert taken == [later[2], later[1], later[0], sooner[1], sooner[0]]
    assert second.take(every) is None


def test_it_ends_when_its_requests_end_as_they_do_where_the_first_process_is_killed() -> None:
    assert subprocess.run(COMMAND, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=300).stdout == b""
    answers, requests = io.BytesIO(), io.BytesIO()
    write_message(requests, WORLDS)
    requests.seek(0)
    answer_waves(requests, answers, evaluator=corridors, unpacked=unpacked)
    answers.seek(0)
    assert read_message(answers) == ({"ready": True}, b"") and read_message(answers) is None
