"""Running statistics are those of all rows so far, whatever the cycles, and values stay when their unit changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kinds import CENTRAL, PLAIN, SEEING, SMALL
from numpy.testing import assert_allclose, assert_array_equal
from strategies import batch_of

from townlet_training.errors import ConfigError
from townlet_training.learning.batch import freeze_statistics, update_statistics
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_training.network.spec import PolicySpec
from townlet_training.network.statistics import Spread, pooled
from townlet_training.network.weights import set_weights, weights_of
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.data.statistics import Moments

RUNNING = replace(SMALL, normalize_observations="running", value_scale="running")


def network_of(spec: PolicySpec = PLAIN, config: NetworkConfig = RUNNING) -> ActorCritic:
    return ActorCritic.of(spec, config, generator=torch.Generator().manual_seed(0))


def cycle(network: ActorCritic, length: int, *, seed: int, scale: float = 1.0) -> TrajectoryBatch:
    rng = np.random.default_rng(seed)
    seen = {
        name: (scale * rng.normal(loc=seed, scale=1.0 + seed, size=(length, *shape))).astype(np.float32)
        for name, shape in network.input_shapes.items()
    }
    rewards = scale * rng.normal(size=length)
    return batch_of(lengths=[length], rewards=rewards, terminated=[True], num_actions=3, observations=seen)


def columns_of(network: ActorCritic, *batches: TrajectoryBatch) -> np.ndarray:
    """All rows of all inputs side by side, float64."""
    parts = [
        np.concatenate([batch.observations[name].reshape(batch.num_steps, -1) for batch in batches])
        for name in network.input_shapes
    ]
    return np.concatenate(parts, axis=1).astype(np.float64)


def test_two_sets_by_hand() -> None:
    # 1, 3 and 5: means 2 of two rows and 5 of one; 3 and 8/3 of all three.
    first, second = Spread(2, np.array([2.0]), np.array([1.0])), Spread(1, np.array([5.0]), np.array([0.0]))
    both = first.merged(second)
    assert (both.rows, both.mean.tolist()) == (3, [3.0])
    assert_allclose(both.variance, [8.0 / 3.0])
    nothing = Spread.of_nothing(1)
    assert first.merged(nothing) is first and nothing.merged(first) is first


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 50))
def test_running_statistics_are_those_of_all_rows(lengths: list[int], seed: int) -> None:
    network = network_of(CENTRAL)
    batches = [cycle(network, length, seed=seed + index) for index, length in enumerate(lengths)]
    freeze_statistics(network, batches[0], discount=0.9)
    for batch in batches[1:]:
        update_statistics(network, batch, discount=0.9)
    rows = columns_of(network, *batches)
    std = rows.std(axis=0)
    assert_allclose(network.observation_mean.numpy(), rows.mean(axis=0), rtol=1e-4, atol=1e-4)
    assert_allclose(network.observation_std.numpy(), np.where(std < 1e-6, 1.0, std), rtol=1e-3, atol=1e-4)
    assert int(network.running_count) == int(network.value_count) == sum(lengths)


def test_the_unit_of_values_by_hand_and_values_that_stay() -> None:
    # Single steps of rewards 3 and 4, 4, 4: sqrt((9 + 3 · 16) / 4) = sqrt(57) / 2.
    network = network_of()
    seen = cycle(network, 5, seed=1).observations
    first = batch_of(
        lengths=[1], rewards=[3.0], terminated=[True], observations={name: array[:1] for name, array in seen.items()}
    )
    more = batch_of(
        lengths=[1, 1, 1],
        rewards=[4.0] * 3,
        terminated=[True] * 3,
        observations={name: array[1:4] for name, array in seen.items()},
    )
    freeze_statistics(network, first, discount=0.9)
    assert float(network.value_scale) == 3.0
    with torch.no_grad():
        network.critic.linear_layers()[-1].bias.fill_(2.0)
    encoded = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))

    def values() -> torch.Tensor:
        with torch.no_grad():
            return network.scaled_values(encoded) * network.value_scale

    before, outputs = values(), network.outputs(encoded).detach().clone()
    update_statistics(network, more, discount=0.9)
    assert float(network.value_scale) == pytest.approx(np.sqrt(57.0) / 2.0)
    torch.testing.assert_close(values(), before, rtol=1e-6, atol=1e-6)
    assert torch.equal(network.outputs(encoded), outputs)


def test_nothing_runs_on_that_is_frozen_or_off() -> None:
    for kind in ("frozen", "none"):
        network = network_of(config=replace(SMALL, normalize_observations=kind, value_scale=kind))
        freeze_statistics(network, cycle(network, 6, seed=1), discount=0.9)
        before = weights_of(network)
        assert not network.has_running_statistics
        update_statistics(network, cycle(network, 6, seed=4), discount=0.9)
        network.update_statistics(cycle(network, 6, seed=4), return_scale=9.0)
        assert all(torch.equal(before[name], weight) for name, weight in weights_of(network).items())
        names = {"running_mean", "running_variance", "running_count", "value_count"}
        assert not names & before.keys()


def test_running_statistics_go_on_where_they_were_saved() -> None:
    network, resumed = network_of(), network_of()
    freeze_statistics(network, cycle(network, 6, seed=1), discount=0.9)
    update_statistics(network, cycle(network, 4, seed=2), discount=0.9)
    set_weights(resumed, weights_of(network))
    for each in (network, resumed):
        update_statistics(each, cycle(network, 5, seed=3), discount=0.9)
    assert all(torch.equal(weights_of(resumed)[name], weight) for name, weight in weights_of(network).items())
    # A policy that another run goes on with is not fitted anew, but runs on.
    resumed.keeps_statistics = True
    freeze_statistics(resumed, cycle(network, 9, seed=8), discount=0.9)
    assert_array_equal(resumed.observation_mean, network.observation_mean)
    update_statistics(resumed, cycle(network, 9, seed=8), discount=0.9)
    assert int(resumed.running_count) == 24 and not torch.equal(resumed.observation_mean, network.observation_mean)


def test_moments_are_as_good_as_rows() -> None:
    by_rows, by_moments = network_of(SEEING), network_of(SEEING)
    batch = cycle(by_rows, 12, seed=2)
    by_rows.fit_normalizer(batch)
    by_moments.set_moments({name: Moments.of(array) for name, array in batch.observations.items()})
    assert_allclose(by_moments.observation_mean, by_rows.observation_mean, rtol=1e-5, atol=1e-6)
    assert_allclose(by_moments.observation_std, by_rows.observation_std, rtol=1e-5)
    assert int(by_moments.running_count) == 12


def test_pixels_of_a_channel_and_things_have_one_mean_and_deviation() -> None:
    network = network_of(SEEING, SMALL)
    rng = np.random.default_rng(0)
    present = (rng.random((50, 6)) < 0.4).astype(np.float32)
    present[:, 5] = 0.0
    near = rng.normal(loc=3.0, scale=2.0, size=(50, 6, 3)).astype(np.float32) * present[..., None]
    seen = {
        "around": rng.normal(loc=[[[1.0]], [[-2.0]]], scale=[[[1.0]], [[3.0]]], size=(50, 2, 4, 5)).astype(np.float32),
        "near": near,
        "near_mask": present,
        "self": rng.normal(size=(50, 3)).astype(np.float32),
    }
    network.fit_normalizer(
        batch_of(lengths=[50], rewards=np.zeros(50), terminated=[True], num_actions=3, observations=seen)
    )
    mean, std = network.observation_mean.numpy(), network.observation_std.numpy()
    for channel in range(2):
        pixels = seen["around"][:, channel]
        assert_allclose(mean[20 * channel : 20 * (channel + 1)], pixels.mean(), rtol=1e-4)
        assert_allclose(std[20 * channel : 20 * (channel + 1)], pixels.std(), rtol=1e-4)
    there = near[present > 0.5]
    assert_allclose(mean[40:58].reshape(6, 3), np.tile(there.mean(axis=0), (6, 1)), rtol=1e-4)
    assert_allclose(std[40:58].reshape(6, 3), np.tile(there.std(axis=0), (6, 1)), rtol=1e-4)
    assert (mean[58:64] == 0.0).all() and (std[58:64] == 1.0).all()
    assert_allclose(std[64:], seen["self"].std(axis=0), rtol=1e-4)
    encoded = network.encode({name: torch.from_numpy(array) for name, array in seen.items()})
    assert_array_equal(encoded[:, 58:64].numpy(), present)


def test_a_table_in_which_nothing_was_ever_seen_is_left_as_it_is() -> None:
    mean, variance = pooled(
        np.zeros(6), np.zeros(6), shapes={"near": (2, 2), "near_mask": (2,)}, kinds={"near": "attention"}
    )
    assert mean.tolist() == [0.0] * 6 and variance.tolist() == [1.0] * 6


def test_a_unit_that_is_none_is_refused() -> None:
    network = network_of()
    with pytest.raises(ConfigError, match="`scale` must be finite and above 0"):
        network.update_statistics(cycle(network, 3, seed=1), return_scale=float("inf"))
