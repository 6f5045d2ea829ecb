"""The session's demands on the machine, its options, and its account of what it did."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
# What is damaged and broken off here in full is the same as in the short tests of the package.
sys.path[:0] = [str(HERE), str(HERE.parent / "packages" / "townlet-trajectory" / "tests")]

from hypothesis import settings  # noqa: E402
from ledger import Begin, Tally  # noqa: E402

settings.register_profile("faults", deadline=None, max_examples=10_000)
settings.load_profile("faults")

_tallies: list[Tally] = []


def _missing() -> list[str]:
    """What this session needs and this machine has not."""
    if sys.platform != "linux":
        return [f"Linux (this is {sys.platform})"]
    missing = [] if os.geteuid() == 0 else [f"root (this is user {os.geteuid()}): it mounts, and traces"]
    return missing + [tool for tool in ("strace", "mkfs.ext4", "mount") if shutil.which(tool) is None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--scale", type=float, default=1.0, help="share of the full number of cases")
    parser.addoption("--faults-seed", type=int, default=None, help="of the damage; a new one by default")


def pytest_sessionstart(session: pytest.Session) -> None:
    if missing := _missing():
        pytest.exit(f"the fault session cannot run here, it needs {' and '.join(missing)}", returncode=1)


def pytest_report_header(config: pytest.Config) -> str:
    return f"faults: seed {_seed(config)}, scale {config.getoption('--scale')}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    terminalreporter.section(f"cases (seed {_seed(config)}, scale {config.getoption('--scale')})")
    for tally in _tallies:
        terminalreporter.write_line(tally.line())
    cases, failures = sum(tally.num_cases for tally in _tallies), sum(len(tally.failures) for tally in _tallies)
    terminalreporter.write_line(f"{cases} cases, {failures} failures")


def _seed(config: pytest.Config) -> int:
    if config.option.faults_seed is None:
        config.option.faults_seed = int(np.random.SeedSequence().generate_state(1)[0])
    return int(config.option.faults_seed)


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Begin the account of a test on a subject; the test ends with `close`."""

    def begin_one(test: str, subject: str) -> Tally:
        _tallies.append(Tally(test=test, subject=subject))
        return _tallies[-1]

    return begin_one


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    return _seed(request.config)


@pytest.fixture
def scaled(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """The number of cases to run, of the full number."""
    scale = request.config.getoption("--scale")
    return lambda full: max(2, round(full * scale))


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    """A folder in memory, where a sync costs nothing."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="townlet-faults-") as folder:
        yield Path(folder)
