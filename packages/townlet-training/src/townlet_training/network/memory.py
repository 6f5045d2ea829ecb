"""Memory of a policy: a gated recurrent unit, or the last frames; over whole fragments, and one step at a time.

Fragments are the stretches of rows that a memory goes through, features what policy and critic are computed from.

    r = σ(W_ir x + b_ir + W_hr h + b_hr)                gated recurrent unit, Cho et al. 2014 (arXiv:1406.1078);
    z = σ(W_iz x + b_iz + W_hz h + b_hz)                the reset gate after the product, as torch and cuDNN have it
    n = tanh(W_in x + b_in + r ∘ (W_hn h + b_hn))
    h' = (1 - z) ∘ n + z ∘ h                            output and next state

    y_t = (x_{t-k+1}, ..., x_t)                         frames, Mnih et al. 2015: the state is all of y_t but x_t

A memory begins with zeros. Frames of zeros are observations at their means, where observations are normalized.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from townlet_training.errors import ShapeError
from townlet_training.network.trunk import initialized_gru

if TYPE_CHECKING:
    from townlet_training.network.config import Initialization

Floats = NDArray[np.float32]


class Fragments(NamedTuple):
    """R rows in B fragments: consecutive ticks of one agent, one fragment after the other.

    Examples:
        >>> import torch
        >>> from townlet_training.network.memory import Fragments
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


class ArrayMemory(Protocol):
    """One step of a memory in numpy."""

    def __call__(self, inputs: Floats, states: Floats) -> tuple[Floats, Floats]:
        """Outputs [N, O] and states after the step [N, S], from inputs [N, F] and states before it [N, S]."""
        ...


class Memory(nn.Module):
    """A part of a network whose outputs depend on earlier steps.

    Attributes:
        state_size: S, numbers of the state.
        num_outputs: O, numbers of one row of outputs.
    """

    state_size: int
    num_outputs: int

    @abstractmethod
    def forward(self, inputs: Tensor, fragments: Fragments) -> tuple[Tensor, Tensor]:
        """Step through whole fragments.

        Args:
            inputs: [R, F], the rows of `fragments`.
            fragments: B of them, and their states [B, S].

        Returns:
            Outputs [R, O], and the states [B, S] after the last row of each fragment.

        Raises:
            ShapeError: if the fragments are of other rows or other states.
        """

    @abstractmethod
    def step(self, inputs: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs [N, O] and states after one step [N, S], from inputs [N, F] and states before it [N, S]."""

    @abstractmethod
    def array_memory(self) -> ArrayMemory:
        """Make the numpy twin of `step`, of views of the weights; they stay true while weights change in place."""


class Frames(Memory):
    """The present input and those of the last steps, side by side, the present one last.

    Examples:
        >>> import torch
        >>> from townlet_training.network.memory import Fragments, Frames
        >>> frames = Frames(num_inputs=1, num_frames=3)
        >>> outputs, after = frames(torch.tensor([[1.0], [2.0]]), Fragments(torch.tensor([0, 2]), torch.zeros(1, 2)))
        >>> outputs.tolist(), after.tolist()
        ([[0.0, 0.0, 1.0], [0.0, 1.0, 2.0]], [[1.0, 2.0]])
    """

    def __init__(self, num_inputs: int, num_frames: int) -> None:
        """`num_frames` k counts the present one; at least 2."""
        super().__init__()
        self.num_inputs, self.num_frames = num_inputs, num_frames
        self.state_size, self.num_outputs = (num_frames - 1) * num_inputs, num_frames * num_inputs

    def forward(self, inputs: Tensor, fragments: Fragments) -> tuple[Tensor, Tensor]:
        fragments.require(len(inputs), self.state_size)
        earlier = self.num_frames - 1
        size = len(fragments.states)
        # Each fragment's earlier frames lie before its rows; outputs are windows over both.
        fragment = torch.repeat_interleave(torch.arange(size), fragments.lengths)
        position = torch.arange(len(inputs)) + (fragment + 1) * earlier
        starts = fragments.offsets[:-1] + torch.arange(size) * earlier
        lined = inputs.new_empty(len(inputs) + size * earlier, self.num_inputs)
        lined[position] = inputs
        lined[starts[:, None] + torch.arange(earlier)] = fragments.states.reshape(size, earlier, self.num_inputs)
        windows = lined[position[:, None] + torch.arange(-earlier, 1)]
        ends = starts + fragments.lengths
        after = lined[ends[:, None] + torch.arange(earlier)]
        return windows.flatten(start_dim=1), after.flatten(start_dim=1)

    def step(self, inputs: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        outputs = torch.cat([states, inputs], dim=1)
        return outputs, outputs[:, self.num_inputs :]

    def array_memory(self) -> ArrayMemory:
        return ArrayFrames(self.num_inputs)


@dataclass(frozen=True)
class ArrayFrames:
    """`Frames.step` in numpy."""

    num_inputs: int

    def __call__(self, inputs: Floats, states: Floats) -> tuple[Floats, Floats]:
        """See `ArrayMemory`."""
        outputs = np.concatenate([states, inputs], axis=1)
        return outputs, outputs[:, self.num_inputs :]


class GatedUnit(Memory):
    """A gated recurrent unit; its output is its next state.

    Examples:
        >>> import torch
        >>> from townlet_training.network.memory import Fragments, GatedUnit
        >>> memory = GatedUnit(2, 8, "orthogonal", generator=torch.Generator().manual_seed(0))
        >>> outputs, after = memory(torch.ones(5, 2), Fragments(torch.tensor([0, 2, 5]), torch.zeros(2, 8)))
        >>> outputs.shape, bool((outputs[[1, 4]] == after).all())
        (torch.Size([5, 8]), True)
    """

    def __init__(
        self, num_inputs: int, num_units: int, initialization: Initialization, *, generator: torch.Generator
    ) -> None:
        """As `initialized_gru`."""
        super().__init__()
        self.gru = initialized_gru(num_inputs, num_units, initialization, generator=generator)
        self.state_size = self.num_outputs = num_units

    def forward(self, inputs: Tensor, fragments: Fragments) -> tuple[Tensor, Tensor]:
        fragments.require(len(inputs), self.state_size)
        longest_first, order, batch_sizes = _packed(fragments)
        packed = PackedSequence(inputs[order], batch_sizes)
        stepped, last = self.gru(packed, fragments.states[longest_first].unsqueeze(0))
        return stepped.data[order.argsort()], last[0][longest_first.argsort()]

    def step(self, inputs: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        input_weight, state_weight, input_bias, state_bias = self.gru.parameters()
        from_input = nn.functional.linear(inputs, input_weight, input_bias)
        from_state = nn.functional.linear(states, state_weight, state_bias)
        (reset, update, new), (reset_h, update_h, new_h) = from_input.chunk(3, dim=1), from_state.chunk(3, dim=1)
        keep = torch.sigmoid(update + update_h)
        candidate = torch.tanh(new + torch.sigmoid(reset + reset_h) * new_h)
        after = (1.0 - keep) * candidate + keep * states
        return after, after

    def array_memory(self) -> ArrayMemory:
        return ArrayGatedUnit(*(weight.detach().numpy().T for weight in self.gru.parameters()))


@dataclass(frozen=True, eq=False)
class ArrayGatedUnit:
    """`GatedUnit.step` in numpy: within 1e-6 of it."""

    input_weight: Floats
    """[F, 3 H]; a view, as the others."""
    state_weight: Floats
    """[H, 3 H]."""
    input_bias: Floats
    """[3 H]."""
    state_bias: Floats
    """[3 H]."""

    def __call__(self, inputs: Floats, states: Floats) -> tuple[Floats, Floats]:
        """See `ArrayMemory`."""
        num_units = states.shape[1]
        from_input = inputs @ self.input_weight
        from_input += self.input_bias
        from_state = states @ self.state_weight
        from_state += self.state_bias
        gates = from_input[:, : 2 * num_units] + from_state[:, : 2 * num_units]
        # σ(x) = (1 + tanh(x / 2)) / 2, which does not overflow.
        gates = np.float32(0.5) * np.tanh(np.float32(0.5) * gates) + np.float32(0.5)
        reset, keep = gates[:, :num_units], gates[:, num_units:]
        candidate = np.tanh(from_input[:, 2 * num_units :] + reset * from_state[:, 2 * num_units :])
        after: Floats = candidate + keep * (states - candidate)
        return after, after


def _packed(fragments: Fragments) -> tuple[Tensor, Tensor, Tensor]:
    """Order rows as torch's packed sequences: by step, and within a step by fragment, longest first.

    Returns:
        The fragments, longest first [B]; the rows in order [R]; how many fragments have each step [T].
    """
    lengths = fragments.lengths
    size = len(lengths)
    longest_first = lengths.argsort(descending=True, stable=True)
    rank = longest_first.argsort()
    fragment = torch.repeat_interleave(torch.arange(size), lengths)
    step = torch.arange(int(fragments.offsets[-1])) - fragments.offsets[fragment]
    order = (step * size + rank[fragment]).argsort()
    return longest_first, order, torch.bincount(step)
