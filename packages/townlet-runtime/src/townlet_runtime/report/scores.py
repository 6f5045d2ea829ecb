"""Scores of the policies: the rows of the table, and the paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.runs.strict_json import Interval
from townlet_trajectory.evaluation.comparisons import (
    PairedComparison,
    ScoreSummary,
    normalized,
    paired_differences,
)
from townlet_trajectory.evaluation.results import RANDOM, SCRIPTED, ZEROS, FinalEvaluation, zero_of


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One line of the table of scores."""

    policy: str
    score: ScoreSummary
    normalized: float | None
    """0 is the zero of the scores (`zero_of`), 1 the script; None where the two do not span a scale."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Difference:
    """Learned minus `other`, one number per seed."""

    other: str
    values: NDArray[np.float64]
    """[seeds]."""
    paired: PairedComparison


def score_rows(final: FinalEvaluation) -> tuple[ScoreRow, ...]:
    """Return the policies that were scored in the order of the evaluation, the learned one first, the clone last."""
    zero = zero_of(final.baselines)

    def scaled(mean: float) -> float | None:
        if zero is None or SCRIPTED not in final.baselines:
            return None
        return normalized(mean, final.summaries[zero].mean, final.summaries[SCRIPTED].mean)

    rows = {name: final.summaries[name] for name in final.scores}
    return tuple(ScoreRow(policy=name, score=row, normalized=scaled(row.mean)) for name, row in rows.items())


def differences(final: FinalEvaluation) -> tuple[Difference, ...]:
    """Return learned minus each behavior that does something; where there is none, minus chance."""
    scripts = [name for name in final.paired if name not in ZEROS]
    return tuple(
        Difference(
            other=other,
            values=paired_differences(final.learned, final.baselines[other]),
            paired=final.paired[other],
        )
        for other in scripts or [name for name in final.paired if name == RANDOM]
    )


def shared_decimals(rows: Sequence[ScoreRow]) -> int:
    """Return how many decimals show the narrowest interval of `rows` with a digit of its own; 1 to 4."""
    widths = [row.score.ci[1] - row.score.ci[0] for row in rows]
    narrowest = min((width for width in widths if width > 0.0), default=1.0)
    return min(max(math.ceil(-math.log10(narrowest)), 1), 4)


def fixed(value: float, decimals: int) -> str:
    """Return `value` with so many decimals and a true minus sign, so that a column of them lines up."""
    return f"{value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def interval_text(interval: Interval) -> str:
    """Return `40.1 to 50.3`."""
    return f"{number(interval[0])} to {number(interval[1])}"


def number(value: float, *, sign: bool = False) -> str:
    """Return `value` for a reader: 1,234.5, 0.35 or 0.0012, with a true minus sign."""
    size = abs(value)
    form = ".1f" if size >= 10 else ".2f" if size >= 0.1 or size == 0 else ".2g"
    return f"{value:{'+' if sign else ''},{form}}".replace("-", "\N{MINUS SIGN}")
