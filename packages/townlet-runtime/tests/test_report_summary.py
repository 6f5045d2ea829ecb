"""`summary.json`: exact keys in their order, nothing that is not finite."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from report_samples import SAMPLE, copy_run, edit

from townlet_runtime.runs.strict_json import ReportError
from townlet_runtime.runs.summary import RunSummaryFile

KEYS = (
    "mode env preset seed threads env_steps agent_steps wall_time_s env_steps_per_s acting eval_episodes "
    "eval_return_mean eval_return_iqm eval_return_ci scripted_return_mean nearest_return_mean idle_return_mean "
    "random_return_mean clone_return_mean improvement_mean improvement_ci improvement_normalized promotion "
    "policy_sha256 weights_sha256 versions"
).split()
LATER_KEYS = ["policies_sha256", "controller"]
"""Files of the first release have none of them."""


def summary() -> RunSummaryFile:
    return RunSummaryFile.read(SAMPLE / "summary.json")


def test_the_file_has_exactly_these_keys_in_this_order() -> None:
    assert list(json.loads(summary().to_json())) == KEYS + LATER_KEYS


def test_a_file_of_the_first_release_is_read(tmp_path: Path) -> None:
    path = copy_run(tmp_path / "run") / "summary.json"
    edit(path, lambda content: [content.pop(key) for key in LATER_KEYS])
    assert RunSummaryFile.read(path) == summary()


def test_write_then_read_is_the_identity(tmp_path: Path) -> None:
    summary().write(tmp_path / "summary.json")
    assert RunSummaryFile.read(tmp_path / "summary.json") == summary()
    assert (tmp_path / "summary.json").read_bytes() == (SAMPLE / "summary.json").read_bytes()


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_required(tmp_path: Path, key: str) -> None:
    path = copy_run(tmp_path / "run") / "summary.json"
    edit(path, lambda content: content.pop(key))
    with pytest.raises(ReportError, match=f"`{key}`: expected a value, got nothing"):
        RunSummaryFile.read(path)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("threads", -1, "a number >= 0"),
        ("env_steps", -1, "a number >= 0"),
        ("agent_steps", -1, "a number >= 0"),
        ("wall_time_s", -0.5, "a number >= 0"),
        ("eval_episodes", -1, "a number >= 0"),
        ("eval_return_mean", float("nan"), "a finite number"),
        ("eval_return_ci", (0.0, float("inf")), "a finite number"),
        ("eval_return_ci", (2.0, 1.0), "(lower, upper)"),
        ("improvement_ci", (2.0, 1.0), "(lower, upper)"),
        ("policy_sha256", "abc", "64 lower-case"),
        ("weights_sha256", "abc", "64 lower-case"),
        ("policies_sha256", {"listener": "abc"}, "64 lower-case"),
        ("policies_sha256", {"../listener": "0" * 64}, "names that can be part of a file name"),
    ],
)
def test_a_wrong_record_cannot_be_made(key: str, value: object, expected: str) -> None:
    with pytest.raises(ReportError) as caught:
        dataclasses.replace(summary(), **{key: value})
    assert caught.value.key.startswith(key)
    assert caught.value.expected.startswith(expected)


def test_only_three_decisions_and_none_are_known(tmp_path: Path) -> None:
    path = copy_run(tmp_path / "run") / "summary.json"
    edit(path, lambda content: content.update(promotion="MAYBE"))
    with pytest.raises(ReportError, match="'PROMOTE', 'HOLD' or 'FAIL'"):
        RunSummaryFile.read(path)
    edit(path, lambda content: content.update(promotion=None))
    assert RunSummaryFile.read(path).promotion is None
