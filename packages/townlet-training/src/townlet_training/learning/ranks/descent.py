"""The gradient of a minibatch, of which each of several processes has a share.

    ∂L/∂θ = Σ_r ∂L_r/∂θ        L_r: the terms of the rows of rank r, over the means of the whole minibatch

is what `torch.nn.parallel.DistributedDataParallel` computes (Li et al. 2020, arXiv:2006.15704, section 3.2). That
averages within `backward`; here gradients may come of equations, and lie in one piece of memory, which is summed at
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch import distributed as dist

from townlet_training.errors import RankError
from townlet_training.learning.loss import Terms

if TYPE_CHECKING:
    from townlet_training.learning.descent import Descent
    from townlet_training.learning.minibatches import Minibatch
    from townlet_training.learning.optimizer import Optimizer

_NOTHING = Terms(*(0.0,) * len(Terms._fields))


class SharedDescent:
    """A `Descent` of this process and the others of its `torch.distributed` group, who all evaluate the same minibatch.

    Every rank gets the same terms and gradients, to the bit, and so takes the same step. Its methods raise `RankError`
    where another rank cannot be reached.

    Args:
        own: of this process.
        optimizer: that reads the gradients.
    """

    def __init__(self, own: Descent, optimizer: Optimizer) -> None:
        self._own, self._optimizer = own, optimizer
        self._rank, self._count = dist.get_rank(), dist.get_world_size()
        self._is_evaluated = False

    def evaluate(self, minibatch: Minibatch, *, critic_only: bool) -> Terms[float]:
        """See `Descent`."""
        share = minibatch.share(self._rank, self._count)
        # What gets no gradient here may get one elsewhere.
        self._optimizer.gradient.zero_()
        # A small minibatch may have less rows than there are ranks.
        self._is_evaluated = bool(len(share.rows) or len(share.decided))
        own = self._own.evaluate(share, critic_only=critic_only) if self._is_evaluated else _NOTHING
        return Terms(*self._sum(torch.tensor(own, dtype=torch.float64)).tolist())

    def differentiate(self) -> Sequence[str]:
        """See `Descent`."""
        optimizer = self._optimizer
        moved = frozenset(self._own.differentiate()) if self._is_evaluated else frozenset[str]()
        _add_up(optimizer.gradient)
        names = tuple(optimizer.gradients)
        ranks = self._sum(torch.tensor([float(name in moved) for name in names])).tolist()
        return [name for name, number in zip(names, ranks, strict=True) if number]

    def _sum(self, numbers: Tensor) -> Tensor:
        there = numbers.to(self._optimizer.gradient.device)
        _add_up(there)
        return there


def _add_up(numbers: Tensor) -> None:
    try:
        dist.all_reduce(numbers)
    except RuntimeError as error:
        raise RankError(f"the other ranks cannot be reached: {error}") from error
