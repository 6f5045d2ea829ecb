"""`townlet report render` and `report compare`: the pages of finished runs."""

import hashlib
import json
from pathlib import Path

import pytest
from finished_run import town_policy, write_finished_run
from report_samples import edit, finish, leave_the_world
from several_runs import write_runs

from townlet_runtime.cli import main
from townlet_runtime.runs import finished
from townlet_runtime.runs.finished import read_run, replace_report
from townlet_trajectory.errors import ArtifactError


def digests(run: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in run.iterdir() if path.is_file()}


def test_a_report_is_drawn_anew_and_the_run_stays_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_finished_run(tmp_path / "run")
    assert main(["report", "render", str(run)]) == 0
    assert capsys.readouterr().out == f"report: {run / 'report.html'}\n"
    before, page = digests(run), (run / "report.html").read_bytes()
    assert read_run(run).has_report and b"the learned policy at tick 200" in page
    replace_report(run, b"<!doctype html>an older page")
    (run / "notes.txt").write_text("mine")
    assert main(["report", "render", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "reports": [{"run_dir": str(run), "report": str(run / "report.html")}]
    }
    # The same page, and the manifest lists what it listed.
    assert digests(run) == {**before, "notes.txt": hashlib.sha256(b"mine").hexdigest()}


def test_several_runs_are_drawn_one_after_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_finished_run(tmp_path / name) for name in ("a", "b")]
    assert main(["report", "render", *map(str, runs)]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [
        str(run / "report.html") for run in runs
    ]


def test_a_run_without_a_world_has_a_report_without_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_finished_run(tmp_path / "run")
    finish(leave_the_world(run), {"agents": town_policy()})
    assert main(["report", "render", str(run)]) == 0
    assert read_run(run).has_report and "at tick 200" not in (run / "report.html").read_text()
    capsys.readouterr()


def test_a_run_that_was_changed_is_refused_and_keeps_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_finished_run(tmp_path / "run")
    replace_report(run, b"page")
    edit(run / "summary.json", lambda content: content.update(seed=77))
    assert main(["report", "render", str(run)]) == 2
    assert f"{run}/summary.json: " in capsys.readouterr().err
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("agents: 3", "agents: 4"))
    assert main(["report", "render", str(run)]) == 2
    assert "changed since the run was begun" in capsys.readouterr().err
    assert (run / "report.html").read_bytes() == b"page"


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_run_can_be_read_wherever_replacing_its_report_ends(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, calls = write_finished_run(tmp_path / "run"), [0]
    replace_report(run, b"old")
    write = finished.write_bytes_atomic

    def fail_once(path: Path, data: bytes) -> None:
        calls[0] += 1
        if calls[0] == failing:
            raise ArtifactError(path, "write", "no space left")
        write(path, data)

    monkeypatch.setattr(finished, "write_bytes_atomic", fail_once)
    with pytest.raises(ArtifactError, match="no space left"):
        replace_report(run, b"new")
    assert not read_run(run).has_report
    monkeypatch.undo()
    replace_report(run, b"new")
    assert read_run(run).has_report and (run / "report.html").read_bytes() == b"new"


def test_runs_are_compared_on_one_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_runs(tmp_path / "a", {0: 0.0, 1: 1.0})
    write_runs(tmp_path / "b", {0: 2.0, 1: 3.0}, settings=["ppo.learning_rate=0.01"])
    assert main(["report", "compare", "a", "b"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("mean return") and out.splitlines()[-1] == "picture: comparison.html"
    page = Path("comparison.html").read_text()
    assert main(["compare", "a", "b", "--output", "other.html"]) == 0
    assert Path("other.html").read_text() == page and page.startswith("<!doctype html>")
    assert main(["report", "compare", "a", "b", "--output", "page.png", "--json"]) == 0
    assert Path("page.png").read_bytes().startswith(b"\x89PNG")
    assert "groups" in json.loads(capsys.readouterr().out.splitlines()[-1])


def test_what_holds_no_run_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", "compare", "."]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "found no manifest.json" in err
    assert list(tmp_path.iterdir()) == []
