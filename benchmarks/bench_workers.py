"""Collecting with worker processes: world steps a second beside one process, what a unit costs, and a model of more.

Claim: where stepping dominates (2 ms a step), two workers collect at 1.6 times the rate of one process on two cores, at
least. Wall times, JSON lines. Needs two idle cores.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turns import calibrate

from townlet_behavior import BridgeConfig, CommitmentConfig
from townlet_runtime import Evaluator, OneGroup, UniformPolicy
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.simulation.interface import GroupedSimulation, first_spec
from townlet_runtime.testing import Corridor
from townlet_runtime.town import Town, TownConfig
from townlet_runtime.workers.collecting import PooledCollector
from townlet_runtime.workers.links import ProcessLink
from townlet_runtime.workers.messages import Message
from townlet_runtime.workers.pool import WorkerPool
from townlet_runtime.workers.units import DividedCollector, Unit, units_of
from townlet_runtime.workers.worker import OwnWorlds, Workplace, answer_requests

STEP_S = 2e-3
"""Of the slow world."""


class SlowCorridor(Corridor):
    """A corridor each of whose worlds computes for 2 ms a step."""

    def step(self, actions: Any) -> Any:
        ends = time.perf_counter() + STEP_S * self.spec.num_worlds
        while time.perf_counter() < ends:
            pass
        return super().step(actions)


def world(name: str, num_worlds: int) -> GroupedSimulation:
    if name == "slow":
        return OneGroup(SlowCorridor(num_worlds=num_worlds))
    return OneGroup(Town(TownConfig(), num_worlds=num_worlds))


def bridge(name: str) -> BridgeConfig:
    (spec,) = world(name, 1).specs.values()
    return BridgeConfig(commitment=CommitmentConfig(ticks=spec.option_ticks))


def units(asked: Message) -> list[Unit]:
    return units_of(asked["num_worlds"], unit_worlds=asked["unit_worlds"], seed=0)


def collector(asked: Message, unit: Unit) -> Collector:
    worlds = world(asked["world"], unit.num_worlds)
    rows = asked["ticks"] * first_spec(worlds).capacity
    config = bridge(asked["world"])
    return Collector(worlds, config=config, seed=unit.draws_seed, max_rows=rows, world_seeds=unit.world_seeds)


def policies(asked: Message) -> Mapping[str, Any]:
    return {group: UniformPolicy.of(spec) for group, spec in world(asked["world"], 1).specs.items()}


def workplace(asked: Message) -> Workplace:
    own = units(asked)
    return Workplace(
        evaluator=Evaluator(lambda n: world(asked["world"], n), config=bridge(asked["world"]), seed=0, num_worlds=1),
        collector=lambda index: OwnWorlds(collector=collector(asked, own[index]), close=lambda: None),
        unpacked=lambda data: policies(asked),
    )


def seconds_of(own: Any, asked: Message, rounds: int) -> tuple[float, float]:
    """Median time of a collection, after one that begins the worlds, and how long this process computed in it."""
    actors, times = policies(asked), list[tuple[float, float]]()
    for number in range(rounds + 1):
        begun, computed = time.perf_counter(), time.process_time()
        own.collect(actors, num_ticks=asked["ticks"], ratio=1.0)
        if number:
            times.append((time.perf_counter() - begun, time.process_time() - computed))
    whole, here = (statistics.median(each) for each in zip(*times, strict=True))
    return whole, here


def pool(asked: Message, size: int, *, timeout_s: float = 600.0) -> WorkerPool:
    command = [sys.executable, str(Path(__file__)), "--worker"]
    return WorkerPool(lambda place: ProcessLink(command), size, asked, timeout_s=timeout_s)


def measured(asked: Message, workers: int, rounds: int) -> tuple[float, float]:
    if not workers:
        own = units(asked)
        return seconds_of(DividedCollector(own, [collector(asked, unit) for unit in own]), asked, rounds)
    own = pool(asked, workers)
    try:
        specs = world(asked["world"], 1).specs
        pooled = PooledCollector(own, units(asked), specs, packed=lambda actors: b"uniform")
        return seconds_of(pooled, asked, rounds)
    finally:
        own.close()


def rates(name: str, ticks: int, rounds: int) -> None:
    """Print world steps a second of one process, and of one and two workers, in turns."""
    asked: Message = {"world": name, "num_worlds": 16, "unit_worlds": 4, "ticks": ticks}
    times: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for _ in range(3):
        for workers, found in times.items():
            found.append(measured(asked, workers, rounds)[0])
    alone = statistics.median(times[0])
    for workers, found in times.items():
        seconds = statistics.median(found)
        line = {"benchmark": "workers", "world": name, "workers": workers}
        rate = round(16 * ticks / seconds)
        print(json.dumps({**line, "env_steps_per_s": rate, "of_one_process": round(alone / seconds, 2)}), flush=True)


def costs(rounds: int) -> None:
    """Print what a unit costs beside its steps, by its size: one worker beside one process, in turns.

    `more_ms` is the difference in time; `here_ms` what the process of the run computes for a unit that a worker steps.
    """
    for ticks in (16, 64, 256, 1024):
        asked: Message = {"world": "town", "num_worlds": 4, "unit_worlds": 4, "ticks": ticks}
        pairs = [(measured(asked, 0, rounds), measured(asked, 1, rounds)) for _ in range(3)]
        alone, apart = (statistics.median(each) for each in zip(*((a[0], b[0]) for a, b in pairs), strict=True))
        here = statistics.median(apart[1] for _, apart in pairs)
        own = collector(asked, units(asked)[0]).collect(policies(asked), num_ticks=ticks, ratio=1.0)
        rows = next(iter(own.batches.values()))
        size = sum(array.nbytes for array in (*rows.observations.values(), *rows.columns.values()))
        line = {"benchmark": "workers", "name": "a unit", "ticks": ticks, "rows": rows.num_steps, "bytes": size}
        found = {"alone_ms": alone, "more_ms": apart - alone, "here_ms": here}
        print(json.dumps({**line, **{name: round(1e3 * seconds, 1) for name, seconds in found.items()}}), flush=True)


def model(step_ms: float, unit_ms: float, learn_ms: float) -> None:
    """Print the rate of a run by a model of measured costs.

        seconds of an update = U l + max(ceil(U / N) (w + u), U u)

    U = 2 N units of 4 worlds and 128 ticks: a worker steps one in w, and the process of the run computes u for it (here
    it is taken to wait meanwhile), and l to learn from it. Ahead, a run waits for the longer of the two: U (l + u), or
    the collection.
    """
    for cores in (1, 2, 16, 64, 256):
        count = 2 * cores
        learnt, merged = count * learn_ms, count * unit_ms
        collected = max(math.ceil(count / cores) * (4 * 128 * step_ms + unit_ms), merged)
        line = {"benchmark": "workers", "name": "model", "cores": cores, "costs_ms": [step_ms, unit_ms, learn_ms]}
        waited = (learnt + collected, max(learnt + merged, collected))
        in_turn, ahead = (round(1e3 * count * 4 * 128 / ms) for ms in waited)
        print(json.dumps({**line, "env_steps_per_s": in_turn, "ahead_env_steps_per_s": ahead}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", nargs="*", default=[], help="STEP_MS,UNIT_MS,LEARN_MS: costs to model")
    arguments = parser.parse_args()
    if arguments.worker:
        answer_requests(sys.stdin.buffer, sys.stdout.buffer, workplace)
        return
    rates("slow", 32, arguments.rounds)
    rates("town", 256, arguments.rounds)
    costs(arguments.rounds)
    for costs_of in arguments.model:
        model(*map(float, costs_of.split(",")))
    calibrate("workers")


if __name__ == "__main__":
    main()
