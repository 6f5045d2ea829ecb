"""A server of WebSockets in a thread of its own; the main thread has the signals."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from townlet_runtime.errors import ConfigError
from townlet_runtime.sockets.security import allowed_hosts

if TYPE_CHECKING:
    from starlette.applications import Starlette

PING_S = 20.0
"""Between two pings, and for the answer to one."""
_PATIENCE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that listens."""

    place: str
    """Host and port, as an address has them."""
    thread: threading.Thread

    @property
    def serves(self) -> bool:
        """Whether it still does: false where it ended by an error, which it has logged."""
        return self.thread.is_alive()


@contextmanager
def listening(
    application: Callable[[frozenset[str]], Starlette],
    *,
    host: str,
    port: int,
    max_bytes: int,
    pings: bool = True,
    stalled_s: float | None = None,
) -> Iterator[Server]:
    """Serve an application until the block ends.

    Args:
        application: makes it, given the values of `Host` that it may answer.
        host: to listen at.
        port: to listen at; 0: one that is free.
        max_bytes: of one message; a larger one ends its connection (1009, RFC 6455, section 7.4.1).
        pings: whether a client that answers no ping is sent away.
        stalled_s: a client that takes nothing for so long has gone, where the system can say so (RFC 5482); None: as
            the system does.

    Raises:
        ConfigError: if nobody can listen there.
    """
    try:
        opened = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigError(f"expected an address to listen at, got {host} port {port}: {error.strerror}") from error
    with opened:
        if stalled_s is not None and "TCP_USER_TIMEOUT" in vars(socket):  # Linux; connections inherit it
            opened.setsockopt(socket.IPPROTO_TCP, vars(socket)["TCP_USER_TIMEOUT"], int(1e3 * stalled_s))
        own_port = opened.getsockname()[1]
        config = uvicorn.Config(
            application(allowed_hosts(host, own_port)),
            log_level="warning",
            access_log=False,
            ws="websockets-sansio",
            ws_max_size=max_bytes,
            ws_ping_interval=PING_S if pings else None,
            ws_ping_timeout=PING_S,
            ws_per_message_deflate=False,
            server_header=False,
            timeout_graceful_shutdown=2,
            lifespan="on",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[opened])), name="townlet-server", daemon=True
        )
        thread.start()
        try:
            yield Server(place=f"{f'[{host}]' if ':' in host else host}:{own_port}", thread=thread)
        finally:
            server.should_exit = True
            thread.join(_PATIENCE_S)
