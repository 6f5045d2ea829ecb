"""`Stage` owns a world that is watched, with the runtimes that decide in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BehaviorError, SavedState
from townlet_runtime.core.loop import GroupedLoop
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.drawing.scene import (
    Drawing,
    Scene,
    drawable_of,
    looks_of,
    plain_drawing,
    plain_scene,
)
from townlet_runtime.errors import SimulationError, TownletError
from townlet_runtime.live.history import WORLD, History
from townlet_runtime.live.player import Player, Snapshot
from townlet_runtime.live.teaching.demonstrations import ShownCount
from townlet_runtime.live.wire import group_document
from townlet_runtime.policy.onnx import FilePolicy
from townlet_runtime.simulation.interface import GroupedSimulation, Observed, first_spec
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.data.pieces import joined
from townlet_trajectory.evaluation.results import SCRIPTED


@dataclass(frozen=True, kw_only=True, eq=False)
class _Mark:
    """A moment that can be gone back to."""

    state: SavedState
    tick: int
    """Decided last."""
    next_ticks: Mapping[str, int]
    """Decided next, by group."""
    recorded: Mapping[str, int]
    """Batches of this beginning that were put aside before, by group that is recorded."""
    shown: ShownCount
    """What people had decided."""


class Stage(Player):
    """Runs one world in the thread that calls `run`.

    Args:
        simulation: one world, which has not begun.
        runtimes: of its groups.
        seed: of the world.
        speed: ticks a second; None: as fast as it goes.
        paused: whether it begins paused.
        max_rows: steps of agents that are recorded of one group; None: as many as there is memory for.
        most_speed: as of `Player`.
        waits: as of `Player`.
    """

    history: History

    def __init__(
        self,
        simulation: GroupedSimulation,
        runtimes: Mapping[str, BatchRuntime],
        *,
        seed: int,
        speed: float | None = 10.0,
        paused: bool = False,
        max_rows: int | None = None,
        most_speed: float | None = None,
        waits: bool = False,
    ) -> None:
        super().__init__(speed=speed, paused=paused, most_speed=most_speed, waits=waits)
        self.simulation, self.runtimes, self.seed = simulation, runtimes, seed
        self.loop = GroupedLoop(simulation, runtimes)
        self.history = History(runtimes)
        self._drawable = drawable_of(simulation)
        self._plain = plain_scene(sum(spec.capacity for spec in simulation.specs.values()))
        self._mark: _Mark | None = None
        self._aside: dict[str, list[list[TrajectoryBatch]]] = {
            group: [] for group, runtime in runtimes.items() if runtime.service is not None
        }
        """Batches of each beginning of the world, by group that is recorded."""
        self._max_rows = max_rows
        self.acting: dict[str, FilePolicy] = {}
        """Policies that were let act here, by group."""
        self.shown = ShownCount()
        """What people have decided, of a world that is recorded."""
        self._begin(seed)

    @property
    def ratio(self) -> float:
        """The policy's share of the decisions."""
        return next(iter(self.runtimes.values())).current_anneal_ratio()

    @property
    def kept(self) -> int | None:
        """Tick of the state that `again` goes back to; None: none was kept."""
        return None if self._mark is None else self._mark.tick

    @property
    def world(self) -> str:
        return first_spec(self.simulation).name

    @property
    def has_script(self) -> bool:
        return SCRIPTED in self.simulation.behaviors

    @property
    def policy(self) -> str | None:
        digests = (runtime.active_policy_hash() for runtime in self.runtimes.values())
        return next((digest for digest in digests if digest is not None), None)

    def group_documents(self) -> list[dict[str, Any]]:
        specs = self.simulation.specs
        return [
            group_document(group, runtime.names, kinds=specs[group].vocabulary.kinds)
            for group, runtime in self.runtimes.items()
        ]

    def places_of_groups(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for index, runtime in enumerate(self.runtimes.values()):
            observed = runtime.observed
            if index and observed is not None:
                found.update(dict.fromkeys(observed.agent_ids.tolist(), index))
        return found

    # The next are for `call`: they run in the thread of the world

    def set_ratio(self, ratio: float) -> None:
        """Give the policy this share of the decisions."""
        for runtime in self.runtimes.values():
            runtime.set_anneal_ratio(ratio)

    def reset(self, seed: int | None) -> None:
        """Begin the world anew; None: from the seed it had. What was recorded is kept."""
        self._put_aside()
        self._begin(self.seed if seed is None else seed)

    def mark(self) -> int:
        """Keep the state of now for `again`; returns the tick that was decided last.

        Raises:
            SimulationError: if the world cannot be saved.
        """
        state = self.loop.save_state()
        if state is None:
            raise SimulationError("nobody can go back in a world that cannot be saved")
        self._put_aside()
        self._mark = _Mark(
            state=state,
            tick=self.history.tick,
            next_ticks={group: runtime.tick for group, runtime in self.runtimes.items()},
            recorded={group: len(beginnings[-1]) for group, beginnings in self._aside.items()},
            shown=self.shown.copy(),
        )
        return self.history.tick

    def again(self) -> int:
        """Go back to the state that was kept; returns the tick that was decided last. Nobody holds an agent then.

        What happened since is undone: it is in no strip, chart, count or recording.

        Raises:
            SimulationError: if none was kept.
            TownletError, BehaviorError: if the world cannot be brought back; it begins anew then.
        """
        mark = self._mark
        if mark is None:
            raise SimulationError("no state was kept to go back to")
        for group, beginnings in self._aside.items():
            del beginnings[-1][mark.recorded[group] :]
            if (service := self.runtimes[group].service) is not None:
                service.reset(next_tick=mark.next_ticks[group])
        try:
            self.loop.restore(mark.state)
        except (TownletError, BehaviorError):
            self._begin(self.seed)
            raise
        for runtime in self.runtimes.values():
            for agent, owner in runtime.possessors(world=WORLD).items():
                runtime.release_possession(agent, world=WORLD, owner=owner)
        self.history.cut(max(mark.next_ticks.values()))
        self.shown = mark.shown.copy()
        return self.history.tick

    def recorded(self) -> dict[str, TrajectoryBatch]:
        """Return everything that was recorded so far, by group; none of groups that are not recorded."""
        self._put_aside()
        return {
            group: joined(TrajectoryBatch.concatenate([batch for batches in beginnings for batch in batches]))
            for group, beginnings in self._aside.items()
            if any(beginnings)
        }

    def recorded_so_far(self) -> dict[str, list[list[TrajectoryBatch]]]:
        """Return copies of what was recorded so far, the pieces of each beginning of the world, by group.

        The recorders keep it, so that episodes that go on can still be labelled as a whole.
        """
        found: dict[str, list[list[TrajectoryBatch]]] = {}
        for group, (*before, now) in self._aside.items():
            going_on = [*now, self.runtimes[group].collect_trajectory(clear=False)]
            found[group] = [[*each] for each in (*before, going_on) if each]
        return found

    def let_act(self, group: str, policy: FilePolicy) -> None:
        """Let another policy propose in a group from the next decision on; it gets all decisions where none did before.

        Raises:
            SimulationError: if it was made for other actions or observations.
        """
        runtime = self.runtimes[group]
        first = runtime.active_policy_hash() is None
        runtime.set_policy(policy)
        self.acting[group] = policy
        if first:
            self.set_ratio(1.0)

    def _put_aside(self) -> None:
        """Take what was recorded out of the recorders, which go on from here."""
        for group, beginnings in self._aside.items():
            batch = self.runtimes[group].collect_trajectory()
            if len(batch):
                beginnings[-1].append(batch)

    def _publish(self) -> None:
        observed = {group: runtime.observed for group, runtime in self.runtimes.items()}
        scene, drawing, pixels = self._drawn({group: each for group, each in observed.items() if each is not None})
        self._show(
            Snapshot(
                tick=self.history.tick,
                scene=scene,
                drawing=drawing,
                pixels=pixels,
                latest=self.history.latest(),
                points=self.history.points(),
                paused=self.paused,
                ratio=self.ratio,
                ticks_per_s=self.measured_speed(),
                owners=self._owners(),
            )
        )

    def _owners(self) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for runtime in self.runtimes.values():
            found.update(runtime.possessors(world=WORLD))
        return found

    def _drawn(self, observed: Mapping[str, Observed]) -> tuple[Scene, Drawing, NDArray[np.uint8] | None]:
        if self._drawable is not None:
            return *looks_of(self._drawable, world=WORLD), None
        specs = self.simulation.specs
        parts, start = [], 0
        for group, each in observed.items():
            size = specs[group].capacity // specs[group].num_worlds
            parts.append(plain_drawing(each, world=WORLD, capacity=size, first=start, columns=int(self._plain.width)))
            start += size
        drawing = Drawing(
            agent_ids=np.concatenate([part.agent_ids for part in parts]),
            positions=np.concatenate([part.positions for part in parts]),
        )
        picture = self.simulation.render()
        return self._plain, drawing, picture if isinstance(picture, np.ndarray) else None

    def _require_room(self) -> None:
        for group, beginnings in self._aside.items():
            service = self.runtimes[group].service
            known = sum(batch.num_steps for batches in beginnings for batch in batches) + (
                0 if service is None else service.num_rows
            )
            if self._max_rows is not None and known + self.simulation.specs[group].capacity > self._max_rows:
                raise SimulationError(f"the recording is full: it has room for {self._max_rows:,} steps of agents")

    def advance(self) -> None:
        """See `Player`.

        Raises:
            SimulationError: if the recording is full; the tick is not done.
        """
        self._require_room()
        self.history.record(self.loop.step())
        if self._aside:
            self.shown.count(runtime.decided for runtime in self.runtimes.values())

    def _begin(self, seed: int) -> None:
        self.seed = seed
        self.shown.begin()
        for beginnings in self._aside.values():
            beginnings.append([])
        self.loop.reset(seed)
        self.history.cut(0)
        self._mark = None
        self.can_save = self.loop.save_state() is not None
        """Whether `mark` and `again` are possible in this world."""
