"""Telemetry of `townlet run`: one JSON object a tick (`--telemetry-path`, `--stream-telemetry`), or one for many."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, TypeAlias

import numpy as np

from townlet_runtime.adapters.named_code import made_by, registered_factory
from townlet_runtime.core.loop import GroupedLoop
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.core.stretches import JsonLinesSink, Telemetry, TelemetrySink
from townlet_runtime.errors import ConfigError, SimulationError
from townlet_runtime.simulation.interface import GroupedSimulation, Stepped, first_spec
from townlet_runtime.town import Town
from townlet_trajectory.storage.entry_points import registered_names
from townlet_trajectory.storage.files import make_directory

SINKS = "townlet.telemetry_sinks"
"""Entry point group of places that telemetry is written to: functions of a text that return a `TelemetrySink`."""
DEFAULT_EVERY = 100
"""Ticks of a record."""

SCHEMA_VERSION = "1.0"

Breakdown: TypeAlias = "dict[str, dict[str, float]]"
"""Parts of the reward by name, by agent."""


class TelemetryLoop(GroupedLoop):
    """A loop that writes a line of JSON after every tick.

    Each object holds `schema_version`, `tick` (from 1), `event_counts` by event, `reward_breakdown` by agent, and
    `policy_snapshot` by agent (its last decision). The breakdown of the town has the parts of `RewardParts`, whose
    `total` is the reward; that of other worlds has the named parts of theirs, and `total`.

    Args:
        simulation: of one world.
        runtimes: of its groups.
        stream: that its lines are written to.
        town: the world, if it is a town; None: it is another one.
        telemetry: of stretches of ticks, beside the lines; None: none.
    """

    def __init__(
        self,
        simulation: GroupedSimulation,
        runtimes: Mapping[str, BatchRuntime],
        *,
        stream: TextIO,
        town: Town | None,
        telemetry: Telemetry | None = None,
    ) -> None:
        super().__init__(simulation, runtimes, telemetry=telemetry)
        self._spec = first_spec(simulation)
        self._members = runtimes
        self._stream = stream
        self._town = town
        if town is not None:
            town.takes_rewards_apart = True

    def step(self) -> Mapping[str, Stepped]:
        """Decide, step the world, record, and write the line."""
        before = {group: runtime.observed for group, runtime in self._members.items()}
        stepped = super().step()
        ids = {
            group: [] if observed is None else list(map(str, observed.agent_ids)) for group, observed in before.items()
        }
        tick = max(runtime.tick for runtime in self._members.values())
        if self._town is None:
            rewards = _breakdown(stepped, ids)
        else:
            rewards = _town_breakdown(self._town, [agent for group in ids.values() for agent in group])
        for agent, parts in rewards.items():
            if not all(map(math.isfinite, parts.values())):
                raise SimulationError(
                    f"`{self._spec.name}`, agent {agent!r}, tick {tick}: expected a finite reward, got {parts}"
                )
        snapshots = [runtime.latest_policy_snapshot() for runtime in self._members.values()]
        record = {
            "schema_version": SCHEMA_VERSION,
            "tick": tick,
            "event_counts": self._count_events(stepped),
            "reward_breakdown": rewards,
            "policy_snapshot": {agent: shown for one in snapshots for agent, shown in one.items()},
        }
        try:
            self._stream.write(f"{json.dumps(record, allow_nan=False)}\n")
        except BrokenPipeError:
            raise  # the reader has read enough
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._stream.name) from error
        return stepped

    def _count_events(self, stepped: Mapping[str, Stepped]) -> dict[str, float]:
        """Count the events of the tick in all groups, by name."""
        if not self._spec.event_names:
            return {}
        counts = sum(one.events.sum(axis=0) for one in stepped.values())
        return dict(zip(self._spec.event_names, np.asarray(counts, np.float64).tolist(), strict=True))


def _town_breakdown(town: Town, agents: Sequence[str]) -> Breakdown:
    if town.reward_parts is None:
        raise AssertionError("unreachable: the town was told to take its rewards apart")
    columns = {name: column.tolist() for name, column in vars(town.reward_parts).items()}
    slot_of = {str(agent): slot for slot, agent in enumerate(town.population.ids)}
    return {agent: {name: column[slot_of[agent]] for name, column in columns.items()} for agent in agents}


def _breakdown(stepped: Mapping[str, Stepped], agents: Mapping[str, Sequence[str]]) -> Breakdown:
    """The parts that a world names, which need not add up, and the reward itself."""
    found: Breakdown = {}
    for group, one in stepped.items():
        columns = {name: column.tolist() for name, column in (*one.reward_terms.items(), ("total", one.rewards))}
        for row, agent in enumerate(agents[group]):
            found[agent] = {name: column[row] for name, column in columns.items()}
    return found


@contextmanager
def telemetry_stream(path: Path | None) -> Iterator[TextIO]:
    """Give the stream that telemetry is written to, line by line, so that others can follow.

    Args:
        path: of a file, replaced where there is one, in a folder that is made where it is missing; None: standard
            output.

    Raises:
        OSError: if the file cannot be written.
    """
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    make_directory(path.parent)
    stream = path.open("w", encoding="ascii", buffering=1)
    try:
        yield stream
    finally:
        # Every line was written when it was complete; what could not be has been told.
        with suppress(OSError):
            stream.close()


def open_telemetry(target: str, *, every: int) -> Telemetry:
    """Open the place that records of telemetry are written to.

    Args:
        target: the path of a file, or `SINK:TEXT` for a registered sink; a colon of another word belongs to the path.
        every: ticks of a record.

    Raises:
        ConfigError: if the sink cannot be made.
        OSError: if the file cannot be written.
    """
    name, colon, text = target.partition(":")
    factory = registered_factory(SINKS, name) if colon and name in registered_names(SINKS) else None
    if factory is None:
        return Telemetry([JsonLinesSink(Path(target))], every=every)
    label = f"the telemetry sink `{name}`"
    sink: object = made_by(factory, text, settings={}, label=label, takes="one argument, the text after its name")
    if not isinstance(sink, TelemetrySink):
        raise ConfigError(f"{label} must make a `TelemetrySink` (write, close), got {sink!r}")
    return Telemetry([sink], every=every)
