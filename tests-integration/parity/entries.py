"""Runs the recorded calls of the original, one after the other in one folder, through one way of starting a command.

`python entries.py ENTRY FOLDER RESULTS [DONE]`; see `main`. All calls are made in one process, since torch is slow to
import: `townlet` is the entry point as it is installed, `python -m` is `runpy`.
"""

from __future__ import annotations

import io
import json
import os
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np

from townlet_runtime.cli import main as townlet
from townlet_runtime.legacy.scripts import SCRIPTS, arguments_of

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = ROOT / "tests-integration" / "contract"
SAMPLES = ROOT / "packages" / "townlet-trajectory" / "tests" / "data"
INPUTS = {
    "configs/scenarios": ROOT / "packages" / "townlet-runtime" / "tests" / "data" / "scenarios",
    "configs/examples": ROOT / "packages" / "townlet-runtime" / "tests" / "data" / "scenarios",
    "data/bc_datasets": SAMPLES / "catalogue" / "data" / "bc_datasets",
    "samples/idle_v1": SAMPLES / "catalogue" / "data" / "bc_datasets" / "captures" / "idle_v1",
    "samples/kitchen_capture": SAMPLES / "kitchen_capture",
}
FILES = {
    "samples/ppo_conflict_telemetry.jsonl": "ppo_conflict_telemetry.jsonl",
    "data/bc_datasets/versions.json": "versions.json",
    **{name: name for name in ("anneal.yaml", "bc.json", "base.json", "bad.json", "health.log")},
}
SHORT = """
training: {eval_episodes: 10, final_episodes: 10, bc: {epochs: 2}}
network: {hidden_sizes: [8]}
town: {episode_ticks: 100}
promotion: {num_episodes: 10, num_resamples: 100}
gates: {num_resamples: 100}
ppo: {num_epochs: 1, num_mini_batches: 4}
"""
"""Added to the original's configs: a policy is judged on few and short episodes, none of which a capture ends in."""
ORDER = """
    run-missing run-both run run-path bench report-rewards report-rewards-json
    capture-rollout capture-rollout-agent capture-suite capture-scripted replay replay-validate
    curate audit audit-bad audit-missing merge-dry merge
    bc-summary bc-summary-md train-bc train-replay-nopp train-replay
    report-summary report-summary-json report-summary-md report-plot
    report-validate report-validate-drift report-validate-old
    train-rollout watch watch-json watch-breach watch-health watch-health-breach train-mixed
    train-anneal rehearse promote-evaluate promote-evaluate-human promote-evaluate-list promote-evaluate-stdin
    promote-drill soak
""".split()
"""Each call after those whose files it reads."""
STDIN = {"promote-evaluate-stdin": '{"bc_accuracy": 0.95, "bc_threshold": 0.9, "bc_passed": true}'}


TRAINING = ("train-bc", "train-replay", "train-rollout", "train-mixed", "train-anneal", "rehearse", "soak")
"""Calls that take seconds; through two of the entries they are not made, and what they write is copied."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a call left behind."""

    code: int
    out: str
    err: str
    files: dict[str, Any] = field(default_factory=dict)
    """Content of the files that it wrote, by path; runs of `townlet train` are left out."""


def recorded(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((CONTRACT / "recorded" / f"{name}.json").read_text(encoding="utf-8"))
    return content


def words_of(argv: list[str]) -> list[str]:
    """The arguments of `townlet` that a call of the original is now."""
    script, *rest = argv
    return [*SCRIPTS[script.removesuffix(".py")], *arguments_of(script, rest)]


def of_process(start: Callable[[], object], argv: list[str]) -> int:
    """Run what a process would run, and return its exit code."""
    before, sys.argv = sys.argv, argv
    try:
        result = start()
    except SystemExit as end:
        result = end.code
    finally:
        sys.argv = before
    assert result is None or isinstance(result, int)
    return result or 0


def as_command(argv: list[str]) -> int:
    (found,) = entry_points(group="console_scripts", name="townlet")
    return of_process(found.load(), ["townlet", *words_of(argv)])


def as_module(argv: list[str]) -> int:
    return of_process(lambda: runpy.run_module("townlet_runtime", run_name="__main__"), ["townlet", *words_of(argv)])


def as_script(argv: list[str]) -> int:
    return of_process(lambda: runpy.run_module("townlet_runtime.legacy", run_name="__main__"), ["legacy", *argv])


ENTRIES: dict[str, Callable[[list[str]], int]] = {
    "python": lambda argv: townlet(words_of(argv)),
    "townlet": as_command,
    "module": as_module,
    "legacy": as_script,
}


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def prepare(folder: Path) -> None:
    """Put the files there that the calls read."""
    for place, source in INPUTS.items():
        shutil.copytree(source, folder / place)
    for path in (folder / "configs").rglob("*.yaml"):
        path.write_text(path.read_text(encoding="utf-8") + SHORT, encoding="utf-8")
    for place, name in FILES.items():
        shutil.copyfile(CONTRACT / "inputs" / name, folder / place)


def states(folder: Path) -> dict[str, tuple[int, int]]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.stat().st_ino) for path in found}


def content(path: Path) -> Any:
    """What a file says, as far as two files can be compared by it."""
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: arrays[name].tolist() for name in arrays.files}
    return None


def call(argv: list[str], start: Callable[[list[str]], int], folder: Path, *, stdin: str = "") -> Ran:
    """Run a call in `folder`.

    Args:
        argv: as the original was called.
        start: one of `ENTRIES`.
        folder: working folder.
        stdin: standard input.
    """
    out, err, before, typed = io.StringIO(), io.StringIO(), states(folder), sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
    try:
        with inside(folder), redirect_stdout(out), redirect_stderr(err):
            code = start(argv)
    finally:
        sys.stdin = typed
    written = {name for name, state in states(folder).items() if before.get(name) != state}
    files = {name: content(folder / name) for name in sorted(written) if not name.startswith("runs/")}
    return Ran(code=code, out=out.getvalue(), err=err.getvalue(), files=files)


def main(entry: str, folder: Path, results: Path, done: Path | None) -> None:
    """Make all calls, and write what each left behind as JSON.

    Args:
        entry: one of `ENTRIES`.
        folder: working folder; made.
        results: file to write.
        done: working folder in which all calls were made already; None: those of `TRAINING` are made here too.
    """
    prepare(folder)
    ran: dict[str, Any] = {}
    for name in ORDER:
        wanted = recorded(name)
        if done is not None and name in TRAINING:
            for file in wanted["files"]:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(done / file, folder / file)
            continue
        ran[name] = asdict(call(wanted["argv"], ENTRIES[entry], folder, stdin=STDIN.get(name, "")))
    results.write_text(json.dumps(ran), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:4]), Path(sys.argv[4]) if len(sys.argv) > 4 else None)
