"""`Stage` owns a world that is watched: it steps at a pace, does what is asked between two ticks, waits for nobody."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import SavedState
from townlet_runtime.core.loop import GroupedLoop
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.drawing.scene import (
    Drawing,
    Scene,
    drawable_of,
    plain_drawing,
    plain_scene,
    require_drawing,
)
from townlet_runtime.errors import SimulationError
from townlet_runtime.live.history import WORLD, History, Latest, Point
from townlet_runtime.live.messages import MAX_SPEED, MIN_SPEED
from townlet_runtime.live.teaching.demonstrations import ShownCount
from townlet_runtime.policy.onnx import FilePolicy
from townlet_runtime.simulation.interface import GroupedSimulation, Observed
from townlet_trajectory import TrajectoryBatch

T = TypeVar("T")

_NAP_S = 0.1
"""Longest wait between two looks at whether to stop."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """The watched world after a tick. Nobody changes its arrays."""

    tick: int
    """Decided last; 0 before the first."""
    scene: Scene
    drawing: Drawing
    pixels: NDArray[np.uint8] | None
    """[H, W, 3]; of a world that renders them, and does not say how it looks."""
    latest: Latest
    """Of the agents that decided in this tick, which need not be those that are drawn."""
    points: Sequence[Point]
    """Of the charts, oldest first."""
    paused: bool
    ratio: float
    ticks_per_s: float


class Stage:
    """Runs one world in the thread that calls `run`; all other methods may be called from any thread.

    Args:
        simulation: one world, which has not begun.
        runtimes: of its groups.
        seed: of the world.
        speed: ticks a second; None: as fast as it goes.
        paused: whether it begins paused.
        max_rows: steps of agents that are recorded of one group; None: as many as there is memory for.
    """

    def __init__(
        self,
        simulation: GroupedSimulation,
        runtimes: Mapping[str, BatchRuntime],
        *,
        seed: int,
        speed: float | None = 10.0,
        paused: bool = False,
        max_rows: int | None = None,
    ) -> None:
        self.simulation, self.runtimes, self.seed = simulation, runtimes, seed
        self.loop = GroupedLoop(simulation, runtimes)
        self.history = History(runtimes)
        self._drawable = drawable_of(simulation)
        self._plain = plain_scene(sum(spec.capacity for spec in simulation.specs.values()))
        self._wake = threading.Condition()
        self._commands: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._speed, self._paused, self._steps = speed, paused, 0
        self._snapshot: Snapshot | None = None
        self._wanted, self._listeners = False, list[Callable[[], None]]()
        self._times: deque[float] = deque(maxlen=30)
        self._mark: tuple[SavedState, int] | None = None
        self._aside: dict[str, list[TrajectoryBatch]] = {
            group: [] for group, runtime in runtimes.items() if runtime.service is not None
        }
        self._max_rows = max_rows
        self.acting: dict[str, FilePolicy] = {}
        """Policies that were let act here, by group."""
        self.shown = ShownCount()
        """What people have decided, of a world that is recorded."""
        self._begin(seed)

    @property
    def speed(self) -> float | None:
        """Ticks a second that are asked for; None: as fast as it goes."""
        return self._speed

    @property
    def ratio(self) -> float:
        """The policy's share of the decisions."""
        return next(iter(self.runtimes.values())).current_anneal_ratio()

    @property
    def kept(self) -> int | None:
        """Tick of the state that `again` goes back to; None: none was kept."""
        return None if self._mark is None else self._mark[1]

    def call(self, work: Callable[[], T]) -> Future[T]:
        """Do `work` in the thread of the world, between two ticks; its result or error is that of the future."""
        future: Future[T] = Future()
        with self._wake:
            self._commands.append((work, future))
            self._wake.notify_all()
        return future

    def play(self) -> None:
        self._set(paused=False)

    def pause(self) -> None:
        self._set(paused=True)

    def step(self, ticks: int) -> None:
        """Do `ticks` ticks, then pause."""
        with self._wake:
            self._paused, self._steps = True, self._steps + ticks
            self._wake.notify_all()

    def set_speed(self, ticks_per_s: float | None) -> None:
        """Ask for a pace in [0.1, 1000] ticks a second; None: as fast as it goes.

        Raises:
            SimulationError: if it is out of range.
        """
        if ticks_per_s is not None and not MIN_SPEED <= ticks_per_s <= MAX_SPEED:
            raise SimulationError(f"expected {MIN_SPEED} to {MAX_SPEED} ticks a second, got {ticks_per_s}")
        with self._wake:
            self._speed = ticks_per_s
            self._wake.notify_all()

    def _set(self, *, paused: bool) -> None:
        with self._wake:
            self._paused, self._steps = paused, 0
            self._wake.notify_all()

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
        """Keep the state of now for `again`; returns the tick.

        Raises:
            SimulationError: if the world is recorded, whose ticks only go forward, or cannot be saved.
        """
        state = None if self._aside else self.loop.save_state()
        if state is None:
            raise SimulationError("nobody can go back in a world that is recorded, or that cannot be saved")
        self._mark = state, self.history.tick
        return self.history.tick

    def again(self) -> int:
        """Go back to the state that was kept; returns its tick. Nobody holds an agent then.

        Raises:
            SimulationError: if none was kept.
        """
        if self._mark is None:
            raise SimulationError("no state was kept to go back to")
        state, tick = self._mark
        self.loop.restore(state)
        for runtime in self.runtimes.values():
            for agent, owner in runtime.possessors(world=WORLD).items():
                runtime.release_possession(agent, world=WORLD, owner=owner)
        self.history.cut(tick)
        return tick

    def recorded(self) -> dict[str, TrajectoryBatch]:
        """Return everything that was recorded so far, by group; none of groups that are not recorded."""
        self._put_aside()
        return {group: TrajectoryBatch.concatenate(batches) for group, batches in self._aside.items() if batches}

    def recorded_so_far(self) -> dict[str, list[TrajectoryBatch]]:
        """Return copies of what was recorded so far, a batch for each beginning of the world, by group.

        The recorders keep it, so that episodes that go on can still be labelled as a whole.
        """
        return {
            group: [*batches, self.runtimes[group].collect_trajectory(clear=False)]
            for group, batches in self._aside.items()
        }

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
        for group, batches in self._aside.items():
            batch = self.runtimes[group].collect_trajectory()
            if len(batch):
                batches.append(batch)

    # Snapshots

    def watch(self, listener: Callable[[], None]) -> None:
        """Call `listener`, from the thread of the world, whenever there is a snapshot that was wanted."""
        self._listeners.append(listener)

    def want(self) -> None:
        """Ask for a snapshot after the next tick, or of now where the world is paused."""
        with self._wake:
            self._wanted = True
            self._wake.notify_all()

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest that was asked for."""
        return self._snapshot

    def _publish(self) -> None:
        self._wanted = False
        observed = {group: runtime.observed for group, runtime in self.runtimes.items()}
        scene, drawing, pixels = self._drawn({group: each for group, each in observed.items() if each is not None})
        self._snapshot = Snapshot(
            tick=self.history.tick,
            scene=scene,
            drawing=drawing,
            pixels=pixels,
            latest=self.history.latest(),
            points=self.history.points(),
            paused=self._paused and not self._steps,
            ratio=self.ratio,
            ticks_per_s=self.measured_speed(),
        )
        for listener in self._listeners:
            listener()

    def _drawn(self, observed: Mapping[str, Observed]) -> tuple[Scene, Drawing, NDArray[np.uint8] | None]:
        if self._drawable is not None:
            scene = self._drawable.scene(world=WORLD)
            return scene, require_drawing(self._drawable.drawing(world=WORLD), scene), None
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

    def measured_speed(self) -> float:
        """Ticks a second of the last ticks; 0 before there were two."""
        times = self._times
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0

    # The thread of the world

    def run(self, stop: Callable[[], bool]) -> None:
        """Step the world until `stop` says so. Commands that nobody did then are cancelled.

        Raises:
            SimulationError: if the recording is full; what was recorded is there.
        """
        due = time.monotonic()
        try:
            while not stop():
                self._do_commands()
                now = time.monotonic()
                goes_on = self._steps > 0 or not self._paused
                if goes_on and now >= due:
                    self._tick()
                    # A world that is slower than its pace does not catch up.
                    due = max(due, now - _NAP_S) + (0.0 if self._speed is None else 1.0 / self._speed)
                    continue
                if self._wanted and not goes_on:
                    self._publish()
                    continue
                with self._wake:
                    if not self._commands and not (self._wanted and not goes_on):
                        self._wake.wait(min(_NAP_S, max(due - now, 0.0)) if goes_on else _NAP_S)
                if not goes_on:
                    due = time.monotonic()
        finally:
            with self._wake:
                left, self._commands = self._commands, deque()
            for _, future in left:
                future.cancel()

    def _require_room(self) -> None:
        for group, batches in self._aside.items():
            service = self.runtimes[group].service
            known = sum(batch.num_steps for batch in batches) + (0 if service is None else service.num_rows)
            if self._max_rows is not None and known + self.simulation.specs[group].capacity > self._max_rows:
                raise SimulationError(f"the recording is full: it has room for {self._max_rows:,} steps of agents")

    def _tick(self) -> None:
        self._require_room()
        self.history.record(self.loop.step())
        if self._aside:
            self.shown.count(runtime.decided for runtime in self.runtimes.values())
        if self._steps:
            self._steps -= 1
        self._times.append(time.monotonic())
        if self._wanted:
            self._publish()

    def _do_commands(self) -> None:
        while self._commands:
            with self._wake:
                work, future = self._commands.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except Exception as error:  # whoever asked is told; the world goes on
                    future.set_exception(error)
            self._wanted = True

    def _begin(self, seed: int) -> None:
        self.seed = seed
        self.shown.begin()
        self.loop.reset(seed)
        self.history.cut(0)
        self._mark = None
        self.can_save = not self._aside and self.loop.save_state() is not None
        """Whether `mark` and `again` are possible in this world."""
