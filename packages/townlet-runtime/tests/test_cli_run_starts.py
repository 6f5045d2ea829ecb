"""`train --resume DIR --total-steps MORE`, and what is refused of it and of `--init-from`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_cli_adapt import STEPS, train

from townlet_runtime.cli import main
from townlet_runtime.cli.console import CommandError
from townlet_runtime.cli.training.run_starts import extend, settle_extension
from townlet_runtime.cli.worlds import require_unchanged
from townlet_runtime.errors import RunDirectoryError
from townlet_runtime.runs.begun import BegunFile
from townlet_runtime.runs.finished import read_run
from townlet_training.run.checkpoint import CheckpointStore, read_checkpoint
from townlet_training.run.metrics import WALL_TIME_KEYS
from townlet_trajectory.evaluation.gates import GateResult, Verdict

LONGER = STEPS + 2 * 12 * 2
CODE = ["--env", "lanes:Lanes", "--threads", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "short"
    assert train(path, "Lanes", "--mode", "ppo") in (0, 1)
    return path


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    path = tmp_path / "run"
    shutil.copytree(run, path)
    return path


def log_of(run_dir: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in WALL_TIME_KEYS} for line in lines]


def test_an_extended_run_is_the_longer_run(copied: Path, tmp_path: Path) -> None:
    # Learning rate and clip range are constant, and every update is followed by an evaluation.
    whole = tmp_path / "whole"
    assert train(whole, "Lanes", "--mode", "ppo", steps=LONGER) in (0, 1)
    assert main(["train", "-q", "--resume", str(copied), "--total-steps", str(LONGER), *CODE]) in (0, 1)
    assert log_of(copied) == log_of(whole) and len(log_of(whole)) == 4
    for name in ("policy.onnx", "policy.vectors.json", "evaluation.json", "promotion.json"):
        assert (copied / name).read_bytes() == (whole / name).read_bytes(), name
    begun, other = BegunFile.read(copied / "begun.json"), BegunFile.read(whole / "begun.json")
    (extension,) = begun.extensions
    assert extension.total_env_steps == STEPS
    assert replace(begun, extensions=()) == other  # the resolved config is in it
    require_unchanged(copied)
    assert read_run(copied).summary.env_steps == LONGER


def require_honest(run_dir: Path) -> None:
    """The directory is that of a finished run, all of it, or of an unfinished one that can be resumed."""
    if (run_dir / "manifest.json").exists():
        read_run(run_dir)
    else:
        with pytest.raises(RunDirectoryError):
            read_run(run_dir)
    settle_extension(run_dir)
    begun = require_unchanged(run_dir)
    assert begun.config is not None
    total = begun.config["training"]["total_env_steps"]  # type: ignore[index, call-overload]
    assert total == (LONGER if begun.extensions else STEPS)


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_killed_at_any_call_an_extension_leaves_a_run_that_goes_on(run: Path, tmp_path: Path) -> None:
    expected = tmp_path / "expected"
    shutil.copytree(run, expected)
    extend(expected, LONGER)
    for number in range(1, 100):
        path = tmp_path / str(number)
        shutil.copytree(run, path)
        child = os.fork()
        if not child:
            try:
                _kill_at_call(number)
                extend(path, LONGER)
                os._exit(0)
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            break
        assert code == -signal.SIGKILL
        require_honest(path)
        extend(path, LONGER)
        require_honest(path)
        for name in ("begun.json", "config.yaml"):
            assert (path / name).read_bytes() == (expected / name).read_bytes()
        assert not (path / "manifest.json").exists()
        shutil.rmtree(path)
    assert 5 < number < 99


def _kill_at_call(number: int) -> None:
    """Kill this process (-9) at its call to the file system with this `number`, counted from 1."""
    left = [number]
    for name in ("write", "rename", "replace", "unlink", "fsync"):
        real: Callable[..., Any] = vars(os)[name]

        def dying(*args: Any, real: Callable[..., Any] = real, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(os, name, dying)


def test_an_extension_that_was_broken_off_goes_on_without_naming_it_again(copied: Path, tmp_path: Path) -> None:
    old = (copied / "config.yaml").read_bytes()
    extend(copied, LONGER)
    (copied / "config.yaml").write_bytes(old)  # killed between the two
    with pytest.raises(CommandError, match="changed since the run was begun"):
        require_unchanged(copied)
    assert main(["train", "-q", "--resume", str(copied), *CODE]) in (0, 1)
    assert read_run(copied).summary.env_steps == LONGER


def test_a_run_is_not_shortened(copied: Path) -> None:
    extend(copied, STEPS)
    read_run(copied)
    with pytest.raises(CommandError, match=r"--total-steps 48: .* has 72 world steps; a run can only be given more"):
        extend(copied, 48)
    read_run(copied)


def test_a_damaged_run_is_not_extended(copied: Path) -> None:
    with (copied / "summary.json").open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(RunDirectoryError, match="summary.json"):
        extend(copied, LONGER)
    assert (copied / "manifest.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("bc", "a run of mode bc has no updates that world steps could be added to"),
        ("failure", "its run was ended by gate kept_score_72; begin another one with --init-from"),
        ("worlds", "its worlds cannot be saved, so it cannot go on; begin another with --init-from"),
    ],
)
def test_a_run_that_cannot_go_on_is_not_extended(copied: Path, change: str, message: str) -> None:
    store = CheckpointStore(copied / "checkpoints", keep_last=9)
    newest = store.newest()
    assert newest is not None
    checkpoint = read_checkpoint(newest)
    checkpoint.state.env_steps += 1
    if change == "bc":
        checkpoint.state.config = replace(checkpoint.state.config, mode="bc")
    elif change == "failure":
        checkpoint.state.history.failure = GateResult(name="kept_score_72", verdict=Verdict.FAILED, detail="low")
    else:
        checkpoint = replace(checkpoint, worlds=None)
    store.save(checkpoint)
    with pytest.raises(CommandError, match=message):
        extend(copied, LONGER)
    assert (copied / "manifest.json").exists()


def test_a_resumed_run_has_its_own_policy(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", str(copied), "--init-from", str(copied)]) == 2
    assert "--resume goes on with the run's own policy" in capsys.readouterr().err
    assert main(["train", "--init-from", str(copied / "policy.onnx")]) == 2
    assert "a policy file can act, but not be trained on" in " ".join(capsys.readouterr().err.split())
