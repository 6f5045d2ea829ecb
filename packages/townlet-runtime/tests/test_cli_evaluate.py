import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tiny_run import trained

from townlet_runtime.cli import main
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.workers.evaluating import SharedEvaluator
from townlet_runtime.workers.pool import WorkerPool

SCORES = {"mean", "iqm", "ci", "normalized"}


def record(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    run_dir, _ = trained()
    assert main(["evaluate", str(run_dir), "--episodes", "3", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_policy_meets_the_script_on_the_same_episodes(capsys: pytest.CaptureFixture[str]) -> None:
    found = record(capsys)
    assert (found["against"], found["episodes"], found["first_seed"], found["acting"]) == (
        "scripted",
        3,
        2**31,
        "greedy",
    )
    scores, difference = found["scores"], found["difference"]
    assert set(scores) == {"learned", "scripted", "idle"}
    assert all(set(score) == SCORES for score in (*scores.values(), difference))
    assert difference["mean"] == pytest.approx(scores["learned"]["mean"] - scores["scripted"]["mean"])
    assert (scores["scripted"]["normalized"], scores["idle"]["normalized"]) == (1.0, 0.0)
    low, high = difference["ci"]
    assert low <= difference["mean"] <= high


@pytest.mark.parametrize("against", ["nearest", "idle"])
def test_it_can_meet_other_behaviors(against: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = record(capsys, "--against", against)
    assert set(found["scores"]) == {"learned", "scripted", "idle", against}


def test_against_itself_there_is_no_difference(capsys: pytest.CaptureFixture[str]) -> None:
    run_dir, _ = trained()
    found = record(capsys, "--against", str(run_dir), "--sample")
    assert found["against"] == str(run_dir)
    assert set(found["scores"]) == {"learned", "other", "scripted", "idle"}
    assert found["acting"] == "sampled"
    assert (found["difference"]["mean"], found["difference"]["ci"]) == (0.0, [0.0, 0.0])


def test_people_get_a_small_table(capsys: pytest.CaptureFixture[str]) -> None:
    run_dir, _ = trained()
    assert main(["evaluate", str(run_dir), "--episodes", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["return", "mean", "IQM", "95", "%", "interval", "normalized"]
    assert [line.split("  ")[0] for line in lines[1:5]] == ["learned", "scripted", "idle", "learned - scripted"]
    assert max(map(len, lines)) <= 80
    assert main(["evaluate", str(run_dir), "--episodes", "3", "--against", str(run_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[5].startswith("learned - other ")
    assert lines[-1] == f"other: {run_dir}"


def test_a_signal_ends_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir, _ = trained()
    monkeypatch.setattr(Evaluator, "baseline", lambda self, name, **_: signal.raise_signal(15))
    assert main(["evaluate", str(run_dir), "--episodes", "2", "--json"]) == 143
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("acting", [(), ("--sample",)])
def test_episodes_that_workers_play_score_the_same(
    acting: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = record(capsys, *acting)
    # This process plays nothing, but waits for the workers.
    monkeypatch.setattr(WorkerPool, "take", lambda self, tasks: None)
    monkeypatch.setattr(Evaluator, "wave", None)
    assert record(capsys, *acting, "--workers", "2") == alone


def test_a_signal_ends_the_workers_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir, _ = trained()
    monkeypatch.setattr(SharedEvaluator, "baseline", lambda self, name, **_: signal.raise_signal(15))
    assert main(["evaluate", str(run_dir), "--episodes", "2", "--json", "--workers", "1"]) == 143
    assert capsys.readouterr().out == ""
    assert not [each for each in threading.enumerate() if each.name.startswith("worker ")]


def test_what_cannot_be_compared_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir, _ = trained()
    for arguments, problem in (
        ([str(tmp_path)], "found no manifest.json"),
        (
            [str(run_dir), "--against", "nobody"],
            "--against nobody: expected a run directory or a behavior of `town`: scripted, nearest",
        ),
        ([str(run_dir), "--against", str(tmp_path)], "found no manifest.json"),
    ):
        assert main(["evaluate", *arguments]) == 2
        assert problem in capsys.readouterr().err


def test_the_command_imports_neither_the_trainer_nor_the_statistics() -> None:
    code = "import sys, townlet_runtime.cli.commands.evaluate as _; "
    code += "raise SystemExit(str({'torch', 'scipy', 'townlet_training'} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
