"""`townlet report` as it is called: the lines, keys and exit codes of the original's calls."""

import json
from pathlib import Path

import pytest
from training_logs import NEW, OLD, line, write_log

from townlet_runtime.cli import main


def test_a_good_log_is_validated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "validate", str(NEW)]) == 0
    assert capsys.readouterr() == (f"{NEW}: 1 record(s) validated.\n", "")
    assert main(["report", "validate", str(NEW), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == {"valid": True, "logs": [{"log": str(NEW), "records": 1}], "problem": None}


def test_an_old_log_is_refused_by_its_keys_and_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    problem = (
        f"{OLD}: missing required telemetry keys: "
        "['adv_min_std', 'adv_zero_std_batches', 'clip_fraction_max', 'clip_triggered_minibatches']"
    )
    assert main(["report", "validate", str(NEW), str(OLD), str(NEW)]) == 1
    assert capsys.readouterr() == (f"{NEW}: 1 record(s) validated.\n", f"townlet: error: {problem}\n")
    assert main(["report", "validate", str(OLD), "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"valid": False, "logs": [], "problem": problem}


def test_drift_over_the_threshold_is_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    baseline = tmp_path / "base.json"
    baseline.write_text('{"baseline_reward_mean": 0.0, "baseline_reward_sum": 1.0}')
    log = write_log(tmp_path / "log", line(epoch=1), line(epoch=2))
    arguments = ["report", "validate", str(log), "--baseline", str(baseline), "--relative", "--drift-threshold"]
    assert main([*arguments, "0.01"]) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 10 and lines[:3] == [
        f"{log}: 2 record(s) validated.",
        "",
        "Baseline drift summary (log - baseline):",
    ]
    assert err == (
        "townlet: error: Baseline drift exceeds threshold 0.01: "
        "baseline_reward_mean=-0.200000, baseline_reward_sum=-9.000000\n"
    )
    assert main([*arguments, "9"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*arguments, "0.01", "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["logs"][0]["drift"]["baseline_reward_sum"]["deltas"] == [-9.0, -9.0] and not record["valid"]


def test_a_threshold_without_a_baseline_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "validate", str(NEW), "--drift-threshold", "0.1"]) == 0
    assert capsys.readouterr().err == (
        "townlet: warning: --drift-threshold and --relative are of no effect without --baseline\n"
    )


def test_a_summary_has_three_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = str(write_log(tmp_path / "log", line(epoch=1, loss_total=3.0), line(epoch=2, loss_total=1.0)))
    outputs = []
    for more in ([], ["--format", "markdown"], ["--format", "json"], ["--json"]):
        assert main(["report", "summary", log, *more]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0].startswith("Epochs analysed: 2 (mode=rollout, cycle_id=0.0)\nLatest metrics: loss_total=1.000000")
    assert "              rollout_ticks=20\n" in outputs[0]
    assert outputs[1].startswith("### PPO Telemetry Summary\n")
    assert outputs[2] == outputs[3]
    assert json.loads(outputs[2])["extremes"]["loss_total"] == {"min": 1.0, "max": 3.0}


@pytest.mark.parametrize(("last", "least"), [("1", 1.0), ("2", 1.0), ("0", 1.0), ("9", 1.0)])
def test_the_last_records_alone_are_summed_up(
    last: str, least: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write_log(tmp_path / "log", *(line(epoch=n, loss_total=4.0 - n) for n in (1, 2, 3)))
    assert main(["report", "summary", str(log), "--last", last, "--json"]) == 0
    extremes = json.loads(capsys.readouterr().out)["extremes"]["loss_total"]
    assert extremes == {"min": least, "max": {"1": 1.0, "2": 2.0}.get(last, 3.0)}


def test_several_agent_groups_are_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_log(tmp_path / "log", line(group="foxes"), line(group="geese"))
    assert main(["report", "summary", str(log)]) == 0
    assert "the lines of several agent groups (foxes, geese) are summed up together" in capsys.readouterr().err


def test_accuracies_are_json_by_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bc.json"
    path.write_text('[{"accuracy": 0.9}, {"accuracy": 0.8}]')
    expected = {"count": 2.0, "mean_accuracy": 0.8500000000000001, "min_accuracy": 0.8}
    for more in ([], ["--json"], ["--format", "json"]):
        assert main(["report", "bc", str(path), *more]) == 0
        assert json.loads(capsys.readouterr().out) == expected
    assert main(["report", "bc", str(path), "--format", "markdown"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| count | 2.0000 |",
        "| mean_accuracy | 0.8500 |",
        "| min_accuracy | 0.8000 |",
    ]


def test_rewards_are_summed_up_over_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "a.jsonl", tmp_path / "b.json"]
    for path, total in zip(paths, (1.0, -2.0), strict=True):
        path.write_text(json.dumps({"reward_breakdown": {"alice": {"total": total}, "bob": {"total": 0.0}}}))
    call = ["report", "rewards", *map(str, paths)]
    assert main([*call, "--format", "json", "--agent", "alice"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["agents"] == {
        "alice": {"latest": {"total": -2.0}, "samples": 2, "total_mean": -0.5, "total_sum": -1.0}
    }
    assert main([*call, "--agent", "alice", "--agent", "bob", "--top", "-3"]) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "Filtered agents:",
        "  - alice: avg_total=-0.500000 (samples=2) :: total=-2.000000",
        "  - bob: avg_total=0.000000 (samples=2) :: total=0.000000",
    ]
    # As in the original, at least one agent is shown.
    assert main([*call, "--top", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "  - bob: avg_total=0.000000 (samples=2)"
    assert main([*call, "--format", "markdown"]) == 0
    assert capsys.readouterr().out.startswith("**Payloads** | 2\n")


@pytest.mark.parametrize("name", ["nowhere.jsonl", "bad.jsonl", "."])
def test_rewards_that_cannot_be_read_are_code_1(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.jsonl").write_text("{\n")
    assert main(["report", "rewards", name]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("townlet: error: ") and len(err.splitlines()) == 1
    assert Path(name).name in err


def test_the_rows_and_ranges_of_a_log_are_shown_without_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = line(epoch=1.0, loss_total=1.6927781403064728, kl_divergence=0.2732928432524204)
    second = line(epoch=2.0, loss_total=1.5647407273451488, kl_divergence=0.23406354462107024)
    log = str(write_log(tmp_path / "log", first, second))
    assert main(["report", "plot", log]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Loaded 2 telemetry rows spanning epochs 1.0 → 2.0",
        "Loss_total range: 1.5647 → 1.6928",
        "KL divergence range: 0.234064 → 0.273293",
    ]
    assert main(["report", "plot", log, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["epochs"] == {"first": 1.0, "last": 2.0} and record["loss_total"]["max"] == 1.6927781403064728


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["report"], "Missing command"),
        (["report", "plot"], "LOG"),
        (["report", "plot", str(NEW), "--output", "picture.gif"], "expected a file that ends in .png or .svg"),
        (["report", "summary", "nowhere"], "nowhere: open: No such file or directory"),
        (["report", "summary", str(NEW), "--format", "yaml"], "'yaml' is not one of"),
        (["report", "summary", str(NEW), "--last", "-1"], "expected a whole number from 0"),
        (["report", "bc", str(NEW)], "`accuracy`: expected a share in [0, 1], got None"),
        (["report", "validate", "nowhere"], "nowhere: open: No such file or directory"),
        (["report", "validate", str(NEW), "--baseline", "nowhere"], "nowhere: open"),
        (["report", "validate", str(NEW), "--drift-threshold", "inf"], "expected a finite number, got inf"),
        (["report", "rewards"], "PATH"),
        (["report", "render", "."], "found no manifest.json"),
    ],
)
def test_errors_are_one_line_and_code_2(
    arguments: list[str],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and problem in err
