"""The server of a page in a thread of its own, beside the thread of the world."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from townlet_runtime.errors import ConfigError
from townlet_runtime.live.app import application
from townlet_runtime.live.messages import MAX_BYTES
from townlet_runtime.live.security import allowed_hosts, new_secret

if TYPE_CHECKING:
    from townlet_runtime.live.hub import Hub

_PATIENCE_S = 10.0


@contextmanager
def served(hub: Hub, *, host: str, port: int) -> Iterator[str]:
    """Serve the page of `hub`; gives its address, with the token, and stops serving at the end.

    Args:
        hub: of the world.
        host: to listen at.
        port: to listen at; 0: one that is free.

    Raises:
        ConfigError: if nobody can listen there.
    """
    token = new_secret()
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigError(f"expected an address to listen at, got {host} port {port}: {error.strerror}") from error
    with listening:
        own_port = listening.getsockname()[1]
        hosts = allowed_hosts(host, own_port)
        config = uvicorn.Config(
            application(hub, token=token, hosts=lambda: hosts),
            log_level="warning",
            access_log=False,
            ws="websockets-sansio",
            ws_max_size=MAX_BYTES,
            ws_per_message_deflate=False,
            server_header=False,
            timeout_graceful_shutdown=2,
            lifespan="on",
        )
        server = uvicorn.Server(config)
        # The thread of the world has the signals.
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listening])), name="townlet-live-server", daemon=True
        )
        thread.start()
        try:
            yield f"http://{f'[{host}]' if ':' in host else host}:{own_port}/?token={token}"
        finally:
            server.should_exit = True
            thread.join(_PATIENCE_S)
