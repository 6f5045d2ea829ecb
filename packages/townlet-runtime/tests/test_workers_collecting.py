"""Workers collect what one process does, in whatever order units arrive, and whatever happens to a worker."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worker_worlds import CONFIG, SPLIT, WORLDS, divided, packed, policy, pool_of, simulation_of, units

from townlet_runtime.errors import SimulationError, WorkerError
from townlet_runtime.simulation.interface import AGENTS
from townlet_runtime.workers.blocks import Arrays
from townlet_runtime.workers.collected import CollectionReader
from townlet_runtime.workers.collecting import PooledCollector
from townlet_runtime.workers.messages import Message
from townlet_runtime.workers.pool import MAX_ATTEMPTS, WorkerPool
from townlet_runtime.workers.units import Unit, units_of
from townlet_trajectory.dataset.source import arrays_of
from townlet_trajectory.evaluation.interfaces import AnyActor, Collected, Opponents

FOUR = {**WORLDS, "num_worlds": 8}
"""Four units of two worlds."""
TICKS = 30


@contextmanager
def collecting(
    size: int, worlds: Message = FOUR, *, ahead: int = 0, timeout_s: float = 300.0
) -> Iterator[PooledCollector]:
    pool = pool_of(size, worlds, timeout_s=timeout_s)
    try:
        yield collector(pool, worlds, ahead=ahead)
    finally:
        pool.close()


def collector(pool: WorkerPool, worlds: Message, *, ahead: int = 0) -> PooledCollector:
    specs = simulation_of(worlds, worlds["num_worlds"]).specs
    return PooledCollector(pool, units(worlds), specs, packed=packed, ahead=ahead)


def content(collected: Collected) -> dict[str, Any]:
    """Everything of a collection, for comparisons bit by bit."""
    counts = {name: value for name, value in vars(collected).items() if name not in ("batches", "policy_age", "ratio")}
    ((group, batch),) = collected.batches.items()
    arrays = {name: (array.dtype, array.tobytes()) for name, array in arrays_of(batch).items()}
    return {**counts, **arrays, "group": group, "schema": batch.schema}


def alone(
    rounds: int, *, worlds: Message = FOUR, of: Callable[[int], int] = lambda number: number
) -> list[dict[str, Any]]:
    """The collections of this process; `of` says whose policy acts in which of them."""
    own = divided(worlds)
    return [
        content(own.collect(policy(of(number)), num_ticks=TICKS, ratio=0.2 + 0.1 * number)) for number in range(rounds)
    ]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_any_number_of_workers_collects_what_one_process_does(size: int) -> None:
    with collecting(size) as pooled:
        found = [
            content(pooled.collect(policy(number), num_ticks=TICKS, ratio=0.2 + 0.1 * number)) for number in range(3)
        ]
    assert found == alone(3)


def test_the_order_in_which_units_arrive_does_not_matter(tmp_path: Path) -> None:
    late = {0: 0.4, 1: 0.3, 2: 0.0, 3: 0.0}
    for index, seconds in late.items():
        (tmp_path / f"{index}-late-").write_text(str(seconds))
    with collecting(2, {**FOUR, "folder": str(tmp_path)}) as pooled:
        found = [
            content(pooled.collect(policy(number), num_ticks=TICKS, ratio=0.2 + 0.1 * number)) for number in range(2)
        ]
    assert found == alone(2)


def test_the_script_alone_is_collected_too_and_no_batch_is_memory_that_is_used_again() -> None:
    own = divided(FOUR)
    with collecting(2) as pooled:
        first = pooled.collect(None, num_ticks=TICKS, ratio=0.0)
        before = content(first)
        pooled.collect(policy(1), num_ticks=TICKS, ratio=0.5)
        assert content(first) == before == content(own.collect(None, num_ticks=TICKS, ratio=0.0))


@pytest.mark.parametrize("what", ["die", "hang", "raise"])
def test_what_a_worker_fails_at_is_done_again(what: str, tmp_path: Path) -> None:
    worlds = {**FOUR, "folder": str(tmp_path)}
    with collecting(2, worlds, timeout_s=4.0) as pooled:
        found = []
        for number in range(4):
            if number in (0, 2):
                (tmp_path / f"{number}-{what}-{number}").touch()
            found.append(content(pooled.collect(policy(number), num_ticks=TICKS, ratio=0.2 + 0.1 * number)))
        assert pooled._pool.replaced == (0 if what == "raise" else 2)
    assert found == alone(4) and not list(tmp_path.iterdir())


def test_a_unit_that_fails_everywhere_ends_the_run_with_its_name_and_the_first_error(tmp_path: Path) -> None:
    for number in range(MAX_ATTEMPTS):
        (tmp_path / f"1-raise-{number}").touch()
    with collecting(2, {**FOUR, "folder": str(tmp_path)}) as pooled:
        said = r"an order to raise: 1-raise-0 \(in a worker process, where unit 1 \(worlds 2 to 3\) was stepped, coll"
        with pytest.raises(WorkerError, match=said):
            pooled.collect(policy(0), num_ticks=TICKS, ratio=0.5)


def test_an_answer_that_cannot_be_read_leaves_the_unit_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    read, broken = CollectionReader.read, [True, True]

    def once_broken(self: CollectionReader, message: Message, arrays: Arrays) -> Collected:
        if broken:
            broken.pop()
            raise KeyError("no such array")
        return read(self, message, arrays)

    monkeypatch.setattr(CollectionReader, "read", once_broken)
    with collecting(2) as pooled:
        found = [
            content(pooled.collect(policy(number), num_ticks=TICKS, ratio=0.2 + 0.1 * number)) for number in range(2)
        ]
    assert not broken and found == alone(2)


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
@pytest.mark.parametrize("seed", range(3))
def test_workers_that_are_killed_at_any_moment_change_nothing(seed: int) -> None:
    moments = np.random.default_rng(seed)
    expected = alone(6)
    with collecting(2) as pooled:
        done = threading.Event()

        def kill() -> None:
            # Fewer than would end two places whose workers never get to their first answer.
            for _ in range(2 * MAX_ATTEMPTS - 1):
                if done.wait(moments.uniform(0.05, 0.4)):
                    return
                links = pooled._pool.links()
                with suppress(ProcessLookupError):  # one that ended, and is not replaced yet
                    os.kill(links[moments.integers(len(links))].pid, signal.SIGKILL)
                if done.wait(1.5):
                    return

        pooled.collect(policy(0), num_ticks=TICKS, ratio=0.2)
        killer = threading.Thread(target=kill)
        killer.start()
        try:
            found = [
                content(pooled.collect(policy(number), num_ticks=TICKS, ratio=0.2 + 0.1 * number))
                for number in range(1, 6)
            ]
        finally:
            done.set()
            killer.join()
    assert found == expected[1:]


@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0), (1, 3)])
def test_a_saved_collector_goes_on_with_another_number_of_workers(before: int, after: int) -> None:
    expected = alone(4)

    def rounds(own: Any, numbers: range) -> list[dict[str, Any]]:
        return [content(own.collect(policy(n), num_ticks=TICKS, ratio=0.2 + 0.1 * n)) for n in numbers]

    @contextmanager
    def made(size: int) -> Iterator[Any]:
        if size:
            with collecting(size) as pooled:
                yield pooled
        else:
            yield divided(FOUR)

    with made(before) as own:
        state, first = own.save_state(), rounds(own, range(2))
        later = own.save_state()
    assert first == expected[:2] and state is not None and later is not None
    with made(after) as own:
        own.restore(later)
        assert rounds(own, range(2, 4)) == expected[2:]
    with made(after) as own:
        own.restore(state)
        assert rounds(own, range(1)) == expected[:1]


@pytest.mark.parametrize("ahead", [1, 2])
def test_collections_that_began_ahead_are_those_of_an_earlier_policy_and_say_so(ahead: int) -> None:
    ratios = [0.2 + 0.1 * number for number in range(5)]
    with collecting(2, ahead=ahead) as pooled:
        taken = [
            pooled.collect(policy(n), num_ticks=TICKS, ratio=ratios[n], ahead=ratios[n + 1 : n + 1 + ahead])
            for n in range(5)
        ]
    assert [one.policy_age for one in taken] == [min(number, ahead) for number in range(5)]
    assert [one.ratio for one in taken] == ratios
    assert [content(one) for one in taken] == alone(5, of=lambda number: max(0, number - ahead))


def test_what_has_begun_ahead_is_saved_and_begun_again() -> None:
    ratios = [0.2 + 0.1 * number for number in range(5)]

    def rounds(own: PooledCollector, numbers: range) -> list[tuple[int, dict[str, Any]]]:
        taken = [own.collect(policy(n), num_ticks=TICKS, ratio=ratios[n], ahead=ratios[n + 1 : n + 3]) for n in numbers]
        return [(one.policy_age, content(one)) for one in taken]

    with collecting(2, ahead=2) as pooled:
        unbroken = rounds(pooled, range(5))
    with collecting(2, ahead=2) as pooled:
        rounds(pooled, range(2))
        state = pooled.save_state()
    assert state is not None
    with collecting(1, ahead=2) as pooled:
        pooled.restore(state)
        assert rounds(pooled, range(2, 5)) == unbroken[2:]


OPPOSED: Message = {**SPLIT, "num_worlds": 8, "unrecorded": [AGENTS]}
"""One agent of three learns; the others are a group that somebody else plays."""
MEETINGS: list[tuple[dict[str, AnyActor] | None, Opponents]] = [
    (None, {AGENTS: None}),
    (None, {AGENTS: policy(9)[AGENTS]}),
    ({**policy(1, "first")}, {AGENTS: None}),
    ({**policy(2, "first")}, {AGENTS: policy(8)[AGENTS]}),
    ({**policy(3, "first")}, {AGENTS: policy(9)[AGENTS]}),
]
"""Who learns and who is met, collection by collection."""


def met(own: Any, numbers: range, *, ahead: int = 0) -> list[dict[str, Any]]:
    found = []
    for number in numbers:
        (actors, opponents), ratio = MEETINGS[number], 0.0 if MEETINGS[number][0] is None else 0.5
        more = {"ahead": [ratio] * ahead} if ahead else {}
        found.append(content(own.collect(actors, num_ticks=TICKS, ratio=ratio, opponents=opponents, **more)))
    return found


def test_workers_meet_the_opponents_that_one_process_meets(tmp_path: Path) -> None:
    expected = met(divided(OPPOSED), range(len(MEETINGS)))
    assert {one["group"] for one in expected} == {"first"}
    for number, what in ((0, "die"), (3, "raise")):
        (tmp_path / f"{number}-{what}-1").touch()
    with collecting(2, {**OPPOSED, "folder": str(tmp_path)}) as pooled:
        found = met(pooled, range(3))
        state = pooled.save_state()
        assert found + met(pooled, range(3, 5)) == expected
        assert pooled._pool.replaced == 1
    assert state is not None and not list(tmp_path.iterdir())
    own = divided(OPPOSED)
    own.restore(state)
    assert met(own, range(3, 5)) == expected[3:]
    # it does matter whom they meet
    own.restore(state)
    assert content(own.collect(MEETINGS[3][0], num_ticks=TICKS, ratio=0.5, opponents={AGENTS: None})) != expected[3]


@pytest.mark.parametrize("first", [1, 2])
def test_what_has_begun_ahead_is_against_the_opponents_of_then(first: int) -> None:
    with collecting(2, OPPOSED, ahead=1) as pooled:
        met(pooled, range(first, first + 1), ahead=1)
        state = pooled.save_state()
        unbroken = met(pooled, range(first, first + 1))
    assert state is not None
    own = divided(OPPOSED)
    again = [one for _ in range(2) for one in met(own, range(first, first + 1))]
    assert unbroken == again[1:]
    with collecting(1, OPPOSED, ahead=1) as pooled:
        pooled.restore(state)
        # whoever is handed over now comes too late for a collection that has begun
        assert met(pooled, range(first + 2, first + 3)) == unbroken


def test_no_two_units_live_the_same_life() -> None:
    own = units(FOUR)
    assert len({unit.draws_seed for unit in own}) == len(own)
    assert len({int(seed) for unit in own for seed in unit.world_seeds}) == 8
    one = divided(FOUR).collect(policy(0), num_ticks=TICKS, ratio=0.5).batches[AGENTS]
    assert sorted(set(one.worlds.tolist())) == list(range(8))
    lives = {
        one.rewards[np.isin(one.worlds[one.trajectory_of_row], unit)].tobytes() for unit in np.arange(8).reshape(4, 2)
    }
    assert len(lives) == 4


def test_a_collection_waits_for_no_episode_to_end() -> None:
    assert CONFIG.episode_ticks > TICKS
    with collecting(2) as pooled:
        batch = pooled.collect(policy(0), num_ticks=TICKS, ratio=0.5).batches[AGENTS]
    assert np.count_nonzero(~(batch.terminated | batch.truncated)) > 0
    assert batch.ticks.max() == TICKS - 1 and set(batch.worlds.tolist()) == set(range(8))


def test_the_only_unit_of_a_run_is_the_run() -> None:
    (unit,) = units_of(4, unit_worlds=None, seed=3)
    assert unit == Unit(index=0, count=1, num_worlds=4, seed=3) and unit.draws_seed == 3
    with pytest.raises(SimulationError, match="divides 4 worlds, got 3"):
        units_of(4, unit_worlds=3, seed=3)


def test_what_cannot_be_collected_elsewhere_is_refused() -> None:
    with collecting(1, ahead=1) as pooled:
        with pytest.raises(SimulationError, match="networks of this package"):
            pooled.collect({AGENTS: object()}, num_ticks=TICKS, ratio=1.0)  # type: ignore[dict-item]
        with pytest.raises(SimulationError, match="at most 1 collections ahead, got 2"):
            pooled.collect(policy(0), num_ticks=TICKS, ratio=1.0, ahead=[1.0, 1.0])
        pooled.collect(policy(0), num_ticks=TICKS, ratio=1.0, ahead=[1.0])
        with pytest.raises(SimulationError, match=f"a collection of {TICKS} ticks has begun, one of 7 is asked for"):
            pooled.collect(policy(0), num_ticks=7, ratio=1.0)


_OWNER = """
import sys, time
sys.path.insert(0, {folder!r})
from worker_worlds import policy
from test_workers_collecting import FOUR, TICKS, collecting
with collecting(2) as pooled:
    pooled.collect(policy(0), num_ticks=TICKS, ratio=0.5)
    pool = pooled._pool
    print(*[link.pid for link in pool.links()], *[one.name for one in pool._memories], flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_nothing_of_the_workers_outlives_a_process_that_is_killed() -> None:
    program = _OWNER.format(folder=str(Path(__file__).parent))
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    said = owner.stdout.readline().split()
    places = [Path(f"/proc/{pid}") for pid in said[:2]] + [Path(name) for name in said[2:]]
    assert len(places) == 6 and all(place.exists() for place in places)
    owner.kill()
    owner.communicate()
    deadline = time.monotonic() + 60.0
    while any(place.exists() for place in places) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [place for place in places if place.exists()]
