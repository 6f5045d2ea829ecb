"""`Intake` completes, casts and checks the answers of a simulation where they enter the library."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import SavedState, draw_keys
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.casting import (
    BOOL,
    FLOAT32,
    FLOAT64,
    INT64,
    OBJECT,
    UINT64,
    Agents,
    Array,
    Caster,
    Column,
    Form,
    Shape,
)
from townlet_runtime.simulation.interface import Observed, SimulationSpec, Stepped, require_seeds
from townlet_runtime.simulation.saved_state import saved_array, saved_number
from townlet_trajectory.data.checks import is_finite


class Intake:
    """Completes, casts and checks the answers of a simulation of one group, tick by tick.

    Arrays that are right already are handed on as they are, at the cost of comparing their dtypes and shapes; agents
    are looked at when they change. Ticks count from the last reset.
    """

    def __init__(self, spec: SimulationSpec) -> None:
        self._spec = spec
        self._shapes = dict(spec.seen_shapes)
        self._events_shape = (spec.num_worlds, len(spec.event_names))
        self._seeds: NDArray[np.int64] = np.zeros(spec.num_worlds, np.int64)
        self._caster = Caster(spec.name)
        self._before: Observed | None = None
        self._episode: NDArray[np.int64] = np.zeros(spec.num_worlds, np.int64)
        self._forget()

    def begin(self, observed: Observed, *, seeds: NDArray[np.int64]) -> Observed:
        """Take the view that a reset returned.

        Args:
            observed: of the simulation.
            seeds: [W]; given to the reset.

        Returns:
            The view, complete and of the stated dtypes.

        Raises:
            SimulationError: names the simulation, world, agent, tick and array.
        """
        self._seeds, self._caster.tick = require_seeds(seeds, self._spec.num_worlds), 0
        self._episode[:] = 0
        self._forget()
        self._before = self._observed(observed)
        return self._before

    def step(self, stepped: Stepped) -> Stepped:
        """Take the outcome of a tick.

        Args:
            stepped: of the simulation.

        Returns:
            The outcome, complete and of the stated dtypes.

        Raises:
            SimulationError: names the simulation, world, agent, tick and array.
        """
        before = self._before
        if before is None:
            raise SimulationError(f"`{self._spec.name}`: `reset` must come before `step`")
        if not isinstance(stepped, Stepped):
            raise SimulationError(f"{self._caster.where()}: expected a `Stepped` of `step`, got {stepped!r}")
        rows, ends = len(before.slots), len(stepped.final_rows)
        if (rows, ends) != self._outcome_size:
            self._expect_outcome(rows, ends)
        if not self._outcome_fits(stepped):
            stepped = self._completed(stepped, Agents(before.agent_ids, before.worlds))
        self._check_outcome(stepped, before)
        stay = before.slots
        if len(stepped.final_rows):
            stay = np.delete(stay, stepped.final_rows)
            self._end_episodes(stepped.final_rows, before)
        self._caster.tick += 1
        self._before = self._observed(stepped.observed, stay)
        return stepped if self._before is stepped.observed else replace(stepped, observed=self._before)

    def save_state(self) -> SavedState:
        """Return what later answers are completed and compared with."""
        tick = np.array(self._caster.tick, np.int64)
        return {"seeds": self._seeds.copy(), "episode": self._episode.copy(), "tick": tick}

    def restore(self, state: SavedState, observed: Observed) -> Observed:
        """Go on as the intake that was saved; `observed` is what the simulation returned when it was restored.

        Raises:
            SimulationError: if `state` is not of such an intake, or `observed` is refused.
        """
        seeds, episode = (
            saved_array(state, name, dtype=np.int64, shape=(self._spec.num_worlds,)) for name in ("seeds", "episode")
        )
        self._seeds, self._caster.tick = require_seeds(seeds, self._spec.num_worlds), saved_number(state, "tick")
        self._episode = episode
        self._forget()
        self._before = self._observed(observed)
        return self._before

    def _forget(self) -> None:
        """Know no agent."""
        self._known_ids: NDArray[np.object_] = np.full(self._spec.capacity, None, np.object_)
        self._known_keys: NDArray[np.uint64] = np.zeros(self._spec.capacity, np.uint64)
        self._roster = (b"", b"", b"")
        self._ids: NDArray[np.object_] = np.empty(0, np.object_)
        self._keys: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._key_bytes = b""
        self._expect_view(0)
        self._expect_outcome(0, 0)

    def _expect_view(self, rows: int) -> None:
        dtypes: tuple[np.dtype[Any], ...] = (INT64, OBJECT, UINT64, INT64, INT64, BOOL)
        own = [(dtype, (rows,)) for dtype in dtypes]
        self._view_size = rows
        self._view = Form.of([*own, *((FLOAT32, (rows, *shape)) for shape in self._shapes.values())])

    def _expect_outcome(self, rows: int, ends: int) -> None:
        own: list[Column] = [
            (FLOAT32, (rows,)),
            (BOOL, (rows,)),
            (BOOL, (rows,)),
            (INT64, (ends,)),
            (BOOL, (ends,)),
        ]
        terms = [(FLOAT32, (rows,))] * len(self._spec.reward_terms)
        finals = [(FLOAT32, (ends, *shape)) for shape in self._shapes.values()]
        self._outcome_size, self._nobody = (rows, ends), bytes(rows)
        self._outcome = Form.of([*own, *terms, *finals])

    def _view_fits(self, observed: Observed) -> bool:
        seen, mask = observed.observations, observed.action_mask
        if seen.keys() != self._shapes.keys():
            return False
        arrays = (
            observed.slots,
            observed.agent_ids,
            observed.keys,
            observed.worlds,
            observed.episodes,
            observed.option_done,
            *(seen[name] for name in self._shapes),
        )
        if not self._view.fits(arrays):
            return False
        return mask is None or (type(mask) is np.ndarray and mask.dtype == BOOL and mask.shape == self._mask_shape)

    @property
    def _mask_shape(self) -> Shape | None:
        """None where there can be no mask."""
        return (self._view_size, self._spec.mask_size) if self._spec.mask_size else None

    def _outcome_fits(self, stepped: Stepped) -> bool:
        finals, terms, events = stepped.final_observations, stepped.reward_terms, stepped.events
        if finals.keys() != self._shapes.keys() or len(terms) != len(self._spec.reward_terms):
            return False
        if type(events) is not np.ndarray or events.shape != self._events_shape:
            return False
        if events.dtype != INT64 and events.dtype != FLOAT64:
            return False
        names = self._spec.reward_terms
        if names and terms.keys() != set(names):
            return False
        arrays = (
            stepped.rewards,
            stepped.terminated,
            stepped.truncated,
            stepped.final_rows,
            stepped.final_option_done,
            *(terms[name] for name in names),
            *(finals[name] for name in self._shapes),
        )
        return self._outcome.fits(arrays)

    def _observed(self, observed: Observed, stay: NDArray[np.int64] | None = None) -> Observed:
        """Take a view; the agents in the slots `stay` must be in it."""
        if not isinstance(observed, Observed):
            raise SimulationError(f"{self._caster.where()}: expected an `Observed`, got {observed!r}")
        rows = len(observed.slots)
        if rows != self._view_size:
            self._expect_view(rows)
        if not self._view_fits(observed):
            return self._completed_view(observed, stay)
        keys = self._keys_of(observed.slots, observed.agent_ids, observed.worlds, stay)
        if observed.keys.tobytes() != self._key_bytes:
            self._refuse_keys(observed.keys, keys, Agents(observed.agent_ids, observed.worlds))
        return observed

    def _completed_view(self, observed: Observed, stay: NDArray[np.int64] | None) -> Observed:
        rows, spec = len(observed.slots), self._spec
        slots = self._caster.cast("slots", observed.slots, INT64, (rows,), None)
        worlds = slots // (spec.capacity // spec.num_worlds)
        if len(observed.worlds) or not rows:
            worlds = self._caster.cast("worlds", observed.worlds, INT64, (rows,), None)
        ids = self._caster.cast("agent_ids", observed.agent_ids, OBJECT, (rows,), None)
        keys, agents = self._keys_of(slots, ids, worlds, stay), Agents(ids, worlds)
        if len(observed.keys):
            given = self._caster.cast("keys", observed.keys, UINT64, (rows,), agents)
            if given.tobytes() != self._key_bytes:
                self._refuse_keys(given, keys, agents)
        episodes = self._episode[worlds] * spec.num_worlds + worlds
        if len(observed.episodes):
            episodes = self._caster.cast("episodes", observed.episodes, INT64, (rows,), agents)
        done = np.zeros(rows, np.bool_)
        if len(observed.option_done):
            done = self._caster.cast("option_done", observed.option_done, BOOL, (rows,), agents)
        mask = observed.action_mask
        if mask is not None:
            if self._mask_shape is None:
                self._caster.refuse("no `action_mask`, as actions are numbers", "one")
            mask = self._caster.cast("action_mask", mask, BOOL, self._mask_shape, agents)
        return Observed(
            slots=slots,
            agent_ids=ids,
            observations=self._caster.cast_named("observations", observed.observations, self._shapes, agents),
            keys=keys,
            worlds=worlds,
            episodes=episodes,
            action_mask=mask,
            option_done=done,
        )

    def _keys_of(
        self,
        slots: NDArray[np.int64],
        agent_ids: NDArray[np.object_],
        worlds: NDArray[np.int64],
        stay: NDArray[np.int64] | None,
    ) -> NDArray[np.uint64]:
        """The keys of the agents [N], computed when one of them is new."""
        # Texts are compared by address, which costs nothing: those of `_ids` are kept alive.
        roster = (slots.tobytes(), agent_ids.tobytes(), worlds.tobytes())
        if roster != self._roster:
            self._enter(slots, agent_ids, worlds, stay)
            self._roster, self._ids = roster, agent_ids.copy()
            self._keys = self._known_keys[slots]
            self._key_bytes = self._keys.tobytes()
        return self._keys

    def _enter(
        self,
        slots: NDArray[np.int64],
        agent_ids: NDArray[np.object_],
        worlds: NDArray[np.int64],
        stay: NDArray[np.int64] | None,
    ) -> None:
        """Check the agents of a view, and compute the keys of those that are new."""
        spec, agents = self._spec, Agents(agent_ids, worlds)
        if np.count_nonzero(slots[1:] > slots[:-1]) != max(len(slots) - 1, 0):
            self._caster.refuse("strictly ascending `slots`", slots)
        if len(slots) and not (0 <= slots[0] and slots[-1] < spec.capacity):
            self._caster.refuse(f"`slots` in [0, {spec.capacity})", slots)
        self._caster.require_rows(
            worlds == slots // (spec.capacity // spec.num_worlds), "`worlds` of the slots", agents, worlds
        )
        new = np.flatnonzero(self._known_ids[slots] != agent_ids)
        newcomers = agents.take(new)
        named = np.array([isinstance(one, str) and one != "" for one in newcomers.agent_ids], np.bool_)
        self._caster.require_rows(named, "`agent_ids` that are texts and not empty", newcomers, newcomers.agent_ids)
        if stay is not None:
            self._require_stay(stay, slots, agents, new)
        for row, seed in zip(new.tolist(), self._seeds[worlds[new]].tolist(), strict=True):
            self._known_keys[slots[row]] = draw_keys(seed, agent_ids[row])
        self._known_ids[slots] = agent_ids
        # Agents of one world have the same key where they have the same id, and hardly ever else.
        if len(np.unique(self._known_keys[slots])) < len(slots):
            first: dict[tuple[int, str], int] = {}
            for row, agent in enumerate(zip(worlds.tolist(), agent_ids.tolist(), strict=True)):
                if first.setdefault(agent, row) != row:
                    self._caster.refuse(
                        "`agent_ids` that are unique in a world", "one twice", agents.take(np.array([row]))
                    )

    def _require_stay(
        self, stay: NDArray[np.int64], slots: NDArray[np.int64], agents: Agents, new: NDArray[np.int64]
    ) -> None:
        """Agents leave their slot by `terminated` or `truncated` alone."""
        gone = stay[~np.isin(stay, slots)]
        if len(gone):
            self._caster.refuse(
                f"agent {self._known_ids[gone[0]]!r} to stay in slot {gone[0]} until it ends", "a view without it"
            )
        changed = new[np.isin(slots[new], stay)]
        if len(changed):
            was = self._known_ids[slots[changed[0]]]
            self._caster.refuse(
                f"agent {was!r} to stay in slot {slots[changed[0]]} until it ends", "another", agents.take(changed)
            )

    def _completed(self, stepped: Stepped, agents: Agents) -> Stepped:
        spec, rows = self._spec, len(agents.worlds)
        rewards = self._caster.cast("rewards", stepped.rewards, FLOAT32, (rows,), agents)
        terminated, truncated = (
            self._caster.cast(name, value, BOOL, (rows,), agents) if len(value) else np.zeros(rows, np.bool_)
            for name, value in (("terminated", stepped.terminated), ("truncated", stepped.truncated))
        )
        ended = np.flatnonzero(terminated | truncated)
        final_rows, size = ended, len(ended)
        if len(stepped.final_rows):
            final_rows = self._caster.cast("final_rows", stepped.final_rows, INT64, (size,), agents.take(ended))
        done = np.zeros(size, np.bool_)
        if len(stepped.final_option_done):
            done = self._caster.cast("final_option_done", stepped.final_option_done, BOOL, (size,), agents.take(ended))
        finals = stepped.final_observations
        if not size and not finals:
            finals = {name: np.empty((0, *shape), np.float32) for name, shape in self._shapes.items()}
        terms = dict.fromkeys(spec.reward_terms, ())
        return replace(
            stepped,
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            final_rows=final_rows,
            final_option_done=done,
            final_observations=self._caster.cast_named("final_observations", finals, self._shapes, agents.take(ended)),
            events=self._cast_events(stepped.events),
            reward_terms=self._caster.cast_named("reward_terms", stepped.reward_terms, terms, agents),
        )

    def _cast_events(self, events: Array) -> Array:
        if not len(events) and not self._spec.event_names:
            return np.zeros(self._events_shape, np.int64)
        dtype = INT64 if np.asarray(events).dtype.kind in "biu" else FLOAT64
        return self._caster.cast("events", events, dtype, self._events_shape, None)

    def _check_outcome(self, stepped: Stepped, before: Observed) -> None:
        """Check the values: finite numbers, and final rows that are those that ended."""
        for name, column in (("rewards", stepped.rewards), *stepped.reward_terms.items()):
            if not is_finite(column):
                self._caster.require_rows(
                    np.isfinite(column), f"finite `{name}`", Agents(before.agent_ids, before.worlds), column
                )
        if stepped.events.dtype.kind == "f" and not is_finite(stepped.events):
            self._caster.refuse("finite `events`", stepped.events)
        rows = len(before.slots)
        nobody = self._nobody if rows == self._outcome_size[0] else bytes(rows)
        if len(stepped.final_rows) or stepped.terminated.tobytes() != nobody or stepped.truncated.tobytes() != nobody:
            ended = np.flatnonzero(stepped.terminated | stepped.truncated)
            if ended.tobytes() != stepped.final_rows.tobytes():
                self._caster.refuse(f"`final_rows` {ended}, those that ended", stepped.final_rows)

    def _end_episodes(self, final_rows: NDArray[np.int64], before: Observed) -> None:
        """An episode is over in a world where every agent ended, for simulations that do not number theirs."""
        size = self._spec.num_worlds
        there = np.bincount(before.worlds, minlength=size)
        self._episode += (there > 0) & (there == np.bincount(before.worlds[final_rows], minlength=size))

    def _refuse_keys(self, given: NDArray[np.uint64], keys: NDArray[np.uint64], agents: Agents) -> NoReturn:
        rows = np.flatnonzero(given != keys)
        self._caster.refuse(f"the key {keys[rows[0]]}, `draw_keys` of seed and id", given[rows[0]], agents.take(rows))


class KnownIds:
    """Checks the ids of views that no `Intake` has seen, where a slot has another id than at the last look."""

    def __init__(self, capacity: int) -> None:
        self._ids: NDArray[np.object_] = np.full(capacity, None, np.object_)

    def check(self, observed: Observed, *, tick: int) -> None:
        """Raise `SimulationError` if an agent has no name, or that of another in its world."""
        slots, agent_ids = observed.slots, observed.agent_ids
        # Some of the agents that were checked together are as different as all of them. Texts are compared by address,
        # which costs nothing: those in `_ids` are kept alive.
        if self._ids[slots].tobytes() == agent_ids.tobytes():
            return
        _require_ids(observed, tick=tick)
        self._ids.fill(None)
        self._ids[slots] = agent_ids


def _require_ids(observed: Observed, *, tick: int) -> None:
    empty = np.flatnonzero(observed.agent_ids == "")
    if empty.size:
        world = int(observed.worlds[empty[0]])
        raise SimulationError(f"world {world}, tick {tick}: the id of an agent must not be empty")
    # Two agents of one name have one key, and would draw the same numbers.
    if len(set(observed.keys.tolist())) < len(observed.keys):
        seen = Counter(zip(observed.worlds.tolist(), observed.agent_ids.tolist(), strict=True))
        (world, agent_id), count = seen.most_common(1)[0]
        if count > 1:
            raise SimulationError(f"world {world}, tick {tick}: {count} agents are named {agent_id!r}")
