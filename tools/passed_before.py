"""A plugin of pytest that notes which tests passed, or leaves out those that passed before.

    python -m pytest -p passed_before --note-passed FILE
    python -m pytest -p passed_before --without-passed FILE

The files hold the ids of tests, one on each line. It works with pytest-xdist.
"""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    parser.addoption("--note-passed", metavar="FILE", help="write the ids of the tests that pass")
    parser.addoption("--without-passed", metavar="FILE", help="leave out the tests whose ids are in it")


def pytest_configure(config: pytest.Config) -> None:
    """Note in the first process alone, which hears of all tests."""
    note = config.getoption("--note-passed")
    if note is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Notes(Path(note)))


class _Notes:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._passed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._passed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self._path.write_text("".join(f"{one}\n" for one in sorted(self._passed)), encoding="utf-8")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what passed before; it is counted as deselected."""
    before = config.getoption("--without-passed")
    if before is None:
        return
    passed = set(Path(before).read_text(encoding="utf-8").splitlines())
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
    items[:] = [item for item in items if item.nodeid not in passed]
