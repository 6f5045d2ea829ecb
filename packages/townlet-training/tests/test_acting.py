"""Acting in numpy, with the critic and without it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kinds import KINDS, network_of, observations_of
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from townlet_training.errors import NonFiniteError, ShapeError
from townlet_training.network.acting import PolicyAlone, require_inputs, side_by_side
from townlet_training.network.actor_critic import ActorCritic
from townlet_trajectory.evaluation.interfaces import CriticOptional, RecurrentActor


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_alone_acts_as_the_network_does(kind: str) -> None:
    network = network_of(kind)
    alone, seen = network.without_values(), observations_of(network, 5, seed=1)
    assert isinstance(network, CriticOptional) and alone.state_size == network.state_size
    if not network.state_size:
        params, values = alone.act(seen, None)
        assert values is None
        assert_array_equal(params, network.act(seen, None)[0])
        return
    assert isinstance(alone, RecurrentActor)
    state = np.ones((5, network.state_size), np.float32)
    params, values, after = alone.act(seen, None, state)
    assert values is None
    assert_array_equal(params, network.act(seen, None, state)[0])
    assert_array_equal(after, network.act(seen, None, state)[2])  # the memory of the critic too


def test_a_policy_alone_follows_the_weights_and_does_not_ask_the_critic() -> None:
    network = network_of("plain")
    alone, seen = PolicyAlone(network), observations_of(network, 5, seed=1)
    before = alone.act(seen, None)[0]
    with torch.no_grad():
        for weight in network.policy.parameters():
            weight.mul_(0.5)
        for weight in network.critic.parameters():
            weight.fill_(float("nan"))
    assert_array_equal(alone.act(seen, None)[0], network_of_policy(network, seen))
    assert not np.array_equal(alone.act(seen, None)[0], before)
    with pytest.raises(NonFiniteError, match="act: "):
        network.act(seen, None)


def network_of_policy(network: ActorCritic, seen: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Log-probabilities of a second network with the same policy and a critic of its own."""
    other = network_of("plain")
    other.policy.load_state_dict(network.policy.state_dict())
    return other.act(seen, None)[0]


def test_the_observations_that_were_shown_are_left_alone() -> None:
    network = network_of("plain")
    seen = observations_of(network, 5, seed=1)
    kept = {name: array.copy() for name, array in seen.items()}
    network.act(seen, None)
    for name, array in seen.items():
        assert_array_equal(array, kept[name])


def test_observations_side_by_side() -> None:
    parts = [np.array([[1.0], [2.0]], np.float32), np.arange(8, dtype=np.float32).reshape(2, 2, 2)]
    assert_array_equal(side_by_side(parts), [[1, 0, 1, 2, 3], [2, 4, 5, 6, 7]])
    assert side_by_side([part[:0] for part in parts]).shape == (0, 5)


def test_a_single_flat_observation_is_taken_as_it_is() -> None:
    flat = np.ones((2, 3), np.float32)
    assert side_by_side([flat]) is flat
    assert side_by_side([flat[:, ::-1]]).flags.c_contiguous
    assert side_by_side([flat.astype(np.float64)]).dtype == np.float32
    assert side_by_side([flat.reshape(2, 3, 1)]).shape == (2, 3)


def test_inputs_must_be_there_and_of_one_number_of_rows() -> None:
    shapes = {"a": (2,), "b": ()}
    require_inputs({"a": np.zeros((4, 2)), "b": torch.zeros(4), "c": np.zeros(1)}, shapes)
    with pytest.raises(ShapeError, match=r"observation `b` is missing, got \['a'\]"):
        require_inputs({"a": np.zeros((4, 2))}, shapes)
    with pytest.raises(ShapeError, match=r"observation `a` must be \[N, \(2,\)\], got \(4, 3\)"):
        require_inputs({"a": np.zeros((4, 3)), "b": np.zeros(4)}, shapes)
    with pytest.raises(ShapeError, match=r"observation `b` must be \[N, \(\)\], got \(\)"):
        require_inputs({"a": np.zeros((4, 2)), "b": np.zeros(())}, shapes)
    with pytest.raises(ShapeError, match=r"observation `b` must have 4 rows as others, got 3"):
        require_inputs({"a": np.zeros((4, 2)), "b": np.zeros(3)}, shapes)
