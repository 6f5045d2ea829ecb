"""Layers with their initial weights, and one trunk with its head, whose inputs and outputs may come in blocks.

A network to which inputs or actions were added computes them by products of their own, so that what it computed before
stays the same bits while the weights of the added inputs are 0 (`docs/mathematics.md`, "Adding inputs and actions"):

    z = (x_0 W_0 + b_0) + x_1 W_1 + x_2 W_2 ...       pre-activation of the first layer, x_k the inputs of block k
    y_k = h V_k + c_k                                 outputs of block k, h the last hidden layer
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

if TYPE_CHECKING:
    from townlet_training.network.config import Initialization, NetworkConfig


Blocks: TypeAlias = Sequence[Sequence[int]]
"""A partition of 0 .. n - 1: the columns of each block, in the order in which its product has them; the first is that
of the layers, and not empty."""
Floats = NDArray[np.float32]

_Layer = TypeVar("_Layer", nn.Linear, nn.Conv2d)
_Module = TypeVar("_Module", bound=nn.Module)


class Tanh(nn.Module):
    """tanh z = 2 σ(2z) - 1, to within 2e-7.

    On a CPU with AVX-512 an update of two trunks of 256 units takes 5 % less time than with torch's own kernel (torch
    2.15, one thread), whose forward pass takes 1.4 to 3 times as long. In an exported graph it is one node `Tanh`.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Of any shape."""
        return torch.sigmoid(inputs * 2.0) * 2.0 - 1.0


class Trunk(nn.Module):
    """Layers and a head; gains of orthogonal weights are those of Andrychowicz et al. 2021 (arXiv:2006.05990), 3.2.

    The layers are called `0`, `1`, ... in a `state_dict`, activations counted. Without added blocks there is nothing
    else in it.
    """

    columns: Tensor | None
    """[F_0] int64, the inputs of the layers; None: all, in order."""
    order: Tensor | None
    """[O] int64, where each output is among those of all blocks side by side; None: in order."""

    def __init__(
        self,
        inputs: Blocks,
        outputs: Blocks,
        config: NetworkConfig,
        *,
        hidden_sizes: Sequence[int],
        head_gain: float,
        generator: torch.Generator,
    ) -> None:
        """Initialize; added blocks begin with weights of 0.

        Args:
            inputs: a partition of the F inputs.
            outputs: a partition of the O outputs.
            config: of the network.
            hidden_sizes: units of each hidden layer, first to last; none where the head reads the inputs, which may
                then come in one block only.
            head_gain: of the head's weights.
            generator: the only source of the weights.
        """
        super().__init__()
        sizes = (len(inputs[0]), *hidden_sizes, len(outputs[0]))
        layers = hidden_layers(sizes[:-1], config, generator=generator)
        head = nn.Linear(sizes[-2], sizes[-1], device="meta")
        layers.append(initialized(head, config.initialization, gain=head_gain, generator=generator))
        for number, layer in enumerate(layers):
            self.add_module(str(number), layer)
        self._layers = tuple(layers)
        self.added_inputs = nn.ModuleDict(
            {str(block): AddedInputs(columns, sizes[1]) for block, columns in enumerate(inputs) if block and columns}
        )
        self.added_outputs = nn.ModuleDict(
            {str(block): _zeros(sizes[-2], len(each)) for block, each in enumerate(outputs) if block and each}
        )
        side_by_side = [output for each in outputs for output in each]
        self.register_buffer("columns", _unless_in_order(inputs[0], sum(map(len, inputs))))
        self.register_buffer("order", _unless_in_order(np.argsort(side_by_side).tolist(), len(side_by_side)))

    def forward(self, encoded: Tensor) -> Tensor:
        """Outputs of the head [N, O], from inputs [N, F]."""
        *layers, head = self._layers
        hidden = encoded if self.columns is None else encoded.index_select(1, self.columns)
        for number, layer in enumerate(layers):
            hidden = layer(hidden)
            if number == 0:
                for product in self.added_inputs.values():
                    hidden = hidden + product(encoded)
        outputs: Tensor = head(hidden)
        if self.added_outputs:
            outputs = torch.cat([outputs, *(product(hidden) for product in self.added_outputs.values())], dim=1)
        return outputs if self.order is None else outputs.index_select(1, self.order)

    @property
    def is_plain(self) -> bool:
        """Whether there are layers and a head alone, which read all inputs and give all outputs in their order."""
        added = self.added_inputs or self.added_outputs
        return not added and self.columns is None and self.order is None

    def linear_layers(self) -> list[nn.Linear]:
        """Return the layers with weights, first to last, without added blocks."""
        return [layer for layer in self._layers if isinstance(layer, nn.Linear)]

    def added_actions(self, block: int) -> nn.Linear | None:
        """Return the product of the outputs of `block`, at least 1; None where it has none."""
        name = str(block)
        return cast(nn.Linear, self.added_outputs[name]) if name in self.added_outputs else None


class AddedInputs(nn.Module):
    """Their own product x_k W_k: what a block of inputs adds to the first layer, 0 at first."""

    columns: Tensor

    def __init__(self, columns: Sequence[int], num_units: int) -> None:
        """`columns` of the network's input feed the `num_units` units of the first layer."""
        super().__init__()
        self.register_buffer("columns", torch.tensor(columns))
        self.weight = nn.Parameter(torch.zeros(num_units, len(columns)))

    def forward(self, encoded: Tensor) -> Tensor:
        """What is added [N, H], from all inputs [N, F]."""
        return nn.functional.linear(encoded.index_select(1, self.columns), self.weight)


def in_memory(layer: _Module) -> _Module:
    """Give the weights of a `layer` that was made on the meta device their memory, and no numbers yet.

    `to_empty` does the same, and imports sympy for it: 0.4 s.
    """
    for name, weight in list(layer.named_parameters(recurse=False)):
        setattr(layer, name, nn.Parameter(torch.empty(weight.shape)))
    return layer


def initialized(layer: _Layer, initialization: Initialization, *, gain: float, generator: torch.Generator) -> _Layer:
    """Draw the weights of a `layer` that was made on the meta device, where nothing is drawn.

    Args:
        layer: of any sizes; its own initialization would draw from torch's global generator.
        initialization: orthogonal weights and biases of 0, or uniform weights and biases.
        gain: factor of orthogonal weights, or of all uniform numbers.
        generator: the only source of the weights.

    Returns:
        The layer, in memory.
    """
    layer = in_memory(layer)
    bias = layer.bias
    if initialization == "orthogonal":
        nn.init.orthogonal_(layer.weight, gain, generator=generator)
        if bias is not None:
            nn.init.zeros_(bias)
        return layer
    bound = gain / math.sqrt(layer.weight[0].numel())
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    if bias is not None:
        nn.init.uniform_(bias, -bound, bound, generator=generator)
    return layer


def initialized_gru(
    num_inputs: int, num_units: int, initialization: Initialization, *, generator: torch.Generator
) -> nn.GRU:
    """Make a GRU of one layer.

    Args:
        num_inputs: F of one step.
        num_units: H of the state.
        initialization: an orthogonal matrix for each gate and biases of 0, or U(±1/√H) for all, as torch's own.
        generator: the only source of the weights.

    Returns:
        The GRU, in memory.
    """
    gru = in_memory(nn.GRU(num_inputs, num_units, device="meta"))
    bound = 1.0 / math.sqrt(num_units)
    for name, weight in gru.named_parameters():
        if initialization == "uniform":
            nn.init.uniform_(weight, -bound, bound, generator=generator)
        elif name.startswith("bias"):
            nn.init.zeros_(weight)
        else:
            _orthogonal_gates(weight, generator)
    return gru


def _orthogonal_gates(weight: Tensor, generator: torch.Generator) -> None:
    for gate in weight.detach().chunk(3):
        nn.init.orthogonal_(gate, generator=generator)


def hidden_layers(sizes: Sequence[int], config: NetworkConfig, *, generator: torch.Generator) -> list[nn.Module]:
    """Make linear layers, each followed by its activation.

    Args:
        sizes: numbers before the first layer, and after each.
        config: of the network; says how layers begin, and the activation.
        generator: the only source of the weights.

    Returns:
        Two modules for each layer.
    """
    gain = math.sqrt(2.0) if config.initialization == "orthogonal" else 1.0
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        linear = nn.Linear(fan_in, fan_out, device="meta")
        layers.append(initialized(linear, config.initialization, gain=gain, generator=generator))
        layers.append(Tanh() if config.activation == "tanh" else nn.ReLU())
    return layers


def _zeros(fan_in: int, fan_out: int) -> nn.Linear:
    layer = in_memory(nn.Linear(fan_in, fan_out, device="meta"))
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _unless_in_order(columns: Sequence[int], total: int) -> Tensor | None:
    return None if list(columns) == list(range(total)) else torch.tensor(columns)


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayTrunk:
    """A trunk with its head. The arrays are the memory of the network's own weights, so training shows at once."""

    weights: tuple[Floats, ...]
    """Of each layer, [inputs, outputs]; a view."""
    biases: tuple[Floats, ...]
    """Of each layer, [outputs]."""
    is_tanh: bool
    """Between the layers; else ReLU."""
    columns: NDArray[np.int64] | None
    """As of `Trunk`, and so are the others."""
    order: NDArray[np.int64] | None
    added_inputs: tuple[tuple[NDArray[np.int64], Floats], ...]
    """Columns and weights [columns, units] of each added block."""
    added_outputs: tuple[tuple[Floats, Floats], ...]
    """Weights [units, outputs] and biases of each added block."""

    def __call__(self, encoded: Floats) -> Floats:
        """Outputs of the head [N, O], from inputs [N, F]."""
        # `take`, whose result lies in memory as an array of these columns alone does: the same kernel multiplies it.
        hidden = encoded if self.columns is None else encoded.take(self.columns, axis=1)
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights[:-1], self.biases[:-1], strict=True)):
            hidden = hidden @ weight
            hidden += bias
            if layer == 0:
                for columns, added in self.added_inputs:
                    hidden += encoded.take(columns, axis=1) @ added
            activate(hidden, is_tanh=self.is_tanh)
        outputs = hidden @ self.weights[last]
        outputs += self.biases[last]
        if self.added_outputs:
            added_outputs = (hidden @ weight + bias for weight, bias in self.added_outputs)
            outputs = np.concatenate([outputs, *added_outputs], axis=1)
        return outputs if self.order is None else outputs.take(self.order, axis=1)


def activate(hidden: Floats, *, is_tanh: bool) -> None:
    """Apply tanh, else ReLU, in place."""
    if is_tanh:
        np.tanh(hidden, out=hidden)
    else:
        np.maximum(hidden, np.float32(0.0), out=hidden)


def array_trunk(trunk: Trunk, *, is_tanh: bool) -> ArrayTrunk:
    """Make views of the weights of `trunk`; they stay true as long as the parameters are changed in place."""
    linear = trunk.linear_layers()
    inputs = [cast(AddedInputs, each) for each in trunk.added_inputs.values()]
    outputs = [cast(nn.Linear, each) for each in trunk.added_outputs.values()]
    return ArrayTrunk(
        weights=tuple(view_of(layer.weight).T for layer in linear),
        biases=tuple(view_of(layer.bias) for layer in linear),
        is_tanh=is_tanh,
        columns=None if trunk.columns is None else trunk.columns.numpy(),
        order=None if trunk.order is None else trunk.order.numpy(),
        added_inputs=tuple((each.columns.numpy(), view_of(each.weight).T) for each in inputs),
        added_outputs=tuple((view_of(each.weight).T, view_of(each.bias)) for each in outputs),
    )


def view_of(parameter: Tensor) -> Floats:
    """Return the memory of a parameter as an array."""
    view: Floats = parameter.detach().numpy()
    return view
