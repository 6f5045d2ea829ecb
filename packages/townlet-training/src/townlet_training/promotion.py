"""Whether a candidate may replace the incumbent: passes in a row on fresh seeds, kept in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Literal

from townlet_training.config import PromotionConfig
from townlet_training.errors import PromotionError
from townlet_training.evaluation import PairedComparison
from townlet_training.fields import Fields
from townlet_training.gates import GateResult
from townlet_training.seeds import SeedBlock, promotion_block
from townlet_trajectory.storage.files import write_json_atomic
from townlet_trajectory.storage.json import JsonValue, parse_object
from townlet_trajectory.storage.paths import read_named

SCHEMA_VERSION = 1
MAX_REGISTRY_BYTES = 8 << 20

_PASS_KEYS = frozenset({"candidate", "incumbent", "tail_margin", "outcome", "comparison"})
_COMPARISON_KEYS = frozenset(field.name for field in fields(PairedComparison))

Outcome = Literal["better", "unproven", "worse", "gated"]


class Decision(StrEnum):
    """What is to be done with the candidate."""

    PROMOTE = "PROMOTE"
    HOLD = "HOLD"
    FAIL = "FAIL"


@dataclass(frozen=True, kw_only=True)
class PromotionPass:
    """One attempt: who met whom, and what came of it."""

    candidate: str
    """Digest of the candidate's weights."""
    incumbent: str
    """Digest of the incumbent's weights, or the name of a behavior without any."""
    tail_margin: float
    comparison: PairedComparison | None
    """None: the candidate failed a gate, and met nobody."""

    @property
    def outcome(self) -> Outcome:
        """`better` needs the whole interval above zero and a worst tenth within the margin; `worse` is the interval's
        other side; `gated` is a failed gate."""
        if self.comparison is None:
            return "gated"
        low, high = self.comparison.ci
        if high < 0.0:
            return "worse"
        if low > 0.0 and self.comparison.tail_difference >= -self.tail_margin:
            return "better"
        return "unproven"


@dataclass(frozen=True, kw_only=True)
class PromotionDecision:
    """Where the registry stands after its last pass."""

    decision: Decision
    reason: str
    latest: PromotionPass
    gates: tuple[GateResult, ...]
    pass_streak: int
    """Passes in a row of the latest candidate against the latest incumbent."""
    required_passes: int
    num_passes: int
    """Passes of any outcome over the life of the registry."""

    @property
    def candidate_ready(self) -> bool:
        """Whether the streak is long enough."""
        return self.pass_streak >= self.required_passes


class PromotionRegistry:
    """Counts passes in a row; what it knows is in one file, and survives the process.

    A streak belongs to one candidate and one incumbent: any other begins anew.
    """

    def __init__(self, path: Path, *, config: PromotionConfig, seed: int, anew: bool = False) -> None:
        """Take up what `path` holds, or begin with nothing where there is no such file.

        Args:
            seed: from which the worlds of each pass follow.
            anew: begin with nothing also where there is one; the first pass replaces it.

        Raises:
            ArtifactError: if the file is no strict JSON.
            PromotionError: if it is not a registry, or one of a newer schema.
        """
        self._path = path
        self._config = config
        self._seed = seed
        self._passes = _read_passes(path) if path.exists() and not anew else ()

    @property
    def num_passes(self) -> int:
        """Passes of any outcome so far."""
        return len(self._passes)

    def next_block(self) -> SeedBlock:
        """The episodes of the next pass; no pass has seen them, nor has any gate or choice of a checkpoint."""
        return promotion_block(self._seed, self.num_passes, self._config.num_episodes)

    def record(
        self,
        candidate: str,
        incumbent: str,
        *,
        comparison: PairedComparison | None,
        gates: Sequence[GateResult],
    ) -> PromotionDecision:
        """Add one pass, write the file, and say what follows from it.

        Args:
            candidate: digest of its weights.
            incumbent: digest of its weights, or the name of a behavior.
            comparison: on the episodes of `next_block`; None exactly when a gate failed.
            gates: that the candidate went through on its way here.

        Raises:
            PromotionError: if a gate failed and there is a comparison, or neither.
        """
        failed = [gate for gate in gates if not gate.passed]
        if bool(failed) != (comparison is None):
            raise PromotionError(
                f"a candidate is compared unless a gate failed; {len(failed)} failed, "
                f"and the comparison is {'missing' if comparison is None else 'there'}"
            )
        latest = PromotionPass(
            candidate=candidate, incumbent=incumbent, tail_margin=self._config.tail_margin, comparison=comparison
        )
        passes = (*self._passes, latest)
        streak = _streak(passes)
        decision, reason = _decide(latest, failed, streak, self._config.required_passes)
        result = PromotionDecision(
            decision=decision,
            reason=reason,
            latest=latest,
            gates=tuple(gates),
            pass_streak=streak,
            required_passes=self._config.required_passes,
            num_passes=len(passes),
        )
        write_json_atomic(self._path, _document(result, passes))
        self._passes = passes
        return result


def _streak(passes: Sequence[PromotionPass]) -> int:
    latest = passes[-1]
    streak = 0
    for each in reversed(passes):
        same = (each.candidate, each.incumbent) == (latest.candidate, latest.incumbent)
        if not same or each.outcome != "better":
            break
        streak += 1
    return streak


def _decide(latest: PromotionPass, failed: Sequence[GateResult], streak: int, required: int) -> tuple[Decision, str]:
    comparison = latest.comparison
    if comparison is None:
        return Decision.FAIL, "; ".join(f"gate {gate.name} failed: {gate.detail}" for gate in failed)
    low, high = comparison.ci
    found = f"mean difference {comparison.mean:.6g}, 95 % interval [{low:.6g}, {high:.6g}]"
    match latest.outcome:
        case "worse":
            return Decision.FAIL, f"worse than {latest.incumbent}: {found}"
        case "better" if streak >= required:
            return Decision.PROMOTE, f"better than {latest.incumbent} in {streak} passes in a row: {found}"
        case "better":
            return Decision.HOLD, f"better than {latest.incumbent} in {streak} of {required} passes: {found}"
        case _ if low <= 0.0:
            return Decision.HOLD, f"not shown to be better than {latest.incumbent}: {found}"
        case _:
            return Decision.HOLD, (
                f"better than {latest.incumbent} on average, but its worst tenth is lower by "
                f"{-comparison.tail_difference:.6g}, allowed {latest.tail_margin:.6g}"
            )


def _document(result: PromotionDecision, passes: Sequence[PromotionPass]) -> dict[str, JsonValue]:
    latest = result.latest
    comparison = latest.comparison
    return {
        "schema_version": SCHEMA_VERSION,
        "decision": str(result.decision),
        "reason": result.reason,
        "candidate": latest.candidate,
        "incumbent": latest.incumbent,
        "mean_difference": None if comparison is None else comparison.mean,
        "ci": None if comparison is None else list(comparison.ci),
        "tail_difference": None if comparison is None else comparison.tail_difference,
        "tail_margin": latest.tail_margin,
        "gates": [{"name": gate.name, "passed": gate.passed, "detail": gate.detail} for gate in result.gates],
        "state": "ready" if result.candidate_ready else "monitoring",
        "pass_streak": result.pass_streak,
        "required_passes": result.required_passes,
        "candidate_ready": result.candidate_ready,
        "last_result": "pass" if latest.outcome == "better" else "fail",
        "history": [_entry(each) for each in passes],
    }


def _entry(each: PromotionPass) -> dict[str, JsonValue]:
    comparison = each.comparison
    return {
        "candidate": each.candidate,
        "incumbent": each.incumbent,
        "tail_margin": each.tail_margin,
        "outcome": each.outcome,
        "comparison": None
        if comparison is None
        else {
            "num_episodes": comparison.num_episodes,
            "mean": comparison.mean,
            "ci": list(comparison.ci),
            "iqm": comparison.iqm,
            "candidate_tail": comparison.candidate_tail,
            "incumbent_tail": comparison.incumbent_tail,
        },
    }


def _read_passes(path: Path) -> tuple[PromotionPass, ...]:
    """The passes in a registry's file. What it says about their outcome is not believed, but judged again."""
    document = parse_object(read_named(path, max_bytes=MAX_REGISTRY_BYTES), path)
    if document.get("schema_version") != SCHEMA_VERSION:
        raise PromotionError(
            f"{path}: `schema_version` must be {SCHEMA_VERSION}, got {document.get('schema_version')!r}"
        )
    history = document.get("history")
    if not isinstance(history, list):
        raise PromotionError(f"{path}: `history` must be a list of passes, got {history!r:.100}")
    return tuple(_parse_pass(entry, f"{path}: pass {number}") for number, entry in enumerate(history))


def _parse_pass(entry: JsonValue, where: str) -> PromotionPass:
    record = Fields(entry, where, _PASS_KEYS, error=PromotionError)
    comparison = record.value("comparison")
    return PromotionPass(
        candidate=record.text("candidate"),
        incumbent=record.text("incumbent"),
        tail_margin=record.number("tail_margin"),
        comparison=None if comparison is None else _parse_comparison(comparison, f"{where}, comparison"),
    )


def _parse_comparison(entry: JsonValue, where: str) -> PairedComparison:
    record = Fields(entry, where, _COMPARISON_KEYS, error=PromotionError)
    return PairedComparison(
        num_episodes=record.count("num_episodes"),
        mean=record.number("mean"),
        ci=record.pair("ci"),
        iqm=record.number("iqm"),
        candidate_tail=record.number("candidate_tail"),
        incumbent_tail=record.number("incumbent_tail"),
    )
