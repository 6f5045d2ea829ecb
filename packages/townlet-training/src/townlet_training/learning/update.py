"""What one update of PPO measured, several updates of one record as one, and what follows for the learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from townlet_training.errors import ConfigError

LOWEST_RATE = 1e-6
HIGHEST_RATE = 1e-2
_FACTOR = 1.5
_BAND = 2.0


@dataclass(frozen=True, kw_only=True)
class PPOUpdate:
    """Measures of one update. Means and maxima are over the minibatches of all passes, unless said otherwise."""

    policy_loss: float
    value_loss: float
    """In units of `value_scale` squared."""
    entropy: float
    """Nats, over the policy rows."""
    entropy_std: float
    """Over minibatches."""
    total_loss: float
    kl: float
    """Mean of w · ((r - 1) - log r) over the policy rows, nats."""
    kl_max: float
    clip_fraction: float
    """Share of policy rows whose r left the clip range."""
    clip_fraction_max: float
    clip_triggered_minibatches: int
    """Minibatches with a clipped row."""
    adv_mean: float
    """Over the policy rows of the batch, before normalization, reward units."""
    adv_std: float
    adv_min_std: float
    """Least deviation of a minibatch."""
    adv_zero_std_batches: int
    """Minibatches whose advantages are all equal."""
    grad_norm: float
    """Before clipping."""
    grad_norm_max: float
    kickstart_loss: float
    """Cross-entropy towards the script's proposals, nats; before its coefficient."""
    explained_variance: float | None
    """Of the values before the update; None where the targets do not vary."""
    reward_advantage_corr: float | None
    """None where rewards or advantages do not vary."""
    num_updates: int
    """Gradient steps."""
    num_decisions: int
    """Decisions in the batch."""
    truncated_share: float
    """Share of them whose weight π/μ was truncated to 1/β_min."""
    num_transitions: int
    """Rows used for gradient steps, counted once per pass; foreign rows are none."""
    stopped_early: bool
    """Whether `target_kl` ended the update."""
    learning_rate: float
    """Of the policy, as the schedule and the divergence have it."""


def joined(updates: Sequence[PPOUpdate]) -> PPOUpdate:
    """Sum up the updates of the parts of one record, as if they were one update of it.

        mean = Σ n_i m_i / Σ n_i,   deviation² = Σ n_i (d_i² + m_i²) / Σ n_i - mean²

    n_i are the gradient steps of an update; for the advantages, its decisions. Correlations and explained variances
    are averaged likewise over the parts that have one. The learning rate is that of the last part.

    Args:
        updates: at least one, in their order.

    Returns:
        Their measures.
    """
    if len(updates) == 1:
        return updates[0]
    steps = [max(each.num_updates, 1) for each in updates]
    decisions = [each.num_decisions for each in updates]

    def mean(name: str) -> float:
        return _mean([vars(each)[name] for each in updates], steps) or 0.0

    return PPOUpdate(
        policy_loss=mean("policy_loss"),
        value_loss=mean("value_loss"),
        entropy=mean("entropy"),
        entropy_std=_deviation([each.entropy for each in updates], [each.entropy_std for each in updates], steps),
        total_loss=mean("total_loss"),
        kl=mean("kl"),
        kl_max=max(each.kl_max for each in updates),
        clip_fraction=mean("clip_fraction"),
        clip_fraction_max=max(each.clip_fraction_max for each in updates),
        clip_triggered_minibatches=sum(each.clip_triggered_minibatches for each in updates),
        adv_mean=_mean([each.adv_mean for each in updates], decisions) or 0.0,
        adv_std=_deviation([each.adv_mean for each in updates], [each.adv_std for each in updates], decisions),
        adv_min_std=min(each.adv_min_std for each in updates),
        adv_zero_std_batches=sum(each.adv_zero_std_batches for each in updates),
        grad_norm=mean("grad_norm"),
        grad_norm_max=max(each.grad_norm_max for each in updates),
        kickstart_loss=mean("kickstart_loss"),
        explained_variance=_mean([each.explained_variance for each in updates], steps),
        reward_advantage_corr=_mean([each.reward_advantage_corr for each in updates], steps),
        num_updates=sum(each.num_updates for each in updates),
        num_decisions=sum(decisions),
        truncated_share=_mean([each.truncated_share for each in updates], decisions) or 0.0,
        num_transitions=sum(each.num_transitions for each in updates),
        stopped_early=any(each.stopped_early for each in updates),
        learning_rate=updates[-1].learning_rate,
    )


def _mean(values: Sequence[float | None], weights: Sequence[int]) -> float | None:
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None


def _deviation(means: Sequence[float], deviations: Sequence[float], weights: Sequence[int]) -> float:
    squares = [value**2 + deviation**2 for value, deviation in zip(means, deviations, strict=True)]
    return math.sqrt(max((_mean(squares, weights) or 0.0) - (_mean(means, weights) or 0.0) ** 2, 0.0))


def kl_adapted(learning_rate: float, kl: float, *, target: float) -> float:
    """Adapt a learning rate to the divergence of an update.

    That of RSL-RL, the learner of Isaac Gym and Isaac Lab (`PPO.update`, schedule `adaptive`; Rudin et al. 2022,
    arXiv:2109.11978). Schulman et al. 2017, arXiv:1707.06347, section 4, adapt the coefficient of a penalty so.

        η' = min(1e-2, 1.5 η)   where KL < target / 2
        η' = max(1e-6, η / 1.5)   where KL > 2 target
        η' = η                   in between

    Args:
        learning_rate: η of the update, in [1e-6, 1e-2].
        kl: KL(π ‖ π_θ) of the policies before and after it, in nats, at least 0.
        target: of the divergence, above 0.

    Returns:
        η' of the next update, in [1e-6, 1e-2].

    Raises:
        ConfigError: if the rate is out of range, or the divergence is no number.
    """
    if not LOWEST_RATE <= learning_rate <= HIGHEST_RATE:
        raise ConfigError(f"`learning_rate` must be in [{LOWEST_RATE:g}, {HIGHEST_RATE:g}], got {learning_rate!r}")
    if math.isnan(kl) or not 0.0 < target < math.inf:
        raise ConfigError(f"`kl` must be a number and `target` finite and above 0, got {kl!r} and {target!r}")
    if kl < target / _BAND:
        return min(HIGHEST_RATE, learning_rate * _FACTOR)
    if kl > target * _BAND:
        return max(LOWEST_RATE, learning_rate / _FACTOR)
    return learning_rate
