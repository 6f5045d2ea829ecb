"""Log and checkpoints of a run, in step with each other."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from corridor import SPEC
from test_checkpoint import checkpoint_of, learners

from townlet_training.config import ONE_GROUP
from townlet_training.errors import CheckpointError, ConfigError, ResumeError, TrainingError
from townlet_training.run.checkpoint import Checkpoint, read_checkpoint
from townlet_training.run.directory import RunDirectory
from townlet_training.run.state import LogMark, RunHistory

HISTORY = RunHistory(prepared=True, good=10)


def checkpoint(directory: RunDirectory, env_steps: int, history: RunHistory = HISTORY) -> Checkpoint:
    plain = checkpoint_of(learners(), env_steps)
    return replace(plain, state=replace(plain.state, history=history, log=directory.mark_log()))


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoints", "promotion.json"])
def test_a_directory_with_anything_of_a_run_is_used(tmp_path: Path, name: str) -> None:
    directory = RunDirectory(tmp_path, keep_last=1)
    (tmp_path / "config.yaml").touch()
    directory.require_unused()
    (tmp_path / name).touch()
    with pytest.raises(TrainingError, match=f"holds a run already \\(`{name}`\\)"):
        directory.require_unused()


def test_the_newest_is_of_the_run_that_is_described(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path, keep_last=1)
    state = checkpoint_of(learners()).state
    assert directory.newest(state) is None
    directory.begin_log()
    assert directory.newest(state) is None
    path = directory.checkpoints.save_interim(checkpoint(directory, 0, RunHistory()))
    found = directory.newest(state)
    assert found is not None
    assert found[0] == path
    with pytest.raises(ResumeError, match=r"`notes.controller` 'heuristic', not None"):
        directory.newest(replace(state, notes={}))


def test_going_back_takes_away_what_came_since(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path, keep_last=1)
    directory.begin_log()
    log = tmp_path / "metrics.jsonl"
    kept = RunDirectory(tmp_path, keep_last=9).checkpoints
    for env_steps in (10, 20):
        kept.save(checkpoint(directory, env_steps))
    log.write_text("{}\n")
    newest = checkpoint(directory, 30)
    kept.save(newest)
    log.write_text("{}\n[]\n{")
    directory.go_back_to(newest)
    assert log.read_text() == "{}\n"
    assert directory.checkpoints.steps() == (10, 30)
    (directory.checkpoints.path(10) / "state.json").unlink()
    with pytest.raises(CheckpointError, match="state.json"):
        directory.go_back_to(newest)


def test_the_same_state_is_saved_once(tmp_path: Path) -> None:
    own, directory = learners(), RunDirectory(tmp_path, keep_last=9)
    directory.begin_log()
    state = replace(checkpoint_of(own, 32).state, history=replace(HISTORY, good=32))
    interim = directory.save(state, own, None, interim=True)
    assert interim.name == "step-000000032-interim-1"
    assert directory.save(state, own, None, interim=True) == interim
    # An interim checkpoint is not enough where one is due.
    path = directory.save(state, own, None, interim=False)
    assert path == tmp_path / "checkpoints" / "step-000000032"
    assert directory.save(state, own, None, interim=True) == directory.save(state, own, None, interim=False) == path
    found = read_checkpoint(path).state
    assert (found.log, found.weights_sha256) == (directory.mark_log(), own.sha256())
    directory.saved_at = None
    with pytest.raises(CheckpointError, match="exists already"):
        directory.save(state, own, None, interim=False)


def test_a_checkpoint_of_other_worlds_is_not_loaded(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path, keep_last=1)
    directory.begin_log()
    directory.checkpoints.save(checkpoint(directory, 10))
    assert directory.load(10, specs={ONE_GROUP: SPEC}).state.env_steps == 10
    for spec in (replace(SPEC, world="town"), replace(SPEC, vocabulary=("wait", "right", "left"))):
        with pytest.raises(ConfigError, match="the checkpoint must be of"):
            directory.load(10, specs={ONE_GROUP: spec})


@pytest.fixture
def logged(tmp_path: Path) -> RunDirectory:
    (tmp_path / "metrics.jsonl").write_bytes(b"{}\n")
    return RunDirectory(tmp_path, keep_last=1)


def test_a_mark_is_the_length_and_the_digest(logged: RunDirectory) -> None:
    assert logged.mark_log() == LogMark(size=3, sha256=hashlib.sha256(b"{}\n").hexdigest())


@pytest.mark.parametrize("more", [b"", b"[]\n", b"[]\n{"])
def test_lines_behind_the_mark_are_removed(logged: RunDirectory, more: bytes) -> None:
    path, mark = logged.path / "metrics.jsonl", logged.mark_log()
    path.write_bytes(b"{}\n" + more)
    logged.cut_log(mark)
    assert path.read_bytes() == b"{}\n"


def test_a_log_that_is_shorter_or_another_is_refused(logged: RunDirectory) -> None:
    path = logged.path / "metrics.jsonl"
    path.write_bytes(b"{}\n{}\n")
    mark = logged.mark_log()
    path.write_bytes(b"{}\n")
    with pytest.raises(ResumeError, match="has 3 bytes, but the newest checkpoint was taken after 6"):
        logged.cut_log(mark)
    path.write_bytes(b"{}\n[]\n[]\n")
    with pytest.raises(ResumeError, match="its first 6 bytes are not those"):
        logged.cut_log(mark)
    assert path.read_bytes() == b"{}\n[]\n[]\n"
