"""The clone: what it is normalized with, what it is fitted to, and what it is judged on."""

from __future__ import annotations

from collections.abc import Callable

import torch

from townlet_training.config import TrainingConfig
from townlet_training.errors import EmptyBatchError
from townlet_training.learning.advantages import return_scale
from townlet_training.learning.bc import BCLearner
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.run.group_names import group_seed
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.evaluation.results import CloneEpoch, CloneResult

_SPLIT_ATTEMPTS = 100


def freeze_statistics(network: ActorCritic, batch: TrajectoryBatch, *, discount: float) -> None:
    """Fit the normalization of observations and the unit of values to `batch`, as far as the network's config says so.

    Nothing changes them afterwards.
    """
    if network.config.normalize_observations == "frozen":
        network.fit_normalizer(batch)
    if network.config.value_scale == "frozen":
        network.set_value_scale(return_scale(batch, discount=discount))


def split_episodes(
    batch: TrajectoryBatch, *, fraction: float, seed: int, group: str
) -> tuple[TrajectoryBatch, TrajectoryBatch]:
    """Split what `group` did into (train, held out) by episode of the world, neither of them empty.

    Raises:
        EmptyBatchError: if `batch` has a single episode.
    """
    for attempt in range(_SPLIT_ATTEMPTS):
        train, held_out = batch.split_by_episode(fraction, seed=group_seed(seed, "split", group, attempt))
        # Each episode falls on its side by chance, so that with few of them one side may get none.
        if len(train) and len(held_out):
            return train, held_out
    raise EmptyBatchError(
        f"the {len(batch)} scripted trajectories could not be split into episodes to learn from and episodes to judge "
        "by: collect more worlds, or for longer"
    )


def clone_script(
    network: ActorCritic,
    batch: TrajectoryBatch,
    *,
    config: TrainingConfig,
    group: str,
    on_epoch: Callable[[CloneEpoch], None],
) -> CloneResult:
    """Make the policy of `network`, which is that of `group`, propose what the script proposed in `batch`.

    `on_epoch` as in `BCLearner.fit`.

    Raises:
        EmptyBatchError: if there is nothing to learn from, or nothing to judge by.
    """
    train, held_out = split_episodes(batch, fraction=config.anneal.held_out_fraction, seed=config.seed, group=group)
    freeze_statistics(network, train, discount=config.ppo.discount)
    generator = torch.Generator().manual_seed(group_seed(config.seed, "clone", group))
    return BCLearner(network, config=config.bc, generator=generator).fit(train, held_out, on_epoch=on_epoch)
