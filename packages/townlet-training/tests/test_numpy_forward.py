"""The forward pass in numpy beside torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from townlet_training.network.distributions import masked_log_softmax
from townlet_training.network.numpy_forward import array_trunk, log_softmax, side_by_side


def test_a_trunk_by_hand() -> None:
    # x = [1, 2]: z = [1 - 2 + 0.5, 2] = [-0.5, 2], ReLU [0, 2], head 3 * 0 + 1 * 2 - 1 = 1.
    layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    with torch.no_grad():
        layers[0].weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 1.0]]))
        layers[0].bias.copy_(torch.tensor([0.5, 0.0]))
        layers[2].weight.copy_(torch.tensor([[3.0, 1.0]]))
        layers[2].bias.copy_(torch.tensor([-1.0]))
    trunk = array_trunk(layers, is_tanh=False)
    seen = np.array([[1.0, 2.0]], np.float32)
    assert_array_equal(trunk(seen), [[1.0]])
    with torch.no_grad():
        layers[2].bias.add_(4.0)
    assert_array_equal(trunk(seen), [[5.0]])
    at_zero = array_trunk(layers, is_tanh=True)(np.zeros((1, 2), np.float32))
    assert_allclose(at_zero, [[3.0 * np.tanh(0.5) + 3.0]], rtol=1e-6)


def test_observations_side_by_side() -> None:
    parts = [np.array([[1.0], [2.0]], np.float32), np.arange(8, dtype=np.float32).reshape(2, 2, 2)]
    assert_array_equal(side_by_side(parts), [[1, 0, 1, 2, 3], [2, 4, 5, 6, 7]])
    assert side_by_side([part[:0] for part in parts]).shape == (0, 5)


@pytest.mark.property
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1e4), st.booleans())
def test_log_softmax_is_torchs(seed: int, spread: float, masked: bool) -> None:
    rng = np.random.default_rng(seed)
    logits = (spread * rng.normal(size=(5, 6))).astype(np.float32)
    mask = rng.random((5, 6)) < 0.5
    mask[:, 2] = True
    given_mask = mask if masked else None
    expected = masked_log_softmax(torch.from_numpy(logits.copy()), torch.from_numpy(mask) if masked else None).numpy()
    got = log_softmax(logits.copy(), given_mask)
    assert np.isfinite(got).all()
    legal = mask if masked else np.ones_like(mask)
    assert_allclose(got[legal], expected[legal], rtol=1e-5, atol=1e-5)
    assert (np.exp(got[~legal]) == 0.0).all()
