"""Units of collection: which worlds belong together is fixed by the settings of a run, never by who collects in them.

A unit steps its own worlds with its own draws, so what it comes to follows from the policy, its state and its ticks.
The rows of all units, one unit after the other, are the collection, in whatever order the units arrive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import SavedState, join_groups, split_groups
from townlet_runtime.core.counts import conflict_events, summed
from townlet_runtime.errors import SimulationError
from townlet_runtime.workers.recording import RecordingCollector, Written, written_by
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.evaluation.interfaces import (
    NO_OPPONENTS,
    AnyActor,
    Collected,
    Opponents,
    derive_seed,
    training_seeds,
)

if TYPE_CHECKING:
    from townlet_runtime.core.rollouts import Collector
    from townlet_runtime.simulation.interface import SimulationSpec


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Some of the parallel worlds of a run, which are stepped together."""

    index: int
    count: int
    """Units of the run."""
    num_worlds: int
    """Of the unit."""
    seed: int
    """Of the run."""

    @property
    def first_world(self) -> int:
        """Number of its first world in the run."""
        return self.index * self.num_worlds

    @property
    def world_seeds(self) -> NDArray[np.int64]:
        """[num_worlds]; those of the same worlds in a run of one unit."""
        return training_seeds(self.seed, self.count * self.num_worlds)[self.first_world :][: self.num_worlds]

    @property
    def draws_seed(self) -> int:
        """Seed of the policies' draws; the only unit of a run has that of the run."""
        return self.seed if self.count == 1 else derive_seed(self.seed, "unit", self.index)

    @property
    def words(self) -> str:
        """Its name, for errors."""
        last = self.first_world + self.num_worlds - 1
        return f"unit {self.index} (worlds {self.first_world} to {last})"


def units_of(num_worlds: int, *, unit_worlds: int | None, seed: int) -> list[Unit]:
    """Divide the parallel worlds of a run.

    Args:
        num_worlds: of the run.
        unit_worlds: of each unit, which divides `num_worlds`; None: all are one unit.
        seed: of the run.

    Raises:
        SimulationError: if it does not divide them.
    """
    size = num_worlds if unit_worlds is None else unit_worlds
    if size < 1 or num_worlds % size:
        raise SimulationError(f"expected units of a size that divides {num_worlds} worlds, got {size}")
    count = num_worlds // size
    return [Unit(index=index, count=count, num_worlds=size, seed=seed) for index in range(count)]


def joined_units(parts: Sequence[Collected], units: Sequence[Unit], specs: Mapping[str, SimulationSpec]) -> Collected:
    """Put what units collected one after the other; their worlds get their numbers in the run.

    Args:
        parts: of each unit, collected with the same policy.
        units: in the order of their index.
        specs: of the worlds, by group.
    """
    batches = {
        group: TrajectoryBatch.concatenate(
            [_numbered(part.batches[group], unit) for part, unit in zip(parts, units, strict=True)]
        )
        for group in parts[0].batches
    }
    counted = summed([part.events for part in parts])
    return Collected(
        batches=batches,
        events={**counted, **conflict_events(batches, specs)},
        decisions_by_source=summed([part.decisions_by_source for part in parts]),
        ticks_by_source=summed([part.ticks_by_source for part in parts]),
        vetoes=sum(part.vetoes for part in parts),
        env_steps=sum(part.env_steps for part in parts),
        agent_steps=sum(part.agent_steps for part in parts),
    )


def _numbered(batch: TrajectoryBatch, unit: Unit) -> TrajectoryBatch:
    return replace(batch, worlds=batch.worlds + unit.first_world) if unit.first_world else batch


def joined_states(states: Sequence[SavedState]) -> dict[str, NDArray[np.generic]]:
    """Join the states of all units; that of an only unit is that of its collector."""
    return dict(states[0]) if len(states) == 1 else join_groups({str(index): one for index, one in enumerate(states)})


def split_states(state: SavedState, count: int) -> list[SavedState]:
    """Undo `joined_states` of so many units. `StateError` if they were others."""
    return [state] if count == 1 else [*split_groups(state, map(str, range(count))).values()]


class DividedCollector:
    """Collects unit after unit in this process; what workers collect is the same.

    Args:
        units: of the run.
        collectors: of each unit.
    """

    def __init__(self, units: Sequence[Unit], collectors: Sequence[Collector | RecordingCollector]) -> None:
        self._units, self._collectors = units, collectors

    def collect(
        self,
        actors: Mapping[str, AnyActor] | None,
        *,
        num_ticks: int,
        ratio: float,
        opponents: Opponents = NO_OPPONENTS,
    ) -> Collected:
        """Collect in every unit.

        Args:
            actors: as of `Collector.collect`.
            num_ticks: of every world.
            ratio: share of decisions given to the actors.
            opponents: play the groups that are not recorded.
        """
        parts = [
            each.collect(actors, num_ticks=num_ticks, ratio=ratio, opponents=opponents) for each in self._collectors
        ]
        return joined_units(parts, self._units, self._collectors[0].specs)

    @property
    def written(self) -> list[Written]:
        """What each unit has written of the last collection; nothing where nothing is recorded."""
        return written_by(self._collectors)

    def save_state(self) -> SavedState | None:
        """See `Collector.save_state`."""
        states = [each.save_state() for each in self._collectors]
        known = [state for state in states if state is not None]
        return joined_states(known) if len(known) == len(states) else None

    def restore(self, state: SavedState) -> None:
        """See `Collector.restore`; `StateError` if it was saved with other units."""
        for each, own in zip(self._collectors, split_states(state, len(self._collectors)), strict=True):
            each.restore(own)
