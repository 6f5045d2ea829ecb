"""`ActingPolicy`: the learned side of a runtime, which draws proposals from the outputs of a policy."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ArrayActions, Box, MultiDiscrete, Proposals, Purpose, SavedState, uniforms
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.drawing import (
    Distribution,
    greedy_actions,
    greedy_numbers,
    greedy_parts,
    log_prob_of_numbers,
    sample_actions,
    sample_numbers,
    sample_parts,
    uniforms_of_numbers,
    uniforms_of_parts,
)
from townlet_runtime.policy.policy import MadeForSpec, distribution_of, is_recurrent, memory_size, require_fit
from townlet_runtime.simulation.interface import Observed, SimulationSpec
from townlet_runtime.simulation.recorded import POLICY_NUMBER, POLICY_STATE
from townlet_runtime.simulation.saved_state import saved_array
from townlet_trajectory.evaluation.interfaces import Actor, AnyActor, CriticOptional, RecurrentActor

STATE = "policy_state"
"""Key of the recurrent state in a saved state."""


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
    params: NDArray[np.float32],
    values: NDArray[np.float32] | None,
    observed: Observed,
    *,
    seed: int,
    tick: int,
    greedy: bool,
    temperatures: NDArray[np.float32] | None = None,
    actions: ArrayActions | None = None,
    distribution: Distribution = "clipped",
) -> Proposals:
    """Draw the actions of a policy that has answered.

    Args:
        params: [N, P], see `policy.drawing`.
        values: [N]; None: not known.
        observed: the view that they are of.
        seed: of the draws.
        tick: the global tick.
        greedy: take the most probable action instead, of numbers the means.
        temperatures: [N] of the draws; None: 1, as always of numbers.
        actions: parts or numbers; None: indices into a vocabulary.
        distribution: of numbers.
    """
    drawn: NDArray[Any]
    density: NDArray[np.float32] | None = None
    if actions is None:
        if greedy:
            drawn = greedy_actions(params)
        else:
            drawn = sample_actions(params, uniforms(seed, Purpose.POLICY, observed.keys, tick), temperatures)
    elif isinstance(actions, MultiDiscrete):
        if greedy:
            drawn = greedy_parts(params, sizes=actions.sizes)
        else:
            draws = uniforms_of_parts(len(actions.sizes), seed=seed, keys=observed.keys, tick=tick)
            drawn = sample_parts(params, draws, temperatures, sizes=actions.sizes)
    else:
        if greedy:
            drawn = greedy_numbers(params, box=actions, distribution=distribution)
        else:
            draws = uniforms_of_numbers(len(actions.names), seed=seed, keys=observed.keys, tick=tick)
            drawn = sample_numbers(params, draws, box=actions, distribution=distribution)
        density = log_prob_of_numbers(params, drawn, box=actions, distribution=distribution)
    return Proposals(
        actions=drawn,
        log_probs=params if density is None else None,
        drawn_log_probs=density,
        values=values,
        greedy=greedy,
        temperatures=temperatures,
    )


class ActingPolicy:
    """The policy of a runtime: asks it about all agents of a tick, and keeps its recurrent state by slot.

    The state of a slot is zero where an agent begins, and moves on at every tick at which the agent is there, no matter
    who decides for it.

    Args:
        spec: of the simulation.
        asks_values: whether values are needed; where not, a policy that can leave them out does.
        recorded_state: numbers of recurrent state that are recorded of each agent, which every policy must have then;
            0: it is not recorded.
        records_number: whether it is recorded which policy proposed.
    """

    def __init__(
        self, spec: SimulationSpec, *, asks_values: bool, recorded_state: int = 0, records_number: bool = False
    ) -> None:
        self._spec = spec
        self._num_outputs = None if spec.actions is None else spec.actions.num_outputs
        self._distribution: Distribution = "clipped"
        self._asks_values = asks_values
        self._recorded_state = recorded_state
        self._records_number, self._number = records_number, 0
        self.digests: list[str | None] = []
        """Names of the policies that were set so far, each once, in the order in which they came."""
        self._given: tuple[AnyActor | None, AnyActor | None] = None, None
        """The last policy that was set, and what is asked in its place."""
        # One of them at most; told apart once, because asking a protocol is slow.
        self._stateless: Actor | None = None
        self._recurrent: RecurrentActor | None = None
        self._state: NDArray[np.float32] = np.zeros((spec.capacity, recorded_state), np.float32)

    @property
    def digest(self) -> str | None:
        """Names the policy."""
        return self.digests[self._number] if self.digests else None

    @digest.setter
    def digest(self, digest: str | None) -> None:
        if digest not in self.digests:
            self.digests.append(digest)
        self._number = self.digests.index(digest)

    def set_policy(self, policy: AnyActor | None, *, keep_state: bool) -> None:
        """Let another policy propose.

        Args:
            policy: None: none. One that says what it was made for is held to it; another is taken to fit.
            keep_state: whether it goes on with the recurrent state that is there, as newer weights of the same network
                do; else, and where its state is of another size, it remembers nothing of any agent.

        Raises:
            SimulationError: if the policy was made for other actions or observations, or has another recurrent state
                than is recorded.
        """
        digest = None
        if isinstance(policy, MadeForSpec):
            require_fit(policy, self._spec)
            digest = policy.digest
        size = memory_size(policy)
        if self._recorded_state and policy is not None and size != self._recorded_state:
            raise SimulationError(
                f"expected a policy of {self._recorded_state} numbers of recurrent state, as are recorded, got {size}"
            )
        if isinstance(self._spec.actions, Box):
            self._distribution = distribution_of(policy)
        self.digest = digest
        if policy is not self._given[0]:  # a file's would have to be opened anew for each collection
            leaves_out = not self._asks_values and isinstance(policy, CriticOptional)
            self._given = policy, cast(CriticOptional, policy).without_values() if leaves_out else policy
        policy = self._given[1]
        if is_recurrent(policy):
            self._stateless, self._recurrent = None, policy
        else:
            # One of both kinds, whose memory has no number, acts as one of the first.
            self._stateless, self._recurrent = cast("Actor | None", policy), None
        if policy is None and keep_state:
            return
        size = max(size, self._recorded_state)
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
        remembers: bool = True,
    ) -> Proposals | None:
        """Propose an action for every agent: one forward pass, and one draw each unless `greedy`.

        Args:
            observed: the view of this tick, N agents.
            seed: of the draws.
            tick: the global tick; no two ticks draw the same numbers.
            greedy: take the most probable action instead.
            temperatures: [N] of the draws; None: 1.
            remembers: whether the recurrent state moves on; else the policy can be asked about this tick again.

        Returns:
            None without a policy, and where there is no agent to ask about.

        Raises:
            SimulationError: if a number of recurrent state is not finite; names world, agent and tick.
        """
        slots, mask = observed.slots, observed.action_mask
        if not len(slots):
            return None
        if self._stateless is not None:
            params, values = self._stateless.act(observed.observations, mask)
        elif self._recurrent is not None:
            params, values, state = self._recurrent.act(observed.observations, mask, self._state[slots])
            _require_state(state, (len(slots), self._state.shape[1]), observed, tick)
            if remembers:
                self._state[slots] = state
        else:
            return None
        if self._num_outputs is not None and params.shape != (len(slots), self._num_outputs):
            expected = [len(slots), self._num_outputs]
            raise SimulationError(f"expected {expected} outputs of the policy, got {list(params.shape)}")
        return proposals_of(
            params,
            values,
            observed,
            seed=seed,
            tick=tick,
            greedy=greedy,
            temperatures=temperatures,
            actions=self._spec.actions,
            distribution=self._distribution,
        )

    def recorded(self, slots: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The columns of a record that say of the agents in `slots` [N] what the policy remembers before it is asked,
        [N, S], and its place in `digests`, [N]; copies."""
        columns: dict[str, NDArray[Any]] = {}
        if self._recorded_state:
            columns[POLICY_STATE] = self._state[slots]
        if self._records_number:
            columns[POLICY_NUMBER] = np.full(len(slots), self._number, np.int32)
        return columns

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
