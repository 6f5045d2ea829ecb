"""Initial weights: orthogonal with a gain, uniform within a bound, from the generator alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from townlet_training.network.layers import Initialization, initialized, initialized_gru


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(initialization: Initialization, *, gain: float = 1.0, seed: int = 0) -> nn.Linear:
    return initialized(nn.Linear(25, 16, device="meta"), initialization, gain=gain, generator=generator(seed))


def test_orthogonal_weights_by_hand() -> None:
    # Rows of length 3 at right angles to each other; a convolution's filters too, flattened.
    layer = linear("orthogonal", gain=3.0)
    assert_close(layer.weight @ layer.weight.T, 9.0 * torch.eye(16), atol=1e-5, rtol=0.0)
    assert (layer.bias == 0.0).all()
    filters = initialized(
        nn.Conv2d(2, 4, 3, device="meta"), "orthogonal", gain=0.5, generator=generator()
    ).weight.flatten(start_dim=1)
    assert_close(filters @ filters.T, 0.25 * torch.eye(4), atol=1e-6, rtol=0.0)


def test_uniform_weights_fill_their_bound() -> None:
    # Of 25 inputs: ±0.2 times the gain, as torch's own `nn.Linear` has with gain 1.
    for gain in (1.0, 0.01):
        layer = linear("uniform", gain=gain)
        bound = 0.2 * gain
        for numbers in (layer.weight, layer.bias):
            assert numbers.abs().max() <= bound and numbers.abs().max() > 0.8 * bound
        assert abs(layer.weight.std().item() - bound / math.sqrt(3.0)) < 0.05 * bound
    filters = initialized(nn.Conv2d(1, 8, 5, device="meta"), "uniform", gain=1.0, generator=generator()).weight
    assert 0.19 < filters.abs().max() <= 0.2
    assert not initialized(nn.Linear(4, 4, bias=False, device="meta"), "uniform", gain=1.0, generator=generator()).bias


def test_a_gate_of_a_recurrent_unit_is_orthogonal() -> None:
    gru = initialized_gru(5, 8, "orthogonal", generator=generator())
    for gate in gru.weight_hh_l0.chunk(3):
        assert_close(gate @ gate.T, torch.eye(8), atol=1e-6, rtol=0.0)
    for gate in gru.weight_ih_l0.chunk(3):
        assert_close(gate.T @ gate, torch.eye(5), atol=1e-6, rtol=0.0)
    assert (gru.bias_ih_l0 == 0.0).all() and (gru.bias_hh_l0 == 0.0).all()


def test_a_uniform_recurrent_unit_is_torchs() -> None:
    # U(±1/√16) for every number.
    gru = initialized_gru(5, 16, "uniform", generator=generator())
    for weight in gru.parameters():
        assert 0.2 < weight.abs().max() <= 0.25


@pytest.mark.parametrize("initialization", ["orthogonal", "uniform"])
def test_the_generator_alone_decides(initialization: Initialization) -> None:
    state = torch.get_rng_state()
    first, again, other = (linear(initialization, seed=seed) for seed in (1, 1, 2))
    units = [initialized_gru(3, 4, initialization, generator=generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.weight, again.weight) and not torch.equal(first.weight, other.weight)
    assert torch.equal(units[0].weight_hh_l0, units[1].weight_hh_l0)
    assert not torch.equal(units[0].weight_hh_l0, units[2].weight_hh_l0)
