"""What `townlet evaluate` found, as a record and as lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.cli.console import Json, table
from townlet_trajectory.evaluation.comparisons import PairedComparison, ScoreSummary, compare, normalized, summarize
from townlet_trajectory.evaluation.scores import EpisodeScores

NUM_RESAMPLES = 10_000
LEARNED, SCRIPTED = "learned", "scripted"
_RESAMPLING_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the episodes said."""

    against: str
    """What the policy was compared with: one of the names of `summaries`."""
    summaries: Mapping[str, ScoreSummary]
    """By name: the policy, what it was compared with, and the ends of the normalized scale."""
    normalized: Mapping[str, float | None]
    """Means on the scale where `zero` is 0 and the script is 1, by the same names; None where there is no scale."""
    zero: str
    """What the normalized scale calls 0: one of the names of `summaries`."""
    difference: PairedComparison
    difference_normalized: float | None
    episodes: int
    first_seed: int


def comparison_of(scores: Mapping[str, EpisodeScores], *, against: str, zero: str) -> Comparison:
    """Compare the policy with `against`.

    Args:
        scores: the same episodes, by behavior; `learned`, `against` and `zero` are among them, and `scripted` where the
            world has a script.
        zero: what the normalized scale calls 0.

    Raises:
        EvaluationError: if the episodes cannot be compared.
    """
    bottom = scores[zero].mean
    top = scores[SCRIPTED].mean if SCRIPTED in scores else None
    difference = compare(scores[LEARNED], scores[against], seed=_RESAMPLING_SEED, num_resamples=NUM_RESAMPLES)
    seeds = scores[LEARNED].seeds
    return Comparison(
        against=against,
        summaries={
            name: summarize(each, seed=_RESAMPLING_SEED, num_resamples=NUM_RESAMPLES) for name, each in scores.items()
        },
        normalized={name: _normalized(each.mean, bottom, top) for name, each in scores.items()},
        zero=zero,
        difference=difference,
        difference_normalized=_normalized(bottom + difference.mean, bottom, top),
        episodes=len(seeds),
        first_seed=seeds[0],
    )


def _normalized(score: float, bottom: float, top: float | None) -> float | None:
    return None if top is None else normalized(score, bottom, top)


def comparison_record(found: Comparison, *, run_dir: Path, against: str, acting: str) -> dict[str, Json]:
    """Return what `--json` prints.

    Args:
        against: the value of the option.
        acting: how the policy acted: `greedy` or `sampled`.
    """
    difference = found.difference
    return {
        "run_dir": str(run_dir),
        "against": against,
        "episodes": found.episodes,
        "first_seed": found.first_seed,
        "acting": acting,
        "scores": {
            name: {"mean": each.mean, "iqm": each.iqm, "ci": list(each.ci), "normalized": found.normalized[name]}
            for name, each in found.summaries.items()
        },
        "difference": {
            "mean": difference.mean,
            "iqm": difference.iqm,
            "ci": list(difference.ci),
            "normalized": found.difference_normalized,
        },
    }


def comparison_lines(found: Comparison, *, against: str, acting: str) -> list[str]:
    """Return what people are told; arguments as in `comparison_record`."""
    rows = [
        (name, f"{each.mean:.3f}", f"{each.iqm:.3f}", _interval(each.ci, ""), _share(found.normalized[name], ""))
        for name, each in found.summaries.items()
    ]
    difference = found.difference
    name = f"{LEARNED} - {found.against}"
    share = _share(found.difference_normalized, "+")
    rows.append((name, f"{difference.mean:+.3f}", f"{difference.iqm:+.3f}", _interval(difference.ci, "+"), share))
    lines = [
        *table(("return", "mean", "IQM", "95 % interval", "normalized"), rows),
        f"{found.episodes} episodes, seeds from {found.first_seed}; {acting} actions"
        + (f"; normalized: {found.zero} 0, script 1" if SCRIPTED in found.summaries else ""),
    ]
    return lines if found.against == against else [*lines, f"{found.against}: {against}"]


def _interval(interval: tuple[float, float], sign: str) -> str:
    low, high = interval
    return f"{low:{sign}.3f} to {high:{sign}.3f}"


def _share(value: float | None, sign: str) -> str:
    return "-" if value is None else f"{value:{sign}.3f}"
