"""Policies over whole batches of agents, which worlds they fit, and how actions are drawn from log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import Proposals, Purpose, SavedState, uniforms
from townlet_behavior.blend import tempered_log_probs
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import Observations, Observed, SimulationSpec
from townlet_runtime.simulation.saved_state import saved_array
from townlet_trajectory.evaluation.interfaces import Actor, AnyActor, CriticOptional
from townlet_trajectory.evaluation.interfaces import RecurrentActor as RecurrentActor
from townlet_trajectory.evaluation.policy_card import Commitment, PolicyCard, spec_digest

_SHOWN = 4
"""Differing features that an error names."""
STATE = "policy_state"
"""Key of the recurrent state in a saved state."""


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

    @classmethod
    def of(cls, spec: SimulationSpec) -> UniformPolicy:
        """Make the one for the agents of a group."""
        return cls(vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes)

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


def _actions_that_differ(theirs: tuple[str, ...], ours: tuple[str, ...]) -> str:
    missing = [key for key in ours if key not in theirs]
    unknown = [key for key in theirs if key not in ours]
    if not missing and not unknown:
        return f"the same {len(ours)} actions in another order: {list(theirs)}, here {list(ours)}"
    return f"actions it lacks: {missing}; actions unknown here: {unknown}"


def sample_actions(
    log_probs: NDArray[np.float32],
    uniforms: NDArray[np.float64],
    temperatures: NDArray[np.float32] | None = None,
) -> NDArray[np.int64]:
    """Draw one action a row by the inverse of its distribution function.

        a = min {a : Σ_{b ≤ a} π(b) > u Σ_b π(b)}

    An action of probability 0 (masked: log-probability finfo.min) is never drawn. A row that is no distribution (NaN,
    or no action possible) gives A, which is no action: the bridge refuses it by agent and tick.

    Args:
        log_probs: [N, A]; need not be normalized.
        uniforms: [N] in [0, 1).
        temperatures: τ > 0 of each row [N], which is drawn from π_τ ∝ π^(1/τ); None: 1.

    Returns:
        [N] action indices.
    """
    # The ufuncs themselves: at ten agents the methods that wrap them cost as much as the work.
    cumulative = np.exp(log_probs, dtype=np.float64)
    if temperatures is not None:
        # Rows at temperature 1 keep their bits, whoever is beside them.
        rows = np.flatnonzero(temperatures != 1.0)
        with np.errstate(invalid="ignore"):
            cumulative[rows] = np.exp(tempered_log_probs(log_probs[rows], temperatures[rows]))
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


def propose(
    policy: Actor,
    observed: Observed,
    *,
    seed: int,
    tick: int,
    greedy: bool,
    temperatures: NDArray[np.float32] | None = None,
) -> Proposals:
    """Propose an action for every agent: one forward pass, and one draw each unless `greedy`.

    Args:
        policy: acts for all agents at once.
        observed: the view of this tick, N agents.
        seed: of the draws.
        tick: the global tick; no two ticks draw the same numbers.
        greedy: take the most probable action instead.
        temperatures: [N] of the draws; None: 1.
    """
    log_probs, values = policy.act(observed.observations, observed.action_mask)
    return proposals_of(log_probs, values, observed, seed=seed, tick=tick, greedy=greedy, temperatures=temperatures)


def proposals_of(
    log_probs: NDArray[np.float32],
    values: NDArray[np.float32] | None,
    observed: Observed,
    *,
    seed: int,
    tick: int,
    greedy: bool,
    temperatures: NDArray[np.float32] | None = None,
) -> Proposals:
    """Draw the actions of a policy that has answered.

    Args:
        log_probs: [N, A].
        values: [N]; None: not known.
        observed: the view that they are of.
        seed: of the draws.
        tick: the global tick.
        greedy: take the most probable action instead.
        temperatures: [N] of the draws; None: 1.
    """
    if greedy:
        actions = greedy_actions(log_probs)
    else:
        actions = sample_actions(log_probs, uniforms(seed, Purpose.POLICY, observed.keys, tick), temperatures)
    return Proposals(actions=actions, log_probs=log_probs, values=values, greedy=greedy, temperatures=temperatures)


class ActingPolicy:
    """The policy of a runtime: asks it about all agents of a tick, and keeps its recurrent state by slot.

    The state of a slot is zero where an agent begins, and moves on at every tick at which the agent is there, whoever
    decides for it.

    Args:
        spec: of the simulation.
        asks_values: whether values are needed; where not, a policy that can leave them out does.
    """

    def __init__(self, spec: SimulationSpec, *, asks_values: bool) -> None:
        self._spec = spec
        self._asks_values = asks_values
        self.digest: str | None = None
        """Names the policy."""
        # One of them at most; told apart once, because asking a protocol is slow.
        self._stateless: Actor | None = None
        self._recurrent: RecurrentActor | None = None
        self._state: NDArray[np.float32] = np.zeros((spec.capacity, 0), np.float32)

    def set_policy(self, policy: AnyActor | None, *, keep_state: bool) -> None:
        """Let another policy propose.

        Args:
            policy: None: none. One that says what it was made for is held to it; another is taken to fit.
            keep_state: whether it goes on with the recurrent state that is there, as newer weights of the same network
                do; else, and where its state is of another size, it remembers nothing of any agent.

        Raises:
            SimulationError: if the policy was made for other actions or observations.
        """
        digest = None
        if isinstance(policy, MadeForSpec):
            require_fit(policy, self._spec)
            digest = policy.digest
        self.digest = digest
        if not self._asks_values and isinstance(policy, CriticOptional):
            policy = policy.without_values()
        if isinstance(policy, RecurrentActor):
            self._stateless, self._recurrent, size = None, policy, policy.state_size
        else:
            self._stateless, self._recurrent, size = policy, None, 0
        if policy is None and keep_state:
            return
        if not keep_state or self._state.shape[1] != size:
            self._state = np.zeros((self._spec.capacity, size), np.float32)

    def propose(
        self,
        observed: Observed,
        *,
        seed: int,
        tick: int,
        greedy: bool,
        temperatures: NDArray[np.float32] | None = None,
    ) -> Proposals | None:
        """Propose an action for every agent: one forward pass, and one draw each unless `greedy`.

        Args:
            observed: the view of this tick, N agents.
            seed: of the draws.
            tick: the global tick; no two ticks draw the same numbers.
            greedy: take the most probable action instead.
            temperatures: [N] of the draws; None: 1.

        Returns:
            None without a policy, and where there is no agent to ask about.

        Raises:
            SimulationError: if a number of recurrent state is not finite; names world, agent and tick.
        """
        slots, mask = observed.slots, observed.action_mask
        if not len(slots):
            return None
        if self._stateless is not None:
            log_probs, values = self._stateless.act(observed.observations, mask)
        elif self._recurrent is not None:
            log_probs, values, state = self._recurrent.act(observed.observations, mask, self._state[slots])
            _require_state(state, (len(slots), self._state.shape[1]), observed, tick)
            self._state[slots] = state
        else:
            return None
        return proposals_of(log_probs, values, observed, seed=seed, tick=tick, greedy=greedy, temperatures=temperatures)

    def forget(self, slots: NDArray[np.int64]) -> None:
        """The agents in `slots` have left: who comes after them begins without memory."""
        if self._state.shape[1]:
            self._state[slots] = 0.0

    def save_state(self) -> SavedState:
        """Recurrent state [capacity, S]; S is 0 where there is none."""
        return {STATE: self._state.copy()}

    def restore(self, state: SavedState) -> None:
        """Take up a recurrent state; before a policy is set, or with the policy that it is of.

        Raises:
            SimulationError: if the policy that is set has a state of another size.
        """
        saved = saved_array(state, STATE, dtype=np.float32, shape=(self._spec.capacity, None))
        has_policy = self._stateless is not None or self._recurrent is not None
        if has_policy and saved.shape[1] != self._state.shape[1]:
            raise SimulationError(
                f"expected a saved state of {self._state.shape[1]} numbers of recurrent state per agent, as the policy "
                f"has, got {saved.shape[1]}"
            )
        self._state = saved


def _require_state(state: NDArray[np.float32], shape: tuple[int, int], observed: Observed, tick: int) -> None:
    if state.shape != shape or state.dtype != np.float32:
        raise SimulationError(f"expected the next recurrent state float32 {shape}, got {state.dtype} {state.shape}")
    if np.count_nonzero(np.isfinite(state)) == state.size:
        return
    row = int((~np.isfinite(state)).any(axis=1).argmax())
    raise SimulationError(
        f"world {observed.worlds[row]}, agent {observed.agent_ids[row]!r}, tick {tick}: "
        "the recurrent state of the policy must be finite"
    )
