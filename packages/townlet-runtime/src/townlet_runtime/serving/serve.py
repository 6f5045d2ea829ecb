"""Serves policies in a thread of its own, beside the thread that has the signals."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from townlet_runtime.serving.app import Tally, application
from townlet_runtime.serving.messages import MAX_BYTES
from townlet_runtime.serving.served import Served
from townlet_runtime.sockets.security import new_secret
from townlet_runtime.sockets.server import Server, listening

IDLE_S = 600.0
"""After which a silent connection is closed, where nobody says otherwise."""
STALLED_S = 60.0
"""After which a client that takes no byte is taken for gone."""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """Policies that are served."""

    server: Server
    token: str
    tally: Tally

    @property
    def url(self) -> str:
        """Address of the socket, without the token."""
        return f"ws://{self.server.place}/ws"

    @property
    def address(self) -> str:
        """Address of the socket, with the token."""
        return f"{self.url}?token={self.token}"


@contextmanager
def serving(
    served: Served,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    origins: Collection[str] = (),
    idle_s: float = IDLE_S,
) -> Iterator[Serving]:
    """Serve policies until the block ends.

    Args:
        served: the policies, and how they act.
        host: to listen at.
        port: to listen at; 0: one that is free.
        token: that clients must know; None: a new one.
        origins: of pages elsewhere that may open a socket.
        idle_s: after which a silent connection is closed.

    Raises:
        ConfigError: if nobody can listen there.
    """
    secret, tally = new_secret() if token is None else token, Tally()
    with listening(
        lambda hosts: application(served, token=secret, hosts=hosts, origins=origins, idle_s=idle_s, tally=tally),
        host=host,
        port=port,
        max_bytes=MAX_BYTES,
        # An engine that stands at a breakpoint answers no ping; a silent client goes after `idle_s`.
        pings=False,
        stalled_s=STALLED_S,
    ) as server:
        yield Serving(server=server, token=secret, tally=tally)
