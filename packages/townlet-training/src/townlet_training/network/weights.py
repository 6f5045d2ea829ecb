"""Weights of a network: copies, checks and a digest that does not depend on the file that holds them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from townlet_training.errors import NonFiniteError, ShapeError


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """A detached copy of every parameter and buffer by name, in the order of the names."""
    state: Mapping[str, Tensor] = network.state_dict()
    return {name: state[name].detach().clone().contiguous() for name in sorted(state)}


def lay_side_by_side(parameters: Sequence[nn.Parameter]) -> None:
    """Move `parameters` into one piece of memory, in their order, so that an optimizer finds a single tensor there.

    Views of their former memory do not follow: to be called before there are any.
    """
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
    parts = flat.split([parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.data = part.view(parameter.shape)


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
