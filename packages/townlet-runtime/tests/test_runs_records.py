"""`begun.json`, `evaluation.json`, `promotion.json` and `summary.json`: exact keys, finite numbers, one typed error."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from report_samples import SAMPLE, copy_run, edit, leave_the_world

from townlet_runtime.runs.begun import BegunFile
from townlet_runtime.runs.records import CloningFile, EvaluationFile, PromotionFile, SummaryFile
from townlet_runtime.runs.strict_json import ReportError
from townlet_trajectory.evaluation.promotion import Decision

SUMMARY_KEYS = (
    "schema_version mode env preset seed threads env_steps agent_steps wall_time_s env_steps_per_s acting "
    "eval_episodes eval_return_mean eval_return_iqm eval_return_ci baseline_return_means clone_return_mean "
    "clone_accuracies improvement_mean improvement_ci improvement_normalized promotion policy_sha256 "
    "policies_sha256 opponents_sha256 "
    "weights_sha256 controller guardrails config_sha256 versions"
).split()
DIGEST = "0" * 64


def evaluation() -> EvaluationFile:
    return EvaluationFile.read(SAMPLE / "evaluation.json")


def promotion() -> PromotionFile:
    return PromotionFile.read(SAMPLE / "promotion.json")


def summary() -> SummaryFile:
    return SummaryFile.read(SAMPLE / "summary.json")


def test_write_then_read_is_the_identity(tmp_path: Path) -> None:
    for name, record in (("evaluation.json", evaluation()), ("summary.json", summary())):
        record.write(tmp_path / name)
        assert (tmp_path / name).read_bytes() == (SAMPLE / name).read_bytes()
        assert type(record).read(tmp_path / name) == record
    begun = BegunFile(schema_version=2, threads=2, config_sha256=DIGEST, config={"town": {"agents": 3}, "seed": None})
    begun.write(tmp_path / "begun.json")
    assert BegunFile.read(tmp_path / "begun.json") == begun


def test_a_world_names_its_behaviors(tmp_path: Path) -> None:
    path = copy_run(tmp_path / "run") / "evaluation.json"

    def rename(content: dict[str, dict[str, dict[str, object]]]) -> None:
        for part in ("baselines", "summaries", "paired", "normalized"):
            content["final"][part]["heuristic of 1999"] = content["final"][part].pop("nearest")

    edit(path, rename)
    final = EvaluationFile.read(path).final
    assert list(final.scores) == ["learned", "scripted", "idle", "random", "heuristic of 1999", "clone"]


@pytest.mark.parametrize(
    ("change", "key", "expected"),
    [
        (lambda e: e.update(schema_version=1), "schema_version", "3"),
        (lambda e: e.update(more=1), "more", "no such key"),
        (lambda e: e["final"].pop("learned"), "final.learned", "a value"),
        (lambda e: e["final"]["clone"].update(returns=[1.0]), "final.clone", "a consistent record"),
        (lambda e: e["final"]["learned"].update(returns=[], seeds=[]), "final.learned", "a consistent record"),
        (lambda e: e["final"]["baselines"]["idle"]["seeds"].reverse(), "final", "equal seeds of all policies"),
        (lambda e: e["final"]["summaries"].pop("idle"), "final.summaries", None),
        (lambda e: e["final"]["paired"].pop("idle"), "final.paired", "scripted, nearest, idle, random"),
        (lambda e: e["history"][1].update(return_ci=[2, 1]), "history.1.return_ci", "(lower, upper)"),
        (lambda e: e["history"][1].update(stage=3), "history.1.stage", "'clone', 'warmup', 'anneal' or 'ppo'"),
        (lambda e: e["final"]["summaries"]["idle"].update(ci=[2, 1]), "final.summaries.idle.ci", "(lower, upper)"),
        (lambda e: e["final"]["paired"]["nearest"].update(ci=[2, 1]), "final.paired.nearest.ci", "(lower, upper)"),
    ],
)
def test_a_damaged_evaluation_is_refused(
    tmp_path: Path, change: Callable[[object], object], key: str, expected: str | None
) -> None:
    path = copy_run(tmp_path / "run") / "evaluation.json"
    edit(path, change)
    with pytest.raises(ReportError) as caught:
        EvaluationFile.read(path)
    assert (caught.value.file, caught.value.key) == (path, key)
    assert expected is None or caught.value.expected == expected


def test_nan_in_a_file_is_refused_by_its_place(tmp_path: Path) -> None:
    path = copy_run(tmp_path / "run") / "cloning.json"
    edit(path, lambda e: e["results"]["agents"].update(accuracy=float("nan")))
    with pytest.raises(ReportError, match=r"`results.agents.accuracy`: expected a finite number, got nan"):
        CloningFile.read(path)


@pytest.mark.parametrize(
    ("change", "key", "expected"),
    [
        (lambda e: e["results"].clear(), "results", "at least one agent group"),
        (
            lambda e: e["results"]["agents"]["epochs"][2].update(held_out_accuracy=1.5),
            "results.agents: accuracy",
            "a share in [0, 1]",
        ),
        (lambda e: e.pop("gate"), "gate", "a value"),
    ],
)
def test_a_damaged_cloning_is_refused(
    tmp_path: Path, change: Callable[[object], object], key: str, expected: str
) -> None:
    path = copy_run(tmp_path / "run") / "cloning.json"
    edit(path, change)
    with pytest.raises(ReportError) as caught:
        CloningFile.read(path)
    assert (caught.value.file, caught.value.key, caught.value.expected) == (path, key, expected)


def test_scores_are_missing_without_a_world_and_only_then(tmp_path: Path) -> None:
    path = leave_the_world(copy_run(tmp_path / "run")) / "summary.json"
    summary = SummaryFile.read(path)
    assert (summary.env, summary.eval_return_mean, summary.clone_accuracies) == (None, None, {"agents": 0.917})
    edit(path, lambda content: content.update(env="town"))
    with pytest.raises(ReportError, match="`eval_return_mean`: expected null without a world, and only then, got None"):
        SummaryFile.read(path)


def test_the_last_pass_decides() -> None:
    latest = promotion().latest
    assert (promotion().decision, latest.incumbent, latest.outcome) == (Decision.PROMOTE, "scripted", "better")


@pytest.mark.parametrize(
    ("change", "key", "expected"),
    [
        (lambda p: p["history"][-1].update(candidate="short"), "candidate", "64 lower-case hexadecimal digits"),
        (lambda p: p["history"][-1]["comparison"].update(ci=[2, 1]), "ci", "(lower, upper)"),
        (lambda p: p["history"][-1].update(tail_margin=1e999), "history.1.tail_margin", "a finite number"),
        (lambda p: p.update(history=[]), "history", "at least one pass"),
        (lambda p: p.update(decision="MAYBE"), "decision", "'PROMOTE', 'HOLD' or 'FAIL'"),
    ],
)
def test_a_damaged_promotion_is_refused(
    tmp_path: Path, change: Callable[[object], object], key: str, expected: str
) -> None:
    path = copy_run(tmp_path / "run") / "promotion.json"
    edit(path, change)
    with pytest.raises(ReportError) as caught:
        PromotionFile.read(path)
    assert (caught.value.key, caught.value.expected) == (key, expected)


def test_the_summary_has_exactly_these_keys_in_this_order() -> None:
    assert list(json.loads((SAMPLE / "summary.json").read_text())) == SUMMARY_KEYS


@pytest.mark.parametrize("key", SUMMARY_KEYS)
def test_every_key_of_the_summary_is_required(tmp_path: Path, key: str) -> None:
    path = copy_run(tmp_path / "run") / "summary.json"
    edit(path, lambda content: content.pop(key))
    with pytest.raises(ReportError, match=f"`{key}`: expected a value, got nothing"):
        SummaryFile.read(path)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("threads", -1, "a number >= 0"),
        ("env_steps", -1, "a number >= 0"),
        ("agent_steps", -1, "a number >= 0"),
        ("wall_time_s", -0.5, "a number >= 0"),
        ("eval_episodes", -1, "a number >= 0"),
        ("eval_return_mean", float("nan"), "a finite number"),
        ("baseline_return_means", {"idle": float("nan")}, "a finite number"),
        ("eval_return_ci", (0.0, float("inf")), "a finite number"),
        ("eval_return_ci", (2.0, 1.0), "(lower, upper)"),
        ("improvement_ci", (2.0, 1.0), "(lower, upper)"),
        ("policy_sha256", "abc", "64 lower-case"),
        ("weights_sha256", "abc", "64 lower-case"),
        ("config_sha256", "abc", "64 lower-case"),
        ("policies_sha256", {"listener": "abc"}, "64 lower-case"),
        ("policies_sha256", {"../listener": DIGEST}, "names that can be part of a file name"),
    ],
)
def test_a_wrong_summary_cannot_be_made(key: str, value: object, expected: str) -> None:
    with pytest.raises(ReportError) as caught:
        dataclasses.replace(summary(), **{key: value})
    assert caught.value.key.startswith(key)
    assert caught.value.expected.startswith(expected)


def test_a_run_has_begun_with_at_least_one_thread(tmp_path: Path) -> None:
    (tmp_path / "begun.json").write_text('{"schema_version": 2, "threads": 0}')
    with pytest.raises(ReportError, match="`threads`: expected a number >= 1, got 0"):
        BegunFile.read(tmp_path / "begun.json")
