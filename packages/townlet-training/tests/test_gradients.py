"""The gradient of a trunk in closed form: by hand, and as torch finds it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from townlet_training.network.config import Activation, NetworkConfig
from townlet_training.network.gradients import TrunkGradient
from townlet_training.network.trunk import Trunk


def trunk_of(sizes: list[int], activation: Activation = "tanh", *, seed: int = 0) -> Trunk:
    """A trunk whose biases are not 0, and its layers of `sizes`, inputs and outputs included."""
    generator = torch.Generator().manual_seed(seed)
    blocks = [list(range(size)) for size in (sizes[0], sizes[-1])]
    config = NetworkConfig(activation=activation, initialization="uniform")
    return Trunk([blocks[0]], [blocks[1]], config, hidden_sizes=sizes[1:-1], head_gain=1.0, generator=generator)


def gradients_of(trunk: Trunk) -> dict[str, torch.Tensor]:
    """Memory for a gradient; numbers that were there before do not count."""
    return {name: torch.full_like(weight, 7.0) for name, weight in trunk.named_parameters()}


def by_torch(
    trunk: Trunk, inputs: NDArray[np.float32], slopes: NDArray[np.float32]
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]], NDArray[np.float32]]:
    """Outputs, gradients by name and ∂loss/∂x, of a loss with these slopes."""
    seen = torch.from_numpy(inputs).requires_grad_()
    outputs = trunk(seen)
    names, weights = zip(*trunk.named_parameters(), strict=True)
    *found, down = torch.autograd.grad(outputs, [*weights, seen], torch.from_numpy(slopes))
    return outputs.detach().numpy(), {n: g.numpy() for n, g in zip(names, found, strict=True)}, down.numpy()


def test_two_layers_by_hand() -> None:
    # x = 1, w = 1/2, b = 0: h = tanh(1/2), h' = 1 - h². v = 3, c = 1: y = 3 h + 1. Of the slope 2 at y:
    # ∂v = 2 h, ∂c = 2, ∂w = ∂b = 2 · 3 · h', ∂x = ∂b / 2.
    trunk = trunk_of([1, 1, 1])
    with torch.no_grad():
        for name, value in (("0.weight", 0.5), ("0.bias", 0.0), ("2.weight", 3.0), ("2.bias", 1.0)):
            trunk.get_parameter(name).fill_(value)
    gradients = gradients_of(trunk)
    gradient = TrunkGradient(trunk, gradients, is_tanh=True)
    hidden = np.tanh(0.5)
    assert gradient.outputs(np.ones((1, 1), np.float32)).item() == pytest.approx(3.0 * hidden + 1.0)
    down = gradient.descend(np.full((1, 1), 2.0, np.float32), to_inputs=True)
    slope = 6.0 * (1.0 - hidden**2)
    assert gradients["2.weight"].item() == pytest.approx(2.0 * hidden) and gradients["2.bias"].item() == 2.0
    assert gradients["0.weight"].item() == pytest.approx(slope) and gradients["0.bias"].item() == pytest.approx(slope)
    assert down is not None and down.item() == pytest.approx(slope / 2.0)


def test_a_unit_that_is_not_active_has_no_slope() -> None:
    trunk = trunk_of([1, 2, 1], "relu")
    with torch.no_grad():
        trunk.get_parameter("0.weight").copy_(torch.tensor([[1.0], [-1.0]]))
        trunk.get_parameter("0.bias").zero_()
    gradients = gradients_of(trunk)
    gradient = TrunkGradient(trunk, gradients, is_tanh=False)
    gradient.outputs(np.full((1, 1), 2.0, np.float32))
    assert gradient.descend(np.ones((1, 1), np.float32)) is None
    assert gradients["0.bias"][1].item() == 0.0 and gradients["2.weight"].tolist() == [[2.0, 0.0]]
    assert gradients["0.bias"][0].item() == trunk.get_parameter("2.weight")[0, 0].item()


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    num_rows=st.lists(st.integers(1, 20), min_size=1, max_size=3),
    activation=st.sampled_from(["tanh", "relu"]),
    seed=st.integers(0, 99),
)
def test_gradients_are_those_of_torch(sizes: list[int], num_rows: list[int], activation: Activation, seed: int) -> None:
    # Minibatches of several sizes share the memory of one.
    trunk, rng = trunk_of(sizes, activation, seed=seed), np.random.default_rng(seed)
    gradients = gradients_of(trunk)
    gradient = TrunkGradient(trunk, gradients, is_tanh=activation == "tanh")
    for rows in num_rows:
        inputs, slopes = (rng.normal(size=(rows, size)).astype(np.float32) for size in (sizes[0], sizes[-1]))
        outputs, expected, expected_down = by_torch(trunk, inputs, slopes)
        assert_allclose(gradient.outputs(inputs), outputs, rtol=1e-5, atol=1e-5)
        # Slopes may lie in memory in either order.
        down = gradient.descend(np.asfortranarray(slopes), to_inputs=True)
        assert_allclose(down, expected_down, rtol=1e-4, atol=1e-5)
        for name, found in gradients.items():
            assert_allclose(found.numpy(), expected[name], rtol=1e-4, atol=1e-5)


def test_weights_that_change_in_place_are_followed() -> None:
    trunk = trunk_of([2, 3, 1])
    gradient = TrunkGradient(trunk, gradients_of(trunk), is_tanh=True)
    seen = np.ones((1, 2), np.float32)
    before = gradient.outputs(seen)
    with torch.no_grad():
        trunk.get_parameter("2.bias").add_(1.0)
    assert gradient.outputs(seen) == pytest.approx(before + 1.0)
