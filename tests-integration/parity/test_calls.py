"""The 46 recorded calls of the original: the same exit codes, files and keys here, and through every entry the same."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from entries import CONTRACT, ENTRIES, ORDER, TRAINING, prepare, recorded, words_of

pytest.importorskip("townlet_training")

Calls = Mapping[str, Mapping[str, Any]]
DEPARTURES = json.loads((CONTRACT / "departures.json").read_text(encoding="utf-8"))["calls"]
LINES = {
    "run": r"Completed 20 ticks in \d+\.\d{3}s \(\d+\.\d ticks/sec\)",
    "run-path": r"Telemetry stream written to t\.jsonl",
    "capture-rollout": r"Captured 3 replay samples to cap",
    "replay": r"  rivalry_max: 0\.000",
    "replay-validate": r"Sample validation successful\.",
    "merge": r"- queue_conflict: 3 samples -> golden\.json",
    "merge-dry": r"- queue_conflict: 3 samples",
    "bc-summary-md": r"\| mean_accuracy \| 0\.8500 \|",
    "report-validate": r"ppo\.jsonl: 2 record\(s\) validated\.",
    "watch": r"Epoch 1 \(rollout\): loss_total=.*",
    "watch-health": r"Tick 1: duration=1\.25 ms, queue=0, dropped=0, .*",
    "promote-evaluate-human": r"Decision: HOLD",
    "soak": r"Soak run complete\. Telemetry log written to soak/ppo_soak\.jsonl",
    "bench": r"average_tick_seconds=\d+\.\d{6}",
}
"""A line of standard output that is relied on, by call."""
RUN = re.compile(r"\d{8}-\d{6}-\w+-\d+(-\d+)?/")
"""In the name of a file: the directory of a run that was given no name."""
TIMES = re.compile(
    r"\d{8}-\d{6}|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)?|in \d+\.\d+s \(.*? ticks/sec\)|average_tick_seconds=\S+"
    r"|epoch_duration=\S+|Epoch duration: `[\d.]+s`"
    r"|['\"](?:epoch_duration_sec|wall_time_s|env_steps_per_s|policy_time_s|duration_ms)['\"]: [\d.e+-]+"
    r"|duration_ms=\S+|[\d,.]+ (?:ticks|agent-decisions|env steps)/s|in (?:\d+ h )?(?:\d+ min )?\d+ s\b"
    r"|\"sha256\": \"[0-9a-f]{64}\""
)
"""What depends on the clock, in standard output and in files: digests are over times too."""


def of_call(name: str, what: str) -> list[dict[str, Any]]:
    """The departures of a call in `what`."""
    return [each for each in DEPARTURES if each["what"] == what and re.fullmatch(each["call"], name)]


def untold(name: str, what: str, found: Iterable[str]) -> list[str]:
    """Which of the differences found are of no departure; each of the call's departures must be of one."""
    told, found = of_call(name, what), list(found)
    unseen = [each["of"] for each in told if not any(re.fullmatch(each["of"], one) for one in found)]
    assert not unseen, (unseen, found)
    return [one for one in found if not any(re.fullmatch(each["of"], one) for each in told)]


def kind(value: Any) -> str:
    if isinstance(value, bool) or value in ("True", "False"):
        return "flag"
    if isinstance(value, int | float) or value in ("int", "float"):
        return "number"
    return "nothing" if value in (None, "None") else "text"


def lacking(shape: Any, value: Any, place: str = "") -> Iterator[str]:
    """Name every key of a recorded shape that `value` lacks, or has as something else. Null is a missing value."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f"{place}: no object"
            return
        for key, inner in shape.items():
            where = f"{place}.{key}".removeprefix(".")
            if key not in value:
                yield where
            else:
                yield from lacking(inner, value[key], where)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{place}: no list"
        elif shape and value and not (isinstance(shape[0], str) and shape[0].startswith(("...", "{"))):
            yield from lacking(shape[0], value[0], f"{place}[]")
    elif value is not None and "nothing" not in (kind(shape), kind(value)) and kind(shape) != kind(value):
        if not isinstance(shape, str) or shape in ("int", "float", "str", "True", "False"):
            yield f"{place}: {kind(shape)}, got {value!r:.40}"


def timeless(value: Any) -> str:
    return TIMES.sub("TIME", value if isinstance(value, str) else json.dumps(value))


def without_runs(files: Mapping[str, Any]) -> dict[str, str]:
    """The content of the files; of a run directory they have times in them, and in their names."""
    return {name: timeless(content) for name, content in files.items() if not RUN.search(name)}


def test_every_recorded_call_is_made() -> None:
    assert sorted(ORDER) == sorted(path.stem for path in (CONTRACT / "recorded").glob("*.json"))
    assert [each for each in DEPARTURES if not any(re.fullmatch(each["call"], name) for name in ORDER)] == []


@pytest.mark.parametrize("name", ORDER)
def test_exit_code_files_and_keys_are_those_of_the_original(name: str, calls: Calls) -> None:
    wanted, ran = recorded(name), calls["python"][name]
    codes = of_call(name, "exit code")
    assert ran["code"] == (codes[0]["here"] if codes else wanted["exit_code"]), ran["err"]
    if codes:
        assert wanted["exit_code"] == codes[0]["original"] != codes[0]["here"]
    assert untold(name, "file", (file for file in wanted["files"] if file not in ran["files"])) == []
    gaps = []
    for file, shape in wanted["files_json_shape"].items():
        if file in ran["files"]:
            written = ran["files"][file]
            # A log is recorded by its first line.
            found = lacking(shape, written[0] if file.endswith(".jsonl") else written)
            gaps += [f"{file}: {gap}" for gap in found]
    if wanted.get("stdout_json_shape") is not None:
        gaps += [f"stdout: {gap}" for gap in lacking(wanted["stdout_json_shape"], json.loads(ran["out"]))]
    assert untold(name, "key", gaps) == []


@pytest.mark.parametrize("name", ORDER)
def test_other_files_are_those_that_are_told(name: str, calls: Calls) -> None:
    more = (file for file in calls["python"][name]["files"] if file not in recorded(name)["files"])
    assert untold(name, "more files", more) == []


@pytest.mark.parametrize("name", LINES)
def test_lines_that_are_relied_on_are_printed(name: str, calls: Calls) -> None:
    lines = calls["python"][name]["out"].splitlines()
    assert any(re.fullmatch(LINES[name], line) for line in lines), lines


@pytest.mark.parametrize("name", ["train-anneal", "rehearse"])
def test_results_follow_the_lines_of_progress(name: str, calls: Calls) -> None:
    out = calls["python"][name]["out"]
    assert json.loads(out[out.index("{\n") :]).keys() >= {"status", "promotion", "results"}


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry != "python"])
@pytest.mark.parametrize("name", ORDER)
def test_every_entry_does_the_same(name: str, entry: str, calls: Calls) -> None:
    if name in TRAINING and entry != "legacy":
        assert name not in calls[entry]  # the same function by another door: not trained once more
        return
    ran, python = calls[entry][name], calls["python"][name]
    errors = (1, 2) if entry == "legacy" else (2, 2)  # the original's one code, and ours
    assert (ran["code"], python["code"]) in ((python["code"], python["code"]), errors)
    assert timeless(ran["out"]) == timeless(python["out"])
    assert without_runs(ran["files"]) == without_runs(python["files"])


@pytest.mark.parametrize("name", [name for name in ORDER if recorded(name)["exit_code"] == 1])
def test_a_script_of_the_original_ends_an_error_as_it_did(name: str, calls: Calls) -> None:
    told = of_call(name, "exit code")
    expected = told[0]["here"] if told and told[0]["here"] != 2 else 1
    assert calls["legacy"][name]["code"] == expected


def test_a_script_names_its_command_in_one_line(calls: Calls) -> None:
    for name, ran in calls["legacy"].items():
        (line,) = [line for line in ran["err"].splitlines() if line.startswith("DeprecationWarning: ")]
        script, words = recorded(name)["argv"][0], words_of(recorded(name)["argv"])
        assert line.startswith(f"DeprecationWarning: {script} is `townlet {words[0]}")


@pytest.mark.parametrize("name", ["run-missing", "bc-summary", "watch-health-breach", "curate"])
def test_processes_of_their_own_do_the_same(name: str, calls: Calls, tmp_path: Path) -> None:
    prepare(tmp_path / "work")
    argv = recorded(name)["argv"]
    if name == "curate":
        assert (
            start(
                [
                    "-m",
                    "townlet_runtime",
                    *shlex.split("capture rollout configs/scenarios/queue_conflict.yaml --ticks 5 --output cap"),
                ],
                tmp_path / "work",
            ).returncode
            == 0
        )
    module = start(["-m", "townlet_runtime", *words_of(argv)], tmp_path / "work")
    script = start(["-m", "townlet_runtime.legacy", *argv], tmp_path / "work")
    assert module.stdout == script.stdout == calls["python"][name]["out"]
    assert (module.returncode, script.returncode) == (calls["python"][name]["code"], calls["legacy"][name]["code"])


def start(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
