"""What a PPO update did, gathered over its minibatches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from townlet_training.learning.batch import LearnerBatch
from townlet_training.learning.ppo_objective import Minibatch, Terms


@dataclass(frozen=True, kw_only=True)
class PPOUpdate:
    """What one update did. Means and maxima are over the minibatches of all passes, unless said otherwise."""

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
    num_transitions: int
    """Rows that were not foreign × passes, as far as they were learned from."""
    stopped_early: bool
    """Whether `target_kl` ended the update."""


class Measures:
    """Gathers the terms of an update's minibatches as tensors, and turns them into numbers once, at the end."""

    def __init__(self) -> None:
        self._terms: list[Tensor] = []
        self._deviations: list[Tensor] = []
        self._grad_norms: list[float] = []
        self._num_transitions = 0

    def add_terms(self, terms: Terms, minibatch: Minibatch) -> None:
        """One minibatch was evaluated."""
        self._terms.append(torch.stack(terms).detach())
        if len(minibatch.policy.advantages):
            self._deviations.append(minibatch.policy.advantages.std(correction=0))

    def add_step(self, grad_norm: float, *, num_rows: int) -> None:
        """One gradient step was taken, on `num_rows` rows."""
        self._grad_norms.append(grad_norm)
        self._num_transitions += num_rows

    def result(self, batch: LearnerBatch, *, stopped_early: bool) -> PPOUpdate:
        """The record of the update of `batch`."""
        table = torch.stack(self._terms).double()
        mean = dict(zip(Terms._fields, table.mean(dim=0).tolist(), strict=True))
        highest = dict(zip(Terms._fields, table.amax(dim=0).tolist(), strict=True))
        entropies, clip_fractions = (table[:, Terms._fields.index(name)] for name in ("entropy", "clip_fraction"))
        advantages = batch.policy.advantages.double()
        deviations = torch.stack(self._deviations) if self._deviations else torch.zeros(1)
        return PPOUpdate(
            policy_loss=mean["policy_loss"],
            value_loss=mean["value_loss"],
            entropy=mean["entropy"],
            entropy_std=entropies.std(correction=0).item(),
            total_loss=mean["total_loss"],
            kl=mean["kl"],
            kl_max=highest["kl"],
            clip_fraction=mean["clip_fraction"],
            clip_fraction_max=highest["clip_fraction"],
            clip_triggered_minibatches=int((clip_fractions > 0.0).sum()),
            adv_mean=advantages.mean().item() if len(advantages) else 0.0,
            adv_std=advantages.std(correction=0).item() if len(advantages) else 0.0,
            adv_min_std=deviations.min().item(),
            adv_zero_std_batches=int((deviations == 0.0).sum()) if self._deviations else 0,
            grad_norm=sum(self._grad_norms) / len(self._grad_norms),
            grad_norm_max=max(self._grad_norms),
            kickstart_loss=mean["kickstart_loss"],
            explained_variance=batch.explained_variance,
            reward_advantage_corr=batch.reward_advantage_corr,
            num_updates=len(self._grad_norms),
            num_decisions=batch.num_decisions,
            num_transitions=self._num_transitions,
            stopped_early=stopped_early,
        )
