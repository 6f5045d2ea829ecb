"""Held-out episodes of a distillation, played by the student alone or beside its teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import (
    BatchController,
    BehaviorBridge,
    BridgeConfig,
    Guardrail,
    Proposals,
    Purpose,
    SavedState,
    uniforms,
)
from townlet_runtime.core.loop import script_side
from townlet_runtime.core.rollouts import MakeSimulation
from townlet_runtime.core.teachers import AskedAgents, AskedTeacher
from townlet_runtime.policy.policy import greedy_actions, sample_actions
from townlet_runtime.simulation.interface import (
    AGENTS,
    GroupedSimulation,
    Observed,
    Picture,
    SimulationSpec,
    Stepped,
    recorded_observations,
    schema_of,
)
from townlet_trajectory import Kind, TrajectoryBatch, TrajectoryService
from townlet_trajectory.evaluation.interfaces import Actor, Played, Taught, derive_seed
from townlet_trajectory.evaluation.results import SCRIPTED


@dataclass(frozen=True, eq=False)
class WithScript:
    """A `GroupedSimulation` whose behavior `scripted` is another one of its own."""

    simulation: GroupedSimulation
    script: str
    """Name of the behavior."""

    @property
    def specs(self) -> Mapping[str, SimulationSpec]:
        return self.simulation.specs

    @property
    def behaviors(self) -> tuple[str, ...]:
        return self.simulation.behaviors

    def reset(self, *, seeds: NDArray[np.int64]) -> Mapping[str, Observed]:
        return self.simulation.reset(seeds=seeds)

    def step(self, actions: Mapping[str, NDArray[np.int64]]) -> Mapping[str, Stepped]:
        return self.simulation.step(actions)

    def scripted(self, name: str) -> Mapping[str, BatchController]:
        return self.simulation.scripted(self.script if name == SCRIPTED else name)

    def guardrails(self) -> Mapping[str, Sequence[Guardrail]]:
        return self.simulation.guardrails()

    def save_state(self) -> SavedState | None:
        return self.simulation.save_state()

    def restore(self, state: SavedState) -> Mapping[str, Observed]:
        return self.simulation.restore(state)

    def render(self) -> Picture | None:
        return self.simulation.render()

    def close(self) -> None:
        self.simulation.close()


class TaughtPlay:
    """Plays held-out episodes by the student, or by the student and, for one agent of each world, by the teacher.

    The agent that the teacher plays is the first one of the world. From a tick of the first half of the episode on,
    the teacher is asked wherever that agent decides, so many times; what it declines is left to the student. World and
    draws of an episode, and that tick, follow from its seed, as in an `Evaluator`.

    Args:
        make: builds so many worlds, of the single group `agents`.
        teacher: plays.
        config: of the bridge, as deployed; its ratio is ignored.
        seed: of the student's draws.
        num_worlds: alive at once, at least 1.
    """

    def __init__(
        self, make: MakeSimulation, teacher: AskedTeacher, *, config: BridgeConfig, seed: int, num_worlds: int
    ) -> None:
        self._make, self._teacher, self._num_worlds = make, teacher, num_worlds
        self._config, self._seed = replace(config, ratio=1.0), derive_seed(seed, "distil/play")

    def play(self, student: Actor, *, seeds: NDArray[np.int64], sample: bool, num_taught: int) -> Played:
        """Let the student act alone, or beside the teacher.

        Args:
            student: acts for all agents.
            seeds: [n], of the worlds.
            sample: whether the student's actions are drawn, or greedy.
            num_taught: decisions that the teacher makes in each world; 0: none.

        Returns:
            The first episodes of the worlds, which are numbered by the place of their seed, and the decisions in them.
        """
        waves = []
        for begin in range(0, len(seeds), self._num_worlds):
            wave = seeds[begin : begin + self._num_worlds]
            with closing(self._make(len(wave))) as simulation:
                one = _Wave(simulation, student, self._teacher, config=self._config, seed=self._seed, sample=sample)
                played = one.play(wave, num_taught=num_taught)
            waves.append(played._replace(batch=replace(played.batch, worlds=played.batch.worlds + begin)))
        offsets = np.cumsum([0, *(each.batch.num_steps for each in waves)])
        return Played(
            batch=TrajectoryBatch.concatenate([each.batch for each in waves]),
            rows=np.concatenate([each.rows + first for each, first in zip(waves, offsets, strict=False)]),
            taught=_summed([each.taught for each in waves if each.taught is not None]) if num_taught else None,
        )


def _summed(parts: Sequence[Taught]) -> Taught:
    return Taught(
        actions=np.concatenate([np.empty(0, np.int64), *(part.actions for part in parts)]),
        tokens=sum(part.tokens for part in parts),
        cost=sum(part.cost for part in parts),
    )


class _Wave:
    """The first episodes of some worlds side by side."""

    def __init__(
        self,
        simulation: GroupedSimulation,
        student: Actor,
        teacher: AskedTeacher,
        *,
        config: BridgeConfig,
        seed: int,
        sample: bool,
    ) -> None:
        self._simulation, self._student, self._teacher = simulation, student, teacher
        self._spec, self._seed, self._sample = simulation.specs[AGENTS], seed, sample
        self._script: BatchController = script_side(simulation)[AGENTS]
        self._bridge = BehaviorBridge(
            self._spec.vocabulary,
            self._script,
            capacity=self._spec.capacity,
            config=config,
            seed=seed,
            guardrails=simulation.guardrails()[AGENTS],
        )
        self._answers: list[Taught] = []
        self._asked: list[tuple[int, NDArray[np.int64], NDArray[np.int64]]] = []
        """Tick, worlds and answers."""

    def play(self, seeds: NDArray[np.int64], *, num_taught: int) -> Played:
        spec = self._spec
        observed = self._simulation.reset(seeds=seeds)[AGENTS]
        self._left = np.full(len(seeds), num_taught)
        latest = max(1, spec.episode_ticks // 2)
        self._from = np.array([derive_seed(seed, "distil/takes over") % latest for seed in seeds.tolist()])
        firsts = np.unique(observed.worlds, return_index=True)[1]
        self._played = observed.slots[firsts], observed.agent_ids[firsts]
        self._episodes = episodes = np.unique(observed.episodes)
        service = TrajectoryService(
            schema_of(spec, masked=observed.action_mask is not None),
            max_rows=spec.capacity * (spec.episode_ticks + 1),
            on_full="raise",
        )
        for tick in range(spec.episode_ticks):
            held_action, ticks_left = self._bridge.held(observed, tick=tick)
            if spec.commitment_columns is not None:
                shown, num_actions = observed.observations, len(spec.vocabulary)
                spec.commitment_columns.show(shown, held_action, ticks_left, num_actions=num_actions)
            service.begin_tick(
                tick,
                observed.slots,
                recorded_observations(observed),
                agent_ids=observed.agent_ids,
                worlds=observed.worlds,
                episodes=observed.episodes,
            )
            decisions = self._bridge.decide(observed, tick=tick, proposals=self._proposals(observed, held_action, tick))
            service.record_decisions(decisions.columns())
            stepped = self._simulation.step({AGENTS: decisions.action})[AGENTS]
            ended = observed.slots[stepped.final_rows]
            if len(ended):
                held = self._bridge.held_at_end(ended, stepped.final_option_done, tick=tick + 1)
                if spec.commitment_columns is not None:
                    spec.commitment_columns.show(stepped.final_observations, *held, num_actions=len(spec.vocabulary))
                self._bridge.forget(ended)
            service.record_outcome(
                stepped.rewards,
                stepped.terminated,
                stepped.truncated,
                final_rows=stepped.final_rows,
                final_observations=stepped.final_observations,
                reward_terms=stepped.reward_terms,
            )
            observed = stepped.observed
            if not np.isin(observed.episodes, episodes).any():
                break
        batch = service.collect()
        return self._result(batch.filter_trajectories(np.isin(batch.episodes, episodes)), is_taught=num_taught > 0)

    def _proposals(self, observed: Observed, held_action: NDArray[np.int64], tick: int) -> Proposals:
        log_probs, _ = self._student.act(observed.observations, observed.action_mask)
        if self._sample:
            actions = sample_actions(log_probs, uniforms(self._seed, Purpose.POLICY, observed.keys, tick))
        else:
            actions = greedy_actions(log_probs)
        rows = self._rows_of_teacher(observed, held_action, tick)
        if len(rows):
            self._ask(observed, rows, tick, actions)
        return Proposals(actions=actions, log_probs=log_probs, values=None, greedy=True)

    def _rows_of_teacher(self, observed: Observed, held_action: NDArray[np.int64], tick: int) -> NDArray[np.int64]:
        """The rows of the agents that the teacher plays, where they decide."""
        slots, ids = self._played
        place = np.searchsorted(slots, observed.slots).clip(max=len(slots) - 1)
        is_played = (slots[place] == observed.slots) & (ids[place] == observed.agent_ids) & (held_action < 0)
        is_played &= np.isin(observed.episodes, self._episodes)
        is_played &= (self._left[observed.worlds] > 0) & (tick >= self._from[observed.worlds])
        if observed.action_mask is not None:
            is_played &= observed.action_mask.sum(axis=1) > 1
        return np.flatnonzero(is_played)

    def _ask(self, observed: Observed, rows: NDArray[np.int64], tick: int, actions: NDArray[np.int64]) -> None:
        """Put the answers of the teacher in the place of the student's `actions` [N]."""
        view = Observed(
            slots=np.arange(len(rows)),
            agent_ids=observed.agent_ids[rows],
            observations={name: array[rows] for name, array in observed.observations.items()},
            worlds=observed.worlds[rows],
            episodes=observed.episodes[rows],
            action_mask=None if observed.action_mask is None else observed.action_mask[rows],
        )
        proposed = self._script.propose(observed)[rows]
        taught = self._teacher.ask(AskedAgents(view=view, ticks=np.full(len(rows), tick), proposed=proposed))
        actions[rows] = np.where(taught.actions >= 0, taught.actions, actions[rows])
        self._left[view.worlds] -= 1
        self._answers.append(taught)
        self._asked.append((tick, view.worlds, taught.actions))

    def _result(self, batch: TrajectoryBatch, *, is_taught: bool) -> Played:
        """The decisions of the student, or those of the teacher with its answers."""
        if not is_taught:
            return Played(batch, np.flatnonzero(batch.columns["kind"] != Kind.FORCED), None)
        slots, ids = self._played
        of_world = dict(
            zip((slots // (self._spec.capacity // self._spec.num_worlds)).tolist(), ids.tolist(), strict=True)
        )
        whose = [of_world.get(world) == one for world, one in zip(batch.worlds.tolist(), batch.agent_ids, strict=True)]
        rows = np.flatnonzero(np.array(whose, np.bool_)[batch.trajectory_of_row])
        answers = {
            (tick, world): action
            for tick, worlds, actions in self._asked
            for world, action in zip(worlds.tolist(), actions.tolist(), strict=True)
        }
        worlds, ticks = batch.worlds[batch.trajectory_of_row[rows]].tolist(), batch.ticks[rows].tolist()
        known = [answers.get((tick, world)) for tick, world in zip(ticks, worlds, strict=True)]
        kept = np.array([one is not None for one in known], np.bool_)
        first = np.array([one for one in known if one is not None], np.int64)
        return Played(batch, rows[kept], replace(_summed(self._answers), actions=first))
