"""The record of a run: the same shards whoever steps a unit, whatever happens to a worker, wherever a run goes on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from worker_worlds import CONFIG, WORLDS, collector_of, packed, policy, pool_of, units

from townlet_behavior.errors import StateError
from townlet_runtime.errors import SimulationError, WorkerError
from townlet_runtime.simulation.interface import AGENTS
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.testing import Corridor
from townlet_runtime.workers.collecting import PooledCollector
from townlet_runtime.workers.messages import Message
from townlet_runtime.workers.recording import RecordedCollector, RecordingCollector, RecordPlace, RunRecord, part_of
from townlet_runtime.workers.units import DividedCollector, units_of
from townlet_trajectory import ArtifactError, DatasetInfo, TrajectoryBatch, joined, read_shards
from townlet_trajectory.audit.dataset import audit_dataset
from townlet_trajectory.audit.report import Severity
from townlet_trajectory.dataset.source import arrays_of
from townlet_trajectory.errors import ManifestError
from townlet_trajectory.evaluation.interfaces import Collected
from townlet_trajectory.formats.shards.reader import PartsReader, open_shards
from townlet_trajectory.storage.urls import Url

THREE: Message = {**WORLDS, "num_worlds": 6}
"""Three units of two worlds."""
TICKS = 30
TOKEN = "0123456789abcdef" * 2


def place_at(folder: Path, token: str = TOKEN) -> RecordPlace:
    return RecordPlace(place=folder, token=token)


@contextmanager
def recording(
    place: RecordPlace, size: int = 0, worlds: Message = THREE, *, ahead: int = 0
) -> Iterator[RecordedCollector]:
    """The collector of a run that is recorded: with so many workers, or in this process."""
    own = units(worlds)
    with ExitStack() as opened:
        record = opened.enter_context(RunRecord(place, own, [AGENTS], info=DatasetInfo(), num_collections=9))
        if size:
            pool = pool_of(size, {**worlds, "record": place.message()})
            opened.callback(pool.close)
            specs = OneGroup(Corridor(CONFIG)).specs
            yield RecordedCollector(PooledCollector(pool, own, specs, packed=packed, ahead=ahead), record)
        else:
            each = [RecordingCollector(collector_of(unit, worlds), place, unit) for unit in own]
            yield RecordedCollector(each[0] if len(each) == 1 else DividedCollector(own, each), record)


def collect(recorded: RecordedCollector, numbers: range, *, ahead: int = 0) -> list[Collected]:
    """The collections of a run; `ahead` begin before they are asked for, with the policy of then."""
    return [
        recorded.collect(
            policy(number),
            num_ticks=TICKS,
            ratio=0.2 + 0.1 * number,
            ahead=[0.2 + 0.1 * (number + 1 + later) for later in range(ahead)],
        )
        for number in numbers
    ]


def files_in(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Collected]]:
    """The record of four collections in this process, and these collections."""
    folder = tmp_path_factory.mktemp("record")
    with recording(place_at(folder)) as recorded:
        collected = collect(recorded, range(4))
    return folder, collected


def same_rows(first: TrajectoryBatch, second: TrajectoryBatch) -> bool:
    found, expected = arrays_of(first), arrays_of(second)
    return found.keys() == expected.keys() and all(
        found[name].dtype == expected[name].dtype and np.array_equal(found[name], expected[name]) for name in found
    )


def test_the_record_holds_what_was_collected(whole: tuple[Path, list[Collected]]) -> None:
    folder, collected = whole
    assert sorted(files_in(folder)) == sorted(
        f"agents/parts/unit-000{unit}/{name}"
        for unit in range(3)
        for name in (
            "begun.json",
            "manifest.json",
            *(f"{table}-00000{number}.arrow" for table in ("steps", "trajectories") for number in range(4)),
        )
    )
    reader = open_shards(folder / AGENTS)
    assert isinstance(reader, PartsReader) and reader.num_steps == sum(each.agent_steps for each in collected)
    # Four shards of each unit; the worlds have their numbers in the run.
    for number, one in enumerate(collected):
        rows = TrajectoryBatch.concatenate([reader.load_block(4 * unit + number) for unit in range(3)])
        assert same_rows(rows, one.batches[AGENTS])
    assert reader.info.notes == {"units": 3, "unit_worlds": 2}
    assert [reader.parts[part].info.notes["unit"] for part in reader.parts] == [0, 1, 2]
    assert all(finding.severity is not Severity.FAIL for finding in audit_dataset(folder / AGENTS).findings)


def test_a_trajectory_that_collections_cut_is_whole_again(whole: tuple[Path, list[Collected]]) -> None:
    folder, _ = whole
    pieces = read_shards(folder / AGENTS)
    batch = joined(pieces)
    ended = batch.terminated | batch.truncated
    assert len(batch) < len(pieces)
    # What goes on at the end does so at the last tick of its world.
    last = batch.ticks[batch.offsets[1:] - 1]
    assert (last[~ended] == batch.ticks.max()).all() and not (pieces.terminated | pieces.truncated).all()


@pytest.mark.parametrize("size", [1, 3])
def test_workers_write_what_one_process_writes(size: int, whole: tuple[Path, list[Collected]], tmp_path: Path) -> None:
    with recording(place_at(tmp_path), size) as recorded:
        collect(recorded, range(4))
    assert files_in(tmp_path) == files_in(whole[0])


def test_units_of_one_run_are_recorded_too(tmp_path: Path) -> None:
    one = {**THREE, "unit_worlds": 6}
    for name, size in (("alone", 0), ("worker", 1)):
        with recording(place_at(tmp_path / name), size, one) as recorded:
            collect(recorded, range(2))
    assert files_in(tmp_path / "alone") == files_in(tmp_path / "worker")
    assert [*open_shards(tmp_path / "alone" / AGENTS).parts] == ["unit-0000"]  # type: ignore[union-attr]


def test_what_was_collected_ahead_is_in_the_record_once_it_is_taken(tmp_path: Path) -> None:
    taken = {}
    for size in (1, 2):
        with recording(place_at(tmp_path / str(size)), size, ahead=2) as recorded:
            taken[size] = collect(recorded, range(3), ahead=2)  # and two more have begun
            recorded.save_state()
            reader = open_shards(tmp_path / str(size) / AGENTS)
            assert reader.num_steps == sum(each.agent_steps for each in taken[size])
    # What nobody took is removed when the workers have ended.
    assert files_in(tmp_path / "1") == files_in(tmp_path / "2")
    assert len(files_in(tmp_path / "1")) == 3 * (2 + 2 * 3)
    rows = [open_shards(tmp_path / "1" / AGENTS).load_block(block) for block in (1, 4, 7)]
    assert same_rows(TrajectoryBatch.concatenate(rows), taken[1][1].batches[AGENTS])


@pytest.mark.parametrize("order", ["tear-{}-", "{}-die-"])
def test_a_worker_that_fails_while_it_writes_or_before_changes_nothing(
    order: str, whole: tuple[Path, list[Collected]], tmp_path: Path
) -> None:
    orders = tmp_path / "orders"
    orders.mkdir()
    with recording(place_at(tmp_path / "record"), 2, {**THREE, "folder": str(orders)}) as recorded:
        for number in range(4):
            if number in (0, 2):
                (orders / order.format(number)).touch()
            collect(recorded, range(number, number + 1))
        pooled = recorded._collector
        assert isinstance(pooled, PooledCollector) and pooled._pool.replaced == 2
    assert not list(orders.iterdir()) and files_in(tmp_path / "record") == files_in(whole[0])


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
def test_workers_that_are_killed_at_any_time_change_nothing(
    whole: tuple[Path, list[Collected]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recording(place_at(tmp_path), 2) as recorded:
        pooled = recorded._collector
        assert isinstance(pooled, PooledCollector)
        begin = pooled._begin
        kills: list[int] = []

        def begun(*asked: Any, **more: Any) -> None:
            begin(*asked, **more)
            alive = [link.pid for link in pooled._pool.links() if link.pid not in kills]  # type: ignore[attr-defined]
            if alive:
                os.kill(alive[0], signal.SIGKILL)
                kills.append(alive[0])

        monkeypatch.setattr(pooled, "_begin", begun)
        collect(recorded, range(4))
    assert len(kills) >= 3 and files_in(tmp_path) == files_in(whole[0])


class Killed(BaseException):
    """Stands for `kill -9`."""


def broken(folder: Path, size: int, *, saved_after: int, killed_after: int, ahead: int = 0) -> Any:
    """Begin a run that is killed; the state of its checkpoint, None where there was none yet."""
    state = None
    with suppress(Killed), recording(place_at(folder), size, ahead=ahead) as recorded:
        for number in range(killed_after):
            collect(recorded, range(number, number + 1), ahead=ahead)
            if number + 1 == saved_after:
                state = recorded.save_state()
        raise Killed
    return state


@pytest.mark.parametrize(("before", "after", "saved_after"), [(0, 1, 1), (1, 0, 2)])
def test_a_run_that_goes_on_comes_to_the_same_record(
    before: int, after: int, saved_after: int, whole: tuple[Path, list[Collected]], tmp_path: Path
) -> None:
    state = broken(tmp_path, before, saved_after=saved_after, killed_after=3)
    assert open_shards(tmp_path / AGENTS).num_steps == sum(each.agent_steps for each in whole[1][:saved_after])
    with recording(place_at(tmp_path), after) as recorded:
        recorded.restore(state)
        collect(recorded, range(saved_after, 4))
    assert files_in(tmp_path) == files_in(whole[0])


def test_a_run_that_collects_ahead_and_goes_on_comes_to_the_same_record(tmp_path: Path) -> None:
    with recording(place_at(tmp_path / "whole"), 2, ahead=1) as recorded:
        collect(recorded, range(4), ahead=1)
    state = broken(tmp_path / "broken", 1, saved_after=2, killed_after=3, ahead=1)
    with recording(place_at(tmp_path / "broken"), 2, ahead=1) as recorded:
        recorded.restore(state)
        collect(recorded, range(2, 4), ahead=1)
    assert files_in(tmp_path / "broken") == files_in(tmp_path / "whole")


@pytest.mark.parametrize("listed", [False, True])
def test_a_run_that_begins_again_writes_its_record_again(
    listed: bool, whole: tuple[Path, list[Collected]], tmp_path: Path
) -> None:
    """Killed before its first checkpoint; `listed`: after the record was listed for it."""
    broken(tmp_path, 0, saved_after=2 if listed else 0, killed_after=3)
    with recording(place_at(tmp_path)) as recorded:
        collect(recorded, range(4))
    assert files_in(tmp_path) == files_in(whole[0])


def test_the_record_of_another_run_is_not_touched(whole: tuple[Path, list[Collected]], tmp_path: Path) -> None:
    with recording(place_at(tmp_path)) as recorded:
        collect(recorded, range(1))
    before = files_in(tmp_path)
    for token in (TOKEN[::-1], "other"):
        with pytest.raises(ArtifactError, match=r"`unit-0000` is taken, it is complete"):
            with recording(place_at(tmp_path, token)) as recorded:
                collect(recorded, range(1))
    record = RunRecord(place_at(tmp_path), units(THREE), [AGENTS], info=DatasetInfo(), num_collections=1)
    with pytest.raises(ArtifactError, match=r"agents: write: holds a dataset already, with parts \(unit-0000, "):
        record.require_free()
    assert files_in(tmp_path) == before


def test_a_checkpoint_without_its_record_does_not_go_on(tmp_path: Path) -> None:
    state = broken(tmp_path / "one", 0, saved_after=2, killed_after=2)
    with pytest.raises(ArtifactError, match=r"unit-0000: open: expected the shards before number 2, found no manifest"):
        with recording(place_at(tmp_path / "another")) as recorded:
            recorded.restore(state)
    with pytest.raises(StateError, match="must be named GROUP/NAME with a group of"):
        with recording(place_at(tmp_path / "one")) as recorded:
            recorded.restore({name.removeprefix("worlds/"): array for name, array in state.items()})


def test_a_worker_that_sees_another_disk_is_named(tmp_path: Path) -> None:
    with recording(place_at(tmp_path / "here"), 1) as recorded:
        pooled = recorded._collector
        assert isinstance(pooled, PooledCollector)
        pooled._pool._worlds["record"] = place_at(tmp_path / "there").message()
        for link in pooled._pool.links():
            link.close()  # the next worker is told of the other disk
        said = r"the claim of `unit-000.` is not seen from here: .* a directory that they share .* where unit . \("
        with pytest.raises(WorkerError, match=said):
            collect(recorded, range(1))
    assert not (tmp_path / "there").exists()


def test_a_shard_that_is_missing_when_it_is_listed_is_named(tmp_path: Path) -> None:
    with suppress(Killed), recording(place_at(tmp_path)) as recorded:
        collect(recorded, range(1))
        recorded.save_state()
        collect(recorded, range(1, 2))
        (tmp_path / AGENTS / "parts" / "unit-0001" / "steps-000001.arrow").unlink()
        with pytest.raises(ArtifactError, match=r"unit-0001/steps-000001.arrow: verify: expected the \d+ bytes"):
            recorded.save_state()
        raise Killed
    part = open_shards(tmp_path / AGENTS / "parts" / "unit-0001")
    assert len(part.block_offsets) == 2
    part.verify()


def test_an_answer_without_the_entries_is_refused(tmp_path: Path) -> None:
    with recording(place_at(tmp_path)) as recorded:
        [collected] = collect(recorded, range(1))
        with pytest.raises(ManifestError, match=r"expected \['agents'\], got \[\]"):
            recorded._record.take([{}, {}, {}], collected)


@pytest.fixture
def _empty_store() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.mark.usefixtures("_empty_store")
def test_a_record_behind_a_url(whole: tuple[Path, list[Collected]]) -> None:
    place = RecordPlace(place=Url("memory://runs/one"), token=TOKEN)
    with recording(place) as recorded:
        collect(recorded, range(4))
    assert open_shards("memory://runs/one/agents").fingerprint == open_shards(whole[0] / AGENTS).fingerprint


def test_a_place_travels_as_json(tmp_path: Path) -> None:
    for place in (tmp_path, Url("s3://ann:secret@bucket/runs")):
        told = RecordPlace.told(RecordPlace(place=place, token=TOKEN).message())
        assert told == RecordPlace(place=place, token=TOKEN)
    assert "secret" not in repr(told) and str(told.dataset("cats")) == "s3://bucket/runs/cats"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda run: {**run, "num_collections": 8193}, r"at most 8,192 collections: lower .*; the run has 8,193"),
        (
            lambda run: {**run, "units": units_of(4097, unit_worlds=1, seed=1)},
            r"at most 4,096 units: give `unit_worlds` more worlds; the run has 4,097",
        ),
    ],
)
def test_more_than_a_dataset_can_list_is_refused(
    make: Callable[[dict[str, Any]], dict[str, Any]], said: str, tmp_path: Path
) -> None:
    most = {"units": units_of(4096, unit_worlds=1, seed=1)[:2], "num_collections": 8192}
    RunRecord(place_at(tmp_path), groups=[AGENTS], info=DatasetInfo(), **most)
    with pytest.raises(SimulationError, match=said):
        RunRecord(place_at(tmp_path), groups=[AGENTS], info=DatasetInfo(), **make(most))


def test_names_of_parts_sort_as_units_do() -> None:
    own = units_of(4096, unit_worlds=1, seed=1)
    assert [part_of(unit) for unit in own] == sorted(part_of(unit) for unit in own)
    assert part_of(replace(own[0], index=12)) == "unit-0012"
