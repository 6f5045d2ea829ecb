"""The example of a language model, against a server that answers well, slowly, wrongly, or not at all."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from townlet_behavior import BridgeConfig, CommitmentConfig, DeferredController, DeferredCounts
from townlet_runtime import BatchLoop, BatchRuntime
from townlet_runtime.town import Town, TownConfig

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "language_model_town.py"
MAX_TICKS = 1500


class StubModel(ThreadingHTTPServer):
    """Chooses an action that the prompt offers; how it says so depends on `mode`."""

    daemon_threads = True

    def __init__(self, mode: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mode = mode
        self.stopped = threading.Event()
        self.asked: list[dict[str, Any]] = []
        """The bodies of all requests."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def choose(self, actions: list[str]) -> str:
        """The first action; where it is to be a fleeting one the last, which is to chat or to start where it can."""
        return {"unknown": "fly", "fleeting": actions[-1]}.get(self.mode, actions[0])


class _Handler(BaseHTTPRequestHandler):
    server: StubModel

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({"path": self.path, "key": self.headers["Authorization"], **body})
        mode = self.server.mode
        if mode == "silent":
            self.server.stopped.wait(60.0)
            return
        if mode in ("slow", "fleeting"):
            self.server.stopped.wait(0.1)
        if mode == "error":
            self.send_error(500)
            return
        actions = re.search(r"Actions: (.*)$", body["messages"][1]["content"])
        assert actions is not None
        text = self.server.choose(actions[1].split(", "))
        reply = {"choices": [{"message": {"content": f" {text}\n"}}], "usage": {"total_tokens": 42}}
        data = b"<html>" if mode == "garbage" else json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def stub_model(mode: str) -> Iterator[StubModel]:
    with StubModel(mode) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.stopped.set()
        server.shutdown()
        thread.join()


@contextmanager
def town_of(
    server: StubModel | None, log: Path, patch: pytest.MonkeyPatch
) -> Iterator[tuple[BatchLoop, DeferredController]]:
    """The default town, in which the example's model decides beside the script."""
    spec = importlib.util.spec_from_file_location("language_model_town", EXAMPLE)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, "language_model_town", example)
    spec.loader.exec_module(example)
    patch.setenv("LLM_URL", "" if server is None else server.url)
    patch.setenv("LLM_MODEL", "stub")
    patch.setenv("LLM_KEY", "secret")
    patch.setenv("LLM_LOG", str(log))
    town = Town(TownConfig(), num_worlds=1)
    with example.make(town.spec, town.scripted("scripted")) as controller:
        config = BridgeConfig(commitment=CommitmentConfig(ticks=town.spec.option_ticks))
        runtime = BatchRuntime(town.spec, controller, config=config, policy=None, service=None, seed=1)
        loop = BatchLoop(town, runtime)
        loop.reset(seed=2)
        yield loop, controller


def actions_until(loop: BatchLoop, controller: DeferredController, name: str, least: int) -> list[list[int]]:
    """The actions of all ticks until so many are counted of one thing."""
    actions: list[list[int]] = []
    while getattr(controller.counts, name) < least:
        assert len(actions) < MAX_TICKS, controller.counts
        actions.append(one_tick(loop))
        time.sleep(0.002)
    return actions


def one_tick(loop: BatchLoop) -> list[int]:
    runtime = loop.runtime
    action = runtime.decide_batch().action
    runtime.post_step(loop.simulation.step(action))
    return action.tolist()


@pytest.mark.parametrize(
    ("mode", "name", "least"),
    [
        ("right", "used", 20),
        ("slow", "used", 20),
        ("garbage", "raised", 8),
        ("error", "raised", 8),
        ("unknown", "unknown_action", 8),
        ("silent", "overdue", 8),
        ("fleeting", "illegal", 3),
    ],
)
def test_the_town_goes_on_and_is_repeated_without_the_model(
    mode: str, name: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "answers.jsonl"
    with stub_model(mode) as server, town_of(server, log, monkeypatch) as (loop, controller):
        actions = actions_until(loop, controller, name, least)
        counts = controller.counts
    require_plausible(mode, counts)
    asked = len(server.asked)
    assert {(request["path"], request["key"]) for request in server.asked} == {
        ("/v1/chat/completions", "Bearer secret")
    }
    with town_of(None, log, monkeypatch) as (loop, controller):
        assert [one_tick(loop) for _ in actions] == actions
        assert controller.counts == counts
    assert len(server.asked) == asked


def require_plausible(mode: str, counts: DeferredCounts) -> None:
    failures = counts.raised + counts.miscounted + counts.malformed + counts.unknown_action + counts.usage
    if mode in ("right", "slow", "fleeting"):
        assert failures == counts.opened == 0
    else:
        assert counts.used == 0
        assert counts.opened >= 1  # eight failures in a row: the breaker stops at five
    assert counts.charged_tokens >= 42 * (counts.answered + counts.unknown_action)


def test_a_recording_is_made_by_command_and_again_from_the_log(tmp_path: Path) -> None:
    def recorded(url: str, name: str) -> bytes:
        command = [sys.executable, str(EXAMPLE), "--url", url, "--model", "stub", "--log", str(tmp_path / "log")]
        command += ["--ticks", "40", "--ticks-per-second", "100", "--seed", "3", "--record", f"npz:{tmp_path / name}"]
        # As a person runs it: the example finds itself beside it.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
        (file,) = (tmp_path / name).iterdir()
        return file.read_bytes()

    with stub_model("right") as server:
        first = recorded(server.url, "first")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text(encoding="utf-8").splitlines()]
    assert any(line.get("action") == "wait" for line in lines)
    assert recorded("", "second") == first
