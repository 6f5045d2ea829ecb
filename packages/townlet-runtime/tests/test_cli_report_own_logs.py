"""The logs that `townlet train` writes are validated, summed up, drawn and watched as those of the original."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from tiny_run import SETTINGS, trained

from townlet_runtime.cli import main
from townlet_runtime.cli.reports.following import Tail
from townlet_runtime.cli.reports.watched import EVENTS
from townlet_runtime.cli.reports.watched import REQUIRED as WATCHED


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The log of an anneal, and what `--ppo-log` names of a run on a record and on rollouts by turns."""
    run_dir, _ = trained()
    folder = tmp_path_factory.mktemp("logs")
    town = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    (folder / "town.yaml").write_text(
        "config_id: tiny\ntown: {agents: 3, episode_ticks: 40, local_window: 7}\nworld: {grid_size: [8, 8]}\n"
    )
    capture = ["capture", "rollout", str(folder / "town.yaml"), "--output", str(folder / "cap"), "--ticks", "40"]
    assert main([*capture, "-q"]) == 0
    mixed = ["train", "--mode", "mixed", "--epochs", "3", "--run-dir", str(folder / "run"), "--num-envs", "2", *town]
    record = ["--replay-manifest", str(folder / "cap" / "rollout_sample_manifest.json"), "--threads", "1"]
    copy = ["--ppo-log", str(folder / "ppo.jsonl"), "--ppo-log-max-entries", "4"]
    assert main([*mixed, *record, *copy, "-q"]) == 0
    return run_dir / "metrics.jsonl", folder / "ppo.jsonl"


@pytest.fixture(params=[0, 1], ids=["metrics.jsonl", "--ppo-log"])
def log(request: pytest.FixtureRequest, logs: tuple[Path, Path]) -> Path:
    found: Path = logs[request.param]
    return found


def rows(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_it_is_valid(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "validate", str(log)]) == 0
    assert capsys.readouterr().out == f"{log}: {len(rows(log))} record(s) validated.\n"


def test_its_drift_from_a_baseline_of_itself_is_0(log: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "base.json"
    baseline.write_text(json.dumps(rows(log)[-1]))
    assert main(["report", "validate", str(log), "--baseline", str(baseline), "--drift-threshold", "0"]) == 0
    assert main(["report", "summary", str(log), "--baseline", str(baseline)]) == 0


def test_it_is_summed_up(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "summary", str(log), "--json"]) == 0
    record, last = json.loads(capsys.readouterr().out), rows(log)[-1]
    assert (record["epochs"], record["data_mode"]) == (last["epoch"], last["data_mode"])
    assert record["latest"]["queue_conflict_events"] == last["queue_conflict_events"]
    assert record["extremes"]["grad_norm"]["max"] == max(row["grad_norm"] for row in rows(log))
    assert record.get("anneal", {}).get("stage") == last.get("anneal_stage")


def test_it_is_drawn(log: Path, tmp_path: Path) -> None:
    assert main(["report", "plot", str(log), "--output", str(tmp_path / "log.svg"), "-q"]) == 0
    assert (tmp_path / "log.svg").read_bytes().startswith(b"<?xml")


def test_it_is_watched(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A policy of 360 steps clones badly, and queues less than the script.
    loose = ["--anneal-bc-min", "0", "--anneal-queue-min", "0", "--anneal-intensity-min", "0"]
    assert main(["watch", str(log), *loose, "--json"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["epoch"] for row in shown] == [row["epoch"] for row in rows(log)]
    for row, own in zip(shown, rows(log), strict=True):
        assert {key: row[key] for key in (*WATCHED, *EVENTS)} == {key: own[key] for key in (*WATCHED, *EVENTS)}
        assert row["shower_complete_events"] == own.get("events/shower_complete_events", 0.0)


def test_an_anneal_whose_clone_is_bad_is_told_of(logs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(logs[0]), "--anneal-bc-min", "1.01", "-q"]) == 1
    assert capsys.readouterr().err.startswith("Epoch 1: anneal_bc_accuracy ")


def test_following_goes_on_in_the_files_of_a_full_log(logs: tuple[Path, Path]) -> None:
    with closing(Tail(logs[1])) as tail:
        found = [(line.path.name, json.loads(line.text)["log_stream_offset"]) for line in tail.look()]
    names = ["ppo.jsonl"] * 4 + ["ppo.jsonl.1"] * 2
    assert found == list(zip(names, range(1, 7), strict=True))


def test_a_world_that_counts_no_events_is_valid_and_watched_too(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from townlet_training.run.metrics import TOWN_KEYS

    other = tmp_path / "other.jsonl"
    lines = [{key: value for key, value in row.items() if key not in TOWN_KEYS} for row in rows(log)]
    other.write_text("".join(json.dumps(row) + "\n" for row in lines))
    assert main(["report", "validate", str(other)]) == 0
    assert main(["report", "summary", str(other)]) == 0
    assert main(["watch", str(other), "--anneal-bc-min", "0"]) == 0
    assert "queue_events=n/a" in capsys.readouterr().out
