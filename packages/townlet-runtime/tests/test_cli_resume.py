"""`townlet train --resume`: a run that was broken off comes to what it would have come to."""

import json
import shlex
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import walk
from walk import CONTROLLER, SMALL

from townlet_runtime import training_worlds
from townlet_runtime.cli import main
from townlet_runtime.core.rollouts import Collector
from townlet_training import WALL_TIME_KEYS
from townlet_trajectory.evaluation.interfaces import Collected

walk.register()

SAME = ("config.yaml", "evaluation.json", "promotion.json")
ANNEAL = (*SMALL, "--controller", CONTROLLER)


class Killed(BaseException):
    """Stands for `kill -9`: nobody catches it, and nothing is written after it."""


class BreaksAfter(Collector):
    """Ends its process in some way at the beginning of a collection."""

    left = 0
    number: int | None = None
    """Of the signal that comes; None: killed."""

    def collect(self, *arguments: Any, **more: Any) -> Collected:
        if BreaksAfter.left == 0 and BreaksAfter.number is None:
            raise Killed
        if BreaksAfter.left == 0:
            signal.raise_signal(BreaksAfter.number)
        BreaksAfter.left -= 1
        return super().collect(*arguments, **more)


def begin(run_dir: Path, *more: str, options: Sequence[str] = ANNEAL) -> int:
    return main(["train", "--run-dir", str(run_dir), *options, *more])


def resume(run_dir: Path, *more: str) -> int:
    return main(["train", "--resume", str(run_dir), "--controller", CONTROLLER, *more])


def broken(
    run_dir: Path,
    collections: int,
    monkeypatch: pytest.MonkeyPatch,
    number: int | None = None,
    *,
    options: Sequence[str] = ANNEAL,
) -> int | None:
    """Begin a run that ends at the beginning of a collection; the exit code, None where it was killed."""
    with monkeypatch.context() as patch:
        patch.setattr(training_worlds, "Collector", BreaksAfter)
        patch.setattr(BreaksAfter, "left", collections)
        patch.setattr(BreaksAfter, "number", number)
        try:
            return begin(run_dir, options=options)
        except Killed:
            return None


def record_of(run_dir: Path) -> dict[str, Any]:
    """All that a run came to, but for how long it took."""
    files: dict[str, Any] = {name: (run_dir / name).read_text() for name in SAME}
    summary = json.loads((run_dir / "summary.json").read_text())
    files["summary"] = {key: value for key, value in summary.items() if key not in WALL_TIME_KEYS}
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    files["log"] = [{key: value for key, value in row.items() if key not in WALL_TIME_KEYS} for row in rows]
    return files


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "unbroken"
    assert begin(run_dir, "-q") in (0, 1)
    return run_dir


@pytest.mark.parametrize("collections", [0, 3])
def test_a_killed_run_comes_to_the_same_end(
    collections: int,
    unbroken: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_dir = tmp_path / "run"
    assert broken(run_dir, collections, monkeypatch) is None
    capsys.readouterr()
    assert resume(run_dir) in (0, 1)
    _, err = capsys.readouterr()
    said = "nothing was learned yet; the run begins again" if collections == 0 else "going on at "
    assert err.startswith(f"{run_dir}: {said}")
    assert record_of(run_dir) == record_of(unbroken)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "begun.json: `(file)`: expected a readable file, got No such file or directory\n"),
        (b'{"threads"', "begun.json: `(text)`: expected strict JSON"),
        (b'{"schema_version": 2, "threads": 64}', "begun without --controller"),
        (
            b'{"schema_version": 2, "threads": 64, "controller": "walk:script"}',
            "begun with --threads 64, which is 2 now",
        ),
    ],
)
def test_a_run_that_does_not_say_how_it_was_begun_is_not_gone_on_with(
    content: bytes | None,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_dir = tmp_path / "run"
    broken(run_dir, 0, monkeypatch)
    (run_dir / "begun.json").unlink()
    if content is not None:
        (run_dir / "begun.json").write_bytes(content)
    capsys.readouterr()
    assert resume(run_dir, "--threads", "2") == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_first_and_says_how_to_go_on(
    number: int,
    code: int,
    unbroken: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_dir = tmp_path / "run"
    assert broken(run_dir, 4, monkeypatch, number) == code
    out, err = capsys.readouterr()
    stopped, advice = err.splitlines()[-2:]
    assert out == "" and stopped.startswith("stopped at ")
    words = shlex.split(advice.removeprefix("go on with: "))
    assert words[:4] == ["townlet", "train", "--resume", str(run_dir)]
    assert words[4:6] == ["--controller", CONTROLLER]
    # the words are a command as they stand
    assert main([*words[1:6], "-q"]) in (0, 1)
    assert record_of(run_dir) == record_of(unbroken)


def test_a_run_in_a_world_of_a_module_goes_on_by_the_words_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = ("--env", "crossing:Crossing", "--guardrail", "walk:calm")
    options = (*SMALL, *code)
    assert begin(tmp_path / "whole", "-q", options=options) in (0, 1)
    run_dir = tmp_path / "run"
    assert broken(run_dir, 3, monkeypatch, signal.SIGTERM, options=options) == 143
    words = shlex.split(capsys.readouterr().err.splitlines()[-1].removeprefix("go on with: "))
    assert words == ["townlet", "train", "--resume", str(run_dir), *code]
    assert main(["train", "--resume", str(run_dir)]) == 2
    said = capsys.readouterr().err
    assert said == f"townlet: error: {run_dir}: begun with code that no file may name; add {shlex.join(code)}\n"
    assert main(["train", "--resume", str(run_dir), *code[:2], "--guardrail", "walk:other"]) == 2
    assert "begun with --guardrail walk:calm, which is walk:other now" in capsys.readouterr().err
    assert main([*words[1:], "-q"]) in (0, 1)
    assert record_of(run_dir) == record_of(tmp_path / "whole")


def test_a_run_that_was_killed_before_it_began_begins(unbroken: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    for name in ("begun.json", "config.yaml"):
        shutil.copy(unbroken / name, run_dir)
    # without --threads: it says itself with how many it was begun
    assert resume(run_dir, "-q") in (0, 1)
    assert record_of(run_dir) == record_of(unbroken)


def test_a_report_that_was_not_drawn_is_drawn(unbroken: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(unbroken, run_dir)
    (run_dir / "report.html").unlink()
    assert resume(run_dir, "-q") == 0
    assert (run_dir / "report.html").read_bytes() == (unbroken / "report.html").read_bytes()


def test_files_that_were_not_written_are_written(unbroken: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(unbroken, run_dir)
    for name in (
        "manifest.json",
        "summary.json",
        "report.html",
        "policy.onnx",
        "policy.vectors.json",
        "promotion.json",
    ):
        (run_dir / name).unlink()
    assert resume(run_dir, "-q") in (0, 1)
    assert record_of(run_dir) == record_of(unbroken)


def test_a_finished_run_is_shown(unbroken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", str(unbroken), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {**json.loads((unbroken / "summary.json").read_text()), "run_dir": str(unbroken)}
    assert err == f"{unbroken}: this run has finished; there is nothing to go on with\n"


@pytest.fixture
def unfinished(unbroken: Path, tmp_path: Path) -> Path:
    run_dir = tmp_path / "unfinished"
    shutil.copytree(unbroken, run_dir)
    (run_dir / "manifest.json").unlink()
    return run_dir


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["other.yaml"], "other.yaml: --resume goes on with the config of"),
        (["--run-dir", "elsewhere"], "--run-dir elsewhere: --resume goes on in"),
        (["--seed", "3"], "--seed 3: "),
        (["--mode", "ppo"], "--mode ppo: "),
        (["--env", "town"], "--env town: "),
        (["--total-steps", "250"], "--total-steps 250: "),
        (["--preset", "town"], "--preset town: "),
        (["--set", "ppo.gamma=0.5"], "--set ppo.gamma=0.5: "),
    ],
)
def test_what_contradicts_the_run_is_refused(
    more: list[str], problem: str, unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in unfinished.rglob("*")}
    assert resume(unfinished, *more) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"townlet: error: {problem}") and err.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in unfinished.rglob("*")} == before


def test_what_says_the_same_as_the_run_is_not_refused(unfinished: Path) -> None:
    same = ["--seed", "0", "--mode", "anneal", "--num-envs", "2", "--set", "environment.name=gymnasium:Walk-v0"]
    assert resume(unfinished, *same, "--run-dir", str(unfinished), "-q") in (0, 1)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], f"begun with code that no file may name; add --controller {CONTROLLER}"),
        (
            ["--controller", "walk:other"],
            f"begun with --controller {CONTROLLER}, which is walk:other",
        ),
        (["--threads", "2", "--controller", CONTROLLER], "begun with --threads 1, which is 2 now; say --threads 1"),
    ],
)
def test_what_the_run_depends_on_must_be_the_same(
    arguments: list[str],
    problem: str,
    unfinished: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(walk, "other", walk.script)
    assert main(["train", "--resume", str(unfinished), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and problem in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ("hidden_sizes: [8]", "hidden_sizes: [9]", "network.hidden_sizes"),
        ("eval_every: 3", "eval_every: 4", "training.eval_every"),
        ("rollout_ticks: 20", "rollout_ticks: 21", "training.rollout_ticks"),
    ],
)
@pytest.mark.parametrize("command", ["resume", "evaluate", "run"])
def test_a_config_that_was_changed_is_refused_by_its_key(
    command: str,
    before: str,
    after: str,
    key: str,
    unbroken: Path,
    unfinished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_dir = unfinished
    if command != "resume":
        run_dir = tmp_path / "finished"
        shutil.copytree(unbroken, run_dir)
    text = (run_dir / "config.yaml").read_text()
    assert before in text, text
    (run_dir / "config.yaml").write_text(text.replace(before, after))
    arguments = {
        "resume": ["train", "--resume", str(run_dir)],
        "evaluate": ["evaluate", str(run_dir), "--episodes", "2"],
        "run": ["run", "--policy", str(run_dir), "--ticks", "2"],
    }
    assert main([*arguments[command], "--controller", CONTROLLER]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.endswith(f"config.yaml: changed since the run was begun: `{key}`\n")


def test_a_config_that_was_cut_does_not_fall_back_to_defaults(
    unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (unfinished / "config.yaml").read_text()
    (unfinished / "config.yaml").write_text(text[: text.index("network:")])
    assert resume(unfinished) == 2
    assert "changed since the run was begun: " in capsys.readouterr().err


def test_a_damaged_checkpoint_is_named(unfinished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    newest = max((unfinished / "checkpoints").iterdir())
    weights = newest / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert resume(unfinished) == 2
    assert newest.name in capsys.readouterr().err
