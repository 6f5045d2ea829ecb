"""A trunk computes the equation at the head of its module, and added blocks change nothing until they learn."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn
from torch.testing import assert_close

from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import Initialization, NetworkConfig
from townlet_training.network.trunk import Tanh, Trunk, array_trunk, initialized, initialized_gru


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trunk_of(
    inputs: list[list[int]], outputs: list[list[int]], *, activation: str = "relu", hidden: tuple[int, ...] = (2,)
) -> Trunk:
    config = NetworkConfig(hidden_sizes=hidden, activation="tanh" if activation == "tanh" else "relu")
    return Trunk(inputs, outputs, config, hidden_sizes=hidden, head_gain=1.0, generator=generator())


def set_to(trunk: Trunk, **weights: list[float] | list[list[float]]) -> None:
    """Set parameters by name, `__` for a dot."""
    parameters = dict(trunk.named_parameters())
    with torch.no_grad():
        for name, value in weights.items():
            parameters[name.replace("__", ".").lstrip("_")].copy_(torch.tensor(value))


def test_both_activations_by_hand() -> None:
    inputs = torch.tensor([-100.0, -1.0, 0.0, 1e-3, 2.0, 100.0], dtype=torch.float32)
    assert_close(Tanh()(inputs), torch.tanh(inputs), atol=2e-7, rtol=0.0)
    config = NetworkConfig(hidden_sizes=(1,), activation="relu")
    network = ActorCritic({"x": (1,)}, 1, config, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for weight, value in zip(network.critic.parameters(), (2.0, 1.0, 3.0, 0.5), strict=True):
            weight.fill_(value)
    # 3 · max(2 x + 1, 0) + 0.5
    assert_close(network.scaled_values(torch.tensor([[1.0], [-2.0]])) * network.value_scale, torch.tensor([9.5, 0.5]))
    assert_allclose(network.act({"x": np.array([[1.0], [-2.0]], np.float32)}, None)[1], [9.5, 0.5])


def test_a_trunk_by_hand() -> None:
    # relu([1·1 + 2·1 + 0.5, 1·1 - 2·1]) = [3.5, 0];  3·3.5 + 0 - 1 = 9.5
    trunk = trunk_of([[0, 1]], [[0]])
    set_to(trunk, _0__weight=[[1.0, 1.0], [1.0, -1.0]], _0__bias=[0.5, 0.0], _2__weight=[[3.0, 1.0]], _2__bias=[-1.0])
    acts = array_trunk(trunk, is_tanh=False)
    seen = np.array([[1.0, 2.0]], np.float32)
    assert_array_equal(acts(seen), [[9.5]])
    assert trunk(torch.from_numpy(seen)).tolist() == [[9.5]]
    set_to(trunk, _2__bias=[3.0])
    assert_array_equal(acts(seen), [[13.5]])
    at_zero = array_trunk(trunk, is_tanh=True)(np.zeros((1, 2), np.float32))
    assert_allclose(at_zero, [[3.0 * np.tanh(0.5) + 3.0]], rtol=1e-6)


def test_a_plain_trunk_has_its_layers_alone_in_its_state() -> None:
    names = ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert list(trunk_of([[0, 1]], [[0]]).state_dict()) == names
    # Of another order it has to say which.
    assert list(trunk_of([[1, 0]], [[0]]).state_dict()) == ["columns", *names]


def test_added_blocks_by_hand() -> None:
    # Inputs [a, n, b]: a and b feed the layers as [b, a], n was added. Outputs: x, then the added y and z; shown z x y.
    trunk = trunk_of([[2, 0], [1]], [[1], [2, 0]])
    set_to(
        trunk,
        _0__weight=[[1.0, 10.0], [0.0, 1.0]],
        _0__bias=[0.5, 0.0],
        added_inputs__1__weight=[[100.0], [-1.0]],
        _2__weight=[[1.0, 1.0]],
        _2__bias=[0.25],
        added_outputs__1__weight=[[2.0, 0.0], [0.0, 1.0]],
        added_outputs__1__bias=[0.0, -7.0],
    )
    seen = np.array([[1.0, 2.0, 3.0]], np.float32)
    # h = relu([3 + 10·1 + 0.5 + 100·2, 1 - 1·2]) = [213.5, 0];  x = 213.75, y = 427, z = -7
    expected = [[-7.0, 213.75, 427.0]]
    assert trunk(torch.from_numpy(seen)).tolist() == expected
    assert array_trunk(trunk, is_tanh=False)(seen).tolist() == expected


def test_added_blocks_begin_at_zero_and_draw_nothing() -> None:
    plain, more = trunk_of([[0, 1]], [[0]]), trunk_of([[0, 1], [2]], [[0], [1]])
    for name, tensor in plain.state_dict().items():
        assert torch.equal(more.state_dict()[name], tensor)
    added = {name for name in more.state_dict() if name.startswith("added")}
    assert added == {
        "added_inputs.1.columns",
        "added_inputs.1.weight",
        "added_outputs.1.weight",
        "added_outputs.1.bias",
    }
    assert all(not more.state_dict()[name].any() for name in added if not name.endswith("columns"))


def test_added_weights_of_zero_learn() -> None:
    trunk = trunk_of([[0, 1], [2]], [[0], [1]])
    trunk(torch.tensor([[1.0, 2.0, 3.0]])).sum().backward()
    for name, parameter in trunk.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.any() or name.startswith("0"), name


def test_both_forward_passes_agree_with_blocks() -> None:
    trunk = trunk_of([[4, 1], [0, 3], [2]], [[2, 0], [3], [1]], activation="tanh", hidden=(5, 4))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in trunk.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    seen = torch.randn(9, 5, generator=generator)
    outputs = array_trunk(trunk, is_tanh=True)(seen.numpy())
    assert outputs.shape == (9, 4)
    assert_allclose(outputs, trunk(seen).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_the_layers_by_kind() -> None:
    trunk = trunk_of([[0]], [[0], [1]], hidden=(3, 2))
    assert [(layer.in_features, layer.out_features) for layer in trunk.linear_layers()] == [(1, 3), (3, 2), (2, 1)]
    added = trunk.added_actions(1)
    assert added is not None and added.out_features == 1
    assert trunk.added_actions(2) is None


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


def test_layers_get_memory_without_the_compiler() -> None:
    code = "import sys, torch; from townlet_training import ActorCritic, NetworkConfig; "
    code += "config = NetworkConfig(hidden_sizes=(4,), memory='gru', encoders={'seen': 'conv'}); "
    code += "ActorCritic({'seen': (1, 5, 5)}, 2, config, generator=torch.Generator().manual_seed(0)); "
    code += "raise SystemExit(str({'sympy', 'torch._dynamo'} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
