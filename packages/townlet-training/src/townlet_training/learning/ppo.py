"""Proximal policy optimization from a blend of script and policy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from townlet_training.errors import ConfigError, ShapeError
from townlet_training.learning.batch import prepare
from townlet_training.learning.optimizer import Optimizer
from townlet_training.learning.ppo_config import PPOConfig
from townlet_training.learning.ppo_objective import Objective, minibatches
from townlet_training.learning.ppo_update import Measures, PPOUpdate
from townlet_training.network.actor_critic import ActorCritic
from townlet_trajectory import TrajectoryBatch

__all__ = ["PPOConfig", "PPOLearner", "PPOUpdate"]

# As in Stable-Baselines3 (`PPO.train`) and Spinning Up (`ppo`): single estimates scatter around the mean.
_KL_SLACK = 1.5
# Of PPO since OpenAI baselines (Huang et al. 2022, "The 37 implementation details of PPO", detail 3).
_ADAM_EPS = 1e-5
_OPTIMIZER = "optimizer."


class PPOLearner:
    """Improves a network on batches that it collected itself, blended with a script or not.

    It reads and writes no files, and draws only from its generator. The same network, batch, generator state and number
    of torch threads give the same weights, bit for bit.
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
            kickstart_coef: κ of the cross-entropy towards the script (Schmitt et al. 2018, arXiv:1803.03835, eq. 3).
            learning_rate: instead of the config's, for this update.
            clip_range: instead of the config's, for this update.

        Raises:
            StaleBatchError: if another network collected the batch.
            EmptyBatchError: if every row is foreign.
            ActionMaskError: if a decision has no legal action.
            NonFiniteError: if a number is not finite; the weights are those before the step that met it.
            ConfigError: if a coefficient or rate is out of range.
        """
        if not 0.0 <= kickstart_coef < math.inf:
            raise ConfigError(f"`kickstart_coef` must be at least 0 and finite, got {kickstart_coef!r}")
        config = self._config if clip_range is None else replace(self._config, clip_range=clip_range)
        return self._learn(batch, config, learning_rate, kickstart_coef=kickstart_coef, critic_only=False)

    def warm_up(self, batch: TrajectoryBatch, *, learning_rate: float | None = None) -> PPOUpdate:
        """Let the critic alone learn from `batch`: no weight of the policy changes by a bit.

        `batch`, `learning_rate` and errors are those of `update`. Policy and kickstart loss, KL and clip fraction of
        the result are 0, its entropy is that of the policy that acted.
        """
        return self._learn(batch, self._config, learning_rate, kickstart_coef=0.0, critic_only=True)

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of all that outlives an update: `optimizer.*` and `generator`. The network's weights are its own."""
        optimizer = {f"{_OPTIMIZER}{name}": tensor for name, tensor in self._optimizer.state_dict().items()}
        return optimizer | {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on as the learner whose `state_dict` this is.

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
        evaluate = objective.critic_terms if critic_only else objective.terms
        measures, stopped_early = Measures(), False
        for minibatch in minibatches(
            learnable, num_minibatches=num_minibatches, num_epochs=config.num_epochs, generator=self._generator
        ):
            terms = evaluate(minibatch)
            measures.add_terms(terms, minibatch)
            stopped_early = config.target_kl is not None and terms.kl.item() > _KL_SLACK * config.target_kl
            if stopped_early:
                break
            grad_norm = self._optimizer.step(terms.total_loss)
            measures.add_step(grad_norm, num_rows=len(minibatch.rows))
        return measures.result(learnable, stopped_early=stopped_early)
