"""The clones of the script and of recorded steps: normalization, labels to learn from, and labels that judge it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from townlet_training.config import TrainingConfig
from townlet_training.errors import EmptyBatchError, ShapeError
from townlet_training.learning.batch import freeze_statistics
from townlet_training.learning.bc import BCLearner, right_labels
from townlet_training.learning.config import BCConfig
from townlet_training.learning.labels import opened
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.run.recorded import RecordedSteps, split_source, split_units, view_of
from townlet_trajectory import TrajectoryBatch, TrajectorySchema, TrajectorySource
from townlet_trajectory.data.statistics import RunningMoments
from townlet_trajectory.evaluation.results import CloneEpoch, CloneResult


@dataclass(frozen=True, kw_only=True)
class Clone:
    """The clone of one agent group, and the steps that it was made from."""

    result: CloneResult
    num_trajectories: int
    num_steps: int
    reward_sum: float


class CloneEpisodes(NamedTuple):
    """Scripted episodes, by their use. Agents of one episode see each other, so an episode has one use."""

    train: TrajectoryBatch
    choose: TrajectoryBatch
    """They choose the epoch whose weights are kept."""
    judge: TrajectoryBatch
    """They choose nothing, and are judged by."""


def split_episodes(batch: TrajectoryBatch, *, fraction: float, seed: int) -> CloneEpisodes:
    """Split scripted trajectories by episode of the world.

    Args:
        batch: of at least three episodes.
        fraction: share of the episodes, in (0, 1), that nothing is learned from; two thirds of them judge the clone,
            the others choose the epoch. Each use gets at least one.
        seed: of the order in which episodes are taken.

    Returns:
        The three parts; every trajectory is in one of them.

    Raises:
        EmptyBatchError: if there are fewer than three episodes.
    """
    episode, num_episodes = _episode_of_trajectory(batch)
    if num_episodes < 3:
        raise EmptyBatchError(
            f"{num_episodes} scripted episodes cannot be split into those to learn from, to choose by and to judge by: "
            "collect more worlds, or for longer"
        )
    split = split_units(np.random.default_rng(seed).permutation(num_episodes)[episode], fraction=fraction)
    return CloneEpisodes(*map(batch.filter_trajectories, (split.train, split.choose, split.judge)))


def episode_accuracies(network: ActorCritic, batch: TrajectoryBatch, config: BCConfig) -> NDArray[np.float64]:
    """Compute the share of right labels in each episode of `batch` that has a label.

    Args:
        network: whose most likely actions are compared with the labels.
        batch: the trajectories to judge by.
        config: which labels, and whether masks count.

    Returns:
        [E], in [0, 1], in the order of (world, episode).

    Raises:
        EmptyBatchError: if no episode has a label.
    """
    rows, is_right = right_labels(network, batch, config)
    episode, num_episodes = _episode_of_trajectory(batch)
    of_label = episode[batch.trajectory_of_row[rows]]
    num_labels = np.bincount(of_label, minlength=num_episodes)
    num_right = np.bincount(of_label, is_right, minlength=num_episodes).astype(np.float64, copy=False)
    return _shares(num_right, num_labels, num_trajectories=len(batch))


def unit_accuracies(network: ActorCritic, steps: RecordedSteps, config: BCConfig) -> NDArray[np.float64]:
    """Compute the share of right labels in each unit of the steps to judge by that has a label; they are streamed.

    Args:
        network: whose most likely actions are compared with the labels.
        steps: split by their use.
        config: which labels, and whether masks count.

    Returns:
        [E], in [0, 1], in the order of the units' numbers.

    Raises:
        EmptyBatchError: if no unit has a label.
    """
    num_units = int(steps.units.max(initial=-1)) + 1
    num_labels, num_right = np.zeros(num_units, np.int64), np.zeros(num_units)
    for batch in opened(steps.judge).epoch(0):
        rows, is_right = right_labels(network, batch, config)
        of_label = steps.units[batch.trajectories[rows]]
        num_labels += np.bincount(of_label, minlength=num_units)
        num_right += np.bincount(of_label, is_right, minlength=num_units)
    num_trajectories = int(np.count_nonzero(steps.judge.reader.selected.steps))
    return _shares(num_right, num_labels, num_trajectories=num_trajectories)


def _shares(
    num_right: NDArray[np.float64], num_labels: NDArray[np.int64], *, num_trajectories: int
) -> NDArray[np.float64]:
    if not num_labels.any():
        raise EmptyBatchError(f"the {num_trajectories} trajectories to judge by have no label")
    shares: NDArray[np.float64] = num_right[num_labels > 0] / num_labels[num_labels > 0]
    return shares


def clone_script(
    network: ActorCritic,
    batch: TrajectoryBatch,
    *,
    config: TrainingConfig,
    split_seed: int,
    generator: torch.Generator,
    on_epoch: Callable[[CloneEpoch], None],
) -> Clone:
    """Make the policy of `network` propose the script's actions in `batch`.

    Args:
        network: to train.
        batch: of the script alone.
        config: of the run.
        split_seed: of `split_episodes`.
        generator: of the order of the labels.
        on_epoch: called after every pass, as in `BCLearner.fit`.

    Returns:
        The clone, with the accuracies of the epochs, and of each episode that chose nothing.

    Raises:
        EmptyBatchError: if there is nothing to learn from, to choose by or to judge by.
    """
    episodes = split_episodes(batch, fraction=config.anneal.held_out_fraction, seed=split_seed)
    freeze_statistics(network, episodes.train, discount=config.ppo.discount)
    learner = BCLearner(network, config=config.bc, generator=generator, device=config.device)
    result = learner.fit(episodes.train, episodes.choose, on_epoch=on_epoch)
    return Clone(
        result=_with(result, episode_accuracies(network, episodes.judge, config.bc)),
        num_trajectories=len(batch),
        num_steps=batch.num_steps,
        reward_sum=float(batch.rewards.sum(dtype="float64")),
    )


def clone_record(
    network: ActorCritic,
    sources: Sequence[TrajectorySource],
    *,
    config: TrainingConfig,
    split_seed: int,
    order_seed: int,
    generator: torch.Generator,
    on_epoch: Callable[[CloneEpoch], None],
    fit_statistics: bool = True,
) -> Clone:
    """Make the policy of `network` propose the labels of recorded steps, which are streamed.

    The unit of values is left alone: rewards of a record may be on another scale than those to come.

    Args:
        network: to train.
        sources: at least one.
        config: of the run; `config.bc` says which labels, and how much is in memory.
        split_seed: of the order in which units are held out.
        order_seed: of the order in which steps are handed out.
        generator: of the learner.
        on_epoch: called after every pass, as in `BCLearner.fit`.
        fit_statistics: whether the normalization is fitted to what is learned from.

    Returns:
        The clone, with the accuracies of the epochs, and of each unit that chose nothing.

    Raises:
        EmptyBatchError: if there is nothing to learn from, to choose by or to judge by.
        ShapeError: if the steps are of another vocabulary or other observations than the network's.
        TrajectoryError: if a source cannot be read, two do not go together, or a block is beyond the memory budget.
    """
    if network.state_size:
        learn = BCLearner(network, config=config.bc, generator=generator, device=config.device)
        return _clone_whole(
            network, sources, learn, config=config, split_seed=split_seed, on_epoch=on_epoch, fit=fit_statistics
        )
    steps = RecordedSteps.of(
        sources,
        config.bc,
        held_out=config.anneal.held_out_fraction,
        split_seed=split_seed,
        order_seed=order_seed,
    )
    _require_inputs(network, steps.train.schema)
    reward_sum = _measured(network, steps, fit=fit_statistics)
    learner = BCLearner(network, config=config.bc, generator=generator, device=config.device)
    result = learner.fit(steps.train, steps.choose, on_epoch=on_epoch)
    table = steps.train.table
    return Clone(
        result=_with(result, unit_accuracies(network, steps, config.bc)),
        num_trajectories=len(table),
        num_steps=int(table.lengths.sum()),
        reward_sum=reward_sum,
    )


def _clone_whole(
    network: ActorCritic,
    sources: Sequence[TrajectorySource],
    learner: BCLearner,
    *,
    config: TrainingConfig,
    split_seed: int,
    on_epoch: Callable[[CloneEpoch], None],
    fit: bool,
) -> Clone:
    """Clone as `clone_record` does with a network that remembers: trajectories stay whole, and all are in memory."""
    source, units = split_source(view_of(sources, config.bc), config.bc, seed=split_seed)
    _require_inputs(network, source.schema)
    batch = TrajectoryBatch.concatenate([source.load_block(block) for block in range(len(source.block_offsets) - 1)])
    split = split_units(units, fraction=config.anneal.held_out_fraction)
    train, choose, judge = (batch.filter_trajectories(part) for part in (split.train, split.choose, split.judge))
    if fit and network.config.normalize_observations != "none":
        network.fit_normalizer(train)
    result = learner.fit(train, choose, on_epoch=on_epoch)
    rows, is_right = right_labels(network, judge, config.bc)
    of_label = units[split.judge][judge.trajectory_of_row[rows]]
    num_labels = np.bincount(of_label)
    num_right = np.bincount(of_label, is_right).astype(np.float64, copy=False)
    accuracies = _shares(num_right, num_labels, num_trajectories=len(judge))
    return Clone(
        result=_with(result, accuracies),
        num_trajectories=len(batch),
        num_steps=batch.num_steps,
        reward_sum=float(batch.rewards.sum(dtype="float64")),
    )


def _require_inputs(network: ActorCritic, schema: TrajectorySchema) -> None:
    recorded = {name: spec.shape for name, spec in schema.observations.items()}
    for name, shape in network.observation_shapes.items():
        if recorded.get(name) != shape:
            came = f"{recorded[name]}" if name in recorded else f"absent (there are {', '.join(sorted(recorded))})"
            raise ShapeError(f"observation `{name}` must be {shape} in the record, got {came}")


def _measured(network: ActorCritic, steps: RecordedSteps, *, fit: bool) -> float:
    """Fit the normalization to the steps to learn from, where the network's config says so; the sum of all rewards."""
    moments = {name: RunningMoments(shape) for name, shape in network.input_shapes.items()}
    reward_sum = 0.0
    for part in steps.parts:
        for batch in opened(part).epoch(0):
            reward_sum += float(batch.rewards.sum(dtype="float64"))
            if part is steps.train:
                for name, running in moments.items():
                    running.add(np.asarray(batch.observations[name], np.float32))
    if fit and network.config.normalize_observations != "none":
        network.set_moments({name: running.moments for name, running in moments.items()})
    return reward_sum


def _with(result: CloneResult, accuracies: NDArray[np.float64]) -> CloneResult:
    return replace(result, accuracy=float(accuracies.mean()), episode_accuracies=tuple(accuracies.tolist()))


def _episode_of_trajectory(batch: TrajectoryBatch) -> tuple[NDArray[np.int64], int]:
    """Number the episodes of the worlds of `batch`: [B] in 0 .. E - 1, and E."""
    numbers = np.column_stack((batch.worlds, batch.episodes))
    found, episode = np.unique(numbers, axis=0, return_inverse=True)
    return episode, len(found)
