"""The decision that follows from the stages of an anneal, as `anneal_results.json` or a summary holds them.

Neither `status` nor a claim that a stage passed is believed: both follow again from the numbers of the stages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from townlet_trajectory.errors import ManifestError
from townlet_trajectory.evaluation.anneal_results import Status, reasons_of, status_of
from townlet_trajectory.evaluation.promotion import Decision
from townlet_trajectory.storage.json import Fields, JsonValue

NOT_READY = "candidate_not_ready"
NO_RESULTS = "no_results"
_ONE_STAGE = {"bc_accuracy", "bc_threshold"}


@dataclass(frozen=True, kw_only=True)
class AnnealDecision:
    """The decision about a candidate after an anneal."""

    status: str
    """`pass`, `hold` or `fail`: of the stages alone."""
    decision: Decision
    candidate_ready: bool
    promotion: Mapping[str, JsonValue]
    """As it was given."""
    results: tuple[Mapping[str, JsonValue], ...]
    """The stages, as they were given."""
    reasons: tuple[str, ...]
    """Why it is not PROMOTE, such as `bc_stage_failed_cycle_0` or `loss_flag_cycle_2`; empty where it is."""

    def entries(self) -> dict[str, JsonValue]:
        """Return the decision as JSON."""
        return {
            **vars(self),
            "decision": str(self.decision),
            "promotion": dict(self.promotion),
            "results": [dict(one) for one in self.results],
            "reasons": list(self.reasons),
        }


def decide_anneal(document: JsonValue, source: str | Path) -> AnnealDecision:
    """Decide by the stages of an anneal.

    A `bc` stage fails where its accuracy is below its threshold, or it says that it did not pass: FAIL. A `ppo` stage
    with a flag that is up is HOLD, and so is no stage at all. Otherwise the candidate is promoted, unless `promotion`
    says that it is not ready, or its `pass_streak` is below its `required_passes`.

    Examples:
        >>> stages = [{"mode": "bc", "cycle": 0, "accuracy": 0.8, "threshold": 0.9, "passed": True}]
        >>> found = decide_anneal({"results": stages, "status": "PASS"}, "summary.json")
        >>> found.status, str(found.decision), found.reasons
        ('fail', 'FAIL', ('bc_stage_failed_cycle_0',))

    Args:
        document: a list of stages; an object with `results`, and as wanted `promotion` and `status`; or one stage as
            `bc_accuracy`, `bc_threshold`, and as wanted `bc_passed` and `cycle`.
        source: name of the file, for errors.

    Raises:
        ManifestError: if it is none of these, a stage lacks a value, or a number is not finite.
    """
    _require_finite(document, source)
    if isinstance(document, list):
        document = {"results": document}
    if not isinstance(document, dict):
        raise ManifestError(source, "parse", f"expected stages or an object with `results`, got {document!r:.80}")
    if "results" not in document and document.keys() >= _ONE_STAGE:
        document = {"results": [_only_stage(document, source)]}
    given = Fields(document, source, error=ManifestError)
    results = tuple(stage.values for stage in given.objects("results"))
    reasons = reasons_of(results, source) if results else (NO_RESULTS,)
    status = status_of(reasons)
    ready = status is Status.PASS and ("promotion" not in document or _is_ready(given.inside("promotion")))
    decision = {Status.FAIL: Decision.FAIL, Status.PASS: Decision.PROMOTE}.get(status, Decision.HOLD)
    if status is Status.PASS and not ready:
        decision, reasons = Decision.HOLD, (NOT_READY,)
    return AnnealDecision(
        status=status.lower(),
        decision=decision,
        candidate_ready=ready,
        promotion=given.object("promotion") if "promotion" in document else {},
        results=results,
        reasons=reasons,
    )


def _only_stage(document: Mapping[str, JsonValue], source: str | Path) -> dict[str, JsonValue]:
    """The one stage of a summary of behavior cloning."""
    given = Fields(document, source, error=ManifestError)
    accuracy, threshold = given.number("bc_accuracy"), given.number("bc_threshold")
    passed = given.flag("bc_passed") if "bc_passed" in document else accuracy >= threshold
    cycle = document.get("cycle", 0)
    return {"mode": "bc", "cycle": cycle, "passed": passed, "accuracy": accuracy, "threshold": threshold}


def _is_ready(promotion: Fields) -> bool:
    ready = "candidate_ready" not in promotion.values or promotion.flag("candidate_ready")
    if {"pass_streak", "required_passes"} <= promotion.values.keys():
        return ready and promotion.integer("pass_streak") >= promotion.integer("required_passes")
    return ready


def _require_finite(value: JsonValue, source: str | Path) -> None:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inside:
        _require_finite(each, source)
    if isinstance(value, float) and not math.isfinite(value):
        raise ManifestError(source, "parse", f"numbers must be finite, got {value}")
