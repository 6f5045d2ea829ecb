"""What the clone is made from."""

import numpy as np
import pytest
import torch
from corridor import CLOCK, HORIZON, NUM_CELLS, RIGHT, SPEC, WAIT, CorridorCollector, network

from townlet_training.config import TrainingConfig
from townlet_training.errors import EmptyBatchError
from townlet_training.learning.bc import BCConfig
from townlet_training.network.actor_critic import NetworkConfig
from townlet_training.run.cloning import clone_script, freeze_statistics, split_episodes
from townlet_training.run.group_names import ONE_GROUP
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.evaluation.results import CloneEpoch


def scripted_batch(num_worlds: int, num_ticks: int) -> TrajectoryBatch:
    return CorridorCollector(num_worlds, seed=3).collect(None, num_ticks=num_ticks, ratio=0.0).batches[ONE_GROUP]


def episodes(batch: TrajectoryBatch) -> set[tuple[int, int]]:
    return set(zip(batch.worlds.tolist(), batch.episodes.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_no_side_of_the_split_is_empty_however_few_episodes(seed: int) -> None:
    batch = scripted_batch(2, HORIZON)
    train, held_out = split_episodes(batch, fraction=0.1, seed=seed, group=ONE_GROUP)
    assert len(train) == len(held_out) == 1
    assert episodes(train) | episodes(held_out) == episodes(batch)
    assert not episodes(train) & episodes(held_out)


def test_one_episode_cannot_be_split() -> None:
    with pytest.raises(EmptyBatchError, match="the 1 scripted trajectories could not be split"):
        split_episodes(scripted_batch(1, HORIZON), fraction=0.2, seed=1, group=ONE_GROUP)


def test_statistics_are_those_of_the_batch() -> None:
    own = network()
    batch = scripted_batch(4, HORIZON)
    freeze_statistics(own, batch, discount=1.0)
    inputs = np.concatenate([batch.observations[name] for name in sorted(SPEC.observation_shapes)], axis=1)
    np.testing.assert_allclose(own.observation_mean.numpy(), inputs.mean(axis=0), atol=1e-6)
    to_go = np.concatenate([rewards[::-1].cumsum()[::-1] for rewards in np.split(batch.rewards, batch.offsets[1:-1])])
    assert own.value_scale.item() == pytest.approx(np.sqrt(np.mean(to_go**2)), rel=1e-5)


def test_statistics_of_a_clone_are_those_of_the_episodes_it_learns_from() -> None:
    own, twin = network(), network()
    batch = scripted_batch(4, 2 * HORIZON)
    config = TrainingConfig(seed=3, total_env_steps=1, bc=BCConfig(num_epochs=1))
    clone_script(own, batch, config=config, group=ONE_GROUP, on_epoch=lambda epoch: None)
    fraction = config.anneal.held_out_fraction
    train, held_out = split_episodes(batch, fraction=fraction, seed=3, group=ONE_GROUP)
    statistics = []
    for part in (train, held_out, batch):
        freeze_statistics(twin, part, discount=config.ppo.discount)
        statistics.append((twin.observation_mean.tolist(), twin.observation_std.tolist(), twin.value_scale.item()))
    mine = (own.observation_mean.tolist(), own.observation_std.tolist(), own.value_scale.item())
    assert [mine == each for each in statistics] == [True, False, False]


def test_numbers_stay_as_they_come_where_the_network_says_so() -> None:
    config = NetworkConfig(hidden_sizes=(8,), normalize_observations="none", value_scale="none")
    own = network(config=config)
    freeze_statistics(own, scripted_batch(4, HORIZON), discount=1.0)
    assert own.value_scale.item() == 1.0
    large = {"cell": torch.full((1, NUM_CELLS), 30.0), "clock": torch.full((1, CLOCK), -0.25)}
    # Not shifted, not scaled, and not clipped to 10 either.
    np.testing.assert_array_equal(own.encode(large).numpy(), [[30.0] * NUM_CELLS + [-0.25] * CLOCK])


def test_the_clone_does_what_the_script_does() -> None:
    own = network(hidden_sizes=(16,))
    batch = scripted_batch(8, 2 * HORIZON)
    config = TrainingConfig(seed=1, total_env_steps=1, bc=BCConfig(num_epochs=5, learning_rate=1e-2))
    epochs: list[CloneEpoch] = []
    result = clone_script(own, batch, config=config, group=ONE_GROUP, on_epoch=epochs.append)
    assert tuple(epochs) == result.epochs
    assert result.accuracy == 1.0
    assert result.num_labels + result.num_held_out == batch.num_steps
    seen = {name: batch.observations[name] for name in SPEC.observation_shapes}
    log_probs, _ = own.act(seen, batch.observations["action_mask"])
    clock = seen["clock"].argmax(axis=1)
    np.testing.assert_array_equal(log_probs.argmax(axis=1), np.where(clock % 2 == 0, RIGHT, WAIT))
