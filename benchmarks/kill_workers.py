"""Workers that are killed, stopped, or whose node ends, at random moments: whether the rows are the same, and how late.

Claim: at 50 random moments each, nothing is lost and no byte differs from what one process collects. JSON lines. With
`--nodes` the workers are on a simulated cluster of Ray of four nodes (the extra `ray`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bench_workers import collector, policies, units, workplace, world
from bench_workers import pool as process_pool

from townlet_runtime.workers.collecting import PooledCollector
from townlet_runtime.workers.messages import Message
from townlet_runtime.workers.pool import WorkerPool
from townlet_runtime.workers.units import DividedCollector
from townlet_trajectory.dataset.source import arrays_digest, arrays_of
from townlet_trajectory.evaluation.interfaces import Collected

ASKED: Message = {"world": "town", "num_worlds": 16, "unit_worlds": 4, "ticks": 256}
NODES = 4
HANGS_S = 3.0
"""After which a worker that was stopped is replaced."""


def digest(collected: Collected) -> str:
    """Of all rows of a collection."""
    parts = (arrays_digest(group.encode(), arrays_of(batch)) for group, batch in collected.batches.items())
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def collected(own: Any) -> tuple[str, float]:
    begun = time.perf_counter()
    found = own.collect(policies(ASKED), num_ticks=ASKED["ticks"], ratio=1.0)
    return digest(found), time.perf_counter() - begun


def tried(
    name: str,
    pool: WorkerPool,
    end_one: Callable[[], None],
    moments: int,
    *,
    prepare: Callable[[], object] = lambda: None,
) -> None:
    """Collect as often as there are moments, end something within each, and print what came of it."""
    own = units(ASKED)
    alone = DividedCollector(own, [collector(ASKED, unit) for unit in own])
    pooled = PooledCollector(pool, own, world("town", 1).specs, packed=lambda actors: b"uniform")
    chance, equal, times = random.Random(0), 0, list[float]()
    usual = [collected(pooled) for _ in range(5)]
    expected = [collected(alone)[0] for _ in range(5)]
    equal_before = [found for found, _ in usual] == expected
    usual_s = statistics.median(seconds for _, seconds in usual[1:])
    for _ in range(moments):
        prepare()
        ends = threading.Timer(chance.uniform(0.0, usual_s), end_one)
        ends.start()
        found, seconds = collected(pooled)
        ends.join()
        equal += found == collected(alone)[0]
        times.append(seconds - usual_s)
    line = {"benchmark": "kill_workers", "name": name, "moments": moments, "equal": equal, "before": equal_before}
    late = {"median_late_s": round(statistics.median(times), 2), "longest_late_s": round(max(times), 2)}
    print(json.dumps({**line, "replaced": pool.replaced, "usual_s": round(usual_s, 2), **late}), flush=True)


def signalled(pool: WorkerPool, number: signal.Signals) -> Callable[[], None]:
    """Send a signal to one of the workers."""
    chance = random.Random(1)

    def end_one() -> None:
        os.kill(chance.choice(pool.links()).pid, number)

    return end_one


def on_nodes(moments: int) -> None:
    """The same with nodes of a simulated cluster."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # as `RayCluster` does, which imports Ray later
    import ray
    from ray.cluster_utils import Cluster

    from townlet_runtime.workers.ray_cluster import RayCluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    there = [nodes.add_node(num_cpus=1) for _ in range(NODES)]
    cluster = RayCluster(nodes.address, num_cpus=0, place=workplace)
    pool = WorkerPool(lambda place: cluster.link(), 2, ASKED, timeout_s=120.0, shares_memory=False)
    own = ray._private.worker.global_worker.node._raylet_socket_name
    chance = random.Random(1)

    def end_one() -> None:
        node = chance.choice([each for each in there if each._raylet_socket_name != own])
        there.remove(node)
        nodes.remove_node(node, allow_graceful=False)

    def add_one() -> None:
        while len(there) < NODES:  # in the main thread, where Ray asks for signals
            with suppress(Exception):  # a node that did not begin within 30 s; it raises no other
                there.append(nodes.add_node(num_cpus=1))

    try:
        tried("a node", pool, end_one, moments, prepare=add_one)
    finally:
        pool.close()
        cluster.close()
        nodes.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=50)
    parser.add_argument("--nodes", action="store_true")
    arguments = parser.parse_args()
    if arguments.nodes:
        on_nodes(arguments.moments)
        return
    for name, number, timeout_s in (("kill -9", signal.SIGKILL, 600.0), ("hanging", signal.SIGSTOP, HANGS_S)):
        pool = process_pool(ASKED, 2, timeout_s=timeout_s)
        try:
            tried(name, pool, signalled(pool, number), arguments.moments)
        finally:
            pool.close()


if __name__ == "__main__":
    main()
