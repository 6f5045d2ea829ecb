"""Workers of a run that is begun from Python: where they find its worlds, and what they are told."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from townlet_behavior import BridgeConfig
from townlet_runtime.adapters.importable import Importable, require_guarded
from townlet_runtime.errors import SimulationError
from townlet_runtime.workers.links import ProcessLink
from townlet_runtime.workers.pool import WorkerPool

if TYPE_CHECKING:
    from townlet_runtime.simulation.interface import GroupedSimulation, Simulation
    from townlet_runtime.training import TrainingConfig
    from townlet_runtime.training_worlds import Workers
    from townlet_runtime.workers.messages import Message
    from townlet_runtime.workers.recording import RunRecord

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1])\nfrom townlet_runtime.training_worker import main; main()"
)
"""Of a worker, which finds modules where this process does."""


def begun_workers(
    make: Callable[[int], Simulation | GroupedSimulation] | None,
    config: TrainingConfig,
    bridge: BridgeConfig,
    *,
    threads: int,
    count: int,
    timeout_s: float,
    opened: ExitStack,
    record: RunRecord | None = None,
) -> Workers | None:
    """Begin the workers of a run.

    They compute with the environment variables of this process, so that products are rounded there as they are here.

    Args:
        make: builds so many worlds; None: the run has none.
        config: of the run, as it can be.
        bridge: how script and policy are blended.
        threads: of torch.
        count: of workers, at least 0.
        timeout_s: after so many seconds one that does not answer is replaced.
        opened: ends them.
        record: of what they collect; None: there is none.

    Returns:
        The workers; None for a count of 0.

    Raises:
        SimulationError: if `timeout_s` is not above 0, there are no worlds, workers cannot import what builds them, or
            this process is a worker that is about to.
    """
    require_guarded("`train`")
    if count < 0:
        raise SimulationError(f"`workers` must be at least 0, got {count}")
    if not 0.0 < timeout_s < math.inf:
        raise SimulationError(f"`worker_timeout_s` must be a finite number above 0, got {timeout_s}")
    if not count:
        return None
    if make is None:
        raise SimulationError(f"`workers` {count}: the run has no world to collect in")
    from townlet_runtime.training_worlds import Workers

    told: Message = {
        "make": asdict(Importable.of(make, label="`make` of a run with `workers`")),
        "argv": sys.argv,
        "config": TypeAdapter(type(config)).dump_python(config, mode="json"),
        "bridge": TypeAdapter(BridgeConfig).dump_python(bridge, mode="json"),
        "threads": threads,
        "record": None if record is None else record.place.message(),
    }
    path = json.dumps([each for each in sys.path if isinstance(each, str)])
    command = [sys.executable, "-P", "-c", _PROGRAM, path]
    pool = WorkerPool(lambda place: ProcessLink(command, one_thread=False), count, told, timeout_s=timeout_s)
    opened.callback(pool.close)
    return Workers(pool=pool, collect=True)
