"""The digest of weights, and weights that fit."""

import hashlib

import numpy as np
import pytest
import torch
from corridor import network

from townlet_training.errors import NonFiniteError, ShapeError
from townlet_training.network.weights import (
    aligned,
    lay_side_by_side,
    places_of,
    require_finite,
    set_weights,
    weights_digest,
    weights_of,
    weights_sha256,
)


def test_the_digest_by_hand() -> None:
    tensors = {"b": torch.tensor([1.0]), "a": torch.tensor([[2, 3]], dtype=torch.int64)}
    expected = hashlib.sha256()
    expected.update(b'["a","i8",[1,2]]\n' + (2).to_bytes(8, "little") + (3).to_bytes(8, "little"))
    expected.update(b'["b","f4",[1]]\n' + bytes([0, 0, 0x80, 0x3F]))
    assert weights_digest(tensors) == expected.hexdigest()


def test_the_digest_sees_names_dtypes_shapes_and_numbers() -> None:
    base = {"a": torch.zeros(4)}
    others = [
        {"b": torch.zeros(4)},
        {"a": torch.zeros(4, dtype=torch.int32)},
        {"a": torch.zeros(2, 2)},
        {"a": torch.tensor([0.0, 0.0, 0.0, -0.0])},
        {"a": torch.zeros(4), "b": torch.zeros(0)},
    ]
    assert len({weights_digest(each) for each in [base, *others]}) == 6


def test_the_digest_does_not_see_order_or_memory_layout() -> None:
    matrix = torch.arange(6.0).reshape(2, 3)
    first = {"a": matrix, "b": torch.ones(1)}
    second = {"b": torch.ones(1), "a": matrix.T.contiguous().T}
    assert weights_digest(first) == weights_digest(second)


def test_buffers_belong_to_the_weights() -> None:
    own = network()
    before = weights_sha256(own)
    own.set_value_scale(2.0)
    assert weights_sha256(own) != before


def test_weights_are_copies_that_can_be_given_back() -> None:
    own, other = network(seed=1), network(seed=2)
    weights = weights_of(own)
    set_weights(other, weights)
    assert weights_sha256(other) == weights_sha256(own)
    own.set_value_scale(3.0)
    assert weights["value_scale"].item() == 1.0


def test_weights_of_another_network_are_refused() -> None:
    own = network(hidden_sizes=(8,))
    before = weights_sha256(own)
    with pytest.raises(ShapeError, match=r"critic\.0"):
        set_weights(own, weights_of(network(hidden_sizes=(9,))))
    assert weights_sha256(own) == before


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(bad: float) -> None:
    require_finite({"steps": torch.tensor([2**62])}, stage="here")
    with pytest.raises(NonFiniteError, match="here: tensor `b`"):
        require_finite({"a": torch.zeros(1), "b": torch.tensor([0.0, bad])}, stage="here")


def test_each_part_begins_at_a_multiple_of_64_bytes() -> None:
    assert places_of([6, 16, 17, 1]) == [slice(0, 6), slice(16, 32), slice(32, 49), slice(64, 65)]


def test_a_product_is_the_same_bits_wherever_its_input_was_in_memory() -> None:
    weights = torch.randn(3, 77, generator=torch.Generator().manual_seed(0))
    found = set()
    for offset in range(16):
        memory = np.zeros(64 * 77 + 16, np.float32)[offset:][: 64 * 77].reshape(64, 77)
        memory[...] = np.random.default_rng(0).normal(size=memory.shape)
        inputs = aligned(memory)
        assert inputs.data_ptr() % 64 == 0
        found.add((inputs @ weights.T).numpy().tobytes())
    assert len(found) == 1


def test_parameters_side_by_side_are_what_they_were_and_follow_each_other_in_memory() -> None:
    parameters = [torch.nn.Parameter(torch.arange(6.0).reshape(2, 3)), torch.nn.Parameter(torch.tensor([7.0, 8.0]))]
    lay_side_by_side(parameters)
    assert parameters[0].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] and parameters[1].tolist() == [7.0, 8.0]
    assert parameters[0].data_ptr() % 64 == 0 and parameters[0].data_ptr() + 64 == parameters[1].data_ptr()
    parameters[0].sum().backward()
    assert parameters[0].grad is not None and parameters[1].requires_grad


def test_a_network_has_its_parameters_side_by_side_and_hands_out_copies() -> None:
    own = network()
    assert len({weight.untyped_storage().data_ptr() for weight in own.parameters()}) == 1
    copies = weights_of(own)
    assert len({copy.untyped_storage().data_ptr() for copy in copies.values()}) == len(copies)
    before = weights_sha256(own)
    set_weights(own, copies)
    assert weights_sha256(own) == before
