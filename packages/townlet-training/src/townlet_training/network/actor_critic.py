"""The policy and value network, and its forward pass in torch and in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from townlet_training.errors import ConfigError, NonFiniteError, ShapeError
from townlet_training.network.acting import ArrayNetwork, PolicyAlone, require_inputs
from townlet_training.network.blocks import Wiring, num_inputs_of
from townlet_training.network.body import body_of
from townlet_training.network.distributions import Categorical, Distribution
from townlet_training.network.encoders import encoder_kinds
from townlet_training.network.gaussian import Gaussian, distribution_of
from townlet_training.network.memory import Features, Fragments
from townlet_training.network.statistics import CLIP, Normalized
from townlet_training.network.trunk import AddedInputs, Floats, Trunk
from townlet_training.network.weights import aligned, lay_side_by_side
from townlet_trajectory import ACTION_MASK
from townlet_trajectory.data.checks import is_finite

if TYPE_CHECKING:
    from townlet_training.network.config import NetworkConfig
    from townlet_training.network.spec import ObservationKind, PolicySpec


class ActorCritic(Normalized):
    """A masked policy and a value function, which share nothing but the normalization of their input, or more if asked.

    A forward pass has three steps: `encode`, the `body` that both may share, or remember by, and the trunks (`params`,
    `scaled_values`). The trunks are separate unless asked otherwise, because a critic that warms up on a shared one
    changes the policy (the clone is then lost).
    Implements `townlet_trajectory.evaluation.interfaces.Actor`; with a memory, `RecurrentActor`; `CriticOptional`.

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
        distribution: of the actions, which gives the outputs of the policy their meaning.
        observation_shapes: of the inputs of the policy, by name, in the order of their columns.
        num_actions: outputs of the policy (P): one for each action, or those of array actions.
        policy: trunk and head of the policy.
        critic: trunk and head of the values.
        front: what comes before the trunks; None where they read the observations as they are.
    """

    def __init__(
        self,
        observation_shapes: Mapping[str, tuple[int, ...]],
        actions: int | Distribution,
        config: NetworkConfig,
        *,
        generator: torch.Generator,
        wiring: Wiring | None = None,
        critic_shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
        observation_kinds: Mapping[str, ObservationKind] = MappingProxyType({}),
    ) -> None:
        """Build and initialize; nothing is drawn from torch's global generator.

        Args:
            observation_shapes: shape per agent of each input, by name, without the leading axis.
            actions: size A of the action vocabulary, or a distribution over other actions.
            config: of the network.
            generator: the only source of the initial weights.
            wiring: places of inputs and actions that were added; None: nothing was.
            critic_shapes: of the inputs that the critic alone sees.
            observation_kinds: of the inputs that show an image or a table of things.

        Raises:
            ConfigError: if there is no input, no action, or `action_mask` among the inputs; if an encoder does not fit
                its input; if inputs or actions were added to a network that has more than two trunks, or is of numbers.
        """
        if not observation_shapes or ACTION_MASK in observation_shapes:
            raise ConfigError(
                f"`observation_shapes` must name inputs, and `action_mask` is none; got {sorted(observation_shapes)}"
            )
        own = {name: tuple(observation_shapes[name]) for name in sorted(observation_shapes)}
        critic_only = {name: tuple(critic_shapes[name]) for name in sorted(critic_shapes)}
        shapes = {**own, **critic_only}
        super().__init__(config, shapes, encoder_kinds(shapes, observation_kinds, config))
        self.observation_shapes = own
        self.distribution = Categorical(actions) if isinstance(actions, int) else actions
        self.num_actions = self.distribution.num_outputs
        if self.num_actions < 1:
            raise ConfigError(f"`actions` must be at least 1, got {actions!r}")
        self.front = body_of(self.observation_shapes, critic_only, self.kinds, config, generator=generator)
        self._build_trunks(wiring, generator)
        self.add_buffers()
        lay_side_by_side(tuple(self.parameters()))
        self._twin: ArrayNetwork | None = None

    def _build_trunks(self, wiring: Wiring | None, generator: torch.Generator) -> None:
        config, head = self.config, self.distribution.head_size
        plain = Wiring.plain(num_inputs_of(self.observation_shapes), head)
        wiring = plain if wiring is None else wiring
        own, critics = wiring.inputs, wiring.inputs
        if self.front is not None or isinstance(self.distribution, Gaussian):
            if wiring != plain:
                raise ConfigError(
                    "inputs and actions can be added to networks of discrete actions whose trunks read observations as "
                    "they are: without memory, encoders, shared layers and observations of the critic alone"
                )
            if self.front is not None:
                own, critics = ((tuple(range(size)),) for size in (self.front.num_policy, self.front.num_critic))
        shared = config.trunk == "shared"
        sizes = () if shared else config.hidden_sizes
        critic_sizes = sizes if config.critic_hidden_sizes is None else config.critic_hidden_sizes
        self.policy = Trunk(
            own, wiring.actions, config, hidden_sizes=sizes, head_gain=config.policy_head_gain, generator=generator
        )
        self.critic = Trunk(critics, ((0,),), config, hidden_sizes=critic_sizes, head_gain=1.0, generator=generator)
        self.policy_log_std: nn.Parameter | None = None
        if isinstance(self.distribution, Gaussian):
            initial = self.distribution.unbounded(config.initial_log_std)
            self.policy_log_std = nn.Parameter(torch.full((head,), initial))

    @classmethod
    def of(cls, spec: PolicySpec, config: NetworkConfig, *, generator: torch.Generator) -> ActorCritic:
        """Build and initialize the network of a policy.

        Args:
            spec: its actions and observations.
            config: of the network.
            generator: the only source of the initial weights.

        Raises:
            ConfigError: if an encoder does not fit its observation, or actions or inputs were added to a network of
                another kind than `ActorCritic` allows.
        """
        return cls(
            spec.observation_shapes,
            distribution_of(spec),
            config,
            generator=generator,
            wiring=spec.wiring if spec.blocks else None,
            critic_shapes=spec.critic_shapes,
            observation_kinds=spec.observation_kinds,
        )

    @property
    def state_size(self) -> int:
        """Numbers of memory that an agent has (S); 0: none."""
        return 0 if self.front is None else self.front.state_size

    @property
    def policy_state_size(self) -> int:
        """Numbers of memory that the policy reads: the first of the state."""
        return 0 if self.front is None else self.front.policy_state_size

    @property
    def has_body(self) -> bool:
        """Whether weights come before the trunks of policy and critic: encoders, a memory, or shared layers."""
        return self.front is not None and next(self.front.parameters(), None) is not None

    @property
    def shares_body(self) -> bool:
        """Whether policy and critic have weights in common, so that a loss of the one moves the other."""
        return self.config.trunk == "shared"

    @property
    def policy_parameters(self) -> dict[str, nn.Parameter]:
        """All that the policy depends on, by name; weights that it shares with the critic too."""
        critics = self.critic_parameters
        return {name: parameter for name, parameter in self.named_parameters() if name not in critics}

    @property
    def critic_parameters(self) -> dict[str, nn.Parameter]:
        """All that the values alone depend on, by name."""
        parts = ("critic.", "front.critic.", "front.extra.")
        return {name: parameter for name, parameter in self.named_parameters() if name.startswith(parts)}

    def __getstate__(self) -> dict[str, Any]:
        # Views of this network's memory must not follow a copy.
        return {**self.__dict__, "_twin": None}

    def encode(self, observations: Mapping[str, Tensor]) -> Tensor:
        """Flatten, concatenate in the order of `input_shapes`, normalize and clip where configured: [N, F].

        Without gradient, and on the device of the network.

        Raises:
            ShapeError: if an input is missing or has another shape.
        """
        return self._encoded(observations, self.input_shapes)

    def encode_policy(self, observations: Mapping[str, Tensor]) -> Tensor:
        """`encode` the inputs of the policy alone: the first columns of all.

        Raises:
            ShapeError: if an input is missing or has another shape.
        """
        return self._encoded(observations, self.observation_shapes)

    def _encoded(self, observations: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> Tensor:
        require_inputs(observations, shapes)
        mean, std = self.observation_mean, self.observation_std
        parts = [observations[name].to(mean.device, mean.dtype) for name in shapes]
        flat = [part.flatten(start_dim=1) if part.ndim > 1 else part.unsqueeze(1) for part in parts]
        features = torch.cat(flat, dim=1)
        if self.config.normalize_observations == "none":
            return features
        if len(shapes) < len(self.input_shapes):
            mean, std = mean[: features.shape[1]], std[: features.shape[1]]
        return features.sub_(mean).div_(std).clamp_(-CLIP, CLIP)

    def body(self, encoded: Tensor, fragments: Fragments | Tensor | None = None) -> Features:
        """What the trunks of policy and critic read, from `encoded` [R, F]; itself, without a body.

        Args:
            encoded: of R rows.
            fragments: the stretches that a memory goes through, or states [R, S] of a step of each row; None without
                a memory.

        Raises:
            ShapeError: if a memory has no fragments, or some of other rows or states.
        """
        if self.front is None:
            return Features(encoded, encoded, None)
        features: Features = self.front(encoded, fragments)
        return features

    def outputs(self, features: Tensor) -> Tensor:
        """What the policy says before any mask, [N, P], of its features [N, Fp]: input of `distribution.params`."""
        return self.completed(self.policy(features))

    def completed(self, head: Tensor) -> Tensor:
        """`outputs` [N, P] of what the policy's head says [N, H]: a Gaussian's deviations are not of the head."""
        if self.policy_log_std is None:
            return head
        return torch.cat([head, self.policy_log_std.expand_as(head)], dim=1)

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
        """Log-probabilities [N, A] of the masked distribution, and values [N] in reward units; without a memory."""
        features = self.body(self.encode(observations))
        return self.params(features.policy, action_mask), self.scaled_values(features.critic) * self.value_scale

    @overload
    def act(
        self, observations: Mapping[str, Floats], action_mask: NDArray[np.bool_] | None
    ) -> tuple[Floats, Floats]: ...

    @overload
    def act(
        self, observations: Mapping[str, Floats], action_mask: NDArray[np.bool_] | None, state: Floats
    ) -> tuple[Floats, Floats, Floats]: ...

    def act(
        self, observations: Mapping[str, Floats], action_mask: NDArray[np.bool_] | None, state: Floats | None = None
    ) -> tuple[Floats, Floats] | tuple[Floats, Floats, Floats]:
        """Act as a `townlet_trajectory.evaluation.interfaces.Actor`, with a `state` as a `RecurrentActor`.

        Args:
            observations: each [N, ...]; names that the network does not use are ignored.
            action_mask: [N, P] bool, with something legal in every row (and part); None if all is.
            state: [N, S], as it was handed back for the same agents the tick before; None without a memory.

        Returns:
            Parameters of the distribution [N, P], values [N] in reward units, and the next state where there was one.

        Raises:
            ShapeError: if an input is missing, or an input, the mask or the state has another shape.
            ActionMaskError: if a row of `action_mask` has no legal action.
            NonFiniteError: if an output is not finite, that of a forbidden action too.
        """
        params, values, after = self.acted(observations, action_mask, state)
        if state is None:
            return params, cast("Floats", values)
        return params, cast("Floats", values), state if after is None else after

    def without_values(self) -> PolicyAlone:
        """Return an actor that acts as this network does from here on, but for its values, which are None.

        A `townlet_trajectory.evaluation.interfaces.CriticOptional` has this: the critic is half of the work.
        """
        return PolicyAlone(self)

    @property
    def twin(self) -> ArrayNetwork:
        """Its parts in numpy, of a network on the CPU."""
        if self._twin is None:
            self._twin = ArrayNetwork.of(self)
        return self._twin

    def acted(
        self,
        observations: Mapping[str, Floats],
        action_mask: NDArray[np.bool_] | None,
        state: Floats | None,
        *,
        with_values: bool = True,
    ) -> tuple[Floats, Floats | None, Floats | None]:
        """Do one forward pass in numpy.

        Args:
            observations: as of `act`.
            action_mask: as of `act`.
            state: as of `act`.
            with_values: whether the critic is asked.

        Returns:
            As `act`: parameters, values, None without, and the next state, None without one.

        Raises:
            ShapeError, ActionMaskError, NonFiniteError: as `act`.
        """
        twin = self.twin
        encoded = twin.encoded(observations)
        if action_mask is not None:
            twin.distribution.require_legal(action_mask, num_rows=len(encoded))
        size = self.state_size
        if size if state is None else state.shape != (len(encoded), size):
            found = "none" if state is None else state.shape
            raise ShapeError(f"the memory of {len(encoded)} agents must be [{len(encoded)}, {size}], got {found}")
        evaluated = self._evaluated if self.kinds else twin.evaluated
        outputs, values, after = evaluated(encoded, state, with_values=with_values)
        if values is not None:
            values = values * twin.value_scale
        # Before the mask, which would hide a NaN until the action becomes legal.
        if not is_finite(outputs) or not (values is None or is_finite(values)):
            raise NonFiniteError("act", "the network's logits or values are not finite")
        return twin.distribution.array_params(outputs, action_mask), values, after

    def _evaluated(
        self, encoded: Floats, state: Floats | None, *, with_values: bool
    ) -> tuple[Floats, Floats | None, Floats | None]:
        """As `ArrayNetwork.evaluated`, in torch, which alone has the encoders."""
        with torch.no_grad():
            features = self.body(aligned(encoded), None if state is None else aligned(state))
            outputs = self.outputs(features.policy).numpy()
            values = self.scaled_values(features.critic).numpy() if with_values else None
        return outputs, values, None if features.states is None else features.states.numpy()

    def unread(self) -> Tensor:
        """Return which inputs [F] bool were added, and have no weight but 0 in either trunk."""
        unread = torch.full_like(self.observation_mean, False, dtype=torch.bool)
        for number, policy in self.policy.added_inputs.items():
            critic = self.critic.added_inputs[number]
            if isinstance(policy, AddedInputs) and isinstance(critic, AddedInputs):
                weights = torch.cat([policy.weight, critic.weight]).detach()
                unread[policy.columns] = (weights == 0.0).all(dim=0)
        return unread

    def rescale_values(self, factor: float) -> None:
        for weight in self.critic.linear_layers()[-1].parameters():
            weight.mul_(factor)
