"""The other side of the tests of workers: corridors, some of which break, walked by linear policies."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from strategies import LinearPolicy, bridge_config

from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.errors import EnvironmentFaultError, SimulationError
from townlet_runtime.simulation.interface import AGENTS, GroupedSimulation
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.simulation.split_groups import split_named
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_runtime.workers.links import ProcessLink
from townlet_runtime.workers.messages import Message
from townlet_runtime.workers.pool import WorkerPool
from townlet_runtime.workers.recording import RecordingCollector, RecordPlace
from townlet_runtime.workers.tasks import WaveCast, WaveTask
from townlet_runtime.workers.units import DividedCollector, Unit, units_of
from townlet_runtime.workers.worker import OwnWorlds, Workplace, answer_requests
from townlet_trajectory.evaluation.interfaces import AnyActor, Collected
from townlet_trajectory.storage import folders

CONFIG = CorridorConfig()
# The folder is said: a process that must not import from the folder of its program finds nothing there.
_PROGRAM = f"sys.path.insert(0, {str(Path(__file__).parent)!r}); runpy.run_path({__file__!r}, run_name='__main__')"
COMMAND = [sys.executable, "-c", f"import runpy, sys; {_PROGRAM}"]
RAISES, BREAKS, DIES, SLEEPS = (2**31 + 1000 + number for number in range(4))
"""Seeds with which a worker does something else than to play."""
WORLDS: Message = {"seed": 3, "num_worlds": 4, "unit_worlds": 2}


class Corridors(Corridor):
    """A corridor, and seeds that it does not survive."""

    def reset(self, *, seeds):
        if RAISES in seeds:
            raise SimulationError("no such corridor")
        if BREAKS in seeds:
            raise EnvironmentFaultError("corridors", "the roof came down", world=3, tick=7)
        if DIES in seeds:
            sys.stderr.write("no memory left\n")
            sys.stderr.flush()
            os._exit(7)
        if SLEEPS in seeds:
            time.sleep(600)
        return super().reset(seeds=seeds)


class Trouble(Collector):
    """A collector that does what files in a folder say, each of them once.

    `UNIT-die-...`, `UNIT-hang-...` and `UNIT-raise-...` come at the next collection of that unit, `UNIT-late` is a
    number of seconds for each of them.
    """

    def __init__(self, *arguments: Any, folder: Path | None, index: int, **more: Any) -> None:
        self._folder, self._index = folder, index
        super().__init__(*arguments, **more)

    def collect(self, *arguments: Any, **more: Any) -> Collected:
        if self._folder is not None:
            self._obey(self._folder)
        return super().collect(*arguments, **more)

    def _obey(self, folder: Path) -> None:
        for order in sorted(folder.glob(f"{self._index}-*")):
            _, what, *_ = order.name.split("-")
            if what == "late":
                time.sleep(float(order.read_text()))
                continue
            try:
                order.unlink()
            except FileNotFoundError:  # somebody else obeys it
                continue
            if what == "raise":
                raise SimulationError(f"an order to raise: {order.name}")
            if what == "die":
                os._exit(9)
            time.sleep(600)


SPLIT: Message = {**WORLDS, "groups": {"first": 1}}
"""Worlds in which one of the three agents is a group by itself."""


def corridors(worlds: Message, of: type[Evaluator] = Evaluator) -> Evaluator:
    return of(
        lambda count: simulation_of(worlds, count),
        config=bridge_config(Corridor(CONFIG)),
        seed=worlds["seed"],
        num_worlds=worlds["num_worlds"],
    )


def units(worlds: Message) -> list[Unit]:
    return units_of(worlds["num_worlds"], unit_worlds=worlds["unit_worlds"], seed=worlds["seed"])


def simulation_of(worlds: Message, num_worlds: int) -> GroupedSimulation:
    return split_named(OneGroup(Corridors(CONFIG, num_worlds=num_worlds)), worlds.get("groups", {}))


def collector_of(unit: Unit, worlds: Message, folder: Path | None = None) -> Collector:
    return Trouble(
        simulation_of(worlds, unit.num_worlds),
        config=bridge_config(Corridor(CONFIG)),
        seed=unit.draws_seed,
        max_rows=10_000,
        world_seeds=unit.world_seeds,
        unrecorded=worlds.get("unrecorded", ()),
        folder=folder,
        index=unit.index,
    )


def divided(worlds: Message) -> DividedCollector:
    """What this process collects alone."""
    own = units(worlds)
    return DividedCollector(own, [collector_of(unit, worlds) for unit in own])


def policy(seed: int, group: str = AGENTS) -> dict[str, LinearPolicy]:
    one = LinearPolicy(Corridor(CONFIG).spec, seed=seed)
    one.seed = seed  # type: ignore[attr-defined]  # by which it is packed
    return {group: one}


def packed(actors: Mapping[str, AnyActor]) -> bytes | None:
    """Packs linear policies, by the seeds that they were drawn from."""
    seeds = {group: getattr(actor, "seed", None) for group, actor in actors.items()}
    return None if None in seeds.values() else json.dumps(seeds).encode()


def unpacked(data: bytes) -> dict[str, LinearPolicy]:
    return {group: one for own, seed in json.loads(data).items() for group, one in policy(seed, own).items()}


def tear(folder: Path, index: int) -> None:
    """End the process between the two files of a shard, where a file `tear-UNIT-...` in the folder says so."""
    write = folders.write_bytes_atomic

    def torn(path: Path, data: bytes) -> None:
        for order in folder.glob(f"tear-{index}-*"):
            order.unlink()
            write(path, data)
            os._exit(9)
        write(path, data)

    folders.write_bytes_atomic = torn


def workplace(worlds: Message) -> Workplace:
    folder = Path(worlds["folder"]) if "folder" in worlds else None
    own = units(worlds)
    record = RecordPlace.told(worlds["record"]) if "record" in worlds else None

    def begun(index: int) -> OwnWorlds:
        collector: Collector | RecordingCollector = collector_of(own[index], worlds, folder)
        if record is not None:
            collector = RecordingCollector(collector, record, own[index])
        if folder is not None:
            tear(folder, index)
        return OwnWorlds(collector=collector, close=lambda: None)

    return Workplace(evaluator=corridors(worlds), collector=begun, unpacked=unpacked)


def pool_of(size: int, worlds: Message = WORLDS, *, timeout_s: float = 300.0) -> WorkerPool:
    return WorkerPool(lambda place: ProcessLink(COMMAND), size, worlds, timeout_s=timeout_s)


def played_by(name: str, *seeds: int) -> WaveTask:
    """A wave of a behavior."""
    cast = WaveCast.of(name, {})
    return WaveTask(cast, policies=None, sample=False, seeds=np.array(seeds, np.int64))


def wait_until_played(task: WaveTask, pool: WorkerPool) -> None:
    """Wait until a worker has been asked for a wave."""
    while task in pool._waiting:
        time.sleep(0.01)


if __name__ == "__main__":
    answer_requests(sys.stdin.buffer, sys.stdout.buffer, workplace)
