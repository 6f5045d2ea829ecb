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

    Every rank gets the same terms and gradients, to the bit, and so takes the same step. Both are added up at
    once, when a minibatch is evaluated: small sums cost the time in which ranks wait for each other.

    Args:
        own: of this process.
        optimizer: that reads the gradients.
    """

    def __init__(self, own: Descent, optimizer: Optimizer) -> None:
        self._own, self._optimizer = own, optimizer
        self._rank, self._count = dist.get_rank(), dist.get_world_size()
        self._names = tuple(optimizer.gradients)
        self._moved: list[str] = []

    def evaluate(self, minibatch: Minibatch, *, critic_only: bool) -> Terms[float]:
        """See `Descent`. Raises `RankError` where another rank cannot be reached."""
        gradient, share = self._optimizer.gradient, minibatch.share(self._rank, self._count)
        terms, moved = _NOTHING, frozenset[str]()
        gradient.zero_()  # what gets none here may get one elsewhere; evaluating writes some already
        # A small minibatch may have less rows than there are ranks.
        if len(share.rows) or len(share.decided):
            terms = self._own.evaluate(share, critic_only=critic_only)
            moved = frozenset(self._own.differentiate())
        told = [*terms, *(float(name in moved) for name in self._names)]
        joint = torch.cat([gradient, gradient.new_tensor(told)])
        try:
            dist.all_reduce(joint)
        except RuntimeError as error:
            raise RankError(f"the other ranks cannot be reached: {error}") from error
        gradient.copy_(joint[: len(gradient)])
        summed, marks = joint[len(gradient) :].split([len(terms), len(self._names)])
        self._moved = [name for name, ranks in zip(self._names, marks.tolist(), strict=True) if ranks]
        return Terms(*summed.tolist())

    def differentiate(self) -> Sequence[str]:
        """See `Descent`."""
        return self._moved
