"""Distributions over actions: probabilities, entropies and modes, given the outputs of a policy.

    discrete            log π(a) = z_a - log Σ_b exp z_b               z_a = finfo.min where a is illegal
    several parts       log π(a) = Σ_k log π_k(a_k)                    independent given the observation
    numbers             `gaussian`

Sources: masks, Huang & Ontañón 2022 (arXiv:2006.14171); parts, Tavakoli, Pardo & Kormushev 2018 (arXiv:1711.08946).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from townlet_training.errors import ActionMaskError, ShapeError

Floats = NDArray[np.float32]

_LOWEST = np.finfo(np.float32).min


class Distribution(nn.Module):
    """The distribution of a policy over its actions; N rows at once, without weights of its own.

    Attributes:
        name: of the Gaussian, `clipped` or `squashed`; empty for other distributions.
        head_size: outputs of the policy's head; a Gaussian's deviations do not come from it.
        num_outputs: P, numbers of `params` of one row.
        part_sizes: columns of a mask that belong together: something is legal in each part; empty without masks.
    """

    name = ""
    head_size: int
    num_outputs: int
    part_sizes: tuple[int, ...] = ()

    @property
    def bounds(self) -> list[list[float]] | None:
        """Lowest and highest numbers, [2][K]; None where actions are indices."""
        return None

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
        self.part_sizes = (num_actions,)

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
        self.sizes = self.part_sizes = tuple(sizes)
        self.head_size = self.num_outputs = sum(self.part_sizes)
        self._starts = np.cumsum((0, *self.part_sizes[:-1]))
        self.register_buffer("starts", torch.from_numpy(self._starts), persistent=False)

    def params(self, outputs: Tensor, action_mask: Tensor | None) -> Tensor:
        masks = [None] * len(self.part_sizes) if action_mask is None else action_mask.split(self.part_sizes, dim=-1)
        parts = zip(outputs.split(self.part_sizes, dim=-1), masks, strict=True)
        return torch.cat([masked_log_softmax(part, mask) for part, mask in parts], dim=-1)

    def array_params(self, outputs: Floats, action_mask: NDArray[np.bool_] | None) -> Floats:
        for start, size in zip(self._starts, self.part_sizes, strict=True):
            part = slice(start, start + size)
            log_softmax(outputs[:, part], None if action_mask is None else action_mask[:, part])
        return outputs

    def log_prob(self, params: Tensor, actions: Tensor) -> Tensor:
        return params.gather(-1, actions + self.starts).sum(dim=-1)

    def entropy(self, params: Tensor) -> Tensor:
        # Sums of all parts at once: entropies of independent parts add up.
        return entropy(params)

    def mode(self, params: Tensor) -> Tensor:
        return torch.stack([part.argmax(dim=-1) for part in params.split(self.part_sizes, dim=-1)], dim=-1)

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
