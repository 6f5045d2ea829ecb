"""`train(..., record=...)`: what a run that is begun from Python collects is kept."""

from pathlib import Path

import pytest
from test_training import corridor, small

from townlet_runtime.errors import RunDirectoryError, SimulationError
from townlet_runtime.training import train
from townlet_runtime.training_worlds import planned_collections
from townlet_training import DaggerConfig
from townlet_trajectory import ArtifactError
from townlet_trajectory.formats.shards.reader import open_shards


def test_a_run_from_python_keeps_what_it_collects_and_goes_on_with_it(tmp_path: Path) -> None:
    whole = train(corridor, small(unit_worlds=1), tmp_path / "whole", record=tmp_path / "all")
    reader = open_shards(tmp_path / "all" / "agents")
    # The first rollout, which fits normalization, and one of each update, in two units.
    assert len(reader.block_offsets) == 1 + 2 * (1 + whole.counters.num_updates)
    assert reader.info.notes["environment"] == corridor(1).spec.name
    asked = iter([False, False, True])
    broken = train(corridor, small(unit_worlds=1), tmp_path / "run", stop=lambda: next(asked), record=tmp_path / "own")
    assert broken.interrupted
    train(corridor, small(), tmp_path / "without", stop=lambda: True)
    with pytest.raises(RunDirectoryError, match="the run was begun without a record"):
        train(corridor, small(), tmp_path / "without", resume=True, record=tmp_path / "new")
    train(corridor, small(unit_worlds=1), tmp_path / "run", resume=True)
    assert open_shards(tmp_path / "own" / "agents").fingerprint == reader.fingerprint


def test_workers_of_a_run_from_python_write_the_same_record(tmp_path: Path) -> None:
    for workers in (0, 1):
        folder = tmp_path / str(workers)
        train(corridor, small(unit_worlds=1), folder / "run", record=folder / "record", workers=workers)
    alone, worker = (open_shards(tmp_path / name / "record" / "agents") for name in "01")
    assert alone.fingerprint == worker.fingerprint


def test_what_a_run_from_python_cannot_record_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    train(corridor, small(), tmp_path / "run", record=tmp_path / "record")
    with pytest.raises(ArtifactError, match=r"holds a dataset already, with parts \(unit-0000\)"):
        train(corridor, small(), tmp_path / "new", record=tmp_path / "record")
    data = [tmp_path / "record" / "agents"]
    for make in (corridor, None):
        with pytest.raises(SimulationError, match="expected a run that collects in a world, to record at"):
            train(make, small(mode="bc"), tmp_path / "new", data=data, record=tmp_path / "other")
    assert not (tmp_path / "new").exists() and not (tmp_path / "other").exists()


def test_collections_that_are_planned() -> None:
    # 64 world steps are two rollouts of 16 ticks in two worlds; a clone or a first rollout may come on top.
    assert planned_collections(small()) == 3
    assert planned_collections(small(mode="bc")) == 1
    assert planned_collections(small(mode="dagger", dagger=DaggerConfig(rounds=7))) == 7
