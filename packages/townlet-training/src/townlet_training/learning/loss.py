"""The loss of PPO on a minibatch, the slopes of its values, and how far an update has moved the policy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from townlet_training.errors import NonFiniteError
from townlet_training.learning.fragments import features_of
from townlet_training.learning.objective import clipped_surrogate, is_clipped, policy_divergence, squared_value_error
from townlet_training.learning.rows import at_rows, params_of
from townlet_training.network.trunk import Floats

if TYPE_CHECKING:
    from townlet_training.learning.batch import LearnerBatch
    from townlet_training.learning.config import PPOConfig
    from townlet_training.learning.minibatches import Minibatch
    from townlet_training.network.actor_critic import ActorCritic

_ADVANTAGE_EPS = 1e-8

Number = TypeVar("Number", float, Tensor)


class Terms(NamedTuple, Generic[Number]):
    """Scalars of one minibatch, tensors or numbers; their names are those of `PPOUpdate`."""

    policy_loss: Number
    value_loss: Number
    entropy: Number
    kickstart_loss: Number
    total_loss: Number
    kl: Number
    clip_fraction: Number


class PolicyTerms(NamedTuple, Generic[Number]):
    """Those of the decisions alone."""

    policy_loss: Number
    entropy: Number
    kickstart_loss: Number
    kl: Number
    clip_fraction: Number


class Objective:
    """The loss of one batch, whose weights, advantages and targets stay as they are while the network learns.

        -(1/D) Σ w · min(r Â, clip(r, 1 ± ε) Â) + value_loss_coef · mean (V - v)² - entropy_coef · mean H(π)
        + κ/L · Σ CE(a^script)

    D and L are the decisions and the labels in the batch ÷ the number of minibatches, the same for every minibatch.
    Forced rows are in the mean of the value loss alone. Terms and gradient of a share of a minibatch are summands of
    those of the whole.

    Attributes:
        network: that learns.
        batch: that it learns from.
        config: of the update.
        kickstart_coef: κ.
        decisions_per_minibatch: D.
        labels_per_minibatch: L.
        has_labels: whether there is any.
    """

    def __init__(
        self,
        network: ActorCritic,
        batch: LearnerBatch,
        *,
        config: PPOConfig,
        num_minibatches: int,
        kickstart_coef: float,
    ) -> None:
        """Fix the divisors, and the shift and scale of the advantages of a batch, for all passes.

        Raises:
            NonFiniteError: if the mean of the advantages is not finite.
        """
        self.network = network
        self.batch = batch
        self.config = config
        self.kickstart_coef = kickstart_coef
        self.decisions_per_minibatch = batch.num_decisions / num_minibatches
        # Without any label the sum over them is 0, and so is its quotient.
        num_labels = batch.policy.labelled.sum().item()
        self.has_labels = num_labels > 0.0
        self.labels_per_minibatch = max(num_labels, 1.0) / num_minibatches
        self._shift, self._scale = 0.0, 1.0
        if config.normalize_advantages == "batch" and len(batch.policy.advantages):
            self._shift, self._scale = self._normalization(batch.policy.advantages)

    def _normalization(self, advantages: Tensor) -> tuple[float, float]:
        """Return shift and scale of `advantages` [N], at least one, to mean 0 and deviation 1."""
        shift = advantages.mean().item()
        if not math.isfinite(shift):
            raise NonFiniteError("advantages", f"their mean is {shift!r}; {self.batch.extremes}")
        return shift, 1.0 / (advantages.std(correction=0).item() + _ADVANTAGE_EPS)

    def normalized(self, advantages: Tensor, *, whole: Tensor | None = None) -> Tensor:
        """Â [N] as the loss has them, from those in reward units.

        Args:
            advantages: of a minibatch, or a share of one.
            whole: of all of that minibatch; None: those are all.

        Raises:
            NonFiniteError: if the mean of the whole is not finite.
        """
        shift, scale = self._shift, self._scale
        if self.config.normalize_advantages == "minibatch":
            shift, scale = self._normalization(advantages if whole is None else whole)
        return (advantages - shift) * scale

    def advantages_of_whole(self, minibatch: Minibatch) -> Tensor | None:
        """Â of the whole of a share in reward units, where its `normalized` ones depend on them."""
        if minibatch.share_of is None or self.config.normalize_advantages != "minibatch":
            return None
        return at_rows(self.batch.policy.advantages, minibatch.whole.decided)

    def features(self, minibatch: Minibatch, *, critic_only: bool) -> tuple[Tensor | None, Tensor, Tensor]:
        """What the trunks read of a minibatch.

        Returns:
            Features of the decisions [p, Fp], None where `critic_only` or without a decision; of the rows that the
            critic learns from [v, Fc]; those rows [v], in `LearnerBatch.inputs`.
        """
        batch, network = self.batch, self.network
        inputs = at_rows(batch.inputs, minibatch.rows)
        features = network.body(inputs, minibatch.fragments)
        valued, critic_features = minibatch.rows, features.critic
        if minibatch.valued is not None:
            valued, critic_features = valued[minibatch.valued], at_rows(critic_features, minibatch.valued)
        if critic_only and network.shares_body:
            # The weights that the policy has too stay as they are.
            critic_features = critic_features.detach()
        if critic_only or not len(minibatch.decided):
            return None, critic_features, valued
        if minibatch.places is not None:
            return at_rows(features.policy, minibatch.places), critic_features, valued
        if self.are_same_rows(minibatch):
            return features.policy, critic_features, valued
        decided = at_rows(batch.policy.position, minibatch.decided)
        return network.body(at_rows(batch.inputs, decided)).policy, critic_features, valued

    def are_same_rows(self, minibatch: Minibatch) -> bool:
        """Whether every row of the batch is a decision, so that those of policy and critic need to be gathered once."""
        position, inputs = self.batch.policy.position, self.batch.inputs
        return len(position) == len(inputs) and len(minibatch.decided) == len(minibatch.rows)

    def terms(self, minibatch: Minibatch, *, critic_only: bool) -> Terms[Tensor]:
        """Evaluate the loss, with gradients for policy and critic.

        Where `critic_only`, or without a decision in `minibatch`, the policy is not evaluated and has no gradient; see
        `no_decision`.
        """
        batch = self.batch
        policy_features, critic_features, valued = self.features(minibatch, critic_only=critic_only)
        errors = squared_value_error(
            self.network.scaled_values(critic_features),
            batch.scaled_targets[valued],
            batch.scaled_values[valued],
            value_clip=self.config.value_clip,
        )
        value_loss = errors.sum() / minibatch.whole.num_valued
        if policy_features is None:
            nothing = self.no_decision(minibatch, critic_only=critic_only)
            return self.joined(value_loss, PolicyTerms(*(value_loss.new_tensor(each) for each in nothing)), alone=True)
        return self.joined(value_loss, self.policy_terms(self.network.outputs(policy_features), minibatch))

    def no_decision(self, minibatch: Minibatch, *, critic_only: bool) -> PolicyTerms[float]:
        """The terms of the decisions where none is evaluated.

        The entropy is that of the policy that acted; of a share, where others of the minibatch have decisions, 0.
        """
        whole, entropy = minibatch.whole, 0.0
        if critic_only or not len(whole.decided):
            entropy = self.batch.mean_entropy * (minibatch.num_valued / whole.num_valued)
        return PolicyTerms(0.0, entropy, 0.0, 0.0, 0.0)

    def policy_terms(self, outputs: Tensor, minibatch: Minibatch) -> PolicyTerms[Tensor]:
        """Evaluate the terms of the decisions of `minibatch`, from what the policy says before any mask [p, P]."""
        distribution, config = self.network.distribution, self.config
        rows, num_rows = minibatch.policy, len(minibatch.whole.decided)
        params = distribution.params(outputs, rows.action_mask)
        log_ratios = distribution.log_prob(params, rows.actions) - rows.log_probs
        surrogate = clipped_surrogate(
            log_ratios,
            self.normalized(rows.advantages, whole=self.advantages_of_whole(minibatch)),
            rows.weights,
            clip_range=config.clip_range,
        )
        label_log_probs = distribution.log_prob(params, rows.labels) * rows.labelled
        moved = log_ratios.detach()
        return PolicyTerms(
            policy_loss=surrogate.sum() / self.decisions_per_minibatch,
            entropy=distribution.entropy(params).sum() / num_rows,
            kickstart_loss=-label_log_probs.sum() / self.labels_per_minibatch,
            kl=policy_divergence(moved, rows.weights).sum() / num_rows,
            clip_fraction=is_clipped(moved, clip_range=config.clip_range).to(moved.dtype).sum() / num_rows,
        )

    def joined(self, value_loss: Number, policy: PolicyTerms[Number], *, alone: bool = False) -> Terms[Number]:
        """Add up the terms, each with its coefficient.

        Args:
            value_loss: mean over the rows of the critic.
            policy: of the decisions.
            alone: whether the value loss is all that is learned from.

        Returns:
            All of them, and the total.
        """
        total = self.config.value_loss_coef * value_loss
        if not alone:
            total = total + self.policy_total(policy)
        return Terms(
            policy_loss=policy.policy_loss,
            value_loss=value_loss,
            entropy=policy.entropy,
            kickstart_loss=policy.kickstart_loss,
            total_loss=total,
            kl=policy.kl,
            clip_fraction=policy.clip_fraction,
        )

    def policy_total(self, policy: PolicyTerms[Number]) -> Number:
        """The loss of the decisions alone."""
        loss = policy.policy_loss - self.config.entropy_coef * policy.entropy
        return loss + self.kickstart_coef * policy.kickstart_loss


def value_slopes(
    outputs: Floats,
    targets: Floats,
    old_values: Floats,
    *,
    value_clip: float | None,
    value_loss_coef: float,
    num_rows: int | None = None,
) -> tuple[float, Floats]:
    """Mean of `squared_value_error`, and the slopes of that times a coefficient c.

        loss = Σ e² / M,   e = V_θ - v            ∂(c loss)/∂V_θ = 2 c e / M
        with a clip: 0 where |V_θ - V| > value_clip and the error of the clipped value is the greater one

    Args:
        outputs: V_θ [N, 1] of the network that learns.
        targets: v [N].
        old_values: V [N] before the first update.
        value_clip: in the unit of the values; None: the plain squared error.
        value_loss_coef: c.
        num_rows: M, that the mean is over; None: N. N may be 0 where it is given.

    Returns:
        The mean, and slopes [N, 1].
    """
    count = len(outputs) if num_rows is None else num_rows
    values = outputs[:, 0]
    errors = values - targets
    squares = errors * errors
    slopes = errors * np.float32(2.0 * value_loss_coef / count)
    if value_clip is not None:
        moved = values - old_values
        clipped = np.minimum(np.maximum(moved, np.float32(-value_clip)), np.float32(value_clip))
        clipped_squares = np.square(old_values + clipped - targets)
        slopes[(clipped != moved) & (clipped_squares > squares)] = 0.0
        np.maximum(squares, clipped_squares, out=squares)
    return float(np.add.reduce(squares)) / count, slopes[:, None]


def moved_by(network: ActorCritic, batch: LearnerBatch) -> float | None:
    """Estimate KL(π ‖ π_θ) in nats of the policy that acted and `network` as it is now, over all decisions of `batch`.

    The mean of `policy_divergence`; None without a decision.
    """
    rows = batch.policy
    if not len(rows.position):
        return None
    with torch.no_grad():
        features = features_of(network, batch.inputs, batch.fragments).policy
        params = params_of(network, at_rows(features, rows.position), rows.action_mask)
        log_ratios = network.distribution.log_prob(params, rows.actions) - rows.log_probs
        return policy_divergence(log_ratios, rows.weights).mean().item()
