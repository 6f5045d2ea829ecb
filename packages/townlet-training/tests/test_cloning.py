"""The clone: its normalization, the use of each episode, and its accuracy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from corridor import HORIZON, RIGHT, SPEC, WAIT, CorridorCollector, network

from townlet_training.config import ONE_GROUP, TrainingConfig
from townlet_training.errors import EmptyBatchError
from townlet_training.learning.batch import freeze_statistics
from townlet_training.learning.config import BCConfig
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.weights import weights_sha256
from townlet_training.run.cloning import clone_script, episode_accuracies, split_episodes
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.evaluation.results import CloneEpoch, CloneResult


def scripted_batch(num_worlds: int, num_ticks: int) -> TrajectoryBatch:
    return CorridorCollector(num_worlds, seed=3).collect(None, num_ticks=num_ticks, ratio=0.0).batches[ONE_GROUP]


def episodes(batch: TrajectoryBatch) -> set[tuple[int, int]]:
    return set(zip(batch.worlds.tolist(), batch.episodes.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_no_part_of_the_split_is_empty_however_few_episodes(seed: int) -> None:
    batch = scripted_batch(3, HORIZON)
    parts = split_episodes(batch, fraction=0.1, seed=seed)
    assert [len(part) for part in parts] == [1, 1, 1]
    assert set.union(*map(episodes, parts)) == episodes(batch)


@pytest.mark.parametrize(
    ("fraction", "sizes"), [(0.2, (24, 2, 4)), (0.5, (15, 5, 10)), (0.01, (28, 1, 1)), (0.99, (1, 10, 19))]
)
def test_thirty_episodes_are_split_by_their_use(fraction: float, sizes: tuple[int, int, int]) -> None:
    batch = scripted_batch(10, 3 * HORIZON)
    parts = split_episodes(batch, fraction=fraction, seed=4)
    assert tuple(len(episodes(part)) for part in parts) == sizes
    assert sum(part.num_steps for part in parts) == batch.num_steps
    assert len(set.union(*map(episodes, parts))) == 30
    assert episodes(split_episodes(batch, fraction=fraction, seed=5).train) != episodes(parts.train)


def test_agents_of_one_episode_are_on_one_side() -> None:
    single = scripted_batch(3, HORIZON)
    batch = TrajectoryBatch.concatenate([single, single])
    for part in split_episodes(batch, fraction=0.3, seed=1):
        assert len(part) == 2 * len(episodes(part))


def test_two_episodes_cannot_be_split() -> None:
    with pytest.raises(EmptyBatchError, match="2 scripted episodes cannot be split"):
        split_episodes(scripted_batch(2, HORIZON), fraction=0.2, seed=1)


def test_the_accuracy_of_each_episode_by_hand() -> None:
    own, batch = network(), scripted_batch(2, HORIZON)
    seen = {name: batch.observations[name] for name in SPEC.observation_shapes}
    log_probs, _ = own.act(seen, batch.observations["action_mask"])
    likely = log_probs.argmax(axis=1)
    # In the first episode 6 of 24 labels are wrong; in the second there are 10 labels, of which 1 is wrong.
    actions = likely.copy()
    changed = [*range(6), HORIZON]
    actions[changed] = np.where(likely[changed] == RIGHT, WAIT, RIGHT)
    wrong = actions != likely
    assert wrong[:HORIZON].sum() == 6 and wrong[HORIZON:].sum() == 1
    actions[HORIZON + 10 :] = -1
    labelled = replace(batch, columns={**batch.columns, "expert_action": actions})
    np.testing.assert_allclose(episode_accuracies(own, labelled, BCConfig()), [18 / 24, 9 / 10])
    without = replace(batch, columns={**batch.columns, "expert_action": np.full(len(actions), -1)})
    with pytest.raises(EmptyBatchError, match="the 2 trajectories to judge by have no label"):
        episode_accuracies(own, without, BCConfig())


def clone(own: ActorCritic, batch: TrajectoryBatch, epochs: list[CloneEpoch] | None = None, **bc: float) -> CloneResult:
    return clone_script(
        own,
        batch,
        config=TrainingConfig(seed=1, bc=BCConfig(**bc)),
        split_seed=6,
        generator=torch.Generator().manual_seed(2),
        on_epoch=[].append if epochs is None else epochs.append,
    ).result


def test_the_clone_does_what_the_script_does() -> None:
    own = network(hidden_sizes=(16,))
    batch = scripted_batch(8, 2 * HORIZON)
    epochs: list[CloneEpoch] = []
    result = clone(own, batch, epochs, num_epochs=5, learning_rate=1e-2)
    assert tuple(epochs) == result.epochs
    # Of 16 episodes 3 are held out, and 2 of them judge.
    assert (result.accuracy, result.episode_accuracies) == (1.0, (1.0, 1.0))
    assert (result.num_labels, result.num_held_out) == (13 * HORIZON, HORIZON)
    seen = {name: batch.observations[name] for name in SPEC.observation_shapes}
    log_probs, _ = own.act(seen, batch.observations["action_mask"])
    clock = seen["clock"].argmax(axis=1)
    np.testing.assert_array_equal(log_probs.argmax(axis=1), np.where(clock % 2 == 0, RIGHT, WAIT))


def test_nothing_held_out_is_learned_from() -> None:
    batch = scripted_batch(8, 2 * HORIZON)
    train, choose, judge = split_episodes(batch, fraction=0.2, seed=6)
    expected, own = network(), network()
    freeze_statistics(expected, train, discount=TrainingConfig(seed=1).ppo.discount)
    clone(own, batch, num_epochs=1)
    for name in ("observation_mean", "observation_std", "value_scale"):
        np.testing.assert_array_equal(own.get_buffer(name).numpy(), expected.get_buffer(name).numpy())
    for held_out in (choose, judge):
        other = network()
        freeze_statistics(other, TrajectoryBatch.concatenate([train, held_out]), discount=1.0)
        assert not np.array_equal(own.get_buffer("observation_mean"), other.get_buffer("observation_mean"))


def test_the_episodes_that_judge_choose_nothing() -> None:
    # Their labels are all wrong: the epochs and the weights stay the same, the accuracy does not.
    batch = scripted_batch(8, 2 * HORIZON)
    judge = episodes(split_episodes(batch, fraction=0.2, seed=6).judge)
    judges = np.array([key in judge for key in zip(batch.worlds.tolist(), batch.episodes.tolist(), strict=True)])
    actions = batch.columns["expert_action"].copy()
    of_judges = judges[batch.trajectory_of_row]
    actions[of_judges] = np.where(actions[of_judges] == RIGHT, WAIT, RIGHT)
    wrong = replace(batch, columns={**batch.columns, "expert_action": actions})
    first, second = network(hidden_sizes=(16,)), network(hidden_sizes=(16,))
    right = clone(first, batch, num_epochs=5, learning_rate=1e-2)
    misled = clone(second, wrong, num_epochs=5, learning_rate=1e-2)
    assert right.epochs == misled.epochs
    assert weights_sha256(first) == weights_sha256(second)
    assert (right.accuracy, misled.accuracy) == (1.0, 0.0)
