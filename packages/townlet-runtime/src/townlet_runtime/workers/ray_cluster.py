"""Workers on a cluster of Ray (the extra `ray`): an actor for each, which the process of the run alone owns.

Policies are put into Ray's store once for each version, and an answer is one compressed block. An actor that has ended
is never restarted by Ray, which would not know what it held: the pool begins another. Ray pickles what it carries, so
everybody who reaches a cluster can run code on it.
"""

from __future__ import annotations

import os
import signal
import socket
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

from townlet_runtime.errors import MissingExtraError, WorkerError
from townlet_runtime.workers.blocks import Arrays, arrays_in, block_of, directory_of
from townlet_runtime.workers.defaults import THREAD_VARIABLES
from townlet_runtime.workers.links import LinkError
from townlet_runtime.workers.messages import Message

if TYPE_CHECKING:
    from townlet_runtime.workers.memory import SharedMemory
    from townlet_runtime.workers.worker import Worker, Workplace

LOCAL = "local"
"""The address that stands for a cluster of this machine, which is started and ended here."""
SURROUNDINGS = {"env_vars": dict.fromkeys(THREAD_VARIABLES, "1")}
"""Of an actor: Ray would choose a number of threads by itself."""
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # it would tell its makers what runs here
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # below `uv run` it would install everything anew for each actor
}
"""Of Ray, unless the environment says otherwise; it reads them when it is imported."""
_OF_ACTORS = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
_PATIENCE_S = 10.0
"""For a cluster to answer."""
_KEPT_VERSIONS = 8
"""Policies whose bytes stay in the store."""
_FAST = 1
"""Level of zlib: rows are sent once."""


class RayActor:
    """What runs in Ray's process: a worker, of whose place the first message tells.

    Args:
        place: makes a workplace of the first message.
    """

    def __init__(self, place: Callable[[Message], Workplace]) -> None:
        self._place = place
        self._worker: Worker | None = None

    def do(self, request: Message, policies: bytes, data: bytes) -> tuple[Message, bytes]:
        """Do one task; see `Worker.do`.

        Args:
            request: of a task, or the first message.
            policies: that it needs; empty where the worker has them.
            data: that belongs to it.

        Returns:
            The answer, and the block of its arrays, compressed.
        """
        from townlet_runtime.workers.worker import Worker

        if self._worker is None:
            try:
                self._worker = Worker(self._place(request["worlds"]))
            except Exception as error:  # the process of the run says so
                return {"refused": f"{type(error).__name__}: {error}", "arrays": []}, b""
            return {"ready": True, "arrays": []}, b""
        answer, arrays = self._worker.do(request, policies, data)
        return {**answer, "arrays": directory_of(arrays)}, zlib.compress(block_of(arrays), _FAST)


class RayCluster:
    """A connection to a cluster, of which a process has one.

    Args:
        address: of the cluster, as `ray.init` takes it; `LOCAL`: one of this machine, with `num_cpus`.
        num_cpus: of a local cluster.
        place: makes a workplace of the first message; the same code must be installed on every node.

    Raises:
        MissingExtraError: if the extra `ray` is not installed.
        WorkerError: if there is no cluster at the address.
    """

    def __init__(self, address: str, *, num_cpus: int, place: Callable[[Message], Workplace]) -> None:
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ModuleNotFoundError as error:
            raise MissingExtraError("workers of a cluster need `ray`: install 'townlet-runtime[ray]'") from error
        self.ray: Any = ray
        where: dict[str, Any] = {"num_cpus": num_cpus} if address == LOCAL else {"address": address}
        quiet = {"include_dashboard": False, "log_to_driver": False, "configure_logging": False}
        _require_reachable(address)
        handler = signal.getsignal(signal.SIGTERM)
        try:
            self.ray.init(**where, **quiet, logging_level="error")
        except (OSError, ValueError, RuntimeError) as error:
            raise WorkerError(f"expected a cluster of Ray at {address}: {error}") from error
        signal.signal(signal.SIGTERM, handler)  # which Ray takes for itself
        self._actor: Any = self.ray.remote(RayActor).options(**_OF_ACTORS, runtime_env=SURROUNDINGS)
        self._place = place
        self._published: OrderedDict[str, Any] = OrderedDict()
        self._lock = Lock()

    def link(self) -> RayLink:
        """Begin a worker, wherever there is a CPU for it. Raises `LinkError` if the cluster is gone."""
        try:
            return RayLink(self, self._actor.remote(self._place))
        except Exception as error:  # Ray raises whatever it likes then
            raise LinkError(f"no worker can begin: {type(error).__name__}: {error}") from error

    def published(self, digest: str, data: bytes) -> Any:
        """Return the reference of policies, which are put into the store the first time."""
        with self._lock:
            if digest not in self._published:
                self._published[digest] = self.ray.put(data)
                if len(self._published) > _KEPT_VERSIONS:
                    self._published.popitem(last=False)
            return self._published[digest]

    def close(self) -> None:
        """Let the cluster go; a local one ends."""
        self.ray.shutdown()


class RayLink:
    """The way to one actor; see `links.Link`.

    Args:
        cluster: where it is.
        actor: its handle.
    """

    def __init__(self, cluster: RayCluster, actor: Any) -> None:
        self._cluster, self._actor = cluster, actor

    def ask(
        self, message: Message, parts: Sequence[bytes], *, memory: SharedMemory | None, timeout_s: float
    ) -> tuple[Message, Arrays]:
        """See `Link.ask`; answers come through Ray's store, and not through `memory`.

        Args:
            message: what is asked.
            parts: of a task, the policies and what else belongs to it.
            memory: is not used.
            timeout_s: after so many seconds the actor is killed.

        Raises:
            LinkError: if the actor has ended, or is ended here.
        """
        ray = self._cluster.ray
        policies, data = parts or (b"", b"")
        sent = self._cluster.published(message["policies"], policies) if policies else b""
        try:
            answer, block = ray.get(self._actor.do.remote(message, sent, data), timeout=timeout_s)
        except ray.exceptions.GetTimeoutError as error:
            self.close()
            raise LinkError(f"it did not answer within {timeout_s:g} s") from error
        except ray.exceptions.RayError as error:
            self.close()
            first = str(error).strip().split("\n")[0]
            raise LinkError(f"the actor ended: {type(error).__name__}: {first}") from error
        return answer, arrays_in(zlib.decompress(block) if block else b"", answer["arrays"])

    def close(self) -> None:
        """See `Link.close`."""
        # Asking a cluster that is gone raises whatever Ray likes, and there is nothing left to end.
        if self._cluster.ray.is_initialized():
            self._cluster.ray.kill(self._actor, no_restart=True)


def _require_reachable(address: str) -> None:
    """Raise `WorkerError` unless something listens at `HOST:PORT`: Ray would wait for it for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE_S).close()
    except (OSError, OverflowError) as error:
        raise WorkerError(f"expected a cluster of Ray at {address}: {error}") from error
