"""Accuracies of clones: how many, their mean and the least."""

import json
from pathlib import Path

import pytest

from townlet_runtime.cli.console import CommandError
from townlet_runtime.cli.reports.accuracy import accuracy_markdown, accuracy_summary, read_accuracies


def read(tmp_path: Path, value: object) -> list[float]:
    path = tmp_path / "bc.json"
    path.write_text(json.dumps(value))
    return read_accuracies(path)


def test_the_summary_is_that_of_the_original(tmp_path: Path) -> None:
    summary = accuracy_summary(read(tmp_path, [{"accuracy": 0.9}, {"accuracy": 0.8, "loss": 1}]))
    assert summary == {"count": 2.0, "mean_accuracy": 0.8500000000000001, "min_accuracy": 0.8}
    assert accuracy_markdown(summary) == [
        "| Metric | Value |",
        "| --- | --- |",
        "| count | 2.0000 |",
        "| mean_accuracy | 0.8500 |",
        "| min_accuracy | 0.8000 |",
    ]


def test_one_object_counts_once_and_no_entry_gives_zeros(tmp_path: Path) -> None:
    assert read(tmp_path, {"accuracy": 1, "mode": "bc"}) == [1.0]
    assert accuracy_summary(read(tmp_path, [])) == {"count": 0.0, "mean_accuracy": 0.0, "min_accuracy": 0.0}


def test_stages_of_a_schedule_that_cloned_nothing_do_not_count(tmp_path: Path) -> None:
    stages = [{"mode": "bc", "accuracy": 0.5}, {"mode": "ppo", "loss_total": 1.0}]
    assert read(tmp_path, stages) == [0.5]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([{"accuracy": 0.9}, {}], r"bc.json\[1\]: `accuracy`: expected a share in \[0, 1\], got None"),
        ({"accuracy": 1.5}, "got 1.5"),
        ({"accuracy": True}, "got True"),
        ({"mode": "bc", "accuracy": "high"}, "got 'high'"),
        ([3], r"bc.json\[0\]: expected a JSON object, got int"),
    ],
)
def test_an_entry_without_an_accuracy_is_refused(value: object, problem: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=problem):
        read(tmp_path, value)
