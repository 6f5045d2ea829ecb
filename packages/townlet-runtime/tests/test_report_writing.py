"""Without the extra, pictures can still be made and the report says what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from report_samples import copy_run, finish, town

from townlet_runtime.errors import MissingExtraError
from townlet_runtime.report.writing import write_report


class Absent:
    """An import finder for which some top-level modules are not installed."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def remove(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in ("townlet_runtime.report.page", name):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Absent(name), *sys.meta_path])


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove(monkeypatch, "jinja2")
    with pytest.raises(MissingExtraError, match=r"install `townlet-runtime\[report\]` to write the report of a run"):
        write_report(finish(copy_run(tmp_path / "run")), town_picture=town())


def test_another_missing_module_is_not_called_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove(monkeypatch, "townlet_runtime.report.page")
    with pytest.raises(ModuleNotFoundError, match=r"townlet_runtime.report.page"):
        write_report(finish(copy_run(tmp_path / "run")), town_picture=town())


def test_pictures_need_no_extra() -> None:
    program = (
        "import sys; import townlet_runtime.town.picture; print(sorted({'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
