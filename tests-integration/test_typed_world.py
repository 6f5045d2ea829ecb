"""Strict type checkers accept the first examples of READMEs and a world with views and intents of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")

ROOT = Path(__file__).resolve().parent.parent
TYPED = Path(__file__).with_name("typed_world.py")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def mypy(cache: Path, *paths: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cache)
    return done.returncode, done.stdout


def test_it_runs() -> None:
    subprocess.run([sys.executable, str(TYPED)], check=True)


def test_the_first_examples_of_readmes_are_typed_strictly(cache: Path) -> None:
    paths = []
    for page in ROOT.glob("packages/*/README.md"):
        example = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)[0]
        paths.append(cache / f"{page.parent.name.replace('-', '_')}_example.py")
        paths[-1].write_text(example, encoding="utf-8")
    assert mypy(cache, *paths) == (0, "Success: no issues found in 4 source files\n")


@pytest.mark.parametrize("path", [TYPED, ROOT / "examples" / "plain_world.py"], ids=lambda path: path.stem)
def test_a_world_of_ones_own_is_typed_strictly(path: Path, cache: Path) -> None:
    assert mypy(cache, path) == (0, "Success: no issues found in 1 source file\n")


def test_a_script_with_other_intents_than_the_codec_is_found(cache: Path) -> None:
    wrong, text = cache / "wrong_world.py", TYPED.read_text(encoding="utf-8")
    wrong.write_text(
        text.replace('-> Order:\n    return Order("arrest", suspect="joe")', '-> str:\n    return "arrest"')
    )
    code, output = mypy(cache, wrong)
    assert code == 1
    assert 'Argument 1 to "PerAgent" has incompatible type' in output
