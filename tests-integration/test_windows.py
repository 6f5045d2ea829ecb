"""Commands act, read and write where POSIX is missing; what Windows itself does is not simulated."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from townlet_runtime.cli.app import app

HERE = Path(__file__).parent
commands = runpy.run_path(str(HERE / "windows_commands.py"))["commands"]
HELPERS = HERE.parents[0] / "packages" / "townlet-trajectory" / "tests"

NOT_TYPED = {
    "promote candidate",  # typed with --dry-run: the tiny policy is not better
    "promote rollback",  # write to the registry as prune does
    "promote swap",
    "promote alias",
    "promote evaluate",  # reads one file
    "promote rehearse",  # trains as train does
    "distill",  # trains as train does
    "policy seal",  # needs the model of another library
    "policy adapt",  # writes a directory as train does
    "dataset merge-metrics",  # read and write a file, as curate does
    "dataset split",  # write data as convert does
    "dataset filter",
    "report bc",  # reads one file
    "live",  # serves until a signal ends it
    "serve",  # likewise
    "play",  # reads keys
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[int, str]]]:
    """The folder that the commands were typed in, and how each ended."""
    folder = tmp_path_factory.mktemp("windows")
    done = subprocess.run(
        [sys.executable, str(HERE / "windows_commands.py"), str(folder), str(HELPERS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_every_command_that_was_typed_ends_well(found: tuple[Path, dict[str, tuple[int, str]]]) -> None:
    assert {words: end for words, end in found[1].items() if end[0] != 0} == {}
    assert list(found[1]) == list(commands())


@pytest.mark.parametrize(
    "name",
    [
        "new.yaml",
        "town.schema.json",
        "recorded/rollout_sample_manifest.json",
        "telemetry.jsonl",
        "records.jsonl",
        "captured/rollout_sample_metrics.json",
        "converted/manifest.json",
        "run/policy.onnx",
        "run/report.html",
        "registry/journal.jsonl",
        "soak/ppo_soak.jsonl",
        "curves.svg",
        "both.html",
    ],
)
def test_what_they_write_is_there(name: str, found: tuple[Path, dict[str, tuple[int, str]]]) -> None:
    assert (found[0] / name).stat().st_size > 0


def test_no_lock_and_no_temporary_file_is_left(found: tuple[Path, dict[str, tuple[int, str]]]) -> None:
    assert [path.name for path in found[0].rglob(".*")] == []


def leaves(command: object, *path: str) -> set[str]:
    if not isinstance(command, TyperGroup):
        return {" ".join(path)}
    return {leaf for name, one in command.commands.items() for leaf in leaves(one, *path, name)}


def test_every_command_is_typed_or_named_with_the_reason() -> None:
    every = leaves(typer.main.get_command(app))
    typed = {each for each in every if any(f"{words} ".startswith(f"{each} ") for words in commands())}
    assert every - typed <= NOT_TYPED <= every
