"""`evaluation.json` and `promotion.json`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_samples import SAMPLE, copy_run, edit

from townlet_runtime.runs.records import EvaluationFile, PromotionFile
from townlet_runtime.runs.strict_json import ReportError


def evaluation() -> EvaluationFile:
    return EvaluationFile.read(SAMPLE / "evaluation.json")


def promotion() -> PromotionFile:
    return PromotionFile.read(SAMPLE / "promotion.json")


def test_write_then_read_is_the_identity(tmp_path: Path) -> None:
    evaluation().write(tmp_path / "evaluation.json")
    promotion().write(tmp_path / "promotion.json")
    assert EvaluationFile.read(tmp_path / "evaluation.json") == evaluation()
    assert PromotionFile.read(tmp_path / "promotion.json") == promotion()
    for name in ("evaluation.json", "promotion.json"):
        assert (tmp_path / name).read_bytes() == (SAMPLE / name).read_bytes()


def test_a_file_of_the_first_release_is_read(tmp_path: Path) -> None:
    path = copy_run(tmp_path / "run") / "evaluation.json"

    def forget(content: dict[str, Any]) -> None:
        content.pop("clones")
        for point in content["history"]:
            point.pop("random_mean")

    edit(path, forget)
    assert EvaluationFile.read(path) == evaluation()


@pytest.mark.parametrize(
    ("change", "key", "expected"),
    [
        (lambda e: e.update(schema_version=2), "schema_version", "1"),
        (lambda e: e.update(more=1), "more", "no such key"),
        (lambda e: e["final"].pop("learned"), "final.learned", "a value"),
        (lambda e: e["final"].update(clone=[1.0]), "clone", "one return per seed, 20"),
        (lambda e: e["final"].update(learned=[], seeds=[]), "learned", "one return per seed, 1"),
        (lambda e: e["clone"]["epochs"][2].update(held_out_accuracy=1.5), "held_out_accuracy", "a share in [0, 1]"),
        (lambda e: e["history"][1].update(return_ci=[2, 1]), "return_ci", "(lower, upper)"),
        (lambda e: e["history"][1].update(stage=3), "history.1.stage", "a valid string"),
        (lambda e: e["baselines"]["idle"].update(ci=[2, 1]), "ci", "(lower, upper)"),
        (lambda e: e["final"]["paired"]["nearest"].update(ci=[2, 1]), "ci", "(lower, upper)"),
    ],
)
def test_a_damaged_evaluation_is_refused(
    tmp_path: Path, change: Callable[[object], object], key: str, expected: str
) -> None:
    path = copy_run(tmp_path / "run") / "evaluation.json"
    edit(path, change)
    with pytest.raises(ReportError) as caught:
        EvaluationFile.read(path)
    assert (caught.value.file, caught.value.key, caught.value.expected) == (path, key, expected)


def test_nan_in_a_file_is_refused_by_its_place(tmp_path: Path) -> None:
    path = copy_run(tmp_path / "run") / "evaluation.json"
    edit(path, lambda e: e["clone"].update(accuracy=float("nan")))
    with pytest.raises(ReportError, match=r"evaluation.json: `clone.accuracy`: expected a finite number, got nan"):
        EvaluationFile.read(path)


def test_columns_are_the_policies_that_played() -> None:
    final = dataclasses.replace(evaluation().final, random=None, clone=None)
    assert list(final.columns()) == ["learned", "scripted", "nearest", "idle"]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("candidate", "short", "64 lower-case"),
        ("ci", (2.0, 1.0), "(lower, upper)"),
        ("tail_margin", float("inf"), "a finite number"),
    ],
)
def test_a_wrong_promotion_cannot_be_made(key: str, value: object, expected: str) -> None:
    with pytest.raises(ReportError) as caught:
        dataclasses.replace(promotion(), **{key: value})
    assert caught.value.key == key
    assert caught.value.expected.startswith(expected)
