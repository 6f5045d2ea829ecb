"""Every example is short, runs, and does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from townlet_runtime import Simulation, check_simulation

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TESTED_BELOW = {"act_without_torch", "balance_a_pole", "blend_a_policy", "record_and_load", "record_and_stream"}
TESTED_BELOW |= {"gather_mushrooms", "plain_world", "train_on_your_world", "tune"}
TESTED_ELSEWHERE = {"language_model_town"}
"""In test_language_model.py; it speaks to a server."""


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    # As a person runs it, who finds the modules beside it.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == TESTED_BELOW | TESTED_ELSEWHERE


@pytest.mark.parametrize("name", sorted(TESTED_BELOW | TESTED_ELSEWHERE))
def test_it_is_short(name: str) -> None:
    most = 100 if name in TESTED_ELSEWHERE else 60
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) < most


def test_blend_a_policy() -> None:
    lines = run("blend_a_policy").splitlines()
    # at ratio 0 everybody walks right, as the script says; at ratio 1 the policy's 0.2 do, give or take 3 deviations
    assert lines[0].startswith("ratio 0.00: wait, left, right [0. 0. 1.]")
    (right,) = re.findall(r"ratio 1\.00: .* ([\d.]+)\];", "\n".join(lines))
    assert 0.08 <= float(right) <= 0.32


def test_record_and_load() -> None:
    output = run("record_and_load")
    assert "loaded what was recorded" in output


def test_balance_a_pole() -> None:
    table = run("balance_a_pole").partition("mean return of 10 episodes\n")[2].partition("\n\n")[0]
    returns = {words[0]: float(words[1]) for words in map(str.split, table.splitlines())}
    assert list(returns) == ["learned", "scripted", "random", "clone"]
    # the script reacts too late and holds the pole for some forty ticks; whoever pushes at random, for twenty
    assert returns["random"] < returns["scripted"] < 60
    assert returns["learned"] > returns["scripted"] + 10


def test_train_on_your_world() -> None:
    script, policy = map(float, re.findall(r"alone: ([\d.]+) a tick", run("train_on_your_world")))
    # always left is worth E[U] = 1/2 a tick, the better side E[max(U, V)] = 2/3
    assert abs(script - 0.5) < 0.03
    assert policy > 0.6


def test_gather_mushrooms() -> None:
    drawn, policy = map(float, re.findall(r": ([-\d.]+) a tick", run("gather_mushrooms")))
    # whoever draws takes half of the time one side, worth 0 on average; the better side, or none, is worth 0.456, and
    # who knows the worths of one side alone gets 0.259
    assert abs(drawn) < 0.05
    assert policy > 0.4


def test_tune() -> None:
    *trials, best = run("tune").splitlines()
    ended = [line.split()[2] for line in trials]
    assert len(ended) == 4 and ended[0] == "complete,"  # the first has nobody to fall behind
    assert set(ended) <= {"complete,", "pruned,"}
    assert best.startswith("best: return ")
    # the best trial is one of those that ran to their end
    settings = best.partition(" with ")[2]
    assert any(line.endswith(settings) for line, end in zip(trials, ended, strict=True) if end == "complete,")


def test_act_without_torch(exported: Path) -> None:
    lines = run("act_without_torch", str(exported / "policy.onnx")).splitlines()
    assert [line.split(":")[0] for line in lines] == ["ratio 0.0", "ratio 0.5", "ratio 1.0"]
    assert re.search(r"'learned': 0,", lines[0])
    assert re.search(r"'scripted': 0,", lines[2])


def test_record_and_stream() -> None:
    # 100 agents for 500 ticks are 50,000 steps, 13 shards of at most 4,000; 256 are the first batch
    assert run("record_and_stream") == "256 steps, then 49,744 after the break, out of 13 shards\n"


ROOT = EXAMPLES.parent


def blocks(page: Path) -> str:
    """The Python of a document as one programme."""
    return "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))


def names_of(source: str) -> dict[str, Any]:
    """The names that a programme leaves behind, which is run as far as its training."""
    names: dict[str, Any] = {}
    exec(compile(source.partition("config = TrainingConfig(")[0], "shown", "exec"), names)
    return names


def road() -> Simulation:
    world: Simulation = names_of(blocks(ROOT / "packages" / "townlet-runtime" / "README.md"))["Road"]()
    return world


def orchard() -> Simulation:
    source = (EXAMPLES / "train_on_your_world.py").read_text(encoding="utf-8")
    world: Simulation = names_of(source)["Orchard"](2)
    return world


def mushrooms() -> Simulation:
    source = (EXAMPLES / "gather_mushrooms.py").read_text(encoding="utf-8")
    world: Simulation = names_of(source)["Mushrooms"](2)
    return world


def hills() -> Simulation:
    world: Simulation = names_of(blocks(ROOT / "docs" / "how-to" / "own-simulation.md"))["hills"](2)
    return world


@pytest.mark.parametrize("make", [road, orchard, mushrooms, hills])
def test_worlds_that_are_shown_keep_their_promises(make: Callable[[], Simulation]) -> None:
    check_simulation(make(), seed=1, ticks=90)


def test_plain_world() -> None:
    meals = [int(number) for number in re.findall(r"(\d+) meals", run("plain_world"))]
    # from 1 to the threshold of 0.4 by 0.02 a tick are 31 ticks: 200 ticks are 6 meals each; at ratio 1 one a tick
    assert meals[0] in range(15, 19)
    assert meals[0] < meals[1] < meals[2] <= 200
