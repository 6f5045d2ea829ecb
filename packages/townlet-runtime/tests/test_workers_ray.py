"""Workers on a cluster of Ray of four simulated nodes collect what one process does, and survive the end of a node."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strategies
import worker_worlds
from ray_nodes import added, simulated
from test_workers_collecting import FOUR, TICKS, alone, collector, content
from worker_worlds import corridors, packed, policy, workplace

from townlet_runtime.errors import WorkerError
from townlet_runtime.workers.defaults import THREAD_VARIABLES
from townlet_runtime.workers.evaluating import SharedEvaluator
from townlet_runtime.workers.messages import Message
from townlet_runtime.workers.pool import WorkerPool
from townlet_runtime.workers.ray_cluster import SURROUNDINGS, RayCluster

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ray simulates no cluster there")
NODES = 4


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    with simulated(NODES) as cluster:
        yield cluster


@pytest.fixture
def connected(nodes: Any) -> Iterator[RayCluster]:
    # The nodes do not find modules of this folder.
    for module in (worker_worlds, strategies):
        ray.cloudpickle.register_pickle_by_value(module)
    cluster = RayCluster(nodes.address, num_cpus=0, place=workplace)
    yield cluster
    cluster.close()


def pool_on(cluster: RayCluster, size: int, worlds: Message = FOUR, *, timeout_s: float = 120.0) -> WorkerPool:
    return WorkerPool(lambda place: cluster.link(), size, worlds, timeout_s=timeout_s, shares_memory=False)


def rounds(pool: WorkerPool, count: int, worlds: Message = FOUR) -> list[dict[str, Any]]:
    own = collector(pool, worlds)
    return [content(own.collect(policy(n), num_ticks=TICKS, ratio=0.2 + 0.1 * n)) for n in range(count)]


def remove_one(nodes: Any) -> None:
    """End a node at once, though not the one that this process has joined."""
    own = ray._private.worker.global_worker.node._raylet_socket_name
    node = next(each for each in nodes.nodes if each._raylet_socket_name != own)
    nodes.nodes.remove(node)
    nodes.remove_node(node, allow_graceful=False)


def test_four_nodes_collect_and_play_what_one_process_does(connected: RayCluster) -> None:
    pool = pool_on(connected, NODES)
    try:
        assert rounds(pool, 2) == alone(2)
        seeds = np.arange(2**31, 2**31 + 40)
        shared = SharedEvaluator(corridors(FOUR), pool, packed=packed)
        own = corridors(FOUR).evaluate(policy(1), seeds=seeds, sample=True)
        assert shared.evaluate(policy(1), seeds=seeds, sample=True) == own
    finally:
        pool.close()


@pytest.mark.thorough
def test_a_node_that_ends_takes_nothing_with_it(connected: RayCluster, nodes: Any) -> None:
    pool = pool_on(connected, 2)
    try:
        own = collector(pool, FOUR)
        found = []
        for number in range(4):
            if number in (1, 2):
                remove_one(nodes)
            found.append(content(own.collect(policy(number), num_ticks=TICKS, ratio=0.2 + 0.1 * number)))
        assert found == alone(4)
    finally:
        pool.close()
        while len(nodes.nodes) < NODES:
            nodes.nodes.append(added(nodes))


@pytest.mark.parametrize("what", ["die", pytest.param("hang", marks=pytest.mark.thorough)])
def test_an_actor_that_ends_or_hangs_is_replaced(what: str, connected: RayCluster, tmp_path: Path) -> None:
    (tmp_path / f"1-{what}-").touch()
    pool = pool_on(connected, 2, {**FOUR, "folder": str(tmp_path)}, timeout_s=20.0)
    try:
        assert rounds(pool, 2, FOUR) == alone(2)
        assert pool.replaced == 1
    finally:
        pool.close()


def test_threads_of_an_actor_are_those_that_were_said(connected: RayCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")

    def said() -> dict[str, str | None]:
        return {name: os.environ.get(name) for name in THREAD_VARIABLES}

    found = ray.get(ray.remote(said).options(runtime_env=SURROUNDINGS, num_cpus=1).remote())
    assert set(found.values()) == {"1"}


def test_policies_are_put_into_the_store_once_for_each_version(connected: RayCluster) -> None:
    first = connected.published("a", b"1")
    assert connected.published("a", b"1") == first
    assert ray.get(first) == b"1"
    for number in range(20):
        connected.published(str(number), b"2")
    assert len(connected._published) <= 8


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere.invalid:6379", "127.0.0.1:99999"])
def test_where_there_is_no_cluster_that_is_said(address: str) -> None:
    with pytest.raises(WorkerError, match=f"expected a cluster of Ray at {address}"):
        RayCluster(address, num_cpus=0, place=workplace)


def test_a_signal_reaches_the_process_of_the_run_as_before(nodes: Any) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    cluster = RayCluster(nodes.address, num_cpus=0, place=workplace)
    cluster.close()
    assert signal.getsignal(signal.SIGTERM) == handler


_BELOW_UV = """
from townlet_runtime.workers.ray_cluster import RayCluster
from worker_worlds import workplace
cluster = RayCluster({address!r}, num_cpus=0, place=workplace)
print(cluster.ray.get_runtime_context().runtime_env)
cluster.close()
"""


def test_below_uv_nothing_is_installed_again_for_actors(nodes: Any, tmp_path: Path) -> None:
    """`uv run townlet train --ray ...`: Ray finds the command in the processes above, and would begin actors by it."""
    (tmp_path / "program.py").write_text(_BELOW_UV.format(address=nodes.address))
    (tmp_path / "run").write_text(f'PYTHONPATH="{Path(__file__).parent}" "{sys.executable}" program.py; exit $?\n')
    surroundings = {name: value for name, value in os.environ.items() if name != "RAY_ENABLE_UV_RUN_RUNTIME_ENV"}
    done = subprocess.run(
        ["uv", "run"], executable="/bin/sh", cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False
    )
    assert (done.stdout.splitlines()[-1:], done.returncode) == (["{}"], 0), done.stderr


_OWNER = """
import sys, time
sys.path.insert(0, {folder!r})
import ray, strategies, worker_worlds
from test_workers_ray import pool_on, rounds
from townlet_runtime.workers.ray_cluster import RayCluster
for module in (worker_worlds, strategies):
    ray.cloudpickle.register_pickle_by_value(module)
pool = pool_on(RayCluster({address!r}, num_cpus=0, place=worker_worlds.workplace), 2)
rounds(pool, 1)
print("collected", flush=True)
time.sleep(600)
"""


def actors() -> list[Path]:
    """The processes of actors on this machine."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            found += [place] if (place / "cmdline").read_bytes().startswith(b"ray::RayActor") else []
        except OSError:  # it has ended
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.thorough
def test_actors_end_with_the_process_that_owns_them(nodes: Any) -> None:
    before = actors()
    program = _OWNER.format(folder=str(Path(__file__).parent), address=nodes.address)
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert any(line.strip() == "collected" for line in owner.stdout)
    begun = [each for each in actors() if each not in before]
    assert len(begun) == 2
    owner.kill()
    owner.communicate()
    deadline = time.monotonic() + 60.0
    while any(each.exists() for each in begun) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [each for each in begun if each.exists()]
