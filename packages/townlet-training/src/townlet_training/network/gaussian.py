"""Gaussian distributions over numbers within bounds: clipped to them by the world, or squashed into them.

    clipped     log π(a) = Σ_k log N(a_k; m_k, s_k)            a as drawn; the world gets clip(a, low, high)
    squashed    log π(a) = Σ_k log N(z_k; m_k, s_k) - log(1 - u_k²) - log h_k
                a = c + h u,   u = tanh z,   c = (low + high) / 2,   h = (high - low) / 2

Sources: the clipped one, Chou, Maturana & Scherer 2017, section 3 (what PPO is commonly run with); the squashed one,
Haarnoja et al. 2018 (arXiv:1801.01290), appendix C.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from townlet_training.errors import ShapeError
from townlet_training.network.config import MIN_LOG_STD
from townlet_training.network.distributions import Categorical, Distribution, Floats, MultiCategorical
from townlet_trajectory import MultiDiscrete

if TYPE_CHECKING:
    from townlet_training.network.spec import PolicySpec

AGREEMENT = 0.05
"""Share of a number's range within which two actions are the same to `agrees`."""
_EDGE = 5e-7
"""A squashed action is taken for this share of its range away from its bounds: u is within ±(1 - 1e-6)."""
_NUM_NODES = 32
"""Of the quadrature of the squashed entropy: its error is below 1e-7 at a deviation of 1, below 2e-4 at 2."""


class Gaussian(Distribution):
    """K numbers within bounds; the outputs of a policy are K means, then K unbounded logarithms of deviations.

    Means are those of the network, deviations one learned number each, the same for every observation. Both are in
    units in which the bounds are -1 and 1. Deviations stay above e^-3 smoothly, so that the gradient never ends:

        log s = -3 + softplus(ω + 3)
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: Sequence[float], high: Sequence[float]) -> None:
        """`low` and `high` [K], finite."""
        super().__init__()
        self.head_size, self.num_outputs = len(low), 2 * len(low)
        self.register_buffer("low", torch.tensor(low, dtype=torch.float32), persistent=False)
        self.register_buffer("high", torch.tensor(high, dtype=torch.float32), persistent=False)

    @property
    def bounds(self) -> list[list[float]]:
        """Lowest and highest numbers, [2][K]."""
        return [self.low.tolist(), self.high.tolist()]

    @staticmethod
    def unbounded(log_std: float) -> float:
        """ω of a `log_std` above `MIN_LOG_STD`: the inverse of the equation above."""
        return MIN_LOG_STD + math.log(math.expm1(log_std - MIN_LOG_STD))

    @abstractmethod
    def _placed(self, mean: Tensor, log_std: Tensor) -> Tensor:
        """`params` [N, 2K] of means and logarithms of deviations in units of half the range, each [N, K]."""

    def params(self, outputs: Tensor, action_mask: Tensor | None) -> Tensor:
        if action_mask is not None:
            raise ShapeError("numbers within bounds have no `action_mask`, got one")
        mean, unbounded = outputs.chunk(2, dim=-1)
        return self._placed(mean, MIN_LOG_STD + nn.functional.softplus(unbounded - MIN_LOG_STD))

    def array_params(self, outputs: Floats, action_mask: NDArray[np.bool_] | None) -> Floats:
        # Two small arrays: torch's own arithmetic, so that there is one equation.
        params: Floats = self.params(torch.from_numpy(outputs), None).numpy()
        return params

    def agrees(self, params: Tensor, actions: Tensor) -> Tensor:
        apart = (self.mode(params) - actions.clamp(self.low, self.high)).abs()
        return (apart <= AGREEMENT * (self.high - self.low)).all(dim=-1)

    def allows(self, action_mask: Tensor, actions: Tensor) -> Tensor:
        raise ShapeError("numbers within bounds have no `action_mask`, got one")

    def require_legal(self, action_mask: NDArray[np.bool_], *, num_rows: int) -> None:
        raise ShapeError("numbers within bounds have no `action_mask`, got one")

    @property
    def half_range(self) -> Tensor:
        """h [K], half the range."""
        return (self.high - self.low) / 2.0


class ClippedGaussian(Gaussian):
    """Numbers as drawn are recorded and scored; the world gets them clipped to its bounds.

        m = c + h x,   log s = log h + log s'          x, log s': in units of half the range

    Examples:
        >>> import torch
        >>> from townlet_training.network.gaussian import ClippedGaussian
        >>> steer = ClippedGaussian(low=(0.0,), high=(2.0,))
        >>> params = torch.tensor([[1.0, 0.0]])
        >>> steer.log_prob(params, torch.tensor([[2.0]])).tolist() # -1/2 - log(2π)/2
        [-1.4189385175704956]
    """

    name = "clipped"

    def _placed(self, mean: Tensor, log_std: Tensor) -> Tensor:
        center = (self.low + self.high) / 2.0
        return torch.cat([center + self.half_range * mean, self.half_range.log() + log_std], dim=-1)

    def log_prob(self, params: Tensor, actions: Tensor) -> Tensor:
        mean, log_std = _wide(params).chunk(2, dim=-1)
        return _log_normal(_wide(actions), mean, log_std).sum(dim=-1).to(params.dtype)

    def entropy(self, params: Tensor) -> Tensor:
        _, log_std = params.chunk(2, dim=-1)
        return _normal_entropy(log_std).sum(dim=-1)

    def mode(self, params: Tensor) -> Tensor:
        mean, _ = params.chunk(2, dim=-1)
        return mean.clamp(self.low, self.high)


class SquashedGaussian(Gaussian):
    """Numbers are c + h tanh z, z Gaussian: they stay within their bounds without clipping.

    The log-probability is that of the recorded float32 action, whose u is taken to be within ±(1 - 1e-6). The entropy
    needs E[log(1 - tanh² z)], one Gauss-Hermite quadrature for each number:

        H = Σ_k log s_k + log(2πe)/2 + log h_k + E[log(1 - tanh² z_k)]

    Examples:
        >>> import torch
        >>> from townlet_training.network.gaussian import SquashedGaussian
        >>> steer = SquashedGaussian(low=(0.0,), high=(2.0,))
        >>> params = torch.tensor([[0.0, 0.0]])
        >>> steer.log_prob(params, torch.tensor([[1.0]])).tolist() # at z = 0: -log(2π)/2
        [-0.9189385175704956]
    """

    name = "squashed"
    nodes: Tensor
    node_weights: Tensor

    def __init__(self, low: Sequence[float], high: Sequence[float]) -> None:
        """`low` and `high` [K], finite."""
        super().__init__(low, high)
        nodes, weights = np.polynomial.hermite.hermgauss(_NUM_NODES)
        # E f(z) of z ~ N(0, 1) is Σ w f(√2 x) / √π.
        self.register_buffer("nodes", torch.tensor(math.sqrt(2.0) * nodes, dtype=torch.float32), persistent=False)
        weights = weights / math.sqrt(math.pi)
        self.register_buffer("node_weights", torch.tensor(weights, dtype=torch.float32), persistent=False)

    def _placed(self, mean: Tensor, log_std: Tensor) -> Tensor:
        return torch.cat([mean, log_std.expand_as(mean)], dim=-1)

    def log_prob(self, params: Tensor, actions: Tensor) -> Tensor:
        mean, log_std = _wide(params).chunk(2, dim=-1)
        low, half = _wide(self.low), _wide(self.half_range)
        # (u + 1) / 2; both logarithms of it are exact near the bounds, where 1 - u² would cancel.
        share = ((_wide(actions) - low) / (2.0 * half)).clamp(_EDGE, 1.0 - _EDGE)
        z = torch.logit(share) / 2.0  # atanh u
        log_slope = math.log(4.0) + share.log() + torch.log1p(-share)  # log(1 - u²)
        return (_log_normal(z, mean, log_std) - log_slope - half.log()).sum(dim=-1).to(params.dtype)

    def entropy(self, params: Tensor) -> Tensor:
        mean, log_std = params.chunk(2, dim=-1)
        z = mean.unsqueeze(-1) + log_std.exp().unsqueeze(-1) * self.nodes
        # log(1 - tanh² z) = 2 (log 2 - z - softplus(-2z))
        log_slope = 2.0 * (math.log(2.0) - z - nn.functional.softplus(-2.0 * z))
        expected = (log_slope * self.node_weights).sum(dim=-1)
        return (_normal_entropy(log_std) + self.half_range.log() + expected).sum(dim=-1)

    def mode(self, params: Tensor) -> Tensor:
        mean, _ = params.chunk(2, dim=-1)
        return self.low + self.half_range * (mean.tanh() + 1.0)


def distribution_of(spec: PolicySpec) -> Distribution:
    """Make the distribution over the actions of `spec`."""
    if spec.actions is None:
        return Categorical(len(spec.vocabulary))
    if isinstance(spec.actions, MultiDiscrete):
        return MultiCategorical(spec.actions.sizes)
    kind = SquashedGaussian if spec.distribution == "squashed" else ClippedGaussian
    return kind(spec.actions.low, spec.actions.high)


def _wide(numbers: Tensor) -> Tensor:
    """Return float64; float32 on Apple's GPUs, which have no more."""
    return numbers.to(torch.float32 if numbers.device.type == "mps" else torch.float64)


def _log_normal(numbers: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log N(x; m, s) = -(x - m)² / (2 s²) - log s - log(2π)/2, of each number."""
    return -0.5 * ((numbers - mean) * (-log_std).exp()).square() - log_std - 0.5 * math.log(2.0 * math.pi)


def _normal_entropy(log_std: Tensor) -> Tensor:
    return log_std + 0.5 * math.log(2.0 * math.pi * math.e)
