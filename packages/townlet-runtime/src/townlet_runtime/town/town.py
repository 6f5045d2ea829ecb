"""The embedded town as a `Simulation`: one call steps all agents of all its copies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import (
    BatchController,
    Guardrail,
    RivalryGuardrail,
    SavedState,
    ScriptedConfig,
    join_groups,
    split_groups,
)
from townlet_runtime.drawing.scene import Drawing, Scene
from townlet_runtime.drawing.town import drawing_of, scene_of
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import AGENTS, CommitmentColumns, SimulationSpec, Stepped, require_seeds
from townlet_runtime.simulation.recorded import Room
from townlet_runtime.simulation.saved_state import saved_array, saved_number
from townlet_runtime.town.actions import TABLE
from townlet_runtime.town.arrays import Bools, Floats, Ints, rows_of
from townlet_runtime.town.behaviors import BEHAVIORS, behavior_named, build_schedules
from townlet_runtime.town.config import TownConfig
from townlet_runtime.town.observations import MAP_CHANNELS, Observer, Sight, TownObserved
from townlet_runtime.town.place import build_place
from townlet_runtime.town.relations import EDGES, FADE_TICKS
from townlet_runtime.town.rules.population import Population
from townlet_runtime.town.rules.reasons import illegal_reasons
from townlet_runtime.town.rules.rewards import (
    RewardParts,
    attend,
    can_clip,
    faint_penalty,
    need_rates,
    reward_parts,
    tick_rewards,
)
from townlet_runtime.town.rules.social import begin_talks, chat_scores, finish_talks, gather, partings
from townlet_runtime.town.rules.targets import TargetResolver
from townlet_runtime.town.rules.using import act_out, deliver, grant_turns, pass_stale_turns, progress
from townlet_runtime.town.state import EVENTS, Company, TownState, empty_state, initial_stock

_FAINT, _DEPARTURE = EVENTS.index("faint_events"), EVENTS.index("departure_events")
_CHAT = TABLE.index("chat")
_SCALARS = ("tick", "last_cooldown", "some_blocked", "someone_late")
_NOT_SAVED = ("counted", "relations", "grid")
_ARRAYS = tuple(f.name for f in fields(TownState) if f.name not in (*_SCALARS, *_NOT_SAVED))
_MOST_URGENT = slice(0, 3, 2)
"""Hunger and energy: without either an agent faints."""


class Town:
    """`num_worlds` copies of the town that `config` describes, as a `Simulation`.

    The order of a tick: agents turn to those they chat with; agents that turn away leave their line; agents walk; those
    at their goal join its line; turns held are begun; chats are held; uses go on and complete; stale turns pass; free
    places are given to the longest waiting; stoves are supplied; trust and familiarity fade; needs decay; shifts are
    paid; rewards; agents without hunger or energy left faint, travellers leave; absent agents whose time has come are
    back.

    Args:
        config: the town.
        num_worlds: copies of it.
        script: when the scripted behaviors act; `config.personality` decides whether characters change that.
    """

    behaviors = BEHAVIORS

    exact = True

    def __init__(self, config: TownConfig, *, num_worlds: int, script: ScriptedConfig | None = None) -> None:
        self.config = config
        self.place = build_place(config, num_worlds)
        characters = config.personality
        self._script = replace(
            ScriptedConfig() if script is None else script,
            personality_profiles=characters.profiles,
            reward_multipliers=characters.reward_multipliers,
        )
        self._schedules = build_schedules(config, self.place)
        self._resolver = TargetResolver(config, self.place)
        self._scene = scene_of(config, self.place)
        self._observer = Observer(config, self.place, arrival_buffer=self._script.job_arrival_buffer)
        self.population = Population(config, self.place)
        self.state = empty_state(config, self.place)
        self._num_slots = num_worlds * config.population
        self._slots = np.arange(self._num_slots)
        self._worlds = self.place.world_of_slot
        max_lateness = float(self.place.timetable.lateness_penalty.max())
        self.faint_penalty = faint_penalty(config.rewards, max_lateness_penalty=max_lateness)
        self._clips = can_clip(config.rewards, max_lateness_penalty=max_lateness)
        self._decay = np.tile(np.array(config.needs_decay), (self._num_slots, 1))
        self._need_rates = need_rates(config.rewards)
        self._rewards_partings = config.social.social_rewards in ("C2", "C3")
        self._no_scores, self._nothing_done = np.zeros(self._num_slots), np.zeros(0, dtype=np.bool_)
        self.takes_rewards_apart = False
        """Whether each tick keeps what its rewards are made of in `reward_parts`, for people who ask why."""
        self.reward_parts: RewardParts | None = None
        """Of the latest tick, by slot; None where nobody asked."""
        self._rows: Ints | None = None
        self._observed: TownObserved | None = None
        self._episode_of_slot = self._worlds
        side, features = config.local_window, self._observer.names
        self.spec = SimulationSpec(
            name="town",
            vocabulary=self.place.actions.vocabulary,
            observation_shapes={"features": (len(features),), "map": (len(MAP_CHANNELS), side, side)},
            feature_names=features,
            num_worlds=num_worlds,
            capacity=self._num_slots,
            episode_ticks=config.episode_ticks,
            event_names=EVENTS,
            commitment_columns=CommitmentColumns(
                observation="features",
                start=self._observer.held_start,
                max_ticks=max(1, *config.option_ticks.values()),
            ),
            option_ticks=config.option_ticks,
        )
        self._no_finals = self._own_room(0)
        self._room: Room = self._own_room

    def scripted(self, name: str) -> BatchController:
        """Return one of `behaviors`; agents with a schedule follow it in all of them."""
        return behavior_named(name, self._script, schedules=self._schedules)

    def guardrails(self) -> tuple[Guardrail, ...]:
        """Return the guardrail against chats and lines with rivals; rivalry exists without relationships too."""
        return (RivalryGuardrail(wait=TABLE.vocabulary.wait),)

    def scene(self, *, world: int) -> Scene:
        """Return the objects and workplaces, the same in every world."""
        return self._scene

    def drawing(self, *, world: int) -> Drawing:
        """Return the agents of a world as they are now."""
        return drawing_of(self.config, self.place, self.state, self.population.ids, world=world)

    def illegal_reasons(self, agent_id: str, *, world: int) -> Mapping[str, str]:
        """Say why an agent of a world cannot do what its mask forbids now; see `Reasoned`."""
        return {} if self._observed is None else illegal_reasons(self._observed, agent_id, world)

    def write_into(self, rooms: Mapping[str, Room]) -> None:
        """Write the observations, from the next view on, into memory that is lent; see `Filling`."""
        self._room = rooms.get(AGENTS, self._own_room)

    def close(self) -> None:
        """Nothing is held."""

    def reset(self, *, seeds: NDArray[np.int64]) -> TownObserved:
        """Begin every world anew, each with its own of `seeds` [W]."""
        self._begin_episode(require_seeds(seeds, self.spec.num_worlds), 0)
        return self._observe()

    def save_state(self) -> SavedState:
        """Return everything that the future depends on, as copies.

        Raises:
            SimulationError: before the first `reset`.
        """
        if self._observed is None:
            raise SimulationError("expected `reset` before `save_state`")
        values, edges, people = vars(self.state), vars(self.state.relations), self.population
        return join_groups(
            {
                "state": {name: np.array(values[name]) for name in (*_SCALARS, *_ARRAYS)},
                "relations": {name: edges[name].copy() for name in EDGES},
                "population": {
                    "ids": people.ids.astype(np.str_),
                    "seeds": people.seeds.copy(),
                    "arrived": people.arrived.copy(),
                    "episode": np.array(people.episode),
                },
            }
        )

    def restore(self, state: SavedState) -> TownObserved:
        """Replace the state by a saved one; from there on both towns are equal bit for bit.

        Raises:
            SimulationError: if something is missing or was saved by another town; then nothing has changed.
        """
        own, relations, people = split_groups(state, ("state", "relations", "population")).values()
        ids = self.population.ids
        if not np.array_equal(people.get("ids", np.empty(0)), ids.astype(np.str_)):
            raise SimulationError(f"expected the saved state of a town of {ids.tolist()}, got {people.get('ids')}")
        values, edges = vars(self.state), vars(self.state.relations)
        arrays = {name: _like(own, name, values[name]) for name in _ARRAYS}
        scalars = {name: _like(own, name, np.array(values[name])).item() for name in _SCALARS}
        memories = {name: _like(relations, name, edges[name]) for name in EDGES}
        seeds, arrived = (_like(people, name, vars(self.population)[name]) for name in ("seeds", "arrived"))
        episode = saved_number(people, "episode")
        values.update(arrays, **scalars, counted=b"")
        self.population.resume(self.state, seeds=seeds, arrived=arrived, episode=episode)
        self.state.relations.restore(memories)
        self._number_episodes()
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
        state, place, config = self.state, self.place, self.config
        # New arrays, not old ones cleared: what was handed out stays as it is.
        state.events = np.zeros(state.events.shape)
        state.option_done = np.zeros(self._num_slots, dtype=np.bool_)
        standing = None if self._schedules is None else self._schedules.standing(state)
        chats, parted = self._live_together(before, actions)
        company = chats if parted is None else parted if chats is None else chats + parted
        progress(state, place, config)
        pass_stale_turns(state, place, config)
        grant_turns(state, place, config)
        deliver(state, place, config)
        if (state.tick + 1) % FADE_TICKS == 0:
            state.relations.fade()
        state.needs -= self._decay
        np.maximum(state.needs, 0.0, out=state.needs)
        attendance = attend(state, place, colleagues=config.social.relationships)
        fainted = None
        if np.count_nonzero(state.needs) < state.needs.size:
            fainted = state.alive & (state.needs[:, _MOST_URGENT].min(axis=1) <= 0.0)
        rewards = tick_rewards(
            state.needs,
            attendance,
            fainted,
            place.timetable.lateness_penalty[state.job],
            company,
            config=config.rewards,
            need_rates=self._need_rates,
            faint_penalty=self.faint_penalty,
            clips=self._clips,
        )
        if self.takes_rewards_apart:
            self.reward_parts = reward_parts(
                rewards,
                state.needs,
                attendance,
                fainted,
                place.timetable.lateness_penalty[state.job],
                chats,
                parted,
                config=config.rewards,
                need_rates=self._need_rates,
                faint_penalty=self.faint_penalty,
            )
        if self._schedules is not None and standing is not None:
            self._schedules.advance(state, standing)
        state.tick += 1
        return self._close_tick(before, rewards, fainted)

    def _live_together(self, before: TownObserved, actions: Ints) -> tuple[Floats | None, Floats | None]:
        """Act [N], and hold chats on the way; return what chats and partings earn, [S] each, None for nothing."""
        state, place, config = self.state, self.place, self.config
        if before.rows is not None:  # empty slots wait
            acting, actions = actions, np.zeros(self._num_slots, dtype=np.int64)
            actions[before.rows] = acting
        talks = None
        if before.chats_possible:
            talks = begin_talks(state, before.company, (actions == _CHAT).nonzero()[0], before.may_chat)
        act_out(state, place, actions, before.targets, config)
        earned = None if talks is None else finish_talks(state, talks, self._worlds, config)
        parted = None
        if self._rewards_partings and state.relations.avoiding.size:
            parted = partings(state, before.company, worth=config.social.avoid_conflict)
        return earned, parted

    def _close_tick(self, before: TownObserved, rewards: Floats, fainted: Bools | None) -> Stepped:
        """Take the final observations, dismiss agents that faint or travel, admit those that are back, observe."""
        state, population = self.state, self.population
        over = state.tick >= self.config.episode_ticks
        row_rewards = rows_of(rewards, before.rows).astype(np.float32)
        terminated = np.zeros(len(row_rewards), dtype=np.bool_) if fainted is None else rows_of(fainted, before.rows)
        if over:
            truncated = ~terminated
        elif state.tick >= population.next_departure:
            truncated = rows_of(state.leaves_at <= state.tick, before.rows) & ~terminated
        else:
            truncated = np.zeros(len(terminated), dtype=np.bool_)
        final_rows = (terminated | truncated).nonzero()[0]
        finals, final_done = self._no_finals, self._nothing_done
        if final_rows.size:
            ended = before.slots[final_rows]
            finals, final_done = self._observe_last(ended), state.option_done[ended]
        if over or final_rows.size:
            self._let_go(before.slots[terminated], before.slots[truncated], over=over)
        if not over and state.tick >= population.next_return:
            population.admit(state)
        return Stepped(
            rewards=row_rewards,
            terminated=terminated,
            truncated=truncated,
            final_rows=final_rows,
            final_option_done=final_done,
            final_observations=finals,
            events=state.events,
            observed=self._observe(),
        )

    def _let_go(self, fainted: Ints, leaving: Ints, *, over: bool) -> None:
        """Dismiss agents that have fainted or travel, or begin the next episode."""
        state, population, lifecycle = self.state, self.population, self.config.lifecycle
        np.add.at(state.events[:, _FAINT], self._worlds[fainted], 1.0)
        if over:
            self._begin_episode(population.seeds, population.episode + 1)
            return
        np.add.at(state.events[:, _DEPARTURE], self._worlds[leaving], 1.0)
        population.dismiss(state, fainted, until=state.tick + lifecycle.respawn_delay_ticks)
        population.dismiss(state, leaving, until=state.tick + lifecycle.away_ticks)

    def _begin_episode(self, seeds: Ints, episode: int) -> None:
        state = self.state
        state.tick = 0
        state.stock = initial_stock(self.config, self.place)
        state.given_up_at.fill(-1)
        state.last_cooldown, state.someone_late, state.some_blocked = 0, False, False
        state.blocked.fill(False)
        state.option_done = np.zeros(self._num_slots, dtype=np.bool_)
        self.population.settle(state, seeds, episode)
        self._number_episodes()

    def _number_episodes(self) -> None:
        self._episode_of_slot = self._worlds + self.population.episode * self.spec.num_worlds

    def _look_around(self) -> Company:
        """Bring what is derived from the state up to date."""
        self.state.recount()
        self.state.relations.refresh(self.state.tick)
        return gather(self.state, self.place)

    def _observe_last(self, slots: Ints) -> Mapping[str, NDArray[np.float32]]:
        """Return the observations [E, ...] of agents that end, before they go: of these alone, for they are few."""
        state, company = self.state, self._look_around()
        may_chat = self._resolver.may_chat(state, company.num_others)
        scores = chat_scores(state, company, may_chat) if np.count_nonzero(may_chat) else self._no_scores
        own_cell, meant = self._resolver.resolve_for(state, slots)
        finals = self._own_room(len(slots))
        self._observer.observe(state, Sight(slots, own_cell, meant, company, may_chat[slots], scores[slots]), finals)
        return finals

    def _own_room(self, num_rows: int) -> Mapping[str, NDArray[np.float32]]:
        return {name: np.empty((num_rows, *shape), np.float32) for name, shape in self.spec.observation_shapes.items()}

    def _observe(self) -> TownObserved:
        state, place, company = self.state, self.place, self._look_around()
        self._rows = rows = state.alive.nonzero()[0] if self.population.somebody_absent else None
        targets = self._resolver.resolve(state)
        mask = self._resolver.legal_actions(state, targets, company.num_others)
        may_chat = mask[:, _CHAT]
        chats_possible = bool(np.count_nonzero(may_chat))
        scores = chat_scores(state, company, may_chat) if chats_possible else self._no_scores
        slots, seen_mask = self._slots if rows is None else rows, rows_of(mask, rows)
        room = self._room(len(slots))
        observations = {name: room[name] for name in self.spec.observation_shapes}
        sight = Sight(
            rows=rows,
            own_cell=rows_of(targets.own_cell, rows),
            meant=rows_of(targets.local, rows),
            company=company,
            can_chat=seen_mask[:, _CHAT],
            scores=rows_of(scores, rows),
        )
        self._observer.observe(state, sight, observations)
        population = self.population
        self._observed = TownObserved(
            slots=slots,
            keys=rows_of(population.keys, rows),
            agent_ids=rows_of(population.ids, rows),
            worlds=rows_of(self._worlds, rows),
            episodes=rows_of(self._episode_of_slot, rows),
            observations=observations,
            action_mask=seen_mask,
            option_done=rows_of(state.option_done, rows),
            state=state,
            place=place,
            targets=targets,
            company=company,
            may_chat=may_chat,
            chats_possible=chats_possible,
            chat_scores=scores,
            rows=rows,
        )
        return self._observed


def _like(saved: SavedState, name: str, present: NDArray[Any]) -> NDArray[Any]:
    return saved_array(saved, name, dtype=present.dtype.type, shape=present.shape)
