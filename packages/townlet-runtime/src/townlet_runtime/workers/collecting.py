"""`PooledCollector`: the experience of a run, collected by workers in units, the same in whatever order they answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import SavedState, join_groups, split_groups
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.saved_state import saved_array, saved_number
from townlet_runtime.workers.collected import CollectionReader
from townlet_runtime.workers.tasks import Packed, StateBlock, UnitCast, UnitDone, UnitPlace, UnitTask
from townlet_runtime.workers.units import joined_states, joined_units, split_states
from townlet_trajectory.evaluation.interfaces import NO_OPPONENTS, AnyActor, Collected, Opponents

if TYPE_CHECKING:
    from townlet_runtime.simulation.interface import SimulationSpec
    from townlet_runtime.workers.memory import SharedMemory
    from townlet_runtime.workers.pool import WorkerPool
    from townlet_runtime.workers.units import Unit

_UNITS, _AHEAD = "units", "ahead"
"""Parts of a saved state where collections were begun ahead."""
_LEARNING, _OPPONENTS = "learning", "opponents/"
"""Of such a collection, where somebody is not recorded: whether policies are, and before the names of opponents."""


@dataclass(kw_only=True)
class _Round:
    """One collection in all units."""

    cast: UnitCast
    policies: Packed | None
    num_ticks: int
    ratio: float
    begun: int
    """Collections that had been taken when its policies were the newest."""
    tasks: list[UnitTask]


class PooledCollector:
    """Collects with workers, unit by unit. Every unit that was begun is used, in the order of the units.

    Args:
        pool: of workers that know the units.
        units: of the run.
        specs: of the worlds, by group.
        packed: makes policies ready to be sent; None of what cannot be.
        ahead: collections that may have begun beside the one that is waited for.
    """

    def __init__(
        self,
        pool: WorkerPool,
        units: Sequence[Unit],
        specs: Mapping[str, SimulationSpec],
        *,
        packed: Callable[[Mapping[str, AnyActor]], bytes | None],
        ahead: int = 0,
    ) -> None:
        self._pool, self._units, self._specs, self._packed, self._ahead = pool, units, specs, packed, ahead
        self._places = [UnitPlace(unit) for unit in units]
        self._kept: list[StateBlock | None] = [None] * len(units)
        """How the worlds of each unit were left by the last collection that was taken."""
        self._rounds: deque[_Round] = deque()
        """Begun and not taken yet."""
        self._taken, self._begun = 0, 0
        self.written: list[Mapping[str, Any]] = []
        """Of each unit, what its worker has written of the last collection that was taken."""
        self._reader = CollectionReader()
        self._memories: list[list[SharedMemory | None]] = [[pool.new_memory() for _ in units] for _ in range(ahead + 1)]

    @property
    def max_ahead(self) -> int:
        """Collections that can have begun beside the one that is waited for."""
        return self._ahead

    def collect(
        self,
        actors: Mapping[str, AnyActor] | None,
        *,
        num_ticks: int,
        ratio: float,
        opponents: Opponents = NO_OPPONENTS,
        ahead: Sequence[float] = (),
    ) -> Collected:
        """Return the next collection; see `Collector.collect`.

        Args:
            actors: one for each group; None: the script alone. They act in what begins now.
            num_ticks: of every world.
            ratio: share of decisions given to the actors, unless the collection has begun before.
            opponents: play the groups that are not recorded, in what begins now.
            ahead: the ratios of the collections that come next; they begin now, with the actors and opponents of now.

        Raises:
            SimulationError: if there are policies that cannot be sent to another process.
            WorkerError: if a unit failed wherever it was tried; names the unit and the first error.
        """
        if len(ahead) > self._ahead:
            raise SimulationError(f"expected at most {self._ahead} collections ahead, got {len(ahead)}")
        coming = (ratio, *ahead)[len(self._rounds) :]
        if coming:
            cast, policies = UnitCast.of(actors, opponents), self._pack(actors, opponents)
            for each in coming:
                self._begin(cast, policies, num_ticks, each, begun=self._taken)
        first = self._rounds[0]
        if first.num_ticks != num_ticks:
            raise SimulationError(f"a collection of {first.num_ticks} ticks has begun, one of {num_ticks} is asked for")
        done = [task.result() for task in first.tasks]
        self._rounds.popleft()
        self._kept = [one.state for one in done]
        self.written = [each for one in done for each in one.written]
        age = self._taken - first.begun
        self._taken += 1
        parts = [one.collected for one in done if one.collected is not None]
        return replace(joined_units(parts, self._units, self._specs), policy_age=age, ratio=first.ratio)

    def _pack(self, actors: Mapping[str, AnyActor] | None, opponents: Opponents) -> Packed | None:
        policies = {group: one for group, one in {**(actors or {}), **opponents}.items() if one is not None}
        if not policies:
            return None
        data = self._packed(policies)
        if data is None:
            raise SimulationError("expected policies that can be sent to workers: networks of this package")
        return Packed.of(data)

    def _begin(self, cast: UnitCast, policies: Packed | None, num_ticks: int, ratio: float, *, begun: int) -> None:
        """Begin a collection in every unit, as soon as the one before is done there."""
        memories = self._memories[self._begun % len(self._memories)]
        self._begun += 1
        tasks = [
            UnitTask(
                place,
                self._places,
                cast=cast,
                policies=policies,
                num_ticks=num_ticks,
                ratio=ratio,
                collected=self._reader.read,
                memory=memory,
            )
            for place, memory in zip(self._places, memories, strict=True)
        ]
        before = self._rounds[-1].tasks if self._rounds else []
        self._rounds.append(
            _Round(cast=cast, policies=policies, num_ticks=num_ticks, ratio=ratio, begun=begun, tasks=tasks)
        )
        if not before:
            self._pool.submit(tasks, first=True)
        for earlier, task in zip(before, tasks, strict=False):
            earlier.done.add_done_callback(self._then(task))

    def _then(self, task: UnitTask) -> Callable[[Future[UnitDone]], None]:
        def go_on(before: Future[UnitDone]) -> None:
            error = before.exception()
            if error is None:
                self._pool.submit([task], first=True)
            else:
                task.done.set_exception(error)

        return go_on

    def save_state(self) -> SavedState | None:
        """Save the worlds as the last collection that was taken left them, and what has begun since.

        Returns:
            The state, which a run without workers has too where nothing has begun ahead; None where the worlds cannot
            be saved.
        """
        if not self._taken and not self._rounds:
            self._look()
        kept = [one.state() for one in self._kept if one is not None]
        if len(kept) < len(self._units):
            return None
        units = joined_states(kept)
        if not self._rounds:
            return units
        ahead = {str(index): _saved_round(each, taken=self._taken) for index, each in enumerate(self._rounds)}
        return join_groups({_UNITS: units, _AHEAD: join_groups(ahead)})

    def _look(self) -> None:
        """Find out how the worlds begin."""
        self._begin(UnitCast.of(None, NO_OPPONENTS), None, 0, 0.0, begun=0)
        self._kept = [task.result().state for task in self._rounds.popleft().tasks]

    def restore(self, state: SavedState) -> None:
        """Go on as the collector that was saved, with any number of workers; see `Collector.restore`.

        Raises:
            SimulationError, StateError: if `state` is of other units.
        """
        rounds: list[SavedState] = []
        units = state
        if any(name.startswith(f"{_AHEAD}/") for name in state):
            units, ahead = split_groups(state, (_UNITS, _AHEAD)).values()
            count = len({name.partition("/")[0] for name in ahead})
            rounds = [*split_groups(ahead, map(str, range(count))).values()]
        self._kept = [StateBlock.of(own) for own in split_states(units, len(self._units))]
        self._places = [UnitPlace(unit, rounds=1, state=own) for unit, own in zip(self._units, self._kept, strict=True)]
        self._rounds.clear()
        for each in rounds:
            self._begin_again(each)

    def _begin_again(self, saved: SavedState) -> None:
        data = saved_array(saved, "policies", dtype=np.uint8, shape=(None,)).tobytes()
        self._begin(
            _restored_cast(saved, has_policies=bool(data)),
            Packed.of(data) if data else None,
            saved_number(saved, "num_ticks"),
            float(saved_array(saved, "ratio", dtype=np.float64, shape=())),
            begun=self._taken - saved_number(saved, "age"),
        )


def _saved_round(each: _Round, *, taken: int) -> dict[str, NDArray[Any]]:
    opponents = each.cast.opponents
    cast = {_LEARNING: np.array(each.cast.learning)} if opponents else {}
    return {
        **cast,
        **{f"{_OPPONENTS}{group}": np.array(by_policy) for group, by_policy in opponents.items()},
        "policies": np.frombuffer(b"" if each.policies is None else each.policies.data, np.uint8),
        "num_ticks": np.array(each.num_ticks, np.int64),
        "ratio": np.array(each.ratio, np.float64),
        "age": np.array(taken - each.begun, np.int64),
    }


def _restored_cast(saved: SavedState, *, has_policies: bool) -> UnitCast:
    opponents = {
        name.removeprefix(_OPPONENTS): bool(saved_array(saved, name, dtype=np.bool_, shape=()))
        for name in saved
        if name.startswith(_OPPONENTS)
    }
    learning = bool(saved_array(saved, _LEARNING, dtype=np.bool_, shape=())) if opponents else has_policies
    return UnitCast(learning=learning, opponents=opponents)
