import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from townlet_runtime.cli import main
from townlet_runtime.legacy.scripts import SCRIPTS, arguments_of, command_of, run_script


def test_the_twenty_scripts_have_commands_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(SCRIPTS) == len(set(SCRIPTS.values())) == 20
    for script, words in SCRIPTS.items():
        assert run_script([f"{script}.py", "--help"]) == 0
        out, err = capsys.readouterr()
        assert out.startswith(f"Usage: townlet {' '.join(words)} ")
        said = (
            f"DeprecationWarning: {script}.py is `townlet {' '.join(words)}` now; this way goes in townlet-runtime 0.3"
        )
        assert err == f"{said}\n"


def test_a_name_is_taken_with_and_without_its_ending() -> None:
    assert command_of("run_training") == command_of("run_training.py") == ("train",)
    assert command_of("run_trainings") is None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "run_simulation, run_training"),
        (["run_trainin", "x.yaml"], "got 'run_trainin'; the nearest is run_training"),
        (["telemetry_watch.sh"], "the nearest is telemetry_watch"),
        (["\x1b[2J"], r"\x1b"),
    ],
)
def test_another_name_is_wrong_usage(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and problem in err and "\x1b" not in err


def test_defaults_that_are_no_longer_any_are_filled_in() -> None:
    assert arguments_of("run_simulation", ["c.yaml"]) == ["--ticks", "1000", "c.yaml"]
    assert arguments_of("run_simulation.py", ["c.yaml", "--ticks=3"]) == ["c.yaml", "--ticks=3"]
    golden = ["--golden", "docs/samples/rollout_scenario_stats.json"]
    assert arguments_of("merge_rollout_metrics", ["suite"]) == [*golden, "suite"]
    assert arguments_of("merge_rollout_metrics", ["suite", "--output", "o.json"]) == ["suite", "--output", "o.json"]
    assert arguments_of("run_training", ["c.yaml"]) == ["c.yaml"]


def test_an_error_is_1_as_it_was_and_wrong_usage_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "nope.yaml"]) == 2
    assert run_script(["run_simulation", "nope.yaml"]) == 1
    assert "nope.yaml" in capsys.readouterr().err.splitlines()[-1]
    assert run_script(["run_simulation", "nope.yaml", "--nope"]) == 2
    assert "(see --help)" in capsys.readouterr().err.splitlines()[-1]


def test_fail_stays_2_and_hold_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stages = [{"mode": "bc", "cycle": 0, "accuracy": 0.1, "threshold": 0.9, "passed": False}]
    (tmp_path / "sum.json").write_text(json.dumps({"results": stages}))
    assert run_script(["promotion_evaluate.py", "--input", str(tmp_path / "sum.json")]) == 2
    assert json.loads(capsys.readouterr().out)["decision"] == "FAIL"
    stages[0] |= {"accuracy": 0.95, "passed": True}
    (tmp_path / "sum.json").write_text(json.dumps({"results": stages, "promotion": {"candidate_ready": False}}))
    assert run_script(["promotion_evaluate.py", "--input", str(tmp_path / "sum.json")]) == 1


def test_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "bc.json").write_text('{"accuracy": 0.5}')
    command = [sys.executable, "-m", "townlet_runtime.legacy", "bc_metrics_summary.py", "bc.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"count": 1.0, "mean_accuracy": 0.5, "min_accuracy": 0.5}
    (line,) = done.stderr.splitlines()
    assert line.startswith("DeprecationWarning: bc_metrics_summary.py is `townlet report bc`")


def test_nothing_else_imports_this_folder() -> None:
    source = Path(sys.modules["townlet_runtime.legacy"].__file__ or "").parents[1]
    importing = re.compile(r"(townlet_runtime\.|from \.*|import )legacy\b")
    named = [path for path in source.rglob("*.py") if importing.search(path.read_text(encoding="utf-8"))]
    assert {path.parent.name for path in named} == {"legacy"}
