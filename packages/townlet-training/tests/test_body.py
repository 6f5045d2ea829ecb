"""What comes before the trunks: the same over fragments, in one step, and in numpy; and who shares what."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kinds import KINDS, PLAIN, mask_of, network_of, observations_of, tensors
from numpy.testing import assert_allclose
from torch.testing import assert_close

from townlet_training.errors import ConfigError, ShapeError
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_training.network.memory import Fragments

WITH_MEMORY = [kind for kind, (_, config) in KINDS.items() if config.memory != "none"]
LENGTHS = [4, 1, 3]


def acted(network: ActorCritic, seen: dict[str, np.ndarray], mask: np.ndarray | None, states: np.ndarray):
    """Brute force: fragment by fragment and tick by tick, as agents act; parameters, values, and the last states."""
    params, values, after, start = [], [], [], 0
    for length, state in zip(LENGTHS, states, strict=True):
        state = state[None]
        for row in range(start, start + length):
            legal = None if mask is None else mask[row : row + 1]
            now = {name: array[row : row + 1] for name, array in seen.items()}
            given, value, state = network.act(now, legal, state)
            params.append(given)
            values.append(value)
        after.append(state)
        start += length
    return np.concatenate(params), np.concatenate(values), np.concatenate(after)


@pytest.mark.parametrize("kind", WITH_MEMORY)
def test_a_batch_of_fragments_is_what_agents_did_tick_by_tick(kind: str) -> None:
    network = network_of(kind)
    seen = observations_of(network, sum(LENGTHS), seed=1)
    mask = mask_of(network, sum(LENGTHS), seed=2)
    states = np.random.default_rng(3).normal(size=(3, network.state_size)).astype(np.float32)
    params, values, after = acted(network, seen, mask, states)
    fragments = Fragments(torch.tensor([0, *np.cumsum(LENGTHS)]), torch.from_numpy(states))
    with torch.no_grad():
        features = network.body(network.encode(tensors(seen)), fragments)
        expected = network.params(features.policy, None if mask is None else torch.from_numpy(mask))
        scaled = network.scaled_values(features.critic)
    legal = np.ones_like(params, np.bool_) if mask is None else mask
    assert_allclose(params[legal], expected.numpy()[legal], rtol=0.0, atol=1e-5)
    assert_allclose(values, 2.5 * scaled.numpy(), rtol=0.0, atol=1e-5)
    assert features.states is not None and after.shape == (3, network.state_size)
    assert_allclose(after, features.states.numpy(), rtol=0.0, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_act_computes_what_the_learner_computes(kind: str) -> None:
    network = network_of(kind)
    seen, mask = observations_of(network, 7, seed=4), mask_of(network, 7, seed=5)
    encoded = network.encode(tensors(seen))
    if network.state_size:
        states = np.random.default_rng(6).normal(size=(7, network.state_size)).astype(np.float32)
        params, values, after = network.act(seen, mask, states)
        with torch.no_grad():
            features = network.body(encoded, Fragments.single_steps(torch.from_numpy(states)))
            stepped = network.body(encoded, torch.from_numpy(states))
        assert_close(stepped.policy, features.policy, rtol=0.0, atol=1e-6)
        assert_close(stepped.critic, features.critic, rtol=0.0, atol=1e-6)
        assert features.states is not None
        assert after.dtype == np.float32
        assert_allclose(after, features.states.numpy(), rtol=0.0, atol=1e-6)
    else:
        params, values = network.act(seen, mask)
        with torch.no_grad():
            features = network.body(encoded)
    assert params.dtype == values.dtype == np.float32
    with torch.no_grad():
        expected = network.params(features.policy, None if mask is None else torch.from_numpy(mask))
        expected_values = network.scaled_values(features.critic) * network.value_scale
    legal = np.ones_like(params, np.bool_) if mask is None else mask
    assert_allclose(params[legal], expected.numpy()[legal], rtol=1e-6, atol=1e-5)
    assert_allclose(values, expected_values.numpy(), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_input_and_every_weight_counts(kind: str) -> None:
    network = network_of(kind)
    seen = tensors(observations_of(network, 40, seed=7))
    states = torch.ones(40, network.state_size) if network.state_size else None
    encoded = network.encode(seen).requires_grad_()
    features = network.body(encoded, states)
    params = network.params(features.policy, None)
    probe = torch.randn(params.shape, generator=torch.Generator().manual_seed(0))
    probe[:, -1] *= 3.0
    (params * probe).sum().backward(retain_graph=True)
    num_own = sum(int(np.prod(shape)) for shape in network.observation_shapes.values())
    gradient = encoded.grad
    assert gradient is not None
    masks = [name for name in network.input_shapes if name.endswith("_mask")]
    reads = gradient.abs().sum(dim=0) > 0.0
    assert int(reads[:num_own].sum()) == num_own - sum(network.input_shapes[name][0] for name in masks)
    assert not reads[num_own:].any(), "the policy must not see what the critic alone sees"
    network.scaled_values(features.critic).sum().backward()
    assert (encoded.grad.abs().sum(dim=0) > 0.0)[num_own:].all()
    for name, weight in network.named_parameters():
        # A head's bias of the last of equal shares cannot be told apart: all others move something.
        assert weight.grad is not None and weight.grad.abs().sum() > 0.0, name


@pytest.mark.parametrize("kind", KINDS)
def test_separate_trunks_share_no_weight_and_shared_ones_do(kind: str) -> None:
    network = network_of(kind)
    seen = tensors(observations_of(network, 9, seed=8))
    states = torch.ones(9, network.state_size) if network.state_size else None
    network.scaled_values(network.body(network.encode(seen), states).critic).sum().backward()
    moved = {name for name, weight in network.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert network.critic_parameters.keys() <= moved
    assert bool(moved - network.critic_parameters.keys()) == network.shares_body
    assert set(network.policy_parameters) | set(network.critic_parameters) == set(dict(network.named_parameters()))
    assert not set(network.policy_parameters) & set(network.critic_parameters)
    network.zero_grad()
    params = network.params(network.body(network.encode(seen), states).policy, None)
    params[:, 0].sum().backward()
    moved = {name for name, weight in network.named_parameters() if weight.grad is not None}
    assert moved == set(network.policy_parameters)


def test_the_state_of_separate_memories_is_the_policys_first() -> None:
    network = network_of("gru")
    assert (network.state_size, network.policy_state_size) == (12, 6)
    seen = observations_of(network, 5, seed=9)
    state = np.zeros((5, 12), np.float32)
    params, values, after = network.act(seen, None, state)
    state[:, 6:] = 1.0
    same, other_values, other_after = network.act(seen, None, state)
    assert (same == params).all() and (other_values != values).all()
    assert (other_after[:, :6] == after[:, :6]).all() and (other_after[:, 6:] != after[:, 6:]).all()
    assert network_of("gru_shared").state_size == network_of("gru_shared").policy_state_size == 6
    # Two frames before the present one, of 4 numbers that the policy sees.
    assert network_of("frames").state_size == network_of("central_frames").state_size == 8


def test_a_body_is_only_there_where_it_is_asked_for() -> None:
    expected = {"plain", "parts", "clipped", "squashed", "critic_sizes", "uniform", "running"}
    assert {kind for kind in KINDS if network_of(kind).front is None} == expected
    without_weights = {kind for kind in KINDS if not network_of(kind).has_body}
    assert without_weights == expected | {"central", "frames", "central_frames"}


def test_a_memory_needs_its_states() -> None:
    network = network_of("gru")
    encoded = network.encode(tensors(observations_of(network, 3, seed=1)))
    with pytest.raises(ShapeError, match=r"a memory needs states \[3, 6\], got none"):
        network.body(encoded)
    with pytest.raises(ShapeError, match=r"a memory needs states \[3, 6\], got \(2, 6\)"):
        network.body(encoded, torch.zeros(2, 12))
    with pytest.raises(ShapeError, match=r"the memory of 3 agents must be \[3, 12\], got none"):
        network.act(observations_of(network, 3, seed=1), None)
    with pytest.raises(ShapeError, match=r"the memory of 3 agents must be \[3, 12\], got \(3, 6\)"):
        network.act(observations_of(network, 3, seed=1), None, np.zeros((3, 6), np.float32))


def test_a_memory_that_fits_no_policy_file_is_refused() -> None:
    spec = PLAIN
    config = NetworkConfig(memory="frames", memory_size=4096)
    wide = {"seen": (17,)}
    with pytest.raises(ConfigError, match=r"a memory of an agent may have 65536 numbers, got 69615"):
        ActorCritic(wide, len(spec.vocabulary), config, generator=torch.Generator().manual_seed(0))
