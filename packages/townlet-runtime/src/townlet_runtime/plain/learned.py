"""The learned side of a plain world: a provider of intents for one agent at a time, or a policy over observations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Generic, TypeAlias

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import PolicyError, Proposals
from townlet_behavior.config import OnPolicyError, clamped_ratio
from townlet_behavior.controllers import encode_intent
from townlet_runtime.errors import SimulationError
from townlet_runtime.plain.codec import Intent, World
from townlet_runtime.plain.recording import AgentObservations
from townlet_runtime.plain.view import PlainObserved
from townlet_runtime.policy.acting import propose
from townlet_runtime.policy.policy import Policy, is_recurrent, require_fit
from townlet_runtime.simulation.interface import Observed, SimulationSpec
from townlet_trajectory.evaluation.interfaces import Actor

log = logging.getLogger(__name__)

Provider: TypeAlias = Callable[[World, str, Intent], Intent | None]
"""World, agent id and the script's intent to an intent of its own, or None for no opinion."""


class LearnedSide(Generic[World, Intent]):
    """A policy or a provider, and its share of the decisions.

    Args:
        seed: of the policy's draws.
        greedy: take the policy's most probable actions instead of drawing.
        on_error: `script` lets the script decide for agents for which a provider raises.
    """

    def __init__(self, *, seed: int, greedy: bool, on_error: OnPolicyError) -> None:
        self._seed = seed
        self._greedy = greedy
        self._on_error = on_error
        self._policy: Actor | None = None
        self._provider: Provider[World, Intent] | None = None
        self._fits: SimulationSpec | None = None
        self.is_blending = False
        self.ratio: float | None = None

    @property
    def has_provider(self) -> bool:
        """Whether intents come without probabilities."""
        return self._provider is not None

    @property
    def share(self) -> float:
        """Share of the decisions, 0 where the blend is off."""
        return self.ratio if self.is_blending and self.ratio is not None else 0.0

    def set_policy(self, policy: Actor | None) -> None:
        """Let a policy be the learned side, and no provider.

        Raises:
            SimulationError: if it has recurrent state, which is not kept here.
        """
        if is_recurrent(policy):
            raise SimulationError(
                f"expected a policy without recurrent state in a plain world, got one of {policy.state_size} numbers"
            )
        self._policy, self._provider, self._fits = policy, None, None

    def set_provider(self, provider: Provider[World, Intent] | None) -> None:
        """Let a provider be the learned side, and no policy."""
        self._policy, self._provider = None, provider

    def propose(
        self,
        view: PlainObserved[World, Intent],
        observations: AgentObservations,
        spec: SimulationSpec,
        temperatures: NDArray[np.float32] | None,
    ) -> Proposals | None:
        """Propose for the agents of a view; None without a learned side, or without agents.

        Args:
            view: with the script's intents.
            observations: holds the observations.
            spec: that a policy must have been made for.
            temperatures: [N] of a policy's draws; None: 1.

        Raises:
            SimulationError: if the policy was made for other actions or observations.
            PolicyError, UnknownActionError: see `ask_provider`.
        """
        if self._policy is not None:
            if isinstance(self._policy, Policy) and observations.current and self._fits is not spec:
                require_fit(self._policy, spec)
                self._fits = spec
            return ask_policy(
                self._policy, view, observations, seed=self._seed, greedy=self._greedy, temperatures=temperatures
            )
        if self._provider is None or self.share == 0.0:
            return None
        return ask_provider(self._provider, view, on_error=self._on_error)


class LearnedCalls(Generic[World, Intent]):
    """The part of a `PolicyRuntime` that says who the learned side is, and how often it decides; see `LearnedSide`.

    Args:
        seed: of the policy's draws.
        greedy: take the policy's most probable actions.
        on_error: what an exception of a provider does.
    """

    def __init__(self, *, seed: int, greedy: bool, on_error: OnPolicyError) -> None:
        self._learned: LearnedSide[World, Intent] = LearnedSide(seed=seed, greedy=greedy, on_error=on_error)
        self._policy_hash: str | None = None

    def set_policy(self, policy: Actor | None) -> None:
        """Make a policy over observations the learned side; None: there is none."""
        self._learned.set_policy(policy)
        self.set_policy_hash(policy.digest if isinstance(policy, Policy) else None)

    def set_policy_action_provider(self, provider: Provider[World, Intent] | None) -> None:
        """Let a function be the learned side: of world, agent id and the script's intent; its None is no opinion.

        Its intents have no probabilities: they are executed and recorded, and no policy is trained on them.
        """
        self._learned.set_provider(provider)
        self.set_policy_hash(None)

    def enable_anneal_blend(self, enabled: bool = True) -> None:
        """Blend script and learned side by the ratio; while it is off the script decides."""
        self._learned.is_blending = enabled

    def set_anneal_ratio(self, ratio: float | None) -> None:
        """Give the learned side this share of decisions, clamped to [0, 1]; None: none. NaN is a `ConfigError`."""
        self._learned.ratio = None if ratio is None else clamped_ratio(ratio)

    def current_anneal_ratio(self) -> float | None:
        """Return the ratio that was set, whether the blend is on or off."""
        return self._learned.ratio

    def active_policy_hash(self) -> str | None:
        """Return the digest of the policy, or the name that was given; None for none."""
        return self._policy_hash

    def set_policy_hash(self, digest: str | None) -> None:
        """Name the learned side, where it has no digest of its own."""
        self._policy_hash = digest


def ask_provider(
    provider: Provider[World, Intent], view: PlainObserved[World, Intent], *, on_error: OnPolicyError
) -> Proposals:
    """Ask for an intent of every agent. Their probabilities are unknown, so no policy is trained on them.

    Args:
        provider: a user's own function.
        view: with the script's intents.
        on_error: `script` lets the script decide for agents for which the provider raises.

    Raises:
        PolicyError: if the provider raises, and that is not to be passed over.
        UnknownActionError: if the codec does not know an intent.
    """
    wanted: dict[int, Intent] = {}
    actions, opinion = np.zeros(len(view.ids), np.int64), np.zeros(len(view.ids), np.bool_)
    for row, agent_id in enumerate(view.ids):
        try:
            intent = provider(view.world, agent_id, view.intents.scripted[row])
        except Exception as error:  # a user's own code
            problem = f"agent {agent_id!r}: the policy action provider raised {type(error).__name__}: {error}"
            if on_error == "raise":
                raise PolicyError(problem, tick=view.tick, slot=int(view.slots[row])) from error
            log.warning("tick %d, %s; the script decides", view.tick, problem)
            # No action of the vocabulary: the bridge counts it, and lets the script stand in.
            actions[row], opinion[row] = -1, True
            continue
        if intent is not None:
            actions[row] = encode_intent(view.codec, intent, view.world, agent_id)
            wanted[row], opinion[row] = intent, True
    view.intents.learned = wanted.__getitem__
    return Proposals(actions=actions, log_probs=None, values=np.zeros(len(actions), np.float32), opinion=opinion)


def ask_policy(
    policy: Actor,
    view: PlainObserved[World, Intent],
    observations: AgentObservations,
    *,
    seed: int,
    greedy: bool,
    temperatures: NDArray[np.float32] | None = None,
) -> Proposals | None:
    """Ask a policy about every agent that is observed; None where none is.

    Args:
        policy: made for the vocabulary and the observations.
        view: of this tick.
        observations: holds the observations.
        seed: of the draws.
        greedy: take the most probable actions instead of drawing.
        temperatures: [N] of the draws; None: 1.
    """
    rows = np.array([row for row, agent_id in enumerate(view.ids) if agent_id in observations.current], np.int64)
    if not rows.size:
        return None
    seen = replace_rows(view, rows, observations.stacked([view.ids[row] for row in rows.tolist()]))
    asked = propose(
        policy,
        seen,
        seed=seed,
        tick=view.tick,
        greedy=greedy,
        temperatures=None if temperatures is None else temperatures[rows],
    )
    size = len(view.ids)
    actions, values = np.zeros(size, np.int64), np.zeros(size, np.float32)
    actions[rows] = asked.actions
    if asked.values is not None:
        values[rows] = asked.values
    opinion = np.zeros(size, np.bool_)
    opinion[rows] = True
    log_probs = None
    if asked.log_probs is not None:
        log_probs = np.full((size, asked.log_probs.shape[1]), -np.log(asked.log_probs.shape[1]), np.float32)
        log_probs[rows] = asked.log_probs
    view.intents.learned = lambda row: view.decoded(row, int(actions[row]))
    return replace(
        asked, actions=actions, values=values, log_probs=log_probs, opinion=opinion, temperatures=temperatures
    )


def replace_rows(view: Observed, rows: NDArray[np.int64], observations: Mapping[str, NDArray[np.float32]]) -> Observed:
    """Return some rows of a view, with other observations.

    Args:
        view: N rows.
        rows: [M], ascending.
        observations: of those rows, each [M, ...].
    """
    return Observed(
        slots=view.slots[rows],
        keys=view.keys[rows],
        agent_ids=view.agent_ids[rows],
        worlds=view.worlds[rows],
        episodes=view.episodes[rows],
        observations=observations,
        option_done=view.option_done[rows],
    )
