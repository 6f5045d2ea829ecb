"""A corridor, the small world that shows everything a simulation may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import (
    ActionVocabulary,
    BatchController,
    Guardrail,
    IdleController,
    SavedState,
    StatelessController,
    View,
    draw_keys,
)
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import (
    CommitmentColumns,
    Observations,
    Observed,
    SimulationSpec,
    Stepped,
    require_seeds,
)
from townlet_runtime.simulation.saved_state import saved_array, saved_number

WAIT, LEFT, RIGHT, REST = range(4)
STEP_FATIGUE, REST_FATIGUE = 0.25, 0.5
STEP_REWARD, ARRIVAL_REWARD = -0.01, 1.0
_NAMES = ("agent_ids", "keys")
"""What follows from who has arrived."""


@dataclass(frozen=True, kw_only=True)
class CorridorConfig:
    """One corridor: agents enter at the left, tire as they walk, may rest, and leave at the right."""

    length: int = 6
    """Cells; the last one is the exit."""
    places: int = 3
    """Agents that fit in at the same time."""
    episode_ticks: int = 40
    max_absence: int = 4
    """A place stays empty for 1 to so many ticks."""
    rest_ticks: int = 3
    """Commitment length of a rest."""
    slip: float = 0.2
    """Probability that a step fails."""
    masked: bool = True
    shows_commitments: bool = True

    def __post_init__(self) -> None:
        if min(self.length, self.places, self.episode_ticks, self.max_absence) < 1 or not 0.0 <= self.slip < 1.0:
            raise SimulationError(f"a corridor's sizes must be positive and `slip` in [0, 1), got {self}")


@dataclass(kw_only=True, eq=False)
class _Places:
    """State by slot, each [W * places]."""

    present: NDArray[np.bool_]
    position: NDArray[np.int64]
    fatigue: NDArray[np.float64]
    resting: NDArray[np.bool_]
    absence: NDArray[np.int64]
    arrivals: NDArray[np.int64]
    agent_ids: NDArray[np.object_]
    keys: NDArray[np.uint64]

    @classmethod
    def empty(cls, capacity: int) -> _Places:
        return cls(
            present=np.zeros(capacity, np.bool_),
            position=np.zeros(capacity, np.int64),
            fatigue=np.zeros(capacity),
            resting=np.zeros(capacity, np.bool_),
            absence=np.zeros(capacity, np.int64),
            arrivals=np.zeros(capacity, np.int64),
            agent_ids=np.full(capacity, "", np.object_),
            keys=np.zeros(capacity, np.uint64),
        )


@dataclass(eq=False)
class Corridor:
    """W corridors side by side. A `townlet_runtime.simulation.interface.Simulation`.

    Actions `wait left right rest`. A tired agent (fatigue 1 or more) cannot walk; a rest is an option of several ticks
    that is done when the fatigue is gone. Reaching the exit is worth 1 and terminates the agent, each other tick costs
    0.01; a newcomer takes the place a little later. Every `episode_ticks` all agents are truncated.
    """

    config: CorridorConfig = field(default_factory=CorridorConfig)
    num_worlds: int = 1

    def __post_init__(self) -> None:
        self._spec = _spec(self.config, self.num_worlds)
        self._places = _Places.empty(self._spec.capacity)
        self._seeds = np.zeros(self.num_worlds, np.int64)
        self._tick = self._episode = 0
        self._slips = np.zeros((0, 0), np.bool_)
        self._absences = np.zeros((0, 0), np.int64)

    @property
    def spec(self) -> SimulationSpec:
        return self._spec

    @property
    def behaviors(self) -> tuple[str, ...]:
        return ("scripted", "nearest", "idle")

    @property
    def fatigue(self) -> NDArray[np.float64]:
        """Fatigue by slot, for the scripts."""
        return self._places.fatigue

    def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
        self._seeds, self._episode = require_seeds(seeds, self.num_worlds), 0
        self._places = _Places.empty(self._spec.capacity)
        self._begin_episode()
        return self._observe()

    def step(self, actions: NDArray[np.int64]) -> Stepped:
        slots = self._slots()
        if actions.shape != slots.shape or not np.isin(actions, range(4)).all():
            raise SimulationError(f"expected {len(slots)} actions in [0, 4), got {actions}")
        if self.config.masked and not self._mask(slots)[np.arange(len(slots)), actions].all():
            raise SimulationError(f"expected actions that the mask allows, got {actions}")
        self._move(slots, actions)
        self._tick += 1
        terminated = self._places.position[slots] == self.config.length - 1
        truncated = ~terminated & (self._tick == self.config.episode_ticks)
        final_rows = np.flatnonzero(terminated | truncated)
        ended = slots[final_rows]
        rested = self._rested()
        final_observations, final_option_done = self._observations(ended), rested[ended]
        worlds = slots // self.config.places
        happened = (worlds[terminated], worlds[rested[slots]])
        events = np.stack([np.bincount(one, minlength=self.num_worlds) for one in happened], axis=1)
        self._places.present[ended] = False
        if self._tick == self.config.episode_ticks:
            self._episode += 1
            self._begin_episode()
        else:
            self._places.absence[ended] = self._absences[self._tick - 1, ended]
            self._admit()
        return Stepped(
            rewards=np.where(terminated, ARRIVAL_REWARD, STEP_REWARD).astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            final_rows=final_rows,
            final_option_done=final_option_done,
            final_observations=final_observations,
            events=events,
            observed=self._observe(),
        )

    def scripted(self, name: str) -> BatchController:
        """`scripted` rests when too tired to walk, `nearest` whenever it can, `idle` waits."""
        if name == "idle":
            return IdleController(wait=WAIT)
        if name not in self.behaviors:
            raise SimulationError(f"expected a script `scripted`, `nearest` or `idle`, got {name!r}")
        return _Walker(self, rest_from=1.0 if name == "scripted" else STEP_FATIGUE)

    def guardrails(self) -> Sequence[Guardrail]:
        return ()

    def close(self) -> None:
        """Nothing is held."""

    def save_state(self) -> SavedState:
        places = {name: array.copy() for name, array in vars(self._places).items() if name not in _NAMES}
        numbers = {"episode": self._episode, "tick": self._tick}
        seeds = {"seeds": self._seeds.copy()}
        return {**places, **seeds, **{name: np.array(number, np.int64) for name, number in numbers.items()}}

    def restore(self, state: SavedState) -> Observed:
        own = vars(_Places.empty(self._spec.capacity))
        for name, array in own.items():
            if name not in _NAMES:
                own[name] = saved_array(state, name, dtype=array.dtype.type, shape=array.shape)
        seeds = saved_array(state, "seeds", dtype=np.int64, shape=(self.num_worlds,))
        self._seeds, self._episode = require_seeds(seeds, self.num_worlds), saved_number(state, "episode")
        self._begin_episode()
        self._places, self._tick = _Places(**own), saved_number(state, "tick")
        for slot in np.flatnonzero(self._places.arrivals).tolist():
            self._name(slot)
        return self._observe()

    def _slots(self) -> NDArray[np.int64]:
        return np.flatnonzero(self._places.present)

    def _rested(self) -> NDArray[np.bool_]:
        rested: NDArray[np.bool_] = self._places.resting & (self._places.fatigue == 0.0)
        return rested

    def _begin_episode(self) -> None:
        """Draw everything that chance decides in this episode, each corridor from its seed and the episode's number."""
        config, places = self.config, self._places
        shape = (config.episode_ticks, config.places)
        slips, absences, first = [], [], []
        for seed in self._seeds.tolist():
            generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(self._episode,)))
            slips.append(generator.random(shape) < config.slip)
            absences.append(generator.integers(1, config.max_absence + 1, shape))
            first.append(np.append(0, generator.integers(0, config.max_absence + 1, config.places - 1)))
        self._slips, self._absences = np.concatenate(slips, axis=1), np.concatenate(absences, axis=1)
        self._tick = 0
        places.present[:] = False
        places.absence[:] = np.concatenate(first) + 1
        self._admit()

    def _admit(self) -> None:
        """Admit agents to places that have been empty long enough, under names never used before."""
        places = self._places
        places.absence[~places.present] -= 1
        newcomers = np.flatnonzero(~places.present & (places.absence == 0))
        places.position[newcomers] = 0
        places.fatigue[newcomers] = 0.0
        places.resting[newcomers] = False
        places.present[newcomers] = True
        places.arrivals[newcomers] += 1
        for slot in newcomers.tolist():
            self._name(slot)

    def _name(self, slot: int) -> None:
        world, place = divmod(slot, self.config.places)
        agent_id = f"visitor_{place}_{self._places.arrivals[slot]}"
        self._places.agent_ids[slot] = agent_id
        self._places.keys[slot] = draw_keys(int(self._seeds[world]), agent_id)

    def _move(self, slots: NDArray[np.int64], actions: NDArray[np.int64]) -> None:
        places = self._places
        walks = (actions == LEFT) | (actions == RIGHT)
        moved = walks & (places.fatigue[slots] < 1.0) & ~self._slips[self._tick, slots]
        moves = moved * np.where(actions == RIGHT, 1, -1)
        places.position[slots] = np.maximum(places.position[slots] + moves, 0)
        rests = actions == REST
        rested = np.maximum(places.fatigue[slots] - REST_FATIGUE, 0.0)
        places.fatigue[slots] = np.where(rests, rested, places.fatigue[slots] + STEP_FATIGUE * walks)
        places.resting[slots] = rests

    def _mask(self, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        mask = np.ones((len(slots), 4), np.bool_)
        mask[:, LEFT] = self._places.position[slots] > 0
        mask[:, REST] = self._places.fatigue[slots] > 0.0
        return mask

    def _observations(self, slots: NDArray[np.int64]) -> Observations:
        places, config = self._places, self.config
        features = np.zeros((len(slots), *self._spec.observation_shapes["features"]), np.float32)
        features[:, 0] = places.position[slots] / config.length
        features[:, 1] = places.fatigue[slots]
        features[:, 2] = self._tick / config.episode_ticks
        corridor = np.zeros((len(slots), *self._spec.observation_shapes["map"]), np.float32)
        corridor[np.arange(len(slots)), 0, 0, places.position[slots]] = 1.0
        return {"features": features, "map": corridor}

    def _observe(self) -> Observed:
        slots = self._slots()
        worlds = slots // self.config.places
        return Observed(
            slots=slots,
            keys=self._places.keys[slots],
            agent_ids=self._places.agent_ids[slots],
            worlds=worlds,
            episodes=worlds + self._episode * self.num_worlds,
            observations=self._observations(slots),
            action_mask=self._mask(slots) if self.config.masked else None,
            option_done=self._rested()[slots],
        )


@dataclass(frozen=True, eq=False)
class _Walker(StatelessController):
    """Walks to the exit and rests from a certain fatigue on."""

    corridor: Corridor
    rest_from: float

    def propose(self, view: View) -> NDArray[np.int64]:
        return np.where(self.corridor.fatigue[view.slots] >= self.rest_from, REST, RIGHT)


def _spec(config: CorridorConfig, num_worlds: int) -> SimulationSpec:
    vocabulary = ActionVocabulary(keys=("wait", "left", "right", "rest"), kinds=("wait", "move", "move", "start"))
    shown = [f"held_{key}" for key in vocabulary.keys] + ["held_ticks"] if config.shows_commitments else []
    names = ("position", "fatigue", "tick", *shown)
    columns = CommitmentColumns(observation="features", start=3, max_ticks=config.rest_ticks)
    return SimulationSpec(
        name="corridor",
        vocabulary=vocabulary,
        observation_shapes={"features": (len(names),), "map": (1, 1, config.length)},
        feature_names=names,
        num_worlds=num_worlds,
        capacity=num_worlds * config.places,
        episode_ticks=config.episode_ticks,
        event_names=("exits", "rests"),
        commitment_columns=columns if config.shows_commitments else None,
        option_ticks={"wait": 0, "move": 1, "start": config.rest_ticks},
    )
