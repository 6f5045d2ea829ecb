"""A recorded world that is made again and carried along by the recorded actions, so that it can be drawn as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BehaviorError, SavedState
from townlet_runtime.drawing.scene import Drawing, Scene, drawable_of, looks_of
from townlet_runtime.errors import TownletError
from townlet_runtime.live.history import WORLD
from townlet_runtime.live.record import GroupRecord, Record
from townlet_runtime.simulation.interface import GroupedSimulation, Observed, SimulationSpec
from townlet_runtime.simulation.recorded import recorded_observations
from townlet_trajectory import TrajectoryError
from townlet_trajectory.evaluation.interfaces import training_seeds

_EVERY, _STATES = 64, 32
"""Ticks between two states that are kept to go back to, at first, and how many are kept."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """How a world looks after a tick."""

    drawn: tuple[Scene, Drawing] | None
    """None: it does not say how it looks."""
    pixels: NDArray[np.uint8] | None
    """[H, W, 3]; of a world that renders them, and does not say how it looks."""


class Resimulation:
    """Repeats a record in a world, as long as both agree in every agent, observation and reward.

    Args:
        simulation: one world like the recorded one.
        record: of it.
        seed: of the recorded world.
    """

    def __init__(self, simulation: GroupedSimulation, record: Record, *, seed: int) -> None:
        self._simulation, self._record, self._seed = simulation, record, seed
        self._drawable = drawable_of(simulation)
        self._observed: Mapping[str, Observed] = {}
        self._tick = record.first
        """That comes next."""
        self._states: dict[int, SavedState] = {}
        self._every = _EVERY
        self.differs = ""
        """In what the world and the record differ, and from which tick on; empty as long as they agree."""
        if simulation.specs.keys() != record.groups.keys():
            ours, theirs = ", ".join(simulation.specs), ", ".join(record.groups)
            self.differs = f"the world has the groups of agents {ours}, the record {theirs}"
            return
        self._carry(record.first + 1)  # a world that is quite another one is said at once

    def after(self, tick: int) -> Seen | None:
        """How the world looked after a tick; None once it differs from the record."""
        if not self.differs:
            self._carry(tick + 1)
        if self.differs:
            return None
        try:
            if self._drawable is not None:
                return Seen(drawn=looks_of(self._drawable, world=WORLD), pixels=None)
            picture = self._simulation.render()
        except TownletError as error:
            self.differs = f"the world cannot be drawn at tick {tick}: {error}"
            return None
        return Seen(drawn=None, pixels=picture if isinstance(picture, np.ndarray) else None)

    def _carry(self, tick: int) -> None:
        """Bring the world to the beginning of a tick."""
        try:
            if not self._observed or tick < self._tick:
                self._go_back(tick)
            while self._tick < tick and not self.differs:
                self._keep()
                self._step()
        except (TownletError, BehaviorError, TrajectoryError) as error:
            self.differs = f"the world failed at tick {self._tick}: {error}"

    def _go_back(self, tick: int) -> None:
        earlier = [each for each in self._states if each <= tick]
        if earlier:
            self._tick = max(earlier)
            self._observed = self._simulation.restore(self._states[self._tick])
        else:
            self._tick = self._record.first
            self._observed = self._simulation.reset(seeds=training_seeds(self._seed, 1))

    def _keep(self) -> None:
        if (self._tick - self._record.first) % self._every or self._tick in self._states:
            return
        state = self._simulation.save_state()
        if state is None:
            return
        self._states[self._tick] = state
        if len(self._states) > _STATES:
            self._every *= 2
            first = self._record.first
            self._states = {tick: each for tick, each in self._states.items() if (tick - first) % self._every == 0}

    def _step(self) -> None:
        actions, rewards = {}, {}
        for group, observed in self._observed.items():
            recorded, rows = self._record.groups[group], self._record.groups[group].rows_at(self._tick)
            rows = self._matching(recorded, rows, observed)
            if self.differs:
                return
            self._compare(recorded, rows, observed, self._simulation.specs[group])
            actions[group] = np.asarray(recorded.batch.columns["action"][rows])
            rewards[group] = recorded.batch.rewards[rows]
        if self.differs:
            return
        stepped = self._simulation.step(actions)
        for group, one in stepped.items():
            if not np.array_equal(one.rewards, rewards[group], equal_nan=True):
                self._disagree("rewards")
        self._observed = {group: one.observed for group, one in stepped.items()}
        self._tick += 1

    def _matching(self, recorded: GroupRecord, rows: NDArray[np.int64], observed: Observed) -> NDArray[np.int64]:
        """The rows in the order of the agents of the world."""
        places = dict(zip(recorded.ids_of(rows).tolist(), rows.tolist(), strict=True))
        ids = observed.agent_ids.tolist()
        if places.keys() != set(ids):
            self._disagree("agents")
            return rows
        return np.array([places[one] for one in ids], np.int64)

    def _compare(
        self, recorded: GroupRecord, rows: NDArray[np.int64], observed: Observed, spec: SimulationSpec
    ) -> None:
        columns, shown = recorded.batch.columns, spec.commitment_columns
        if shown is not None and {"held_action", "ticks_left"} <= columns.keys():
            held, left = columns["held_action"][rows].astype(np.int64), columns["ticks_left"][rows].astype(np.int32)
            shown.show(observed.observations, held, left, num_actions=len(spec.vocabulary))
        seen = recorded_observations(observed)
        if seen.keys() != recorded.batch.observations.keys():
            self._disagree("names of observations")
            return
        for name, array in seen.items():
            if not np.array_equal(array, recorded.batch.observations[name][rows]):
                self._disagree(f"observations `{name}`")

    def _disagree(self, what: str) -> None:
        self.differs = self.differs or f"from tick {self._tick} on the {what} of the world are others than recorded"
