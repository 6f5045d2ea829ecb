"""`townlet train --record`: what a run collects is a dataset, whoever collects, wherever the run was broken off."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from tiny_run import arguments

from townlet_runtime.cli import main
from townlet_runtime.cli.console import CommandError
from townlet_runtime.cli.training.recording import of_seed, place_named, shown
from townlet_runtime.cli.typed import OF_ALL_RUNS
from townlet_runtime.runs.begun import BegunFile, NotedRecord
from townlet_runtime.runs.strict_json import ReportError
from townlet_runtime.workers.recording import RecordedCollector
from townlet_trajectory import joined, read_shards
from townlet_trajectory.evaluation.interfaces import Collected
from townlet_trajectory.formats.shards.reader import open_shards
from townlet_trajectory.storage.urls import Url

pytestmark = pytest.mark.usefixtures("undrawn")

MAX_SECONDS = 600.0
SMALL = [
    *("-q", "--num-envs", "4", "--total-steps", "800", "--processes", "1"),
    *("--set", "training.unit_worlds=2", "--set", "gates.kept_fraction=0", "--set", "anneal.max_retries=0"),
]


class Killed(BaseException):
    """Stands for `kill -9`."""


def digest(folder: Path | str) -> str:
    return open_shards(f"{folder}/agents").fingerprint


def weights(run_dir: Path) -> str:
    found: str = json.loads((run_dir / "summary.json").read_text())["weights_sha256"]
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Collected]]:
    """A run in one process, its record, and what it learned from."""
    folder, met = tmp_path_factory.mktemp("runs"), list[Collected]()
    collect = RecordedCollector.collect

    def spied(self: RecordedCollector, *asked: Any, **more: Any) -> Collected:
        met.append(collect(self, *asked, **more))
        return met[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordedCollector, "collect", spied)
        assert main(arguments(folder / "run", *SMALL, "--record", str(folder / "record"))) in (0, 1)
    return folder / "run", folder / "record", met


def test_the_record_is_what_the_run_learned_from(alone: tuple[Path, Path, list[Collected]]) -> None:
    run_dir, record, met = alone
    reader, updates = open_shards(record / "agents"), len((run_dir / "metrics.jsonl").read_text().splitlines())
    # The clone's, and one of each update.
    assert len(met) == 1 + updates and len(reader.block_offsets) == 1 + 2 * len(met)
    for number, collected in enumerate(met):
        batch, rows = collected.batches["agents"], [reader.load_block(number + len(met) * unit) for unit in (0, 1)]
        for name in ("action", "expert_action", "behavior_log_prob", "ratio"):
            assert [*rows[0].columns[name], *rows[1].columns[name]] == batch.columns[name].tolist()
        assert [*rows[0].worlds, *rows[1].worlds] == batch.worlds.tolist()
        assert [*rows[0].ticks, *rows[1].ticks] == batch.ticks.tolist()
    assert (reader.info.seeds, reader.info.notes["mode"]) == ({"run": 0}, "anneal")
    whole = joined(read_shards(record / "agents"))
    assert whole.lengths[whole.truncated].tolist() == [40] * int(whole.truncated.sum())  # an episode has 40 ticks


@pytest.mark.thorough
def test_workers_write_the_same_record_and_a_record_changes_nothing(
    alone: tuple[Path, Path, list[Collected]], tmp_path: Path
) -> None:
    run_dir, record, _ = alone
    assert main(arguments(tmp_path / "run", *SMALL, "--workers", "2", "--record", f"shards:{tmp_path / 'record'}")) in (
        0,
        1,
    )
    assert digest(tmp_path / "record") == digest(record)
    assert main(arguments(tmp_path / "without", *SMALL)) in (0, 1)
    assert weights(run_dir) == weights(tmp_path / "run") == weights(tmp_path / "without")


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
def test_a_run_that_is_killed_and_goes_on_has_the_same_record(
    alone: tuple[Path, Path, list[Collected]], tmp_path: Path
) -> None:
    run_dir, record = tmp_path / "run", tmp_path / "record"
    command = [sys.executable, "-m", "townlet_runtime", *arguments(run_dir, *SMALL, "--record", str(record))]
    process = subprocess.Popen(command)
    listed, deadline = record / "agents" / "parts" / "unit-0001" / "manifest.json", time.monotonic() + MAX_SECONDS
    while not listed.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=MAX_SECONDS) == -signal.SIGKILL
    assert main(["train", "--resume", str(run_dir), "-q"]) in (0, 1)
    assert digest(record) == digest(alone[1])


@pytest.fixture
def _empty_store() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.mark.usefixtures("_empty_store")
@pytest.mark.thorough
def test_a_run_that_is_killed_before_its_first_checkpoint_begins_its_record_again_behind_a_url(
    alone: tuple[Path, Path, list[Collected]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir, record, collect = tmp_path / "run", "memory://runs/one", RecordedCollector.collect

    def killed(self: RecordedCollector, *asked: Any, **more: Any) -> Collected:
        collect(self, *asked, **more)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RecordedCollector, "collect", killed)
        with pytest.raises(Killed):
            main(arguments(run_dir, *SMALL, "--record", record))
    assert main(["train", "--resume", str(run_dir), "--record", record, "-q"]) in (0, 1)
    assert digest(record) == digest(alone[1])


def test_a_record_is_looked_at_and_cloned(
    alone: tuple[Path, Path, list[Collected]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, record, met = alone
    assert main(["dataset", "info", f"{record}/agents", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["steps"], said["sha256"]) == (sum(each.agent_steps for each in met), digest(record))
    assert main(arguments(tmp_path / "clone", "-q", "--data", f"{record}/agents", "--mode", "bc")) in (0, 1)
    assert (tmp_path / "clone" / "policy.onnx").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--record", "npz:{folder}/new"], "--record {folder}/new: what a run collects is written as shards, got npz"),
        (["--record", "s3://ann:pw@b/x#y"], "s3://b/x: open: a fragment has no meaning here"),
        (["--record", "{folder}/run/record"], "holds the files of the run alone: record elsewhere"),
        (["--record", "{record}"], "agents: write: holds a dataset already, with parts (unit-0000, unit-0001)"),
        (["--record", "{record}/agents/parts/unit-0000/begun.json/x"], "begun.json is no directory"),
        (["--record", "{folder}/new", "--mode", "rollout"], "--record {folder}/new: a run that follows a schedule"),
        (
            ["--record", "{folder}/new", "--mode", "bc", "--data", "{record}/agents"],
            "--record {folder}/new: mode bc clones --data, and collects nothing",
        ),
        (
            ["--record", "{folder}/new", "--total-steps", "700000"],
            "a record has at most 8,192 collections: lower `total_env_steps`, or collect more ticks at a time; "
            "the run has 8,751",
        ),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_anything_is_made(
    more: list[str],
    said: str,
    alone: tuple[Path, Path, list[Collected]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"folder": tmp_path, "record": alone[1]}
    assert main(arguments(tmp_path / "run", *SMALL, *(word.format(**names) for word in more))) == 2
    err = capsys.readouterr().err
    assert said.format(**names) in err and "pw" not in err
    assert not [*tmp_path.iterdir()]


def test_a_run_without_a_world_has_nothing_to_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--env", "gymnasium:CartPole-v1", "--set", "environment.name=gymnasium:CartPole-v1"]
    assert place_named(None) is None
    recorded, clone = tmp_path / "recorded", tmp_path / "clone"
    assert main(["run", *words[:2], "--ticks", "20", "--record", str(recorded), "-q"]) == 0
    more = ["--data", f"{recorded}/agents.npz", "--record", f"{tmp_path}/new", "--run-dir", str(clone), "-q"]
    assert main(["train", *more]) == 2
    assert f"--record {tmp_path}/new: the run has no world to collect in" in capsys.readouterr().err
    assert not clone.exists()


def test_a_run_goes_on_with_the_record_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(self: RecordedCollector, *asked: Any, **more: Any) -> Collected:
        raise Killed

    monkeypatch.setattr(RecordedCollector, "collect", killed)
    with pytest.raises(Killed):
        main(arguments(tmp_path / "run", *SMALL, "--record", "memory://ann:pw@runs/one"))
    noted = (tmp_path / "run" / "begun.json").read_text()
    assert '"place": "memory://runs/one"' in noted and "pw" not in noted
    assert main(["train", "--resume", str(tmp_path / "run"), "-q"]) == 2
    assert "the run records at memory://runs/one: name it again, --record URL" in capsys.readouterr().err
    begun = BegunFile.read(tmp_path / "run" / "begun.json")
    vars(begun)["record"] = None
    begun.write(tmp_path / "run" / "begun.json")
    assert main(["train", "--resume", str(tmp_path / "run"), "-q", "--record", str(tmp_path / "new")]) == 2
    assert "the run was begun without a record, and cannot go on at" in capsys.readouterr().err


def test_several_runs_record_in_folders_of_their_own() -> None:
    assert of_seed(None, 3) == [] == shown(None)
    assert of_seed("shards:runs/record", 3) == ["--record", "runs/record/seed-3"]
    secret = "s3://ann:pw@bucket/runs"
    assert of_seed(secret, 3) == ["--record", "s3://ann:pw@bucket/runs/seed-3"]
    assert shown(secret) == ["--record", "s3://bucket/runs"]
    assert "record" in OF_ALL_RUNS
    assert place_named(secret) == Url(secret)
    with pytest.raises(CommandError, match="written as shards, got captures"):
        place_named("captures:runs/record")


def test_the_note_of_a_record_has_a_token() -> None:
    with pytest.raises(ReportError, match="32 hex digits"):
        NotedRecord(place="/runs/record", token="../..")
