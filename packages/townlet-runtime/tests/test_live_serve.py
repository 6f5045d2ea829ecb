"""A page's server as its clients find it: real sockets, people, leases, and those who must not come in."""

from __future__ import annotations

import http.client
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from test_live_stage import stage_of, town
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from townlet_runtime.errors import ConfigError
from townlet_runtime.live import answering
from townlet_runtime.live import desk as desk_module
from townlet_runtime.live.desk import Desk
from townlet_runtime.live.hub import MAX_REFUSED, Hub
from townlet_runtime.live.serve import served
from townlet_runtime.live.stage import Stage

HEADER = struct.Struct("<4sIIIIIIIff")


class Page:
    """One connection, which keeps the last message of each type."""

    def __init__(self, address: str, *, owner: str | None = None, origin: str | None = None) -> None:
        parts = urlsplit(address)
        token = parse_qs(parts.query)["token"][0]
        own = "" if owner is None else f"&owner={owner}"
        self._opened = connect(
            f"ws://{parts.netloc}/ws?token={token}{own}",
            origin=origin or f"http://{parts.netloc}",  # type: ignore[arg-type]  # a new type of text
            subprotocols=["townlet.live.v1"],  # type: ignore[list-item]  # likewise
            compression=None,
        )
        self._socket: ClientConnection = self._opened.__enter__()
        self.last: dict[str, Any] = {}
        self._id = 0
        self.until(lambda: "hello" in self.last)

    def read(self) -> None:
        message = self._socket.recv(timeout=120.0)
        if isinstance(message, bytes):
            self.last[message[:4].decode()] = message
            return
        content = json.loads(message)
        self.last[content["type"]] = content
        if content["type"] == "reply":
            self.last[f"reply {content['to']}"] = content

    def until(self, holds: Callable[[], object], *, seconds: float = 20.0) -> None:
        ends = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < ends, self.last.keys()
            self.read()

    def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        self._id += 1
        mine = f"reply {self._id}"
        self._socket.send(json.dumps({"type": kind, "id": self._id, **fields}))
        self.until(lambda: mine in self.last)
        answer: dict[str, Any] = self.last[mine]
        return answer

    def send(self, text: str) -> None:
        self._socket.send(text)

    def close(self) -> None:
        self._opened.__exit__(None, None, None)

    @property
    def tick(self) -> int:
        return int(HEADER.unpack(self.last["TLF1"][: HEADER.size])[1])


@contextmanager
def open_world(*, paused: bool = False) -> Iterator[tuple[str, Stage]]:
    stage = stage_of(town(), speed=100.0, paused=paused)
    ends = threading.Event()
    thread = threading.Thread(target=stage.run, args=(ends.is_set,))
    with served(Hub(stage, Desk(stage, has_policy=False)), host="127.0.0.1", port=0) as address:
        thread.start()
        try:
            yield address, stage
        finally:
            ends.set()
            thread.join(10.0)


def get(address: str, *, path: str | None = None, host: str | None = None) -> tuple[int, dict[str, str], str]:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10.0)
    headers = {} if host is None else {"Host": host}
    connection.request("GET", f"/?{parts.query}" if path is None else path, headers=headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read().decode()


def test_the_page_is_given_under_this_server_s_name_alone() -> None:
    with open_world() as (address, _):
        status, headers, text = get(address)
        assert status == 200
        assert "<!doctype html>" in text.lower()
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
        assert get(address, path="/app.js")[0] == 200
        # The files have no secret, and a page that is loaded again has taken the token out of its address.
        assert get(address, path="/")[0] == 200
        assert get(address, host="evil.example")[0] == 421
        assert get(address, path="/../pyproject.toml")[0] == 404


@pytest.mark.parametrize("change", ["origin", "token"])
def test_no_other_page_opens_a_socket(change: str) -> None:
    with open_world() as (address, _):
        bad = address[:-5] + "wrong" if change == "token" else address
        with pytest.raises((InvalidStatus, ConnectionClosed)):
            Page(bad, origin="http://evil.example" if change == "origin" else None)


def test_frames_come_with_what_they_refer_to() -> None:
    with open_world() as (address, _):
        page = Page(address)
        page.until(lambda: "TLF1" in page.last and page.tick > 3)
        frame = page.last["TLF1"]
        magic, _, scene, roster, agents, marks, bars, *_ = HEADER.unpack(frame[: HEADER.size])
        assert (magic, scene, roster) == (b"TLF1", page.last["scene"]["version"], page.last["roster"]["version"])
        assert agents == len(page.last["roster"]["ids"]) == 5
        assert (marks, bars) == (len(page.last["scene"]["marks"]), 3)
        # x, y, decider, action, reward, bars, marks and possessed, each padded to 4 bytes
        sizes = (4 * agents, 4 * agents, agents, 2 * agents, 4 * agents, bars * agents, 2 * marks, agents)
        assert len(frame) == HEADER.size + sum(size + -size % 4 for size in sizes)


def test_an_input_is_carried_out_at_the_next_tick() -> None:
    with open_world(paused=True) as (address, stage):
        page = Page(address)
        page.until(lambda: "roster" in page.last)
        agent = page.last["roster"]["ids"][0]
        assert page.ask("acquire", agent=agent)["ok"]
        assert page.ask("feed", agent=agent, action="wait")["ok"]
        before = stage.history.tick
        page.ask("step", ticks=1)
        page.ask("inspect", agent=agent)
        page.until(lambda: page.last.get("agent", {}).get("tick", -1) >= max(before, 0))
        decided = page.last["agent"]["explanation"]["decided"]
        assert (decided["by"], decided["action"], decided["demonstrated"]) == ("possessor", "wait", True)
        assert page.last["agent"]["possessed_by"] == "you"


def test_people_do_not_take_each_other_s_agents() -> None:
    with open_world() as (address, _):
        one, other = Page(address), Page(address)
        one.until(lambda: "roster" in one.last)
        first, second = one.last["roster"]["ids"][:2]
        assert one.ask("acquire", agent=first)["ok"]
        assert not other.ask("acquire", agent=first)["ok"]
        assert not other.ask("feed", agent=first, action="wait")["ok"]
        assert not other.ask("release", agent=first)["ok"]
        assert other.ask("acquire", agent=second)["ok"]
        one.until(
            lambda: (
                {each["name"]: each["agents"] for each in one.last["state"]["people"]}
                == {"p1": [first], "p2": [second]}
            )
        )
        assert one.ask("release", agent=first)["released"]


def test_who_comes_back_in_time_keeps_the_agent_and_others_lose_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "LEASE_S", 0.5)
    monkeypatch.setattr(desk_module, "LEAST_LEASE_TICKS", 20)
    with open_world() as (address, stage):
        page = Page(address)
        page.until(lambda: "roster" in page.last)
        agent, runtime = page.last["roster"]["ids"][0], stage.runtimes["agents"]
        assert page.ask("acquire", agent=agent)["ok"]
        page.close()
        back = Page(address, owner=page.last["hello"]["owner"])
        assert back.last["hello"]["you"] == page.last["hello"]["you"]
        time.sleep(1.5)  # leases are renewed while the page is there
        assert runtime.is_possessed(agent)
        back.close()
        ends = time.monotonic() + 10.0
        while runtime.is_possessed(agent):
            assert time.monotonic() < ends
            time.sleep(0.05)
        assert Page(address, owner="guessed").last["hello"]["you"] == "p2"


def test_what_is_refused_is_said_and_too_much_of_it_ends_the_connection() -> None:
    with open_world() as (address, _):
        page = Page(address)
        assert "is known" in page.ask("tech", method="bc")["error"]
        for refused in (
            page.ask("teach", method="bc"),
            page.ask("teach_stop"),
            page.ask("swap", digest="d", approve=True),
        ):
            assert "nobody learns here; see --teach" in refused["error"]
        assert "nothing is recorded" in page.ask("label", agent=None, value="success")["error"]
        assert "no policy" in page.ask("ratio", value=0.5)["error"]
        for _ in range(MAX_REFUSED + 1):
            page.send("nonsense")
        with pytest.raises(ConnectionClosed):
            page.until(lambda: False)
        Page(address).close()  # others come in as before


def test_a_message_that_is_too_large_ends_the_connection() -> None:
    with open_world() as (address, _):
        page = Page(address)
        page.send("x" * 100_000)
        with pytest.raises(ConnectionClosed):
            page.until(lambda: False)


def test_a_client_that_reads_nothing_stops_nobody() -> None:
    with open_world() as (address, stage):
        Page(address)  # and never reads again
        before = stage.history.tick
        time.sleep(1.0)
        assert stage.history.tick - before > 50


def test_an_address_that_is_taken_is_an_error() -> None:
    with open_world() as (address, stage):
        port = urlsplit(address).port
        assert port is not None
        hub = Hub(stage, Desk(stage, has_policy=False))
        with pytest.raises(ConfigError, match=f"127.0.0.1 port {port}"), served(hub, host="127.0.0.1", port=port):
            pass
