"""The embedded town as a `Simulation`: one call steps all agents of all its copies."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BatchController, IdleController, ScriptedConfig
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation import CommitmentColumns, SimulationSpec, Stepped
from townlet_runtime.town.actions import RELEASE, START, TABLE, WAIT, WORK
from townlet_runtime.town.choices import choose, legal_actions
from townlet_runtime.town.config import TownConfig, faint_penalty
from townlet_runtime.town.lines import grant_turns, join, leave, pass_stale_turns
from townlet_runtime.town.observations import FEATURES, HELD_START, MAP_CHANNELS, Observer
from townlet_runtime.town.place import Ints, build_place
from townlet_runtime.town.population import Population
from townlet_runtime.town.rewards import need_rates, tick_rewards
from townlet_runtime.town.script import town_script
from townlet_runtime.town.shifts import attend
from townlet_runtime.town.state import EVENTS, FREE, HOLDS_TURN, USING, Bools, empty_state, initial_stock
from townlet_runtime.town.using import begin, deliver, progress
from townlet_runtime.town.view import TownObserved

_T = TypeVar("_T", bound=np.generic)
_FAINT = EVENTS.index("faint_events")


class Town:
    """`num_worlds` copies of the town that `config` describes. Implements `townlet_runtime.simulation.Simulation`.

    The order of a tick: whoever turns away leaves its line; agents walk; those at their goal join its line; turns
    held are begun; uses go on and complete; stale turns pass; free places are given to the longest waiting; needs
    decay; shifts are paid; rewards; who has no hunger or energy left faints; newcomers arrive.
    """

    def __init__(self, config: TownConfig, *, num_worlds: int, script: ScriptedConfig | None = None) -> None:
        self.config = config
        self.place = build_place(config, num_worlds)
        self._script = ScriptedConfig() if script is None else script
        self._observer = Observer(config, self.place, arrival_buffer=self._script.job_arrival_buffer)
        self.population = Population(config, self.place)
        self.state = empty_state(config, self.place)
        self._num_slots = num_worlds * config.population
        self._slots = np.arange(self._num_slots)
        self._worlds = self.place.world_of_slot
        self.faint_penalty = faint_penalty(
            config.rewards, max_lateness_penalty=float(self.place.lateness_penalty.max())
        )
        self._decay = np.array(config.needs_decay)
        self._need_rates = need_rates(config.rewards)
        self._seeds: Ints = np.zeros(num_worlds, dtype=np.int64)
        self._episode = 0
        self._rows: Ints | None = None
        self._observed: TownObserved | None = None
        self._episode_of_slot = self._worlds
        side = config.local_window
        self.spec = SimulationSpec(
            name="town",
            vocabulary=TABLE.vocabulary,
            observation_shapes={"features": (len(FEATURES),), "map": (len(MAP_CHANNELS), side, side)},
            feature_names=FEATURES,
            num_worlds=num_worlds,
            capacity=self._num_slots,
            episode_ticks=config.episode_ticks,
            event_names=EVENTS,
            commitment_columns=CommitmentColumns(
                observation="features", start=HELD_START, max_ticks=max(1, *config.option_ticks.values())
            ),
            option_ticks=config.option_ticks,
        )

    def scripted(self, name: str) -> BatchController:
        """The behaviors by rule: `scripted` (first object of a type), `nearest`, `idle`."""
        if name == "idle":
            return IdleController(wait=TABLE.vocabulary.wait)
        if name == "scripted":
            return town_script("first", self._script)
        if name == "nearest":
            return town_script("nearest", self._script)
        raise SimulationError(f"expected a behavior of the town (scripted, nearest, idle), got {name!r}")

    def reset(self, *, seed: int) -> TownObserved:
        """Begin world w anew with seed `seed + w` (not negative)."""
        if seed < 0:
            raise SimulationError(f"expected a seed that is not negative, got {seed}")
        self._seeds = seed + np.arange(self.spec.num_worlds, dtype=np.int64)
        self._episode = 0
        self._begin_episode()
        return self._observe()

    def step(self, actions: NDArray[np.int64]) -> Stepped:
        """Carry out one action per row of the last `Observed`. An action that is not legal does nothing.

        Raises:
            SimulationError: before the first `reset`, or if `actions` does not have a row per agent.
        """
        before = self._observed
        if before is None:
            raise SimulationError("expected `reset` before the first `step`")
        if actions.shape != before.slots.shape:
            raise SimulationError(f"expected actions of shape {before.slots.shape}, got {actions.shape}")
        state = self.state
        # New arrays, not old ones cleared: what was handed out stays as it is.
        state.events = np.zeros_like(state.events)
        state.option_done = np.zeros(self._num_slots, dtype=np.bool_)
        self._act(self._all_slots(actions), before.choices.goal)
        progress(state, self.place, self.config)
        pass_stale_turns(state, self.place, self.config.queue)
        grant_turns(state, self.place)
        deliver(state, self.place, self.config)
        state.needs -= self._decay
        np.maximum(state.needs, 0.0, out=state.needs)
        attendance = attend(state, self.place)
        fainted = state.alive & (state.needs[:, 0::2].min(axis=1) <= 0.0)
        rewards = tick_rewards(
            state.needs,
            attendance,
            fainted,
            self.place.lateness_penalty[state.job],
            config=self.config.rewards,
            need_rates=self._need_rates,
            faint_penalty=self.faint_penalty,
        )
        state.tick += 1
        return self._close_tick(before, rewards, fainted)

    def _all_slots(self, actions: NDArray[np.int64]) -> Ints:
        """[S]; empty slots wait."""
        if self._rows is None:
            return actions
        full = np.zeros(self._num_slots, dtype=np.int64)
        full[self._rows] = actions
        return full

    def _act(self, actions: Ints, goals: Ints) -> None:
        """Leave, walk, join and begin."""
        state, place, queue = self.state, self.place, self.config.queue
        act = TABLE.act[actions]
        goal = goals[self._slots, TABLE.choice[actions]]
        busy = state.phase.nonzero()[0]
        held = busy[:0]
        if busy.size:
            held = self._turn_away(busy, act, goal)
        self._walk(actions, act, goal)
        wanting = ((goal >= 0) & (state.phase == FREE) & state.alive).nonzero()[0]
        if wanting.size:
            goals = goal[wanting]
            there = (state.x[wanting] == place.object_x[goals]) & (state.y[wanting] == place.object_y[goals])
            if np.count_nonzero(there):
                state.recount()
                join(state, place, wanting[there], goals[there], queue)
        if held.size:
            begin(state, place, held, queue)

    def _turn_away(self, busy: Ints, act: Ints, goal: Ints) -> Ints:
        """Let busy agents whose action is about something else leave; return those that take the turn they hold."""
        state = self.state
        phase, acts = state.phase[busy], act[busy]
        same = goal[busy] == state.object[busy]
        elsewhere = (acts != WAIT) & (acts != START) & ~same
        leaving = np.where(phase == USING, acts == RELEASE, elsewhere)
        takes = (phase == HOLDS_TURN) & (same | (acts == START))
        if np.count_nonzero(leaving):
            gone = busy[leaving]
            state.option_done[gone] |= state.phase[gone] == USING
            leave(state, self.place, gone, self.config.queue)
        taking: Ints = busy[takes]
        return taking

    def _walk(self, actions: Ints, act: Ints, goal: Ints) -> None:
        """One cell, first along x, then along y; nobody walks while using an object."""
        state, place = self.state, self.place
        to_x, to_y = state.x + TABLE.dx[actions], state.y + TABLE.dy[actions]
        wanting = (goal >= 0).nonzero()[0]
        to_x[wanting], to_y[wanting] = place.object_x[goal[wanting]], place.object_y[goal[wanting]]
        working = ((act == WORK) & (state.job >= 0)).nonzero()[0]
        if working.size:
            jobs = state.job[working]
            to_x[working], to_y[working] = place.job_x[jobs], place.job_y[jobs]
        free = state.phase == FREE
        step_x = np.sign(to_x - state.x) * free
        step_y = np.sign(to_y - state.y) * (free & (step_x == 0))
        width, height = self.config.grid_size
        state.x = np.minimum(np.maximum(state.x + step_x, 0), width - 1)
        state.y = np.minimum(np.maximum(state.y + step_y, 0), height - 1)

    def _close_tick(self, before: TownObserved, rewards: NDArray[np.float64], fainted: Bools) -> Stepped:
        """Take the final observations, let the fainted go and newcomers in, observe anew."""
        state = self.state
        over = state.tick >= self.config.episode_ticks
        row_rewards = before.pick(rewards).astype(np.float32)
        terminated = before.pick(fainted)
        after = self._observe()
        final_rows = np.arange(len(terminated)) if over else terminated.nonzero()[0]
        # A slice where nobody ended, which is nearly always: it costs a tenth of picking no rows.
        ended = final_rows if final_rows.size else slice(0, 0)
        gone = fainted.nonzero()[0]
        if gone.size:
            np.add.at(state.events[:, _FAINT], self._worlds[gone], 1.0)
            self.population.dismiss(state, gone)
        if over:
            self._episode += 1
            self._begin_episode()
        came = not over and (gone.size > 0 or self._rows is not None) and self.population.admit(state)
        return Stepped(
            rewards=row_rewards,
            terminated=terminated,
            truncated=~terminated if over else np.zeros(len(terminated), dtype=np.bool_),
            final_rows=final_rows,
            final_option_done=after.option_done[ended],
            final_observations={name: column[ended] for name, column in after.observations.items()},
            events=state.events,
            observed=self._observe() if over or came or gone.size else after,
        )

    def _begin_episode(self) -> None:
        state = self.state
        state.tick = 0
        self._episode_of_slot = self._worlds + self._episode * self.spec.num_worlds
        state.stock = initial_stock(self.config, self.place)
        self.population.settle(state, self._seeds, self._episode)
        state.option_done = np.zeros(self._num_slots, dtype=np.bool_)

    def _observe(self) -> TownObserved:
        state = self.state
        state.recount()
        self._rows = None if np.count_nonzero(state.alive) == self._num_slots else state.alive.nonzero()[0]
        choices = choose(state, self.place)
        rows, population = self._rows, self.population
        self._observed = TownObserved(
            slots=self._slots if rows is None else rows,
            keys=_rows_of(population.keys, rows),
            agent_ids=_rows_of(population.ids, rows),
            worlds=_rows_of(self._worlds, rows),
            episodes=_rows_of(self._episode_of_slot, rows),
            observations={
                "features": _rows_of(self._observer.features(state, choices), rows),
                "map": _rows_of(self._observer.map(state), rows),
            },
            action_mask=_rows_of(legal_actions(state, self.place, choices), rows),
            option_done=_rows_of(state.option_done, rows),
            state=state,
            place=self.place,
            choices=choices,
            rows=rows,
        )
        return self._observed


def _rows_of(column: NDArray[_T], rows: Ints | None) -> NDArray[_T]:
    """The rows of a column by slot; None: all of them, the column itself."""
    return column if rows is None else column[rows]
