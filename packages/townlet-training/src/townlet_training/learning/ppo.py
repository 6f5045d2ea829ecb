"""Proximal policy optimization from a blend of script and policy, in the order of an update.

`PPOLearner` evaluates a batch (`batch.prepare`), cuts it into minibatches, takes a gradient step on the `Objective` of
each, and sums up in a `PPOUpdate`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from townlet_training.errors import ConfigError, NonFiniteError, ShapeError
from townlet_training.learning.batch import LearnerBatch, PolicyRows, prepare
from townlet_training.learning.config import PPOConfig
from townlet_training.learning.objective import clipped_surrogate, is_clipped, policy_divergence, squared_value_error
from townlet_training.learning.optimizer import Optimizer
from townlet_training.learning.record import as_decided_by
from townlet_training.learning.update import PPOUpdate
from townlet_training.network.actor_critic import ActorCritic
from townlet_trajectory import TrajectoryBatch

# As in Stable-Baselines3 (`PPO.train`) and Spinning Up (`ppo`): single estimates scatter around the mean.
_KL_SLACK = 1.5
# Of PPO since OpenAI baselines (Huang et al. 2022, "The 37 implementation details of PPO", detail 3).
_ADAM_EPS = 1e-5
_ADVANTAGE_EPS = 1e-8
_OPTIMIZER = "optimizer."


class PPOLearner:
    """Improves a network on batches that it collected itself, blended with a script or not, and on records.

    It reads and writes no files, and draws only from its generator. The same network, batch, generator state and number
    of torch threads give the same weights, bit for bit.

    Examples:
        >>> import numpy as np, torch
        >>> from townlet_training import ActorCritic, NetworkConfig, PPOConfig, PPOLearner
        >>> from townlet_trajectory import (
        ...     ArraySpec, Trajectory, TrajectoryBatch, TrajectorySchema, default_decision_columns
        ... )
        >>> generator = torch.Generator().manual_seed(0)
        >>> network = ActorCritic({"cell": (2,)}, 2, NetworkConfig(hidden_sizes=(8,)), generator=generator)
        >>> learner = PPOLearner(network, config=PPOConfig(num_minibatches=1), generator=generator)

        Two steps of one agent, which sampled action 0 and then action 1 from this network:

        >>> cells, actions = np.eye(2, dtype=np.float32)[[0, 1, 0]], np.array([0, 1])
        >>> chosen = network.act({"cell": cells[:2]}, None)[0][[0, 1], actions]
        >>> specs = default_decision_columns()
        >>> columns = {name: np.zeros(2, spec.numpy_dtype) for name, spec in specs.items()}
        >>> columns |= {"chosen_action": actions, "policy_log_prob": chosen, "behavior_log_prob": chosen}
        >>> cell = {"cell": ArraySpec("float32", (2,))}
        >>> walk = Trajectory(
        ...     schema=TrajectorySchema(observations=cell, decisions=specs, vocabulary=("left", "right")),
        ...     observations={"cell": cells}, columns=columns, rewards=np.array([0, 1], np.float32),
        ...     ticks=np.arange(2), terminated=True, truncated=False, agent_id="anna", world=0, episode=0,
        ... )
        >>> update = learner.update(TrajectoryBatch.from_trajectories([walk]))
        >>> update.num_updates, update.num_decisions
        (4, 2)
    """

    def __init__(self, network: ActorCritic, *, config: PPOConfig, generator: torch.Generator) -> None:
        self._network = network
        self._config = config
        self._generator = generator
        self._optimizer = Optimizer(
            dict(network.named_parameters()),
            learning_rate=config.learning_rate,
            max_grad_norm=config.max_grad_norm,
            eps=_ADAM_EPS,
        )

    def update(
        self,
        batch: TrajectoryBatch,
        *,
        kickstart_coef: float = 0.0,
        learning_rate: float | None = None,
        clip_range: float | None = None,
    ) -> PPOUpdate:
        """Learn from `batch` for `num_epochs` passes.

        Args:
            batch: collected by this network as it is now, its actions sampled.
            kickstart_coef: κ of the cross-entropy towards the script (Schmitt et al. 2018, arXiv:1803.03835, eq. 3),
                at least 0.
            learning_rate: instead of the config's, for this update.
            clip_range: instead of the config's, for this update.

        Returns:
            Losses, divergence and counts of this update.

        Raises:
            StaleBatchError: if another network collected the batch.
            EmptyBatchError: if every row is foreign.
            ActionMaskError: if a decision has no legal action.
            ShapeError: if the batch is of another vocabulary or other observations, or lacks a column.
            NonFiniteError: if a number is not finite; the weights are those before the step that met it.
            ConfigError: if a coefficient or rate is out of range.
        """
        if not 0.0 <= kickstart_coef < math.inf:
            raise ConfigError(f"`kickstart_coef` must be at least 0 and finite, got {kickstart_coef!r}")
        config = self._config if clip_range is None else replace(self._config, clip_range=clip_range)
        return self._learn(batch, config, learning_rate, kickstart_coef=kickstart_coef, critic_only=False)

    def replay(
        self,
        batch: TrajectoryBatch,
        *,
        kickstart_coef: float = 0.0,
        learning_rate: float | None = None,
        clip_range: float | None = None,
    ) -> PPOUpdate:
        """Learn from a record of any policies, off policy, for `num_epochs` passes; see `record.as_decided_by`.

        On a batch that this network collected itself, as it is now, it does what `update` does.

        Args:
            batch: of blends, of scripts, or a classic capture. Its decisions are learned from by the policy; the rows
                that were forced by the critic alone, foreign rows by neither.
            kickstart_coef: as of `update`; a classic capture has no labels.
            learning_rate: instead of the config's, for this update.
            clip_range: instead of the config's, for this update.

        Returns:
            Losses, divergence and counts of this update; the divergence is from the network as it was before.

        Raises:
            EmptyBatchError: if every row is foreign.
            ActionMaskError: if a decision has no legal action.
            ShapeError: if the batch is of another vocabulary or other observations, or does not say how likely its
                actions were.
            NonFiniteError: if a number is not finite; the weights are those before the step that met it.
            ConfigError: if a coefficient or rate is out of range.
        """
        return self.update(
            as_decided_by(self._network, batch),
            kickstart_coef=kickstart_coef,
            learning_rate=learning_rate,
            clip_range=clip_range,
        )

    def warm_up(self, batch: TrajectoryBatch, *, learning_rate: float | None = None) -> PPOUpdate:
        """Let the critic alone learn from `batch`: no weight of the policy changes by a bit.

        `batch`, `learning_rate` and errors are those of `update`. Policy and kickstart loss, KL and clip fraction of
        the result are 0, its entropy is that of the policy that acted.
        """
        return self._learn(batch, self._config, learning_rate, kickstart_coef=0.0, critic_only=True)

    def state_dict(self) -> dict[str, Tensor]:
        """Copy all state that outlives an update, except the network's weights: `optimizer.*` and `generator`."""
        optimizer = {f"{_OPTIMIZER}{name}": tensor for name, tensor in self._optimizer.state_dict().items()}
        return optimizer | {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue as the learner whose `state_dict` this is.

        Raises:
            ShapeError: if `state` is not of a learner of the same network.
        """
        if "generator" not in state:
            raise ShapeError(f"the state of a learner must have `generator`, got {sorted(state)}")
        named = {name: tensor for name, tensor in state.items() if name != "generator"}
        self._optimizer.load_state_dict({name.removeprefix(_OPTIMIZER): tensor for name, tensor in named.items()})
        self._generator.set_state(state["generator"])

    def _learn(
        self,
        batch: TrajectoryBatch,
        config: PPOConfig,
        learning_rate: float | None,
        *,
        kickstart_coef: float,
        critic_only: bool,
    ) -> PPOUpdate:
        self._optimizer.set_learning_rate(config.learning_rate if learning_rate is None else learning_rate)
        learnable = prepare(
            self._network, batch, discount=config.discount, gae_lambda=config.gae_lambda, min_ratio=config.min_ratio
        )
        num_minibatches = config.minibatches_of(len(learnable.inputs))
        objective = Objective(
            self._network, learnable, config=config, num_minibatches=num_minibatches, kickstart_coef=kickstart_coef
        )
        evaluated, grad_norms, stopped_early = list[tuple[Minibatch, Tensor]](), list[float](), False
        for minibatch in minibatches(
            learnable, num_minibatches=num_minibatches, num_epochs=config.num_epochs, generator=self._generator
        ):
            terms = objective.terms(minibatch, critic_only=critic_only)
            evaluated.append((minibatch, torch.stack(terms).detach()))
            stopped_early = config.target_kl is not None and terms.kl.item() > _KL_SLACK * config.target_kl
            if stopped_early:
                break
            grad_norms.append(self._optimizer.step(terms.total_loss, learnable.extremes))
        return _summary(learnable, evaluated, grad_norms, stopped_early=stopped_early)


class Minibatch(NamedTuple):
    """A share of a batch: some rows for the critic, and the decisions for the policy."""

    rows: Tensor
    """[v] int64, in `LearnerBatch.inputs`."""
    policy: PolicyRows
    """[p] of them."""


def minibatches(
    batch: LearnerBatch, *, num_minibatches: int, num_epochs: int, generator: torch.Generator
) -> Iterator[Minibatch]:
    """Cut `batch` into `num_minibatches` parts, in a new order in every pass.

    Rows and decisions are each cut into equal parts, because the critic and the policy share no weight; the decisions
    are in the order of the rows, so that both parts are the same rows where every row is a decision.

    Args:
        batch: of V rows and P decisions.
        num_minibatches: at most V.
        num_epochs: passes.
        generator: of the orders.
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
        """Fix the divisors, and the shift and scale of the advantages, for all passes.

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
        advantages = batch.policy.advantages
        self._shift, self._scale = 0.0, 1.0
        if config.normalize_advantages == "batch" and len(advantages):
            self._shift = advantages.mean().item()
            self._scale = 1.0 / (advantages.std(correction=0).item() + _ADVANTAGE_EPS)
            if not math.isfinite(self._shift):
                raise NonFiniteError("advantages", f"their mean is {self._shift!r}; {batch.extremes}")

    def terms(self, minibatch: Minibatch, *, critic_only: bool) -> Terms:
        """Evaluate the loss, with gradients for policy and critic.

        Where `critic_only`, or without a decision in `minibatch`, the policy is not evaluated and has no gradient; the
        entropy is then that of the policy that acted.
        """
        config, batch, rows = self._config, self._batch, minibatch.policy
        inputs = batch.inputs.index_select(0, minibatch.rows)
        value_loss = squared_value_error(
            self._network.scaled_values(self._network.body(inputs).critic),
            batch.scaled_targets[minibatch.rows],
            batch.scaled_values[minibatch.rows],
            value_clip=config.value_clip,
        ).mean()
        total, zero = config.value_loss_coef * value_loss, torch.zeros(())
        if critic_only or not len(rows.actions):
            return Terms(zero, value_loss, torch.tensor(batch.mean_entropy), zero, total, zero, zero)
        # Where every row is a decision, both parts are the same rows: gather them once.
        shared = len(rows.position) == len(inputs) and len(batch.policy.position) == len(batch.inputs)
        policy_inputs = inputs if shared else batch.inputs.index_select(0, rows.position)
        distribution = self._network.distribution
        params = self._network.params(self._network.body(policy_inputs).policy, rows.action_mask)
        log_ratios = distribution.log_prob(params, rows.actions) - rows.log_probs
        advantages = (rows.advantages - self._shift) * self._scale
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


def _summary(
    batch: LearnerBatch,
    evaluated: Sequence[tuple[Minibatch, Tensor]],
    grad_norms: Sequence[float],
    *,
    stopped_early: bool,
) -> PPOUpdate:
    """Sum up the minibatches that were evaluated, each with its `Terms` [7], and the steps that were taken."""
    table = torch.stack([terms for _, terms in evaluated]).double()
    mean = dict(zip(Terms._fields, table.mean(dim=0).tolist(), strict=True))
    highest = dict(zip(Terms._fields, table.amax(dim=0).tolist(), strict=True))
    entropies, clip_fractions = (table[:, Terms._fields.index(name)] for name in ("entropy", "clip_fraction"))
    advantages = batch.policy.advantages.double()
    shares = [minibatch.policy.advantages for minibatch, _ in evaluated if len(minibatch.policy.advantages)]
    deviations = [share.std(correction=0).item() for share in shares]
    return PPOUpdate(
        **mean,
        entropy_std=entropies.std(correction=0).item(),
        kl_max=highest["kl"],
        clip_fraction_max=highest["clip_fraction"],
        clip_triggered_minibatches=int((clip_fractions > 0.0).sum()),
        adv_mean=advantages.mean().item() if len(advantages) else 0.0,
        adv_std=advantages.std(correction=0).item() if len(advantages) else 0.0,
        adv_min_std=min(deviations, default=0.0),
        adv_zero_std_batches=deviations.count(0.0),
        grad_norm=sum(grad_norms) / max(len(grad_norms), 1),
        grad_norm_max=max(grad_norms, default=0.0),
        explained_variance=batch.explained_variance,
        reward_advantage_corr=batch.reward_advantage_corr,
        num_updates=len(grad_norms),
        num_decisions=batch.num_decisions,
        truncated_share=batch.truncated_share,
        num_transitions=sum(len(minibatch.rows) for minibatch, _ in evaluated[: len(grad_norms)]),
        stopped_early=stopped_early,
    )
