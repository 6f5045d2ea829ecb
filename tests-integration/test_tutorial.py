"""The tutorial's files and commands, as they stand in docs/tutorial.md, one after the other in one folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tutorial.md"
FEWER = {"total_env_steps: 20000": "total_env_steps: 9000", "_episodes: 50": "_episodes: 10"}
"""What the page says, and as much as reaches every stage."""
BLOCKS = re.findall(
    r'^```(\w+)(?: title="([\w.]+)")?\n(.*?)^```', PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)


def run(call: str, folder: Path) -> str:
    """Run a call of the page with the interpreter of the tests; returns its standard output."""
    program, *arguments = call.split()
    command = {"townlet": [sys.executable, "-m", "townlet_runtime"], "python": [sys.executable]}[program]
    # As in a shell, where a programme finds the modules beside it.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, cwd=folder, env=environment
    )
    allowed = (0, 1) if arguments[0] == "train" else (0,)  # 1: after so few steps the policy may be worse
    assert done.returncode in allowed, f"{call}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tutorial")


@pytest.fixture(scope="module")
def printed(folder: Path) -> dict[str, str]:
    """What each call of the page printed."""
    outputs = {}
    for kind, title, text in BLOCKS:
        if title:
            for said, enough in FEWER.items() if kind == "yaml" else ():
                assert said in text
                text = text.replace(said, enough)
            (folder / title).write_text(text, encoding="utf-8")
        elif kind == "console":
            for call in text.splitlines():
                outputs[call] = run(call.removeprefix("$ "), folder)
    return outputs


def shown_after(call: str) -> list[str]:
    """The lines that the page shows as what a call prints."""
    follows = PAGE.read_text(encoding="utf-8").partition(f"{call}\n")[2]
    return re.findall(r"```text\n(.*?)```", follows, re.DOTALL)[0].splitlines()


def test_the_page_has_its_files_and_calls(printed: dict[str, str]) -> None:
    titles = [title for _, title, _ in BLOCKS if title]
    assert titles == ["garden.py", "look.py", "garden.yaml", "act.py", "take_over.py"]
    assert [call.split()[1] for call in printed] == ["townlet", "townlet", "python", "townlet", "python", "python"]


def test_the_script_lives_as_the_page_says(printed: dict[str, str]) -> None:
    call = "$ townlet run --env garden:gardens --ticks 500"
    assert printed[call].splitlines()[-5:] == shown_after(call)


def test_the_record_is_read_back(printed: dict[str, str]) -> None:
    assert printed["$ python look.py"].startswith("2000 steps of 40 trajectories\n")


def test_the_run_learns_and_leaves_its_report(printed: dict[str, str], folder: Path) -> None:
    summary = json.loads((folder / "first" / "summary.json").read_text(encoding="utf-8"))
    means = summary["baseline_return_means"]
    assert means["random"] < means["scripted"] and means["random"] < summary["eval_return_mean"]
    assert "<svg" in (folder / "first" / "report.html").read_text(encoding="utf-8")


def test_the_policy_acts_and_an_agent_is_taken_over(printed: dict[str, str]) -> None:
    lines = printed["$ python act.py"].splitlines()
    assert [line.split(":")[0] for line in lines] == ["ratio 0.0", "ratio 0.5", "ratio 1.0"]
    assert lines[0] == shown_after("$ python act.py")[0]  # the script alone
    taken = printed["$ python take_over.py"].splitlines()[-4:]
    assert taken[:3] == shown_after("$ python take_over.py")[:3]
    assert re.fullmatch(r"ada: (rest|water \w+), still held: False", taken[3])
