"""Who may replace whom, and that it is not forgotten."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory.errors import ArtifactError, PromotionError
from townlet_trajectory.evaluation.comparisons import PairedComparison
from townlet_trajectory.evaluation.gates import GateResult, Verdict
from townlet_trajectory.evaluation.promotion import Decision, PromotionConfig, PromotionPass, RunPromotion

CONFIG = PromotionConfig(required_passes=2, num_episodes=10, tail_margin=1.0)
BETTER = PairedComparison(num_episodes=10, mean=2.0, ci=(1.0, 3.0), iqm=2.0, candidate_tail=4.0, incumbent_tail=5.0)
UNPROVEN = replace(BETTER, ci=(0.0, 3.0))
WORSE = replace(BETTER, mean=-2.0, ci=(-3.0, -0.5))
SHORT_TAIL = replace(BETTER, candidate_tail=3.9)
PASSED = GateResult(name="kept", verdict=Verdict.PASSED, detail="fine")
UNSURE = GateResult(name="cloned", verdict=Verdict.NOT_ENOUGH_EVIDENCE, detail="3 episodes")
FAILED = GateResult(name="kept", verdict=Verdict.FAILED, detail="low")


def registry(folder: Path, config: PromotionConfig = CONFIG) -> RunPromotion:
    return RunPromotion(folder / "promotion.json", config=config, seed=3)


def test_promotion_needs_passes_in_a_row(tmp_path: Path) -> None:
    own = registry(tmp_path)
    first = own.record("c1", "scripted", comparison=BETTER, gates=[PASSED])
    assert (first.decision, first.pass_streak, first.candidate_ready) == (Decision.HOLD, 1, False)
    assert first.reason == "better than scripted in 1 of 2 passes: mean difference 2, 95 % interval [1, 3]"
    second = own.record("c1", "scripted", comparison=BETTER, gates=[PASSED])
    assert (second.decision, second.pass_streak, second.candidate_ready) == (Decision.PROMOTE, 2, True)


@pytest.mark.parametrize(
    ("comparison", "decision", "reason"),
    [
        (UNPROVEN, Decision.HOLD, "not shown to be better than scripted"),
        (SHORT_TAIL, Decision.HOLD, "its worst tenth is lower by 1.1, allowed 1"),
        (WORSE, Decision.FAIL, "worse than scripted"),
    ],
)
def test_anything_else_begins_anew(
    tmp_path: Path, comparison: PairedComparison, decision: Decision, reason: str
) -> None:
    own = registry(tmp_path)
    own.record("c1", "scripted", comparison=BETTER, gates=[])
    result = own.record("c1", "scripted", comparison=comparison, gates=[])
    assert (result.decision, result.pass_streak) == (decision, 0)
    assert reason in result.reason
    assert own.record("c1", "scripted", comparison=BETTER, gates=[]).decision is Decision.HOLD


def test_a_tail_at_the_margin_passes() -> None:
    assert PromotionPass(candidate="c", incumbent="i", tail_margin=1.0, comparison=BETTER).outcome == "better"
    assert PromotionPass(candidate="c", incumbent="i", tail_margin=0.99, comparison=BETTER).outcome == "unproven"


def test_a_streak_belongs_to_its_candidate_and_incumbent(tmp_path: Path) -> None:
    own = registry(tmp_path)
    own.record("c1", "scripted", comparison=BETTER, gates=[])
    assert own.record("c2", "scripted", comparison=BETTER, gates=[]).pass_streak == 1
    assert own.record("c2", "c1", comparison=BETTER, gates=[]).pass_streak == 1
    assert own.record("c2", "c1", comparison=BETTER, gates=[]).pass_streak == 2


def test_a_failed_gate_fails_without_comparison(tmp_path: Path) -> None:
    own = registry(tmp_path)
    result = own.record("c1", "scripted", comparison=None, gates=[PASSED, FAILED])
    assert (result.decision, result.reason) == (Decision.FAIL, "gate kept failed: low")
    with pytest.raises(PromotionError, match="1 failed, and the comparison is there"):
        own.record("c1", "scripted", comparison=BETTER, gates=[FAILED])
    with pytest.raises(PromotionError, match="0 failed, and the comparison is missing"):
        own.record("c1", "scripted", comparison=None, gates=[PASSED])
    assert own.num_passes == 1


def test_the_streak_survives_the_process_and_seeds_are_fresh(tmp_path: Path) -> None:
    own = registry(tmp_path)
    blocks = [own.next_seeds()]
    own.record("c1", "scripted", comparison=BETTER, gates=[])
    reopened = registry(tmp_path)
    blocks.append(reopened.next_seeds())
    assert reopened.record("c1", "scripted", comparison=BETTER, gates=[]).decision is Decision.PROMOTE
    blocks.append(registry(tmp_path).next_seeds())
    assert len({seed for block in blocks for seed in block.tolist()}) == 30


@given(st.lists(st.sampled_from([BETTER, UNPROVEN, WORSE, SHORT_TAIL, None]), min_size=1, max_size=6), st.booleans())
def test_the_registry_counts_like_a_person(
    tmp_path_factory: pytest.TempPathFactory, comparisons: list[PairedComparison | None], reopen: bool
) -> None:
    folder = tmp_path_factory.mktemp("registry")
    own, streak = registry(folder), 0
    for comparison in comparisons:
        own = registry(folder) if reopen else own
        result = own.record("c", "i", comparison=comparison, gates=[FAILED] if comparison is None else [])
        streak = streak + 1 if comparison is BETTER else 0
        assert result.pass_streak == streak
        assert (result.decision is Decision.PROMOTE) == (streak >= 2)


def test_a_registry_can_begin_anew_where_there_is_a_file(tmp_path: Path) -> None:
    first = registry(tmp_path)
    seeds = first.next_seeds().tolist()
    first.record("c1", "scripted", comparison=BETTER, gates=[])
    anew = RunPromotion(tmp_path / "promotion.json", config=CONFIG, seed=3, anew=True)
    assert (anew.num_passes, anew.next_seeds().tolist()) == (0, seeds)
    assert anew.record("c1", "scripted", comparison=BETTER, gates=[]).decision is Decision.HOLD
    assert registry(tmp_path).num_passes == 1


def test_the_file_says_what_was_decided(tmp_path: Path) -> None:
    own = registry(tmp_path)
    own.record("c1", "scripted", comparison=UNPROVEN, gates=[PASSED, UNSURE])
    document = json.loads((tmp_path / "promotion.json").read_text())
    history = document.pop("history")
    assert document == {
        "schema_version": 2,
        "decision": "HOLD",
        "reason": "not shown to be better than scripted: mean difference 2, 95 % interval [0, 3]",
        "candidate": "c1",
        "incumbent": "scripted",
        "mean_difference": 2.0,
        "ci": [0.0, 3.0],
        "tail_difference": -1.0,
        "tail_margin": 1.0,
        "gates": [
            {"name": "kept", "verdict": "passed", "detail": "fine"},
            {"name": "cloned", "verdict": "not enough evidence", "detail": "3 episodes"},
        ],
        "state": "monitoring",
        "pass_streak": 0,
        "required_passes": 2,
        "candidate_ready": False,
        "last_result": "fail",
    }
    assert [entry["outcome"] for entry in history] == ["unproven"]


def test_an_outcome_in_the_file_is_not_believed(tmp_path: Path) -> None:
    registry(tmp_path).record("c1", "scripted", comparison=UNPROVEN, gates=[])
    path = tmp_path / "promotion.json"
    path.write_text(path.read_text().replace("unproven", "better").replace("HOLD", "PROMOTE"))
    assert registry(tmp_path).record("c1", "scripted", comparison=BETTER, gates=[]).pass_streak == 1


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda text: text.replace('"schema_version": 2', '"schema_version": 1'), "`schema_version` must be 2, got 1"),
        (lambda text: text.replace('"history"', '"stories"'), "`history` must be a list"),
        (
            lambda text: text.replace('"outcome"', '"result"'),
            r"history\[0\]: parse: missing or unknown keys: outcome",
        ),
        (
            lambda text: text.replace('"iqm": 2.0', '"iqm": "two"'),
            r"\[0\]:comparison: parse: `iqm` must be a finite",
        ),
    ],
)
def test_a_foreign_file_is_refused(tmp_path: Path, change, error: str) -> None:
    registry(tmp_path).record("c1", "scripted", comparison=BETTER, gates=[])
    path = tmp_path / "promotion.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(ArtifactError, match=error):
        registry(tmp_path)


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "promotion.json").write_text('{"schema_version": 2, "history": NaN}')
    with pytest.raises(ArtifactError, match="NaN is not a number"):
        registry(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("required_passes", 0),
        ("required_passes", 11),
        ("num_episodes", 9),
        ("num_episodes", 10**6 + 1),
        ("tail_margin", -1.0),
        ("num_resamples", 99),
        ("num_resamples", 2**63),
    ],
)
def test_promotion_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(PromotionError, match=name):
        PromotionConfig(**{name: value})
