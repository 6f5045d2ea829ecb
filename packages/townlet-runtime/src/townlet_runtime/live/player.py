"""`Player` steps something that is watched: at a pace, doing what is asked between two ticks, waiting for nobody."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.drawing.scene import Drawing, Scene
from townlet_runtime.errors import SimulationError
from townlet_runtime.live.history import Latest, Point
from townlet_runtime.live.messages import MAX_SPEED, MIN_SPEED

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
    owners: Mapping[str, str | None] = field(default_factory=dict)
    """The name of the person by id of the agent, of all agents that somebody possesses."""


class Past(Protocol):
    """The last ticks of what is played."""

    tick: int
    """Decided last."""
    veto_reasons: tuple[str, ...]
    """Of all groups."""

    def look_at(self, agent_id: str, by: int) -> None:
        """Note that one more (`by` 1) or one fewer (-1) looks at an agent."""
        ...

    def strip_of(self, agent_id: str) -> dict[str, list[Any]]:
        """Return the last ticks of one agent; see `History.strip_of`."""
        ...


class Player(ABC):
    """Steps in the thread that calls `run`; all other public methods may be called from any thread.

    Args:
        speed: ticks a second; None: as fast as it goes.
        paused: whether it begins paused.
        most_speed: ticks a second that can be asked for at most; None: as fast as it goes.
        waits: whether it stands still as long as nobody watches.
    """

    history: Past
    """Its last ticks."""

    def __init__(
        self, *, speed: float | None, paused: bool, most_speed: float | None = None, waits: bool = False
    ) -> None:
        self._wake = threading.Condition()
        self._commands: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._speed, self._paused, self._steps = speed, paused, 0
        self._most_speed, self._waits, self._watchers = most_speed, waits, 0
        self._snapshot: Snapshot | None = None
        self._wanted, self._listeners = False, list[Callable[[], None]]()
        self._times: deque[float] = deque(maxlen=30)
        self._ended = False

    # What is watched

    @property
    @abstractmethod
    def world(self) -> str:
        """Its name."""

    @property
    @abstractmethod
    def has_script(self) -> bool:
        """Whether a script proposes actions."""

    @property
    @abstractmethod
    def policy(self) -> str | None:
        """The digest of the first policy that has one."""

    @property
    @abstractmethod
    def kept(self) -> int | None:
        """Tick of the state that can be gone back to; None: none was kept."""

    @property
    def span(self) -> dict[str, Any] | None:
        """`first` and `last` tick of a record, and a `note` for people; None: of a world that lives."""
        return None

    @abstractmethod
    def group_documents(self) -> list[dict[str, Any]]:
        """What the agents of each group can do, see and earn; see `group_document`."""

    @abstractmethod
    def places_of_groups(self) -> dict[str, int]:
        """The place of its group in `group_documents` by id of the agent, of those that are not in the first."""

    @abstractmethod
    def advance(self) -> None:
        """Do one tick now, in this thread, which must be that of the world, and note it in the history."""

    @abstractmethod
    def _publish(self) -> None:
        """Make a snapshot and `_show` it."""

    # Pace

    @property
    def speed(self) -> float | None:
        """Ticks a second that are asked for; None: as fast as it goes."""
        return self._speed

    @property
    def paused(self) -> bool:
        """Whether nothing goes on until somebody plays or steps."""
        return self._paused and not self._steps

    def call(self, work: Callable[[], T]) -> Future[T]:
        """Do `work` in the thread of the world, between two ticks; its result or error is that of the future, which is
        cancelled where that thread has ended."""
        future: Future[T] = Future()
        with self._wake:
            if self._ended:
                future.cancel()
            else:
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
        most = self._most_speed
        if most is not None and (ticks_per_s is None or ticks_per_s > most):
            asked = "no limit" if ticks_per_s is None else f"{ticks_per_s:g}"
            raise SimulationError(f"expected at most {most:g} ticks a second beside a run that trains, got {asked}")
        with self._wake:
            self._speed = ticks_per_s
            self._wake.notify_all()

    def _set(self, *, paused: bool) -> None:
        with self._wake:
            self._paused, self._steps = paused, 0
            self._wake.notify_all()

    def measured_speed(self) -> float:
        """Ticks a second of the last ticks; 0 before there were two."""
        times = self._times
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0

    # Snapshots

    @property
    def watchers(self) -> int:
        """How many pages are open."""
        return self._watchers

    def watched_by(self, count: int) -> None:
        """Note how many pages are open."""
        with self._wake:
            self._watchers = count
            self._wake.notify_all()

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

    def _show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        for listener in self._listeners:
            listener()

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
                goes_on = (self._steps > 0 or not self._paused) and not (self._waits and not self._watchers)
                if goes_on and now >= due:
                    self._do_tick()
                    # A world that is slower than its pace does not catch up.
                    due = max(due, now - _NAP_S) + (0.0 if self._speed is None else 1.0 / self._speed)
                    continue
                if self._wanted and not goes_on:
                    self._wanted = False
                    self._publish()
                    continue
                with self._wake:
                    if not self._commands and not (self._wanted and not goes_on):
                        self._wake.wait(min(_NAP_S, max(due - now, 0.0)) if goes_on else _NAP_S)
                if not goes_on:
                    due = time.monotonic()
        finally:
            with self._wake:
                left, self._commands, self._ended = self._commands, deque(), True
            for _, future in left:
                future.cancel()

    def _do_tick(self) -> None:
        self.advance()
        if self._steps:
            self._steps -= 1
        self._times.append(time.monotonic())
        if self._wanted:
            self._wanted = False
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
