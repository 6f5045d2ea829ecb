"""Policies over whole batches of agents, and which worlds they fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeGuard, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

import townlet_trajectory
from townlet_behavior import ArrayActions, Box, MultiDiscrete
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.drawing import Distribution
from townlet_runtime.simulation.interface import Observations, SimulationSpec
from townlet_runtime.simulation.recorded import recorded_actions
from townlet_trajectory.evaluation.interfaces import Actor, AnyActor
from townlet_trajectory.evaluation.interfaces import RecurrentActor as RecurrentActor
from townlet_trajectory.evaluation.policy_card import Commitment, PolicyCard, spec_digest

AnyArrayActions: TypeAlias = ArrayActions | townlet_trajectory.ArrayActions
"""As behavior or records describe them: equal digests mean equal actions."""
_SHOWN = 4
"""Differing features that an error names."""


@runtime_checkable
class MadeForSpec(Protocol):
    """A policy, recurrent or not, that states the actions and observations it was made for."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The keys of its A actions."""
        ...

    @property
    def observation_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Per agent, without the leading axis."""
        ...

    @property
    def digest(self) -> str | None:
        """Hexadecimal SHA-256 that identifies it, None where it has none."""
        ...


@runtime_checkable
class MadeForActions(Protocol):
    """A policy that states which array actions it was made for; one that does not was made for a vocabulary."""

    @property
    def actions(self) -> AnyArrayActions | None:
        """None: indices into its vocabulary."""
        ...


class Named(Protocol):
    """Has a name."""

    @property
    def name(self) -> str: ...


@runtime_checkable
class Distributed(Protocol):
    """A policy that states how numbers are distributed: by a name, or by a distribution that has one."""

    @property
    def distribution(self) -> str | Named:
        """`clipped` or `squashed` where its actions are a `Box`, else empty; see `policy.drawing`."""
        ...


@runtime_checkable
class Policy(MadeForSpec, Actor, Protocol):
    """An actor that states the actions and observations it was made for."""


@dataclass(frozen=True, kw_only=True)
class UniformPolicy:
    """Every legal action is equally likely, every state is worth 0. A `Policy`."""

    vocabulary: tuple[str, ...]
    observation_shapes: Mapping[str, tuple[int, ...]]
    digest: str | None = None
    actions: ArrayActions | None = None

    @classmethod
    def of(cls, spec: SimulationSpec) -> UniformPolicy:
        """Make the one for the agents of a group."""
        return cls(vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes, actions=spec.actions)

    @property
    def distribution(self) -> str:
        """`uniform` where actions are numbers: any within the bounds is as likely as another."""
        return "uniform" if isinstance(self.actions, Box) else ""

    def act(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = len(next(iter(observations.values())))
        return self._params(rows, action_mask), np.zeros(rows, np.float32)

    def _params(self, rows: int, action_mask: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        if isinstance(self.actions, Box):
            # Mean and deviation of a uniform number, (high - low) / √12: what is said of it, nothing is drawn from it.
            low, high = np.array(self.actions.low), np.array(self.actions.high)
            moments = np.concatenate([(low + high) / 2.0, np.log((high - low) / np.sqrt(12.0))])
            return np.tile(moments.astype(np.float32), (rows, 1))
        sizes = self.actions.sizes if isinstance(self.actions, MultiDiscrete) else (len(self.vocabulary),)
        legal = np.ones((rows, sum(sizes)), np.bool_) if action_mask is None else action_mask
        # No -inf: masked entries are finfo.min, as everywhere, and exp of it is exactly 0.
        lowest = np.finfo(np.float32).min
        counts = np.add.reduceat(legal, np.cumsum((0, *sizes[:-1])), axis=1, dtype=np.float32)
        each = -np.log(np.maximum(counts, 1.0)).repeat(sizes, axis=1)
        log_probs: NDArray[np.float32] = np.where(legal, each, lowest).astype(np.float32)
        return log_probs


@runtime_checkable
class LabelledPolicy(MadeForSpec, Protocol):
    """A policy that was read from a file, which says more of the world it was made for."""

    @property
    def card(self) -> PolicyCard:
        """The label of the file."""
        ...


def commitment_of(spec: SimulationSpec) -> Commitment | None:
    """Return where observations of a world show the option in force, as a policy's card has it."""
    shown = spec.commitment_columns
    return None if shown is None else (shown.observation, shown.start, shown.max_ticks)


def spec_sha256(spec: SimulationSpec) -> str:
    """Return the digest of all that a world and a policy made for it have in common, as in the policy's card."""
    return spec_digest(
        spec.vocabulary.keys,
        spec.observation_shapes,
        spec.feature_names,
        commitment_of(spec),
        actions=recorded_actions(spec),
    )


def require_fit(policy: MadeForSpec, spec: SimulationSpec) -> None:
    """Refuse a policy that was made for other actions or observations.

    Names of features and the place of commitments are compared where the policy states them.

    Raises:
        SimulationError: names the actions or observations that differ.
    """
    actions = policy.actions if isinstance(policy, MadeForActions) else None
    if (None if actions is None else actions.digest) != (None if spec.actions is None else spec.actions.digest):
        theirs = _described(policy.vocabulary if actions is None else actions)
        here = _described(spec.vocabulary.keys if spec.actions is None else spec.actions)
        raise SimulationError(f"the policy does not fit `{spec.name}`: it was made for {theirs}, here are {here}")
    if policy.vocabulary != spec.vocabulary.keys:
        raise SimulationError(
            f"the policy does not fit `{spec.name}`: {_actions_that_differ(policy.vocabulary, spec.vocabulary.keys)}"
        )
    shown, known = dict(spec.observation_shapes), dict(policy.observation_shapes)
    differing = [
        f"`{name}` is {shown.get(name, 'absent')} here and {known.get(name, 'absent')} in the policy"
        for name in sorted(shown.keys() | known.keys())
        if shown.get(name) != known.get(name)
    ]
    if not differing and isinstance(policy, LabelledPolicy):
        differing = _unlike(policy.card, spec)
    if differing:
        raise SimulationError(f"the policy does not fit `{spec.name}`: " + "; ".join(differing))


def _unlike(card: PolicyCard, spec: SimulationSpec) -> list[str]:
    """List the differing entries beside actions and shapes, of those that both sides state."""
    differing = []
    if card.feature_names and spec.feature_names:
        columns = enumerate(zip(spec.feature_names, card.feature_names, strict=False))
        differing = [
            f"column {column} of `features` is `{ours}` here and `{theirs}` in the policy"
            for column, (ours, theirs) in columns
            if ours != theirs
        ][:_SHOWN]
    shown = commitment_of(spec)
    if card.commitment is not None and card.commitment != shown:
        differing.append(
            "the option in force (observation, first column, ticks that 1.0 stands for) is shown in "
            f"{shown} here and {card.commitment} in the policy"
        )
    return differing


def _described(actions: tuple[str, ...] | AnyArrayActions) -> str:
    if isinstance(actions, tuple):
        return f"{len(actions)} actions of a vocabulary"
    if isinstance(actions, MultiDiscrete | townlet_trajectory.MultiDiscrete):
        return f"parts {', '.join(f'`{name}` of {len(keys)}' for name, keys in actions.parts.items())}"
    bounds = zip(actions.names, actions.low, actions.high, strict=True)
    return f"numbers {', '.join(f'`{name}` in [{low:g}, {high:g}]' for name, low, high in bounds)}"


def distribution_of(policy: AnyActor | None) -> Distribution:
    """Return how the numbers of a policy's actions are distributed: as it states, else `clipped`.

    Raises:
        SimulationError: if it states another distribution than there is.
    """
    said = policy.distribution if isinstance(policy, Distributed) else ""
    stated = said if isinstance(said, str) else said.name
    for known in get_args(Distribution):
        if stated == known:
            return known  # type: ignore[no-any-return]
    if stated:
        raise SimulationError(f"expected a distribution of the policy among {get_args(Distribution)}, got {stated!r}")
    return "clipped"


def is_recurrent(policy: AnyActor | None) -> TypeGuard[RecurrentActor]:
    """Whether a policy has a memory; a network may be of either kind, and states a size of 0 without one."""
    return isinstance(policy, RecurrentActor) and policy.state_size > 0


def memory_size(policy: AnyActor | None) -> int:
    """Return the numbers of memory that a policy has of each agent; 0 without one."""
    return policy.state_size if is_recurrent(policy) else 0


def _actions_that_differ(theirs: tuple[str, ...], ours: tuple[str, ...]) -> str:
    missing = [key for key in ours if key not in theirs]
    unknown = [key for key in theirs if key not in ours]
    if not missing and not unknown:
        return f"the same {len(ours)} actions in another order: {list(theirs)}, here {list(ours)}"
    return f"actions it lacks: {missing}; actions unknown here: {unknown}"
