"""The network's forward pass in numpy, for acting: at a few agents a tick, torch's calls cost five times the work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

Floats = NDArray[np.float32]

_LOWEST = np.finfo(np.float32).min


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayTrunk:
    """A trunk with its head. The arrays are the memory of the network's own weights, so training shows at once."""

    weights: tuple[Floats, ...]
    """Of each layer, [inputs, outputs]; a view."""
    biases: tuple[Floats, ...]
    """Of each layer, [outputs]."""
    is_tanh: bool
    """Between the layers; else ReLU."""

    def __call__(self, encoded: Floats) -> Floats:
        """Outputs of the head [N, O], from inputs [N, F]."""
        hidden = encoded
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = hidden @ weight
            hidden += bias
            if layer == last:
                break
            if self.is_tanh:
                np.tanh(hidden, out=hidden)
            else:
                np.maximum(hidden, np.float32(0.0), out=hidden)
        return hidden


def array_trunk(layers: nn.Sequential, *, is_tanh: bool) -> ArrayTrunk:
    """Views of the linear layers of `layers`; they stay true as long as the parameters are changed in place."""
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    return ArrayTrunk(
        weights=tuple(layer.weight.detach().numpy().T for layer in linear),
        biases=tuple(layer.bias.detach().numpy() for layer in linear),
        is_tanh=is_tanh,
    )


def side_by_side(observations: Sequence[Floats]) -> Floats:
    """Flatten each [N, ...] to [N, F_i] and put them side by side: [N, F], float32, new memory."""
    # The size is said, not left to numpy to find: of no rows it cannot be found.
    flat = [array.reshape(len(array), math.prod(array.shape[1:])) for array in observations]
    return np.concatenate(flat, axis=1, dtype=np.float32)


def log_softmax(logits: Floats, action_mask: NDArray[np.bool_] | None) -> Floats:
    """As `distributions.masked_log_softmax`, in place:  log π(a) = z_a - max z - log Σ_b exp(z_b - max z).

    Args:
        logits: [N, A]; changed.
        action_mask: [N, A], true where legal, with a legal action in each row; None if all are.

    Returns:
        [N, A], finite where `logits` are.
    """
    if action_mask is not None:
        np.copyto(logits, _LOWEST, where=~action_mask)
    logits -= np.maximum.reduce(logits, axis=1, keepdims=True)
    logits -= np.log(np.add.reduce(np.exp(logits), axis=1, keepdims=True))
    return np.maximum(logits, _LOWEST, out=logits)
