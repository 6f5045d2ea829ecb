"""A plain world's ticks, told to telemetry and to the log."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from townlet_runtime.core.stretches import Reading, Readings, Telemetry
from townlet_runtime.core.telemetry import log, log_tick_health
from townlet_runtime.plain.frames import DecidedTick
from townlet_runtime.simulation.interface import AGENTS


class _Tick(NamedTuple):
    decided: DecidedTick[Any, Any]
    duration_s: float


class TelemetryCalls(ABC):
    """The part of a `PolicyRuntime` that tells of its ticks. The time of a tick is that of `decide`."""

    def __init__(self) -> None:
        self._telemetry: Telemetry | None = None
        self._untold: _Tick | None = None
        """Decided, and perhaps not rewarded: it is counted when the next one begins."""

    @abstractmethod
    def _reading(self) -> Reading | None:
        """Return counts and gauges; None before the first world."""

    def on_telemetry(self, telemetry: Telemetry | None) -> None:
        """Tell `telemetry` of every tick from the next one on; None: none any more. Closing it is its owner's affair.

        The ticks are those of one agent group, `agents`. A tick is counted when the next one begins, or when
        `telemetry` is closed.

        Raises:
            SimulationError: if `telemetry` has been given to another runtime or loop.
        """
        self._end_stretch()
        self._telemetry = telemetry
        if telemetry is not None:
            telemetry.begin(self._readings, finish=self._tell)

    def _readings(self) -> Readings:
        reading = self._reading()
        return {} if reading is None else {AGENTS: reading}

    def _tick_decided(self, decided: DecidedTick[Any, Any], duration_s: float) -> None:
        """Log a tick that was decided in so many seconds, and remember it for telemetry."""
        reading = self._reading() if log.isEnabledFor(logging.INFO) else None
        if reading is not None:
            log_tick_health(
                tick=decided.view.tick + 1,
                duration_ms=1e3 * duration_s,
                queue=reading.queue_rows,
                dropped=reading.dropped_rows,
            )
        if self._telemetry is not None:
            self._untold = _Tick(decided, duration_s)

    def _tell(self) -> None:
        """Count the last tick, once."""
        untold, self._untold = self._untold, None
        if self._telemetry is None or untold is None:
            return
        decided = untold.decided
        self._telemetry.tick_done(
            tick=decided.view.tick + 1,
            duration_s=untold.duration_s,
            agents=len(decided.view.ids),
            reward_sum=math.fsum(reward for parts in decided.rewards.values() for reward in parts),
        )

    def _end_stretch(self) -> None:
        if self._telemetry is not None:
            self._tell()
            self._telemetry.end_stretch()

    def _count_anew(self) -> None:
        if self._telemetry is not None:
            self._telemetry.count_anew()
