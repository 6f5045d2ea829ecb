"""A training log becomes a picture, or a window where there is a display."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from training_logs import NEW, line, write_log

from townlet_runtime.cli import main
from townlet_runtime.cli.reports.plotting import _curves
from townlet_runtime.report import log_plot
from townlet_runtime.report.log_curves import LogCurve
from townlet_runtime.report.log_plot import log_picture


def curve(name: str = "rollout") -> LogCurve:
    return LogCurve(name=name, epochs=[1.0, 2.0, 3.0], loss=[3.0, None, 1.0], kl=[0.1, 0.2, 0.05])


def drawn(*curves: LogCurve) -> Figure:
    figure = Figure()
    log_plot._draw(curves)(figure)
    return figure


def test_loss_and_divergence_are_drawn_against_epochs() -> None:
    loss, kl = drawn(curve()).axes
    assert (loss.get_title(loc="center"), kl.get_title(loc="center")) == ("loss_total", "kl_divergence")
    assert kl.get_xlabel() == "epoch"
    np.testing.assert_array_equal(loss.lines[0].get_xydata(), [[1.0, 3.0], [2.0, np.nan], [3.0, 1.0]])
    np.testing.assert_array_equal(kl.lines[0].get_xydata(), [[1.0, 0.1], [2.0, 0.2], [3.0, 0.05]])
    assert loss.get_legend() is None


def test_each_kind_of_lines_has_a_line_and_a_name() -> None:
    loss, _ = drawn(curve("foxes"), curve("geese\x1b")).axes
    legend = loss.get_legend()
    assert legend is not None and [text.get_text() for text in legend.get_texts()] == ["foxes", "geese\\u001b"]


def test_a_single_point_is_seen() -> None:
    one = LogCurve(name="rollout", epochs=[1.0], loss=[2.0], kl=[0.0])
    assert drawn(one).axes[0].lines[0].get_marker() == "o"


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_picture_is_the_same_bytes_every_time(kind: str) -> None:
    picture = log_picture([curve()], kind=kind)
    assert picture == log_picture([curve()], kind=kind)
    assert picture.startswith({"png": b"\x89PNG", "svg": b"<?xml"}[kind])


@pytest.mark.parametrize("end", ["png", "svg"])
def test_the_command_writes_the_picture(end: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_log(tmp_path / "log", line(epoch=1), line(epoch=2))
    picture = tmp_path / "new" / f"picture.{end}"
    assert main(["report", "plot", str(log), "--output", str(picture)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Saved plot to {picture}"
    assert picture.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml"}[end])
    assert main(["report", "plot", str(log), "--output", str(picture), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == str(picture)


def test_the_lines_of_groups_and_of_kinds_of_data_are_drawn_apart(tmp_path: Path) -> None:
    records = [
        line(epoch=epoch, group=group, data_mode=mode)
        for epoch in (1, 2)
        for group, mode in (("foxes", "replay"), ("foxes", "rollout"), ("geese", "rollout"))
    ]
    found = _curves(records, tmp_path / "log")
    assert [each.name for each in found] == ["foxes, replay", "foxes, rollout", "geese, rollout"]
    assert [each.epochs for each in found] == [[1.0, 2.0]] * 3
    assert [each.name for each in _curves([line()], tmp_path / "log")] == ["rollout"]


BACKEND = """
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

class Manager(FigureManagerBase):
    @classmethod
    def pyplot_show(cls, *, block=None):
        from matplotlib import pyplot
        print("window:", [axes.get_title(loc="left") for axes in pyplot.gcf().axes], flush=True)

class FigureCanvas(FigureCanvasAgg):
    required_interactive_framework = {framework!r}
    manager_class = Manager

FigureManager = Manager
"""


def shown(folder: Path, backend: str, framework: str | None) -> subprocess.CompletedProcess[str]:
    (folder / "window.py").write_text(BACKEND.format(framework=framework))
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment |= {"MPLBACKEND": backend, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "townlet_runtime", "report", "plot", str(NEW), "--show"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("backend", ["agg", "tkagg", "module://window"])
def test_without_a_display_a_window_is_refused(backend: str, tmp_path: Path) -> None:
    done = shown(tmp_path, backend, None)
    assert done.returncode == 2
    assert done.stderr.startswith("townlet: error: matplotlib can open no window here")
    assert len(done.stderr.splitlines()) == 1 and "window:" not in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the framework of a display has another name")
def test_with_a_display_there_is_a_window(tmp_path: Path) -> None:
    done = shown(tmp_path, "module://window", "headless")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "window: ['loss_total', 'kl_divergence']"
