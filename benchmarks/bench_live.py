"""`townlet live` under load: ticks of the world with and without people at the page, how soon one acts, frames.

Claim: the world goes on at 0.95 of its rate at least when somebody watches; an action is taken within a tick; 1,000
agents at 30 ticks a second are drawn in Chromium. Wall times, JSON lines. Needs two idle cores and the extra
`live`; the frames need Playwright and a browser of the system.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from turns import calibrate
from websockets import Origin
from websockets.sync.client import ClientConnection, connect

_TICK = struct.Struct("<4sI")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def live(*arguments: str) -> Iterator[str]:
    """Serve a world; gives the address of its page."""
    command = [sys.executable, "-m", "townlet_runtime", "live", "--port", "0", "--seed", "0", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        yield next(found.group(0) for line in process.stderr if (found := re.search(r"http://\S+", line)))
    finally:
        process.terminate()
        process.wait(30.0)


class Client:
    """Takes everything that it is sent, in a thread of its own."""

    def __init__(self, address: str) -> None:
        origin, token = address.split("/?token=")
        url = f"{origin.replace('http', 'ws', 1)}/ws?token={token}"
        self._socket: ClientConnection = connect(url, origin=Origin(origin), max_size=None, compression=None)
        self.tick, self.frames, self._number = 0, 0, 0
        self._arrived = threading.Condition()
        self._replies: dict[int, dict[str, object]] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for message in self._socket:
            with self._arrived:
                if isinstance(message, bytes):
                    magic, tick = _TICK.unpack_from(message)
                    if magic == b"TLF1":
                        self.tick, self.frames = tick, self.frames + 1
                elif '"reply"' in message[:20]:
                    reply = json.loads(message)
                    self._replies[reply["to"]] = reply
                self._arrived.notify_all()

    def ask(self, kind: str, **fields: object) -> dict[str, object]:
        """Ask for something, and wait for the answer."""
        self._number += 1
        number = self._number
        self._socket.send(json.dumps({"type": kind, "id": number, **fields}))
        with self._arrived:
            self._arrived.wait_for(lambda: number in self._replies, 30.0)
            return self._replies.pop(number)

    def next_frame(self) -> int:
        """Wait for a frame; its tick."""
        with self._arrived:
            seen = self.frames
            self._arrived.wait_for(lambda: self.frames > seen, 30.0)
            return self.tick

    def close(self) -> None:
        self._socket.close()


def ticks_per_s(address: str, num_clients: int, seconds: float) -> float:
    """Ticks a second while so many take frames; the tick is looked up by one who comes before and after."""
    with ExitStack() as there:
        for _ in range(num_clients):
            client = Client(address)
            there.callback(client.close)
        first, begun = tick_now(address)
        time.sleep(seconds)
        last, ended = tick_now(address)
    return (last - first) / (ended - begun)


def tick_now(address: str) -> tuple[int, float]:
    client = Client(address)
    client.next_frame()  # may be of when somebody looked last
    found = client.next_frame(), time.perf_counter()
    client.close()
    return found


def loads(agents: int, clients: Sequence[int], *, rounds: int, seconds: float) -> None:
    """Print the ticks a second of a world that goes as fast as it can, for each number of clients, in turns."""
    rates: dict[int, list[float]] = {count: [] for count in clients}
    with live("--set", f"town.agents={agents}", "--ticks-per-second", "1000") as address:
        one = Client(address)
        one.ask("speed", ticks_per_s=None)
        one.close()
        for _ in range(rounds):
            for count in clients:
                rates[count].append(ticks_per_s(address, count, seconds))
    alone = statistics.median(rates[clients[0]])
    for count in clients:
        rate = statistics.median(rates[count])
        line = {"benchmark": "live", "agents": agents, "clients": count, "ticks_per_s": round(rate, 1)}
        print(json.dumps({**line, "of_nobody_there": round(rate / alone, 3)}), flush=True)


def latency(actions: int) -> None:
    """Print after what time an action is taken that a person asks for; the next tick carries it out."""
    waits = list[float]()
    with live("--ticks-per-second", "30") as address:
        person = Client(address)
        person.ask("acquire", agent="agent_0")
        for _ in range(actions):
            person.next_frame()
            begun = time.perf_counter()
            person.ask("feed", agent="agent_0", action="wait")
            waits.append(time.perf_counter() - begun)
        person.close()
    line = {"benchmark": "live", "name": "an action is taken", "median_ms": round(1e3 * statistics.median(waits), 1)}
    print(json.dumps({**line, "longest_ms": round(1e3 * max(waits), 1)}), flush=True)


def frames(agents: int, seconds: float) -> None:
    """Print how many frames a second the browser draws at 30 ticks a second."""
    from playwright.sync_api import sync_playwright

    path = next(found for name in _BROWSERS if (found := shutil.which(name)))
    with live("--set", f"town.agents={agents}", "--ticks-per-second", "30") as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address)
        page.wait_for_timeout(1e3 * seconds)
        said = page.locator("#pace").inner_text()
        browser.close()
    print(json.dumps({"benchmark": "live", "agents": agents, "page": said}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a measurement")
    arguments = parser.parse_args()
    for agents in (10, 1_000):
        loads(agents, (0, 1, 20), rounds=arguments.rounds, seconds=arguments.seconds)
    latency(50)
    try:
        frames(1_000, 2.0 * arguments.seconds)
    except (ImportError, StopIteration) as error:
        print(json.dumps({"benchmark": "live", "name": "frames", "missing": str(error) or "no browser"}))
    calibrate("live")


if __name__ == "__main__":
    main()
