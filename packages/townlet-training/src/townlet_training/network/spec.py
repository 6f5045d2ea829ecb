"""What a policy is for: its actions, and its observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from townlet_training.errors import ConfigError
from townlet_training.network.blocks import PolicyBlock, Wiring, wiring_of
from townlet_trajectory import ACTION_MASK, ArrayActions, Box

ObservationKind = Literal["image", "entities"]
"""`image`: (C, H, W), channels first. `entities`: `NAME` (E, F), with `NAME_mask` (E,), 1 where there is a thing."""


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    """The actions and observations of a policy; stays with its weights wherever they go."""

    world: str
    """Name of the world it was trained in."""
    vocabulary: tuple[str, ...]
    """Keys of the actions, in the order of the network's outputs."""
    observation_shapes: Mapping[str, tuple[int, ...]]
    """Per agent, without the leading axis; all float32."""
    feature_names: tuple[str, ...] = ()
    """Names of the columns of the observation `features`; empty: not known."""
    commitment: tuple[str, int, int] | None = None
    """Where observations show the option in force: the observation, its first column, ticks that 1.0 stands for."""
    blocks: tuple[PolicyBlock, ...] = ()
    """Inputs and actions in the order in which the network got them; empty: all at once, in their order."""
    actions: ArrayActions | None = None
    """Actions that are no index, and then `vocabulary` is empty; None: indices into it."""
    distribution: Literal["", "clipped", "squashed"] = ""
    """Of a `Box`: how a Gaussian is brought within the bounds."""
    critic_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Observations that the critic alone sees, per agent; other names than those of `observation_shapes`."""
    observation_kinds: Mapping[str, ObservationKind] = field(default_factory=dict)
    """What an observation shows, where it is more than a row of numbers."""

    def __post_init__(self) -> None:
        if not self.world:
            raise ConfigError("`world` must be a name, got an empty string")
        if self.actions is not None and self.vocabulary:
            raise ConfigError(f"a policy has `vocabulary` or `actions`, got both: {self.actions!r:.80}")
        if self.actions is None and (len(set(self.vocabulary)) != len(self.vocabulary) or not self.vocabulary):
            raise ConfigError(f"`vocabulary` must hold distinct keys, at least one, got {self.vocabulary!r}")
        if isinstance(self.actions, Box) != bool(self.distribution):
            raise ConfigError(f"`distribution` is of a Box, and a Box has one, got {self.distribution!r}")
        seen_by_both = self.critic_shapes.keys() & self.observation_shapes.keys()
        if seen_by_both or ACTION_MASK in self.critic_shapes:
            raise ConfigError(f"`critic_shapes` must be of observations of their own, got {sorted(self.critic_shapes)}")
        if not self.observation_shapes or "action_mask" in self.observation_shapes:
            raise ConfigError(
                "`observation_shapes` must name at least one observation and not `action_mask`, "
                f"got {sorted(self.observation_shapes)}"
            )
        _ = self.wiring

    @property
    def num_outputs(self) -> int:
        """Outputs of the policy: one for each action, or as many as array actions have."""
        return len(self.vocabulary) if self.actions is None else self.actions.num_outputs

    @property
    def wiring(self) -> Wiring:
        """The places of the inputs and actions of each block; `ConfigError` if `blocks` are not all of them."""
        return wiring_of(
            self.blocks,
            observation_shapes=self.observation_shapes,
            feature_names=self.feature_names,
            vocabulary=self.vocabulary,
        )
