"""The policy and value network, and its forward pass in torch and in numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from townlet_training.errors import ConfigError, EmptyBatchError, NonFiniteError, ShapeError
from townlet_training.network.blocks import Wiring, num_inputs_of
from townlet_training.network.distributions import Categorical, Distribution, log_softmax, require_legal_action
from townlet_training.network.features import Features, Fragments
from townlet_training.network.trunk import AddedInputs, ArrayTrunk, Floats, Trunk, array_trunk
from townlet_trajectory import ACTION_MASK, TrajectoryBatch
from townlet_trajectory.data.statistics import Moments

if TYPE_CHECKING:
    from townlet_training.network.config import NetworkConfig
    from townlet_training.network.spec import PolicySpec

_CLIP = 10.0
_CONSTANT_STD = 1e-6


class ActorCritic(nn.Module):
    """A masked categorical policy and a value function that share nothing but the normalization of their input.

    A forward pass has three steps: `encode`, the `body` that both may share, or remember by, and the trunks (`params`,
    `scaled_values`). The trunks are separate, because a critic that warms up on a shared one changes the policy (the
    clone is then lost).
    Implements `townlet_trajectory.evaluation.interfaces.Actor`.

    Examples:
        >>> import numpy as np, torch
        >>> from townlet_training import ActorCritic, NetworkConfig
        >>> generator = torch.Generator().manual_seed(0)
        >>> network = ActorCritic({"cell": (2,)}, 3, NetworkConfig(hidden_sizes=(8,)), generator=generator)
        >>> seen = {"cell": np.eye(2, dtype=np.float32)}
        >>> log_probs, values = network.act(seen, np.array([[True, True, False], [True, False, False]]))
        >>> np.exp(log_probs).round(1)
        array([[0.5, 0.5, 0. ],
               [1. , 0. , 0. ]], dtype=float32)
        >>> values.shape
        (2,)

    Attributes:
        policy: trunk and head of the logits.
        critic: trunk and head of the values.
        keeps_statistics: whether normalization and value scale are not fitted again, since the weights were trained
            with them; those of inputs that no weight reads are.
    """

    observation_mean: Tensor
    observation_std: Tensor
    value_scale: Tensor

    def __init__(
        self,
        observation_shapes: Mapping[str, tuple[int, ...]],
        num_actions: int,
        config: NetworkConfig,
        *,
        generator: torch.Generator,
        wiring: Wiring | None = None,
    ) -> None:
        """Build and initialize; nothing is drawn from torch's global generator.

        Args:
            observation_shapes: shape per agent of each input, by name, without the leading axis.
            num_actions: size A of the action vocabulary.
            config: of both trunks.
            generator: the only source of the initial weights.
            wiring: places of inputs and actions that were added; None: nothing was.

        Raises:
            ConfigError: if there is no input, no action, or `action_mask` among the inputs.
        """
        super().__init__()
        if not observation_shapes or ACTION_MASK in observation_shapes:
            raise ConfigError(
                f"`observation_shapes` must name inputs, and `action_mask` is none; got {sorted(observation_shapes)}"
            )
        if num_actions < 1:
            raise ConfigError(f"`num_actions` must be at least 1, got {num_actions!r}")
        self.observation_shapes = {name: tuple(observation_shapes[name]) for name in sorted(observation_shapes)}
        self.num_actions = num_actions
        self.distribution: Distribution = Categorical(num_actions)
        self.config = config
        num_features = num_inputs_of(self.observation_shapes)
        self.keeps_statistics = False
        wiring = Wiring.plain(num_features, num_actions) if wiring is None else wiring
        self.policy = Trunk(wiring.inputs, wiring.actions, config, head_gain=0.01, generator=generator)
        self.critic = Trunk(wiring.inputs, ((0,),), config, head_gain=1.0, generator=generator)
        self.register_buffer("observation_mean", torch.zeros(num_features))
        self.register_buffer("observation_std", torch.ones(num_features))
        self.register_buffer("value_scale", torch.ones(()))
        self._array_trunks: tuple[ArrayTrunk, ArrayTrunk] | None = None

    @classmethod
    def of(cls, spec: PolicySpec, config: NetworkConfig, *, generator: torch.Generator) -> ActorCritic:
        """Build and initialize the network of a policy.

        Args:
            spec: its actions and observations.
            config: of the network.
            generator: the only source of the initial weights.
        """
        return cls(spec.observation_shapes, len(spec.vocabulary), config, generator=generator, wiring=spec.wiring)

    @property
    def state_size(self) -> int:
        """Numbers of memory that an agent has (S); 0: none."""
        return 0

    @property
    def has_body(self) -> bool:
        """Whether weights come before the trunks of policy and critic: shared layers, or a memory."""
        return False

    def __getstate__(self) -> dict[str, Any]:
        # Views of this network's memory must not follow a copy.
        return {**self.__dict__, "_array_trunks": None}

    def encode(self, observations: Mapping[str, Tensor]) -> Tensor:
        """Flatten, concatenate in the order of names, normalize and clip where configured: [N, F], without gradient.

        Raises:
            ShapeError: if an input is missing or has another shape.
        """
        self._require_inputs({name: tuple(values.shape) for name, values in observations.items()})
        parts = [observations[name].to(self.observation_mean.dtype) for name in self.observation_shapes]
        flat = [part.flatten(start_dim=1) if part.ndim > 1 else part.unsqueeze(1) for part in parts]
        features = torch.cat(flat, dim=1)
        if self.config.normalize_observations == "none":
            return features
        return features.sub_(self.observation_mean).div_(self.observation_std).clamp_(-_CLIP, _CLIP)

    def body(self, encoded: Tensor, fragments: Fragments | None = None) -> Features:
        """What the trunks of policy and critic read, from `encoded` [R, F]; itself, without a body.

        Args:
            encoded: of R rows.
            fragments: the stretches that a memory goes through; None without one.
        """
        return Features(encoded, encoded, None)

    def outputs(self, features: Tensor) -> Tensor:
        """Outputs of the policy [N, P], of which `distribution` makes the parameters; from its features [N, Fp]."""
        outputs: Tensor = self.policy(features)
        return outputs

    def params(self, features: Tensor, action_mask: Tensor | None) -> Tensor:
        """Parameters of π(·|s) [N, P], as `distribution` reads them.

        Args:
            features: of the policy, [N, Fp].
            action_mask: bool, a column for each action, or value of each part; None: everything is legal.
        """
        return self.distribution.params(self.outputs(features), action_mask)

    def scaled_values(self, features: Tensor) -> Tensor:
        """V(s) / `value_scale` [N]: the output of the value head, in the unit of the value loss.

        `features` [N, Fc] are those of the critic.
        """
        head: Tensor = self.critic(features)
        return head.squeeze(-1)

    def forward(self, observations: Mapping[str, Tensor], action_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Log-probabilities [N, A] of the masked distribution, and values [N] in reward units."""
        features = self.body(self.encode(observations))
        return self.params(features.policy, action_mask), self.scaled_values(features.critic) * self.value_scale

    def act(
        self, observations: Mapping[str, NDArray[np.float32]], action_mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `townlet_trajectory.evaluation.interfaces.Actor.act`.

        Raises:
            ShapeError: if an input is missing, or an input or the mask has another shape.
            ActionMaskError: if a row of `action_mask` has no legal action.
            NonFiniteError: if an output is not finite, that of a forbidden action too.
        """
        self._require_inputs({name: values.shape for name, values in observations.items()})
        if self._array_trunks is None:
            is_tanh = self.config.activation == "tanh"
            self._array_trunks = array_trunk(self.policy, is_tanh=is_tanh), array_trunk(self.critic, is_tanh=is_tanh)
        policy, critic = self._array_trunks
        encoded = side_by_side([observations[name] for name in self.observation_shapes])
        if action_mask is not None:
            require_legal_action(action_mask, shape=(len(encoded), self.num_actions))
        if self.config.normalize_observations != "none":
            encoded -= self.observation_mean.numpy()
            encoded /= self.observation_std.numpy()
            np.clip(encoded, -_CLIP, _CLIP, out=encoded)
        logits = policy(encoded)
        values = critic(encoded)[:, 0] * self.value_scale.numpy()
        # Before the mask, which would hide a NaN until the action becomes legal.
        if not (np.isfinite(logits).all() and np.isfinite(values).all()):
            raise NonFiniteError("act", "the network's logits or values are not finite")
        return log_softmax(logits, action_mask), values

    def _require_inputs(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise `ShapeError` unless `shapes` hold every input, [N, ...] with the same N."""
        num_rows = None
        for name, shape in self.observation_shapes.items():
            if name not in shapes:
                raise ShapeError(f"observation `{name}` is missing, got {sorted(shapes)}")
            if len(shapes[name]) != 1 + len(shape) or shapes[name][1:] != shape:
                raise ShapeError(f"observation `{name}` must be [N, {shape}], got {shapes[name]}")
            num_rows = shapes[name][0] if num_rows is None else num_rows
            if shapes[name][0] != num_rows:
                raise ShapeError(f"observation `{name}` must have {num_rows} rows as others, got {shapes[name][0]}")

    def fit_normalizer(self, batch: TrajectoryBatch) -> None:
        """Set the frozen mean and standard deviation of every input to those of the rows of `batch`.

        Raises:
            EmptyBatchError: if there is no row.
        """
        if not batch.num_steps:
            raise EmptyBatchError("the statistics of observations need at least one row")
        columns = [
            np.asarray(batch.observations[name], np.float32).reshape(batch.num_steps, math.prod(shape))
            for name, shape in self.observation_shapes.items()
        ]
        mean = np.concatenate([column.mean(axis=0, dtype=np.float64) for column in columns])
        std = np.concatenate([column.std(axis=0, dtype=np.float64) for column in columns])
        self._set_normalizer(mean, std)

    def set_moments(self, moments: Mapping[str, Moments]) -> None:
        """Set the frozen mean and standard deviation of every input to those of `moments`, by its name."""
        found = [moments[name] for name in self.observation_shapes]
        self._set_normalizer(
            np.concatenate([each.mean.reshape(-1) for each in found]),
            np.concatenate([each.std.reshape(-1) for each in found]),
        )

    def _set_normalizer(self, mean: NDArray[np.float64], std: NDArray[np.float64]) -> None:
        """Set the frozen `mean` and standard deviation `std` [F] of all inputs, flattened, in the order of their names.

        A feature that never varies has standard deviation 1: it is shifted to 0 and stays on its scale, should it
        begin to vary.
        """
        std = np.where(std < _CONSTANT_STD, 1.0, std)
        fitted = self._unread() if self.keeps_statistics else torch.full((len(mean),), True)
        with torch.no_grad():
            self.observation_mean[fitted] = torch.from_numpy(mean).float()[fitted]
            self.observation_std[fitted] = torch.from_numpy(std).float()[fitted]

    def _unread(self) -> Tensor:
        """Return which inputs [F] bool were added, and have no weight but 0 in either trunk."""
        unread = torch.full_like(self.observation_mean, False, dtype=torch.bool)
        for number, policy in self.policy.added_inputs.items():
            critic = self.critic.added_inputs[number]
            if isinstance(policy, AddedInputs) and isinstance(critic, AddedInputs):
                weights = torch.cat([policy.weight, critic.weight]).detach()
                unread[policy.columns] = (weights == 0.0).all(dim=0)
        return unread

    def set_value_scale(self, scale: float) -> None:
        """Set the frozen unit of the value head to `scale` reward units; values change by the same factor.

        Raises:
            ConfigError: if `scale` is not finite and above 0 as a float32.
        """
        with np.errstate(over="ignore"):
            narrow = np.float32(scale)
        if not 0.0 < narrow < math.inf:
            raise ConfigError(f"`scale` must be finite and above 0 as a float32, got {scale!r}")
        with torch.no_grad():
            self.value_scale.fill_(scale)


def side_by_side(observations: Sequence[Floats]) -> Floats:
    """Flatten each [N, ...] to [N, F_i] and put them side by side: [N, F], float32, new memory."""
    # The size is said, not left to numpy to find: of no rows it cannot be found.
    flat = [array.reshape(len(array), math.prod(array.shape[1:])) for array in observations]
    return np.concatenate(flat, axis=1, dtype=np.float32)
