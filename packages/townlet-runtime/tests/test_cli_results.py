"""The results of a run are printed from its records; a report that cannot be drawn is no failure."""

from pathlib import Path

import pytest
from finished_run import CONFIG, town_policy, write_finished_run
from report_samples import finish, leave_the_world

from townlet_runtime.cli.console import Console
from townlet_runtime.cli.views import results as module
from townlet_runtime.cli.views.results import draw_report, show_results
from townlet_runtime.runs.finished import read_run


def console() -> Console:
    return Console(json=False, verbose=False, quiet=False)


def test_people_get_scores_differences_and_the_decision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = read_run(write_finished_run(tmp_path / "run"))
    show_results(run, console())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "anneal: 27,000 env steps in 41 s"
    assert lines[2].split() == "clone of labels epoch kept held-out accuracy".split()
    assert lines[3].split()[0] == "agents" and lines[3].split()[-1] == "0.9170"
    assert [line.split()[0] for line in lines[6:12]] == ["learned", "scripted", "nearest", "idle", "random", "clone"]
    assert lines[13].startswith("learned - scripted: +44.249, 95 % interval +")
    assert lines[-1].startswith("PROMOTE: The learned policy beats the script by 44.2")


def test_a_run_without_a_world_is_judged_by_its_clone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = draw_report(
        finish(leave_the_world(write_finished_run(tmp_path / "run")), {"agents": town_policy()}), CONFIG, console()
    )
    show_results(run, console())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("bc: 0 env steps") and lines[3].split()[-1] == "0.9170"
    assert lines[4:] == ["", "no promotion: no evidence: the policy fits no world", f"report: {run.path}/report.html"]


@pytest.mark.parametrize("error", [ZeroDivisionError("by 0"), ValueError("$a_{b$"), MemoryError()])
def test_a_report_that_fails_is_a_warning(
    error: Exception, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    run = read_run(write_finished_run(tmp_path / "run"))
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_report", fail)
        again = draw_report(run, CONFIG, console())
    assert not again.has_report and again.summary == run.summary
    assert capsys.readouterr().err.startswith(f"townlet: warning: no report was written: {type(error).__name__}")


def test_a_report_is_drawn_once_and_listed_in_the_manifest(tmp_path: Path) -> None:
    run = draw_report(read_run(write_finished_run(tmp_path / "run")), CONFIG, console())
    page = (run.path / "report.html").read_bytes()
    assert run.has_report and b"the learned policy at tick 200" in page
    assert draw_report(run, CONFIG, console()) is run
