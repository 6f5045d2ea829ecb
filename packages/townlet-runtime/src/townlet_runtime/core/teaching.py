"""Held-out episodes of a distillation, played by the student alone or beside its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import (
    BatchController,
    BridgeConfig,
    Proposals,
    Purpose,
    proposers_of,
    uniforms,
    veto_reasons_of,
)
from townlet_runtime.core.evaluator import MakeSimulation
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.core.teachers import AskedAgents, AskedTeacher
from townlet_runtime.policy.drawing import greedy_actions, sample_actions
from townlet_runtime.simulation.interface import AGENTS, GroupedSimulation, Observed
from townlet_runtime.simulation.recorded import schema_of
from townlet_runtime.simulation.script import script_side
from townlet_trajectory import Kind, TrajectoryBatch, TrajectoryService
from townlet_trajectory.evaluation.interfaces import Actor, derive_seed
from townlet_trajectory.evaluation.teaching import Played, Taught


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
        self._config, self._seed, self._sample = config, seed, sample
        self._spec = simulation.specs[AGENTS]
        self._script: BatchController = script_side(simulation)[AGENTS]
        self._answers: list[Taught] = []
        self._keys: list[NDArray[np.int64]] = []
        """Of each of the answers, tick · W + world: ascending, as they are asked."""

    def play(self, seeds: NDArray[np.int64], *, num_taught: int) -> Played:
        spec = self._spec
        observed = self._simulation.reset(seeds=seeds)[AGENTS]
        self._left = np.full(len(seeds), num_taught)
        latest = max(1, spec.episode_ticks // 2)
        self._from = np.array([derive_seed(seed, "distil/takes over") % latest for seed in seeds.tolist()])
        worlds, firsts = np.unique(observed.worlds, return_index=True)
        self._ids = np.full(len(seeds), None, np.object_)
        self._ids[worlds] = observed.agent_ids[firsts]
        self._episodes = np.unique(observed.episodes)
        runtime = self._runtime(masked=observed.action_mask is not None)
        runtime.begin(observed, tick=0)
        while (now := runtime.observed) is not None and runtime.tick < spec.episode_ticks:
            if not np.isin(now.episodes, self._episodes).any():
                break
            proposals = self._proposals(now, runtime.held_actions, runtime.tick)
            actions = runtime.decide_batch(proposals).action
            runtime.post_step(self._simulation.step({AGENTS: actions})[AGENTS])
        batch = runtime.collect_trajectory()
        return self._result(batch.filter_trajectories(np.isin(batch.episodes, self._episodes)), num_taught > 0)

    def _runtime(self, *, masked: bool) -> BatchRuntime:
        spec, guardrails = self._spec, self._simulation.guardrails()[AGENTS]
        schema = schema_of(
            spec, masked=masked, proposers=proposers_of(self._script), veto_reasons=veto_reasons_of(guardrails)
        )
        max_rows = spec.capacity * (spec.episode_ticks + 1)
        return BatchRuntime(
            spec,
            self._script,
            config=self._config,
            policy=None,
            service=TrajectoryService(schema, max_rows=max_rows, on_full="raise"),
            seed=self._seed,
            guardrails=guardrails,
        )

    def _proposals(self, observed: Observed, held_actions: NDArray[np.int64], tick: int) -> Proposals:
        log_probs, _ = self._student.act(observed.observations, observed.action_mask)
        if self._sample:
            actions = sample_actions(log_probs, uniforms(self._seed, Purpose.POLICY, observed.keys, tick))
        else:
            actions = greedy_actions(log_probs)
        rows = self._rows_of_teacher(observed, held_actions, tick)
        if len(rows):
            self._ask(observed, rows, tick, actions)
        return Proposals(actions=actions, log_probs=log_probs, values=None, greedy=True)

    def _rows_of_teacher(self, observed: Observed, held_actions: NDArray[np.int64], tick: int) -> NDArray[np.int64]:
        """The rows of the agents that the teacher plays, where they decide."""
        is_played = (observed.agent_ids == self._ids[observed.worlds]) & (held_actions < 0)
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
        self._keys.append(tick * len(self._left) + view.worlds)

    def _result(self, batch: TrajectoryBatch, is_taught: bool) -> Played:
        """The decisions of the student, or those of the teacher with its answers."""
        if not is_taught:
            return Played(batch, np.flatnonzero(batch.columns["kind"] != Kind.FORCED), None)
        whose = batch.trajectory_of_row
        rows = np.flatnonzero((batch.agent_ids == self._ids[batch.worlds])[whose])
        asked = np.concatenate([np.empty(0, np.int64), *self._keys])
        keys = batch.ticks[rows] * len(self._left) + batch.worlds[whose[rows]]
        rows, keys = rows[np.isin(keys, asked)], keys[np.isin(keys, asked)]
        taught = _summed(self._answers)
        return Played(batch, rows, replace(taught, actions=taught.actions[np.searchsorted(asked, keys)]))
