"""`townlet distill` in a tiny town: by code, by the script, by a policy file; stopped, resumed, and refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_run import SETTINGS

from townlet_runtime import OnnxPolicy
from townlet_runtime.cli import main
from townlet_runtime.runs.directory import MANIFEST
from townlet_runtime.runs.distilled import DISTILLED, DistilFile
from townlet_runtime.runs.finished import read_run
from townlet_trajectory.formats.batch_file import load_batch

OPTIONS = ["--rounds", "2", "--labels", "15", "--round-ticks", "20", "--episodes", "4", "--states", "8"]
OPTIONS += ["--num-envs", "2", "--threads", "1"]


def distill(run_dir: Path, *more: str) -> int:
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    return main(["distill", "--run-dir", str(run_dir), *OPTIONS, *settings, *more])


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished distillation of a teacher by name."""
    path = tmp_path_factory.mktemp("runs") / "thrifty"
    assert distill(path, "-q", "--teacher", "minds:thrifty") in (0, 1)
    return path


def test_a_distillation_is_a_finished_run_with_a_policy_that_acts(taught: Path) -> None:
    run = read_run(taught)
    record = DistilFile.read(taught / DISTILLED)
    assert record.record is not None and record.teacher == "minds:thrifty" and not record.sampled
    assert [each.num_asked for each in record.rounds] == [15, 15]
    assert record.record.agreement.repeat_mean == 1.0 and len(record.record.agreement.student) == 4
    assert run.cloning is not None and run.cloning.gate == record.record.gate
    assert run.cloning.results["agents"].episode_accuracies == record.record.agreement.student
    labels = [load_batch(taught / "labels" / f"round-00{number}.npz") for number in (1, 2)]
    assert [each.num_steps for each in labels] == [15, 15]
    OnnxPolicy.load(taught / "policy.onnx")
    assert main(["run", "-q", "--policy", str(taught), "--ticks", "5"]) == 0


def test_what_is_printed_says_how_well_it_was_learned(
    taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert distill(tmp_path / "again", "--json", "--teacher", "minds:thrifty") in (0, 1)
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert shown["labels"] == 30 and shown["cost_per_1000"] == 0.0
    # 4 episodes of 8 states: twice each of the student's play, twice each of the teacher's.
    assert shown["judged"] == 4 * 16 + 4 * 16
    assert shown["agreement"]["repeat"] == 1.0 and shown["in_play_of"].keys() == {"student", "teacher"}
    # The same options come to the same student.
    first = DistilFile.read(taught / DISTILLED)
    again = DistilFile.read(tmp_path / "again" / DISTILLED)
    assert again == first
    assert read_run(taught).summary.weights_sha256 == read_run(tmp_path / "again").summary.weights_sha256


def test_lines_for_people_name_the_teachers_own_agreement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert distill(tmp_path / "run", "--teacher", "script", "--strategy", "uniform") in (0, 1)
    shown = capsys.readouterr().out
    assert "teacher again" in shown and "student's play" in shown and "30 labels" in shown
    assert "gate teacher_agreement: " in shown and f"townlet run --policy {tmp_path / 'run'}" in shown
    settings = DistilFile.read(tmp_path / "run" / DISTILLED).settings
    assert settings["strategy"] == "uniform"


def test_a_mind_teaches_in_words_and_its_cost_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = distill(tmp_path / "run", "--json", "--teacher", "minds:frugal")
    assert code in (0, 1)
    shown = json.loads(capsys.readouterr().out)
    assert shown["cost_per_1000"] == pytest.approx(10.0)
    rounds = shown["rounds"]
    assert [each["tokens"] for each in rounds] == [45, 45] and [each["num_declined"] for each in rounds] == [1, 1]


def test_a_policy_file_teaches_by_its_draws(taught: Path, tmp_path: Path) -> None:
    code = distill(tmp_path / "run", "-q", "--teacher", str(taught / "policy.onnx"), "--sample-teacher")
    assert code in (0, 1)
    record = DistilFile.read(tmp_path / "run" / DISTILLED)
    assert record.sampled and record.teacher_sha256 is not None and record.record is not None
    assert record.record.agreement.repeat_mean < 1.0


def test_a_distillation_goes_on_where_it_was_stopped(taught: Path, tmp_path: Path) -> None:
    # What a process leaves that is killed after the first round: no results, and no second round.
    run_dir = tmp_path / "run"
    (run_dir / "labels").mkdir(parents=True)
    for name in ("begun.json", "config.yaml", "metrics.jsonl", "labels/round-001.npz"):
        (run_dir / name).write_bytes((taught / name).read_bytes())
    whole = DistilFile.read(taught / DISTILLED)
    replace(whole, rounds=whole.rounds[:1], record=None).write(run_dir / DISTILLED)
    assert main(["distill", "-q", "--resume", str(run_dir), "--teacher", "minds:thrifty"]) in (0, 1)
    assert DistilFile.read(run_dir / DISTILLED) == whole
    assert read_run(run_dir).summary.weights_sha256 == read_run(taught).summary.weights_sha256


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([], "name the mind to learn from with --teacher"),
        (["--teacher", "script", "--strategy", "disagree"], "the teacher is the script itself"),
        (["--teacher", "script:lazy"], "--teacher script:lazy: expected a behavior of the world: scripted"),
        (["--teacher", "minds:nothing"], "must be a mind or have a method `teach`"),
        (["--teacher", "minds:nobody"], "the teacher 'minds:nobody' cannot be imported"),
        (["--teacher", "missing.onnx"], "missing.onnx"),
        (["--teacher", "script", "--group", "a=1"], "No such option"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(
    more: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert distill(tmp_path / "run", *more) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_finished_or_a_foreign_run_is_not_resumed(
    taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["distill", "--resume", str(taught)]) == 2
    assert "this distillation has finished" in capsys.readouterr().err
    run_dir = tmp_path / "run"
    shutil.copytree(taught, run_dir)
    (run_dir / MANIFEST).unlink()
    assert main(["distill", "--resume", str(run_dir)]) == 2
    assert "add --teacher minds:thrifty" in capsys.readouterr().err
    assert main(["distill", "--resume", str(run_dir), "--teacher", "minds:thrifty", "--labels", "3"]) == 2
    assert "goes on with the config and the questions it was begun with" in capsys.readouterr().err
    assert main(["train", "--resume", str(run_dir)]) == 2
    assert "holds a run with `notes.distil`" in capsys.readouterr().err
