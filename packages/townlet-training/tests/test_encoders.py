"""Images and sets of things: what they are turned into, and what does not matter to it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from townlet_training.errors import ConfigError
from townlet_training.network.config import Initialization, NetworkConfig
from townlet_training.network.encoders import (
    ENTITY_SIZE,
    IMAGE_SIZE,
    Encoders,
    EntityEncoder,
    ImageEncoder,
    encoder_kinds,
)
from townlet_training.network.spec import ObservationKind

SHAPES = {"around": (2, 4, 5), "near": (6, 3), "near_mask": (6,), "self": (2,)}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def things_of(*, num_things: int = 6, seed: int = 0) -> EntityEncoder:
    things = EntityEncoder((num_things, 3), "orthogonal", generator=generator(seed))
    with torch.no_grad():
        things.norm.bias.add_(torch.randn(ENTITY_SIZE, generator=generator(seed)))
    return things


def brute_force(things: EntityEncoder, rows: torch.Tensor) -> torch.Tensor:
    """The equations at the head of the module, for the things [E', F] that are there, one query and head at a time."""
    embedded = [torch.relu(things.embed.weight @ row + things.embed.bias) for row in rows]
    size = ENTITY_SIZE // 4
    outputs = []
    for own in embedded:
        attended = []
        for head in range(4):
            part = slice(head * size, (head + 1) * size)
            query = things.queries(own)[part]
            scores = torch.stack([(query * things.keys(other)[part]).sum() / math.sqrt(size) for other in embedded])
            shares = scores.exp() / scores.exp().sum()
            attended.append(
                sum(share * things.values(other)[part] for share, other in zip(shares, embedded, strict=True))
            )
        outputs.append(things.norm(own + things.mix(torch.cat(attended))))
    return torch.cat([torch.stack(outputs).mean(dim=0), torch.tensor([len(rows) / things.shape[0]])])


def test_attention_is_its_equation() -> None:
    things = things_of()
    rows = torch.randn(2, 6, 3, generator=generator(1))
    present = torch.tensor([[1.0, 0.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    found = things(rows.flatten(start_dim=1), present)
    assert found.shape == (2, ENTITY_SIZE + 1)
    assert_close(found[0], brute_force(things, rows[0, [0, 2, 3]]), rtol=1e-5, atol=1e-5)
    assert_close(found[1], brute_force(things, rows[1, [4]]), rtol=1e-5, atol=1e-5)
    assert found[:, -1].tolist() == pytest.approx([3 / 6, 1 / 6])


@given(st.integers(0, 2**16), st.permutations(range(6)))
def test_the_order_of_things_changes_nothing(seed: int, order: list[int]) -> None:
    things = things_of()
    rows = torch.randn(3, 6, 3, generator=generator(seed))
    present = (torch.rand(3, 6, generator=generator(seed)) < 0.5).float()
    found = things(rows.flatten(start_dim=1), present)
    turned = things(rows[:, order].flatten(start_dim=1), present[:, order])
    assert_close(turned, found, rtol=1e-5, atol=1e-5)


def test_absent_things_count_for_nothing() -> None:
    things = things_of()
    rows = torch.randn(1, 6, 3, generator=generator(2))
    present = torch.tensor([[1.0, 1.0, 0.0, 0.0, 1.0, 0.0]])
    found = things(rows.flatten(start_dim=1), present)
    rows[0, [2, 3, 5]] = 1e6
    assert torch.equal(things(rows.flatten(start_dim=1), present), found)
    rows[0, 1] += 1.0
    assert not torch.allclose(things(rows.flatten(start_dim=1), present), found)


def test_nothing_at_all_is_zeros_with_a_finite_gradient() -> None:
    things = things_of()
    rows = torch.randn(2, 18, generator=generator(3), requires_grad=True)
    present = torch.tensor([[0.0] * 6, [1.0] * 6])
    found = things(rows, present)
    assert (found[0] == 0.0).all() and (found[1] != 0.0).any()
    found.square().sum().backward()
    assert rows.grad is not None and torch.isfinite(rows.grad).all() and (rows.grad[0] == 0.0).all()
    for weight in things.parameters():
        assert weight.grad is not None and torch.isfinite(weight.grad).all()


def test_the_gradient_of_attention_is_finite_differences() -> None:
    things = things_of(num_things=3).double()
    rows = torch.randn(2, 9, generator=generator(4), dtype=torch.float64, requires_grad=True)
    present = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda given: things(given, present), (rows,))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 4, 5), (3, 36, 40)])
@pytest.mark.parametrize("initialization", ["orthogonal", "uniform"])
def test_images_of_all_sizes(shape: tuple[int, ...], initialization: Initialization) -> None:
    image = ImageEncoder(shape, initialization, generator=generator())
    seen = torch.randn(2, math.prod(shape), generator=generator(1))
    found = image(seen)
    assert found.shape == (2, IMAGE_SIZE) and (found > 0.0).any() and (found >= 0.0).all()
    again = ImageEncoder(shape, initialization, generator=generator())
    assert torch.equal(again(seen), found)
    assert not torch.allclose(ImageEncoder(shape, initialization, generator=generator(1))(seen), found)


def test_a_convolution_reads_channels_rows_and_columns_in_their_order() -> None:
    # One filter that picks the pixel to the right in channel 1, one that does nothing; the layer adds them up.
    image = ImageEncoder((2, 3, 4), "orthogonal", generator=generator())
    first, second = image.convolutions
    with torch.no_grad():
        for weight in image.parameters():
            weight.zero_()
        first.weight[0, 1, 1, 2] = 1.0
        second.weight[0, 0, 1, 1] = 1.0
        image.linear.weight[0, :12] = torch.tensor([1.0] * 12)
        image.linear.weight[1, 4] = 1.0  # row 1, column 0
    seen = torch.arange(24.0).reshape(1, 24)
    # Channel 1 is 12 .. 23 in rows of 4; its first column is nobody's right neighbour: 276 - ... = sum of the others.
    channel = torch.arange(12.0, 24.0).reshape(3, 4)
    found = image(seen)
    assert found[0, 0] == channel[:, 1:].sum()
    assert found[0, 1] == channel[1, 1]


def test_flat_observations_come_first_then_images_then_things() -> None:
    kinds = {"around": "conv", "near": "attention", "self": "flat"}
    encoders = Encoders(SHAPES, kinds, "orthogonal", generator=generator())
    encoded = torch.randn(4, 40 + 18 + 6 + 2, generator=generator(1))
    encoded[:, 58:64] = (encoded[:, 58:64] > 0.0).float()
    found = encoders(encoded)
    assert encoders.num_outputs == found.shape[1] == 2 + IMAGE_SIZE + ENTITY_SIZE + 1
    assert torch.equal(found[:, :2], encoded[:, 64:])
    assert torch.equal(found[:, 2 : 2 + IMAGE_SIZE], encoders.images[0](encoded[:, :40]))
    assert torch.equal(found[:, 2 + IMAGE_SIZE :], encoders.entities[0](encoded[:, 40:58], encoded[:, 58:64]))


def test_without_kinds_everything_stays_as_it_is() -> None:
    encoders = Encoders(SHAPES, {}, "orthogonal", generator=generator())
    encoded = torch.randn(4, 66, generator=generator(1))
    assert torch.equal(encoders(encoded), encoded) and not list(encoders.parameters())


def test_encoders_that_do_not_fit_are_refused() -> None:
    for shapes, kinds, message in (
        (SHAPES, {"far": "conv"}, r"`encoders` names \['far'\], observations are"),
        (SHAPES, {"self": "conv"}, r"a convolution needs an observation \[C, H, W\], got \(2,\)"),
        (SHAPES, {"around": "attention"}, r"attention needs an observation \[E, F\], got \(2, 4, 5\)"),
        ({"near": (6, 3)}, {"near": "attention"}, r"over `near` \(6, 3\) needs the observation `near_mask` \(6,\)"),
        (SHAPES | {"near_mask": (5,)}, {"near": "attention"}, r"needs the observation `near_mask` \(6,\), got \(5,\)"),
    ):
        with pytest.raises(ConfigError, match=message):
            Encoders(shapes, kinds, "orthogonal", generator=generator())


def test_an_observation_is_read_as_its_world_says_unless_the_settings_say_otherwise() -> None:
    shapes = {"map": (2, 5, 5), "near": (3, 2), "near_mask": (3,)}
    kinds: dict[str, ObservationKind] = {"map": "image", "near": "entities"}
    assert encoder_kinds(shapes, {}, NetworkConfig()) == {}
    assert encoder_kinds(shapes, kinds, NetworkConfig()) == {"map": "conv", "near": "attention"}
    assert encoder_kinds(shapes, kinds, NetworkConfig(encoders={"map": "flat"})) == {"near": "attention"}
    assert encoder_kinds(shapes, {}, NetworkConfig(encoders={"map": "conv"})) == {"map": "conv"}
    with pytest.raises(ConfigError, match=r"`encoders` names \['far'\]"):
        encoder_kinds(shapes, {}, NetworkConfig(encoders={"far": "conv"}))
