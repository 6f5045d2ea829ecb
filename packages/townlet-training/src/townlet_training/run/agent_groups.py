"""What learns: for each agent group a network, its optimizer and its random generator."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from townlet_training.config import PolicySpec, TrainingConfig
from townlet_training.errors import EmptyBatchError
from townlet_training.learning.ppo import PPOLearner, PPOUpdate
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.weights import set_weights, weights_digest, weights_of
from townlet_training.run.cloning import clone_script, freeze_statistics
from townlet_training.run.group_names import group_seed, joined, parted, require_groups
from townlet_training.run.schedule import PlannedUpdate
from townlet_trajectory import Kind, TrajectoryBatch
from townlet_trajectory.evaluation.interfaces import Collected
from townlet_trajectory.evaluation.results import CloneEpoch, CloneResult

log = logging.getLogger(__name__)


class Learners:
    """All groups of a run. They share nothing but the config, the plan and the worlds.

    Attributes:
        networks: the policy and critic of each group, in training.
        transitions: rows that each group has learned from.
        num_left_out: how often a group was left out of an update because it had decided nothing.
    """

    def __init__(self, config: TrainingConfig, specs: Mapping[str, PolicySpec]) -> None:
        """Build a network for each of `specs`.

        Raises:
            ConfigError: if there is no group, or the name of one cannot be part of a file name.
        """
        require_groups(specs)
        self._config = config
        self._specs = dict(specs)
        self.networks = {group: _network(config, group, spec) for group, spec in specs.items()}
        self._generators = {group: _generator(config, "learner", group) for group in specs}
        self._learners = {
            group: PPOLearner(network, config=config.ppo, generator=self._generators[group])
            for group, network in self.networks.items()
        }
        self.transitions = dict.fromkeys(specs, 0)
        self.num_left_out = 0

    def freeze_statistics(self, collected: Collected) -> None:
        """Fit what stands before and behind each network to what its group saw and earned.

        Raises:
            EmptyBatchError: if there was nobody in a group.
        """
        for group, network in self.networks.items():
            with _naming(group):
                freeze_statistics(network, collected.batches[group], discount=self._config.ppo.discount)

    def clone(self, collected: Collected, *, on_epoch: Callable[[CloneEpoch], None]) -> dict[str, CloneResult]:
        """Make each policy propose what the script proposed to its group; by group.

        Raises:
            EmptyBatchError: if there is nothing to learn from for a group, or nothing to judge by.
        """
        results = {}
        for group, network in self.networks.items():
            with _naming(group):
                results[group] = clone_script(
                    network, collected.batches[group], config=self._config, group=group, on_epoch=on_epoch
                )
        return results

    def learn(self, collected: Collected, planned: PlannedUpdate) -> dict[str, PPOUpdate]:
        """One update of every group that has something to learn from; by group.

        Raises:
            EmptyBatchError: if no group has.
        """
        learnable = {group: batch for group, batch in collected.batches.items() if _has_decided(batch)}
        if not learnable:
            raise EmptyBatchError(f"all {collected.agent_steps} rows are foreign; nothing to learn from")
        updates = {}
        for group, learner in self._learners.items():
            if group not in learnable:
                log.warning("agent group %s is left out of an update: it decided nothing", group)
                self.num_left_out += 1
                continue
            updates[group] = _updated(learner, learnable[group], planned)
            self.transitions[group] += updates[group].num_transitions
        return updates

    def reseed(self, attempt: int) -> None:
        """Draw other numbers from here on: those of `attempt`."""
        for group, generator in self._generators.items():
            generator.manual_seed(group_seed(self._config.seed, "attempt", group, attempt))

    def copies(self, weights: Mapping[str, Tensor]) -> dict[str, ActorCritic]:
        """Networks like these, apart from them, with `weights` as from `weights`."""
        copies = {group: _network(self._config, group, spec) for group, spec in self._specs.items()}
        for group, own in parted(weights, tuple(copies)).items():
            set_weights(copies[group], own)
        return copies

    def weights(self) -> dict[str, Tensor]:
        """A copy of the parameters and buffers of all networks: `NAME`, with several groups `GROUP/NAME`."""
        return joined({group: weights_of(network) for group, network in self.networks.items()})

    def sha256(self) -> str:
        """`weights_digest` of `weights`."""
        return weights_digest(self.weights())

    def state(self) -> dict[str, Tensor]:
        """A copy of the optimizers' moments and the random states, named as `weights` are."""
        return joined({group: learner.state_dict() for group, learner in self._learners.items()})

    def restore(self, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Be again what `weights` and `state` were taken of, the random states last.

        Raises:
            ShapeError: if they are of other networks.
        """
        groups = tuple(self.networks)
        for group, own in parted(weights, groups).items():
            set_weights(self.networks[group], own)
        for group, own in parted(state, groups).items():
            self._learners[group].load_state_dict(own)


@contextlib.contextmanager
def _naming(group: str) -> Iterator[None]:
    try:
        yield
    except EmptyBatchError as error:
        raise EmptyBatchError(f"agent group `{group}`: {error}") from error


def _updated(learner: PPOLearner, batch: TrajectoryBatch, planned: PlannedUpdate) -> PPOUpdate:
    if planned.stage == "warmup":
        return learner.warm_up(batch, learning_rate=planned.learning_rate)
    return learner.update(
        batch,
        kickstart_coef=planned.kickstart_coef,
        learning_rate=planned.learning_rate,
        clip_range=planned.clip_range,
    )


def _network(config: TrainingConfig, group: str, spec: PolicySpec) -> ActorCritic:
    generator = _generator(config, "network", group)
    return ActorCritic(spec.observation_shapes, len(spec.vocabulary), config.network, generator=generator)


def _generator(config: TrainingConfig, purpose: str, group: str) -> torch.Generator:
    return torch.Generator().manual_seed(group_seed(config.seed, purpose, group))


def _has_decided(batch: TrajectoryBatch) -> bool:
    """Whether a learner would take `batch`: a row whose action was held still says what states are worth."""
    return bool(np.count_nonzero(batch.columns["kind"] != Kind.FOREIGN))
