"""What policy and critic are computed from, and the stretches of rows that a memory goes through."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Fragments(NamedTuple):
    """R rows in B fragments: consecutive ticks of one agent, one fragment after the other."""

    offsets: Tensor
    """[B + 1] int64, from 0 to R: fragment b has the rows `offsets[b]` up to `offsets[b + 1]`, at least one."""
    states: Tensor
    """[B, S]; the memory before the first row of each."""


class Features(NamedTuple):
    """The inputs of the trunks of policy and critic."""

    policy: Tensor
    """[R, Fp]."""
    critic: Tensor
    """[R, Fc]; the same tensor where both see the same."""
    states: Tensor | None
    """[B, S]; the memory after the last row of each fragment; None without a memory."""
