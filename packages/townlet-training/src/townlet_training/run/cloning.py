"""The clone of the script: its normalization, its training episodes, and the episodes that judge it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from townlet_training.config import TrainingConfig
from townlet_training.errors import EmptyBatchError
from townlet_training.learning.batch import freeze_statistics
from townlet_training.learning.bc import BCLearner, labels
from townlet_training.network.actor_critic import ActorCritic
from townlet_trajectory import ACTION_MASK, TrajectoryBatch
from townlet_trajectory.evaluation.results import CloneEpoch, CloneResult

log = logging.getLogger(__name__)


class CloneEpisodes(NamedTuple):
    """Scripted episodes, by their use. Agents of one episode see each other, so an episode has one use."""

    train: TrajectoryBatch
    choose: TrajectoryBatch
    """They choose the epoch whose weights are kept."""
    judge: TrajectoryBatch
    """They choose nothing, and are judged by."""


def split_episodes(batch: TrajectoryBatch, *, fraction: float, seed: int, allow_two: bool = False) -> CloneEpisodes:
    """Split scripted trajectories by episode of the world.

    Args:
        batch: of at least three episodes.
        fraction: share of the episodes, in (0, 1), that nothing is learned from; two thirds of them judge the clone,
            the others choose the epoch. Each use gets at least one.
        seed: of the order in which episodes are taken.
        allow_two: of two episodes, learn from one, and choose and judge by the other, whose accuracy is then a little
            too high.

    Returns:
        The three parts; every trajectory is in one of them.

    Raises:
        EmptyBatchError: if there are fewer than three episodes.
    """
    episode, num_episodes = _episode_of_trajectory(batch)
    if allow_two and num_episodes == 2:
        first = np.random.default_rng(seed).permutation(2)[episode] == 0
        log.warning("two episodes: one of them both chooses and judges the clone, whose accuracy is a little too high")
        return CloneEpisodes(*(batch.filter_trajectories(part) for part in (first, ~first, ~first)))
    if num_episodes < 3:
        raise EmptyBatchError(
            f"{num_episodes} scripted episodes cannot be split into those to learn from, to choose by and to judge by: "
            "collect more worlds, or for longer"
        )
    num_held_out = min(max(2, round(fraction * num_episodes)), num_episodes - 1)
    num_judge = max(1, round(2 * num_held_out / 3))
    position = np.random.default_rng(seed).permutation(num_episodes)[episode]
    judge, train = position < num_judge, position >= num_held_out
    return CloneEpisodes(*(batch.filter_trajectories(part) for part in (train, ~train & ~judge, judge)))


def episode_accuracies(network: ActorCritic, batch: TrajectoryBatch) -> NDArray[np.float64]:
    """Compute the share of right labels in each episode of `batch` that has a label.

    Returns:
        [E], in [0, 1], in the order of (world, episode).

    Raises:
        EmptyBatchError: if no episode has a label.
    """
    rows, actions, _ = labels(batch)
    if not rows.size:
        raise EmptyBatchError(f"the {len(batch)} trajectories to judge by have no label")
    mask = batch.observations.get(ACTION_MASK)
    legal = None if mask is None else np.asarray(mask[rows], np.bool_)
    seen = {name: np.asarray(batch.observations[name][rows], np.float32) for name in network.observation_shapes}
    log_probs, _ = network.act(seen, legal)
    episode, num_episodes = _episode_of_trajectory(batch)
    of_label = episode[batch.trajectory_of_row[rows]]
    num_labels = np.bincount(of_label, minlength=num_episodes)
    num_right = np.bincount(of_label, log_probs.argmax(axis=1) == actions, minlength=num_episodes)
    return num_right[num_labels > 0] / num_labels[num_labels > 0]


def clone_script(
    network: ActorCritic,
    batch: TrajectoryBatch,
    *,
    config: TrainingConfig,
    split_seed: int,
    generator: torch.Generator,
    on_epoch: Callable[[CloneEpoch], None],
    fit_statistics: bool = True,
    is_recorded: bool = False,
) -> CloneResult:
    """Make the policy of `network` propose the script's actions in `batch`.

    Args:
        network: to train.
        batch: of the script alone.
        config: of the run.
        split_seed: of `split_episodes`.
        generator: of the order of the labels.
        on_epoch: called after every pass, as in `BCLearner.fit`.
        fit_statistics: whether the normalization is fitted to what is learned from.
        is_recorded: whether no more episodes can be had than there are.

    Returns:
        The accuracies of the epochs, and of each episode that chose nothing.

    Raises:
        EmptyBatchError: if there is nothing to learn from, to choose by or to judge by.
    """
    episodes = split_episodes(batch, fraction=config.anneal.held_out_fraction, seed=split_seed, allow_two=is_recorded)
    if fit_statistics:
        freeze_statistics(network, episodes.train, discount=config.ppo.discount)
    learner = BCLearner(network, config=config.bc, generator=generator)
    result = learner.fit(episodes.train, episodes.choose, on_epoch=on_epoch)
    accuracies = episode_accuracies(network, episodes.judge)
    return replace(result, accuracy=float(accuracies.mean()), episode_accuracies=tuple(accuracies.tolist()))


def _episode_of_trajectory(batch: TrajectoryBatch) -> tuple[NDArray[np.int64], int]:
    """Number the episodes of the worlds of `batch`: [B] in 0 .. E - 1, and E."""
    numbers = np.column_stack((batch.worlds, batch.episodes))
    found, episode = np.unique(numbers, axis=0, return_inverse=True)
    return episode, len(found)
