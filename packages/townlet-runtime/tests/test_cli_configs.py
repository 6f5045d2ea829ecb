"""`townlet config`: what each command prints and writes, and what it refuses."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from townlet_runtime.cli import main
from townlet_runtime.config import load_config
from townlet_runtime.config.annotated import annotated_config

TRAINER = pytest.mark.skipif(find_spec("townlet_training") is None, reason="asks the trainer")


def printed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    assert main(["config", *words]) == code
    return capsys.readouterr()


def record(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    return json.loads(printed(capsys, *words, "--json", code=code)[0])


def test_init_prints_or_writes_a_config_that_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(capsys, "init")
    assert out == annotated_config()
    path = tmp_path / "new.yaml"
    assert printed(capsys, "init", str(path), "--preset", "town")[0] == f"wrote {path}\n"
    assert path.read_text() == annotated_config(preset="town") and load_config(path).config.preset == "town"
    assert record(capsys, "init")["config"] == annotated_config()


def test_init_writes_over_a_file_only_when_it_is_told_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    _, err = printed(capsys, "init", str(path), code=2)
    assert err == f"townlet: error: {path}: there is such a file; --force writes over it\n"
    assert path.read_text() == "mine"
    assert "no file" in printed(capsys, "init", str(tmp_path), "--force", code=2)[1]
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    printed(capsys, "init", str(tmp_path / "link"), code=2)
    printed(capsys, "init", str(path), "--force")
    assert path.read_text() == annotated_config()


def test_init_for_code_says_that_the_command_line_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = printed(capsys, "init", "--env", "my_worlds:Meadow")
    assert "  name: module\n" in out and err == (
        "no file may name code: add --env my_worlds:Meadow to every command with this config\n"
    )
    assert "no preset `x`" in printed(capsys, "init", "--preset", "x", code=2)[1]


def test_show_is_a_table_of_values_with_their_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    path = tmp_path / "t.yaml"
    path.write_text("preset: town\nppo:\n  gamma: 0.9\n")
    words = ("show", str(path), "--set", "town.agents=3", "--changed")
    out, err = printed(capsys, *words)
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["key", "value", "from"]
    assert ["ppo.discount", "0.9", f"{path}:3"] in lines
    assert ["town.num_agents", "3", "--set", "town.agents=3"] in lines
    assert ["ppo.learning_rate", "0.0015", "preset", "town"] in lines
    assert not any(line[0] == "ppo.clip_range" for line in lines)
    assert err == ""
    every = record(capsys, "show", str(path))
    by_key = {each["key"]: each for each in every["values"]}
    assert by_key["ppo.discount"] == {
        "key": "ppo.discount",
        "value": 0.9,
        "source": "file",
        "from": f"{path}:3",
        "line": 3,
        "default": 0.99,
        "changed": True,
    }
    assert len(by_key) > 120 and every["config"] == str(path)


def test_show_takes_the_world_and_the_preset_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    values = {each["key"]: each for each in record(capsys, "show", "--env", "gymnasium:CartPole-v1")["values"]}
    assert values["environment.name"]["from"] == "--env gymnasium:CartPole-v1"
    values = {each["key"]: each for each in record(capsys, "show", "--preset", "default")["values"]}
    assert (values["preset"]["from"], values["ppo.num_epochs"]["value"]) == ("--preset default", 10)


def test_show_of_silence_differs_in_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.yaml").write_text("")
    assert printed(capsys, "show", str(tmp_path / "t.yaml"), "--changed")[0] == "nothing differs from a silent config\n"


def test_schema_is_json_and_says_how_it_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = printed(capsys, "schema")
    assert json.loads(out)["$schema"].endswith("2020-12/schema")
    assert err.splitlines()[-1] == "# yaml-language-server: $schema=townlet.schema.json"
    path = tmp_path / "own.json"
    printed(capsys, "schema", str(path))
    assert json.loads(path.read_text()) == json.loads(out)
    assert "--force writes over it" in printed(capsys, "schema", str(path), code=2)[1]


def test_check_names_every_error_of_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, good = tmp_path / "bad.yaml", tmp_path / "good.yaml"
    bad.write_text("town:\n  num_agnts: 3\nppo: {gamma: 5}\ntelemetry: {a: 1}\n")
    good.write_text("seed: 3\n")
    out, err = printed(capsys, "check", str(bad), str(good), code=2)
    assert out.splitlines() == [
        f"{bad}:2:3: error: `town.num_agnts`: unknown key; the nearest known key is `town.num_agents`",
        f"{bad}:3:7: error: `ppo.gamma`: must be less than or equal to 1, got 5",
        f"{bad}:4:1: warning: `telemetry`: nothing acts on it here",
        f"{bad}: 2 errors, 1 warning",
        f"{good}: no errors, no warnings",
    ]
    assert err == ""
    found = record(capsys, "check", str(bad), code=2)
    assert found["valid"] is False
    assert found["files"][0]["errors"][0] == {
        "file": str(bad),
        "line": 2,
        "column": 3,
        "key": "town.num_agnts",
        "problem": "unknown key; the nearest known key is `town.num_agents`",
        "nearest": "town.num_agents",
    }
    printed(capsys, "check", str(good))
    out, err = printed(capsys, "check", str(bad), "-q", code=2)
    assert out == "" and len(err.splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("environment:\n  name: twon\n", 2, "no world `twon` is registered"),
        ("environment: {controller: nobody}\n", 1, "no controller `nobody` is registered"),
        ("environment: {guardrails: [nothing]}\n", 1, "no guardrail `nothing` is registered"),
        ("seed: 1\npreset: twon\n", 2, "no preset `twon`; the nearest is `town`"),
    ],
)
def test_check_knows_what_is_registered(
    text: str, line: int, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.yaml").write_text(text)
    (error,) = record(capsys, "check", str(tmp_path / "t.yaml"), code=2)["files"][0]["errors"]
    assert error["line"] == line and error["problem"].startswith(problem)


@TRAINER
def test_check_asks_the_trainer_where_there_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.yaml").write_text("anneal:\n  kickstart_start: 0.1\n  kickstart_end: 0.5\nseed: -1\n")
    errors = record(capsys, "check", str(tmp_path / "t.yaml"), code=2)["files"][0]["errors"]
    assert [error["line"] for error in errors] == [1, 4]
    assert "`kickstart_start` must be at least `kickstart_end` 0.5" in errors[0]["problem"]


def test_escapes_of_a_foreign_file_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.yaml").write_text('"town\\e[31m": {a: 1}\nconfig_id: "x\\e]0;y\\a"\n"jobs": {"\\e[2J": {}}\n')
    for words in (("check",), ("show",), ("show", "--changed")):
        out, err = printed(capsys, *words[:1], str(tmp_path / "t.yaml"), *words[1:])
        assert "\x1b" not in out + err and "\x07" not in out + err
        assert "\\u001b" in out


def test_configs_are_handled_without_torch(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("preset: town\n")
    script = """
import sys
from townlet_runtime.cli import main
codes = [main(["config", *words]) for words in (["init"], ["show", sys.argv[1]], ["schema"])]
raise SystemExit(f"{codes} torch" if "torch" in sys.modules or any(codes) else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "t.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
