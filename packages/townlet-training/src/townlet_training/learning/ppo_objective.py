"""The loss of a PPO update on one minibatch, and how a batch is cut into minibatches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from townlet_training.learning.batch import LearnerBatch, PolicyRows
from townlet_training.learning.losses import clipped_surrogate, is_clipped, policy_divergence, squared_value_error
from townlet_training.learning.ppo_config import PPOConfig
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.distributions import entropy, log_prob_of

_ADVANTAGE_EPS = 1e-8


@dataclass(frozen=True, kw_only=True, eq=False)
class Minibatch:
    """A share of a batch: some rows for the critic, and the decisions for the policy."""

    rows: Tensor
    """[v] int64, in `LearnerBatch.inputs`."""
    policy: PolicyRows
    """[p] of them."""


class Terms(NamedTuple):
    """Scalars of one minibatch; their names are those of `PPOUpdate`."""

    policy_loss: Tensor
    value_loss: Tensor
    entropy: Tensor
    kickstart_loss: Tensor
    total_loss: Tensor
    kl: Tensor
    clip_fraction: Tensor


def minibatches(
    batch: LearnerBatch, *, num_minibatches: int, num_epochs: int, generator: torch.Generator
) -> Iterator[Minibatch]:
    """Cut `batch` into `num_minibatches` parts, in a new order in every pass.

    Rows and decisions are each cut into equal parts, because the critic and the policy share no weight; the decisions
    are in the order of the rows, so that both parts are the same rows where every row is a decision.
    """
    num_rows, num_policy = len(batch.inputs), len(batch.policy.position)
    policy_index = torch.full((num_rows,), -1)
    policy_index[batch.policy.position] = torch.arange(num_policy)
    for _ in range(num_epochs):
        order = torch.randperm(num_rows, generator=generator)
        policy_order = policy_index[order]
        policy = batch.policy.take(policy_order[policy_order >= 0])
        for part in range(num_minibatches):
            rows = slice(num_rows * part // num_minibatches, num_rows * (part + 1) // num_minibatches)
            decisions = slice(num_policy * part // num_minibatches, num_policy * (part + 1) // num_minibatches)
            yield Minibatch(rows=order[rows], policy=policy.take(decisions))


class Objective:
    """The loss of one batch, whose weights, advantages and targets stay as they are while the network learns.

        -(1/D) Σ w · min(r Â, clip(r, 1 ± ε) Â) + value_loss_coef · mean (V - v)² - entropy_coef · mean H(π)
        + κ · mean CE(a^script)

    D is the number of decisions in the batch ÷ the number of minibatches, the same for every minibatch.
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
        self._network = network
        self._batch = batch
        self._config = config
        self._kickstart_coef = kickstart_coef
        self._decisions_per_minibatch = batch.num_decisions / num_minibatches
        # Without any label the sum over them is 0, whatever it is divided by.
        self._labels_per_minibatch = max(batch.policy.labelled.sum().item(), 1.0) / num_minibatches
        advantages = batch.policy.advantages
        self._shift, self._scale = 0.0, 1.0
        if config.normalize_advantages and len(advantages):
            self._shift = advantages.mean().item()
            self._scale = 1.0 / (advantages.std(correction=0).item() + _ADVANTAGE_EPS)

    def terms(self, minibatch: Minibatch) -> Terms:
        """With gradients for policy and critic; for the critic alone where the minibatch has no decision."""
        if not len(minibatch.policy.actions):
            return self.critic_terms(minibatch)
        config, rows = self._config, minibatch.policy
        inputs = self._batch.inputs.index_select(0, minibatch.rows)
        # Where every row is a decision, both parts are the same rows: gather them once.
        shared = len(rows.position) == len(inputs) and len(self._batch.policy.position) == len(self._batch.inputs)
        policy_inputs = inputs if shared else self._batch.inputs.index_select(0, rows.position)
        log_probs = self._network.log_probs(policy_inputs, rows.action_mask)
        log_ratios = log_prob_of(log_probs, rows.actions) - rows.log_probs
        advantages = (rows.advantages - self._shift) * self._scale
        surrogate = clipped_surrogate(log_ratios, advantages, rows.weights, clip_range=config.clip_range)
        policy_loss = surrogate.sum() / self._decisions_per_minibatch
        mean_entropy = entropy(log_probs).mean()
        cross_entropy = -(log_prob_of(log_probs, rows.labels) * rows.labelled).sum() / self._labels_per_minibatch
        value_loss = self._value_loss(inputs, minibatch.rows)
        total = policy_loss + config.value_loss_coef * value_loss
        total = total - config.entropy_coef * mean_entropy + self._kickstart_coef * cross_entropy
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

    def critic_terms(self, minibatch: Minibatch) -> Terms:
        """With gradients for the critic alone: the policy is not evaluated, its entropy is that of the acting one."""
        value_loss = self._value_loss(self._batch.inputs.index_select(0, minibatch.rows), minibatch.rows)
        zero = torch.zeros(())
        return Terms(
            policy_loss=zero,
            value_loss=value_loss,
            entropy=torch.tensor(self._batch.mean_entropy),
            kickstart_loss=zero,
            total_loss=self._config.value_loss_coef * value_loss,
            kl=zero,
            clip_fraction=zero,
        )

    def _value_loss(self, inputs: Tensor, rows: Tensor) -> Tensor:
        return squared_value_error(
            self._network.scaled_values(inputs),
            self._batch.scaled_targets[rows],
            self._batch.scaled_values[rows],
            value_clip=self._config.value_clip,
        ).mean()
