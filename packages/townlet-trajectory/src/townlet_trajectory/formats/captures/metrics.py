"""Figures of a recorded classic sample, and of many together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.storage.json import parse_json

CONFLICT_FEATURES = ("rivalry_max", "rivalry_avoid_count")
"""Features whose mean and maximum are given."""

_MEAN_OF_FEATURE = {"reward_feature_mean": "reward_total", "lateness_mean": "lateness_counter"}
_SUMMED = ("_sum", "_total")
_COUNT = "_count"


def sample_metrics(
    *,
    rewards: NDArray[np.float32],
    log_probs: NDArray[np.float32] | None,
    value_preds: NDArray[np.float32] | None,
    actions: NDArray[np.int64],
    action_texts: Sequence[str],
    features: NDArray[np.float32],
    feature_names: Sequence[str],
    vetoed: NDArray[np.bool_] | None = None,
) -> dict[str, float]:
    """Compute the figures of T >= 1 steps of one agent.

    Args:
        rewards: [T].
        log_probs: [T], or fewer, of the steps that have one. None: there are none.
        value_preds: [T] or [T + 1]. None: there are none.
        actions: [T]; indices into `action_texts`.
        action_texts: each action as JSON; its `kind` is counted, and whether it is `blocked`. Other texts are of kind
            `unknown`.
        features: [T, F].
        feature_names: F names.
        vetoed: [T]; the steps that a guardrail vetoed. None: those whose action's text says `blocked`.

    Returns:
        `timesteps`, `reward_sum`, `reward_mean`; `log_prob_mean` and `value_pred_last` where they are given; where the
        feature exists `NAME_mean` and `NAME_max` of `CONFLICT_FEATURES`, `reward_feature_mean` (of `reward_total`) and
        `lateness_mean` (of `lateness_counter`); `action_nonzero` (different actions used), `action_total`,
        `action_entropy` (nats), `action_KIND_count`, `action_blocked_ratio`.
    """
    num_steps = len(rewards)
    metrics = {
        "timesteps": float(num_steps),
        "reward_sum": float(rewards.sum()),
        "reward_mean": float(rewards.mean()),
    }
    if log_probs is not None and len(log_probs):
        metrics["log_prob_mean"] = float(log_probs.mean())
    if value_preds is not None:
        metrics["value_pred_last"] = float(value_preds[-1])
    column_of = {name: column for column, name in enumerate(feature_names)}
    for name in CONFLICT_FEATURES:
        if name in column_of:
            metrics[f"{name}_mean"] = float(features[:, column_of[name]].mean())
            metrics[f"{name}_max"] = float(features[:, column_of[name]].max())
    for metric, name in _MEAN_OF_FEATURE.items():
        if name in column_of:
            metrics[metric] = float(features[:, column_of[name]].mean())
    metrics |= _action_metrics(actions, action_texts)
    return metrics if vetoed is None else metrics | {"action_blocked_ratio": float(vetoed.mean())}


def aggregate_metrics(metrics: Iterable[Mapping[str, float | None]]) -> dict[str, float]:
    """Compute the figures of many samples: `sample_count`, the mean of each figure, and sums.

    A figure whose name ends in `_sum` or `_total` is summed; its mean is given as `NAME_mean`. Means are over the
    samples that have the figure (None is none); a count (`_count`) that a sample lacks is 0.
    """
    samples = [{name: value for name, value in sample.items() if value is not None} for sample in metrics]
    aggregates = {"sample_count": float(len(samples))}
    for name in sorted({name for sample in samples for name in sample}):
        values = [sample[name] for sample in samples if name in sample]
        total = math.fsum(values)
        mean = total / (len(samples) if name.endswith(_COUNT) else len(values))
        if name.endswith(_SUMMED):
            aggregates[name], aggregates[f"{name}_mean"] = total, mean
        else:
            aggregates[name] = mean
    return aggregates


def _action_metrics(actions: NDArray[np.int64], action_texts: Sequence[str]) -> dict[str, float]:
    counts = np.bincount(actions, minlength=len(action_texts))
    used = counts[counts > 0]
    shares = used / used.sum()
    kinds: Counter[str] = Counter()
    num_blocked = 0
    for action in np.flatnonzero(counts).tolist():
        kind, blocked = _kind_of(action_texts[action])
        kinds[kind] += int(counts[action])
        num_blocked += int(counts[action]) if blocked else 0
    return {
        "action_nonzero": float(len(used)),
        "action_total": float(len(actions)),
        # max() turns the -0.0 of a single action into 0.0.
        "action_entropy": max(0.0, float(-(shares * np.log(shares)).sum())),
        **{f"action_{kind}_count": float(count) for kind, count in sorted(kinds.items())},
        "action_blocked_ratio": num_blocked / len(actions),
    }


def _kind_of(text: str) -> tuple[str, bool]:
    try:
        action = parse_json(text.encode(errors="surrogatepass"), "action", finite=False)
    except ArtifactError:
        return "unknown", False
    if not isinstance(action, dict):
        return "unknown", False
    return str(action.get("kind", "unknown")), action.get("blocked") is True
