"""Encoders of observations before the layers: convolutions for an image, attention for a set of things.

    image           y = relu(W flat(relu(K_n * ... relu(K_1 * x))) + b)
                    sides of 36 and more: Mnih et al. 2015 (8 × 8 by 4, 4 × 4 by 2, 3 × 3);
                    smaller: two of 3 × 3 that keep the size, after Young & Tian 2019 (arXiv:1903.03176)
    things          x_i = relu(W e_i + b)
                    a_i = Σ_j softmax_j(q_i · k_j / √d) v_j          over the things that are there, in each of H heads
                    y_i = LayerNorm(x_i + W_o a_i)
                    y = (Σ_i m_i y_i / max(1, Σ_i m_i),  Σ_i m_i / E)

The block for things is that of Baker et al. 2020 (arXiv:1909.07528, appendix B), after Vaswani et al. 2017
(arXiv:1706.03762). The order of the things changes nothing, absent ones (m_i = 0) count for nothing, and
without any the output is 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from townlet_training.errors import ConfigError
from townlet_training.network.trunk import initialized

if TYPE_CHECKING:
    from townlet_training.network.config import EncoderKind, Initialization, NetworkConfig
    from townlet_training.network.spec import ObservationKind

_ENCODERS: Mapping[ObservationKind, EncoderKind] = {"image": "conv", "entities": "attention"}
MASK_SUFFIX = "_mask"
"""The observation `NAME_mask` [E] says which things of `NAME` [E, F] are there."""

IMAGE_SIZE = 128
"""Outputs of an image."""
ENTITY_SIZE, NUM_HEADS = 64, 4
"""Units of a thing, and heads of the attention over things."""
_LARGE = 36
"""The smallest side that the convolutions of Mnih et al. leave a pixel of."""


class ImageEncoder(nn.Module):
    """Convolutions over [N, C, H, W], as one row of `IMAGE_SIZE` numbers each."""

    def __init__(self, shape: tuple[int, ...], initialization: Initialization, *, generator: torch.Generator) -> None:
        """Build and initialize.

        Args:
            shape: (C, H, W).
            initialization: of all weights.
            generator: the only source of the weights.

        Raises:
            ConfigError: if `shape` has not three axes.
        """
        super().__init__()
        if len(shape) != 3:
            raise ConfigError(f"a convolution needs an observation [C, H, W], got {shape}")
        channels, height, width = self.shape = shape
        large = min(height, width) >= _LARGE
        plan = ((32, 8, 4, 0), (64, 4, 2, 0), (64, 3, 1, 0)) if large else ((16, 3, 1, 1), (32, 3, 1, 1))
        gain = math.sqrt(2.0) if initialization == "orthogonal" else 1.0
        convolutions: list[nn.Conv2d] = []
        for filters, kernel, stride, padding in plan:
            layer = nn.Conv2d(channels, filters, kernel, stride, padding, device="meta")
            convolutions.append(initialized(layer, initialization, gain=gain, generator=generator))
            channels = filters
            height, width = ((side + 2 * padding - kernel) // stride + 1 for side in (height, width))
        self.convolutions = nn.ModuleList(convolutions)
        flat = nn.Linear(channels * height * width, IMAGE_SIZE, device="meta")
        self.linear = initialized(flat, initialization, gain=gain, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        """[N, `IMAGE_SIZE`] of images [N, C · H · W]."""
        seen = images.reshape(-1, *self.shape)
        for layer in self.convolutions:
            seen = torch.relu(layer(seen))
        flat: Tensor = self.linear(seen.flatten(start_dim=1))
        return torch.relu(flat)


class EntityEncoder(nn.Module):
    """One attention block over up to E things [N, E, F], pooled to one row of `ENTITY_SIZE` + 1 numbers."""

    def __init__(self, shape: tuple[int, ...], initialization: Initialization, *, generator: torch.Generator) -> None:
        """Build and initialize.

        Args:
            shape: (E, F).
            initialization: of all weights.
            generator: the only source of the weights.

        Raises:
            ConfigError: if `shape` has not two axes.
        """
        super().__init__()
        if len(shape) != 2:
            raise ConfigError(f"attention needs an observation [E, F], got {shape}")
        self.shape = shape
        gain = math.sqrt(2.0) if initialization == "orthogonal" else 1.0

        def linear(fan_in: int, fan_out: int, gain: float) -> nn.Linear:
            layer = nn.Linear(fan_in, fan_out, device="meta")
            return initialized(layer, initialization, gain=gain, generator=generator)

        self.embed = linear(shape[1], ENTITY_SIZE, gain)
        self.queries, self.keys, self.values, self.mix = (linear(ENTITY_SIZE, ENTITY_SIZE, 1.0) for _ in range(4))
        self.norm = nn.LayerNorm(ENTITY_SIZE)

    def forward(self, things: Tensor, present: Tensor) -> Tensor:
        """Attend and pool.

        Args:
            things: [N, E · F].
            present: [N, E]; above 0.5 where there is a thing.

        Returns:
            [N, `ENTITY_SIZE` + 1]; zeros where there is none.
        """
        embedded = torch.relu(self.embed(things.reshape(-1, *self.shape)))
        here = present > 0.5
        queries, keys, values = (_heads(each(embedded)) for each in (self.queries, self.keys, self.values))
        scores = torch.matmul(queries, keys.transpose(-1, -2)) / math.sqrt(queries.shape[-1])
        # A finite floor: where there is nothing, all weights are equal, and what comes of them is multiplied by 0.
        scores = torch.where(here[:, None, None, :], scores, torch.finfo(scores.dtype).min)
        attended = torch.matmul(torch.softmax(scores, dim=-1), values).transpose(1, 2).flatten(start_dim=2)
        mixed = self.norm(embedded + self.mix(attended))
        weights = here.to(mixed.dtype).unsqueeze(-1)
        count = weights.sum(dim=1)
        mean = (mixed * weights).sum(dim=1) / count.clamp(min=1.0)
        return torch.cat([mean, count / self.shape[0]], dim=1)


def _heads(units: Tensor) -> Tensor:
    """[N, H, E, D / H] of [N, E, D]."""
    return units.reshape(*units.shape[:-1], NUM_HEADS, -1).transpose(1, 2)


class Encoders(nn.Module):
    """Turns encoded observations [N, F] into one row of numbers: flat ones as they are, then every image and set.

    Examples:
        >>> import torch
        >>> from townlet_training.network.encoders import Encoders
        >>> shapes = {"around": (1, 5, 5), "self": (3,)}
        >>> encoders = Encoders(shapes, {"around": "conv"}, "orthogonal", generator=torch.Generator().manual_seed(0))
        >>> encoders(torch.zeros(2, 28)).shape, encoders.num_outputs
        (torch.Size([2, 131]), 131)

    Attributes:
        num_inputs: F.
        num_outputs: O.
        flat_columns: of each input that stays as it is.
        image_columns: of each of `images`.
        entity_columns: of each of `entities`, and of its mask.
    """

    def __init__(
        self,
        observation_shapes: Mapping[str, tuple[int, ...]],
        kinds: Mapping[str, EncoderKind],
        initialization: Initialization,
        *,
        generator: torch.Generator,
    ) -> None:
        """Build and initialize, in the order of names.

        Args:
            observation_shapes: of the inputs, in the order of their columns.
            kinds: of the inputs that are not flat; masks of things have none.
            initialization: of all weights.
            generator: the only source of the weights.

        Raises:
            ConfigError: if a kind is of no observation, or of one with other axes, or the mask of things is missing.
        """
        super().__init__()
        if unknown := sorted(kinds.keys() - observation_shapes.keys()):
            raise ConfigError(f"`encoders` names {unknown}, observations are {sorted(observation_shapes)}")
        columns = _columns(observation_shapes)
        self.num_inputs = sum(map(math.prod, observation_shapes.values()))
        self.image_columns = [columns[name] for name in sorted(kinds) if kinds[name] == "conv"]
        self.entity_columns: list[tuple[slice, slice]] = []
        images, entities = [], []
        flat = dict(columns)
        for name in sorted(name for name, kind in kinds.items() if kind != "flat"):
            shape, own = observation_shapes[name], flat.pop(name)
            if kinds[name] == "conv":
                images.append(ImageEncoder(shape, initialization, generator=generator))
                continue
            entities.append(EntityEncoder(shape, initialization, generator=generator))
            mask = name + MASK_SUFFIX
            if observation_shapes.get(mask) != shape[:1]:
                raise ConfigError(
                    f"attention over `{name}` {shape} needs the observation `{mask}` {shape[:1]}, "
                    f"got {observation_shapes.get(mask, 'none')}"
                )
            self.entity_columns.append((own, flat.pop(mask)))
        self.flat_columns = tuple(flat.values())
        self.images, self.entities = nn.ModuleList(images), nn.ModuleList(entities)
        self.num_outputs = sum(each.stop - each.start for each in self.flat_columns)
        self.num_outputs += IMAGE_SIZE * len(images) + (ENTITY_SIZE + 1) * len(entities)

    def forward(self, encoded: Tensor) -> Tensor:
        """[N, O] of encoded observations [N, F]."""
        parts = [encoded[:, each] for each in self.flat_columns]
        for columns, image in zip(self.image_columns, self.images, strict=True):
            parts.append(image(encoded[:, columns]))
        for (columns, mask), entities in zip(self.entity_columns, self.entities, strict=True):
            parts.append(entities(encoded[:, columns], encoded[:, mask]))
        return torch.cat(parts, dim=1)


def encoder_kinds(
    shapes: Mapping[str, tuple[int, ...]], kinds: Mapping[str, ObservationKind], config: NetworkConfig
) -> dict[str, EncoderKind]:
    """Find the encoders of the inputs that are not read as they are.

    Args:
        shapes: of all inputs, by name.
        kinds: what an input shows, as its world says.
        config: of the network; what it says comes first.

    Raises:
        ConfigError: if the config names an input that there is not.
    """
    if unknown := sorted(config.encoders.keys() - shapes.keys()):
        raise ConfigError(f"`encoders` names {unknown}, observations are {sorted(shapes)}")
    found = {name: _ENCODERS[kind] for name, kind in kinds.items() if name in shapes} | dict(config.encoders)
    return {name: found[name] for name in shapes if found.get(name, "flat") != "flat"}


def _columns(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, slice]:
    """The columns of each observation."""
    columns, start = {}, 0
    for name, shape in shapes.items():
        columns[name] = slice(start, start + math.prod(shape))
        start += math.prod(shape)
    return columns
