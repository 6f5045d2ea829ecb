import subprocess
import sys
from importlib.metadata import version

import pytest

from townlet_runtime.cli import main

COMMANDS = ("train", "run", "evaluate")
HEAVY = ("numpy", "torch", "onnxruntime", "yaml", "pydantic", "rich", "townlet_runtime.config", "townlet_behavior")


@pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in COMMANDS)])
def test_help_fits_a_terminal_of_80_columns(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert not [line for line in text.splitlines()[1:] if line.endswith("...")]


def test_help_names_every_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for option in (
        "--mode",
        "--total-steps",
        "--num-envs",
        "--seed",
        "--run-dir",
        "--eval-every",
        "--threads",
        "--preset",
    ):
        assert option in text
    assert text.count("default:") >= 9
    main(["run", "--help"])
    text = capsys.readouterr().out
    for option in ("--policy", "--ratio", "--ticks", "--record", "--render", "--json"):
        assert option in text


def test_help_imports_nothing_heavy() -> None:
    script = f"""
import sys
from townlet_runtime.cli import main
assert main(["--help"]) == 0
loaded = [name for name in {HEAVY!r} if name in sys.modules]
raise SystemExit(f"imported for help: {{loaded}}" if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"townlet {version('townlet-runtime')}\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "Missing command"),
        (["fly"], "No such command 'fly'"),
        (["train", "--mode", "replay"], "'replay' is not one of 'anneal', 'ppo', 'bc'"),
        (["train", "--num-envs", "0"], "'--num-envs'"),
        (["train", "--device", "cuda"], "'cuda'"),
        (["run", "--ticks", "many"], "--ticks"),
        (["run", "--nope"], "--nope"),
        (["evaluate"], "RUN_DIR"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("townlet: error: ")
    assert problem in err
    assert err.count("\n") == 1


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "townlet_runtime", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"townlet {version('townlet-runtime')}\n")
