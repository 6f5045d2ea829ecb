"""Layers whose weights come from one generator: orthogonal, or uniform as torch's own."""

from __future__ import annotations

import math
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

Initialization = Literal["orthogonal", "uniform"]
"""`orthogonal`: biases 0, Saxe et al. 2014 (arXiv:1312.6120); `uniform`: U(±1/√inputs), as torch and many published
results begin."""

_Layer = TypeVar("_Layer", nn.Linear, nn.Conv2d)


def initialized(layer: _Layer, initialization: Initialization, *, gain: float, generator: torch.Generator) -> _Layer:
    """Draw the weights of a `layer` that was made on the meta device, where nothing is drawn.

    Args:
        layer: of any sizes; its own initialization would draw from torch's global generator.
        initialization: orthogonal weights and biases of 0, or uniform weights and biases.
        gain: factor of orthogonal weights, or of all uniform numbers.
        generator: the only source of the weights.

    Returns:
        The layer, in memory.
    """
    layer = layer.to_empty(device="cpu")
    bias = layer.bias
    if initialization == "orthogonal":
        nn.init.orthogonal_(layer.weight, gain, generator=generator)
        if bias is not None:
            nn.init.zeros_(bias)
        return layer
    bound = gain / math.sqrt(layer.weight[0].numel())
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    if bias is not None:
        nn.init.uniform_(bias, -bound, bound, generator=generator)
    return layer


def initialized_gru(
    num_inputs: int, num_units: int, initialization: Initialization, *, generator: torch.Generator
) -> nn.GRU:
    """Make a GRU of one layer.

    Args:
        num_inputs: F of one step.
        num_units: H of the state.
        initialization: an orthogonal matrix for each gate and biases of 0, or U(±1/√H) for all, as torch's own.
        generator: the only source of the weights.

    Returns:
        The GRU, in memory.
    """
    gru = nn.GRU(num_inputs, num_units, device="meta").to_empty(device="cpu")
    bound = 1.0 / math.sqrt(num_units)
    for name, weight in gru.named_parameters():
        if initialization == "uniform":
            nn.init.uniform_(weight, -bound, bound, generator=generator)
        elif name.startswith("bias"):
            nn.init.zeros_(weight)
        else:
            _orthogonal_gates(weight, generator)
    return gru


def _orthogonal_gates(weight: Tensor, generator: torch.Generator) -> None:
    for gate in weight.detach().chunk(3):
        nn.init.orthogonal_(gate, generator=generator)
