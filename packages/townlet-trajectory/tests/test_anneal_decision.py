"""What follows from the stages of an anneal, against recorded decisions of the original."""

import json
import math
from pathlib import Path

import pytest

from townlet_trajectory.errors import ManifestError
from townlet_trajectory.evaluation.anneal_results import decide_anneal
from townlet_trajectory.storage.json import parse_json

RECORDED = Path(__file__).parent / "data" / "promotion"


def stage(cycle=0, **changes):
    return {"mode": "bc", "cycle": cycle, "passed": True, "accuracy": 0.95, "threshold": 0.9} | changes


def update(cycle=1, **flags):
    names = ("anneal_loss_flag", "anneal_queue_flag", "anneal_intensity_flag")
    return {"mode": "ppo", "cycle": cycle, **dict.fromkeys(names, False)} | flags


@pytest.mark.parametrize("name", ["hold", "promote"])
def test_a_recorded_summary_gets_the_recorded_decision(name: str) -> None:
    expected = parse_json((RECORDED / f"{name}.json").read_bytes(), name)
    assert isinstance(expected, dict)
    # What a rehearsal or a pipe hands over; the promotion of a single stage is empty.
    given = {key: expected[key] for key in ("results", "promotion", "status") if expected[key] != {}}
    found = decide_anneal(given, name)
    assert found.entries() == expected
    assert json.dumps(list(found.entries())) == json.dumps(list(expected))


def test_a_bare_list_and_a_single_stage_are_read_too() -> None:
    found = decide_anneal([stage(0), update(1)], "anneal_results.json")
    assert (found.status, found.decision, found.candidate_ready, found.reasons) == ("pass", "PROMOTE", True, ())
    one = decide_anneal({"bc_accuracy": 0.95, "bc_threshold": 0.9}, "stdin")
    assert one.results == (stage(0),)
    assert one.decision == "PROMOTE"
    other = decide_anneal({"bc_accuracy": 0.95, "bc_threshold": 0.9, "bc_passed": False, "cycle": 3}, "stdin")
    assert (other.decision, other.reasons) == ("FAIL", ("bc_stage_failed_cycle_3",))


@pytest.mark.parametrize(
    ("stages", "status", "reasons"),
    [
        ([stage(0, passed=False)], "fail", ("bc_stage_failed_cycle_0",)),
        ([stage(0, accuracy=0.8)], "fail", ("bc_stage_failed_cycle_0",)),
        ([stage(0, accuracy=0.9)], "pass", ()),
        ([stage(), update(2.0, anneal_loss_flag=True)], "hold", ("loss_flag_cycle_2.0",)),
        (
            [update(1, anneal_queue_flag=True, anneal_intensity_flag=True)],
            "hold",
            ("queue_flag_cycle_1", "intensity_flag_cycle_1"),
        ),
        (
            [update(1, anneal_loss_flag=True), stage(2, passed=False)],
            "fail",
            ("bc_stage_failed_cycle_2", "loss_flag_cycle_1"),
        ),
        ([{"mode": "ppo", "cycle": 1}], "pass", ()),
        ([], "hold", ("no_results",)),
    ],
)
def test_the_stages_decide(stages, status: str, reasons) -> None:
    for claimed in ("PASS", "FAIL"):
        found = decide_anneal({"results": stages, "status": claimed}, "summary.json")
        assert (found.status, found.reasons) == (status, reasons)
        assert found.decision == {"pass": "PROMOTE", "hold": "HOLD", "fail": "FAIL"}[status]
        assert found.candidate_ready == (status == "pass")


@pytest.mark.parametrize(
    ("promotion", "ready"),
    [
        ({"candidate_ready": True}, True),
        ({"candidate_ready": False}, False),
        ({}, True),
        ({"candidate_ready": True, "pass_streak": 1, "required_passes": 2}, False),
        ({"pass_streak": 2, "required_passes": 2}, True),
    ],
)
def test_a_candidate_must_be_ready(promotion, ready: bool) -> None:
    found = decide_anneal({"results": [stage()], "promotion": promotion}, "summary.json")
    assert found.candidate_ready == ready
    assert (found.decision, found.reasons) == (("PROMOTE", ()) if ready else ("HOLD", ("candidate_not_ready",)))
    assert found.status == "pass"


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([stage(accuracy=math.nan)], "numbers must be finite, got nan"),
        ({"results": [update(loss_total=math.inf)]}, "numbers must be finite, got inf"),
        ({"status": "PASS"}, "`results` must be a list of objects"),
        ("PASS", "expected stages or an object with `results`"),
        ([1], "`results` must be a list of objects"),
        ([stage(mode="dagger")], "`mode` must be one of bc, ppo, got 'dagger'"),
        ([{"mode": "bc", "cycle": 0, "passed": True}], "`accuracy` must be a finite number"),
        ([stage(passed="yes")], "`passed` must be true or false"),
        ([stage(cycle="\x1b[31m", passed=False)], r"`cycle` must be a finite number, got '\\x1b"),
        ([update(anneal_loss_flag="no")], "`anneal_loss_flag` must be true or false"),
        ({"results": [stage()], "promotion": {"candidate_ready": "yes"}}, "`candidate_ready` must be true or false"),
    ],
)
def test_what_says_nothing_is_refused(document, problem: str) -> None:
    with pytest.raises(ManifestError, match=problem):
        decide_anneal(document, "summary.json")
