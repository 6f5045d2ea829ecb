"""`townlet compare` from end to end, on directories of runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from several_runs import write_runs

from townlet_runtime.cli import main


def test_people_get_a_table_and_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(tmp_path, {0: 0.0, 1: 1.0})
    assert main(["compare", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("mean return")
    assert err.startswith("townlet: warning: anneal: 2 runs; with fewer than 5 training seeds")


def test_json_is_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = write_runs(tmp_path, {0: 0.0, 1: 1.0})
    assert main(["compare", *map(str, paths), "--against", "idle", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"][0]["second"] == "idle"


@pytest.mark.parametrize("end", ["html", "png", "svg"])
def test_a_picture_is_written_and_named(end: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(tmp_path / "runs", {0: 0.0, 1: 1.0})
    picture = tmp_path / f"picture.{end}"
    assert main(["compare", str(tmp_path / "runs"), "--output", str(picture)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"picture: {picture}"
    begins = {"html": b"<!doctype html>", "png": b"\x89PNG", "svg": b"<?xml"}[end]
    assert picture.read_bytes().startswith(begins)


def test_errors_are_one_line_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(tmp_path / "a", {0: 0.0})
    write_runs(tmp_path / "b", {1: 0.0}, settings=["town.agents=4"])
    for arguments, problem in (
        ([], "RUN_DIR"),
        ([str(tmp_path)], "found no manifest.json"),
        ([str(tmp_path / "a"), str(tmp_path / "a")], "a seed counts once"),
        ([str(tmp_path / "a"), str(tmp_path / "b")], "another world"),
        ([str(tmp_path / "a"), "--output", "picture.gif"], "ends in .html, .png, .svg"),
    ):
        assert main(["compare", *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == "" and len(err.splitlines()) == 1 and problem in err, arguments


def test_the_command_imports_no_trainer() -> None:
    code = "import sys, townlet_runtime.cli.views.comparison as _; "
    code += "raise SystemExit(str({'torch', 'scipy', 'townlet_training', 'matplotlib'} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
