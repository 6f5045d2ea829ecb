"""`townlet train --ray ADDRESS`: the same run as in one process, also where that of the run is killed."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_nodes import simulated
from test_cli_workers import MAX_SECONDS, UNITS, record_of
from tiny_run import arguments

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(sys.platform == "win32", reason="Ray simulates no cluster there"),
]
NODES = 4
FOUR_UNITS = [*UNITS, "--set", "training.unit_worlds=1"]


def begun(*command: str) -> subprocess.Popen[str]:
    """A process of its own, whose numerical libraries have one thread from the beginning."""
    return subprocess.Popen([sys.executable, "-m", "townlet_runtime", *command], stderr=subprocess.PIPE, text=True)


def carry_out(*command: str) -> None:
    process = begun(*command)
    _, said = process.communicate(timeout=MAX_SECONDS)
    assert process.returncode in (0, 1), said


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    with simulated(NODES) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def collected_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    carry_out(*arguments(run_dir, *FOUR_UNITS))
    return run_dir


def test_four_nodes_come_to_what_one_process_comes_to(collected_alone: Path, tmp_path: Path, nodes: Any) -> None:
    carry_out(*arguments(tmp_path / "run", *FOUR_UNITS, "--ray", nodes.address, "--workers", str(NODES)))
    assert record_of(tmp_path / "run") == record_of(collected_alone)


def test_a_run_that_is_killed_goes_on_where_it_was(collected_alone: Path, tmp_path: Path, nodes: Any) -> None:
    run_dir = tmp_path / "run"
    process = begun(*arguments(run_dir, *FOUR_UNITS, "--ray", nodes.address, "--workers", "2"))
    log, deadline = run_dir / "metrics.jsonl", time.monotonic() + MAX_SECONDS
    while not (log.exists() and log.read_bytes().count(b"\n") >= 3) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (run_dir / "manifest.json").exists()
    on_nodes = ["--ray", nodes.address, "--workers", str(NODES), "--processes", "1"]
    carry_out("train", "--resume", str(run_dir), "-q", *on_nodes)
    assert record_of(run_dir) == record_of(collected_alone)
