"""Agent groups: for each of them a network, its optimizer and its random generator."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from townlet_training.config import TrainingConfig
from townlet_training.errors import (
    ActionMaskError,
    EmptyBatchError,
    NonFiniteError,
    ShapeError,
    StaleBatchError,
)
from townlet_training.groups import group_seed, join_groups, require_groups, split_groups
from townlet_training.learning.batch import freeze_statistics, freeze_value_scale, update_statistics
from townlet_training.learning.ppo import PPOLearner
from townlet_training.learning.record import decisions_of, freeze_to_record
from townlet_training.learning.update import PPOUpdate, joined
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_training.network.spec import PolicySpec
from townlet_training.network.weights import set_weights, weights_digest, weights_of
from townlet_training.planning import PlannedUpdate
from townlet_training.run.opponents import GroupOpponents, Roles
from townlet_trajectory import Kind, TrajectoryBatch, TrajectorySource
from townlet_trajectory.evaluation.interfaces import AnyActor, Collected
from townlet_trajectory.evaluation.results import CloneEpoch

if TYPE_CHECKING:
    from townlet_training.learning.ranks.processes import Ranks
    from townlet_training.run.cloning import Clone

log = logging.getLogger(__name__)


class GroupLearners:
    """Networks and optimizers of all groups of a run. They share nothing but the config, the plan and the worlds.

    Attributes:
        specs: of the groups that learn.
        networks: the policy and critic of each group, in training.
        opponents: who plays the groups that do not learn.
    """

    def __init__(
        self,
        config: TrainingConfig,
        specs: Mapping[str, PolicySpec],
        *,
        frozen: Mapping[str, AnyActor] = {},
        initial: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Build a network for each group that learns.

        Args:
            config: of the run; says who learns.
            specs: of all groups.
            frozen: policies of the groups that are played by one from a file.
            initial: weights to begin with, named as those of `weights`; normalization and value scale are then kept,
                but for inputs that no weight reads. None: fresh ones.

        Raises:
            ConfigError: if there is no group, the name of one cannot be part of a file name, or a group cannot have the
                opponent that `config` names.
            ShapeError: if `initial` are of other networks.
        """
        require_groups(specs)
        roles = Roles.of(config, specs, frozen)
        self._config = config
        self.specs = dict(roles.learning)
        self.networks = {group: _network(config, group, spec) for group, spec in self.specs.items()}
        if initial is not None:
            for group, own in split_groups(initial, tuple(self.specs)).items():
                set_weights(self.networks[group], own)
                self.networks[group].keeps_statistics = True
        self.opponents = GroupOpponents(
            roles, {group: _network(config, group, self.specs[past.learner]) for group, past in roles.past.items()}
        )
        if config.mode == "ppo":
            self.opponents.begin(self.networks)
        self._generators = {group: _generator(config, "learner", group) for group in self.specs}
        self._ranks: Ranks | None = None
        if config.num_learners > 1:
            from townlet_training.learning.ranks.processes import Ranks  # one learner needs none of it

            self._ranks = Ranks(config.num_learners, self.specs, config.network, config.ppo, device=config.device)
        self._learners = {
            group: PPOLearner(
                network,
                config=config.ppo,
                generator=self._generators[group],
                device=config.device,
                ranks=self._ranks,
                group=group,
            )
            for group, network in self.networks.items()
        }

    def freeze_statistics(self, batches: Mapping[str, TrajectoryBatch]) -> None:
        """Fit the normalization of each network to the observations and rewards of its group.

        Raises:
            EmptyBatchError: if a group was empty.
        """
        for group, network in self.networks.items():
            with _naming("preparation", group):
                freeze_statistics(network, batches[group], discount=self._config.ppo.discount)
        self.opponents.begin(self.networks)

    def clone(self, collected: Collected, *, on_epoch: Callable[[CloneEpoch], None]) -> dict[str, Clone]:
        """Make each policy propose the script's proposals to its group; returns the clones by group.

        Raises:
            EmptyBatchError: if a group has nothing to learn from, or nothing to judge by.
        """
        from townlet_training.run.cloning import clone_script  # a run of mode `ppo` needs none of it

        clones = {}
        for group, network in self.networks.items():
            with _naming("stage clone", group):
                clones[group] = clone_script(
                    network,
                    collected.batches[group],
                    config=self._config,
                    split_seed=group_seed(self._config.seed, "split", group),
                    generator=_generator(self._config, "clone", group),
                    on_epoch=on_epoch,
                )
        self.opponents.begin(self.networks)
        return clones

    def clone_record(
        self,
        data: Mapping[str, Sequence[TrajectorySource]],
        *,
        on_epoch: Callable[[CloneEpoch], None],
        num_epochs: int | None = None,
        fit_statistics: bool = True,
    ) -> dict[str, Clone]:
        """Make each policy propose the labels of the recorded steps of its group.

        Args:
            data: sources by agent group.
            on_epoch: called after every pass, as in `BCLearner.fit`.
            num_epochs: passes; None: as the config says.
            fit_statistics: whether the normalization is fitted first; it is not where the network has learned before.

        Returns:
            The clones by group.

        Raises:
            EmptyBatchError: if a group has nothing to learn from, or nothing to judge by.
            ShapeError: if the steps are of other observations or actions.
            TrajectoryError: if a source cannot be read, or is beyond the memory budget.
        """
        from townlet_training.run.cloning import clone_record

        clones, config = {}, self._config
        if num_epochs is not None:
            config = replace(config, bc=replace(config.bc, num_epochs=num_epochs))
        for group, network in self.networks.items():
            with _naming("stage clone", group):
                clones[group] = clone_record(
                    network,
                    data[group],
                    config=config,
                    split_seed=group_seed(self._config.seed, "split", group),
                    order_seed=group_seed(self._config.seed, "clone", group),
                    generator=_generator(self._config, "clone", group),
                    on_epoch=on_epoch,
                    fit_statistics=fit_statistics,
                )
        self.opponents.begin(self.networks)
        return clones

    def freeze_value_scale(self, batches: Mapping[str, TrajectoryBatch]) -> None:
        """Fit the unit of the values of each network to the rewards of its group.

        Raises:
            EmptyBatchError: if a group was empty.
        """
        for group, network in self.networks.items():
            with _naming("preparation", group):
                freeze_value_scale(network, batches[group], discount=self._config.ppo.discount)

    def freeze_to_record(self, batches: Iterable[TrajectoryBatch], *, normalizer: bool) -> None:
        """Fit the statistics of the only network to the parts of a record; see `learning.record.freeze_to_record`."""
        ((group, network),) = self.networks.items()
        with _naming("preparation", group):
            freeze_to_record(network, batches, discount=self._config.ppo.discount, normalizer=normalizer)

    def replay(self, batches: Iterable[TrajectoryBatch], planned: PlannedUpdate, number: int) -> PPOUpdate:
        """Update the only group from a record, one batch of it after the other.

        Args:
            batches: that the record is cut into.
            planned: how the update is made; its ratio does not matter.
            number: of the update in the run, from 1, for errors.

        Returns:
            The update by all of them together, without batches in which nobody decided.

        Raises:
            EmptyBatchError: if nobody decided anything in the record.
            NonFiniteError: names the update.
        """
        ((group, learner),) = self._learners.items()
        where, updates, num_rows = f"update {number} of stage {planned.stage}", [], 0
        with _naming(where, group):
            for batch in batches:
                num_rows += batch.num_steps
                if np.all(decisions_of(batch)["kind"] == Kind.FOREIGN):
                    continue
                updates.append(learner.replay(batch, **planned.settings))
            if not updates:
                raise EmptyBatchError(f"all {num_rows} rows of the record are foreign; nothing to learn from")
        return joined(updates)

    def learn(self, collected: Collected, planned: PlannedUpdate, *, number: int) -> dict[str, PPOUpdate]:
        """Update every group that has something to learn from.

        Args:
            collected: the rows to learn from.
            planned: how the update is made.
            number: of the update in the run, from 1, for errors.

        Returns:
            The updates by group, without the groups that were left out.

        Raises:
            EmptyBatchError: if no group has anything to learn from.
            NonFiniteError: names the stage, the update and the group.
        """
        where = f"update {number} of stage {planned.stage}"
        learnable = {group: batch for group, batch in collected.batches.items() if _has_decided(batch)}
        if not learnable:
            raise EmptyBatchError(f"{where}: all {collected.agent_steps} rows are foreign; nothing to learn from")
        updates = {}
        for group, learner in self._learners.items():
            if group not in learnable:
                log.warning("agent group %s is left out of an update: it decided nothing", group)
                continue
            with _naming(where, group):
                updates[group] = _updated(learner, learnable[group], planned, age=collected.policy_age)
        for group, network in self.networks.items():
            update_statistics(network, collected.batches[group], discount=self._config.ppo.discount)
        self.opponents.note_update(self.networks)
        return updates

    def close(self) -> None:
        """End the other processes that learn, where there are some; the next update begins them again."""
        if self._ranks is not None:
            self._ranks.close()

    def reseed(self, attempt: int) -> None:
        """Set the random states to those of `attempt`."""
        for group, generator in self._generators.items():
            generator.manual_seed(group_seed(self._config.seed, "attempt", group, attempt))

    def copies(self, weights: Mapping[str, Tensor]) -> dict[str, ActorCritic]:
        """Build separate networks with `weights`, named as those of `weights`."""
        return network_of(self.specs, self._config.network, weights)

    def weights(self) -> dict[str, Tensor]:
        """Copy the parameters and buffers of all networks: `NAME`, with several groups `GROUP/NAME`."""
        return join_groups({group: weights_of(network) for group, network in self.networks.items()})

    def sha256(self) -> str:
        """Return the `weights_digest` of `weights`."""
        return weights_digest(self.weights())

    def state(self) -> dict[str, Tensor]:
        """Copy the optimizers' moments and the random states, named as `weights` are, and the opponents' snapshots."""
        own = join_groups({group: learner.state_dict() for group, learner in self._learners.items()})
        return own | self.opponents.state()

    def restore(self, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Restore networks, optimizers, random states and snapshots from `weights` and `state`.

        Raises:
            ShapeError: if they are of other networks.
        """
        groups = tuple(self.networks)
        for group, own in split_groups(weights, groups).items():
            set_weights(self.networks[group], own)
        for group, own in split_groups(self.opponents.restore(state), groups).items():
            self._learners[group].load_state_dict(own)


class Understudies:
    """Copies of the networks of a run that another thread acts with while the run goes on.

    The run's thread calls `take` between two updates, the other thread `show` between two ticks; they share nothing
    but weights that nobody changes.

    Args:
        learners: of the run; nothing is drawn from its generators.
    """

    def __init__(self, learners: GroupLearners) -> None:
        self._learners = learners
        own, selves = learners.copies(learners.weights()), learners.opponents.earlier_selves()
        specs = {group: learners.specs[learner] for group, (learner, _) in selves.items()}
        drawn = torch.Generator().manual_seed(0)  # what is drawn is overwritten
        self._networks = own | {
            group: ActorCritic.of(spec, network.config, generator=drawn)
            for (group, spec), (_, network) in zip(specs.items(), selves.values(), strict=True)
        }
        self._newest: deque[dict[str, dict[str, Tensor]]] = deque(maxlen=1)
        self.take()
        self.show()

    @property
    def actors(self) -> Mapping[str, AnyActor]:
        """By agent group: of those that learn, and of those that an earlier self plays."""
        return self._networks

    def take(self) -> None:
        """Copy the weights of now."""
        selves = self._learners.opponents.earlier_selves()
        playing = {**self._learners.networks, **{group: network for group, (_, network) in selves.items()}}
        self._newest.append({group: weights_of(network) for group, network in playing.items()})

    def show(self) -> bool:
        """Act with the weights that were taken last from now on; false where there are none since the last call."""
        try:
            newest = self._newest.popleft()
        except IndexError:
            return False
        for group, weights in newest.items():
            set_weights(self._networks[group], weights)
        return True


@contextlib.contextmanager
def _naming(where: str, group: str) -> Iterator[None]:
    """Name stage, update and agent group in the errors of the block."""
    where = f"{where}, agent group `{group}`"
    try:
        yield
    except NonFiniteError as error:
        raise error.within(where) from error
    except (ActionMaskError, EmptyBatchError, ShapeError, StaleBatchError) as error:
        raise type(error)(f"{where}: {error}") from error


def _updated(learner: PPOLearner, batch: TrajectoryBatch, planned: PlannedUpdate, *, age: int) -> PPOUpdate:
    if age:
        batch = learner.as_decided_now(batch)
    if planned.stage == "warmup":
        return learner.warm_up(batch, learning_rate=planned.learning_rate)
    return learner.update(batch, **planned.settings)


def _network(config: TrainingConfig, group: str, spec: PolicySpec) -> ActorCritic:
    return ActorCritic.of(spec, config.network, generator=_generator(config, "network", group))


def network_of(
    specs: Mapping[str, PolicySpec], config: NetworkConfig, weights: Mapping[str, Tensor]
) -> dict[str, ActorCritic]:
    """Build networks with `weights`.

    Args:
        specs: by agent group.
        config: of all networks.
        weights: named as those of `GroupLearners.weights`.

    Returns:
        The networks by group.

    Raises:
        ShapeError: if `weights` are of other networks.
    """
    networks = {}
    for group, own in split_groups(weights, tuple(specs)).items():
        spec, drawn = specs[group], torch.Generator().manual_seed(0)  # what is drawn is overwritten
        networks[group] = ActorCritic.of(spec, config, generator=drawn)
        set_weights(networks[group], own)
    return networks


def _generator(config: TrainingConfig, purpose: str, group: str) -> torch.Generator:
    return torch.Generator().manual_seed(group_seed(config.seed, purpose, group))


def _has_decided(batch: TrajectoryBatch) -> bool:
    """Whether a learner would take `batch`: a row whose action was held still says what states are worth."""
    return bool(np.count_nonzero(batch.columns["kind"] != Kind.FOREIGN))
