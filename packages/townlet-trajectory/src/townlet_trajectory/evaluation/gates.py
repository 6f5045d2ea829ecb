"""Judgments that can stop a run. A gate fails only when the whole interval lies on the bad side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.comparisons import paired_differences
from townlet_trajectory.evaluation.intervals import mean_interval
from townlet_trajectory.evaluation.scores import EpisodeScores
from townlet_trajectory.storage.extras import require


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """What one gate said."""

    name: str
    passed: bool
    detail: str
    """The numbers it judged, in words."""


def gate_level(num_gates: int, *, level: float = 0.05) -> float:
    """The level of each of `num_gates` gates of a run: all of them together fail a sound policy at most at `level`."""
    if num_gates < 1:
        raise EvaluationError(f"`num_gates` must be at least 1, got {num_gates!r}")
    return level / num_gates


def excess_gain(
    candidate: EpisodeScores, reference: EpisodeScores, zero: EpisodeScores, *, fraction: float
) -> NDArray[np.float64]:
    """What `candidate` keeps beyond `fraction` of the gain that `reference` has over `zero` (idling), per episode [n].

        d_i = (candidate_i - zero_i) - fraction (reference_i - zero_i)

    Its mean is negative exactly when the candidate's normalized score is below `fraction` times the reference's.
    """
    return paired_differences(candidate, zero) - fraction * paired_differences(reference, zero)


def every_group(gates: Mapping[str, GateResult]) -> GateResult:
    """One gate that passes where the gates of all groups do; of one group, that gate itself."""
    first, *others = gates.values()
    if not others:
        return first
    return GateResult(
        name=first.name,
        passed=all(gate.passed for gate in gates.values()),
        detail="; ".join(f"{group}: {gate.detail}" for group, gate in gates.items()),
    )


def floor_gate(
    name: str, differences: NDArray[np.float64], *, level: float, seed: int, num_resamples: int
) -> GateResult:
    """Fails when the bootstrap interval (at `level`) of the mean of `differences` [n] lies below zero entirely."""
    low, high = mean_interval(differences, level=level, seed=seed, num_resamples=num_resamples)
    return GateResult(
        name=name,
        passed=high >= 0.0,
        detail=(
            f"mean {float(differences.mean()):.6g} over {len(differences)} episodes, "
            f"{100 * (1 - level):.6g} % interval [{low:.6g}, {high:.6g}] against 0"
        ),
    )


def accuracy_gate(name: str, *, accuracy: float, num_labels: int, threshold: float, level: float) -> GateResult:
    """Fails when the Wilson interval (at `level`) of a held-out accuracy lies below `threshold` entirely."""
    if num_labels < 1:
        raise EvaluationError(f"gate `{name}` needs at least one held-out label, got {num_labels!r}")
    if not 0.0 <= accuracy <= 1.0:
        raise EvaluationError(f"gate `{name}` needs an accuracy in [0, 1], got {accuracy!r}")
    interval = (
        require("scipy.stats", "statistics")
        .binomtest(round(accuracy * num_labels), num_labels)
        .proportion_ci(confidence_level=1.0 - level, method="wilson")
    )
    return GateResult(
        name=name,
        passed=bool(interval.high >= threshold),
        detail=(
            f"accuracy {accuracy:.6g} on {num_labels} labels, {100 * (1 - level):.6g} % interval "
            f"[{interval.low:.6g}, {interval.high:.6g}] against {threshold:.6g}"
        ),
    )
