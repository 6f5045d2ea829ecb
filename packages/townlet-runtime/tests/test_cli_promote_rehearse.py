"""A rehearsal on a data set of the original: summary, files and exit codes."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from classic_files import write_originals

from townlet_runtime.cli import main
from townlet_runtime.cli.promoting.rehearsal import rehearsal_summary
from townlet_trajectory.evaluation.anneal_results import decide_anneal
from townlet_trajectory.formats.convert import convert

KEYS = (
    "status results promotion bc ppo bc_passed loss_flag queue_flag intensity_flag decision candidate_ready reasons"
).split()
SETTINGS = "config_id: rehearsal\nnetwork: {hidden_sizes: [8]}\nbc: {learning_rate: 0.03}\n"


@cache
def originals() -> Path:
    return write_originals(Path(mkdtemp()) / "idle_v9")


def config_file(folder: Path, *, epochs: int = 30, threshold: float = 0.8) -> Path:
    path = folder / "anneal.yaml"
    path.write_text(
        f"{SETTINGS}training:\n  source: anneal\n  anneal_accuracy_threshold: {threshold}\n"
        f"  anneal_schedule: [{{cycle: 0, mode: bc, epochs: {epochs}}}, {{cycle: 1, mode: ppo}}]\n"
    )
    return path


def rehearsed(folder: Path, config: Path, *more: str) -> int:
    options = ["--config", str(config), "--log-dir", str(folder / "rl"), "--summary", str(folder / "s" / "rsum.json")]
    return main(["promote", "rehearse", *options, "--threads", "1", *more])


def test_a_schedule_comes_to_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rehearsed(tmp_path, config_file(tmp_path), "--manifest", str(originals())) == 0
    out = capsys.readouterr().out
    lines, _, printed = out.partition("\n{\n")
    assert [line.partition(": ")[0] for line in lines.splitlines()] == ["PPO epoch 1"]
    summary = json.loads((tmp_path / "s" / "rsum.json").read_text())
    assert json.loads("{" + printed) == summary and list(summary) == KEYS
    results = json.loads((tmp_path / "rl" / "anneal_results.json").read_text())
    assert summary["results"] == results and [each["mode"] for each in results] == ["bc", "ppo"]
    assert (summary["bc"], summary["ppo"]) == (results[0], results[1])
    assert (summary["status"], summary["bc_passed"]) == ("PASS", True)
    assert [summary[f"{name}_flag"] for name in ("loss", "queue", "intensity")] == [False] * 3
    # The data fit no world, so nobody knows whether the policy is better than the script.
    assert (summary["decision"], summary["reasons"]) == ("HOLD", ["candidate_not_ready"])
    # What is printed is what `promote evaluate` says of it, and the run is kept.
    assert main(["promote", "evaluate", "--summary", str(tmp_path / "s" / "rsum.json")]) == 1
    evaluated = json.loads(capsys.readouterr().out)
    assert [evaluated[name] for name in ("decision", "reasons")] == ["HOLD", ["candidate_not_ready"]]
    (run,) = [path for path in (tmp_path / "rl").iterdir() if path.is_dir()]
    assert run.name.endswith("-anneal-0") and (run / "policy.onnx").is_file()


def test_a_clone_that_fails_is_a_failure_and_its_claims_count_for_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_file(tmp_path, epochs=1, threshold=1.0)
    config.write_text(config.read_text().replace("0.03", "0.000001"))
    options = ["--manifest", str(originals()), "--run-dir", str(tmp_path / "run"), "--json"]
    assert rehearsed(tmp_path, config, *options, "--exit-on-failure") == 1
    summary = json.loads(capsys.readouterr().out)
    assert (summary["status"], summary["decision"], summary["ppo"]) == ("FAIL", "FAIL", None)
    assert (summary["bc_passed"], summary["reasons"]) == (False, ["bc_stage_failed_cycle_0"])
    assert (tmp_path / "run" / "schedule.json").is_file()


def test_a_config_without_a_schedule_gets_one_and_may_name_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "plain.yaml"
    config.write_text(
        f"{SETTINGS}training:\n  source: bc\n  anneal_accuracy_threshold: 0.8\n"
        f"  bc: {{manifest: {originals()}, epochs: 30}}\n"
    )
    assert rehearsed(tmp_path, config, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert [(each["cycle"], each["mode"]) for each in summary["results"]] == [(0, "bc"), (1, "ppo"), (2, "ppo")]


def test_the_data_may_be_behind_a_url_that_was_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("fsspec.implementations.memory")
    convert(originals(), "memory://rehearsed", to="shards")
    assert rehearsed(tmp_path, config_file(tmp_path), "--manifest", "memory://rehearsed", "--json") == 0
    assert json.loads(capsys.readouterr().out)["bc_passed"] is True
    config = tmp_path / "plain.yaml"
    config.write_text(f"{SETTINGS}training: {{bc: {{manifest: 'memory://rehearsed'}}}}\n")
    assert rehearsed(tmp_path, config) == 2
    said = "memory://rehearsed: name it again, --manifest URL; one that a file names is not opened"
    assert said in capsys.readouterr().err


def test_flags_and_the_decision_follow_from_the_stages() -> None:
    clone = {"cycle": 0, "mode": "bc", "passed": True, "accuracy": 0.95, "threshold": 0.9}
    update = {"cycle": 1, "mode": "ppo", "anneal_loss_flag": True, "anneal_queue_flag": False}
    found = rehearsal_summary([clone, update], {"candidate_ready": True}, source=Path("r.json"))
    assert (found["status"], found["decision"], found["candidate_ready"]) == ("HOLD", "HOLD", False)
    assert (found["loss_flag"], found["queue_flag"], found["intensity_flag"]) == (True, False, False)
    assert found["reasons"] == ["loss_flag_cycle_1"]
    assert str(decide_anneal(dict(found), "s.json").decision) == "HOLD"
    promoted = rehearsal_summary([clone], {"candidate_ready": True}, source=Path("r.json"))
    assert (promoted["decision"], promoted["ppo"], promoted["reasons"]) == ("PROMOTE", None, [])


def test_a_rehearsal_without_data_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rehearsed(tmp_path, config_file(tmp_path)) == 2
    assert "name it with --manifest" in capsys.readouterr().err
    assert rehearsed(tmp_path, config_file(tmp_path), "--manifest", str(tmp_path / "no.json")) == 2
    assert "no.json" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
