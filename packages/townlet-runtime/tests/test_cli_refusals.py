"""What is refused is refused at once, and nothing but what is needed for saying so is imported."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from townlet_runtime.cli import main
from townlet_runtime.errors import PolicyFileError
from townlet_runtime.runs.directory import require_policy
from townlet_trajectory.storage import files

TRAINER = ("torch", "scipy", "townlet_training", "matplotlib")
FOR_PATHS = (*TRAINER, "onnxruntime", "yaml", "townlet_runtime.config", "townlet_runtime.town")

SCRIPT = """
import sys
from townlet_runtime.cli import main
code = main(sys.argv[2:])
loaded = [name for name in sys.argv[1].split(",") if name in sys.modules]
print(f"imported: {loaded}" if loaded else f"code {code}")
"""


def refused(command: list[str], without: tuple[str, ...], cwd: Path) -> str:
    """The one line that a refusal prints, by a process of its own that imports nothing of `without`."""
    arguments = [sys.executable, "-c", SCRIPT, ",".join(without), *command]
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.stdout == "code 2\n", done.stderr
    assert done.stderr.startswith("townlet: error: ") and done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the things that commands are given wrongly."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "manifest.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.yaml").write_text("a: [")
    (tmp_path / "foreign.onnx").write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("train --run-dir full", "full: exists and is not empty"),
        ("train --run-dir bad.yaml/run", "bad.yaml is no directory"),
        ("train --resume missing", "missing: expected the directory of a run, found no directory"),
        ("train --resume empty", "empty: expected the directory of a run, found no config.yaml in it"),
        ("evaluate missing", "missing: expected the directory of a finished run"),
        ("run --policy missing.onnx", "missing.onnx: expected a readable policy file"),
        ("run --policy foreign.onnx", "foreign.onnx: expected one `file_sha256`"),
        ("run --policy empty", "empty: expected the directory of a finished run"),
        ("run --record full", "full: exists and is not empty"),
    ],
)
def test_a_path_is_refused_before_the_config_is_even_read(command: str, problem: str, folder: Path) -> None:
    assert problem in refused(command.split(), FOR_PATHS, folder)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("train bad.yaml", "bad.yaml: not YAML: while parsing"),
        ("train --set nonsense=1", "`nonsense`: unknown key"),
        ("train --set town.local_window=4", "odd number of cells"),
        ("train --set world.grid_size=[1,1]", "grid_size"),
        ("train --env nowhere", "no world `nowhere` is registered in `townlet.simulations` (there are: town)"),
        ("train --env nowhere:nothing", "the world 'nowhere:nothing' cannot be imported: ModuleNotFoundError"),
        ("train --controller nobody:nothing", "the controller 'nobody:nothing' cannot be imported"),
        ("train --guardrail nobody:nothing", "the guardrail 'nobody:nothing' cannot be imported"),
        ("evaluate full", "begun.json: "),
        ("run --set nonsense=1", "`nonsense`: unknown key"),
        ("run --record new --ticks 300000", "--record: keeps at most 2,000,000 steps of agents"),
    ],
)
def test_what_is_said_wrongly_is_refused_without_the_trainer(command: str, problem: str, folder: Path) -> None:
    assert problem in refused(command.split(), TRAINER, folder)
    assert not (folder / "new").exists()


def test_a_run_directory_in_use_is_refused_without_the_trainer(folder: Path) -> None:
    descriptor = os.open(folder / "empty", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        assert "empty: in use by " in refused(["train", "--run-dir", "empty"], FOR_PATHS, folder)
    finally:
        os.close(descriptor)


def test_a_directory_of_a_run_passes_as_a_policy(folder: Path) -> None:
    require_policy(folder / "full")
    with pytest.raises(PolicyFileError, match="foreign"):
        require_policy(folder / "foreign.onnx")


def test_a_recording_that_the_disk_does_not_hold_leaves_no_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "samples"
    write, left = os.write, 60_000

    def limited(descriptor: int, data: bytes) -> int:
        nonlocal left
        if left < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        left -= len(data)
        return write(descriptor, data)

    monkeypatch.setattr(files.os, "write", limited)
    assert main(["run", "-q", "--ticks", "30", "--record", str(target)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert left < 60_000
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("arguments", ["run --ticks 3", "run --ticks 3 --json", "run --ticks 3 --render", "--help"])
def test_a_reader_that_has_enough_ends_it_without_a_word(arguments: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "townlet_runtime", *arguments.split()]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize("arguments", ["run --ticks 3", "--help", "--version"])
def test_output_that_cannot_be_written_is_an_error_of_one_line(arguments: str) -> None:
    command = [sys.executable, "-m", "townlet_runtime", *arguments.split()]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("townlet: error: ") and done.stderr.endswith("No space left on device\n")
    assert done.stderr.count("\n") == 1
