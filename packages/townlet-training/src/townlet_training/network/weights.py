"""Weights of a network: copies, checks and a digest that does not depend on the file that holds them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from townlet_training.errors import NonFiniteError, ShapeError

_ALIGNED = 16
"""Float32 numbers in 64 bytes."""


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """A detached copy of every parameter and buffer by name, in the order of the names."""
    state: Mapping[str, Tensor] = network.state_dict()
    return {name: state[name].detach().clone().contiguous() for name in sorted(state)}


def places_of(sizes: Sequence[int]) -> list[slice]:
    """Where parts of these `sizes` lie side by side in one piece of memory: each begins at a multiple of 64 bytes.

    Products of Intel's MKL round otherwise where an operand begins elsewhere. What a part comes to would then depend on
    the sizes of those before it.
    """
    starts = [0, *accumulate(-(-size // _ALIGNED) * _ALIGNED for size in sizes)]
    return [slice(start, start + size) for start, size in zip(starts, sizes, strict=False)]


def lay_side_by_side(parameters: Sequence[nn.Parameter]) -> None:
    """Move `parameters` into one piece of memory, at their `places_of`, so that an optimizer finds one tensor there.

    Views of their former memory do not follow: to be called before there are any.
    """
    places = places_of([parameter.numel() for parameter in parameters])
    flat = parameters[0].detach().new_zeros(places[-1].stop)
    for parameter, place in zip(parameters, places, strict=True):
        part = flat[place].view(parameter.shape)
        parameter.data = part.copy_(parameter.detach())


def aligned(array: NDArray[np.float32]) -> Tensor:
    """Copy what goes into a product to where torch begins its memory: numpy's, and so rounding, may vary by the run."""
    return torch.from_numpy(array).clone()


def set_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give `network` these `weights`; ShapeError, and nothing changed, unless names and shapes are its own."""
    own: Mapping[str, Tensor] = network.state_dict()
    expected = {name: tuple(tensor.shape) for name, tensor in own.items()}
    given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if given != expected:
        differing = sorted(set(given.items()) ^ set(expected.items()))
        raise ShapeError(f"the weights are not those of this network; they differ in {differing[:4]}")
    network.load_state_dict(dict(weights))


def require_finite(weights: Mapping[str, Tensor], *, stage: str) -> None:
    """Raise NonFiniteError, naming the first tensor, unless every number in `weights` is finite."""
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise NonFiniteError(stage, f"tensor `{name}` holds a NaN or an infinity")


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) over name, dtype, shape and little-endian bytes of every tensor, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = weights[name].detach().cpu().contiguous().numpy()
        header = json.dumps([name, array.dtype.str.lstrip("<>|="), list(array.shape)], separators=(",", ":"))
        digest.update(header.encode() + b"\n")
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def weights_sha256(network: nn.Module) -> str:
    """`weights_digest` of all parameters and buffers of `network`."""
    return weights_digest(weights_of(network))
