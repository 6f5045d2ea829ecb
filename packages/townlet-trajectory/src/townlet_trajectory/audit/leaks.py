"""Label leaks: features that alone tell the action.

For each feature the best rule that looks at nothing else is found: bin its values, and say in each bin the action that
is the most frequent there (1R, Holte 1993). How much such a rule helps is Goodman and Kruskal's lambda (1954),

    lambda = (accuracy - baseline) / (1 - baseline),

the share of the errors of always saying the most frequent action (`baseline`) that the rule avoids: 0 useless, 1 never
wrong, whatever the frequencies. A one-hot copy of the action hides from it, because each of its elements knows only one
action. So the same figure is taken for "this action or another one", of each action. A rule is found in one half of the
rows (every other one) and judged by the other, both ways: noise has lambda 0, however many features there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.errors import ShapeError

MAX_BINS = 256
ROWS_PER_BIN = 20
"""Fewer rows make fewer bins, so that a rule cannot learn the rows by heart."""
MIN_ROWS_OF_ACTION = 20
"""Rules for one action are looked at where this many rows have it, and as many do not."""


@dataclass(frozen=True, kw_only=True)
class FeatureRule:
    """How well one feature alone tells the action."""

    feature: int
    """Column of the features."""
    action: int | None
    """The action that is told from all others, or None: every action is told."""
    accuracy: float
    """Share of the rows for which the rule is right."""
    baseline: float
    """Share of the rows for which the most frequent answer is right."""

    @property
    def skill(self) -> float:
        """Goodman and Kruskal's lambda, in [0, 1]; 0 where there is nothing to tell, or the rule only harms."""
        return 0.0 if self.baseline >= 1.0 else max(0.0, (self.accuracy - self.baseline) / (1.0 - self.baseline))


def best_rules(features: Array, actions: NDArray[np.int64]) -> list[FeatureRule]:
    """The rule of each feature that avoids the greatest share of errors.

    Args:
        features: [n, F], finite numbers or bool.
        actions: [n]; indices, at least 0.

    Returns:
        F rules, in the order of the columns. With fewer than 2 * `ROWS_PER_BIN` rows or a single action: none.

    Raises:
        ShapeError: if the shapes do not fit.
    """
    if features.ndim != 2 or actions.shape != features.shape[:1]:
        raise ShapeError(f"`features` must be [n, F] and `actions` [n], got {features.shape} and {actions.shape}")
    used, labels = np.unique(actions, return_inverse=True)
    num_bins = min(MAX_BINS, len(actions) // ROWS_PER_BIN)
    if num_bins < 2 or len(used) < 2:
        return []
    totals = np.bincount(labels)
    return [
        _best_rule(column, _counts(features[:, column], labels, num_bins, len(used)), totals, used)
        for column in range(features.shape[1])
    ]


def _counts(values: Array, labels: NDArray[np.int64], num_bins: int, num_labels: int) -> NDArray[np.int64]:
    """[2, bins, labels]; rows of each half in each bin with each label.

    Bins hold equally many *different* values, not rows: a feature that is nearly always 0 and else names the action
    would otherwise have all its names in one bin.
    """
    different, places = np.unique(values, return_inverse=True)
    bins = min(num_bins, len(different))
    halves = np.arange(len(values)) % 2
    codes = (halves * bins + places * bins // len(different)) * num_labels + labels
    return np.bincount(codes, minlength=2 * bins * num_labels).reshape(2, bins, num_labels)


def _best_rule(
    column: int, counts: NDArray[np.int64], totals: NDArray[np.int64], used: NDArray[np.int64]
) -> FeatureRule:
    num_rows = int(totals.sum())
    judges = counts[::-1]
    # Where a half has no row, or as many of two actions, the rule says what is more frequent everywhere.
    said = (counts + totals / (2.0 * num_rows)).argmax(axis=2, keepdims=True)
    every = FeatureRule(
        feature=column,
        action=None,
        accuracy=float(np.take_along_axis(judges, said, axis=2).sum() / num_rows),
        baseline=float(totals.max() / num_rows),
    )
    others = counts.sum(axis=2, keepdims=True) - counts
    one_said = counts + totals / (2.0 * num_rows) > others + (num_rows - totals) / (2.0 * num_rows)
    right = np.where(one_said, judges, others[::-1]).sum(axis=(0, 1))
    usual = np.maximum(totals, num_rows - totals)
    rare = num_rows - usual
    skills = np.where(rare >= MIN_ROWS_OF_ACTION, (right - usual) / np.maximum(rare, 1), 0.0)
    best = int(skills.argmax())
    one = FeatureRule(
        feature=column,
        action=int(used[best]),
        accuracy=float(right[best] / num_rows),
        baseline=float(usual[best] / num_rows),
    )
    return one if skills[best] > every.skill else every
