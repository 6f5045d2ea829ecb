"""Policies over whole batches of agents, which worlds they fit, and how actions are drawn from log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import Proposals, Purpose, uniforms
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import Observations, Observed, SimulationSpec
from townlet_trajectory.evaluation.interfaces import Actor
from townlet_trajectory.evaluation.policy_card import Commitment, PolicyCard, spec_digest

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
class Policy(MadeForSpec, Actor, Protocol):
    """An actor that states the actions and observations it was made for."""


@dataclass(frozen=True, kw_only=True)
class UniformPolicy:
    """Every legal action is equally likely, every state is worth 0. A `Policy`."""

    vocabulary: tuple[str, ...]
    observation_shapes: Mapping[str, tuple[int, ...]]
    digest: str | None = None

    def act(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = len(next(iter(observations.values())))
        legal = np.ones((rows, len(self.vocabulary)), np.bool_) if action_mask is None else action_mask
        # No -inf: masked entries are finfo.min, as everywhere, and exp of it is exactly 0.
        lowest = np.finfo(np.float32).min
        counts = legal.sum(axis=1, dtype=np.float32)[:, None]
        log_probs = np.where(legal, -np.log(np.maximum(counts, 1.0)), lowest).astype(np.float32)
        return log_probs, np.zeros(rows, np.float32)


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
    return spec_digest(spec.vocabulary.keys, spec.observation_shapes, spec.feature_names, commitment_of(spec))


def require_fit(policy: MadeForSpec, spec: SimulationSpec) -> None:
    """Refuse a policy that was made for other actions or observations.

    Names of features and the place of commitments are compared where the policy states them.

    Raises:
        SimulationError: names the actions or observations that differ.
    """
    if policy.vocabulary != spec.vocabulary.keys:
        raise SimulationError(
            f"the policy does not fit `{spec.name}`: {_actions_that_differ(policy.vocabulary, spec.vocabulary.keys)}"
        )
    ours, theirs = dict(spec.observation_shapes), dict(policy.observation_shapes)
    differing = [
        f"`{name}` is {ours.get(name, 'absent')} here and {theirs.get(name, 'absent')} in the policy"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]
    if not differing and isinstance(policy, LabelledPolicy):
        differing = _unlike(policy.card, spec)
    if differing:
        raise SimulationError(f"the policy does not fit `{spec.name}`: " + "; ".join(differing))


def _unlike(card: PolicyCard, spec: SimulationSpec) -> list[str]:
    """What differs beside actions and shapes, as far as both sides state it."""
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


def _actions_that_differ(theirs: tuple[str, ...], ours: tuple[str, ...]) -> str:
    missing = [key for key in ours if key not in theirs]
    unknown = [key for key in theirs if key not in ours]
    if not missing and not unknown:
        return f"the same {len(ours)} actions in another order: {list(theirs)}, here {list(ours)}"
    return f"actions it lacks: {missing}; actions unknown here: {unknown}"


def sample_actions(log_probs: NDArray[np.float32], uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Draw one action a row by the inverse of its distribution function.

        a = min {a : Σ_{b ≤ a} π(b) > u Σ_b π(b)}

    An action of probability 0 (masked: log-probability finfo.min) is never drawn. A row that is no distribution (NaN,
    or no action possible) gives A, which is no action: the bridge refuses it by agent and tick.

    Args:
        log_probs: [N, A]; need not be normalized.
        uniforms: [N] in [0, 1).

    Returns:
        [N] action indices.
    """
    # The ufuncs themselves: at ten agents the methods that wrap them cost as much as the work.
    cumulative = np.exp(log_probs, dtype=np.float64)
    np.add.accumulate(cumulative, axis=1, out=cumulative)
    # u < 1, so u times the total stays below the total, whatever the rounding, and the index below A.
    thresholds = uniforms * cumulative[:, -1]
    drawn: NDArray[np.int64] = log_probs.shape[1] - np.add.reduce(cumulative > thresholds[:, None], axis=1)
    return drawn


def greedy_actions(log_probs: NDArray[np.float32]) -> NDArray[np.int64]:
    """Take the most probable action of each row [N, A]; the lowest index among equals.

    A row that is no distribution (NaN, or no action possible) gives A, as in `sample_actions`.
    """
    best: NDArray[np.int64] = log_probs.argmax(axis=1)  # of a row with NaN: the place of the first NaN
    probability = np.exp(log_probs[np.arange(len(best)), best], dtype=np.float64)
    best[~((probability > 0.0) & (probability < np.inf))] = log_probs.shape[1]
    return best


def propose(policy: Actor, observed: Observed, *, seed: int, tick: int, greedy: bool) -> Proposals:
    """Propose an action for every agent: one forward pass, and one draw each unless `greedy`.

    Args:
        policy: acts for all agents at once.
        observed: the view of this tick, N agents.
        seed: of the draws.
        tick: the global tick; no two ticks draw the same numbers.
        greedy: take the most probable action instead.
    """
    log_probs, values = policy.act(observed.observations, observed.action_mask)
    return proposals_of(log_probs, values, observed, seed=seed, tick=tick, greedy=greedy)


def proposals_of(
    log_probs: NDArray[np.float32],
    values: NDArray[np.float32] | None,
    observed: Observed,
    *,
    seed: int,
    tick: int,
    greedy: bool,
) -> Proposals:
    """Draw the actions of a policy that has answered.

    Args:
        log_probs: [N, A].
        values: [N]; None: not known.
        observed: the view that they are of.
        seed: of the draws.
        tick: the global tick.
        greedy: take the most probable action instead.
    """
    if greedy:
        actions = greedy_actions(log_probs)
    else:
        actions = sample_actions(log_probs, uniforms(seed, Purpose.POLICY, observed.keys, tick))
    return Proposals(actions=actions, log_probs=log_probs, values=values, greedy=greedy)
