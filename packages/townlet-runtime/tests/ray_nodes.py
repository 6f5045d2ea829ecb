"""A simulated cluster of Ray, of nodes on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # as `RayCluster` does, which imports Ray later


@contextmanager
def simulated(num_nodes: int) -> Iterator[Any]:
    """So many nodes with one CPU each, beside a head that has none."""
    os.environ["RAY_TMPDIR"] = "/tmp"  # paths of its sockets have to be short
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    cluster.nodes = [added(cluster) for _ in range(num_nodes)]  # those that were added here
    try:
        yield cluster
    finally:
        cluster.shutdown()


def added(cluster: Any) -> Any:
    """A node more; Ray gives one 30 s to begin, which a busy machine may need more than once."""
    for _ in range(2):
        with suppress(Exception):  # it raises no other
            return cluster.add_node(num_cpus=1)
    return cluster.add_node(num_cpus=1)
