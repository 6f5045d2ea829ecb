"""Telemetry of a running loop: one record for every stretch of ticks, written to sinks."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import Tally
from townlet_runtime.errors import ConfigError, SimulationError
from townlet_trajectory.storage.files import make_directory
from townlet_trajectory.storage.json import JsonValue

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
"""Of the keys of a record."""
MAX_EVERY = 1_000_000
"""Ticks of the longest stretch: the time of each tick is kept to its end."""


@dataclass(frozen=True, kw_only=True)
class TelemetryRecord:
    """Counts and readings of a stretch of ticks. Counts are of the stretch alone, and those of agent groups add up."""

    tick: int
    """Of the last tick of the stretch, counted from 1, as in a `tick_health` line."""
    ticks: int
    """In the stretch; fewer than usual at the end of a run, and before a reset."""
    unix_time: float
    """Seconds since 1970 (UTC) at the end of the stretch."""
    agents: int
    """Decided for at the last tick."""
    agent_ticks: int
    """Agents decided for, summed over the ticks."""
    decisions_by_source: Mapping[str, int]
    """Agent-ticks of kind decision: `scripted`, `learned`, `external`."""
    ticks_by_source: Mapping[str, int]
    """All agent-ticks: a held option counts for the source that began it."""
    proposals_by_proposer: Mapping[str, int]
    """Agent-ticks by the proposer beside the policy, carried out or not: `script`, or the names of several minds."""
    forced: int
    """Agent-ticks of kind forced."""
    foreign: int
    """Agent-ticks of kind foreign."""
    vetoes_by_reason: Mapping[str, int]
    """Agent-ticks at which a guardrail replaced the choice, by its reason; zeros included."""
    policy_errors: int
    """Agent-ticks at which the script stood in for unusable output of the policy (`on_policy_error: script`)."""
    tick_ms_p50: float
    """Milliseconds of a tick, median: half of the ticks took no longer."""
    tick_ms_p99: float
    """Milliseconds of a tick: 99 % of the ticks took no longer."""
    policies: Mapping[str, str | None]
    """By agent group, the digest of its policy at the end of the stretch; None without a policy, or a digest."""
    ratios: Mapping[str, float]
    """By agent group, the policy's share of decisions at the end of the stretch."""
    queue_rows: int
    """Recorded steps of agents that nobody has collected, at the end of the stretch."""
    dropped_rows: int
    """Recorded steps of agents that were dropped because nobody collected them in time."""
    mean_reward: float | None
    """Per agent and tick; None where there was no agent."""
    sink_errors: int
    """Calls of a sink that failed since the record before; that sink lacks a record."""

    def content(self) -> dict[str, JsonValue]:
        """Return the object that a line of JSON holds: `format_version`, then the fields."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}


@runtime_checkable
class TelemetrySink(Protocol):
    """A place that telemetry is written to: a file, a socket, a dashboard.

    Neither method may wait for long: the loop waits for it.
    """

    def write(self, record: TelemetryRecord) -> None:
        """Take a record."""

    def close(self) -> None:
        """Let go of what is open; nothing is written afterwards."""


class JsonLinesSink:
    """A file with one JSON object a line, which others can follow; a file that is there is replaced.

    Args:
        path: of the file; its folder is made where it is missing.

    Raises:
        OSError: if the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        make_directory(path.parent)
        self._stream = path.open("w", encoding="ascii", buffering=1)

    def write(self, record: TelemetryRecord) -> None:
        """Write a line, to its end."""
        self._stream.write(f"{json.dumps(record.content(), allow_nan=False)}\n")

    def close(self) -> None:
        """Close the file."""
        # Every line was written when it was complete; an error of one that could not be was raised then.
        with suppress(OSError):
            self._stream.close()


class Reading(NamedTuple):
    """The state of one agent group's runtime that telemetry tells of."""

    counts: Tally
    """Since the runtime was made or reset."""
    policy: str | None
    ratio: float
    queue_rows: int
    dropped_rows: int
    """Since the recorder was made; fewer than before where another recorder has begun."""


Readings: TypeAlias = Mapping[str, Reading]
"""By agent group."""


class Telemetry:
    """Writes one record for every `every` ticks of the loop that it is given to.

    A sink that raises lacks that record and does not stop the loop: a warning is logged, and the next record and
    `sink_errors` count it. The other sinks get theirs. It is closed by the thread that steps the loop.

    Examples:
        >>> from townlet_behavior import BridgeConfig
        >>> from townlet_runtime import BatchLoop, BatchRuntime, Telemetry
        >>> from townlet_runtime.testing import Corridor
        >>> class Printer:
        ...     def write(self, record):
        ...         print(record.tick, record.ticks, record.agents, record.ticks_by_source["scripted"])
        ...     def close(self):
        ...         print("closed")
        >>> corridor = Corridor(num_worlds=2)
        >>> script = corridor.scripted("scripted")
        >>> runtime = BatchRuntime(corridor.spec, script, config=BridgeConfig(), policy=None, service=None, seed=1)
        >>> with Telemetry([Printer()], every=10) as telemetry:
        ...     loop = BatchLoop(corridor, runtime, telemetry=telemetry)
        ...     loop.reset(seed=3)
        ...     _ = loop.run_for(25)
        10 10 5 50
        20 10 4 51
        25 5 4 22
        closed

    Args:
        sinks: that get every record, in this order.
        every: ticks of a stretch, from 1 to `MAX_EVERY`.

    Raises:
        ConfigError: if `every` is out of range.
    """

    def __init__(self, sinks: Sequence[TelemetrySink], *, every: int = 100) -> None:
        if not 1 <= every <= MAX_EVERY:
            raise ConfigError(f"`every` must be in [1, {MAX_EVERY}], got {every}")
        self._sinks = tuple(sinks)
        self._durations: NDArray[np.float64] = np.zeros(every)
        self._read: Callable[[], Readings] | None = None
        self._before: Readings = {}
        self._finish: Callable[[], None] | None = None
        self._errors, self._told_errors = 0, 0
        self._clear()

    def _clear(self) -> None:
        self._tick, self._ticks, self._agents, self._agent_ticks, self._reward_sum = 0, 0, 0, 0, 0.0

    @property
    def sink_errors(self) -> int:
        """Calls of a sink that failed so far."""
        return self._errors

    def begin(self, read: Callable[[], Readings], *, finish: Callable[[], None] | None = None) -> None:
        """Begin with a loop, once; loops call this themselves.

        Args:
            read: gives the readings of the loop's runtimes.
            finish: called before the last record, to count a tick that is not counted yet; None: there is none.

        Raises:
            SimulationError: if it has been given to a loop before.
        """
        if self._read is not None:
            raise SimulationError("expected a `Telemetry` of its own for each loop, got one of another loop")
        self._read, self._finish = read, finish
        self.count_anew()

    def count_anew(self) -> None:
        """Count from the runtimes' present counts on: they were reset, or restored."""
        if self._read is not None:
            self._before = self._read()

    def tick_done(self, *, tick: int, duration_s: float, agents: int, reward_sum: float) -> None:
        """Count a tick, and write the record if its stretch is complete; loops call this themselves.

        Args:
            tick: just done, from 1.
            duration_s: seconds that it took.
            agents: decided for.
            reward_sum: of these agents.

        Raises:
            SimulationError: if the rewards are not finite.
        """
        if not math.isfinite(reward_sum):
            raise SimulationError(f"tick {tick}: expected finite rewards, got a sum of {reward_sum}")
        self._durations[self._ticks] = duration_s
        self._ticks += 1
        self._tick, self._agents = tick, agents
        self._agent_ticks += agents
        self._reward_sum += reward_sum
        if self._ticks == len(self._durations):
            self.end_stretch()

    def end_stretch(self) -> None:
        """Write the record of the ticks since the last one, if there are any."""
        if self._read is None or not self._ticks:
            return
        record = self._record(self._read())
        self._clear()
        for sink in self._sinks:
            self._guard(sink, partial(sink.write, record), f"did not take the record of tick {record.tick}")

    def _guard(self, sink: TelemetrySink, call: Callable[[], None], failed: str) -> None:
        try:
            call()
        except Exception as error:  # a user's own code
            self._errors += 1
            log.warning("telemetry: %s %s: %s: %s", type(sink).__name__, failed, type(error).__name__, error)

    def close(self) -> None:
        """Write the record of the ticks since the last one, and close the sinks, once."""
        if self._finish is not None:
            self._finish()
        self.end_stretch()
        sinks, self._sinks = self._sinks, ()
        for sink in sinks:
            self._guard(sink, sink.close, "failed to close")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _record(self, now: Readings) -> TelemetryRecord:
        before, self._before = self._before, now
        dropped = sum(one.dropped_rows for one in now.values()) - sum(one.dropped_rows for one in before.values())
        if _went_back(now, before):
            before = {}
        errors, self._told_errors = self._errors - self._told_errors, self._errors
        p50, p99 = percentiles(self._durations[: self._ticks], (0.50, 0.99))

        def since(pick: Callable[[Reading], Mapping[str, int]]) -> dict[str, int]:
            first, last = _added(before, pick), _added(now, pick)
            return {name: count - first[name] for name, count in last.items()}

        others = since(_numbers)
        return TelemetryRecord(
            tick=self._tick,
            ticks=self._ticks,
            unix_time=time.time(),
            agents=self._agents,
            agent_ticks=self._agent_ticks,
            decisions_by_source=since(lambda reading: reading.counts.decisions),
            ticks_by_source=since(lambda reading: reading.counts.ticks),
            proposals_by_proposer=since(lambda reading: reading.counts.proposals),
            forced=others["forced"],
            foreign=others["foreign"],
            vetoes_by_reason=since(lambda reading: reading.counts.vetoes),
            policy_errors=others["policy_errors"],
            tick_ms_p50=1e3 * p50,
            tick_ms_p99=1e3 * p99,
            policies={group: reading.policy for group, reading in now.items()},
            ratios={group: reading.ratio for group, reading in now.items()},
            queue_rows=sum(reading.queue_rows for reading in now.values()),
            dropped_rows=max(dropped, 0),
            mean_reward=self._reward_sum / self._agent_ticks if self._agent_ticks else None,
            sink_errors=errors,
        )


def percentiles(durations: NDArray[np.float64], shares: Sequence[float]) -> list[float]:
    """Return the nearest-rank percentiles: of n durations, the ⌈p n⌉-th smallest (Hyndman and Fan 1996, definition 1).

    Each is a duration that was measured, and a share p of the ticks took no longer.

    Args:
        durations: [n], n >= 1.
        shares: p, each in (0, 1].
    """
    return [float(each) for each in np.quantile(durations, shares, method="inverted_cdf")]


def _numbers(reading: Reading) -> dict[str, int]:
    """The counts of a reading that are single numbers."""
    counts = reading.counts
    return {"forced": counts.forced, "foreign": counts.foreign, "policy_errors": counts.policy_errors}


def _added(readings: Readings, pick: Callable[[Reading], Mapping[str, int]]) -> Counter[str]:
    """Counts by name, added up over the groups; zeros are kept."""
    total: Counter[str] = Counter()
    for reading in readings.values():
        total.update(pick(reading))
    return total


def _went_back(now: Readings, before: Readings) -> bool:
    """Whether a runtime was reset by itself, and counts from zero: its counts are those of the stretch."""
    first, last = (_added(each, lambda reading: reading.counts.ticks).total() for each in (before, now))
    return last < first
