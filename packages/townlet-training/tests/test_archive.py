"""Log and checkpoints of a run, in step with each other."""

from dataclasses import replace
from pathlib import Path

import pytest
from corridor import SPEC
from test_checkpoint import checkpoint_of, learners

from townlet_training.config import TrainingConfig
from townlet_training.errors import CheckpointError, ResumeError, TrainingError
from townlet_training.run.checkpoint import Checkpoint
from townlet_training.run.directory import Archive
from townlet_training.run.group_names import ONE_GROUP
from townlet_training.run.history import Course

CONFIG = TrainingConfig(seed=1, total_env_steps=1000)
SPECS = {ONE_GROUP: SPEC}
NOTES = {"controller": "heuristic"}


def checkpoint(archive: Archive, env_steps: int, course: Course) -> Checkpoint:
    plain = checkpoint_of(learners(), env_steps)
    return replace(plain, run=replace(plain.run, course=course, log=archive.mark()))


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoints", "promotion.json"])
def test_a_directory_with_anything_of_a_run_is_used(tmp_path: Path, name: str) -> None:
    archive = Archive(tmp_path, keep_last=1)
    archive.require_unused()
    (tmp_path / name).touch()
    with pytest.raises(TrainingError, match=name):
        archive.require_unused()


def test_the_newest_is_of_the_run_that_is_described(tmp_path: Path) -> None:
    archive = Archive(tmp_path, keep_last=1)
    assert archive.newest(config=CONFIG, specs=SPECS, notes=NOTES) is None
    archive.begin_log()
    assert archive.newest(config=CONFIG, specs=SPECS, notes=NOTES) is None
    path = archive.checkpoints.save_interim(checkpoint(archive, 0, Course()))
    found = archive.newest(config=CONFIG, specs=SPECS, notes=NOTES)
    assert found is not None
    assert found[0] == path
    with pytest.raises(ResumeError, match=r"`notes.controller` 'heuristic', not None"):
        archive.newest(config=CONFIG, specs=SPECS, notes={})


def test_going_back_takes_away_what_came_since(tmp_path: Path) -> None:
    archive = Archive(tmp_path, keep_last=1)
    archive.begin_log()
    log = tmp_path / "metrics.jsonl"
    course = Course(prepared=True, good=10)
    kept = Archive(tmp_path, keep_last=9).checkpoints
    for env_steps in (10, 20):
        kept.save(checkpoint(archive, env_steps, course))
    log.write_text("{}\n")
    newest = checkpoint(archive, 30, course)
    kept.save(newest)
    log.write_text("{}\n[]\n{")
    archive.go_back_to(newest)
    assert log.read_text() == "{}\n"
    assert archive.checkpoints.steps() == (10, 30)
    (archive.checkpoints.path(10) / "state.json").unlink()
    with pytest.raises(CheckpointError, match="state.json"):
        archive.go_back_to(newest)
