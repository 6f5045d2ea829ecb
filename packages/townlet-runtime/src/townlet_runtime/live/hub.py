"""The people at a page: each gets frames as fast as it takes them, asks, and keeps its agents by a lease."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from townlet_behavior import BehaviorError
from townlet_runtime.errors import TownletError
from townlet_runtime.live.messages import MAX_BYTES, id_in, read_message
from townlet_runtime.live.run_feed import Place, RunFeed
from townlet_runtime.live.wire import chart_message, frame_bytes, padded, picture_bytes, scene_message
from townlet_runtime.sockets.fields import MessageError, Refusals
from townlet_runtime.sockets.security import POLICY_VIOLATION, TRY_AGAIN, is_same, new_secret
from townlet_trajectory import TrajectoryError

if TYPE_CHECKING:
    from townlet_runtime.drawing.scene import Scene
    from townlet_runtime.live.answering import Answering
    from townlet_runtime.live.player import Player, Snapshot

FRAMES_PER_S, PICTURES_PER_S, CHARTS_PER_S = 30.0, 12.0, 4.0
"""Most that one client gets; all get the same frames, or fewer."""
RUN_LOOK_S = 0.5
"""Between two looks at the log of a run that trains."""
Mode = Literal["live", "replay", "training"]
MESSAGES_PER_S, BURST = 60.0, 120.0
"""Of one client; more are refused, and after `MAX_REFUSED` a minute it is sent away."""
MAX_REFUSED, MAX_WAITING, MAX_CLIENTS = 20, 256, 64
_MINE, _ANOTHER_S = 1, 2
"""Codes of agents that somebody possesses."""


class Client:
    """One connection, with what waits to be sent."""

    def __init__(self, socket: WebSocket, name: str) -> None:
        self.socket, self.name = socket, name
        self.inspects: str | None = None
        self.waiting: deque[str] = deque()
        self.scene = self.roster = self.state = 0
        self.chart_tick, self.chart_due, self.told_tick = -1, 0.0, -1
        self.allowance, self.allowed_at = BURST, time.monotonic()
        self.refused = Refusals(MAX_REFUSED)
        self.run = Place()
        self.wake = asyncio.Event()

    def say(self, message: Mapping[str, Any]) -> None:
        """Send a message when it is its turn.

        Raises:
            ConnectionError: if too many wait: the client takes none.
        """
        if len(self.waiting) >= MAX_WAITING:
            raise ConnectionError("too many messages wait")
        self.waiting.append(json.dumps(message, allow_nan=False, separators=(",", ":")))
        self.wake.set()

    def may_ask(self) -> bool:
        """Take one from the allowance of messages; false where it is used up."""
        now = time.monotonic()
        self.allowance = min(BURST, self.allowance + MESSAGES_PER_S * (now - self.allowed_at))
        self.allowed_at = now
        if self.allowance < 1.0:
            return False
        self.allowance -= 1.0
        return True


class Hub:
    """Everything that clients share: the newest snapshot, encoded once for all, and the names of people.

    Args:
        stage: the world, or a record of one.
        desk: does what they ask.
        mode: what is watched.
        feed: of the run, in mode `training`.
    """

    def __init__(self, stage: Player, desk: Answering, *, mode: Mode = "live", feed: RunFeed | None = None) -> None:
        self._stage, self._desk, self._mode, self._feed = stage, desk, mode, feed
        self._clients: set[Client] = set()
        self._people: dict[str, str] = {}
        """Name by secret."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scene: Scene | None = None
        self._scene_version, self._roster_version, self._state_version = 0, 0, 0
        self._roster: list[str] = []
        self._rows: dict[str, int] = {}
        """Of the agents in frames."""
        self._encoded: tuple[Snapshot, bytes] | None = None
        self._picture: tuple[Snapshot, bytes] | None = None
        self._state: dict[str, Any] = {}
        self._releases: dict[str, asyncio.Task[None]] = {}
        self._awaited = asyncio.Event()
        """Set when a client waits for a frame."""

    async def begin(self) -> None:
        """Listen to the stage; called once, in the event loop of the server."""
        self._loop = asyncio.get_running_loop()
        self._stage.watch(self._tell)
        self._tasks = [asyncio.create_task(self._keep_leases()), asyncio.create_task(self._ask_for_frames())]
        if self._feed is not None:
            self._tasks.append(asyncio.create_task(self._follow(self._feed)))

    async def end(self) -> None:
        """Send everybody away."""
        for task in self._tasks:
            task.cancel()
        for client in tuple(self._clients):
            await client.socket.close(1001)

    def _tell(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake_all)

    def _wake_all(self) -> None:
        for client in self._clients:
            client.wake.set()

    async def serve(self, socket: WebSocket, secret: str | None) -> None:
        """Talk to one client until it goes. A known `secret` makes it the person that it was."""
        if len(self._clients) >= MAX_CLIENTS:
            await socket.close(TRY_AGAIN)
            return
        known = next((one for one in self._people if is_same(secret, one)), None)
        own = new_secret() if known is None else known
        name = self._people.setdefault(own, f"p{len(self._people) + 1}")
        client = Client(socket, name)
        if (leaving := self._releases.pop(name, None)) is not None:
            leaving.cancel()
        self._clients.add(client)
        self._stage.watched_by(len(self._clients))
        client.say(self._hello(client, own))
        writer = asyncio.create_task(self._write(client))
        try:
            await self._read(client)
        except (WebSocketDisconnect, ConnectionError, RuntimeError):
            pass  # it has gone
        finally:
            writer.cancel()
            self._clients.discard(client)
            self._stage.watched_by(len(self._clients))
            await self._forget(client)

    def _hello(self, client: Client, secret: str) -> dict[str, Any]:
        stage = self._stage
        return {
            "type": "hello",
            "you": client.name,
            "owner": secret,
            "mode": self._mode,
            "world": stage.world,
            "groups": stage.group_documents(),
            "lease_ticks": self._desk.lease_ticks,
            "can": self._desk.can,
            "policy": stage.policy,
            "script": stage.has_script,
            "tick": stage.history.tick,
        }

    async def _read(self, client: Client) -> None:
        while True:
            received = await client.socket.receive()
            if received["type"] == "websocket.disconnect":
                return
            text = received.get("text") or received.get("bytes") or ""
            try:
                if not client.may_ask():
                    raise MessageError("too many messages")
                message = read_message(text)
            except MessageError as error:
                client.say({"type": "reply", "to": id_in(text[:MAX_BYTES]), "ok": False, "error": str(error)})
                if client.refused.add():
                    await client.socket.close(POLICY_VIOLATION)
                    return
                continue
            try:
                answer = await self._desk.do(client, message)
            except (TownletError, BehaviorError, TrajectoryError) as error:
                client.say({"type": "reply", "to": message.id, "ok": False, "error": str(error)})
                continue
            client.say({"type": "reply", "to": message.id, "ok": True, **answer})
            client.told_tick = -1  # what it looks at may look different now
            self._awaited.set()

    async def _write(self, client: Client) -> None:
        """Send what waits, and frames at the pace at which they are taken: a slow client gets fewer."""
        socket = client.socket
        seen: Snapshot | None = None
        self._awaited.set()
        while True:
            await client.wake.wait()
            client.wake.clear()
            while client.waiting:
                await socket.send_text(client.waiting.popleft())
            await self._send_run(client)
            snapshot = self._stage.snapshot
            if snapshot is not None and snapshot is not seen:
                await self._send_frame(client, snapshot)
                seen = snapshot
                self._awaited.set()

    async def _ask_for_frames(self) -> None:
        """Ask for a snapshot when a client waits for one, at the pace of frames."""
        while True:
            await self._awaited.wait()
            self._awaited.clear()
            self._stage.want()
            snapshot = self._stage.snapshot
            pace = FRAMES_PER_S if snapshot is None or snapshot.pixels is None else PICTURES_PER_S
            await asyncio.sleep(1.0 / pace)

    async def _send_run(self, client: Client) -> None:
        """Send what the client lacks of the run that trains."""
        if self._feed is not None:
            messages, client.run = self._feed.messages(client.run)
            for message in messages:
                await client.socket.send_text(json.dumps(message, allow_nan=False))

    async def _send_frame(self, client: Client, snapshot: Snapshot) -> None:
        socket = client.socket
        self._number(snapshot)
        if client.scene != self._scene_version:
            client.scene = self._scene_version
            await socket.send_text(json.dumps(scene_message(snapshot.scene, self._scene_version)))
        if client.roster != self._roster_version:
            client.roster = self._roster_version
            await socket.send_text(json.dumps(self._roster_message()))
        possessed = np.zeros(len(self._roster), np.uint8)
        for agent, owner in snapshot.owners.items():
            if agent in self._rows:
                possessed[self._rows[agent]] = _MINE if owner == client.name else _ANOTHER_S
        await socket.send_bytes(self._frame(snapshot) + padded(possessed))
        if snapshot.pixels is not None:
            if self._picture is None or self._picture[0] is not snapshot:
                self._picture = snapshot, await asyncio.to_thread(picture_bytes, snapshot.pixels, snapshot.tick)
            await socket.send_bytes(self._picture[1])
        await self._send_rest(client, snapshot)

    def _number(self, snapshot: Snapshot) -> None:
        """Give the scene and the list of agents of a snapshot their numbers."""
        if snapshot.scene is not self._scene:
            self._scene, self._scene_version = snapshot.scene, self._scene_version + 1
        ids = snapshot.drawing.agent_ids.tolist()
        if ids != self._roster or not self._roster_version:
            self._roster, self._roster_version = ids, self._roster_version + 1
            self._rows = {agent: row for row, agent in enumerate(ids)}

    def _roster_message(self) -> dict[str, Any]:
        """The agents that the rows of frames are, and the places of their groups in `hello`."""
        group_of = self._stage.places_of_groups()
        groups = [group_of.get(one, 0) for one in self._roster]
        return {"type": "roster", "version": self._roster_version, "ids": self._roster, "groups": groups}

    def _frame(self, snapshot: Snapshot) -> bytes:
        """The part of a frame that is the same for all clients."""
        if self._encoded is None or self._encoded[0] is not snapshot:
            versions = {"scene_version": self._scene_version, "roster_version": self._roster_version}
            self._encoded = snapshot, frame_bytes(snapshot, **versions)
        return self._encoded[1]

    async def _send_rest(self, client: Client, snapshot: Snapshot) -> None:
        now = time.monotonic()
        self._note_state(snapshot)
        if client.state != self._state_version:
            client.state = self._state_version
            await client.socket.send_text(json.dumps(self._state))
        if now >= client.chart_due:
            client.chart_due = now + 1.0 / CHARTS_PER_S
            # Where the world has gone back, its ticks come again.
            client.chart_tick = min(client.chart_tick, snapshot.tick - 1)
            points = [point for point in snapshot.points if point.tick > client.chart_tick]
            if points:
                client.chart_tick = points[-1].tick
                message = chart_message(points, snapshot.ticks_per_s, self._stage.history.veto_reasons)
                await client.socket.send_text(json.dumps(message, allow_nan=False))
        if client.inspects is not None and client.told_tick != snapshot.tick:
            client.told_tick = snapshot.tick
            try:
                message = await self._desk.agent(client.inspects, client)
            except TownletError:  # it has left, or decided nothing yet
                message = {"type": "agent", "id": client.inspects, "gone": True}
            await client.socket.send_text(json.dumps(message, allow_nan=False))

    def _note_state(self, snapshot: Snapshot) -> None:
        owned = snapshot.owners.items()
        people = {client.name: [agent for agent, owner in owned if owner == client.name] for client in self._clients}
        state = {
            "type": "state",
            "paused": snapshot.paused,
            "speed": self._stage.speed,
            "ratio": snapshot.ratio,
            "policy": self._stage.policy,
            "kept": self._stage.kept,
            "replay": self._stage.span,
            "recording": self._desk.recording,
            "people": [{"name": name, "agents": agents} for name, agents in sorted(people.items())],
            "teach": self._desk.teach,
        }
        if state != self._state:
            self._state, self._state_version = state, self._state_version + 1

    async def _follow(self, feed: RunFeed) -> None:
        """Read what the run has written, as long as somebody is here."""
        while True:
            if self._clients:
                news: bool = await asyncio.to_thread(feed.look)
                if news:
                    self._wake_all()
            await asyncio.sleep(RUN_LOOK_S)

    async def _keep_leases(self) -> None:
        """Renew the leases of people who are here, once a second."""
        while True:
            await asyncio.sleep(self._desk.lease_s / 5.0)
            await self._desk.renew_all({client.name for client in self._clients})

    async def _forget(self, client: Client) -> None:
        if client.inspects is not None:
            looked_at = client.inspects
            self._stage.call(lambda: self._stage.history.look_at(looked_at, -1))
        if all(other.name != client.name for other in self._clients):
            self._releases[client.name] = asyncio.create_task(self._release_later(client.name))

    async def _release_later(self, name: str) -> None:
        """Free the agents of a person who has not come back in time, also where the world is paused."""
        await asyncio.sleep(self._desk.lease_s)
        await self._desk.release_all(name)
        self._releases.pop(name, None)
        self._awaited.set()
