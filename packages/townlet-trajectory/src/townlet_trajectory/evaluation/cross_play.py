"""Cross-play: every policy in the role of one agent group, against every policy in the roles of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.comparisons import mean_interval


@dataclass(frozen=True, kw_only=True)
class MeanReturn:
    """A mean over episodes of a trained policy, and the interval that it lies in by 95 %."""

    mean: float
    ci: tuple[float, float]
    """Over the episodes that were played, not over training runs."""


@dataclass(frozen=True, kw_only=True)
class CrossPlay:
    """Mean returns of one agent group, by who plays it and who plays against it; None where a policy does not fit."""

    group: str
    policies: tuple[str, ...]
    returns: tuple[tuple[MeanReturn | None, ...], ...]
    """[P][P]; of the row's policy in the group, with the column's policy in all other groups."""
    standings: tuple[MeanReturn | None, ...]
    """[P]; of the row's policy, averaged over all other policies as opponents."""


def cross_play(
    group: str,
    policies: Sequence[str],
    returns: Mapping[tuple[int, int], Sequence[float]],
    *,
    seed: int,
    num_resamples: int,
) -> CrossPlay:
    """Sum up the returns of one agent group in a round robin.

    With r_ij(e) the group's return in episode e, where policy i plays the group and j all others, and J_i the policies
    j != i that i has met,

        R_ij = mean_e r_ij(e),   S_i = mean_e mean_{j in J_i} r_ij(e)

    Every pair plays the episodes of the same seeds, so the interval of S_i is one over episodes, each of which holds
    the game against every opponent (the empirical payoff matrix of Lanctot et al. 2017, arXiv:1711.00832).

    Args:
        group: that is judged.
        policies: names of the P policies.
        returns: each [n], n at least 2, by (row, column); pairs that were not played are left out.
        seed: of the resamples.
        num_resamples: of each interval.

    Returns:
        Means and intervals.

    Raises:
        EvaluationError: if the pairs are not of the same number of episodes, or of policies that are not there.
    """
    lengths = {len(values) for values in returns.values()}
    if len(lengths) > 1:
        raise EvaluationError(f"every pair must play as many episodes, got {sorted(lengths)}")
    size = range(len(policies))
    if unknown := [pair for pair in returns if not set(pair) <= set(size)]:
        raise EvaluationError(f"`returns` must be of pairs of the {len(policies)} policies, got {unknown[0]}")

    def summed(rows: Sequence[Sequence[float]]) -> MeanReturn | None:
        if not rows:
            return None
        values = np.mean(np.array(rows, np.float64), axis=0)
        ci = mean_interval(values, level=0.05, seed=seed, num_resamples=num_resamples)
        return MeanReturn(mean=float(values.mean()), ci=ci)

    return CrossPlay(
        group=group,
        policies=tuple(policies),
        returns=tuple(tuple(summed([returns[i, j]] if (i, j) in returns else []) for j in size) for i in size),
        standings=tuple(summed([returns[i, j] for j in size if j != i and (i, j) in returns]) for i in size),
    )
