"""What comes before the trunks of policy and critic: frames, encoders, a memory, and layers that both share.

    own observations ─ frames ─ encoders ─ gated unit ─ shared layers ─┬─ policy
    observations of the critic alone ─ encoders ───────────────────────┴─ critic          the trunk is shared

    own observations ─ frames ─┬─ encoders ─ gated unit ──────────────────── policy
                               └─ encoders ─┐
    observations of the critic alone ───────┴─ gated unit ────────────────── critic       trunks are separate

Each step is there only where it is asked for. Separate readers share no weight, so that a critic that learns changes no
bit of the policy; each has a gated unit of its own, and the state of an agent is that of the policy's, then the
critic's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from townlet_training.errors import ConfigError, ShapeError
from townlet_training.network.blocks import num_inputs_of
from townlet_training.network.encoders import Encoders
from townlet_training.network.memory import ArrayMemory, Features, Floats, Fragments, Frames, GatedUnit, Memory
from townlet_training.network.trunk import activate, hidden_layers, view_of

if TYPE_CHECKING:
    from townlet_training.network.config import EncoderKind, NetworkConfig

States: TypeAlias = Fragments | Tensor | None
"""Fragments to go through; states [N, S] of N agents, for one step of each; None without a memory."""
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

MAX_STATE = 2**16
"""Numbers of state of one agent, as in a policy file."""


class Reader(nn.Module):
    """The way of the observations to one trunk, or to both: encoders, a gated unit, layers.

    Attributes:
        num_frames: of the policy's observations in one row; 1 without a memory of frames.
        num_outputs: numbers of one row.
        state_size: of the gated unit; 0 without one.
    """

    def __init__(
        self,
        shapes: Shapes,
        extra_shapes: Shapes,
        kinds: Mapping[str, EncoderKind],
        config: NetworkConfig,
        *,
        generator: torch.Generator,
    ) -> None:
        """Build and initialize.

        Args:
            shapes: of the observations of the policy, of which there may be several frames.
            extra_shapes: of those that the critic alone sees, where this is its own way.
            kinds: of all observations that are not flat.
            config: of the network.
            generator: the only source of the weights.

        Raises:
            ConfigError: if an encoder does not fit its observation.
        """
        super().__init__()
        self.num_frames = config.num_remembered if config.memory == "frames" else 1
        self.own = _encoders(shapes, kinds, config, generator=generator)
        self.extra = _encoders(extra_shapes, kinds, config, generator=generator)
        size = self.num_frames * (num_inputs_of(shapes) if self.own is None else self.own.num_outputs)
        size += num_inputs_of(extra_shapes) if self.extra is None else self.extra.num_outputs
        self.memory: GatedUnit | None = None
        if config.memory == "gru":
            self.memory = GatedUnit(size, config.num_remembered, config.initialization, generator=generator)
            size = config.num_remembered
        sizes = (size, *config.hidden_sizes) if config.trunk == "shared" else (size,)
        self.layers = nn.Sequential(*hidden_layers(sizes, config, generator=generator))
        self.num_outputs = sizes[-1]
        self.state_size = 0 if self.memory is None else self.memory.state_size

    def forward(self, own: Tensor, extra: Tensor | None, states: States) -> tuple[Tensor, Tensor | None]:
        """Features and states after them.

        Args:
            own: [N, k · F], the frames of the policy's observations.
            extra: [N, G], the observations of the critic alone; None where they are not read here.
            states: of the gated unit.
        """
        if self.own is not None:
            frames = own.reshape(-1, own.shape[1] // self.num_frames)
            own = self.own(frames).reshape(-1, self.num_frames * self.own.num_outputs)
        parts = [own]
        if extra is not None:
            parts.append(extra if self.extra is None else self.extra(extra))
        hidden = torch.cat(parts, dim=1) if len(parts) > 1 else own
        after: Tensor | None = None
        if self.memory is not None:
            hidden, after = advanced(self.memory, hidden, states)
        features: Tensor = self.layers(hidden)
        return features, after


class Body(nn.Module):
    """See the module.

    Attributes:
        num_policy: inputs of the policy's trunk.
        num_critic: inputs of the critic's trunk.
        policy_state_size: of the state, the first numbers, which the policy reads.
        state_size: of the whole state.
        is_shared: whether policy and critic read the same weights.
    """

    def __init__(
        self,
        shapes: Shapes,
        critic_shapes: Shapes,
        kinds: Mapping[str, EncoderKind],
        config: NetworkConfig,
        *,
        generator: torch.Generator,
    ) -> None:
        """Build and initialize.

        Args:
            shapes: of the observations of policy and critic.
            critic_shapes: of those that the critic alone sees.
            kinds: of all observations that are not flat.
            config: of the network.
            generator: the only source of the weights.

        Raises:
            ConfigError: if an encoder does not fit its observation, or the state is too large.
        """
        super().__init__()
        self._num_own = num_inputs_of(shapes)
        self.is_shared = config.trunk == "shared"
        self.frames = Frames(self._num_own, config.num_remembered) if config.memory == "frames" else None
        self.policy = Reader(shapes, {}, kinds, config, generator=generator)
        self.critic: Reader | None = None
        self.extra: Encoders | None = None
        self.num_policy = self.num_critic = self.policy.num_outputs
        if self.is_shared:
            self.extra = _encoders(critic_shapes, kinds, config, generator=generator)
            self.num_critic += num_inputs_of(critic_shapes) if self.extra is None else self.extra.num_outputs
        else:
            self.critic = Reader(shapes, critic_shapes, kinds, config, generator=generator)
            self.num_critic = self.critic.num_outputs
        self.policy_state_size = self.policy.state_size if self.frames is None else self.frames.state_size
        self.state_size = self.policy_state_size + (0 if self.critic is None else self.critic.state_size)
        if self.state_size > MAX_STATE:
            raise ConfigError(f"a memory of an agent may have {MAX_STATE} numbers, got {self.state_size}")

    def forward(self, encoded: Tensor, states: States) -> Features:
        """Features of policy and critic.

        Args:
            encoded: [N, F + G], the policy's observations first.
            states: of whole fragments, or of one step.

        Raises:
            ShapeError: if `states` are not of these rows, or missing where there is a memory.
        """
        own, extra = encoded[:, : self._num_own], None
        if encoded.shape[1] > self._num_own:
            extra = encoded[:, self._num_own :]
        framed, after = self._framed(own, states)
        policy, policy_after = self.policy(framed, None, _part(states, slice(0, self.policy.state_size)))
        if self.critic is None:
            parts = [policy] if extra is None else [policy, extra if self.extra is None else self.extra(extra)]
            critic = torch.cat(parts, dim=1) if len(parts) > 1 else policy
            return Features(policy, critic, after if policy_after is None else policy_after)
        critic, critic_after = self.critic(framed, extra, _part(states, slice(self.policy.state_size, None)))
        if policy_after is not None and critic_after is not None:
            after = torch.cat([policy_after, critic_after], dim=1)
        return Features(policy, critic, after)

    def policy_alone(self, own: Tensor, states: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Features of the policy, and its part of the state, after one step.

        Args:
            own: [N, F] encoded observations of the policy.
            states: [N, S'], the policy's part; None without a memory.
        """
        framed, after = self._framed(own, states)
        policy, policy_after = self.policy(framed, None, states)
        return policy, after if policy_after is None else policy_after

    def _framed(self, own: Tensor, states: States) -> tuple[Tensor, Tensor | None]:
        return (own, None) if self.frames is None else advanced(self.frames, own, states)

    @property
    def is_plain(self) -> bool:
        """Whether nothing but flat observations is read, so that there is a numpy twin."""
        return not any(isinstance(module, Encoders) for module in self.modules())

    def array_body(self, *, is_tanh: bool) -> ArrayBody:
        """Make the numpy twin, of views of the weights; they stay true while weights change in place."""
        return ArrayBody(
            num_own=self._num_own,
            policy_state_size=self.policy.state_size,
            frames=None if self.frames is None else self.frames.array_memory(),
            policy=_array_reader(self.policy, is_tanh=is_tanh),
            critic=None if self.critic is None else _array_reader(self.critic, is_tanh=is_tanh),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayReader:
    """`Reader` of flat observations, in numpy."""

    memory: ArrayMemory | None
    layers: tuple[tuple[Floats, Floats], ...]
    """Weights [inputs, outputs] and biases of each."""
    is_tanh: bool

    def __call__(self, hidden: Floats, states: Floats | None) -> tuple[Floats, Floats | None]:
        """Features and states after them; `states` [N, S'] are of the gated unit."""
        after = None
        if self.memory is not None and states is not None:
            hidden, after = self.memory(hidden, states)
        for weight, bias in self.layers:
            hidden = hidden @ weight
            hidden += bias
            activate(hidden, is_tanh=self.is_tanh)
        return hidden, after


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayBody:
    """One step of a `Body` of flat observations, in numpy."""

    num_own: int
    policy_state_size: int
    """Of its gated unit."""
    frames: ArrayMemory | None
    policy: ArrayReader
    critic: ArrayReader | None
    """None: the policy's."""

    def __call__(self, encoded: Floats, states: Floats | None) -> tuple[Floats, Floats, Floats | None]:
        """Features of policy and critic, and states after the step; `encoded` [N, F + G], `states` [N, S]."""
        own, extra, after = encoded[:, : self.num_own], encoded[:, self.num_own :], None
        if self.frames is not None and states is not None:
            own, after = self.frames(own, states)
        size = self.policy_state_size
        policy, policy_after = self.policy(own, None if states is None else states[:, :size])
        if self.critic is None:
            critic = np.concatenate([policy, extra], axis=1) if extra.shape[1] else policy
            return policy, critic, after if policy_after is None else policy_after
        joined = np.concatenate([own, extra], axis=1) if extra.shape[1] else own
        critic, critic_after = self.critic(joined, None if states is None else states[:, size:])
        if policy_after is not None and critic_after is not None:
            after = np.concatenate([policy_after, critic_after], axis=1)
        return policy, critic, after


def advanced(memory: Memory, inputs: Tensor, states: States) -> tuple[Tensor, Tensor]:
    """Go through whole fragments, or do one step.

    Args:
        memory: frames, or a gated unit.
        inputs: [R, F] rows of fragments, or of one step of each agent.
        states: of the fragments, or [R, S].

    Returns:
        Outputs [R, O], and the states after them.

    Raises:
        ShapeError: if there are no states, or they are of other rows.
    """
    if isinstance(states, Fragments):
        outputs: tuple[Tensor, Tensor] = memory(inputs, states)
        return outputs
    if states is None or tuple(states.shape) != (inputs.shape[0], memory.state_size):
        found = "none" if states is None else tuple(states.shape)
        raise ShapeError(f"a memory needs states [{len(inputs)}, {memory.state_size}], got {found}")
    return memory.step(inputs, states)


def body_of(
    shapes: Shapes,
    critic_shapes: Shapes,
    kinds: Mapping[str, EncoderKind],
    config: NetworkConfig,
    *,
    generator: torch.Generator,
) -> Body | None:
    """Make the body of a network, where it needs one.

    Args:
        shapes: of the observations of policy and critic.
        critic_shapes: of those that the critic alone sees.
        kinds: of all observations that are not flat.
        config: of the network.
        generator: the only source of the weights.

    Returns:
        None where trunks read the observations as they are.

    Raises:
        ConfigError: if an encoder does not fit its observation, or the state is too large.
    """
    if config.memory == "none" and config.trunk == "separate" and not critic_shapes and not kinds:
        return None
    return Body(shapes, critic_shapes, kinds, config, generator=generator)


def _encoders(
    shapes: Shapes, kinds: Mapping[str, EncoderKind], config: NetworkConfig, *, generator: torch.Generator
) -> Encoders | None:
    own = {name: kinds[name] for name in shapes if name in kinds}
    return Encoders(shapes, own, config.initialization, generator=generator) if own else None


def _part(states: States, part: slice) -> States:
    if isinstance(states, Fragments):
        return Fragments(states.offsets, states.states[:, part])
    return None if states is None else states[:, part]


def _array_reader(reader: Reader, *, is_tanh: bool) -> ArrayReader:
    linear = [layer for layer in reader.layers if isinstance(layer, nn.Linear)]
    return ArrayReader(
        memory=None if reader.memory is None else reader.memory.array_memory(),
        layers=tuple((view_of(layer.weight).T, view_of(layer.bias)) for layer in linear),
        is_tanh=is_tanh,
    )
