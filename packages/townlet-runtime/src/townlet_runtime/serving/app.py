"""The server of policies: one socket for those who have the token, whose questions wait for each other in order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from townlet_runtime.serving.messages import SUBPROTOCOL
from townlet_runtime.serving.served import Served
from townlet_runtime.serving.session import Session
from townlet_runtime.sockets.fields import Refusals
from townlet_runtime.sockets.security import GOING_AWAY, POLICY_VIOLATION, TRY_AGAIN, allows_origin, is_same

MAX_CLIENTS = 32
"""At a time. Each has one message that is answered, and at most one, of any size, that waits in the server."""
MAX_REFUSED = 20
"""Refused messages of a minute, with which a client is sent away."""
MAX_THREADS = 4
"""That answer; the loop of the server only hands messages over."""
SEND_S = 10.0
"""For a client to take what it was sent before; a slower one is sent away."""


@dataclass(kw_only=True)
class Tally:
    """What was answered so far; counted in the loop of the server."""

    questions: int = 0
    agents: int = 0
    refused: int = 0


def application(
    served: Served,
    *,
    token: str,
    hosts: frozenset[str],
    origins: Collection[str] = (),
    idle_s: float,
    tally: Tally,
) -> Starlette:
    """Return the application.

    Args:
        served: the policies.
        token: that the address of the socket must have.
        hosts: values of `Host` that are answered.
        origins: of pages elsewhere that may open a socket; what is no browser has none.
        idle_s: after which a silent connection is closed.
        tally: counts what was answered.
    """
    pool = ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1), "townlet-acting")
    clients = 0

    async def socket(websocket: WebSocket) -> None:
        nonlocal clients
        headers = websocket.headers
        origin, host = headers.get("origin"), headers.get("host")
        known = origin is None or origin in origins or allows_origin(origin, host)
        if host not in hosts or not known:
            await websocket.close(POLICY_VIOLATION)  # before it is accepted: HTTP 403
            return
        await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in websocket["subprotocols"] else None)
        if not is_same(websocket.query_params.get("token"), token):
            await websocket.close(POLICY_VIOLATION, "the address lacks the token that `townlet serve` printed")
            return
        if clients >= MAX_CLIENTS:
            await websocket.close(TRY_AGAIN, f"{MAX_CLIENTS} clients are here already")
            return
        clients += 1
        try:
            await _converse(websocket, Session(served, idle_s=idle_s), pool, idle_s=idle_s, tally=tally)
        except (WebSocketDisconnect, TimeoutError):
            pass  # it has gone, or takes nothing
        finally:
            clients -= 1

    @asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        yield
        pool.shutdown(wait=False, cancel_futures=True)

    return Starlette(routes=[WebSocketRoute("/ws", socket)], lifespan=living)


async def _converse(
    websocket: WebSocket, session: Session, pool: ThreadPoolExecutor, *, idle_s: float, tally: Tally
) -> None:
    """Answer the messages of a client, one after the other, until it goes or has to."""
    loop, refusals = asyncio.get_running_loop(), Refusals(MAX_REFUSED)
    while True:
        try:
            async with asyncio.timeout(idle_s):
                received = await websocket.receive()
        except TimeoutError:
            await websocket.close(GOING_AWAY, f"nothing came for {idle_s:g} s")
            return
        if received["type"] == "websocket.disconnect":
            return
        text = received.get("text")
        sent: str | bytes = received["bytes"] if text is None else text
        reply = await loop.run_in_executor(pool, session.answer, sent)
        tally.questions += reply.agents > 0
        tally.agents += reply.agents
        tally.refused += reply.refused
        async with asyncio.timeout(SEND_S):
            if isinstance(reply.message, str):
                await websocket.send_text(reply.message)
            else:
                await websocket.send_bytes(reply.message)
        if reply.closes or (reply.refused and refusals.add()):
            reason = "too many messages were refused" if not reply.closes else "messages of another version"
            await websocket.close(POLICY_VIOLATION, reason)
            return
