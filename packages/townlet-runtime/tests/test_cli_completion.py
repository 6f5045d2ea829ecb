"""Completion by the protocol of three shells, as the scripts of Typer speak it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from townlet_runtime.cli import main

# Typer itself imports pydantic to parse, where it is installed.
HEAVY = ("numpy", "torch", "yaml", "rich", "onnxruntime", "townlet_runtime.config", "townlet_trajectory")

ASKED = f"""
import sys
from townlet_runtime.cli import main
code = main([])
loaded = [name for name in {HEAVY!r} if name in sys.modules]
raise SystemExit(f"imported to complete: {{loaded}}" if loaded else code)
"""


def environment(shell: str, line: str) -> dict[str, str]:
    words = line.split(" ")
    return {
        "_TOWNLET_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }


def completed(shell: str, line: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", ASKED],
        env={**os.environ, **environment(shell, line)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("line", "names", "absent"),
    [
        ("townlet ", ["train", "config", "promote"], ["init"]),
        ("townlet con", ["config"], ["train"]),
        ("townlet config ", ["init", "show", "schema", "check"], ["train"]),
        ("townlet train --re", ["--resume", "--replay-manifest"], ["--seed"]),
        ("townlet train --mode ", ["anneal", "ppo", "mixed"], ["config"]),
        ("townlet train --mode r", ["replay", "rollout"], ["anneal"]),
        ("townlet run --env ", ["town", "gymnasium:", "pettingzoo:"], []),
        ("townlet run --controller gymn", ["gymnasium:LunarLander-v3"], []),
        ("townlet train --preset co", ["contract"], ["default"]),
        ("townlet evaluate some-run --against ", ["scripted", "random"], []),
    ],
)
def test_commands_options_choices_and_names_are_completed(
    shell: str, line: str, names: list[str], absent: list[str]
) -> None:
    # zsh marks colons.
    out = completed(shell, line).replace("\\\\:", ":")
    found = {part.split('"')[1] if shell == "zsh" else part.split("\t")[0] for part in found_lines(out)}
    assert set(names) <= found and not set(absent) & found


def found_lines(out: str) -> list[str]:
    return [line for line in out.replace("_arguments '*: :((", "").splitlines() if line]


@pytest.mark.parametrize("line", ["townlet train ", "townlet run --policy ", "townlet config check a"])
def test_where_a_path_is_wanted_the_shell_completes_files(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completed("bash", line).strip() == ""
    assert completed("zsh", line).strip() == "_files"
    for name, value in {**environment("fish", line), "_TYPER_COMPLETE_FISH_ACTION": "is-args"}.items():
        monkeypatch.setenv(name, value)
    assert main([]) == 1  # fish: no arguments of ours, so files


def test_fish_asks_whether_there_are_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {**environment("fish", "townlet con"), "_TYPER_COMPLETE_FISH_ACTION": "is-args"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main([]) == 0


@pytest.mark.parametrize(
    ("shell", "part"),
    [
        ("bash", "complete -o default -F _townlet_completion townlet"),
        ("zsh", "#compdef townlet"),
        ("fish", "complete --command townlet --no-files"),
    ],
)
def test_the_script_of_a_shell_is_printed_on_demand(
    shell: str, part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_TOWNLET_COMPLETE", f"source_{shell}")
    assert main([]) == 0
    assert part in capsys.readouterr().out
    monkeypatch.setenv("_TOWNLET_COMPLETE", "source_csh")
    assert main([]) == 1
    assert "csh not supported" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash itself completes")
def test_bash_completes_with_the_script_that_is_printed(tmp_path: Path) -> None:
    command = tmp_path / "townlet"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m townlet_runtime "$@"\n')
    command.chmod(0o755)
    script = """
eval "$(_TOWNLET_COMPLETE=source_bash townlet)"
COMP_WORDS=(townlet config sc); COMP_CWORD=2
_townlet_completion townlet
echo "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "schema\n", done.stderr
