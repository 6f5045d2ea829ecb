"""Acting in numpy over the memory of torch's parameters: an export per update would cost more than the update."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from townlet_training.errors import ShapeError
from townlet_training.network.statistics import CLIP
from townlet_training.network.trunk import ArrayTrunk, Floats, array_trunk, view_of

if TYPE_CHECKING:
    from townlet_training.network.actor_critic import ActorCritic
    from townlet_training.network.body import ArrayBody
    from townlet_training.network.distributions import Distribution

# Arrays without axes take part in a sum faster than Python's numbers.
_LOW, _HIGH, _FLOAT32 = np.array(-CLIP, np.float32), np.array(CLIP, np.float32), np.dtype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayNetwork:
    """The parts of a network in numpy; they follow its weights and statistics as long as these change in place.

    Attributes of torch modules are looked up slowly, so that a tick of few agents reads none.
    """

    input_shapes: Mapping[str, tuple[int, ...]]
    distribution: Distribution
    mean: Floats | None
    """[F], and so is `std`; None: observations are not normalized."""
    std: Floats
    front: ArrayBody | None
    """None where the trunks read the observations as they are, and where only torch has the encoders."""
    policy: ArrayTrunk
    log_std: Floats | None
    """[K], of numbers: outputs of the policy beside its head."""
    critic: ArrayTrunk
    value_scale: Floats

    @classmethod
    def of(cls, network: ActorCritic) -> ArrayNetwork:
        """Make the one of a network."""
        is_tanh, log_std = network.config.activation == "tanh", network.policy_log_std
        normalizes = network.config.normalize_observations != "none"
        front = None if network.kinds else network.front
        return cls(
            input_shapes=network.input_shapes,
            distribution=network.distribution,
            mean=view_of(network.observation_mean) if normalizes else None,
            std=view_of(network.observation_std),
            front=None if front is None else front.array_body(is_tanh=is_tanh),
            policy=array_trunk(network.policy, is_tanh=is_tanh),
            log_std=None if log_std is None else view_of(log_std),
            critic=array_trunk(network.critic, is_tanh=is_tanh),
            value_scale=view_of(network.value_scale),
        )

    def encoded(self, observations: Mapping[str, Floats]) -> Floats:
        """Encode as `ActorCritic.encode` does, [N, F]; may be an observation itself, which is not to be written to."""
        require_inputs(observations, self.input_shapes)
        encoded = side_by_side([observations[name] for name in self.input_shapes])
        if self.mean is None:
            return encoded
        encoded = encoded - self.mean
        encoded /= self.std
        np.maximum(encoded, _LOW, out=encoded)
        return np.minimum(encoded, _HIGH, out=encoded)

    def evaluated(
        self, encoded: Floats, state: Floats | None, *, with_values: bool
    ) -> tuple[Floats, Floats | None, Floats | None]:
        """Do one forward pass.

        Args:
            encoded: [N, F].
            state: [N, S]; None without a memory.
            with_values: whether the critic is asked.

        Returns:
            Outputs of the policy before any mask [N, P], scaled values [N], None without, and the next state.
        """
        seen = by_critic = encoded
        after = None
        if self.front is not None:
            seen, by_critic, after = self.front(encoded, state)
        outputs = self.policy(seen)
        if self.log_std is not None:
            outputs = np.concatenate([outputs, np.broadcast_to(self.log_std, outputs.shape)], axis=1)
        return outputs, self.critic(by_critic)[:, 0] if with_values else None, after


class PolicyAlone:
    """A network that acts without its critic. Implements `townlet_trajectory.evaluation.interfaces.Actor`; with a
    memory, `RecurrentActor`.

    Examples:
        >>> import numpy as np, torch
        >>> from townlet_training import ActorCritic, NetworkConfig
        >>> generator = torch.Generator().manual_seed(0)
        >>> network = ActorCritic({"cell": (2,)}, 3, NetworkConfig(hidden_sizes=(8,)), generator=generator)
        >>> log_probs, values = network.without_values().act({"cell": np.eye(2, dtype=np.float32)}, None)
        >>> log_probs.shape, values
        ((2, 3), None)

    Args:
        network: acts with the weights that it has when it is asked.
    """

    def __init__(self, network: ActorCritic) -> None:
        self._network = network
        self.state_size = network.state_size
        """Numbers of memory that an agent has (S); 0: none."""

    @overload
    def act(self, observations: Mapping[str, Floats], action_mask: NDArray[np.bool_] | None) -> tuple[Floats, None]: ...

    @overload
    def act(
        self, observations: Mapping[str, Floats], action_mask: NDArray[np.bool_] | None, state: Floats
    ) -> tuple[Floats, None, Floats]: ...

    def act(
        self, observations: Mapping[str, Floats], action_mask: NDArray[np.bool_] | None, state: Floats | None = None
    ) -> tuple[Floats, None] | tuple[Floats, None, Floats]:
        """Act as `ActorCritic.act` does, without values.

        Args:
            observations: each [N, ...].
            action_mask: [N, P] bool; None if everything is legal.
            state: [N, S]; None without a memory.

        Returns:
            Parameters of the distribution [N, P], None, and the next state where there was one.

        Raises:
            ShapeError, ActionMaskError, NonFiniteError: as `ActorCritic.act`, but for values.
        """
        params, _, after = self._network.acted(observations, action_mask, state, with_values=False)
        if state is None:
            return params, None
        return params, None, state if after is None else after


def require_inputs(observations: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise `ShapeError` unless the arrays or tensors hold every input of `shapes`, [N, ...] with the same N."""
    num_rows = None
    for name, shape in shapes.items():
        if name not in observations:
            raise ShapeError(f"observation `{name}` is missing, got {sorted(observations)}")
        found = tuple(observations[name].shape)
        if found[1:] != shape or not found:
            raise ShapeError(f"observation `{name}` must be [N, {shape}], got {found}")
        num_rows = found[0] if num_rows is None else num_rows
        if found[0] != num_rows:
            raise ShapeError(f"observation `{name}` must have {num_rows} rows as others, got {found[0]}")


def side_by_side(observations: Sequence[Floats]) -> Floats:
    """Flatten each [N, ...] to [N, F_i] and put them side by side: [N, F], float32; new memory where there is more
    than one."""
    first = observations[0]
    if len(observations) == 1 and first.ndim == 2 and first.dtype == _FLOAT32 and first.flags.c_contiguous:
        return first
    # The size is said, not left to numpy to find: of no rows it cannot be found.
    flat = [array.reshape(len(array), math.prod(array.shape[1:])) for array in observations]
    return np.concatenate(flat, axis=1, dtype=np.float32)
