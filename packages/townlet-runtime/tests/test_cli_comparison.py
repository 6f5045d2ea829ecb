"""`--against`, the lines for people and the JSON of a comparison."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from several_runs import write_runs

from townlet_runtime.cli.console import CommandError
from townlet_runtime.cli.views.comparison import compare_named, comparison_lines, comparison_record


def test_lines_fit_80_columns(tmp_path: Path) -> None:
    settings = ["ppo.clip_range=0.123456789", "ppo.entropy_coef=0.000123456789", "bc.num_epochs=17"]
    write_runs(tmp_path / "a", {0: 0.0, 1: 1.0})
    write_runs(tmp_path / "b", {0: 2.0, 5: 1.0}, settings=settings)
    lines = comparison_lines(compare_named([tmp_path / "a", tmp_path / "b"], ()))
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["mean", "return", "runs", "mean", "IQM", "95", "%", "of", "the", "IQM"]
    text = " ".join(" ".join(lines).split())
    assert "95 % interval over 2 seeds" in text and "95 % interval over 2 and 2 runs" in text
    assert "ppo.entropy_coef=0.000123456789" in text


def test_lines_say_n_and_unit(tmp_path: Path) -> None:
    write_runs(tmp_path, {0: 0.0, 1: 1.0, 2: 2.0})
    lines = comparison_lines(compare_named([tmp_path], ()))
    (difference,) = [line for line in lines if line.startswith("anneal - scripted: +")]
    assert "95 % interval over 3 seeds +" in difference
    assert any(line.startswith("The unit is the run, one for each training seed") for line in lines)


def test_one_run_has_no_interval(tmp_path: Path) -> None:
    write_runs(tmp_path, {0: 0.0})
    lines = comparison_lines(compare_named([tmp_path], ()))
    assert any("a single run has no interval" in line for line in lines)


def test_the_record_is_json_with_every_run(tmp_path: Path) -> None:
    paths = write_runs(tmp_path, {0: 0.0, 1: 1.0})
    found = json.loads(json.dumps(comparison_record(compare_named([tmp_path], ())), allow_nan=False))
    assert set(found) == set("env acting episodes first_seed groups behaviors differences warnings".split())
    (group,) = found["groups"]
    assert [run["run_dir"] for run in group["runs"]] == [str(path) for path in paths]
    assert group["runs"][1]["score"] == pytest.approx(group["runs"][0]["score"] + 1.0)
    assert {"mean", "ci", "iqm", "iqm_ci", "episodes_iqm", "episodes_iqm_ci", "num_runs"} <= set(group)
    (difference,) = found["differences"]
    assert set(difference) == {"first", "second", "num_runs", "paired", "mean", "ci", "probability", "p_value"}
    assert len(found["warnings"]) == 1


def test_against_a_behavior(tmp_path: Path) -> None:
    write_runs(tmp_path, {0: 0.0, 1: 1.0})
    (difference,) = compare_named([tmp_path], ["nearest"]).differences
    assert difference.second == "nearest"


def test_against_runs(tmp_path: Path) -> None:
    write_runs(tmp_path / "new", {0: 3.0, 1: 4.0})
    old = write_runs(tmp_path / "old", {0: 0.0, 1: 1.0})
    by_folder = compare_named([tmp_path / "new"], [str(tmp_path / "old")])
    by_run = compare_named([tmp_path / "new"], [str(path) for path in old])
    assert by_folder.differences == by_run.differences
    assert by_run.differences[0].found.mean == pytest.approx(3.0)
    assert replace(by_run.differences[0].found, mean=0.0) == replace(by_folder.differences[0].found, mean=0.0)


def test_what_against_cannot_be_is_said(tmp_path: Path) -> None:
    write_runs(tmp_path / "a", {0: 0.0})
    write_runs(tmp_path / "b", {0: 0.0}, settings=["ppo.clip_range=0.1"])
    folder = str(tmp_path / "a")
    for against, problem in (
        (
            ["nobody"],
            "--against nobody: expected a directory of runs, or a behavior .*: scripted, nearest, idle",
        ),
        (["scripted", folder], "--against scripted: expected one behavior, or directories of runs alone"),
        (["scripted", "idle"], "--against idle: expected one behavior"),
        ([folder, str(tmp_path / "b")], "expected runs that differ in their seed alone, got 2: clip_range="),
    ):
        with pytest.raises(CommandError, match=problem):
            compare_named([tmp_path / "a"], against)
