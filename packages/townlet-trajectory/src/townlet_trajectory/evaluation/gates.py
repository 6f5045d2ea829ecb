"""Judgments that can stop a run. A gate fails only where the whole interval lies on the bad side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.comparisons import mean_upper_bound, paired_differences, vector
from townlet_trajectory.evaluation.interfaces import EpisodeScores

RARE = 0.05
"""Share of the episodes that a rare good one may be of: `floor_gate` holds its level for rarer ones no longer."""

_ROUNDING = 1e-12
"""Share of the returns below which their difference is rounding."""


class Verdict(StrEnum):
    """What a gate found."""

    PASSED = "passed"
    """Not shown to be below the limit."""
    FAILED = "failed"
    """Below the limit, at the level of the gate."""
    NOT_ENOUGH_EVIDENCE = "not enough evidence"
    """There are too few episodes for the gate to fail anything at its level."""


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """Verdict of one gate. Only a failed one stops a run or excludes a candidate."""

    name: str
    verdict: Verdict
    detail: str
    """The numbers it judged, in words."""

    @property
    def failed(self) -> bool:
        """Whether the verdict is `failed`."""
        return self.verdict is Verdict.FAILED


def gate_level(num_gates: int, *, level: float = 0.05) -> float:
    """The level of each of `num_gates` gates of a run: all of them together fail a sound policy at most at `level`."""
    if num_gates < 1:
        raise EvaluationError(f"`num_gates` must be at least 1, got {num_gates!r}")
    return level / num_gates


def excess_gain(
    candidate: EpisodeScores, reference: EpisodeScores, zero: EpisodeScores, *, fraction: float
) -> NDArray[np.float64]:
    """Compute the gain that `candidate` keeps beyond `fraction` of the gain of `reference`, per episode.

        d_i = (candidate_i - zero_i) - fraction (reference_i - zero_i)

    Its mean is negative exactly when the candidate's normalized score is below `fraction` times the reference's.

    Args:
        candidate: scores of the policy that is judged.
        reference: scores of its clone, on the same seeds.
        zero: scores of the behavior that earns nothing, on the same seeds.
        fraction: of the gain of `reference`, in [0, 1].

    Returns:
        [n]; rounding is set to 0, so that a policy exactly at the limit is not below it.

    Raises:
        EvaluationError: if the seeds differ.
    """
    gain = paired_differences(candidate, zero) - fraction * paired_differences(reference, zero)
    magnitude = np.abs([candidate.returns, reference.returns, zero.returns]).max(axis=0)
    return np.where(np.abs(gain) <= _ROUNDING * magnitude, 0.0, gain)


def every_group(gates: Mapping[str, GateResult]) -> GateResult:
    """Combine the gates of all agent groups: failed where one failed, passed where all passed."""
    first, *others = gates.values()
    if not others:
        return first
    verdicts = {gate.verdict for gate in gates.values()}
    order = (Verdict.FAILED, Verdict.NOT_ENOUGH_EVIDENCE, Verdict.PASSED)
    return GateResult(
        name=first.name,
        verdict=next(verdict for verdict in order if verdict in verdicts),
        detail="; ".join(f"{group}: {gate.detail}" for group, gate in gates.items()),
    )


def episodes_to_fail(level: float) -> int:
    """Compute the least number of episodes at which `floor_gate` can hold `level`.

    No test of a mean holds a level for every distribution (Bahadur & Savage 1956): a policy that earns its whole return
    in one episode of twenty looks bad wherever none of the n is such a one, with probability (1 - `RARE`)^n. So n must
    make this at most half the level; the other half is the bound's.
    """
    return math.ceil(math.log(level / 2) / math.log(1.0 - RARE))


def floor_gate(name: str, differences: NDArray[np.float64], *, level: float, seed: int) -> GateResult:
    """Judge whether the mean of `differences` is below 0.

    The upper bound of the mean (`mean_upper_bound`, at half the level) takes values for possible that are twice as far
    above the median as the greatest one seen. With fewer than `episodes_to_fail` episodes nothing fails.

    Args:
        name: of the gate.
        differences: [n], one for each episode, such as those of `excess_gain`.
        level: chance in (0, 1) that a policy fails whose differences have the mean 0.
        seed: of the bound.

    Returns:
        Failed where the bound is below 0, but `not enough evidence` where that is so with too few episodes.

    Raises:
        EvaluationError: if there is no difference, or one is not finite.
    """
    array = vector(differences)
    greatest = float(array.max())
    largest = greatest + (greatest - float(np.median(array)))
    bound = mean_upper_bound(array, largest=largest, level=level / 2, seed=seed)
    needed = episodes_to_fail(level)
    found = f"mean {float(array.mean()):.6g} over {len(array)} episodes, at most {bound:.6g}, against 0"
    if bound >= 0.0:
        return GateResult(name=name, verdict=Verdict.PASSED, detail=found)
    if len(array) < needed:
        detail = f"{found}; {needed} episodes are needed to fail at level {level:.6g}"
        return GateResult(name=name, verdict=Verdict.NOT_ENOUGH_EVIDENCE, detail=detail)
    return GateResult(name=name, verdict=Verdict.FAILED, detail=f"{found} at level {level:.6g}")


def accuracy_gate(
    name: str, accuracies: NDArray[np.float64], *, threshold: float, level: float, seed: int
) -> GateResult:
    """Judge whether the mean accuracy of episodes is below `threshold`.

    The unit is the episode: labels of one episode resemble each other. Shares are at most 1, so the bound
    (`mean_upper_bound`) holds its level for any number of episodes.

    Args:
        name: of the gate.
        accuracies: [n], share of right labels in each held-out episode that chose nothing.
        threshold: in [0, 1].
        level: chance in (0, 1) that an accuracy of exactly `threshold` fails.
        seed: of the bound.

    Returns:
        Failed where the bound is below `threshold`, `not enough evidence` where so few episodes could not fail even
        with every label wrong.

    Raises:
        EvaluationError: if there is no episode, or an accuracy is not in [0, 1].
    """
    array = vector(accuracies)
    if array.min() < 0.0 or array.max() > 1.0:
        raise EvaluationError(f"gate `{name}` needs accuracies in [0, 1], got {array.min():.6g} to {array.max():.6g}")
    mean, bound = float(array.mean()), mean_upper_bound(array, largest=1.0, level=level, seed=seed)
    found = f"accuracy {mean:.6g} in {len(array)} episodes, at most {bound:.6g}, against {threshold:.6g}"
    if mean < threshold and 1.0 - level ** (1.0 / len(array)) >= threshold:
        return GateResult(name=name, verdict=Verdict.NOT_ENOUGH_EVIDENCE, detail=found)
    verdict = Verdict.PASSED if bound >= threshold else Verdict.FAILED
    return GateResult(name=name, verdict=verdict, detail=found)
