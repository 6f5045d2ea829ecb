"""How fast `TrajectoryService` records: transitions per second, agents coming and going or not. Prints JSON lines."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory import ArraySpec, TrajectorySchema, TrajectoryService, default_decision_columns

NUM_ACTIONS = 12
SCHEMA = TrajectorySchema(
    observations={"map": ArraySpec("float32", (4, 11, 11)), "features": ArraySpec("float32", (64,))},
    decisions=default_decision_columns(),
    vocabulary=tuple(f"action_{index}" for index in range(NUM_ACTIONS)),
)
ROUNDS = 7


@dataclass(frozen=True, kw_only=True)
class Tick:
    """All arrays of one tick, made before the clock runs."""

    slots: NDArray[np.int64]
    agent_ids: NDArray[np.object_]
    worlds: NDArray[np.int64]
    episodes: NDArray[np.int64]
    observations: dict[str, NDArray[np.generic]]
    decisions: dict[str, NDArray[np.generic]]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_rows: NDArray[np.int64]
    final_observations: dict[str, NDArray[np.generic]]


def rows_of(specs: dict[str, ArraySpec], num_rows: int, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
    return {name: rng.random((num_rows, *spec.shape)).astype(spec.dtype) for name, spec in specs.items()}


def make_ticks(num_agents: int, num_ticks: int, leaving: float, rng: np.random.Generator) -> list[Tick]:
    """Ticks of about `num_agents` agents, a share `leaving` ends at each tick and comes back one later."""
    names = np.array([f"agent_{slot}" for slot in range(num_agents)], object)
    absent = np.zeros(num_agents, np.bool_)
    ticks = []
    for _ in range(num_ticks):
        slots = np.flatnonzero(~absent)
        size = len(slots)
        terminated = rng.random(size) < leaving
        absent = np.zeros(num_agents, np.bool_)
        absent[slots[terminated]] = True
        ticks.append(
            Tick(
                slots=slots,
                agent_ids=names[slots],
                worlds=np.zeros(size, np.int64),
                episodes=np.zeros(size, np.int64),
                observations=rows_of(dict(SCHEMA.observations), size, rng),
                decisions=rows_of(dict(SCHEMA.decisions), size, rng),
                rewards=rng.random(size).astype(np.float32),
                terminated=terminated,
                truncated=np.zeros(size, np.bool_),
                final_rows=np.flatnonzero(terminated),
                final_observations=rows_of(dict(SCHEMA.observations), int(terminated.sum()), rng),
            )
        )
    last = ticks[-1]
    everyone = np.arange(len(last.slots))
    ticks[-1] = Tick(
        **{
            **vars(last),
            "terminated": np.ones(len(last.slots), np.bool_),
            "final_rows": everyone,
            "final_observations": last.observations,
        }
    )
    return ticks


def record(service: TrajectoryService, ticks: list[Tick], first_tick: int) -> None:
    for number, tick in enumerate(ticks, start=first_tick):
        service.begin_tick(
            number,
            tick.slots,
            tick.observations,
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


def copy(stores: dict[str, NDArray[np.generic]], ticks: list[Tick]) -> None:
    """What no recorder can be faster than: bare slice assignments into columns that exist already."""
    row = 0
    for tick in ticks:
        rows = slice(row, row + len(tick.slots))
        for name, column in tick.observations.items():
            stores[name][rows] = column
        for name, column in tick.decisions.items():
            stores[name][rows] = column
        stores["rewards"][rows] = tick.rewards
        row = rows.stop


def measure(num_agents: int, leaving: float) -> dict[str, float | int | str]:
    """Medians of CPU time over interleaved rounds of recording, collecting and bare copying."""
    ticks = make_ticks(num_agents, max(8, 16_384 // num_agents), leaving, np.random.default_rng(1))
    num_rows = sum(len(tick.slots) for tick in ticks)
    service = TrajectoryService(SCHEMA, chunk_rows=num_rows, max_rows=num_rows)
    specs = {**SCHEMA.observations, **SCHEMA.decisions, "rewards": ArraySpec("float32")}
    stores = {name: np.zeros((num_rows, *spec.shape), spec.dtype) for name, spec in specs.items()}
    seconds: dict[str, list[float]] = {"record": [], "collect": [], "copy": []}
    for round_number in range(ROUNDS + 1):
        times = [time.process_time()]
        record(service, ticks, round_number * len(ticks))
        times.append(time.process_time())
        batch = service.collect()
        times.append(time.process_time())
        copy(stores, ticks)
        times.append(time.process_time())
        assert batch.num_steps == num_rows
        if round_number > 0:  # the first round touches fresh memory
            for name, begin, end in zip(seconds, times, times[1:], strict=False):
                seconds[name].append(end - begin)
    rates = {name: num_rows / float(np.median(values)) for name, values in seconds.items()}
    return {
        "benchmark": "record",
        "num_agents": num_agents,
        "leaving_per_tick": leaving,
        "transitions_per_s": round(rates["record"]),
        "us_per_tick": round(1e6 * num_rows / rates["record"] / len(ticks), 2),
        "share_of_copying": round(rates["record"] / rates["copy"], 2),
        "copying_transitions_per_s": round(rates["copy"]),
        "collect_transitions_per_s": round(rates["collect"]),
        # Observations, decisions, reward and the number of the trajectory: all that is stored per row.
        "bytes_per_transition": sum(spec.row_bytes for spec in specs.values()) + 8,
        "numpy": np.__version__,
        "machine": platform.machine(),
    }


def main() -> None:
    for num_agents in (10, 100, 1000):
        for leaving in (0.0, 0.01):
            print(json.dumps(measure(num_agents, leaving)), flush=True)


if __name__ == "__main__":
    main()
