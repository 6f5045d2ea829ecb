"""The server of a page in a thread of its own, beside the thread of the world."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from townlet_runtime.live.app import application
from townlet_runtime.live.messages import MAX_BYTES
from townlet_runtime.sockets.security import new_secret
from townlet_runtime.sockets.server import listening

if TYPE_CHECKING:
    from townlet_runtime.live.hub import Hub


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
    with listening(
        lambda hosts: application(hub, token=token, hosts=hosts), host=host, port=port, max_bytes=MAX_BYTES
    ) as server:
        yield f"http://{server.place}/?token={token}"
