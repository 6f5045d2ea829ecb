"""The server of a page: three files without secrets, and a socket for those who have the token."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from townlet_runtime.sockets.security import HEADERS, POLICY_VIOLATION, allows_origin, is_same

if TYPE_CHECKING:
    from townlet_runtime.live.hub import Hub

SUBPROTOCOL = "townlet.live.v1"
_KINDS = {"index.html": "text/html", "app.js": "text/javascript", "style.css": "text/css"}


def application(hub: Hub, *, token: str, hosts: frozenset[str]) -> Starlette:
    """Return the application.

    Args:
        hub: of the world.
        token: that the address of the page and of the socket must have.
        hosts: values of `Host` that are answered.
    """

    def refused(request: Request) -> Response | None:
        if request.headers.get("host") not in hosts:
            return PlainTextResponse("This server does not go by that name.\n", 421, HEADERS)
        return None

    def shown(name: str) -> Callable[[Request], Awaitable[Response]]:
        async def show(request: Request) -> Response:
            return refused(request) or _file(name)

        return show

    async def socket(websocket: WebSocket) -> None:
        headers, query = websocket.headers, websocket.query_params
        if headers.get("host") not in hosts or not allows_origin(headers.get("origin"), headers.get("host")):
            await websocket.close(POLICY_VIOLATION)  # before it is accepted: HTTP 403
            return
        await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in websocket["subprotocols"] else None)
        if not is_same(query.get("token"), token):
            await websocket.close(POLICY_VIOLATION, "Open the address that `townlet live` printed: it has a token.")
            return
        await hub.serve(websocket, query.get("owner"))

    @asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        await hub.begin()
        yield
        await hub.end()

    routes = [Route("/", shown("index.html")), WebSocketRoute("/ws", socket)]
    routes += [Route(f"/{name}", shown(name)) for name in ("app.js", "style.css")]
    return Starlette(routes=routes, lifespan=living)


def _file(name: str) -> Response:
    content = (files("townlet_runtime") / "live" / "page" / name).read_bytes()
    return Response(content, media_type=_KINDS[name], headers=HEADERS)
