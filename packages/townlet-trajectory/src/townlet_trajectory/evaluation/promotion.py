"""The decision whether a candidate may replace the incumbent: passes in a row on fresh seeds, and those of one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import ManifestError, PromotionError
from townlet_trajectory.evaluation.comparisons import MIN_EPISODES, PairedComparison
from townlet_trajectory.evaluation.gates import GateResult, Verdict
from townlet_trajectory.evaluation.interfaces import promotion_seeds
from townlet_trajectory.storage.files import write_json_atomic
from townlet_trajectory.storage.json import Fields, JsonValue, parse_object
from townlet_trajectory.storage.paths import read_named

PROMOTION_NAME = "promotion.json"
"""Name of the file of a run's own passes."""
SCHEMA_VERSION = 2
MAX_PASSES_BYTES = 8 << 20

Outcome = Literal["better", "unproven", "worse", "gated"]


@dataclass(frozen=True, kw_only=True)
class PromotionConfig:
    """When a candidate replaces the incumbent."""

    required_passes: int = 2
    """Passes in a row, each on fresh seeds; 1 to 10."""
    num_episodes: int = 100
    """Episodes of one pass; `MIN_EPISODES` to 1,000,000. Where a whole return is earned in one episode of ten (twenty),
    a pass holds its level from 50 (100) on."""
    tail_margin: float = 0.0
    """How much lower, in units of return, the worst tenth may be than the incumbent's; in [0, 1e9]."""
    num_resamples: int = 10_000
    """Of each interval; 100 to 1,000,000."""

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("required_passes", self.required_passes, 1, 10),
            ("num_episodes", self.num_episodes, MIN_EPISODES, 10**6),
            ("num_resamples", self.num_resamples, 100, 10**6),
        ):
            if not low <= value <= high:
                raise PromotionError(f"`{name}` must be in [{low}, {high}], got {value!r}")
        if not 0.0 <= self.tail_margin <= 1e9:
            raise PromotionError(f"`tail_margin` must be in [0, 1e9], got {self.tail_margin!r}")


class Decision(StrEnum):
    """The consequence for the candidate."""

    PROMOTE = "PROMOTE"
    HOLD = "HOLD"
    FAIL = "FAIL"


@dataclass(frozen=True, kw_only=True)
class PromotionPass:
    """One attempt of a candidate to replace an incumbent."""

    candidate: str
    """Digest of the candidate's weights."""
    incumbent: str
    """Digest of the incumbent's weights, or the name of a behavior without any."""
    tail_margin: float
    comparison: PairedComparison | None
    """None where the candidate failed a gate and was not compared."""

    @classmethod
    def of(
        cls,
        candidate: str,
        incumbent: str,
        *,
        tail_margin: float,
        comparison: PairedComparison | None,
        gates: Sequence[GateResult],
    ) -> PromotionPass:
        """Make the record of a pass.

        Args:
            candidate: digest of its weights.
            incumbent: digest of its weights, or the name of a behavior.
            tail_margin: in force.
            comparison: of the two; None exactly when a gate failed.
            gates: that the candidate went through before.

        Raises:
            PromotionError: if a gate failed and there is a comparison, or neither.
        """
        num_failed = sum(gate.failed for gate in gates)
        if bool(num_failed) != (comparison is None):
            raise PromotionError(
                f"a candidate is compared unless a gate failed; {num_failed} failed, "
                f"and the comparison is {'missing' if comparison is None else 'there'}"
            )
        return cls(candidate=candidate, incumbent=incumbent, tail_margin=tail_margin, comparison=comparison)

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
    """Decision after a pass."""

    decision: Decision
    reason: str
    latest: PromotionPass
    gates: tuple[GateResult, ...]
    pass_streak: int
    """Passes in a row of the latest candidate against the latest incumbent."""
    required_passes: int
    num_passes: int
    """Passes of any outcome so far."""

    @property
    def candidate_ready(self) -> bool:
        """Whether the streak is long enough."""
        return self.pass_streak >= self.required_passes


class RunPromotion:
    """Counts the passes in a row of one training run, in one file that survives the process.

    A streak belongs to one candidate and one incumbent: any other begins anew. Policies of several runs are compared
    by a `PromotionRegistry`.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> from townlet_trajectory.evaluation.comparisons import compare
        >>> from townlet_trajectory.evaluation.interfaces import EpisodeScores
        >>> config = PromotionConfig(required_passes=2, num_episodes=10, num_resamples=1000)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     passes = RunPromotion(Path(folder) / "promotion.json", config=config, seed=1)
        ...     for _ in range(2):
        ...         seeds = passes.next_seeds()
        ...         script = EpisodeScores.of(returns=np.arange(10.0), seeds=seeds)
        ...         learned = EpisodeScores.of(returns=np.arange(10.0) + 1.0, seeds=seeds)
        ...         comparison = compare(learned, script, seed=passes.num_passes, num_resamples=1000)
        ...         decision = passes.record("new weights", "scripted", comparison=comparison, gates=[])
        ...         print(decision.decision, decision.pass_streak)
        HOLD 1
        PROMOTE 2
    """

    def __init__(self, path: Path, *, config: PromotionConfig, seed: int, anew: bool = False) -> None:
        """Read the passes in `path`, if there is such a file.

        Args:
            path: of the file, such as `promotion.json`.
            config: of the passes to come.
            seed: from which the worlds of each pass follow.
            anew: begin without passes also where there is a file; the first pass replaces it.

        Raises:
            ArtifactError: if the file is no strict JSON, does not hold passes, or is of a newer schema.
        """
        self._path = path
        self._config = config
        self._seed = seed
        self._passes = _read_passes(path) if path.exists() and not anew else ()

    @property
    def num_passes(self) -> int:
        """Passes of any outcome so far."""
        return len(self._passes)

    def next_seeds(self) -> NDArray[np.int64]:
        """Return the seeds of the next pass [num_episodes]; no pass, gate or choice of a checkpoint has seen them."""
        return promotion_seeds(self._seed, self.num_passes, self._config.num_episodes)

    def record(
        self, candidate: str, incumbent: str, *, comparison: PairedComparison | None, gates: Sequence[GateResult]
    ) -> PromotionDecision:
        """Add one pass, write the file, and decide.

        Args:
            candidate: digest of its weights.
            incumbent: digest of its weights, or the name of a behavior.
            comparison: on the episodes of `next_seeds`; None exactly when a gate failed.
            gates: that the candidate went through before.

        Returns:
            The decision after this pass.

        Raises:
            PromotionError: if a gate failed and there is a comparison, or neither.
        """
        latest = PromotionPass.of(
            candidate, incumbent, tail_margin=self._config.tail_margin, comparison=comparison, gates=gates
        )
        passes = (*self._passes, latest)
        result = decide(
            latest,
            gates,
            pass_streak=_streak(passes),
            required_passes=self._config.required_passes,
            num_passes=len(passes),
        )
        write_json_atomic(self._path, _document(result, passes))
        self._passes = passes
        return result


def _streak(passes: Sequence[PromotionPass]) -> int:
    won = (passes[-1].candidate, passes[-1].incumbent, "better")
    back = ((each.candidate, each.incumbent, each.outcome) for each in reversed(passes))
    return sum(1 for _ in takewhile(lambda each: each == won, back))


def decide(
    latest: PromotionPass, gates: Sequence[GateResult], *, pass_streak: int, required_passes: int, num_passes: int
) -> PromotionDecision:
    """Draw the conclusion of a pass.

    Args:
        latest: the pass.
        gates: that its candidate went through before it.
        pass_streak: better passes in a row, this one included.
        required_passes: that promote.
        num_passes: of any outcome so far.

    Returns:
        PROMOTE where the streak is long enough, FAIL after a failed gate or where the candidate is worse, else HOLD.
    """
    decision, reason = _judgment(latest, gates, pass_streak, required_passes)
    return PromotionDecision(
        decision=decision,
        reason=reason,
        latest=latest,
        gates=tuple(gates),
        pass_streak=pass_streak,
        required_passes=required_passes,
        num_passes=num_passes,
    )


def _judgment(latest: PromotionPass, gates: Sequence[GateResult], streak: int, required: int) -> tuple[Decision, str]:
    comparison = latest.comparison
    if comparison is None:
        failed = (gate for gate in gates if gate.failed)
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
        "gates": gate_entries(result.gates),
        "state": "ready" if result.candidate_ready else "monitoring",
        "pass_streak": result.pass_streak,
        "required_passes": result.required_passes,
        "candidate_ready": result.candidate_ready,
        "last_result": "pass" if latest.outcome == "better" else "fail",
        "history": [
            {
                "candidate": each.candidate,
                "incumbent": each.incumbent,
                "tail_margin": each.tail_margin,
                "outcome": each.outcome,
                "comparison": comparison_entry(each.comparison),
            }
            for each in passes
        ],
    }


def _read_passes(path: Path) -> tuple[PromotionPass, ...]:
    """Read the passes in a file. Their outcomes in it are not believed, but judged again."""
    document = Fields(parse_object(read_named(path, max_bytes=MAX_PASSES_BYTES), path), path, error=ManifestError)
    if document.integer("schema_version") != SCHEMA_VERSION:
        raise ManifestError(
            path, "parse", f"`schema_version` must be {SCHEMA_VERSION}, got {document.integer('schema_version')}"
        )
    return tuple(_parse_pass(entry) for entry in document.objects("history"))


def _parse_pass(entry: Fields) -> PromotionPass:
    entry.require_keys({"candidate", "incumbent", "tail_margin", "outcome", "comparison"})
    return PromotionPass(
        candidate=entry.text("candidate"),
        incumbent=entry.text("incumbent"),
        tail_margin=entry.number("tail_margin"),
        comparison=read_comparison(entry),
    )


def comparison_entry(comparison: PairedComparison | None) -> JsonValue:
    """Return a comparison as JSON; see `read_comparison`."""
    return None if comparison is None else {**vars(comparison), "ci": list(comparison.ci)}


def read_comparison(entry: Fields) -> PairedComparison | None:
    """Read the `comparison` of `entry`. Raises `ManifestError` if it is neither null nor a comparison."""
    if entry.is_null("comparison"):
        return None
    record = entry.inside("comparison")
    record.require_keys({field.name for field in fields(PairedComparison)})
    low, high = record.numbers("ci", count=2)
    means = {name: record.number(name) for name in ("mean", "iqm", "candidate_tail", "incumbent_tail")}
    return PairedComparison(num_episodes=record.integer("num_episodes"), ci=(low, high), **means)


def gate_entries(gates: Sequence[GateResult]) -> list[JsonValue]:
    """Return gates as JSON; see `read_gates`."""
    return [{"name": gate.name, "verdict": str(gate.verdict), "detail": gate.detail} for gate in gates]


def read_gates(entry: Fields) -> tuple[GateResult, ...]:
    """Read the `gates` of `entry`. Raises `ManifestError` if one is no gate."""
    return tuple(
        GateResult(name=gate.text("name"), verdict=gate.choice("verdict", Verdict), detail=gate.text("detail"))
        for gate in entry.objects("gates")
    )
