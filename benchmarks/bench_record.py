"""How fast experience is recorded: `TrajectoryService` beside the buffers of four learning libraries. JSON lines.

All are fed whole ticks of N agents, each through its own call for a batch of environments, into memory that it has
used before; what a tick is handed over in (dictionary, tensors, TensorDict, Batch) is made before the clock runs. The
same columns for all: map (4, 11, 11), 64 features, legal actions, action, log-probability, value, reward and end.

Transitions per second of CPU time, the median of `ROUNDS` rounds in which all take turns; one thread.

- `townlet`: these columns, every agent always there, as the peers need it.
- `townlet, coming and going`: one agent in a hundred ends at each tick and returns a tick later.
- `townlet, whole decisions`: so, and with all columns of a settled decision, but no legal actions.
  `collect_transitions_per_s`: how fast they are handed out as trajectories, which comes on top.
- `townlet, whole decisions, lent`: so, by a world that writes what its agents see into the recorder's memory, as the
  town does, instead of its own. That writing is the world's work, as for everybody else, and is not counted; reading
  the clock for it is. This is what is claimed.
- `bare copying`: what `whole decisions` keeps, assigned to slices of columns that exist: no checks, no trajectories.

The lines of the peers say how many times as fast ours are. A peer that cannot be imported is named with the reason.
"""

# /// script
# dependencies = ["stable-baselines3>=2.7", "cpprb>=11; python_version < '3.13'", "torchrl>=0.11", "tianshou>=2"]
# ///

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import time
import tracemalloc
from collections.abc import Mapping

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when numpy and torch are imported

import numpy as np
from numpy.typing import NDArray
from record_peers import PEERS
from record_ticks import (
    SAME_COLUMNS,
    SEEN,
    WHOLE_DECISIONS,
    Recorder,
    Tick,
    make_ticks,
    rows_in,
    values_in,
)

from townlet_trajectory import ArraySpec, TrajectorySchema, TrajectoryService

AGENTS = (10, 100, 1000)
LEAVING = 0.01
"""Share of the agents that end at a tick, where they come and go."""
ROUNDS = 7
WHOLE, CLAIMED = "townlet, whole decisions", "townlet, whole decisions, lent"
COLUMN_BYTES = sum(spec.row_bytes for spec in (*SEEN.values(), *WHOLE_DECISIONS.decisions.values())) + 4 + 8
"""Of whole decisions: what is seen and decided, the reward, the number of the trajectory."""

Line = dict[str, str | int | float]


class Townlet:
    """Our recorder. A round's rows are handed out as trajectories before the next round."""

    def __init__(self, schema: TrajectorySchema, ticks: list[Tick]) -> None:
        self._ticks = ticks
        self._next_tick = 0
        self._service = TrajectoryService(schema, chunk_rows=rows_in(ticks), max_rows=rows_in(ticks))

    def observations(self, tick: Tick) -> Mapping[str, NDArray[np.generic]]:
        """What `tick` is handed over in."""
        return tick.observations

    def record(self) -> None:
        service = self._service
        for number, tick in enumerate(self._ticks, start=self._next_tick):
            service.begin_tick(
                number,
                tick.slots,
                self.observations(tick),
                agent_ids=tick.agent_ids,
                worlds=tick.worlds,
                episodes=tick.episodes,
            )
            service.record_decisions(tick.decisions)
            service.record_outcome(
                tick.rewards,
                tick.terminated,
                tick.truncated,
                final_rows=tick.final_rows,
                final_observations=tick.final_observations,
            )
        self._next_tick += len(self._ticks)

    def values(self) -> NDArray[np.float32]:
        return self._service.transitions["value"].astype(np.float32)

    def clear(self) -> None:
        self._service.collect()


class TownletLent(Townlet):
    """Our recorder, into whose memory the world writes the observations; `world_s` are the CPU seconds of that."""

    world_s = 0.0

    def observations(self, tick: Tick) -> Mapping[str, NDArray[np.generic]]:
        lent: Mapping[str, NDArray[np.generic]] = self._service.lend(len(tick.slots))
        begun = time.process_time()
        for name, array in lent.items():
            np.copyto(array, tick.observations[name])
        self.world_s += time.process_time() - begun
        return lent


class BareCopying:
    """Slice assignments into columns that exist: no checks, no trajectories, no bound."""

    def __init__(self, ticks: list[Tick]) -> None:
        specs = {**WHOLE_DECISIONS.observations, **WHOLE_DECISIONS.decisions, "rewards": ArraySpec("float32")}
        self._stores = {name: np.zeros((rows_in(ticks), *spec.shape), spec.dtype) for name, spec in specs.items()}
        self._ticks = [{**tick.observations, **tick.decisions, "rewards": tick.rewards} for tick in ticks]

    def record(self) -> None:
        row = 0
        for columns in self._ticks:
            rows = slice(row, row + len(columns["rewards"]))
            for name, column in columns.items():
                self._stores[name][rows] = column
            row = rows.stop

    def values(self) -> NDArray[np.float32]:
        return self._stores["value"].astype(np.float32)

    def clear(self) -> None:
        self._stores["value"][:] = 0.0


def recorders(num_agents: int) -> tuple[dict[str, tuple[Recorder, list[Tick]]], dict[str, str]]:
    """Who takes part, each with its ticks, and who cannot, with the reason."""
    steady = make_ticks(SAME_COLUMNS, num_agents, 0.0)
    changing = make_ticks(SAME_COLUMNS, num_agents, LEAVING)
    whole = make_ticks(WHOLE_DECISIONS, num_agents, LEAVING)
    found: dict[str, tuple[Recorder, list[Tick]]] = {
        "townlet": (Townlet(SAME_COLUMNS, steady), steady),
        "townlet, coming and going": (Townlet(SAME_COLUMNS, changing), changing),
        WHOLE: (Townlet(WHOLE_DECISIONS, whole), whole),
        CLAIMED: (TownletLent(WHOLE_DECISIONS, whole), whole),
        "bare copying": (BareCopying(whole), whole),
    }
    missing = {}
    for name, peer in PEERS.items():
        try:
            found[name] = (peer(steady), steady)
        except ImportError as error:
            missing[name] = str(error)
    return found, missing


def held_bytes_per_transition(ticks: list[Tick]) -> float:
    """What the recorder holds after all ticks but the last, at which everyone ends; numpy's arrays are traced, too.

    Beyond the columns these are the names of the agents, the final observations of those who ended before (one in a
    hundred transitions), and room that is not used yet.
    """
    lasting = ticks[:-1]
    tracemalloc.start()
    recorder = Townlet(WHOLE_DECISIONS, lasting)
    recorder.record()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / rows_in(lasting)


def timed(contestants: dict[str, tuple[Recorder, list[Tick]]]) -> tuple[dict[str, float], dict[str, float]]:
    """Median CPU seconds of a round of each: of recording, of clearing. The first touches fresh memory: not counted."""
    recording: dict[str, list[float]] = {name: [] for name in contestants}
    clearing: dict[str, list[float]] = {name: [] for name in contestants}
    # What the peers' imports left behind would be walked through whenever somebody's allocations wake the collector.
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    for round_number in range(ROUNDS + 1):
        for name, (recorder, ticks) in contestants.items():
            before = recorder.world_s if isinstance(recorder, TownletLent) else 0.0
            begun = time.process_time()
            recorder.record()
            recorded = time.process_time()
            if isinstance(recorder, TownletLent):
                begun += recorder.world_s - before
            if round_number == 0 and not np.array_equal(np.sort(recorder.values()), np.sort(values_in(ticks))):
                raise AssertionError(f"{name} did not record what it was given")
            cleared_from = time.process_time()
            recorder.clear()
            if round_number > 0:
                recording[name].append(recorded - begun)
                clearing[name].append(time.process_time() - cleared_from)
    return medians(recording), medians(clearing)


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(rounds) for name, rounds in seconds.items()}


def measure(num_agents: int) -> list[Line]:
    """One line per contestant."""
    contestants, missing = recorders(num_agents)
    recording, clearing = timed(contestants)
    num_rows = {name: rows_in(ticks) for name, (_, ticks) in contestants.items()}
    rates = {name: num_rows[name] / seconds for name, seconds in recording.items()}
    lines: list[Line] = []
    for name, rate in rates.items():
        line: Line = {"benchmark": "record", "name": name, "agents": num_agents, "transitions_per_s": round(rate)}
        line["us_per_tick"] = round(1e6 * recording[name] / len(contestants[name][1]), 2)
        if name in PEERS:
            line["townlet_times_as_fast"] = round(rates["townlet"] / rate, 2)
            line["townlet_whole_decisions_times_as_fast"] = round(rates[WHOLE] / rate, 2)
            line["townlet_lent_times_as_fast"] = round(rates[CLAIMED] / rate, 2)
        elif name == WHOLE:
            line["share_of_bare_copying"] = round(rate / rates["bare copying"], 2)
            line["collect_transitions_per_s"] = round(num_rows[name] / clearing[name])
            line["column_bytes_per_transition"] = COLUMN_BYTES
            line["held_bytes_per_transition"] = round(held_bytes_per_transition(contestants[name][1]))
        lines.append(line)
    for name, reason in missing.items():
        lines.append({"benchmark": "record", "name": name, "agents": num_agents, "missing": reason})
    return lines


def main() -> None:
    print(json.dumps({"benchmark": "record", "numpy": np.__version__, "machine": platform.machine()}))
    for num_agents in AGENTS:
        for line in measure(num_agents):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
