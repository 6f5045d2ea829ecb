"""What policy and critic are computed from, and the stretches of rows that a memory goes through."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from townlet_training.errors import ShapeError


class Fragments(NamedTuple):
    """R rows in B fragments: consecutive ticks of one agent, one fragment after the other.

    Examples:
        >>> import torch
        >>> from townlet_training.network.features import Fragments
        >>> fragments = Fragments(torch.tensor([0, 2, 5]), torch.zeros(2, 4))  # two rows, then three
        >>> fragments.lengths.tolist()
        [2, 3]
    """

    offsets: Tensor
    """[B + 1] int64 on the CPU, from 0 to R: fragment b has the rows `offsets[b]` up to `offsets[b + 1]`, at least
    one."""
    states: Tensor
    """[B, S]; the memory before the first row of each."""

    @classmethod
    def single_steps(cls, states: Tensor) -> Fragments:
        """Make those of N rows with a state each, [N, S]."""
        return cls(torch.arange(len(states) + 1), states)

    @property
    def lengths(self) -> Tensor:
        """[B] int64, rows of each."""
        return self.offsets.diff()

    def require(self, num_rows: int, state_size: int) -> None:
        """Raise `ShapeError` unless these are fragments of `num_rows` rows and of states of `state_size` numbers."""
        shape, size = tuple(self.states.shape), len(self.offsets) - 1
        if shape != (size, state_size):
            raise ShapeError(f"`states` must be [{size}, {state_size}], got {shape}")
        if int(self.offsets[0]) != 0 or int(self.offsets[-1]) != num_rows or bool((self.lengths < 1).any()):
            raise ShapeError(
                f"`offsets` must rise from 0 to {num_rows}, got {self.offsets[:1].tolist()} to "
                f"{self.offsets[-1:].tolist()} with {int((self.lengths < 1).sum())} empty fragments"
            )


class Features(NamedTuple):
    """The inputs of the trunks of policy and critic."""

    policy: Tensor
    """[R, Fp]."""
    critic: Tensor
    """[R, Fc]; the same tensor where both see the same."""
    states: Tensor | None
    """[B, S]; the memory after the last row of each fragment; None without a memory."""
