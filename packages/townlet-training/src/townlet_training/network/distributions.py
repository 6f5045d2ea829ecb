"""Distributions over actions: probabilities, entropies and modes, given the outputs of a policy.

    discrete            log π(a) = z_a - log Σ_b exp z_b               z_a = finfo.min where a is illegal
    several parts       log π(a) = Σ_k log π_k(a_k)                    independent given the observation
    clipped Gaussian    log π(a) = Σ_k log N(a_k; m_k, s_k)            a as drawn; the world gets clip(a, low, high)
    squashed Gaussian   log π(a) = Σ_k log N(z_k; m_k, s_k) - log(1 - u_k²) - log h_k
                        a = c + h u,   u = tanh z,   c = (low + high) / 2,   h = (high - low) / 2

Sources: masks, Huang & Ontañón 2022 (arXiv:2006.14171); the clipped Gaussian, Chou, Maturana & Scherer 2017, section 3
(what PPO is commonly run with); the squashed one, Haarnoja et al. 2018 (arXiv:1801.01290), appendix C.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from townlet_training.errors import ActionMaskError, ShapeError

Floats = NDArray[np.float32]
GaussianKind = Literal["clipped", "squashed"]

MIN_LOG_STD = -3.0
"""Logarithms of deviations stay above it, in units of half the range (of z, where squashed): a float32 forward pass is
good to 2e-7 or so, and a log-probability that is to be good to 1e-5 cannot have a smaller deviation."""
AGREEMENT = 0.05
"""Share of a number's range within which two actions are the same to `agrees`."""
_EDGE = 5e-7
"""A squashed action is taken for this share of its range away from its bounds: u is within ±(1 - 1e-6)."""
_NUM_NODES = 32
"""Of the quadrature of the squashed entropy: its error is below 1e-7 at a deviation of 1, below 2e-4 at 2."""
_LOWEST = np.finfo(np.float32).min


class Distribution(nn.Module):
    """The distribution of a policy over its actions; N rows at once, without weights of its own.

    Attributes:
        name: of the Gaussian, `clipped` or `squashed`; empty for other distributions.
        head_size: outputs of the policy's head; a Gaussian's deviations do not come from it.
        num_outputs: P, numbers of `params` of one row.
    """

    name = ""
    head_size: int
    num_outputs: int

    @abstractmethod
    def params(self, outputs: Tensor, action_mask: Tensor | None) -> Tensor:
        """Compute the parameters of the distribution.

        Args:
            outputs: [N, P] of the policy.
            action_mask: [N, P] bool, true where legal, with something legal in every row (and part); None if all is.

        Returns:
            [N, P]: normalised log-probabilities, of all parts side by side; or K means, then K logarithms of
            deviations.

        Raises:
            ShapeError: if there is a mask for actions that have none.
        """

    @abstractmethod
    def array_params(self, outputs: Floats, action_mask: NDArray[np.bool_] | None) -> Floats:
        """Compute `params` in numpy; may change `outputs`."""

    @abstractmethod
    def log_prob(self, params: Tensor, actions: Tensor) -> Tensor:
        """log π [N] of `actions` ([N] or [N, K]), given `params` [N, P]."""

    @abstractmethod
    def entropy(self, params: Tensor) -> Tensor:
        """Entropy [N] in nats of the distributions of `params` [N, P]; that of numbers is a density's."""

    @abstractmethod
    def mode(self, params: Tensor) -> Tensor:
        """The action that is taken without drawing, [N] or [N, K]: the most probable, first among equals; the mean."""

    @abstractmethod
    def agrees(self, params: Tensor, actions: Tensor) -> Tensor:
        """Whether `mode` is the action in `actions`, [N] bool: in all parts; within 5 % of the range in every number,
        after clipping."""

    @abstractmethod
    def allows(self, action_mask: Tensor, actions: Tensor) -> Tensor:
        """Whether the mask [N, P] allows `actions`, in all parts: [N] bool."""

    @abstractmethod
    def require_legal(self, action_mask: NDArray[np.bool_], *, num_rows: int) -> None:
        """Check that `action_mask` is bool [num_rows, P] and leaves something legal in every row (and part).

        Raises:
            ShapeError: if it has another dtype or shape, or actions have no mask.
            ActionMaskError: if nothing is legal in a row; it names the first.
        """


class Categorical(Distribution):
    """One of A actions.

    Examples:
        >>> import torch
        >>> from townlet_training.network.distributions import Categorical
        >>> coin = Categorical(2)
        >>> params = coin.params(torch.zeros(1, 2), None)
        >>> coin.log_prob(params, torch.tensor([1])).exp().tolist()
        [0.5]
    """

    def __init__(self, num_actions: int) -> None:
        super().__init__()
        self.head_size = self.num_outputs = num_actions

    def params(self, outputs: Tensor, action_mask: Tensor | None) -> Tensor:
        return masked_log_softmax(outputs, action_mask)

    def array_params(self, outputs: Floats, action_mask: NDArray[np.bool_] | None) -> Floats:
        return log_softmax(outputs, action_mask)

    def log_prob(self, params: Tensor, actions: Tensor) -> Tensor:
        return log_prob_of(params, actions)

    def entropy(self, params: Tensor) -> Tensor:
        return entropy(params)

    def mode(self, params: Tensor) -> Tensor:
        return params.argmax(dim=-1)

    def agrees(self, params: Tensor, actions: Tensor) -> Tensor:
        return self.mode(params) == actions

    def allows(self, action_mask: Tensor, actions: Tensor) -> Tensor:
        return log_prob_of(action_mask, actions)

    def require_legal(self, action_mask: NDArray[np.bool_], *, num_rows: int) -> None:
        require_legal_action(action_mask, shape=(num_rows, self.num_outputs))


class MultiCategorical(Distribution):
    """One of several values in each of K parts, independently given the observation.

    Examples:
        >>> import torch
        >>> from townlet_training.network.distributions import MultiCategorical
        >>> parts = MultiCategorical((2, 4))
        >>> params = parts.params(torch.zeros(1, 6), None)
        >>> parts.log_prob(params, torch.tensor([[1, 3]])).exp().tolist()
        [0.125]
    """

    starts: Tensor
    """[K]; the first column of each part."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.head_size = self.num_outputs = sum(self.sizes)
        self._starts = np.cumsum((0, *self.sizes[:-1]))
        self.register_buffer("starts", torch.from_numpy(self._starts), persistent=False)

    def params(self, outputs: Tensor, action_mask: Tensor | None) -> Tensor:
        masks = [None] * len(self.sizes) if action_mask is None else action_mask.split(self.sizes, dim=-1)
        parts = zip(outputs.split(self.sizes, dim=-1), masks, strict=True)
        return torch.cat([masked_log_softmax(part, mask) for part, mask in parts], dim=-1)

    def array_params(self, outputs: Floats, action_mask: NDArray[np.bool_] | None) -> Floats:
        for start, size in zip(self._starts, self.sizes, strict=True):
            part = slice(start, start + size)
            log_softmax(outputs[:, part], None if action_mask is None else action_mask[:, part])
        return outputs

    def log_prob(self, params: Tensor, actions: Tensor) -> Tensor:
        return params.gather(-1, actions + self.starts).sum(dim=-1)

    def entropy(self, params: Tensor) -> Tensor:
        # Sums of all parts at once: entropies of independent parts add up.
        return entropy(params)

    def mode(self, params: Tensor) -> Tensor:
        return torch.stack([part.argmax(dim=-1) for part in params.split(self.sizes, dim=-1)], dim=-1)

    def agrees(self, params: Tensor, actions: Tensor) -> Tensor:
        return (self.mode(params) == actions).all(dim=-1)

    def allows(self, action_mask: Tensor, actions: Tensor) -> Tensor:
        return action_mask.gather(-1, actions + self.starts).all(dim=-1)

    def require_legal(self, action_mask: NDArray[np.bool_], *, num_rows: int) -> None:
        _require_mask(action_mask, (num_rows, self.num_outputs))
        some = np.logical_or.reduceat(action_mask, self._starts, axis=1)
        if not some.all():
            row, part = np.argwhere(~some)[0]
            raise ActionMaskError(
                f"`action_mask` has no legal action in part {part} of row {row} "
                f"({np.count_nonzero(~some.all(axis=1))} of {num_rows} rows)"
            )


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
        >>> from townlet_training.network.distributions import ClippedGaussian
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
        >>> from townlet_training.network.distributions import SquashedGaussian
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


def _wide(numbers: Tensor) -> Tensor:
    """Return float64; float32 on Apple's GPUs, which have no more."""
    return numbers.to(torch.float32 if numbers.device.type == "mps" else torch.float64)


def _log_normal(numbers: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log N(x; m, s) = -(x - m)² / (2 s²) - log s - log(2π)/2, of each number."""
    return -0.5 * ((numbers - mean) * (-log_std).exp()).square() - log_std - 0.5 * math.log(2.0 * math.pi)


def _normal_entropy(log_std: Tensor) -> Tensor:
    return log_std + 0.5 * math.log(2.0 * math.pi * math.e)


def require_legal_action(action_mask: NDArray[np.bool_], *, shape: tuple[int, int]) -> None:
    """Check that `action_mask` is bool, of `shape` [N, A], and true somewhere in every row.

    Raises:
        ShapeError: if it has another dtype or shape.
        ActionMaskError: if a row has no legal action; it names the first.
    """
    _require_mask(action_mask, shape)
    empty = np.flatnonzero(~action_mask.any(axis=-1))
    if empty.size:
        raise ActionMaskError(
            f"`action_mask` has no legal action in row {empty[0]} ({empty.size} of {len(action_mask)})"
        )


def _require_mask(action_mask: NDArray[np.bool_], shape: tuple[int, int]) -> None:
    if action_mask.dtype != np.bool_ or action_mask.shape != shape:
        raise ShapeError(f"`action_mask` must be bool {shape}, got {action_mask.dtype} {action_mask.shape}")


def masked_log_softmax(logits: Tensor, action_mask: Tensor | None) -> Tensor:
    """Log-probabilities of the distribution over the legal actions.

        log π(a) = z_a - log Σ_b exp z_b,   z_a = finfo.min where a is illegal

    A finite floor instead of -inf: 0 · log 0 and its gradient are then 0, not NaN (Huang & Ontañón 2022,
    arXiv:2006.14171, section 4).

    Args:
        logits: [..., A].
        action_mask: [..., A] bool, true where legal, with at least one legal action in each row; None if all are.

    Returns:
        [..., A], finite.
    """
    if action_mask is not None:
        logits = torch.where(action_mask, logits, torch.finfo(logits.dtype).min)
    return torch.log_softmax(logits, dim=-1)


def log_prob_of(log_probs: Tensor, actions: Tensor) -> Tensor:
    """log π(a) [N] of `actions` [N] int64, out of `log_probs` [N, A]."""
    return log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def entropy(log_probs: Tensor) -> Tensor:
    """H(π) = -Σ_a π(a) log π(a) in nats, [N], of `log_probs` [N, A]."""
    return -(log_probs.exp() * log_probs).sum(dim=-1)


def log_softmax(logits: Floats, action_mask: NDArray[np.bool_] | None) -> Floats:
    """As `masked_log_softmax`, in place:  log π(a) = z_a - max z - log Σ_b exp(z_b - max z).

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
