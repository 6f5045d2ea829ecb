"""Scores of the policies: the rows of the table, and the paired differences."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.runs.records import EvaluationFile, FinalScores, Paired, Score
from townlet_runtime.runs.strict_json import Interval
from townlet_runtime.runs.summary import RunSummaryFile

SCRIPTS = ("scripted", "nearest")
POLICIES = ("learned", "scripted", "nearest", "idle", "random", "clone")
NUM_RESAMPLES = 10_000
ZEROS = ("idle", "random")
"""What the normalized score calls 0: the first of them that the world has."""


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One line of the table of scores."""

    policy: str
    score: Score
    normalized: float | None
    """0 is what `zero_of` names, 1 the script."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Difference:
    """Learned minus `other`, one number per seed."""

    other: str
    values: NDArray[np.float64]
    """[seeds]."""
    paired: Paired


def score_rows(summary: RunSummaryFile, evaluation: EvaluationFile | None) -> tuple[ScoreRow, ...]:
    """Return the policies that have a score, in a fixed order.

    What the files state is taken as stated; the rest (the clone) is worked out from its returns.
    """
    scores = _stated(summary) if evaluation is None else _stated(summary) | _evaluated(summary, evaluation)
    return tuple(
        ScoreRow(policy=policy, score=scores[policy], normalized=normalized(scores, scores[policy].mean))
        for policy in POLICIES
        if policy in scores
    )


def normalized(scores: Mapping[str, Score], mean: float) -> float | None:
    """Return `mean` on the scale on which `zero_of` is 0 and the script 1; None where the two do not span one.

    (mean - zero) / (scripted - zero)
    """
    name = zero_of(scores)
    if name is None or "scripted" not in scores:
        return None
    zero, scripted = scores[name].mean, scores["scripted"].mean
    return None if scripted <= zero else (mean - zero) / (scripted - zero)


def zero_of(policies: Container[str]) -> str | None:
    """Return which of `policies` the normalized score calls 0: idle, or random in a world that has no idle one."""
    return next((name for name in ZEROS if name in policies), None)


def _stated(summary: RunSummaryFile) -> dict[str, Score]:
    mean, iqm, ci = summary.eval_return_mean, summary.eval_return_iqm, summary.eval_return_ci
    if mean is None or iqm is None or ci is None:
        return {}
    return {"learned": Score(mean=mean, iqm=iqm, ci=ci)}


def _evaluated(summary: RunSummaryFile, evaluation: EvaluationFile) -> dict[str, Score]:
    stated = _stated(summary) | dict(evaluation.baselines)
    columns = evaluation.final.columns()
    worked_out = {policy: score_of(np.array(returns)) for policy, returns in columns.items() if policy not in stated}
    return stated | worked_out


def score_of(returns: NDArray[np.float64]) -> Score:
    """Return mean, interquartile mean and 95 % interval of the mean of `returns` [n].

    The interval is a percentile bootstrap of 10,000 resamples from a fixed seed (Efron & Tibshirani 1993, ch. 13).
    """
    num_episodes = len(returns)
    ordered = np.sort(returns)
    cut = num_episodes // 4
    rows = np.random.default_rng(0).integers(num_episodes, size=(NUM_RESAMPLES, num_episodes))
    low, high = np.quantile(returns[rows].mean(axis=1), [0.025, 0.975])
    return Score(
        mean=float(returns.mean()),
        iqm=float(ordered[cut : num_episodes - cut].mean()),
        ci=(float(low), float(high)),
    )


def differences(final: FinalScores) -> tuple[Difference, ...]:
    """Return learned minus scripted and learned minus nearest, as far as they were evaluated; else minus random."""
    columns = final.columns()
    learned = np.array(final.learned)
    paired = [other for other in (*SCRIPTS, "random") if other in columns and other in final.paired]
    scripts = [other for other in paired if other in SCRIPTS]
    return tuple(
        Difference(other=other, values=learned - np.array(columns[other]), paired=final.paired[other])
        for other in scripts or paired
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
