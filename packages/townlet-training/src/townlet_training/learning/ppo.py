"""Proximal policy optimization from a blend of script and policy, in the order of an update.

`PPOLearner` evaluates a batch (`batch.prepare`), cuts it into minibatches, takes a gradient step on the `Objective` of
each, and sums up in a `PPOUpdate`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from townlet_training.errors import ConfigError, ShapeError
from townlet_training.learning.batch import LearnerBatch, prepare
from townlet_training.learning.config import Device, PPOConfig
from townlet_training.learning.descent import Descent, descent_of
from townlet_training.learning.device import Placement, device_named
from townlet_training.learning.loss import Objective, Terms, moved_by
from townlet_training.learning.minibatches import Minibatch, minibatches
from townlet_training.learning.optimizer import Optimizer
from townlet_training.learning.record import as_decided_by
from townlet_training.learning.update import HIGHEST_RATE, LOWEST_RATE, PPOUpdate, kl_adapted
from townlet_trajectory import TrajectoryBatch

if TYPE_CHECKING:
    from townlet_training.learning.ranks.processes import Ranks
    from townlet_training.network.actor_critic import ActorCritic

# As in Stable-Baselines3 (`PPO.train`) and Spinning Up (`ppo`): single estimates scatter around the mean.
_KL_SLACK = 1.5
_OPTIMIZER = "optimizer."
_GENERATOR = "generator"
_KL_FACTOR = "kl_factor"


@dataclass(frozen=True, kw_only=True)
class UpdatePlan:
    """How the gradient steps of one update are taken."""

    config: PPOConfig
    num_minibatches: int
    """At most the rows, or with a memory the fragments."""
    kickstart_coef: float
    critic_only: bool
    rates: tuple[float, float]
    """Learning rates of the optimizer: of all weights, and of those apart."""

    def objective(self, network: ActorCritic, batch: LearnerBatch) -> Objective:
        """Fix the loss of the update. Raises `NonFiniteError` as `Objective`."""
        return Objective(
            network,
            batch,
            config=self.config,
            num_minibatches=self.num_minibatches,
            kickstart_coef=self.kickstart_coef,
        )


class Descended(NamedTuple):
    """The gradient steps of one update."""

    evaluated: Sequence[tuple[Minibatch, Terms[float]]]
    """Minibatches with their terms; of the last no step was taken where the update `stopped_early`."""
    grad_norms: Sequence[float]
    stopped_early: bool


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

    def __init__(
        self,
        network: ActorCritic,
        *,
        config: PPOConfig,
        generator: torch.Generator,
        device: Device = "cpu",
        ranks: Ranks | None = None,
        group: str = "",
    ) -> None:
        """Begin without moments.

        Args:
            network: which acts, on the CPU; its weights change in place.
            config: of every update.
            generator: of the orders of rows, on the CPU.
            device: where a copy of the network learns; on the CPU the network itself does.
            ranks: other processes, which have a share of every minibatch. None: this one has all.
            group: of the network, by which `ranks` know it.

        Raises:
            ConfigError: if there is no such device.
        """
        self._placement = Placement(network, device_named(device))
        self._config = config
        self._generator = generator
        self._optimizer = optimizer_of(self._placement.learning, config)
        self._group, self._ranks = group, ranks
        self._kl_factor = 1.0

    def update(
        self,
        batch: TrajectoryBatch,
        *,
        kickstart_coef: float = 0.0,
        learning_rate: float | None = None,
        clip_range: float | None = None,
        entropy_coef: float | None = None,
        gae_lambda: float | None = None,
    ) -> PPOUpdate:
        """Learn from `batch` for `num_epochs` passes.

        Args:
            batch: collected by this network as it is now, its actions sampled.
            kickstart_coef: κ of the cross-entropy towards the script (Schmitt et al. 2018, arXiv:1803.03835, eq. 3),
                at least 0.
            learning_rate: instead of the config's, for this update; that of the critic changes in proportion, and
                what the divergence made of it stays.
            clip_range: instead of the config's, for this update.
            entropy_coef: instead of the config's, for this update.
            gae_lambda: instead of the config's, for this update.

        Returns:
            Losses, divergence and counts of this update.

        Raises:
            StaleBatchError: if another network collected the batch.
            EmptyBatchError: if every row is foreign.
            ActionMaskError: if a decision has no legal action.
            ShapeError: if the batch is of other actions, observations or states, or lacks a column.
            NonFiniteError: if a number is not finite; the weights are those before the step that met it.
            ConfigError: if a coefficient or rate is out of range.
        """
        if not 0.0 <= kickstart_coef < math.inf:
            raise ConfigError(f"`kickstart_coef` must be at least 0 and finite, got {kickstart_coef!r}")
        with self._placement.up_to_date() as network:
            config = self._config_with(clip_range=clip_range, entropy_coef=entropy_coef, gae_lambda=gae_lambda)
            return self._learn(network, batch, config, learning_rate, kickstart_coef=kickstart_coef)

    def replay(
        self,
        batch: TrajectoryBatch,
        *,
        kickstart_coef: float = 0.0,
        learning_rate: float | None = None,
        clip_range: float | None = None,
        entropy_coef: float | None = None,
        gae_lambda: float | None = None,
    ) -> PPOUpdate:
        """Learn from a record of any policies, off policy, for `num_epochs` passes; see `record.as_decided_by`.

        On a batch that this network collected itself, as it is now, it does what `update` does.

        Args:
            batch: of blends, of scripts, or a classic capture. Its decisions are learned from by the policy; the rows
                that were forced by the critic alone, foreign rows by neither.
            kickstart_coef: as of `update`; a classic capture has no labels.
            learning_rate: as of `update`, and so are the others.
            clip_range: instead of the config's, for this update.
            entropy_coef: instead of the config's, for this update.
            gae_lambda: instead of the config's, for this update.

        Returns:
            Losses, divergence and counts of this update; the divergence is from the network as it was before.

        Raises:
            EmptyBatchError: if every row is foreign.
            ActionMaskError: if a decision has no legal action.
            ShapeError: if the batch is of other actions or observations, or does not say how likely its actions were.
            NonFiniteError: if a number is not finite; the weights are those before the step that met it.
            ConfigError: if a coefficient or rate is out of range.
        """
        return self.update(
            self.as_decided_now(batch),
            kickstart_coef=kickstart_coef,
            learning_rate=learning_rate,
            clip_range=clip_range,
            entropy_coef=entropy_coef,
            gae_lambda=gae_lambda,
        )

    def as_decided_now(self, batch: TrajectoryBatch) -> TrajectoryBatch:
        """Return a record of any policies with π of the network as it is; see `record.as_decided_by`."""
        with self._placement.up_to_date() as network:
            return as_decided_by(network, batch)

    def warm_up(self, batch: TrajectoryBatch, *, learning_rate: float | None = None) -> PPOUpdate:
        """Let the critic alone learn from `batch`: no weight of the policy changes by a bit.

        `batch`, `learning_rate` and errors are those of `update`. Policy and kickstart loss, KL and clip fraction of
        the result are 0, its entropy is that of the policy that acted. Weights that both have stay as they are too.
        """
        with self._placement.up_to_date() as network:
            return self._learn(network, batch, self._config, learning_rate, kickstart_coef=0.0, critic_only=True)

    def state_dict(self) -> dict[str, Tensor]:
        """Copy all state that outlives an update, except the network's weights: `optimizer.*`, `generator`, and
        `kl_factor` where the divergence adapts the learning rate."""
        state = {f"{_OPTIMIZER}{name}": tensor for name, tensor in self._optimizer.state_dict().items()}
        state[_GENERATOR] = self._generator.get_state()
        if self._config.kl_target_lr is not None:
            state[_KL_FACTOR] = torch.tensor(self._kl_factor, dtype=torch.float64)
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue as the learner whose `state_dict` this is.

        Raises:
            ShapeError: if `state` is not of a learner of the same network.
        """
        rest = dict(state)
        own = (_GENERATOR,) if self._config.kl_target_lr is None else (_GENERATOR, _KL_FACTOR)
        for name in own:
            if name not in rest:
                raise ShapeError(f"the state of a learner must have `{name}`, got {sorted(state)}")
        generator, factor = rest.pop(_GENERATOR), rest.pop(_KL_FACTOR) if _KL_FACTOR in own else torch.ones(())
        self._optimizer.load_state_dict({name.removeprefix(_OPTIMIZER): tensor for name, tensor in rest.items()})
        self._generator.set_state(generator)
        self._kl_factor = factor.item()

    def _config_with(self, **settings: float | None) -> PPOConfig:
        said = {name: value for name, value in settings.items() if value is not None}
        # Types are those of the settings' own checks.
        return replace(self._config, **said) if said else self._config  # type: ignore[arg-type]  # numbers by name

    def _learn(
        self,
        network: ActorCritic,
        batch: TrajectoryBatch,
        config: PPOConfig,
        learning_rate: float | None,
        *,
        kickstart_coef: float,
        critic_only: bool = False,
    ) -> PPOUpdate:
        planned = config.learning_rate if learning_rate is None else learning_rate
        rate = self._set_rates(planned, adapts=not critic_only)
        learnable = prepare(
            network,
            batch,
            discount=config.discount,
            gae_lambda=config.gae_lambda,
            min_ratio=config.min_ratio,
            sequence_length=config.sequence_length,
        )
        num_minibatches = min(config.minibatches_of(learnable.num_valued), len(learnable.units))
        plan = UpdatePlan(
            config=config,
            num_minibatches=num_minibatches,
            kickstart_coef=kickstart_coef,
            critic_only=critic_only,
            rates=self._optimizer.learning_rates,
        )
        taken = self._descend(plan.objective(network, learnable), plan)
        if config.kl_target_lr is not None and not critic_only:
            divergence = moved_by(network, learnable)
            if divergence is not None:
                self._kl_factor = kl_adapted(rate, divergence, target=config.kl_target_lr) / planned
        return _summary(learnable, taken, learning_rate=rate)

    def _descend(self, objective: Objective, plan: UpdatePlan) -> Descended:
        descent, optimizer, generator = descent_of(objective, self._optimizer), self._optimizer, self._generator
        if self._ranks is None:
            return gradient_steps(objective, descent, optimizer, plan, generator)
        with self._ranks.sharing(
            self._group, descent, objective, plan, optimizer=optimizer, generator=generator
        ) as shared:
            return gradient_steps(objective, shared, optimizer, plan, generator)

    def _set_rates(self, planned: float, *, adapts: bool) -> float:
        """Set the learning rates of an update whose schedule says `planned`, and return that of the policy.

        η_k = clip(f_k · planned_k, 1e-6, 1e-2),   f_{k+1} = adapted η_k / planned_k          with `kl_target_lr`
        """
        config, own = self._config, None
        if config.critic_learning_rate is not None:
            own = config.critic_learning_rate * (planned / config.learning_rate)
        self._optimizer.set_learning_rate(planned, own)
        if config.kl_target_lr is None or not adapts:
            return planned
        rate = min(max(self._kl_factor * planned, LOWEST_RATE), HIGHEST_RATE)
        self._optimizer.set_learning_rate(rate, own)
        return rate


def optimizer_of(network: ActorCritic, config: PPOConfig) -> Optimizer:
    """Make the optimizer of a network that learns."""
    return Optimizer(
        dict(network.named_parameters()),
        learning_rate=config.learning_rate,
        max_grad_norm=config.max_grad_norm,
        eps=config.adam_eps,
        apart=() if config.critic_learning_rate is None else network.critic_parameters,
    )


def gradient_steps(
    objective: Objective, descent: Descent, optimizer: Optimizer, plan: UpdatePlan, generator: torch.Generator
) -> Descended:
    """Take the gradient steps of an update.

    Args:
        objective: of the update.
        descent: evaluates and differentiates it.
        optimizer: that steps.
        plan: of the update.
        generator: of the orders of rows.

    Raises:
        NonFiniteError: if a number is not finite; the weights are those before the step that met it.
    """
    config, batch = plan.config, objective.batch
    evaluated, grad_norms, stopped_early = list[tuple[Minibatch, Terms[float]]](), list[float](), False
    # A number that is too large stops the update in `Optimizer.step`; numpy would warn of it, torch does not.
    with np.errstate(all="ignore"):
        for minibatch in minibatches(
            batch, num_minibatches=plan.num_minibatches, num_epochs=config.num_epochs, generator=generator
        ):
            terms = descent.evaluate(minibatch, critic_only=plan.critic_only)
            evaluated.append((minibatch, terms))
            stopped_early = config.target_kl is not None and terms.kl > _KL_SLACK * config.target_kl
            if stopped_early:
                break
            moved = descent.differentiate()
            grad_norms.append(optimizer.step(terms.total_loss, batch.extremes, moved))
    return Descended(evaluated, grad_norms, stopped_early)


def _summary(batch: LearnerBatch, taken: Descended, *, learning_rate: float) -> PPOUpdate:
    """Sum up the minibatches that were evaluated, each with its terms, and the steps that were taken."""
    evaluated, grad_norms, stopped_early = taken
    table = Terms(*np.array([terms for _, terms in evaluated]).T)
    advantages = batch.policy.advantages.cpu().numpy().astype(np.float64)
    shares = (advantages.take(minibatch.decided.numpy()) for minibatch, _ in evaluated)
    deviations = [float(share.std()) for share in shares if len(share)]
    return PPOUpdate(
        **{name: float(column.mean()) for name, column in table._asdict().items()},
        entropy_std=float(table.entropy.std()),
        kl_max=float(table.kl.max()),
        clip_fraction_max=float(table.clip_fraction.max()),
        clip_triggered_minibatches=int((table.clip_fraction > 0.0).sum()),
        adv_mean=float(advantages.mean()) if len(advantages) else 0.0,
        adv_std=float(advantages.std()) if len(advantages) else 0.0,
        adv_min_std=min(deviations, default=0.0),
        adv_zero_std_batches=deviations.count(0.0),
        grad_norm=sum(grad_norms) / max(len(grad_norms), 1),
        grad_norm_max=max(grad_norms, default=0.0),
        explained_variance=batch.explained_variance,
        reward_advantage_corr=batch.reward_advantage_corr,
        num_updates=len(grad_norms),
        num_decisions=batch.num_decisions,
        truncated_share=batch.truncated_share,
        num_transitions=sum(minibatch.num_valued for minibatch, _ in evaluated[: len(grad_norms)]),
        stopped_early=stopped_early,
        learning_rate=learning_rate,
    )
