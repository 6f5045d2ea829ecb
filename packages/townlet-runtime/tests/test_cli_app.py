import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

import pytest
import typer
from typer.core import TyperGroup

from townlet_runtime.cli import main
from townlet_runtime.cli.app import app
from townlet_runtime.cli.options import whole_number

HEAVY = ("numpy", "torch", "onnxruntime", "yaml", "pydantic", "rich", "townlet_runtime.config", "townlet_behavior")


def named_commands(command: object, *path: str) -> Iterator[tuple[str, ...]]:
    """Yield the words that name a command, and those of all commands below it."""
    yield path
    if isinstance(command, TyperGroup):
        for name, one in command.commands.items():
            yield from named_commands(one, *path, name)


@pytest.mark.parametrize("words", list(named_commands(typer.main.get_command(app))), ids=" ".join)
def test_help_fits_a_terminal_of_80_columns(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
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
        (
            ["train", "--mode", "dream"],
            "'dream' is not one of 'anneal', 'ppo', 'bc', 'dagger', 'replay', 'rollout', 'mixed'",
        ),
        (["train", "--num-envs", "0"], "'--num-envs'"),
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


@pytest.mark.parametrize(
    ("arguments", "range_"),
    [
        ("run --seed", "0 to 9,223,372,036,854,775,807"),
        ("run --ticks", "1 to 1,000,000,000,000"),
        ("train --seed", "0 to 9,223,372,036,854,775,807"),
        ("train --total-steps", "1 to 1,000,000,000,000"),
        ("train --num-envs", "1 to 1,000,000,000,000"),
        ("train --eval-every", "1 to 1,000,000,000,000"),
        ("train --threads", "1 to 1,024"),
        ("evaluate run --episodes", "2 to 1,048,576"),
        ("capture rollout config.yaml --output x --ticks", "1 to 1,000,000,000,000"),
    ],
)
@pytest.mark.parametrize("value", [str(2**63), "-1", "1.5", "many", "nan", "1e400", "inf"])
def test_a_number_out_of_range_is_refused_with_option_and_range(
    arguments: str, range_: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments.split(), value]) == 2
    err = capsys.readouterr().err
    option = arguments.split()[-1]
    assert f"'{option}': expected a whole number from {range_}, got {value}" in err and err.count("\n") == 1


@pytest.mark.parametrize(("text", "number"), [("1e6", 10**6), ("3e4", 30_000), ("1_000", 1000), ("2.0", 2), ("7", 7)])
def test_whole_numbers_are_taken_however_they_are_written(text: str, number: int) -> None:
    assert whole_number(1, 10**9)(text) == number
