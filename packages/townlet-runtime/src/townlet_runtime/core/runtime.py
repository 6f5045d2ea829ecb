"""`BatchRuntime`: joins policy, bridge and recorder at every tick; it owns no rule, no buffer and no gradient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import (
    BatchController,
    BehaviorBridge,
    BehaviorError,
    BridgeConfig,
    DecisionBatch,
    Guardrail,
    Proposals,
    SavedState,
    Tally,
    join_groups,
    split_groups,
)
from townlet_runtime.core.agents import PossessionById, name_agent, slot_of
from townlet_runtime.core.explained import names_of
from townlet_runtime.core.telemetry import Ahead, Decided, OptionSwitches, Readings
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.acting import ActingPolicy
from townlet_runtime.simulation.intake import KnownIds
from townlet_runtime.simulation.interface import Observed, SimulationSpec, Stepped
from townlet_runtime.simulation.recorded import POLICY_NUMBER, recorded_observations, state_size_of
from townlet_runtime.simulation.saved_state import saved_number
from townlet_trajectory import EpisodeLabel, TrajectoryBatch, TrajectoryService
from townlet_trajectory.evaluation.interfaces import AnyActor

_PARTS = ("runtime", "bridge", "switches", "policy")
"""Of a saved state."""


class BatchRuntime(PossessionById, Readings):
    """Decides for all agents of a simulation, tick by tick, and records decisions and outcomes.

    A tick is `decide_batch()`, then the world's own step, then `post_step(stepped)`, which begins the next tick.
    `begin(observed, tick=...)` comes before the first one.

    Examples:
        >>> import numpy as np
        >>> from townlet_behavior import BridgeConfig
        >>> from townlet_runtime import BatchRuntime
        >>> from townlet_runtime.testing import Corridor
        >>> corridor = Corridor()
        >>> script = corridor.scripted("scripted")
        >>> runtime = BatchRuntime(corridor.spec, script, config=BridgeConfig(), policy=None, service=None, seed=1)
        >>> runtime.begin(corridor.reset(seeds=np.array([7])), tick=0)
        >>> decisions = runtime.decide_batch()
        >>> {corridor.spec.vocabulary.keys[action] for action in decisions.action.tolist()}
        {'right'}
        >>> runtime.post_step(corridor.step(decisions.action))
        >>> runtime.tick
        1

    Args:
        spec: of the simulation that is decided for.
        controller: the scripted side.
        config: of the bridge: ratio, commitment lengths.
        policy: the learned side, with or without recurrent state; None: the script alone.
        service: records; None: nothing is recorded.
        seed: of all draws, in [0, 2^64): the blend's coins and the policy's actions, which differ in their purpose.
        greedy: take the most probable action, or the mean, instead of drawing one; such steps are never trained on.
        guardrails: after the action mask; they have the last word.
        asks_values: whether values are computed, else they are 0, and None in snapshots; None: where a `service` is.

    Raises:
        SimulationError: if the policy was made for other actions or observations, or another memory than is recorded.
    """

    def __init__(
        self,
        spec: SimulationSpec,
        controller: BatchController,
        *,
        config: BridgeConfig,
        policy: AnyActor | None,
        service: TrajectoryService | None,
        seed: int,
        greedy: bool = False,
        guardrails: Sequence[Guardrail] = (),
        asks_values: bool | None = None,
    ) -> None:
        self._spec = spec
        self._columns, self._num_actions = spec.commitment_columns, len(spec.vocabulary)
        self._bridge = BehaviorBridge(
            spec.action_spec, controller, capacity=spec.capacity, config=config, seed=seed, guardrails=guardrails
        )
        super().__init__(self._bridge.possession, spec.action_spec)
        if service is not None and service.schema.proposers not in ((), self._bridge.proposers):
            raise SimulationError(
                f"expected a recorder of the proposers {self._bridge.proposers}, got {service.schema.proposers}"
            )
        self.option_ticks = config.commitment.lengths(spec.vocabulary)
        self.names = names_of(spec, self._bridge)
        self._service = service
        self._records_terms = service is not None and bool(service.schema.reward_terms)
        self._seed = seed
        self._greedy = greedy
        self._switches = OptionSwitches(spec.vocabulary, capacity=spec.capacity)
        self._acting = ActingPolicy(
            spec,
            asks_values=service is not None if asks_values is None else asks_values,
            recorded_state=0 if service is None else state_size_of(service.schema),
            records_number=service is not None and POLICY_NUMBER in service.schema.decisions,
        )
        self.decided: Decided | None = None
        self._pending = False
        self._ids = KnownIds(spec.capacity)
        self.set_policy(policy)

    @property
    def tick(self) -> int:
        """The tick that is decided next; it counts on through every reset."""
        return self._tick

    @property
    def observed(self) -> Observed | None:
        """The view for the next decision; None before `begin` and after `reset_state`."""
        return self._observed

    def begin(self, observed: Observed, *, tick: int) -> None:
        """Begin a tick: write the options in force into the observations, and record them.

        Raises:
            SimulationError: if an agent has no name, or that of another in its world, or ticks go back.
        """
        # A slot changes its agent here, so no agent is taken over by its id meanwhile.
        with self._possession.lock:
            self._begin(observed, tick)

    def _begin(self, observed: Observed, tick: int) -> None:
        if tick < self._tick + self._pending:
            raise SimulationError(f"tick {tick}: expected a tick from {self._tick + self._pending} on")
        self._ids.check(observed, tick=tick)
        held_action, ticks_left = self._bridge.held(observed, tick=tick)
        if self._columns is not None:
            self._columns.show(observed.observations, held_action, ticks_left, num_actions=self._num_actions)
        if self._service is not None:
            self._service.begin_tick(
                tick,
                observed.slots,
                recorded_observations(observed),
                agent_ids=observed.agent_ids,
                worlds=observed.worlds,
                episodes=observed.episodes,
            )
        self._observed = observed
        self._tick = tick
        self._pending = False

    @property
    def held_actions(self) -> NDArray[np.int64]:
        """[N]; the options in force of the agents that are decided for next, -1 for none; empty before `begin`."""
        if self._observed is None:
            return np.empty(0, np.int64)
        return self._bridge.held(self._observed, tick=self._tick)[0]

    @property
    def temperatures(self) -> NDArray[np.float32] | None:
        """[N]; τ of the draws of the agents that are decided for next, for proposals of a learned side that is no
        `Actor`; None where all are 1."""
        return None if self._observed is None else self._bridge.difficulty.temperatures(self._observed.slots)

    def decide_batch(self, proposals: Proposals | None = None) -> DecisionBatch:
        """Decide for every agent present: one forward pass, one draw each, then the bridge.

        Args:
            proposals: of a learned side that is no `Actor`, row by row; the policy is not asked then.

        Raises:
            SimulationError: unless `begin` or `post_step` came last.
        """
        observed, tick = self._observed, self._tick
        if observed is None or self._pending:
            raise SimulationError(f"tick {tick}: `decide_batch` must follow `begin` or `post_step`")
        remembered = self._acting.recorded(observed.slots)
        if proposals is None:
            proposals = self._acting.propose(
                observed, seed=self._seed, tick=tick, greedy=self._greedy, temperatures=self.temperatures
            )
        try:
            decisions = self._bridge.decide(observed, tick=tick, proposals=proposals)
        except BehaviorError as error:
            name_agent(error, observed)
            raise
        if self._service is not None:
            self._service.record_decisions({**decisions.columns(), **remembered})
        self._switches.note(observed.slots, decisions.action)
        self.decided = Decided(observed, decisions, proposals, tick)
        self._pending = True
        return decisions

    def ahead(self) -> Ahead:
        """Return what script and policy propose for the decision that comes, which is made from these very proposals.

        Raises:
            SimulationError: unless `begin` or `post_step` came last.
        """
        observed, tick = self._observed, self._tick
        if observed is None or self._pending:
            raise SimulationError(f"tick {tick}: `ahead` must follow `begin` or `post_step`")
        script = self._bridge.script.ahead(observed)
        proposals = self._acting.propose(
            observed, seed=self._seed, tick=tick, greedy=self._greedy, temperatures=self.temperatures, remembers=False
        )
        return Ahead(observed, script.expert, script.proposer, proposals, self.names)

    def post_step(self, stepped: Stepped) -> None:
        """Record the outcome of the decisions, forget agents that ended, and begin the next tick.

        Raises:
            SimulationError: unless `decide_batch` came last.
        """
        observed = self._observed
        if observed is None or not self._pending:
            raise SimulationError(f"tick {self._tick}: `post_step` must follow `decide_batch`")
        # Agents that end and agents that come are one change for those who possess them.
        with self._possession.lock:
            if len(stepped.final_rows):
                self._end(stepped, observed.slots[stepped.final_rows])
            if self._service is not None:
                self._service.record_outcome(
                    stepped.rewards,
                    stepped.terminated,
                    stepped.truncated,
                    final_rows=stepped.final_rows,
                    final_observations=stepped.final_observations,
                    reward_terms=stepped.reward_terms if self._records_terms else {},
                )
            self._begin(stepped.observed, self._tick + 1)

    def _end(self, stepped: Stepped, slots: NDArray[np.int64]) -> None:
        held_action, ticks_left = self._bridge.held_at_end(slots, stepped.final_option_done, tick=self._tick + 1)
        if self._columns is not None:
            self._columns.show(stepped.final_observations, held_action, ticks_left, num_actions=self._num_actions)
        self.forget(slots)

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Drop commitments, possession, plans and option history of agents in `slots` [E] that left between ticks."""
        self._bridge.forget(slots)
        self._switches.forget(slots)
        self._acting.forget(slots)

    def set_policy(self, policy: AnyActor | None, *, keep_state: bool = False) -> None:
        """Let another policy propose from the next decision on; None: the script alone. Commitments go on.

        A `Policy` is held to what it was made for. A recurrent one remembers nothing of any agent, unless `keep_state`:
        then it goes on with the state that is there, as newer weights of the same network do.

        Raises:
            SimulationError: if the policy was made for other actions or observations; names what differs.
        """
        self._acting.set_policy(policy, keep_state=keep_state)

    def active_policy_hash(self) -> str | None:
        """Return the digest of the policy that proposes; None without a policy, or where it has none."""
        return self._acting.digest

    @property
    def policy_hashes(self) -> tuple[str | None, ...]:
        """Digests of all policies so far; a recorded `policy_number` is a place among them."""
        return tuple(self._acting.digests)

    def set_policy_hash(self, digest: str | None) -> None:
        """Name the policy that proposes, where it has no digest of its own."""
        self._acting.digest = digest

    def set_anneal_ratio(self, ratio: float | None) -> None:
        """Give the policy this share of the decisions, clamped to [0, 1]; None: none. NaN is a `ConfigError`."""
        self._bridge.ratio = 0.0 if ratio is None else ratio

    def seed_anneal_rng(self, seed: int) -> None:
        """Draw the coins between script and policy from another seed; out of [0, 2^64) it is a `ConfigError`."""
        self._bridge.seed = seed

    def current_anneal_ratio(self) -> float:
        """The policy's share of the decisions."""
        return self._bridge.ratio

    @property
    def service(self) -> TrajectoryService | None:
        """The recorder, for reading; None where nothing is recorded."""
        return self._service

    def collect_trajectory(self, *, clear: bool = True) -> TrajectoryBatch:
        """Return the trajectories recorded since the last clear.

        Raises:
            SimulationError: if this runtime does not record.
        """
        return self._recorder().collect(clear=clear)

    def label_episode(self, label: EpisodeLabel, agent_id: str | None = None, *, world: int = 0) -> None:
        """Say what an episode was worth, from any thread; `TrajectoryService.label_episode` says which one is meant.

        Args:
            label: success, failure, discard, or `NONE` to take it back.
            agent_id: of the agent; None: of all agents in the world's episode.
            world: which of the parallel worlds.

        Raises:
            SimulationError: if this runtime does not record.
            OrderError: if there is no such episode, or nothing of it is left to label.
        """
        self._recorder().label_episode(label, world=world, agent_id=agent_id)

    def discard_last_episode(self, agent_id: str | None = None, *, world: int = 0) -> None:
        """Label the last episode that ended as `DISCARD`, however long the next one has lasted; see `label_episode`."""
        self._recorder().label_episode(EpisodeLabel.DISCARD, world=world, agent_id=agent_id, ended=True)

    def _recorder(self) -> TrajectoryService:
        if self._service is None:
            raise SimulationError("expected a runtime that records, got one without a `service`")
        return self._service

    def counts(self) -> Tally:
        """Count decisions and ticks by source, since the runtime was made or reset."""
        return self._bridge.counts()

    def set_difficulty(
        self,
        agent_id: str,
        *,
        world: int = 0,
        ratio: float | None = None,
        temperature: float | None = None,
        delay_ticks: int | None = None,
    ) -> None:
        """Make one agent easier or harder than the others, from its next decision on, until it leaves.

        Args:
            agent_id: of an agent that is present.
            world: which of the parallel worlds it lives in.
            ratio: its own share of the policy's decisions; NaN: that of the others again. None: as it is.
            temperature: τ > 0 of its draws. None: as it is.
            delay_ticks: its reaction delay, 0 to 64. None: as it is.

        Raises:
            PossessionError: if there is no such agent.
            ConfigError: if a setting is out of its range.
        """
        with self._bridge.possession.lock:
            slots = np.array([slot_of(agent_id, world, self._observed)])
            self._bridge.difficulty.set(slots, ratio=ratio, temperature=temperature, delay_ticks=delay_ticks)

    def reset_state(self) -> None:
        """Forget every agent: commitments, possession, plans, option history and recorded rows.

        A tick that was begun is never decided, and its number not used again.
        """
        with self._possession.lock:
            self._bridge.reset()
            for part in (self._switches, self._acting):
                part.forget(np.arange(self._spec.capacity))
            if self._service is not None:
                self._service.reset()
            if self._observed is not None:
                self._tick += 1
            self._observed = None
            self.decided = None
            self._pending = False

    def save_state(self) -> SavedState:
        """Save all state of later decisions, except the policy, the world and recorded rows.

        Raises:
            SimulationError: unless a tick is begun and not decided.
        """
        if self._observed is None or self._pending:
            raise SimulationError(f"tick {self._tick}: `save_state` must follow `begin` or `post_step`")
        own = {"tick": np.array(self._tick, np.int64)}
        states = (own, self._bridge.save_state(), self._switches.save_state(), self._acting.save_state())
        return join_groups(dict(zip(_PARTS, states, strict=True)))

    def restore(self, state: SavedState, observed: Observed) -> None:
        """Go on as the runtime that was saved, from the view of that tick; a recorder must be empty.

        Raises:
            SimulationError, StateError: if `state` is of another runtime.
        """
        parts = split_groups(state, _PARTS)
        with self._possession.lock:
            self._tick, self._pending = saved_number(parts["runtime"], "tick"), False
            self._switches.restore(parts["switches"])
            self._acting.restore(parts["policy"])
            self._bridge.restore(parts["bridge"])
            self._begin(observed, self._tick)
