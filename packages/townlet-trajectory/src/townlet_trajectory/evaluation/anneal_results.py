"""The stages of a schedule as `anneal_results.json` lists them, their flags, and the decision that follows from them.

Neither `status` nor a claim that a stage passed is believed: both follow again from the numbers of the stages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from townlet_trajectory.errors import ManifestError
from townlet_trajectory.evaluation.promotion import Decision
from townlet_trajectory.storage.json import Fields, JsonValue

StageResult: TypeAlias = Mapping[str, int | float | str | bool | None]
"""One stage. Of mode `bc`: `cycle mode accuracy loss threshold passed bc_weight`, and `rolled_back` where it failed; of
mode `ppo`: `cycle mode bc_weight` and the keys of the last line that it wrote to the log."""

LOSS_TOLERANCE = 0.10
"""A loss that is higher than its baseline by more than this share of it raises a flag."""
FALL_TOLERANCE = 0.15
"""Queue conflicts, or their intensity, that are fewer than the baseline by more than this share raise a flag."""
_LEAST_LOSS = 1e-6
"""The size that a baseline of 0 counts as: rounding is no drift."""

_FLAGS = ("loss", "queue", "intensity")
_FAILED = "bc_stage_failed_cycle_"


class _Mode(StrEnum):
    BC = "bc"
    PPO = "ppo"


class Status(StrEnum):
    """What the stages of a schedule amount to."""

    PASS = "PASS"
    HOLD = "HOLD"
    """A stage of PPO raised a flag."""
    FAIL = "FAIL"
    """A stage of cloning missed its accuracy."""


@dataclass(frozen=True, kw_only=True)
class StageBaseline:
    """Measures of a stage of PPO, which the next one on the same dataset is compared with."""

    loss: float
    """Total loss of its last update."""
    queue_conflict_events: float | None
    """Mean over the episodes in which the trained policy was evaluated; None without a world that counts them."""
    queue_conflict_intensity_sum: float | None


def flags_of(measured: StageBaseline, baseline: StageBaseline | None) -> dict[str, bool]:
    """Compare a stage of PPO with the last one on the same dataset.

        loss:       not finite, or L - B > 0.10 max(|B|, 10⁻⁶)
        queue:      n < (1 - 0.15) n_B, of conflicts in queues; intensity: likewise, of their intensity

    Args:
        measured: of the stage.
        baseline: of the last stage of PPO on the same dataset; None: this is the first, and only a loss that is not
            finite raises a flag.

    Returns:
        Whether each flag is up, by `loss`, `queue` and `intensity`; a count that is not known raises none.
    """
    drifted = not math.isfinite(measured.loss)
    if baseline is not None and not drifted:
        drifted = measured.loss - baseline.loss > LOSS_TOLERANCE * max(abs(baseline.loss), _LEAST_LOSS)

    def fell(count: float | None, before: float | None) -> bool:
        return count is not None and before is not None and count < (1.0 - FALL_TOLERANCE) * before

    before = measured if baseline is None else baseline
    return {
        "loss": drifted,
        "queue": fell(measured.queue_conflict_events, before.queue_conflict_events),
        "intensity": fell(measured.queue_conflict_intensity_sum, before.queue_conflict_intensity_sum),
    }


def reasons_of(results: Sequence[Mapping[str, JsonValue]], source: str | Path) -> tuple[str, ...]:
    """Return why the status is not `PASS`: first each `bc_stage_failed_cycle_N`, then each `loss_flag_cycle_N`,
    `queue_flag_cycle_N` and `intensity_flag_cycle_N`, with N as the file spells it, `2` or `2.0`.

    A stage of cloning fails where its accuracy is below its threshold, or it says that it did not pass. A flag that is
    missing or null is not up.

    Args:
        results: the stages, in order.
        source: name of their file, for errors.

    Raises:
        ManifestError: if a stage lacks a value.
    """
    stages = [Fields(result, source, error=ManifestError) for result in results]
    return tuple(reason for rule in (_failures, _flags) for stage in stages for reason in rule(stage))


def status_of(reasons: Sequence[str]) -> Status:
    """Return `FAIL` where one of the `reasons` is a stage of cloning that failed, `HOLD` for others, else `PASS`."""
    if any(reason.startswith(_FAILED) for reason in reasons):
        return Status.FAIL
    return Status.HOLD if reasons else Status.PASS


def _failures(stage: Fields) -> list[str]:
    if stage.choice("mode", _Mode) is not _Mode.BC:
        return []
    passed = stage.flag("passed") and stage.number("accuracy") >= stage.number("threshold")
    return [] if passed else [f"{_FAILED}{_cycle(stage)}"]


def _flags(stage: Fields) -> list[str]:
    if stage.choice("mode", _Mode) is not _Mode.PPO:
        return []
    return [
        f"{name}_flag_cycle_{_cycle(stage)}"
        for name in _FLAGS
        if stage.values.get(key := f"anneal_{name}_flag") is not None and stage.flag(key)
    ]


def _cycle(stage: Fields) -> str:
    """The number as the file spells it, because readers look for that text."""
    stage.number("cycle")
    return repr(stage.values["cycle"])


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
