"""The loss of PPO on a minibatch, and how far an update has moved the policy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from townlet_training.errors import NonFiniteError
from townlet_training.learning.fragments import features_of
from townlet_training.learning.objective import clipped_surrogate, is_clipped, policy_divergence, squared_value_error
from townlet_training.learning.rows import params_of

if TYPE_CHECKING:
    from townlet_training.learning.batch import LearnerBatch
    from townlet_training.learning.config import PPOConfig
    from townlet_training.learning.minibatches import Minibatch
    from townlet_training.network.actor_critic import ActorCritic

_ADVANTAGE_EPS = 1e-8


class Terms(NamedTuple):
    """Scalars of one minibatch; their names are those of `PPOUpdate`."""

    policy_loss: Tensor
    value_loss: Tensor
    entropy: Tensor
    kickstart_loss: Tensor
    total_loss: Tensor
    kl: Tensor
    clip_fraction: Tensor


class Objective:
    """The loss of one batch, whose weights, advantages and targets stay as they are while the network learns.

        -(1/D) Σ w · min(r Â, clip(r, 1 ± ε) Â) + value_loss_coef · mean (V - v)² - entropy_coef · mean H(π)
        + κ/L · Σ CE(a^script)

    D and L are the decisions and the labels in the batch ÷ the number of minibatches, the same for every minibatch.
    Forced rows are in the mean of the value loss alone.
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
        self._network = network
        self._batch = batch
        self._config = config
        self._kickstart_coef = kickstart_coef
        self._decisions_per_minibatch = batch.num_decisions / num_minibatches
        # Without any label the sum over them is 0, and so is its quotient.
        self._labels_per_minibatch = max(batch.policy.labelled.sum().item(), 1.0) / num_minibatches
        self._shift, self._scale = 0.0, 1.0
        if config.normalize_advantages == "batch" and len(batch.policy.advantages):
            self._shift, self._scale = self._normalization(batch.policy.advantages)

    def _normalization(self, advantages: Tensor) -> tuple[float, float]:
        """Return shift and scale of `advantages` [N], at least one, to mean 0 and deviation 1."""
        shift = advantages.mean().item()
        if not math.isfinite(shift):
            raise NonFiniteError("advantages", f"their mean is {shift!r}; {self._batch.extremes}")
        return shift, 1.0 / (advantages.std(correction=0).item() + _ADVANTAGE_EPS)

    def terms(self, minibatch: Minibatch, *, critic_only: bool) -> Terms:
        """Evaluate the loss, with gradients for policy and critic.

        Where `critic_only`, or without a decision in `minibatch`, the policy is not evaluated and has no gradient; the
        entropy is then that of the policy that acted.
        """
        config, batch, rows = self._config, self._batch, minibatch.policy
        inputs = _at(batch.inputs, minibatch.rows)
        features = self._network.body(inputs, minibatch.fragments)
        valued, critic_features = minibatch.rows, features.critic
        if minibatch.valued is not None:
            valued, critic_features = valued[minibatch.valued], _at(critic_features, minibatch.valued)
        if critic_only and self._network.shares_body:
            # The weights that the policy has too stay as they are.
            critic_features = critic_features.detach()
        value_loss = squared_value_error(
            self._network.scaled_values(critic_features),
            batch.scaled_targets[valued],
            batch.scaled_values[valued],
            value_clip=config.value_clip,
        ).mean()
        total, zero = config.value_loss_coef * value_loss, value_loss.new_zeros(())
        if critic_only or not len(rows.actions):
            return Terms(zero, value_loss, value_loss.new_tensor(batch.mean_entropy), zero, total, zero, zero)
        if minibatch.places is not None:
            policy_features = _at(features.policy, minibatch.places)
        elif len(rows.position) == len(inputs) and len(batch.policy.position) == len(batch.inputs):
            # Where every row is a decision, both parts are the same rows: gather them once.
            policy_features = features.policy
        else:
            policy_features = self._network.body(_at(batch.inputs, rows.position)).policy
        distribution = self._network.distribution
        params = self._network.params(policy_features, rows.action_mask)
        log_ratios = distribution.log_prob(params, rows.actions) - rows.log_probs
        shift, scale = self._shift, self._scale
        if config.normalize_advantages == "minibatch":
            shift, scale = self._normalization(rows.advantages)
        advantages = (rows.advantages - shift) * scale
        surrogate = clipped_surrogate(log_ratios, advantages, rows.weights, clip_range=config.clip_range)
        policy_loss = surrogate.sum() / self._decisions_per_minibatch
        mean_entropy = distribution.entropy(params).mean()
        cross_entropy = -(distribution.log_prob(params, rows.labels) * rows.labelled).sum() / self._labels_per_minibatch
        total = policy_loss + total - config.entropy_coef * mean_entropy + self._kickstart_coef * cross_entropy
        moved = log_ratios.detach()
        return Terms(
            policy_loss=policy_loss,
            value_loss=value_loss,
            entropy=mean_entropy,
            kickstart_loss=cross_entropy,
            total_loss=total,
            kl=policy_divergence(moved, rows.weights).mean(),
            clip_fraction=is_clipped(moved, clip_range=config.clip_range).to(moved.dtype).mean(),
        )


def moved_by(network: ActorCritic, batch: LearnerBatch) -> float | None:
    """Estimate KL(π ‖ π_θ) in nats of the policy that acted and `network` as it is now, over all decisions of `batch`.

    The mean of `policy_divergence`; None without a decision.
    """
    rows = batch.policy
    if not len(rows.position):
        return None
    with torch.no_grad():
        features = features_of(network, batch.inputs, batch.fragments).policy
        params = params_of(network, _at(features, rows.position), rows.action_mask)
        log_ratios = network.distribution.log_prob(params, rows.actions) - rows.log_probs
        return policy_divergence(log_ratios, rows.weights).mean().item()


def _at(rows: Tensor, index: Tensor) -> Tensor:
    """`rows` at `index`, which is on the CPU."""
    return rows.index_select(0, index.to(rows.device))
